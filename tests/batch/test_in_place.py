"""In place: each input is replaced whole, once, and never by half of anything."""

from __future__ import annotations

import ctypes
import os
import random
import resource
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support.processes import environment, left_by, temporaries
from support.values import noise, pixels
from tvdenoise.batch.report import read_report
from tvdenoise.files import writing

RECORDING = ["png", "jpg", "tif", "gif", "jp2"]
OTHERS = ["bmp", "pgm", "webp"]


@pytest.mark.slow
@pytest.mark.parametrize("extension", RECORDING)
def test_an_input_is_replaced_once(extension: str, make_image, command, tmp_path: Path) -> None:
    path = make_image(f"a.{extension}")
    before = path.read_bytes()
    assert command("run", path.name, "-o", f"b.{extension}").exit_code == 0
    assert command("run", path.name, "--in-place").exit_code == 0
    after = path.read_bytes()
    assert after != before
    assert after == (tmp_path / f"b.{extension}").read_bytes()
    result = command("run", path.name, f"b.{extension}", "--in-place")
    assert result.exit_code == 0
    assert f"{path.name}: already denoised" in result.stderr
    assert "2 files: 0 done, 0 failed, 2 skipped" in result.stderr
    assert path.read_bytes() == after
    assert command("run", path.name, "--in-place", "--again", "--mu", "3").exit_code == 0
    assert path.read_bytes() != after
    assert sorted(found.name for found in tmp_path.iterdir()) == [path.name, f"b.{extension}"]


@pytest.mark.slow
@pytest.mark.parametrize("report", ["r", "r.csv"])
@pytest.mark.parametrize("extension", OTHERS)
def test_without_a_place_for_the_record_a_report_is_needed_and_continued(
    extension: str, report: str, make_image, command
) -> None:
    first, second = make_image(f"a.{extension}"), make_image(f"b.{extension}", noise(9, 9, seed=1))
    before = first.read_bytes()
    result = command("run", first.name, "--in-place")
    assert result.exit_code == 2
    assert "--report" in result.stderr
    assert "add --report FILE" in result.stderr
    assert result.stderr.count("\n") == 1
    assert first.read_bytes() == before
    assert command("run", first.name, "--in-place", "--report", report).exit_code == 0
    after = first.read_bytes()
    assert after != before
    assert "already exists; add --skip-existing to extend it" in (
        command("run", first.name, "--in-place", "--report", report).stderr
    )
    result = command("run", first.name, second.name, "--in-place", "--report", report, "--skip-existing")
    assert "2 files: 1 done, 0 failed, 1 skipped" in result.stderr
    assert first.read_bytes() == after
    assert [entry["status"] for entry in read_report(report).entries] == [
        *("replacing", "done", "skipped", "replacing", "done")
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("report", "torn"), [("r", '{"source": "a.b'), ("r.csv", '"a\n')])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_report_is_right_whenever_the_run_was_killed(
    moment: str, report: str, torn: str, make_image, command, tmp_path: Path
) -> None:
    """Its record comes before the replacement and names the new contents, so both answers are known."""
    path = make_image("a.bmp")
    before = path.read_bytes()
    kill = "import os, signal; from pathlib import Path; replace = Path.replace\n"
    kill += "def die(*paths):\n"
    kill += "    replace(*paths)\n" if moment == "after" else ""
    kill += "    os.kill(os.getpid(), signal.SIGKILL)\nPath.replace = die\n"
    kill += "from tvdenoise.commands.app import main; main()"
    finished = subprocess.run(
        [sys.executable, "-c", kill, "run", "a.bmp", "--in-place", "--report", report],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        check=False,
    )
    assert finished.returncode == -signal.SIGKILL, finished.stderr
    assert (path.read_bytes() == before) == (moment == "before")
    with (tmp_path / report).open("a") as stream:
        stream.write(torn)  # a line that was being written
    result = command("run", "a.bmp", "--in-place", "--report", report, "--skip-existing")
    assert ("skipped" in result.stderr) == (moment == "after"), result.stderr
    assert not temporaries(tmp_path)
    contents = read_report(report)
    assert not contents.damaged
    assert contents.entries[-1]["source"] == "a.bmp"


