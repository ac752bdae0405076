"""What the README claims of commands, options and formats."""

import re
import shlex
from pathlib import Path

import pytest

from tvdenoise.errors import ExitCode
from tvdenoise.files.decoded import PIXEL_KINDS
from tvdenoise.formats.family import METADATA_NAMES
from tvdenoise.formats.registry import FORMATS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def table_of_formats() -> str:
    """The rows of the README's table of formats, made from the data of the readers and writers."""
    rows = []
    for form in FORMATS:
        if form.kinds:
            kinds = ", ".join(name for kind, name in PIXEL_KINDS.items() if kind in form.kinds)
            kept = ", ".join(name for field, name in METADATA_NAMES.items() if field in form.carries)
            if form.approximates:
                rough = (name for kind, name in PIXEL_KINDS.items() if kind in form.approximates)
                kinds += f"; what was {form.name} before, with 256 colours: {', '.join(rough)}"
            several = form.several or "–"
            rows.append(
                f"| {form.name} ({' '.join(form.extensions)}) | {kinds} | {kept or '–'} | {several} |"
            )
    return "\n".join(rows)


def _command(marker: str) -> str:
    found = re.search(rf"<!-- {marker} -->\n```sh\n(.+)\n```", README)
    assert found, marker
    return found[1]


def test_the_table_of_formats_is_that_of_the_readers_and_writers():
    assert table_of_formats() in README


def test_the_first_command_names_a_sample_that_exists_and_may_be_run_twice():
    words = shlex.split(_command("first command"))
    sample = next(word for word in words if word.startswith("sample_images/"))
    assert (ROOT / sample).is_file()
    assert "--overwrite" in words


def test_the_test_command_runs_pytest():
    assert _command("test command").endswith("-m pytest")


@pytest.mark.parametrize(
    "command",
    re.findall(r"^ *tvdenoise ((?:run|watch|compare|tune|noise) .+?)(?:  +#.*)?$", README, re.MULTILINE),
)
def test_the_examples_use_options_that_exist(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    from typer.testing import CliRunner

    from tvdenoise.commands.app import app

    name, *words = shlex.split(command)
    shown = CliRunner().invoke(app, [name, "--help"]).stdout
    for word in words:
        if re.fullmatch(r"--?[a-z].*", word):
            assert re.search(rf"(?<![\w-]){word}(?![\w-])", shown), word


def test_every_exit_code_is_explained():
    for code in ExitCode:
        assert re.search(rf"^\|[^|]*\b{code.value}\b", README, re.MULTILINE), code


def test_the_pictures_exist():
    for name in re.findall(r"!\[.*?\]\((.*?)\)", README):
        assert (ROOT / name).is_file()
