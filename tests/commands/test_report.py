"""``tvdenoise report``: what reports say of all their files."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tvdenoise.batch.report_format import FIELDS, Csv, JsonLines

LAYOUTS = {"r.jsonl": JsonLines(), "r.csv": Csv()}


def entry(source: str, status: str = "done", **values: object) -> dict[str, object]:
    known = {"mu": 10.0, "epsilon": 0.01, "sigma": 0.1, "noise": "white", "iterations": 20, "converged": True}
    known |= {"distance_bound": 0.002, "seconds": 1.5}
    given = {"source": source, "target": f"out/{source}", "status": status}
    return dict.fromkeys(FIELDS) | given | (known if status == "done" else {}) | values


ENTRIES = (
    entry("a.png", sigma=0.05, mu=5.0),
    entry("b.png", sigma=0.2, mu=30.0, noise="correlated", seconds=9.25),
    entry("c.png", converged=False, reason="stopped at the iteration limit, short of the tolerance"),
    entry("bad[red].png", "failed", reason="the file is empty", seconds=0.001),
    entry("there.png", "skipped"),
    {"target": "a.bmp", "status": "replacing", "sha256": "0" * 64},
)


def write(name: str, *entries: dict[str, object], before: bytes = b"") -> None:
    layout = LAYOUTS[name]
    Path(name).write_bytes(before + layout.header + b"".join(map(layout.line, entries)))


@pytest.fixture(params=LAYOUTS)
def name(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    return request.param


def test_tables_show_counts_parameters_and_the_files_to_look_at(name: str, command) -> None:
    write(name, *ENTRIES)
    result = command("report", name)
    assert (result.exit_code, result.stderr) == (0, "")
    rows = [" ".join(line.replace("│", " ").split()) for line in result.stdout.splitlines()]
    assert "3 1 1 1 12.3" in rows
    assert "mu 5 5.5 7.5 10 20 28 30" in rows
    assert "evaluations 20 20 20 20 20 20 20" in rows
    assert "correlated 1" in rows
    assert "b.png 9.25" in rows
    assert "bad[red].png the file is empty" in rows
    assert "c.png stopped at the iteration limit, short of the tolerance" in rows
    assert sum("█" in line for line in result.stdout.splitlines()) == 3


def test_json_holds_the_same_of_both_layouts(command, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = []
    for name in LAYOUTS:
        write(name, *ENTRIES)
        found.append(json.loads(command("report", name, "--json").stdout))
    assert found[0] == found[1]
    shown = found[0]
    assert [shown[key] for key in ("done", "not_converged", "failed", "skipped")] == [3, 1, 1, 1]
    assert shown["quantiles"]["mu"]["0.5"] == 10
    assert shown["noise"] == {"correlated": 1, "white": 2}
    assert sum(shown["sigma"]["counts"]) == 3
    assert shown["slowest"][0] == {"source": "b.png", "seconds": 9.25}
    assert shown["files_failed"] == [{"source": "bad[red].png", "reason": "the file is empty"}]
    assert [file["source"] for file in shown["files_not_converged"]] == ["c.png"]


@pytest.mark.parametrize(
    ("statuses", "counted"),
    [
        (("failed", "done"), "done"),
        (("done", "failed"), "failed"),
        (("done", "skipped"), "done"),
        (("done", "skipped", "skipped"), "done"),
        (("failed", "skipped"), "skipped"),
        (("skipped", "done"), "done"),
    ],
)
def test_the_last_line_of_a_file_counts_but_done_stays_done(
    statuses, counted: str, name: str, command
) -> None:
    write(name, *(entry("a.png", status) for status in statuses))
    shown = json.loads(command("report", name, "--json").stdout)
    assert {key: shown[key] for key in ("done", "failed", "skipped")} == {
        key: int(key == counted) for key in ("done", "failed", "skipped")
    }


def test_several_reports_are_one_in_their_order(command, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    write("r.jsonl", entry("a.png", "failed"), entry("b.png"))
    write("r.csv", entry("a.png"), entry("c.png"))
    assert json.loads(command("report", "r.jsonl", "r.csv", "--json").stdout)["failed"] == 0
    assert json.loads(command("report", "r.csv", "r.jsonl", "--json").stdout)["failed"] == 1


@pytest.mark.parametrize(
    ("name", "lines", "numbers"),
    [
        ("r.jsonl", b'{"source": "a.p\n\x00\n{"source": 3, "status": "done"}\n', "3, 4, 5"),
        ("r.jsonl", b'{"source": "z", "status": "done", "mu": "many"}\n[1]\n', "3, 4"),
        ("r.jsonl", b'{"source": "z", "status": "done", "seconds": 1' + b"0" * 400 + b"}\n", "3"),
        ("r.csv", b'a,b\n"a""b"c,d\n\xff\n', "4, 5, 6"),
        ("r.csv", b"x" + b"," * 13 + b"\n", "4"),
    ],
)
def test_damaged_lines_are_said_and_the_others_counted(
    name: str, lines: bytes, numbers: str, command, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(name, entry("a.png"), entry("b.png"))
    whole = Path(name).read_bytes()
    Path(name).write_bytes(whole + lines)
    result = command("report", name, "--json")
    assert result.exit_code == 1
    count = numbers.count(",") + 1
    noun = "1 damaged line" if count == 1 else f"{count} damaged lines"
    assert result.stderr == f"tvdenoise: {name}: warning: skipped {noun} ({numbers})\n"
    assert json.loads(result.stdout)["done"] == 2


@pytest.mark.parametrize(
    ("contents", "reason"),
    [
        (None, "no such file or directory"),
        (b"hello\nworld\n", "not a report; name a file written by tvdenoise run --report"),
        (b"\x89PNG\r\n\x1a\n\0\0", "not a report; name"),
        (b'{"precious": 1}', "not a report; name"),
        (b"a,b\n1,2\n", "not a report; name"),
        (b'source,status,"reas"on\na.png,done,\n', "not a report; name"),
    ],
)
def test_what_is_no_report_is_one_line_and_the_others_are_shown(
    contents: bytes | None, reason: str, command, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if contents is not None:
        Path("x").write_bytes(contents)
    result = command("report", "x")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"tvdenoise: x: {reason}")
    assert result.stderr.count("\n") == 1
    write("r.csv", entry("a.png"))
    result = command("report", "x", "r.csv", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["done"] == 1


def test_a_report_of_a_run_that_did_nothing_yet_is_empty(name: str, command) -> None:
    write(name)
    result = command("report", name, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["done"] == 0
    assert command("report", name).exit_code == 0


def test_more_files_than_one_wants_to_read_are_counted(name: str, command) -> None:
    write(name, *(entry(f"{number}.png", "failed", reason="why") for number in range(25)))
    shown = command("report", name).stdout
    assert "… and 5 more" in shown
    assert len(json.loads(command("report", name, "--json").stdout)["files_failed"]) == 25


@pytest.mark.slow
def test_a_hundred_thousand_lines_take_seconds(name: str, command) -> None:
    write(name, *(entry(f"{number}.png", mu=number + 1.0) for number in range(100_000)))
    start = time.process_time()
    assert command("report", name).exit_code == 0
    assert time.process_time() - start < 10
