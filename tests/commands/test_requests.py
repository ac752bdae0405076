"""Requests that cannot be carried out: one clear line, exit code 2 or 3, nothing done."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from support.processes import environment
from support.values import noise
from tvdenoise.batch.denoiser import Denoiser
from tvdenoise.files import atomic


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        *[("--mu", value, "--mu must be positive and finite") for value in ("0", "-1", "nan", "inf", "0/5")],
        *[("--epsilon", value, "--epsilon must be positive and finite") for value in ("-1", "0", "nan")],
        *[("--sigma", value, "--sigma must be positive and finite") for value in ("0", "-0.1")],
        *[("--chroma", value, "--chroma must be positive and finite") for value in ("0", "inf")],
        ("--tolerance", "-1", "--tolerance must be at least 0 and finite"),
        ("--data-range", "0", "--data-range must be positive and finite"),
        ("--max-pixels", "-3", "--max-pixels must be positive and finite"),
        *[
            ("--mu", value, "--mu must be a number such as 0.01 or 2.5/255")
            for value in ("ten", "1/0", "1/2/3")
        ],
        ("--mu", "1e-61", "--mu must be at least 1e-60 and at most"),
        ("--mu", "1e61", "--mu must be at least 1e-60 and at most"),
        ("--epsilon", "1e-61", "--epsilon must be at least 1e-60 and at most"),
        *[
            ("--chroma", value, "--chroma must be at least 0.001 and at most 1000")
            for value in ("1e-4", "1e4")
        ],
        *[(option, "0", f"{option} must be at least 1") for option in ("--max-iterations", "--threads")],
        *[("--quality", value, "--quality must be at least 1 and at most 100") for value in ("0", "101")],
        *[("--threads", value, "--threads must be a whole number") for value in ("two", "1.5", "")],
        ("--strength", "1e7", "--strength must be at least 1e-06 and at most 1e+06"),
        *[("--data-range", value, "--data-range must be at least") for value in ("1e-61", "1e61")],
        *[(option, "2.5", "did you mean 2.5/255?") for option in ("--epsilon", "--sigma", "--tolerance")],
    ],
)
def test_a_number_out_of_its_bounds_is_one_clear_line(
    option: str, value: str, message: str, make_image, command, tmp_path: Path
) -> None:
    make_image("a.png")
    result = command("run", "a.png", option, value)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.startswith("tvdenoise: ")
    assert result.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--tv", "round"),
        ("--engine", "steam"),
        ("--no-such-option",),
    ],
)
def test_options_that_typer_checks_exit_with_2(arguments: tuple[str, ...], make_image, command) -> None:
    make_image("a.png")
    result = command("run", "a.png", *arguments)
    assert result.exit_code == 2
    assert arguments[0] in result.stderr


def test_mu_and_sigma_together_are_refused(make_image, command) -> None:
    make_image("a.png")
    result = command("run", "a.png", "--mu", "3", "--sigma", "0.1")
    assert result.exit_code == 2
    assert "--sigma" in result.stderr


def test_no_input_exits_with_2(command) -> None:
    assert command("run").exit_code == 2


def test_a_folder_without_images_exits_with_3(command, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    result = command("run", "x")
    assert result.exit_code == 3
    assert result.stderr == "tvdenoise: no image in x; add --recursive to search sub-folders\n"


def test_only_missing_inputs_exit_with_1(command) -> None:
    result = command("run", "a.png")
    assert result.exit_code == 1
    assert result.stderr == "tvdenoise: a.png: no such file or directory\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a.png", "-o", "a.png", "--overwrite"), "a.png: "),
        (("a.png", "b.png", "-o", "c.png"), "-o c/"),
        (("a.png", "-o", "c.xyz"), ".xyz"),
        (("a.png", "x/a.png", "-o", "out/"), "out/a.png"),
        (("b.png",), "the output b_denoised.png already exists; add --overwrite"),
        (("a.png", "--overwrite", "--skip-existing"), "--skip-existing"),
        (("a.png", "-o", "b.png/c.png"), "not a directory"),
    ],
)
def test_plans_that_would_do_harm_exit_with_2_and_do_nothing(
    arguments: tuple[str, ...], message: str, make_image, command, tmp_path: Path
) -> None:
    for name in ("a.png", "x/a.png", "b.png", "b_denoised.png"):
        make_image(name)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    result = command("run", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")} == before


def test_an_output_folder_that_cannot_be_written_exits_with_2(make_image, command, monkeypatch) -> None:
    make_image("a.png", noise(5, 5))

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(atomic.os, "open", refuse)
    result = command("run", "a.png")
    assert result.exit_code == 2
    assert "cannot write into" in result.stderr
    assert "permission denied" in result.stderr


def test_a_disk_that_fills_up_fails_the_file_and_keeps_the_old_one(
    make_image, command, monkeypatch, tmp_path: Path
) -> None:
    make_image("a.png", noise(5, 5))
    old = make_image("a_denoised.png").read_bytes()

    def fail(_descriptor: int) -> None:
        if any(path.stat().st_size for path in tmp_path.glob(".*.tmp")):  # the probe is empty
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic.os, "fsync", fail)
    result = command("run", "a.png", "--overwrite")
    assert result.exit_code == 1
    assert "a.png" in result.stderr
    assert "no space left on device" in result.stderr
    assert (tmp_path / "a_denoised.png").read_bytes() == old
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "a_denoised.png"]


@pytest.mark.parametrize("value", ["3/2", "256", "1e3", "510/255"])
def test_what_no_grey_level_can_be_is_not_suggested(value: str, make_image, command) -> None:
    make_image("a.png")
    result = command("run", "a.png", "--epsilon", value)
    assert result.exit_code == 2
    reason = f"--epsilon {value} is above 1"
    assert reason in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("",), "an input name is empty"),
        (("a.png", ""), "an input name is empty"),
        (("a.png", "-o", ""), "-o is empty; give it a name"),
        (("a.png", "--report", ""), "--report is empty; give it a name"),
    ],
)
def test_an_empty_name_is_not_the_current_folder(arguments, message: str, make_image, command) -> None:
    make_image("a.png")
    result = command("run", *arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"tvdenoise: {message}")
    assert [path.name for path in Path().iterdir()] == ["a.png"]


LONG = "a" * 300


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("a.png", "-o", f"{LONG}.png"), 1, "file name too long; choose a shorter name"),
        (("a.png", "-o", f"{LONG}"), 1, "file name too long; choose a shorter name"),
        (("a.png", "-o", f"{LONG}/b.png"), 1, "file name too long"),
        ((LONG,), 1, "file name too long"),
        ((LONG, "-o", "b.png"), 1, "file name too long"),
        ((LONG, "-o", "-"), 1, "file name too long"),
        (("-", "-o", f"{LONG}.png"), 1, "file name too long"),
        (("a.png", "--report", LONG), 2, "file name too long"),
        (("a.png", "-o", "loop/"), 2, "too many levels of symbolic links; choose another folder"),
        (("a.png", "-o", "loop"), 2, "too many levels of symbolic links"),
        (("a.png", "-o", "loop/b.png"), 2, "too many levels of symbolic links"),
        (("loop", "-r"), 1, "too many levels of symbolic links"),
    ],
)
def test_names_that_lead_nowhere_are_one_line(
    arguments, code: int, message: str, make_image, command
) -> None:
    contents = make_image("a.png").read_bytes()
    Path("loop").symlink_to("loop")
    result = command("run", *arguments, stdin=contents)
    assert result.exit_code == code
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    assert sorted(path.name for path in Path().iterdir()) == ["a.png", "loop"]


def obey_permissions() -> None:
    """In a new process: be denied what the permissions deny, as root, too."""
    drop_from_bounding_set, override, read_search = 24, 1, 2
    for capability in (override, read_search):
        ctypes.CDLL(None).prctl(drop_from_bounding_set, capability)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="root obeys no permissions there")
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("a.png", "-o", "private/x.png"), 2),
        (("a.png", "-o", "private/sub/x.png"), 2),
        (("a.png", "-o", "private/sub/"), 2),
        (("a.png", "--report", "private/r"), 2),
        (("private/b.png",), 1),
        (("private",), 1),
        (("private/b.png", "-o", "-"), 1),
        (("listed",), 2),
        (("listed", "-o", "out"), 1),
    ],
)
def test_what_is_private_to_others_is_one_line(arguments, code: int, make_image, tmp_path: Path) -> None:
    for name in ("a.png", "private/b.png", "listed/c.png"):
        make_image(name)
    (tmp_path / "private").chmod(0)
    (tmp_path / "listed").chmod(0o444)
    try:
        finished = subprocess.run(
            [sys.executable, "-m", "tvdenoise", "run", *arguments],
            cwd=tmp_path,
            env=environment(),
            preexec_fn=obey_permissions,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        for name in ("private", "listed"):
            (tmp_path / name).chmod(0o777)
    assert finished.returncode == code, finished.stderr
    assert "permission denied" in finished.stderr
    assert finished.stderr.startswith("tvdenoise: ")
    assert finished.stderr.count("\n") == 1


def test_an_error_of_the_system_that_nobody_expected_is_one_line(make_image, command, monkeypatch) -> None:
    make_image("a.png")

    def fail(_request: object, **_: object) -> None:
        raise OSError(5, "Input/output error", "a\n.png")

    monkeypatch.setattr("tvdenoise.batch.plan.make_plan", fail)
    result = command("run", "a.png")
    assert result.exit_code == 1
    assert result.stderr == "tvdenoise: a\\n.png: input/output error\n"
    assert "Traceback" in command("run", "a.png", "--debug").stderr


@pytest.mark.parametrize("bound", [float("nan"), float("inf")])
def test_a_solve_that_broke_down_writes_nothing(bound: float, make_image, command, monkeypatch) -> None:
    make_image("a.png")
    solve = Denoiser.solve
    monkeypatch.setattr(
        Denoiser, "solve", lambda *given, **named: replace(solve(*given, **named), distance_bound=bound)
    )
    result = command("run", "a.png")
    assert result.exit_code == 1
    assert result.stderr.startswith("tvdenoise: a.png: the solve broke down; ")
    assert [path.name for path in Path().iterdir()] == ["a.png"]
