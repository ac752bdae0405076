"""Patterns say which of the files in folders are taken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tvdenoise.batch.request import Patterns

PLACES = ("a.png", "b.tif", "B.TIF", "raw/a.png", "raw/old/c.tif", "day1/raw.png", "day1/x/d.png", "[e].png")


def taken(**patterns: tuple[str, ...]) -> set[str]:
    """What is taken of a tree with these places."""
    chosen = Patterns(**patterns)
    places = map(Path, PLACES)
    return {
        str(place)
        for place in places
        if chosen.takes(place) and all(chosen.enters(folder) for folder in list(place.parents)[:-1])
    }


@pytest.mark.parametrize(
    ("include", "expected"),
    [
        (("*.tif",), {"b.tif", "raw/old/c.tif"}),
        (("*.tif", "*.TIF"), {"b.tif", "raw/old/c.tif", "B.TIF"}),
        (("raw",), set()),
        (("raw/*",), {"raw/a.png"}),
        (("raw/**",), {"raw/a.png", "raw/old/c.tif"}),
        (("**/*.png",), {"a.png", "raw/a.png", "day1/raw.png", "day1/x/d.png", "[e].png"}),
        (("/*.png",), {"a.png", "[e].png"}),
        (("day?/**/d.png",), {"day1/x/d.png"}),
        (("[ab].*",), {"a.png", "b.tif", "raw/a.png"}),
        (("[[]e].png",), {"[e].png"}),
    ],
)
def test_a_file_is_included_by_its_name_or_by_its_place(include, expected: set[str]) -> None:
    assert taken(include=include) == expected


@pytest.mark.parametrize(
    ("exclude", "left_out"),
    [
        (("raw",), {"raw/a.png", "raw/old/c.tif"}),
        (("raw/",), {"raw/a.png", "raw/old/c.tif"}),
        (("raw*",), {"raw/a.png", "raw/old/c.tif", "day1/raw.png"}),
        (("raw/old",), {"raw/old/c.tif"}),
        (("*/x",), {"day1/x/d.png"}),
        (("x", "*.tif"), {"day1/x/d.png", "b.tif", "raw/old/c.tif"}),
        (("RAW",), set()),
    ],
)
def test_what_is_excluded_is_left_out_with_all_that_lies_in_it(exclude, left_out: set[str]) -> None:
    assert taken(exclude=exclude) == set(PLACES) - left_out


def test_what_is_included_and_excluded_is_left_out() -> None:
    assert taken(include=("*.png",), exclude=("day1", "a.*")) == {"[e].png"}


@pytest.fixture
def tree(make_image) -> None:
    for name in ("x/a.png", "x/b.bmp", "x/raw/c.png", "x/y/d.png"):
        make_image(name)


@pytest.mark.usefixtures("tree")
class TestCommands:
    def test_run_takes_what_the_patterns_leave(self, command) -> None:
        patterns = ("--include", "*.png", "--include", "*.jpg", "--exclude", "raw")
        result = command("run", "x", "-r", "-o", "out", *patterns)
        assert result.exit_code == 0
        assert sorted(str(path) for path in Path("out").rglob("*.*")) == ["out/a.png", "out/y/d.png"]

    def test_a_named_file_is_never_left_out(self, command) -> None:
        assert command("run", "x/b.bmp", "--include", "*.png", "--exclude", "b*").exit_code == 0
        assert Path("x/b_denoised.bmp").exists()

    def test_noise_takes_what_the_patterns_leave(self, command) -> None:
        result = command("noise", "x", "-r", "--json", "--include", "*.png", "--exclude", "y/*")
        assert [json.loads(line)["source"] for line in result.stdout.splitlines()] == [
            "x/a.png",
            "x/raw/c.png",
        ]

    @pytest.mark.parametrize("name", ["run", "noise"])
    def test_nothing_left_exits_with_3_and_names_the_patterns(self, name: str, command) -> None:
        result = command(name, "x", "--include", "*.tif", "--exclude", "a b")
        assert result.exit_code == 3
        assert result.stderr == (
            "tvdenoise: no image in x matches; change --include '*.tif' --exclude 'a b', "
            "or add --recursive to search sub-folders\n"
        )
        result = command(name, "x", "-r", "--include", "z/*")
        assert result.stderr == "tvdenoise: no image in x matches; change --include 'z/*'\n"

    @pytest.mark.parametrize("option", ["--include", "--exclude"])
    def test_an_empty_pattern_exits_with_2(self, option: str, command) -> None:
        for pattern in ("", "/"):
            result = command("run", "x", option, pattern)
            assert result.exit_code == 2
            assert result.stderr == f"tvdenoise: {option} is empty; give it a pattern such as '*.tif'\n"
