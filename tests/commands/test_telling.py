"""What is told of few files and of many, on a terminal and elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from support.values import noise
from tvdenoise.batch.outcome import FileStatus, Outcome
from tvdenoise.batch.outputs import Job
from tvdenoise.batch.plan import Plan
from tvdenoise.batch.share import Eta
from tvdenoise.commands.console import Console, PlaneBar
from tvdenoise.commands.output import duration
from tvdenoise.files.opening import Header

MANY = 21


@pytest.fixture
def many(make_image, tmp_path: Path) -> None:
    """Some more files than get a line each: one with a note, one that fails, one that is done."""
    for number in range(MANY - 3):
        make_image(f"x/{number}.png", noise(3, 4))
    make_image("x/done.png", noise(3, 4))
    make_image("out/done.png", noise(3, 4))
    Image.fromarray(noise(5, 5)).convert("P").save(tmp_path / "x/palette.png")
    (tmp_path / "x/bad.png").write_bytes(b"")


RUN = ("run", "x", "-o", "out", "--skip-existing", "--mu", "1e9")
SUMMARY = f"{MANY} files: {MANY - 2} done, 1 failed, 1 skipped"


@pytest.mark.usefixtures("many")
class TestManyFiles:
    def test_only_what_went_wrong_is_told_and_notes_are_counted(self, command) -> None:
        result = command(*RUN)
        assert result.stderr.splitlines() == [
            "tvdenoise: x/bad.png: the file is empty",
            f"{SUMMARY}; 1 note, see --verbose",
        ]

    def test_verbose_tells_every_file_and_every_note(self, command) -> None:
        lines = command(*RUN, "--verbose").stderr.splitlines()
        assert sum(" → " in line for line in lines) == MANY - 1
        assert "tvdenoise: x/palette.png: note: its palette is written as 8-bit grey" in lines
        assert lines[-1] == SUMMARY

    def test_warnings_are_told(self, command) -> None:
        result = command("run", "x", "-o", "out", "--skip-existing", "--max-iterations", "1", "--mu", "5")
        warnings = [line for line in result.stderr.splitlines() if ": warning: " in line]
        assert len(warnings) == MANY - 2
        assert f"{MANY - 2} done ({MANY - 2} not converged), 1 failed" in result.stderr

    def test_quiet_tells_the_failure_alone(self, command) -> None:
        assert command(*RUN, "--quiet").stderr == "tvdenoise: x/bad.png: the file is empty\n"

    @pytest.mark.slow
    def test_a_terminal_shows_count_rate_and_time_left(self, process_on_terminal) -> None:
        code, shown = process_on_terminal(*RUN)
        assert code == 1
        assert f" {MANY}/{MANY} " in shown
        assert " files/s, 0 s left" in shown
        assert "tvdenoise: x/bad.png: the file is empty" in shown
        assert "0.png" not in shown
        assert SUMMARY in shown


def test_few_files_get_a_line_each_and_their_notes(make_image, command, tmp_path: Path) -> None:
    for number in range(MANY - 2):
        make_image(f"x/{number}.png", noise(3, 4))
    Image.fromarray(noise(5, 5)).convert("P").save(tmp_path / "x/palette.png")
    lines = command(*RUN).stderr.splitlines()
    assert len(lines) == MANY - 1 + 2
    assert lines[-1] == f"{MANY - 1} files: {MANY - 1} done, 0 failed, 0 skipped"


def test_the_time_left_goes_by_the_work_and_passes() -> None:
    """Two files of which the second is far larger; a third is there already."""
    small, large = (Header("PNG", side, side, 1, 1, has_alpha=False) for side in (10, 4000))
    jobs = tuple(
        Job(Path(name), Path(f"{name}.out"), header=header)
        for name, header in (("a", small), ("b", large), ("c", large))
    )
    now = 100.0
    eta = Eta(Plan(jobs), clock=lambda: now)
    assert (eta.files_per_second, eta.seconds_left) == (None, None)
    eta.add(Outcome("c", "c.out", FileStatus.SKIPPED))
    total = eta.total
    assert eta.seconds_left is None
    now += 2
    eta.add(Outcome("a", "a.out", FileStatus.DONE))
    assert eta.files_per_second == pytest.approx(0.5)
    assert eta.seconds_left == pytest.approx(2 * (total - eta.done) / eta.done)
    assert eta.seconds_left > 100
    before = eta.seconds_left
    now += 5
    assert eta.seconds_left == pytest.approx(before - 5)
    eta.add(Outcome("b", "b.out", FileStatus.FAILED))
    assert eta.seconds_left == 0
    assert eta.done == pytest.approx(eta.total)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_a_duration_is_told_in_two_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_part_of_the_file_at_work_counts_until_it_is_over() -> None:
    jobs = tuple(Job(Path(f"{n}.tif"), Path(f"{n}_denoised.tif")) for n in range(2))
    eta = Eta(Plan(jobs), clock=lambda: 0.0)
    eta.reach(0.25)
    assert eta.done == pytest.approx(0.125 * eta.total)
    eta.add(Outcome("0.tif", "0_denoised.tif", FileStatus.DONE))
    assert eta.done == pytest.approx(0.5 * eta.total)
    eta.reach(1.0)
    assert eta.done == pytest.approx(eta.total)


@pytest.mark.slow
def test_a_terminal_shows_how_far_a_single_picture_is_that_takes_long(
    process_on_terminal, make_image
) -> None:
    make_image("a.png", noise(1500, 1500))
    options = ("--mu", "10", "--epsilon", "0.0001", "--tolerance", "0", "--max-iterations", "900")
    code, shown = process_on_terminal("run", "a.png", *options)
    assert code == 0, shown
    assert re.search(r"denoising.*\d+%", shown)


@pytest.mark.parametrize(("seconds", "is_shown"), [(0.4, False), (0.6, True)])
def test_a_single_picture_has_a_bar_only_once_it_takes_long(
    seconds: float, is_shown: bool, monkeypatch
) -> None:
    clock, shown = [10.0], []
    monkeypatch.setattr("tvdenoise.commands.console.time.monotonic", lambda: clock[0])
    monkeypatch.setattr(Console, "_has_plane_bar", True)
    monkeypatch.setattr(PlaneBar, "__init__", lambda *_: None)
    monkeypatch.setattr(PlaneBar, "stop", lambda _: None)
    monkeypatch.setattr(PlaneBar, "reach", lambda _, done: shown.append(done))
    with Console(quiet=False, verbose=False, debug=False, count=1) as console:
        console.tell_plane(0.0, 1)
        clock[0] += seconds
        console.tell_plane(0.3, 1)
    assert shown == [0.3] * is_shown
