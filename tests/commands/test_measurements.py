"""Files as instruments write them come close to their truth, and what is no measurement comes back as it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.measurements import CASES, Case, outcome


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_result_follows_the_data_whatever_their_container(case: Case, command, tmp_path: Path) -> None:
    source, folder = tmp_path / case.name, tmp_path / "out"
    truth = case.make(source)
    result = command("run", case.name, *case.options, "-o", "out/")
    assert result.exit_code == 0, result.stderr
    found = outcome(case, truth, source, folder if source.is_dir() else folder / case.name)
    assert found.is_kept
    assert found.holds is not False, case.says
    assert (found.ratio is None) == (case.most is None)
    assert found.ratio is None or found.ratio <= case.most
    assert "nothing done" not in result.stderr
    assert "no neighbour supports" not in result.stderr  # noise that is clipped is no impulse


def test_impulses_among_balanced_neighbours_are_filled_soon(command, tmp_path: Path) -> None:
    """A speck on the edge of a letter has as many dark neighbours as bright ones, and any grey level suits it."""
    case = next(each for each in CASES if each.name == "page.png")
    case.make(tmp_path / case.name)
    report = tmp_path / "report.jsonl"
    assert command("run", case.name, *case.options, "--report", report.name).exit_code == 0
    assert json.loads(report.read_text())["iterations"] < 200


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_input_is_no_result(case: Case, tmp_path: Path) -> None:
    """The measures tell a result from an input that is left as it was, but for gain maps, which stay."""
    source = tmp_path / case.name
    truth = case.make(source)
    found = outcome(case, truth, source, source)
    if case.most is None:
        assert found.holds is (case.name == "phone.jpg")
    else:
        assert found.ratio == 1 > case.most
