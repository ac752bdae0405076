"""The same parameters for a set: chosen once, kept, and the same when the run is continued."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support.samples import clean, with_noise
from support.values import noise
from tvdenoise.batch.outputs import Job
from tvdenoise.batch.shared_parameters import sample_of


def make_set(folder: Path) -> None:
    """Grey and colour crops of one photograph with noise of different levels."""
    folder.mkdir()
    for number, sigma in enumerate((0.02, 0.04, 0.08)):
        for colour in (False, True):
            picture = clean("coffee", colour=colour)[50:114, 50 + 40 * number : 114 + 40 * number]
            noisy = np.clip(with_noise(picture, sigma, number) * 255, 0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(folder / f"{'colour' if colour else 'grey'}{number}.png")


def entries(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def tree(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize("report", ["r.jsonl", "r.csv"])
def test_all_files_of_a_kind_get_the_median_and_a_continued_run_the_same(report, command, tmp_path) -> None:
    make_set(tmp_path / "in")
    shared = (
        "run",
        "in",
        "-o",
        "out/",
        "--shared-parameters",
        "--jobs",
        "1",
        "--report",
        report,
        "--skip-existing",
    )
    assert command("run", "in", "-o", "each/", "--report", "each.jsonl").exit_code == 0
    result = command(*shared)
    assert result.exit_code == 0, result.stderr
    assert "for all grey" in result.stderr
    assert "for all colour" in result.stderr
    outputs = tree(tmp_path / "out")
    single = {entry["source"]: entry["mu"] for entry in entries(tmp_path / "each.jsonl")}
    if report.endswith("jsonl"):
        found = entries(tmp_path / report)
        for kind, channels in (("grey", 1), ("colour", 3)):
            median = sorted(mu for source, mu in single.items() if kind in source)[1]
            assert {entry["mu"] for entry in found if kind in str(entry.get("source"))} == {median}
            [kept] = [entry for entry in found if entry.get("channels") == channels]
            assert (kept["status"], kept["mu"], kept["notes"].count(kind)) == ("parameters", median, 3)
    (tmp_path / "out" / "grey1.png").unlink()
    (tmp_path / "in" / "grey0.png").unlink()  # another sample: only the report still knows what was chosen
    assert command(*shared).exit_code == 0
    assert tree(tmp_path / "out") == outputs
    assert command("report", report).exit_code == 0


@pytest.mark.slow
def test_without_a_report_a_continued_run_chooses_the_same(command, tmp_path: Path) -> None:
    make_set(tmp_path / "in")
    shared = ("run", "in", "-o", "out/", "--shared-parameters", "--jobs", "1", "--skip-existing")
    assert command(*shared).exit_code == 0
    outputs = tree(tmp_path / "out")
    for name in ("grey0.png", "colour1.png", "grey2.png"):
        (tmp_path / "out" / name).unlink()
    assert command(*shared).exit_code == 0
    assert tree(tmp_path / "out") == outputs


@pytest.mark.slow
def test_a_continued_run_chooses_for_the_kinds_that_its_report_does_not_know(command, tmp_path: Path) -> None:
    make_set(tmp_path / "in")
    shared = ("run", "in", "-o", "out/", "--shared-parameters", "--report", "r", "--skip-existing")
    assert command(*shared).exit_code == 0
    outputs, lines = tree(tmp_path / "out"), (tmp_path / "r").read_bytes().splitlines(keepends=True)
    for path in (tmp_path / "out").iterdir():
        path.unlink()
    (tmp_path / "r").write_bytes(
        lines[0]
    )  # as a run leaves it that is killed between its two lines of parameters
    assert command(*shared).exit_code == 0
    assert tree(tmp_path / "out") == outputs
    assert (tmp_path / "r").read_bytes().splitlines(keepends=True)[:2] == lines[:2]


def test_the_one_colour_picture_among_many_is_not_passed_over(make_image, command) -> None:
    for number in range(12):
        make_image(f"in/{number:02d}.png", noise(9, 9, 3) if number == 2 else noise(9, 9))
    result = command("run", "in", "-o", "out/", "--shared-parameters", "--jobs", "1")
    assert "for all grey" in result.stderr
    assert "for all colour" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--mu", "9"), "--shared-parameters chooses mu, and --mu sets it; give only one of them"),
        (
            ("--per-plane",),
            "chooses one mu for all, and --per-plane one for each image; give only one of them",
        ),
        (("--in-place",), "add --report FILE to keep them there"),
        (("-o", "-"), "--shared-parameters needs several files; leave it out"),
    ],
)
def test_what_it_cannot_be_given_with_is_refused(arguments, message: str, make_image, command) -> None:
    make_image("a.png")
    result = command("run", "a.png", "--shared-parameters", *arguments)
    assert result.exit_code == 2
    assert result.stderr.rstrip().endswith(message)


def test_the_sample_is_spread_over_the_whole_set_in_the_order_of_names() -> None:
    jobs = [Job(Path(f"{number:03d}.png"), Path("x.png")) for number in range(100)]
    names = [int(job.source.stem) for job in sample_of(jobs[::-1])]
    assert names == [0, 12, 25, 37, 50, 62, 74, 87, 99]
    assert sample_of(jobs[:5]) == jobs[:5]
