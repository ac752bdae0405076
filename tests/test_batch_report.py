"""The report says what became of every file, for other programs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tvdenoise.files import writing

FIELDS = [
    "source",
    "target",
    "status",
    "reason",
    "mu",
    "epsilon",
    "sigma",
    "iterations",
    "distance_bound",
    "seconds",
]


def entries(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_file_has_a_line_with_every_field(make_image, command, tmp_path: Path) -> None:
    make_image("a.png")
    make_image("b.png").write_bytes(b"")
    assert command("run", "a.png", "b.png", "c.png", "--report", "r.jsonl").exit_code == 1
    found = {entry["source"]: entry for entry in entries(tmp_path / "r.jsonl")}
    assert all(list(entry) == FIELDS for entry in found.values())
    done = found["a.png"]
    assert (done["status"], done["target"], done["reason"]) == ("done", "a_denoised.png", None)
    assert done["mu"] == pytest.approx(1.4 / done["sigma"])
    assert done["epsilon"] == pytest.approx(0.14 / done["mu"])
    assert 0 < done["distance_bound"] <= 0.031 / done["mu"]
    assert done["iterations"] >= 1
    assert done["seconds"] > 0
    assert (found["b.png"]["status"], found["b.png"]["reason"]) == ("failed", "the file is empty")
    assert found["b.png"]["mu"] is None
    assert found["c.png"]["reason"] == "no such file or directory"
    assert found["c.png"]["target"] is None


def test_a_given_mu_leaves_sigma_empty(make_image, command, tmp_path: Path) -> None:
    make_image("a.png")
    command("run", "a.png", "--mu", "12", "--epsilon", "2.5/255", "--report", "r")
    [entry] = entries(tmp_path / "r")
    assert (entry["mu"], entry["sigma"]) == (12, None)
    assert entry["epsilon"] == pytest.approx(2.5 / 255)


def test_a_solve_that_stops_short_is_done_and_says_why(make_image, command, tmp_path: Path) -> None:
    make_image("a.png")
    result = command("run", "a.png", "--max-iterations", "2", "--report", "r")
    [entry] = entries(tmp_path / "r")
    assert result.exit_code == 0
    assert entry["status"] == "done"
    assert "iteration limit" in entry["reason"]
    assert "a.png: warning: stopped at the iteration limit, short of the tolerance; raise" in result.stderr


def test_a_tolerance_below_the_precision_is_not_blamed_on_the_iterations(make_image, command) -> None:
    make_image("a.png")
    result = command("run", "a.png", "--tolerance", "0", "--mu", "20")
    assert (
        "limit of the floating-point precision, short of the tolerance; raise --tolerance\n" in result.stderr
    )


def test_an_existing_report_is_refused_replaced_or_extended(make_image, command, tmp_path: Path) -> None:
    make_image("a.png")
    (tmp_path / "r").write_text('{"source": "old"}\n')
    result = command("run", "a.png", "--report", "r")
    assert result.exit_code == 2
    assert (
        "the report r exists already; add --overwrite to replace or --skip-existing to extend"
        in result.stderr
    )
    assert not (tmp_path / "a_denoised.png").exists()
    command("run", "a.png", "--report", "r", "--skip-existing")
    command("run", "a.png", "--report", "r", "--skip-existing")
    assert [(e["source"], e.get("status")) for e in entries(tmp_path / "r")] == [
        ("old", None),
        ("a.png", "done"),
        ("a.png", "skipped"),
    ]
    command("run", "a.png", "--report", "r", "--overwrite")
    assert [entry["source"] for entry in entries(tmp_path / "r")] == ["a.png"]


@pytest.mark.parametrize("name", ["a.png", "a_denoised.png", "./a.png"])
def test_a_report_never_replaces_an_input_or_an_output(name: str, make_image, command) -> None:
    before = make_image("a.png").read_bytes()
    result = command("run", "a.png", "--report", name, "--overwrite")
    assert result.exit_code == 2
    assert "is an input or an output" in result.stderr
    assert Path("a.png").read_bytes() == before


def test_a_report_that_cannot_be_written_is_refused(make_image, command) -> None:
    make_image("a.png")
    result = command("run", "a.png", "--report", "missing/r")
    assert result.exit_code == 2
    assert "cannot write missing/r: no such file or directory" in result.stderr


def test_each_line_is_there_before_the_next_file_begins(
    make_image, command, tmp_path: Path, monkeypatch
) -> None:
    make_image("a.png")
    make_image("b.png")
    lines_before = []
    require_carried = writing.require_carried

    def observe(*arguments: object) -> None:
        lines_before.append(len(entries(tmp_path / "r")))
        require_carried(*arguments)

    monkeypatch.setattr("tvdenoise.batch.run.require_carried", observe)
    command("run", "a.png", "b.png", "--report", "r")
    assert lines_before == [0, 1]


def test_a_name_that_is_not_utf8_can_be_read_back_from_the_report(
    make_image, process, tmp_path: Path
) -> None:
    name = os.fsencode(tmp_path) + b"/b\xffd.png"
    os.rename(make_image("a.png"), name)
    finished = process("run", name, "--report", "r")
    assert finished.returncode == 0, finished.stderr
    [entry] = entries(tmp_path / "r")
    assert os.fsencode(entry["source"]) == name
    assert rb"b\xffd.png" in finished.stderr