def test_a_report_that_cannot_record_leaves_the_file(make_image, command, monkeypatch) -> None:
    path = make_image("a.bmp")
    before = path.read_bytes()

    def fail(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tvdenoise.batch.report.os.write", fail)
    result = command("run", "a.bmp", "--in-place", "--report", "r")
    assert result.exit_code == 1
    assert "cannot record it in the report r: no space left on device; it is left unchanged" in (
        result.stderr
    )
    assert path.read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a.png", "--in-place", "-o", "b.png"), "--in-place and -o contradict each other"),
        (("a.png", "--in-place", "-o", "-"), "--in-place and -o contradict each other"),
        (("a.png", "--in-place", "--suffix", "x"), "--in-place and --suffix contradict each other"),
        (("a.png", "--in-place", "--overwrite"), "--in-place needs no --overwrite; leave it out"),
        (("a.png", "--in-place", "--again", "--skip-existing"), "--again and --skip-existing contradict"),
        (("a.png", "--again"), "--again only works with --in-place"),
        (("-", "--in-place"), "--in-place cannot replace standard input (-)"),
        (("a.png", "--in-place", "--format", "png"), "--format applies to standard output"),
        (("a.png", "--in-place", "--strip-metadata"), "--strip-metadata leaves no place to record"),
        (("a.png", "--in-place", "--report", "a.png", "--skip-existing"), "is an input or an output"),
        (("a.png", "-o", "-", "--preserve-times"), "--preserve-times works on files"),
        (("-", "-o", "b.png", "--preserve-times"), "--preserve-times works on files"),
    ],
)
def test_contradictions_are_one_line_and_change_nothing(
    arguments: tuple[str, ...], message: str, make_image, command, tmp_path: Path
) -> None:
    path = make_image("a.png")
    before = path.read_bytes()
    result = command("run", *arguments, stdin=before)
    assert result.exit_code == 2
    assert result.stderr.startswith("tvdenoise: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == ["a.png"]


def test_a_link_stays_and_what_it_leads_to_is_replaced_once(make_image, command, tmp_path: Path) -> None:
    path = make_image("real/a.png")
    (tmp_path / "link.png").symlink_to("real/a.png")
    before = path.read_bytes()
    result = command("run", "link.png", "real/a.png", "--in-place")
    assert result.exit_code == 0
    assert result.stderr.count("evaluation") == 1
    assert (tmp_path / "link.png").is_symlink()
    assert not path.is_symlink()
    assert path.read_bytes() != before


def test_other_hard_links_keep_the_old_picture_which_is_said(make_image, command, tmp_path: Path) -> None:
    path = make_image("a.png")
    (tmp_path / "b.png").hardlink_to(path)
    before = path.read_bytes()
    result = command("run", "a.png", "--in-place")
    assert "a.png: note: its other hard links" in result.stderr
    assert path.read_bytes() != before
    assert (tmp_path / "b.png").read_bytes() == before


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444])
def test_mode_bits_are_kept(mode: int, make_image, command) -> None:
    path = make_image("a.png")
    path.chmod(mode)
    assert command("run", "a.png", "--in-place").exit_code == 0
    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.parametrize("arguments", [("--in-place",), ("-o", "b.png")])
def test_times_are_those_of_the_input_when_asked(arguments, make_image, command, tmp_path: Path) -> None:
    path = make_image("a.png")
    times = (1_500_000_000_123_456_789, 1_400_000_000_987_654_321)
    os.utime(path, ns=times)
    assert command("run", "a.png", *arguments, "--preserve-times").exit_code == 0
    written = (tmp_path / arguments[-1] if "-o" in arguments else path).stat()
    assert (written.st_atime_ns, written.st_mtime_ns) == times


def test_times_are_new_unless_asked(make_image, command) -> None:
    path = make_image("a.png")
    os.utime(path, (1e9, 1e9))
    assert command("run", "a.png", "--in-place").exit_code == 0
    assert path.stat().st_mtime > 1e9


def test_names_that_differ_in_case_alone_are_two_files(make_image, command) -> None:
    paths = [make_image("a.png"), make_image("A.png")]
    if paths[0].samefile(paths[1]):
        pytest.skip("not on this file system")
    assert "2 done" in command("run", "a.png", "A.png", "--in-place").stderr


@pytest.mark.parametrize(("name", "content"), [("a.png", "JPEG"), ("a.jpg", "PNG"), ("scan", "TIFF")])
def test_the_content_decides_on_the_format(name: str, content: str, command, tmp_path: Path) -> None:
    Image.fromarray(noise(9, 9)).save(tmp_path / name, content)
    assert command("run", name, "--in-place").exit_code == 0
    with Image.open(tmp_path / name) as opened:
        assert opened.format == content


def test_a_format_that_cannot_hold_the_result_keeps_its_file(make_image, command) -> None:
    path = make_image("a.pbm", noise(9, 9) > 127)
    before = path.read_bytes()
    result = command("run", "a.pbm", "--in-place")
    assert result.exit_code == 1
    assert "PBM cannot hold 8-bit" in result.stderr
    assert path.read_bytes() == before


def test_a_file_that_changes_meanwhile_is_not_replaced(make_image, command, monkeypatch) -> None:
    path = make_image("a.png")
    encode = writing.encode

    def edit(*arguments: object) -> bytes:
        path.write_bytes(b"someone else's")
        return encode(*arguments)

    monkeypatch.setattr(writing, "encode", edit)
    result = command("run", "a.png", "--in-place")
    assert result.exit_code == 1
    assert "changed while" in result.stderr
    assert path.read_bytes() == b"someone else's"


