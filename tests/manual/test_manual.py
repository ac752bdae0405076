"""What the README and the manual claim of commands, options, formats and functions, and where their links lead."""

from __future__ import annotations

import inspect
import re
import shutil
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from make_manual import TABLES, commands_page, with_table
from support.pages import (
    MANUAL,
    PAGES,
    ROOT,
    anchors_of,
    blocks_of,
    command_lines_of,
    inline_of,
    links_of,
    text_of,
)
from tvdenoise import Solution, denoise
from tvdenoise.batch.report_format import FIELDS
from tvdenoise.commands.help import topics
from tvdenoise.errors import ExitCode

MADE_BY = "run python tests/make_manual.py"
#: Options that a page invents to explain how options are added.
INVENTED = {"--relaxation"}
#: Options of pytest, pip and Dask are not ours; those of benchmarks are in their sources.
SCRIPTS = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests" / "benchmarks").glob("*.py"))


def each(pairs: list[tuple[Path, object]]) -> pytest.MarkDecorator:
    """A test for each thing on each page, named by both."""
    ids = [f"{page.stem}: {' '.join(thing) if isinstance(thing, tuple) else thing}" for page, thing in pairs]
    return pytest.mark.parametrize(("page", "thing"), pairs, ids=ids)


def test_the_page_of_commands_is_that_of_the_application() -> None:
    assert text_of(MANUAL / "commands.md") == commands_page(), MADE_BY


@pytest.mark.parametrize("page", TABLES, ids=lambda page: page.name)
def test_the_tables_of_formats_are_those_of_the_readers_and_writers(page: Path) -> None:
    assert text_of(page) == with_table(text_of(page), TABLES[page]()), MADE_BY


@each([(page, target) for page in PAGES for target in links_of(page) if not target.startswith("http")])
def test_a_link_leads_to_a_file_and_a_heading(page: Path, thing: str) -> None:
    path, _, anchor = thing.partition("#")
    target = (page.parent / path).resolve() if path else page
    assert target.is_file()
    assert target.is_relative_to(ROOT)
    assert not anchor or anchor in anchors_of(target)


@pytest.mark.slow
@each([(page, code) for page in PAGES for code in blocks_of(page, "python")])
def test_a_python_example_runs(
    page: Path, thing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(
        ROOT / "sample_images", tmp_path / "sample_images", ignore=shutil.ignore_patterns("readme")
    )
    monkeypatch.chdir(tmp_path)
    exec(compile(thing, page.name, "exec"), {})


@pytest.mark.slow
@each([(page, line) for page in PAGES for line in command_lines_of(page, "tvdenoise")])
def test_a_command_line_fails_for_nothing_but_its_files(page: Path, thing: tuple[str, ...], command) -> None:
    """In a folder without the files that it names, whatever else could be wrong with it is told first."""
    name, *others = thing
    if not others:  # the command's name alone, within a sentence
        assert command(name, "--help").exit_code == 0
        return
    result = command(*thing, stdin=b"")
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "--help" not in result.stderr, page
    for word in others:
        if re.fullmatch(r"--?[a-z].*", word):
            assert not re.search(rf"(?<!\S){word}\b", result.stderr), result.stderr


@each([(page, line) for page in PAGES for line in command_lines_of(page, "python")])
def test_a_script_exists_and_knows_its_options(page: Path, thing: tuple[str, ...]) -> None:
    script = next((word for word in thing if word.endswith(".py")), None)
    if script is None:
        assert thing[:2] == ("-m", "pytest"), page
        return
    source = (ROOT / script).read_text(encoding="utf-8")
    for word in thing:
        if word.startswith("--"):
            assert f'"{word}"' in source


@each(
    sorted({(page, code.split()[0]) for page in PAGES for code in inline_of(page) if code.startswith("--")})
)
def test_an_option_within_a_sentence_exists(page: Path, thing: str) -> None:
    is_ours = re.search(rf"`(?:-\w, )?{thing}[ `]", commands_page())
    assert is_ours or thing in INVENTED or f'"{thing}"' in SCRIPTS, page


@each(
    [
        (page, code)
        for page in PAGES
        for code in inline_of(page)
        if re.match(r"(?:tests|sample_images|tvdenoise)/\S+$", code)
    ]
)
def test_a_file_of_the_project_named_within_a_sentence_exists(page: Path, thing: str) -> None:
    assert (ROOT / thing).exists(), page


def test_every_page_is_listed_and_shipped() -> None:
    assert {path.stem for path in MANUAL.glob("*.md")} == {*topics(), "index"}
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert settings["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == [
        MANUAL.parent.name
    ]  # data too


def test_every_exit_code_is_explained() -> None:
    explained = re.findall(r"^\| (\d+)(?:, (\d+))? \|", text_of(MANUAL / "batches.md"), re.MULTILINE)
    assert {int(code) for codes in explained for code in codes if code} == set(ExitCode)


def test_every_field_of_a_report_is_explained() -> None:
    assert set(FIELDS) <= set(inline_of(MANUAL / "batches.md"))


def test_every_argument_and_every_field_of_a_solution_is_on_the_page_about_python() -> None:
    named = set(inline_of(MANUAL / "python.md"))
    assert {*inspect.signature(denoise).parameters} - {"noisy"} <= named
    assert {field.name for field in fields(Solution)} | {"sigma", "converged"} <= named


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_image_has_a_description(page: Path) -> None:
    assert "![](" not in text_of(page)
