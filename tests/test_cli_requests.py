"""Requests that cannot be carried out: one clear line, exit code 2 or 3, nothing done."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import noise

from tvdenoise.files import atomic


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        *[("--mu", value, "--mu must be positive and finite") for value in ("0", "-1", "nan", "inf", "0/5")],
        *[("--epsilon", value, "--epsilon must be positive and finite") for value in ("-1", "0", "nan")],
        *[("--sigma", value, "--sigma must be positive and finite") for value in ("0", "-0.1")],
        *[("--chroma", value, "--chroma must be positive and finite") for value in ("0", "inf")],
        ("--tolerance", "-1", "--tolerance must be positive and finite"),
        ("--data-range", "0", "--data-range must be positive and finite"),
        ("--max-pixels", "-3", "--max-pixels must be positive and finite"),
        *[
            ("--mu", value, "--mu must be a number such as 0.01 or 2.5/255")
            for value in ("ten", "1/0", "1/2/3")
        ],
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
        ("--max-iterations", "0"),
        ("--threads", "0"),
        ("--quality", "101"),
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
    assert "--sigma only serves to choose --mu" in result.stderr


def test_no_input_exits_with_2(command) -> None:
    assert command("run").exit_code == 2


def test_a_folder_without_images_exits_with_3(command, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    result = command("run", "x")
    assert result.exit_code == 3
    assert result.stderr == "tvdenoise: no image in x; add --recursive for its sub-folders\n"


def test_only_missing_inputs_exit_with_1(command) -> None:
    result = command("run", "a.png")
    assert result.exit_code == 1
    assert result.stderr == "tvdenoise: a.png: no such file or directory\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a.png", "-o", "a.png", "--overwrite"), "the output would be the input; choose another name"),
        (("a.png", "b.png", "-o", "c.png"), "names one file for several inputs; name a folder: -o c/"),
        (("a.png", "-o", "c.xyz"), "the extension .xyz is of no known format"),
        (("a.png", "x/a.png", "-o", "out/"), "would both become out/a.png; give them different names"),
        (("b.png",), "the output b_denoised.png exists already; add --overwrite"),
        (("a.png", "--overwrite", "--skip-existing"), "contradict each other"),
        (("a.png", "-o", "b.png/c.png"), "not a directory; choose another folder"),
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
    assert "permission denied; choose another folder with -o" in result.stderr


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
    assert "no space left on device; free some space" in result.stderr
    assert (tmp_path / "a_denoised.png").read_bytes() == old
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "a_denoised.png"]
