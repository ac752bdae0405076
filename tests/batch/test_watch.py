"""A watched folder: what appears there is denoised once it is whole, until someone ends it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import tifffile

from support.own_time import own_time
from support.processes import environment, temporaries
from support.values import noise, pixels
from tvdenoise.batch.outcome import Outcome
from tvdenoise.batch.outputs import Folder
from tvdenoise.batch.plan import Plan
from tvdenoise.batch.request import Discovery
from tvdenoise.batch.runner import Runner
from tvdenoise.batch.watch import Watch


class Watching:
    """A watching process."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child
        assert child.stderr is not None
        self._lines = child.stderr

    def wait_for(self, text: str) -> str:
        while text not in (line := self._lines.readline().decode()):
            assert line, "it ended early"
        return line

    def end(self, number: int) -> tuple[int, str]:
        """Its exit code, and what it says at last."""
        with own_time(self._child.pid) as taken:
            self._child.send_signal(number)
            told = self._lines.read().decode()
            code = self._child.wait(timeout=60)
        assert taken.seconds < 2
        return code, told


@contextmanager
def watching(folder: Path, *options: str) -> Iterator[Watching]:
    # A child of a process that ignores Ctrl-C, as background jobs do, would ignore it too.
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    child = subprocess.Popen(
        [sys.executable, "-m", "tvdenoise", "watch", "in", "-o", "in/out", "--settle", "0.3", *options],
        stderr=subprocess.PIPE,
        cwd=folder,
        env=environment(),
    )
    signal.signal(signal.SIGINT, previous)
    try:
        yield Watching(child)
    finally:
        child.kill()
        child.wait()


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--poll", "0.2")], ids=["events", "polling"])
def test_what_appears_is_denoised_and_what_changes_again(options, make_image, tmp_path: Path) -> None:
    make_image("in/old.png")
    (tmp_path / "in" / "bad.png").write_bytes(b"no image")
    with watching(tmp_path, "--recursive", "--report", "r.jsonl", *options) as watch:
        watch.wait_for("in/bad.png: not an image")
        make_image("in/.hidden.png")
        make_image("elsewhere/inner/new.png")
        (tmp_path / "elsewhere").rename(tmp_path / "in" / "sub")
        watch.wait_for("in/sub/inner/new.png → in/out/sub/inner/new.png")
        shutil.copy(make_image("photo.png", noise(9, 9)), tmp_path / "in" / "old.png")
        watch.wait_for("in/old.png → in/out/old.png")
        assert pixels(tmp_path / "in" / "out" / "old.png").shape == (9, 9)
        code, told = watch.end(signal.SIGINT)
    assert code == 130
    assert told.splitlines() == [
        "4 files: 3 done, 1 failed, 0 skipped",
        "tvdenoise: interrupted; finished files are kept, the same command continues",
    ]
    report = [json.loads(line)["source"] for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert sorted(report) == ["in/bad.png", "in/old.png", "in/old.png", "in/sub/inner/new.png"]
    written = sorted(str(path.relative_to(tmp_path)) for path in (tmp_path / "in/out").rglob("*.png"))
    assert written == ["in/out/old.png", "in/out/sub/inner/new.png"]
    assert not temporaries(tmp_path)


@pytest.mark.slow
def test_a_watch_that_is_started_again_continues(make_image, tmp_path: Path) -> None:
    make_image("in/a.png")
    with watching(tmp_path) as watch:
        watch.wait_for("in/a.png → in/out/a.png")
        code, told = watch.end(signal.SIGTERM)
    assert code == 143
    assert "terminated; finished files are kept" in told
    make_image("in/b.png")
    with watching(tmp_path) as watch:
        watch.wait_for("in/b.png → in/out/b.png")
        assert watch.end(signal.SIGINT)[1].startswith("1 file: 1 done")


@pytest.mark.slow
def test_volumes_that_appear_are_denoised_together(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in" / "a.tif", noise(4, 16, 16), photometric="minisblack")
    with watching(tmp_path, "--volume", "--spacing", "4") as watch:
        assert "4 images in one volume, spacing 4,1,1, " in watch.wait_for("in/a.tif → in/out/a.tif")
        assert watch.end(signal.SIGINT)[0] == 130


def test_without_the_extra_it_says_what_to_install(command, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tvdenoise.batch.watch.find_spec", lambda _name: None)
    (tmp_path / "in").mkdir()
    result = command("watch", "in", "-o", "out")
    assert result.exit_code == 2
    assert result.stderr.endswith("which is not installed; pip install 'tvdenoise[watch]'\n")
    assert not (tmp_path / "out").exists()


def first_plan(folder: Path, *, recursive: bool = False) -> Plan:
    plans = Watch(folder, Folder(folder / "out", ""), recursive, settling=1e-9).plans()
    return next(plan for plan in plans if plan.count)


def test_an_output_older_than_its_input_is_made_again(make_image, tmp_path: Path) -> None:
    stale = make_image("in/stale.png")
    for name in ("stale", "current", "broken"):
        make_image(f"in/{name}.png")
        make_image(f"in/out/{name}.png")
    (tmp_path / "in/out/broken.png").write_bytes(b"")
    time.sleep(0.02)
    stale.rename(tmp_path / "in" / "moved.png")
    (tmp_path / "in" / "moved.png").rename(stale)
    os.utime(stale, (0, 0))
    assert {job.source.name for job in first_plan(tmp_path / "in").jobs} == {"stale.png", "broken.png"}


@pytest.mark.slow
def test_a_file_that_comes_again_is_done_again_whatever_the_times_say(make_image, tmp_path: Path) -> None:
    source = make_image("in/a.png")
    make_image("in/out/a.png")
    watch = Watch(tmp_path / "in", Folder(tmp_path / "in/out", ""), False, settling=1e-9)
    with closing(watch.plans()) as plans:
        assert not any(next(plans).count for _ in range(3))
        source.write_bytes(b"changed while it was denoised")
        make_image("in/out/a.png")  # written from what it was before
        assert any(next(plans).jobs for _ in range(5))


def test_files_with_one_output_fail_by_themselves(make_image, tmp_path: Path) -> None:
    for name in ("a.png", "A.png", "b.png"):
        make_image(f"in/{name}")
    (tmp_path / "in/out/b.png").mkdir(parents=True)
    plan = first_plan(tmp_path / "in")
    assert len(plan.jobs) == 1
    told = sorted(failure.error.reason.split(" ", 3)[3] for failure in plan.failures)
    assert told[0] == "exists and is not a file" or told[1] == "exists and is not a file"
    assert any("would also be that of" in reason for reason in told)


@pytest.mark.slow
@pytest.mark.parametrize("is_kept", [False, True], ids=["removed", "moved"])
@pytest.mark.parametrize("polling", [None, 0.1], ids=["events", "polling"])
def test_another_folder_in_the_place_of_the_watched_one_is_watched(
    is_kept: bool, polling: float | None, make_image, tmp_path: Path
) -> None:
    make_image("in/a.png")
    folder = tmp_path / "in"
    watch = Watch(folder, Folder(tmp_path / "out", ""), recursive=False, settling=0.05, polling=polling)
    with closing(watch.plans()) as plans:
        assert any(next(plans).jobs for _ in range(10))
        folder.rename(tmp_path / "old")
        if not is_kept:
            shutil.rmtree(tmp_path / "old")
        folder.mkdir()
        for _ in range(3):  # the new folder is watched by now
            next(plans)
        make_image("in/b.png")
        patience = time.monotonic() + 10
        sources = []
        while "b.png" not in sources and time.monotonic() < patience:
            sources += [job.source.name for job in next(plans).jobs]
    assert "b.png" in sources


@pytest.mark.parametrize("is_before", [False, True])
def test_a_file_that_is_taken_away_is_told_if_it_was_done(
    is_before: bool, make_image, command, monkeypatch, tmp_path: Path
) -> None:
    source = make_image("in/a.png")
    attempt, plans = Runner.attempt, Watch.plans

    def attempt_around_removal(*arguments) -> Outcome:
        if is_before:
            source.unlink()
        outcome = attempt(*arguments)
        source.unlink(missing_ok=True)
        return outcome

    def first_plan_with_a_job(watch: Watch) -> Iterator[Plan]:
        yield next(plan for plan in plans(watch) if plan.jobs)
        raise KeyboardInterrupt

    monkeypatch.setattr(Runner, "attempt", attempt_around_removal)
    monkeypatch.setattr(Watch, "plans", first_plan_with_a_job)
    result = command("watch", "in", "-o", "out", "--settle", "0.01", "--report", "r")
    assert result.exit_code == 130
    lines = (tmp_path / "r").read_text().splitlines()
    assert [json.loads(line)["status"] for line in lines] == ([] if is_before else ["done"])
    assert f"{len(lines)} file{'s' * is_before}: {len(lines)} done, 0 failed" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("in", "-o", "in"), "would be denoised as new files"),
        (("in", "-o", "."), "would be denoised as new files"),
        (("missing", "-o", "out"), "missing is not a folder"),
        (("in", "-o", "photo.png"), "is not a folder"),
        (("in", "-o", "out", "--report", "in/a.png"), "the report in/a.png is an input or an output"),
        (("in", "-o", "out", "--settle", "0"), "--settle must be positive"),
    ],
)
def test_what_cannot_be_watched_is_refused(arguments, words, make_image, command) -> None:
    make_image("in/a.png")
    make_image("photo.png")
    result = command("watch", *arguments)
    assert result.exit_code == 2
    assert words in result.stderr


@pytest.mark.parametrize(
    ("path", "is_taken"),
    [
        ("in/a.png", True),
        ("in/sub/a.png", True),
        ("in/.a.png", False),
        ("in/.sub/a.png", False),
        ("in/a.png.part", False),
        ("in/a.png.crdownload", False),
        ("in/out/a.png", False),
        ("in/out/sub/a.png", False),
        ("in/b_denoised.png", False),
        ("in/c_denoised.png", True),
    ],
)
def test_a_file_is_taken_when_a_search_would_find_it(
    path: str, is_taken: bool, make_image, tmp_path: Path
) -> None:
    make_image("in/b.png")
    discovery = Discovery(recursive=True, suffix="_denoised", left_out=tmp_path / "in" / "out")
    assert discovery.takes(tmp_path / path, tmp_path / "in") is is_taken
    flat = Discovery(recursive=False, suffix="_denoised", left_out=tmp_path / "in" / "out")
    assert flat.takes(tmp_path / path, tmp_path / "in") is (is_taken and "sub" not in path)
