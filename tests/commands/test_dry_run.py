"""``tvdenoise run --dry-run``: the plan on standard output, and nothing changed anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.processes import left_by
from support.values import noise


def state(folder: Path) -> dict[str, tuple[int, int]]:
    """What a run would change: the names, sizes and times of everything."""
    paths = [folder, *folder.rglob("*")]
    return {str(path): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in paths}


@pytest.fixture
def tree(make_image, tmp_path: Path) -> Path:
    """Files that are good, damaged, done, odd in name, and a temporary that a dead run left."""
    make_image("x/a.png")
    make_image("x/b.jpg", noise(8, 9, 3))
    make_image("x/y/c\td.png")
    make_image("out/b.jpg", noise(8, 9, 3))
    (tmp_path / "x/bad.png").write_text("hello")
    left_by(tmp_path / "out/a")
    return tmp_path


def test_every_file_has_a_line_with_tabs_and_nothing_is_changed(tree: Path, command) -> None:
    before = state(tree)
    result = command(
        "run", "x", "gone.png", "-r", "-o", "out", "--skip-existing", "--dry-run", "--report", "r"
    )
    assert result.exit_code == 1
    lines = [line.split("\t") for line in result.stdout.splitlines()]
    bad = next(line for line in lines if line[0] == "x/bad.png")
    assert bad[:6] == ["x/bad.png", "out/bad.png", "", "", "", "fail"]
    assert bad[6].startswith("not an image, or damaged; tvdenoise reads PNG")
    assert [line for line in lines if line is not bad] == [
        ["gone.png", "", "", "", "", "fail", "no such file or directory"],
        ["x/b.jpg", "out/b.jpg", "", "", "", "skip", "exists"],
        ["x/a.png", "out/a.png", "17", "12", "1", "denoise", ""],
        [r"x/y/c\td.png", r"out/y/c\td.png", "17", "12", "1", "denoise", ""],
    ]
    assert result.stderr == "5 files: 2 to denoise, 1 to skip, 2 would fail; nothing was written\n"
    assert state(tree) == before


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("x", "-o", "new/deep"), 1),
        (("x", "-o", "out"), 2),
        (("x/a.png", "-o", "x/a.png"), 2),
        (("x/a.png", "-o", "x/a.png/b.png"), 2),
        (("x/a.png", "--report", "x/a.png"), 2),
        (("x/a.png", "--report", "gone/r"), 2),
        (("out", "--include", "*.gif"), 3),
        (("x/a.png", "--report", "r"), 0),
    ],
)
def test_the_exit_code_is_that_of_the_run_and_nothing_is_changed(
    arguments, code: int, tree: Path, command
) -> None:
    before = state(tree)
    result = command("run", *arguments, "--dry-run")
    assert result.exit_code == code
    assert (result.stdout == "") == (code in (2, 3))
    assert state(tree) == before
    assert command("run", *arguments).exit_code == code


def test_what_is_denoised_already_in_place_would_be_skipped(make_image, command, tmp_path: Path) -> None:
    make_image("a.png")
    make_image("b.bmp")
    assert command("run", "a.png", "b.bmp", "--in-place", "--report", "r.csv").exit_code == 0
    make_image("c.png", noise(5, 5))
    before = state(tmp_path)
    result = command(
        *("run", "a.png", "b.bmp", "c.png", "--in-place", "--report", "r.csv", "--skip-existing", "--dry-run")
    )
    assert [line.split("\t")[5:] for line in result.stdout.splitlines()] == [
        *(["skip", "already denoised"], ["skip", "already denoised"], ["denoise", ""])
    ]
    assert state(tmp_path) == before


def test_a_picture_that_is_too_large_would_fail(make_image, command) -> None:
    make_image("a.png", noise(50, 60))
    result = command("run", "a.png", "--max-pixels", "0.002", "--dry-run")
    assert result.exit_code == 1
    assert "\tfail\tits 60 × 50 pixels exceed the limit of 0.002 megapixels" in result.stdout


def test_a_format_that_is_only_read_would_fail(make_image, command) -> None:
    make_image("x/a.gif")
    for arguments in (("x", "-o", "out"), ("x",), ("x/a.gif",)):
        assert command("run", *arguments, "--dry-run").exit_code == command("run", *arguments).exit_code


def test_standard_streams_are_planned_and_neither_read_nor_written(command) -> None:
    result = command("run", "-", "-o", "b.png", "--dry-run", stdin=b"no image")
    assert result.exit_code == 0
    assert result.stdout == "-\tb.png\t\t\t\tdenoise\t\n"
    assert command("run", "-", "--dry-run", stdin=b"no image").stdout == "-\t-\t\t\t\tdenoise\t\n"


def test_quiet_prints_the_plan_alone(make_image, command) -> None:
    make_image("a.png")
    result = command("run", "a.png", "--dry-run", "--quiet")
    assert result.stdout.startswith("a.png\t")
    assert result.stderr == ""


@pytest.mark.slow
def test_a_terminal_shows_a_table_in_which_no_name_is_cut(make_image, process_on_terminal) -> None:
    name = f"{'long' * 40}[red].png"
    make_image(name)
    make_image("b.png").write_bytes(b"")
    code, shown = process_on_terminal("run", name, "b.png", "--dry-run", shows_output=True)
    assert code == 1
    assert "action" in shown
    assert "17 × 12" in shown
    assert "fail: the file is empty" in shown
    assert shown.count("long") >= 70  # of 80, which a line break parts here and there
    assert "\t" not in shown
    assert "nothing was written" in shown
