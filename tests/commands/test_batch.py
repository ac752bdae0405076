"""A folder with everything in it: what is done, what fails and why, what is left alone."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from support.processes import left_by, temporaries
from support.values import noise

GOOD = (
    *("a.png", "alpha.png", "b.jpg", "b.tif", "deep.png", "e.bmp", "linked.png"),
    *("odd \x1b\n.png", "sub/c.webp", "sub/sub/d.pgm"),
)
BAD = {
    "damaged.png": "not an image, or damaged; tvdenoise reads PNG",
    "empty.png": "the file is empty",
    "nan.tif": "some values are not finite (NaN); replace them by numbers, or give --nan fill or --nan keep",
    "nowhere.png": "no such file or directory",
    "sub/cut.jpg": "the file is damaged (",
}
JUNK = (".DS_Store", "._a.png", ".hidden/a.png", "desktop.ini", "Thumbs.db", "notes.txt", "a_denoised.png")


@pytest.fixture
def folder(make_image, tmp_path: Path) -> Path:
    """Ten good files, five bad ones, junk and links, in folders of folders."""
    make_image("in/a.png")
    make_image("in/alpha.png", noise(9, 8, 4))
    make_image("in/b.jpg", noise(16, 17, 3))
    make_image("in/b.tif", noise(7, 8, dtype=np.uint16))
    make_image("in/deep.png", noise(7, 8, dtype=np.uint16))
    make_image("in/e.bmp", noise(7, 8, 3))
    make_image("in/odd \x1b\n.png")
    make_image("in/sub/c.webp", noise(8, 8, 3), lossless=True)
    make_image("in/sub/sub/d.pgm")
    make_image("elsewhere/original.png")
    make_image("in/nan.tif", np.full((4, 4), np.nan, np.float32))
    cut = make_image("in/sub/cut.jpg", noise(40, 40, 3))
    cut.write_bytes(cut.read_bytes()[:900])
    inputs = tmp_path / "in"
    (inputs / "empty.png").touch()
    (inputs / "damaged.png").write_text("hello")
    (inputs / "linked.png").symlink_to("../elsewhere/original.png")
    (inputs / "nowhere.png").symlink_to("../elsewhere/gone.png")
    (inputs / "sub/loop").symlink_to("..")
    os.mkfifo(inputs / "pipe.png")
    for name in JUNK:
        (inputs / name).parent.mkdir(exist_ok=True)
        (inputs / name).write_bytes(b"junk")
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.mark.parametrize("jobs", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_counts_messages_and_exit_code_are_exactly_right(jobs: str, folder: Path, command) -> None:
    before = contents(folder / "in")
    run = ("run", "in", "-r", "-o", "out", "--jobs", jobs, "--report", "r.jsonl")
    result = command(*run)
    assert (result.exit_code, result.stdout) == (1, "")
    told = result.stderr.splitlines()
    for name, reason in BAD.items():
        [line] = [line for line in told if line.startswith(f"tvdenoise: in/{name}: ")]
        assert reason in line
    assert sum(" → " in line for line in told) == len(GOOD)
    assert "in/odd \\x1b\\n.png → out/odd \\x1b\\n.png: " in result.stderr
    assert told[-1] == "15 files: 10 done, 5 failed, 0 skipped"
    assert len(told) == 16
    done = contents(folder / "out")
    assert set(done) == set(GOOD)
    assert not any(path.is_symlink() for path in (folder / "out").rglob("*"))
    assert contents(folder / "in") == before
    entries = [json.loads(line) for line in (folder / "r.jsonl").read_text().splitlines()]
    assert Counter(entry["status"] for entry in entries) == {"done": 10, "failed": 5}
    assert {entry["source"] for entry in entries} == {f"in/{name}" for name in (*GOOD, *BAD)}
    assert not temporaries(folder)

    result = command(*run, "--skip-existing")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == "15 files: 0 done, 5 failed, 10 skipped"
    assert contents(folder / "out") == done
    shown = json.loads(command("report", "r.jsonl", "--json").stdout)
    assert (shown["done"], shown["failed"], shown["skipped"]) == (10, 5, 0)


def test_a_run_that_finds_all_done_removes_what_a_killed_one_left(
    make_image, command, tmp_path: Path
) -> None:
    make_image("a.png")
    assert command("run", "a.png", "-o", "out/").exit_code == 0
    left_by(tmp_path / "out" / "a")
    result = command("run", "a.png", "-o", "out/", "--skip-existing", "--dry-run")
    assert result.exit_code == 0
    assert temporaries(tmp_path), "a dry run changes nothing"
    result = command("run", "a.png", "-o", "out/", "--skip-existing")
    assert result.stderr == "a.png → out/a.png: exists, skipped\n"
    assert not temporaries(tmp_path)


@pytest.mark.parametrize("jobs", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_the_first_failure_ends_a_run_that_asks_for_it(jobs: str, make_image, command) -> None:
    make_image("a.png", noise(2, 2))
    make_image("bad.png").write_bytes(b"")
    for name in ("long.png", "longer.png"):
        make_image(name, noise(1200, 1200))
    endless = ("--step", "fixed", "--mu", "0.01", "--tolerance", "1e-5", "--max-iterations", "100000")
    names = ("a.png", "bad.png", "long.png", "longer.png")
    result = command("run", *names, "--fail-fast", "--jobs", jobs, *endless)
    assert result.exit_code == 1
    told = result.stderr.splitlines()
    assert "tvdenoise: bad.png: the file is empty" in told
    assert re.fullmatch(r"(2 of 4 files: 1|1 of 4 files: 0) done.*, 1 failed, 0 skipped", told[-1])
    assert not temporaries(Path())


def test_what_would_be_one_file_elsewhere_is_refused_before_any_work(
    folder: Path, make_image, command
) -> None:
    make_image("more/sub/C.webp")
    before = contents(folder)
    result = command("run", "in", "more", "-r", "-o", "out")
    assert result.exit_code == 2
    assert result.stderr == (
        "tvdenoise: in/sub/c.webp and more/sub/C.webp would both become out/sub/C.webp; "
        "give them different names, or run them separately\n"
    )
    assert contents(folder) == before
