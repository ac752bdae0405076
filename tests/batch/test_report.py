"""The report says what became of every file, for other programs."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from support.processes import environment
from support.values import noise
from tvdenoise.batch import report
from tvdenoise.batch.outcome import FileStatus, Outcome
from tvdenoise.batch.plan import make_plan
from tvdenoise.batch.request import Request
from tvdenoise.files import writing
from tvdenoise.files.reading import read

FIELDS = [
    "source",
    "target",
    "status",
    "reason",
    "mu",
    "epsilon",
    "level",
    "sigma",
    "noise",
    "correlation",
    "growth",
    "iterations",
    "distance_bound",
    "converged",
    "planes",
    "volumes",
    "spacing",
    "in_mask",
    "chroma",
    "chroma_only",
    "tv",
    "penalty",
    "impulses",
    "prior",
    "seconds",
    "notes",
]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
        return list(csv.DictReader(stream))


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
    assert done["mu"] > 0
    assert done["sigma"] > 0
    assert done["noise"]
    assert 0 < done["epsilon"] <= 0.14 / done["mu"]
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
    assert entry["converged"] is False
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
        "the report r already exists; add --overwrite to replace or --skip-existing to extend"
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
    assert "missing/r: no such file or directory" in result.stderr


def test_a_report_is_not_for_standard_output(make_image, command, tmp_path: Path) -> None:
    make_image("a.png")
    result = command("run", "a.png", "--report", "-")
    assert result.exit_code == 2
    assert result.stderr.startswith("tvdenoise: --report - is not a file name; name a file, or")
    assert command("run", "a.png", "--report", "./-").exit_code == 0
    assert [entry["source"] for entry in entries(tmp_path / "-")] == ["a.png"]


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

    monkeypatch.setattr("tvdenoise.batch.planes.require_carried", observe)
    command("run", "a.png", "b.png", "--report", "r")
    assert lines_before == [0, 1]


@pytest.mark.slow
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


@pytest.mark.parametrize("of", ["a.png", "a_denoised.png"])
def test_a_report_never_replaces_an_input_or_an_output_through_a_hard_link(
    of: str, make_image, command, tmp_path: Path
) -> None:
    make_image("a.png")
    make_image("a_denoised.png")
    (tmp_path / "h.png").hardlink_to(tmp_path / of)
    before = (tmp_path / of).read_bytes()
    result = command("run", "a.png", "--report", "h.png", "--overwrite")
    assert result.exit_code == 2
    assert result.stderr == "tvdenoise: the report h.png is an input or an output; rename it\n"
    assert (tmp_path / of).read_bytes() == before


def test_a_report_never_takes_the_place_of_a_missing_input_or_of_an_output_folder(
    make_image, command, tmp_path: Path
) -> None:
    make_image("a.png")
    for arguments in (("missing.png", "--report", "missing.png"), ("-o", "out/x/", "--report", "out")):
        result = command("run", "a.png", *arguments)
        assert result.exit_code == 2
        assert "is an input or an output" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.slow
def test_a_report_never_replaces_what_the_standard_streams_lead_to(make_image, tmp_path: Path) -> None:
    before = make_image("a.png").read_bytes()
    with (tmp_path / "a.png").open("rb") as source:
        finished = subprocess.run(
            [
                sys.executable,
                "-m",
                "tvdenoise",
                "run",
                "-",
                "-o",
                "b.png",
                "--report",
                "a.png",
                "--overwrite",
            ],
            stdin=source,
            capture_output=True,
            cwd=tmp_path,
            env=environment(),
            check=False,
        )
    assert finished.returncode == 2
    assert (tmp_path / "a.png").read_bytes() == before


@pytest.mark.parametrize("name", ["/dev/full", "pipe", "folder"])
def test_a_report_is_a_regular_file(name: str, make_image, command, tmp_path: Path) -> None:
    make_image("a.png")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    result = command("run", "a.png", "--report", name, "--overwrite")
    assert result.exit_code == 2
    assert result.stderr == f"tvdenoise: the report {name} exists and is not a file; choose another name\n"


def test_a_report_on_a_full_disk_is_told_and_the_images_are_done(
    make_image, command, monkeypatch, tmp_path: Path
) -> None:
    make_image("a.png")
    make_image("b.png")
    whole, write = [], os.write

    def fill_up(descriptor: int, line: bytes) -> int:
        if whole:
            write(descriptor, line[:10])
            raise OSError(28, "No space left on device")
        whole.append(line)
        return write(descriptor, line)

    monkeypatch.setattr(report.os, "write", fill_up)
    result = command("run", "a.png", "b.png", "--report", "r")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == (
        "tvdenoise: the report r is incomplete: no space left on device; the images are not affected"
    )
    assert (tmp_path / "b_denoised.png").exists()
    assert [entry["source"] for entry in entries(tmp_path / "r")] == ["a.png"]


def test_a_report_that_fails_when_it_is_closed_is_told(make_image, command, monkeypatch) -> None:
    make_image("a.png")
    close = os.close

    def fail(descriptor: int) -> None:
        is_report = os.readlink(f"/proc/self/fd/{descriptor}").endswith("/r.jsonl")
        close(descriptor)
        if is_report:
            raise OSError(122, "Disk quota exceeded")

    monkeypatch.setattr(report.os, "close", fail)
    result = command("run", "a.png", "--report", "r.jsonl")
    assert result.exit_code == 1
    assert "r.jsonl is incomplete: disk quota exceeded" in result.stderr


def test_a_name_that_ends_in_csv_means_the_same_as_csv(make_image, command, tmp_path: Path) -> None:
    make_image("a.png")
    make_image("b.png").write_bytes(b"")
    command("run", "a.png", "b.png", "--report", "r.CSV")
    command("run", "a.png", "b.png", "--report", "r", "--overwrite")
    assert list(rows(tmp_path / "r.CSV")[0]) == [*FIELDS, "sha256", "channels"]
    for row, entry in zip(rows(tmp_path / "r.CSV"), entries(tmp_path / "r"), strict=True):
        expected = {name: "" if value is None else str(value) for name, value in entry.items()}
        assert row | {"seconds": ""} == expected | {"seconds": "", "sha256": "", "channels": ""}


def test_a_csv_report_of_an_earlier_version_is_continued_under_its_own_names(
    make_image, command, tmp_path: Path
) -> None:
    before = [
        name
        for name in (*FIELDS, "sha256", "channels")
        if name not in ("chroma", "chroma_only", "tv", "penalty", "impulses")
    ]
    (tmp_path / "r.csv").write_text(
        ",".join(before) + "\n" + "x.png,y.png,done" + "," * (len(before) - 3) + "\n"
    )
    make_image("a.png")
    assert (
        command("run", "a.png", "--penalty", "huber", "--report", "r.csv", "--skip-existing").exit_code == 0
    )
    found = rows(tmp_path / "r.csv")
    assert list(found[0]) == before
    assert [(row["source"], row["status"]) for row in found] == [("x.png", "done"), ("a.png", "done")]
    assert float(found[1]["mu"]) > 0


def test_the_report_and_the_record_tell_which_minimiser_was_found(
    make_image, command, tmp_path: Path
) -> None:
    make_image("a.png", noise(9, 9, 3))
    command(
        "run",
        "a.png",
        "--mu",
        "9",
        "--chroma",
        "2",
        "--penalty",
        "huber",
        "--tv",
        "componentwise",
        "--report",
        "r",
    )
    [entry] = entries(tmp_path / "r")
    assert (entry["chroma"], entry["penalty"], entry["tv"]) == ("2", "huber", "anisotropic")
    record = read(tmp_path / "a_denoised.png").metadata.record
    assert record is not None
    assert record.endswith("; chroma=2; tv=anisotropic; penalty=huber")
    assert command("run", "a_denoised.png", "--in-place").exit_code == 0
    assert read(tmp_path / "a_denoised.png").metadata.record == record  # it was not denoised again


def test_notes_are_kept(command, tmp_path: Path) -> None:
    Image.fromarray(noise(9, 9)).convert("P").save(tmp_path / "a.png")
    command("run", "a.png", "--report", "r")
    [entry] = entries(tmp_path / "r")
    assert entry["notes"] == "its palette is written as 8-bit grey"


@pytest.mark.slow
def test_names_of_any_kind_can_be_read_back_from_csv(make_image, process, tmp_path: Path) -> None:
    names = [os.fsencode(tmp_path) + tail for tail in (b"/b\xffd.png", b'/c"\n,d.png')]
    for name in names:
        os.rename(make_image("a.png"), name)
    finished = process("run", *names, "--report", "r.csv")
    assert finished.returncode == 0, finished.stderr
    assert [os.fsencode(row["source"]) for row in rows(tmp_path / "r.csv")] == names


@pytest.mark.slow
@pytest.mark.parametrize("name", ["r", "r.csv"])
@pytest.mark.parametrize("torn", [1, 5, 30])
def test_a_line_that_a_killed_run_left_half_is_removed(
    name: str, torn: int, make_image, command, tmp_path: Path
) -> None:
    make_image("a.png")
    make_image('c"\nd.png')
    command("run", "a.png", "--report", name)
    whole = (tmp_path / name).read_bytes()
    command("run", 'c"\nd.png', "--report", name, "--skip-existing")
    line = (tmp_path / name).read_bytes().removeprefix(whole)
    (tmp_path / name).write_bytes(whole + line[:torn])
    assert command("run", "a.png", "--report", name, "--skip-existing").exit_code == 0
    assert (tmp_path / name).read_bytes().startswith(whole)
    found = rows(tmp_path / name) if name.endswith("csv") else entries(tmp_path / name)
    assert [(entry["source"], entry["status"]) for entry in found] == [
        ("a.png", "done"),
        ("a.png", "skipped"),
    ]


def test_a_report_that_was_killed_in_its_first_line_begins_anew(make_image, command, tmp_path: Path) -> None:
    make_image("a.png")
    for name, start in (("r.csv", "source,ta"), ("r", '{"sou')):
        (tmp_path / name).write_text(start)
        assert command("run", "a.png", "--report", name, "--skip-existing").exit_code == 0
    assert [row["source"] for row in rows(tmp_path / "r.csv")] == ["a.png"]
    assert [entry["source"] for entry in entries(tmp_path / "r")] == ["a.png"]


@pytest.mark.parametrize(
    ("name", "contents", "kind"),
    [
        ("r.csv", "a,b\n1,2\n", "CSV"),
        ("r.csv", '{"source": "a.png", "status": "done"}\n', "CSV"),
        ("r", "notes\n", "JSON lines"),
        ("r", '{\n  "precious": 1\n}', "JSON lines"),
        ("r", "notes", "JSON lines"),
        ("r", '{"precious": 1}', "JSON lines"),
        ("r", '{"precious": 1}\n{"precious": 2}\n', "JSON lines"),
        ("r", '{"precious": [1,\n', "JSON lines"),
        ("r", '{"precious": [1, 2', "JSON lines"),
        ("r", ",".join(FIELDS) + "\n", "JSON lines"),
    ],
)
def test_only_a_report_is_continued(name, contents: str, kind: str, make_image, command, tmp_path) -> None:
    make_image("a.png")
    (tmp_path / name).write_text(contents)
    result = command("run", "a.png", "--report", name, "--skip-existing")
    assert result.exit_code == 2
    assert result.stderr == (
        f"tvdenoise: {name} is not a report in {kind} and cannot be extended; "
        "choose another name for --report\n"
    )
    assert (tmp_path / name).read_text() == contents
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["a.png", name])


def test_threads_write_whole_lines(make_image, tmp_path: Path, monkeypatch) -> None:
    """Also where the system writes only a part of a line at once."""
    make_image("a.png")
    monkeypatch.chdir(tmp_path)
    write = os.write

    def write_slowly(descriptor: int, line: bytes) -> int:
        time.sleep(1e-4)  # lets other threads in
        return write(descriptor, line[:50])

    monkeypatch.setattr(report.os, "write", write_slowly)
    request = Request(("a.png",), report="r.csv")
    with report.open_report(request, make_plan(request)) as opened, ThreadPoolExecutor(4) as threads:
        for number in range(50):
            threads.submit(opened.announce, f"{number}.bmp", "0" * 64)
            threads.submit(opened.add, Outcome(f"{number}.bmp", None, FileStatus.FAILED, "no reason"))
    found = rows(tmp_path / "r.csv")
    assert sorted((row["source"] or row["target"], row["status"]) for row in found) == sorted(
        (f"{number}.bmp", status) for number in range(50) for status in ("failed", "replacing")
    )
