"""Help, version, and what starting costs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Annotated, get_origin, get_type_hints

import numpy as np
import pytest
import typer

import tvdenoise
from support.processes import environment
from support.samples import SAMPLES
from tvdenoise.commands.app import Command, app

HEAVY = ("numpy", "scipy", "numba", "PIL", "imagecodecs", "tifffile", "tvdenoise.api")


@pytest.mark.parametrize(
    "arguments",
    [
        *(["--help"], ["--version"], ["run", "--help"], ["help", "method"]),
        *(
            pytest.param(arguments, marks=pytest.mark.slow)
            for arguments in (["tune", "--help"], [], ["help"], ["help", "run"])
        ),
    ],
)
def test_nothing_numerical_is_imported_for_help_and_version(arguments: list[str]) -> None:
    script = (
        "import sys\n"
        f"sys.argv = ['tvdenoise', *{arguments}]\n"
        "from tvdenoise.commands.app import main\n"
        "try:\n"
        "    main()\n"
        "except SystemExit:\n"
        "    pass\n"
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", script], env=environment(), capture_output=True, text=True, check=True
    )
    assert finished.stdout or not arguments
    assert finished.stderr.splitlines()[-1] == "[]"


@pytest.mark.slow
def test_a_png_is_denoised_without_what_other_files_need(make_image, tmp_path: Path) -> None:
    """Each of these would take 10 to 200 ms of a run of half a second."""
    rows, columns = np.mgrid[:120, :160]
    noise = np.random.default_rng(0).normal(0, 12, rows.shape)
    overexposed = np.clip(160 + 80 * np.sin(rows / 20) + 60 * np.cos(columns / 25) + noise, 0, 255)
    make_image("a.png", overexposed.astype(np.uint8))  # clipped pixels are looked for, and their neighbours
    unneeded = (
        *("pydantic", "rich", "scipy.fft", "scipy.ndimage", "scipy.sparse", "scipy.special"),
        *(
            "imagecodecs",
            "matplotlib",
            "pillow_heif",
            "PIL.AvifImagePlugin",
            "PIL.WebPImagePlugin",
            "tifffile",
        ),
        *("multiprocessing", "tvdenoise.tiling.plan", "tvdenoise.tiling"),
    )
    script = (
        "import sys\n"
        "sys.argv = ['tvdenoise', 'run', 'a.png']\n"
        "from tvdenoise.commands.app import main\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        f"    print([name for name in {unneeded} if name in sys.modules])\n"
    )
    words = [sys.executable, "-c", script]
    finished = subprocess.run(
        words, env=environment(), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (tmp_path / "a_denoised.png").exists(), finished.stderr
    assert finished.stdout.splitlines()[-1] == "[]"


def test_all_parameters_of_commands_are_flags_or_text() -> None:
    """So that Typer has nothing to convert; `tvdenoise.commands.app` passes words on as they are."""
    kinds = {
        hint.__origin__ if get_origin(hint) is Annotated else hint
        for command in app.registered_commands
        for hint in get_type_hints(command.callback, include_extras=True).values()
    }
    assert kinds <= {bool, str, str | None, list[str], list[str] | None, type(None), typer.Context}


def test_words_reach_a_command_as_they_were_typed() -> None:
    seen = {}

    def take(
        inputs: Annotated[list[str], typer.Argument()],
        text: Annotated[str | None, typer.Option()] = "default",
        several: Annotated[list[str] | None, typer.Option()] = None,
        other: Annotated[str | None, typer.Option()] = None,
        flag: Annotated[bool, typer.Option("--flag")] = False,
    ) -> None:
        seen.update(inputs=inputs, text=text, several=several, other=other, flag=flag)

    small = typer.Typer()
    small.command(cls=Command)(take)
    small(["a", " é", "--several", "1", "--several", ""], standalone_mode=False)
    assert seen == {
        "inputs": ["a", " é"], "text": "default", "several": ["1", ""], "other": None, "flag": False
    }  # fmt: skip
    small(["-", "--text", "", "--flag"], standalone_mode=False)
    assert seen == {"inputs": ["-"], "text": "", "several": None, "other": None, "flag": True}


@pytest.mark.slow
@pytest.mark.parametrize("columns", [80, 100])
@pytest.mark.parametrize("name", ["run", "watch", "tune", "noise", "compare", "report", "help"])
def test_the_sentences_of_a_help_fill_the_lines_of_the_terminal(
    name: str, columns: int, command, monkeypatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    shown = command(name, "--help").stdout
    assert max(map(len, shown.splitlines())) == columns
    lines = [line.strip() for line in shown.partition(" Examples")[0].splitlines()]
    for line, following in pairwise(lines):
        if line and following:
            assert len(f"{line} {following.split()[0]}") > columns - 2, line


def test_the_version_is_the_package_s(command) -> None:
    assert command("--version").stdout == f"tvdenoise {tvdenoise.__version__}\n"


def test_the_help_of_run_teaches(command, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    shown = command("run", "--help").stdout
    for text in (
        "tvdenoise run photo.png --mu 20",
        "2.5/255",
        "Exit codes",
        "130",
        "Advanced",
        "By default 0.14 / mu",
    ):
        assert text in shown


def test_the_help_of_tune_teaches(command, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    shown = command("tune", "--help").stdout
    for text in (
        "tvdenoise tune photo.png --strength 0.25,0.5,1,2,4",
        "mu decreases from left to right",
        "NAME_tune.png",
        "with both noise and structure",
        "the command that denoises the whole image with",
    ):
        assert text in shown


@pytest.mark.parametrize(
    ("arguments", "told", "command_told"),
    [
        (["run"], r"missing argument 'INPUT\.\.\.'", "tvdenoise run"),
        (["run", "--nose", "white", "a.png"], "no such option.*--noise", "tvdenoise run"),
        (["run", "--overwrite=yes", "a.png"], "option '--overwrite' does not take a value", "tvdenoise run"),
        (["run", "a.png", "--quiet=3"], "option '--quiet' does not take a value", "tvdenoise run"),
        (["watch", "in", "-o"], "option '-o' requires an argument", "tvdenoise watch"),
        (["rnu", "a.png"], "no such command 'rnu'.*'run'", "tvdenoise"),
        (["--bogus"], "no such option.*--bogus", "tvdenoise"),
    ],
)
def test_errors_of_usage_are_one_line(command, arguments: list[str], told: str, command_told: str) -> None:
    result = command(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert re.fullmatch(f"tvdenoise: {told}.*; see {command_told} --help\n", result.stderr)


def test_flags_are_shown_without_a_type(command, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    for arguments in (["--help"], ["run", "--help"], ["tune", "--help"]):
        assert "bool" not in command(*arguments).stdout.lower()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("run", ["INPUT..."]),
        ("watch", ["FOLDER"]),
        ("tune", ["IMAGE"]),
        ("noise", ["IMAGE..."]),
        ("compare", ["REFERENCE", "IMAGE..."]),
        ("report", ["FILE..."]),
        ("help", ["[TOPIC]"]),
    ],
)
def test_arguments_are_shown_by_name_alone(command, monkeypatch, name: str, arguments: list[str]) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    shown = command(name, "--help").stdout
    assert re.search(rf"Usage: \S+ {name} {re.escape(' '.join(['[OPTIONS]', *arguments]))} ", shown)
    for argument in arguments:
        assert re.search(rf"│ +\*? +{re.escape(argument.strip('[]'))}  +[A-Z]", shown)
    assert "list[" not in shown


def test_the_completion_of_shells_is_offered(command) -> None:
    shown = command("--help").stdout
    assert "--show-completion" in shown
    assert "--install-completion" in shown


def test_a_wrong_command_exits_with_2(process) -> None:
    finished = process("rum", "a.png")
    assert finished.returncode == 2
    assert b"Traceback" not in finished.stderr


@pytest.mark.slow
def test_what_libraries_log_reaches_no_terminal() -> None:
    script = (
        "import logging, sys\n"
        "sys.argv = ['tvdenoise', '--version']\n"
        "from tvdenoise.commands.app import main\n"
        "try:\n"
        "    main()\n"
        "except SystemExit:\n"
        "    pass\n"
        "logging.getLogger('watchdog.observers.inotify').error('the thread is inactive')\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", script], env=environment(), capture_output=True, check=True
    )
    assert finished.stderr == b""


@pytest.mark.slow
def test_a_plot_without_a_writable_home_folder_is_told_as_ever(tmp_path: Path) -> None:
    shutil.copy(SAMPLES / "camera.png", tmp_path)
    (tmp_path / "file").touch()
    nowhere = {"HOME": str(tmp_path / "file")} | dict.fromkeys(("MPLCONFIGDIR", "XDG_CONFIG_HOME"), "")
    arguments = ["compare", "camera.png", "camera.png", "--plot", "plot.png"]
    finished = subprocess.run(
        [sys.executable, "-m", "tvdenoise", *arguments],
        env=environment() | nowhere,
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )
    assert (tmp_path / "plot.png").exists()
    assert finished.stderr == b""