def test_an_encoder_that_fails_leaves_the_file(make_image, command, tmp_path: Path, monkeypatch) -> None:
    path = make_image("a.png")
    before = path.read_bytes()

    def fail(_image: Image.Image, stream, *_: object, **__: object) -> None:
        stream.write(b"half")
        raise OSError("encoder error -2")

    monkeypatch.setattr(Image.Image, "save", fail)
    assert command("run", "a.png", "--in-place").exit_code == 1
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == ["a.png"]


def small_files() -> None:
    """In a new process: no file may grow beyond 8 kB, as if the disk were full."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))


def obey_permissions() -> None:
    """In a new process: be denied what the permissions deny, as root, too."""
    drop_from_bounding_set, override = 24, 1
    ctypes.CDLL(None).prctl(drop_from_bounding_set, override, 0, 0, 0)


def run_limited(folder: Path, limit, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tvdenoise", "run", *arguments],
        cwd=folder,
        env=environment(),
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [("--in-place",), ("-o", "b.png", "--overwrite")])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(arguments, make_image, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        make_image(name, noise(150, 150))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    finished = run_limited(tmp_path, small_files, "a.png", "--mu", "1e9", *arguments)
    assert finished.returncode == 1, finished.stderr
    assert "file too large" in finished.stderr
    assert finished.stderr.count("\n") == 1
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="root obeys no permissions there")
@pytest.mark.parametrize("arguments", [("--in-place",), ("-o", "x/b.png", "--overwrite")])
def test_a_read_only_folder_is_refused_and_nothing_is_changed(arguments, make_image, tmp_path: Path) -> None:
    for name in ("x/a.png", "x/b.png"):
        make_image(name)
    before = {path.name: path.read_bytes() for path in (tmp_path / "x").iterdir()}
    (tmp_path / "x").chmod(0o555)
    try:
        finished = run_limited(tmp_path, obey_permissions, "x/a.png", *arguments)
    finally:
        (tmp_path / "x").chmod(0o755)
    assert finished.returncode == 2, finished.stderr
    assert "cannot write into x" in finished.stderr.replace(str(tmp_path) + "/", "")
    assert {path.name: path.read_bytes() for path in (tmp_path / "x").iterdir()} == before


def start_in_place(folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tvdenoise", "run", "x", "--in-place", "--mu", "8"],
        stderr=subprocess.PIPE,
        cwd=folder,
        env=environment(),
    )


@pytest.mark.slow
def test_a_run_that_is_killed_at_any_moment_leaves_whole_files(make_image, process, tmp_path: Path) -> None:
    """Twelve seeded moments, each within the work on a file that is not the first."""
    names = [f"{letter}.png" for letter in "abcdef"]
    old = {}
    for seed, name in enumerate(names):
        old[name] = make_image(f"x/{name}", noise(120, 120, 3, seed=seed)).read_bytes()

    def contents() -> dict[str, bytes]:
        return {name: (tmp_path / "x" / name).read_bytes() for name in names}

    child = start_in_place(tmp_path)
    assert child.stderr is not None
    child.stderr.readline()
    since_first = time.perf_counter()
    for _ in names[1:]:
        child.stderr.readline()
    of_a_file = (time.perf_counter() - since_first) / (len(names) - 1)
    assert child.wait(timeout=60) == 0
    child.stderr.close()
    new = contents()
    moments, interrupted = random.Random(4), 0
    for _ in range(12):
        for name in names:
            (tmp_path / "x" / name).write_bytes(old[name])
        child = start_in_place(tmp_path)
        assert child.stderr is not None
        for _ in range(moments.randrange(1, len(names))):
            child.stderr.readline()
        time.sleep(moments.uniform(0, of_a_file))
        child.kill()
        child.wait(timeout=20)
        child.stderr.close()
        found = contents()
        assert all(found[name] in (old[name], new[name]) for name in names)
        interrupted += found not in (old, new)
    assert interrupted > 3, "the moments miss the work"
    finished = process("run", "x", "--in-place", "--mu", "8")
    assert finished.returncode == 0
    assert b"6 files" in finished.stderr
    assert contents() == new, "a file was denoised twice, or a temporary was taken for an input"
    assert sorted(path.name for path in (tmp_path / "x").iterdir()) == names


def test_what_a_killed_run_left_is_swept_from_the_folder_that_a_link_leads_to(
    make_image, command, tmp_path: Path
) -> None:
    path = make_image("real/a.png")
    (tmp_path / "link.png").symlink_to("real/a.png")
    left_by(path)
    assert command("run", "link.png", "--in-place").exit_code == 0
    assert not temporaries(tmp_path)


def test_in_place_keeps_the_pixels_that_any_other_run_writes(make_image, command, tmp_path: Path) -> None:
    path = make_image("a.tif", noise(10, 11, dtype=np.uint16))
    command("run", "a.tif", "-o", "b.tif")
    command("run", "a.tif", "--in-place")
    np.testing.assert_array_equal(pixels(path), pixels(tmp_path / "b.tif"))
