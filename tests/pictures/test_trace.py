"""``run --trace``: how a solve went on, as numbers and as a plot."""

import csv
import re

import numpy as np
import pytest
from PIL import Image

from support.samples import SAMPLES
from support.values import noise
from tvdenoise import denoise
from tvdenoise.pictures.figures import save_trace
from tvdenoise.solver.descent import TracePoint


@pytest.mark.slow
def test_the_numbers_are_those_of_the_api(command, tmp_path):
    from support.values import pixels

    assert command("run", SAMPLES / "camera.png", "-o", "a.png", "--trace", "t.csv").exit_code == 0
    rows = list(csv.reader((tmp_path / "t.csv").read_text().splitlines()))
    solution = denoise(pixels(SAMPLES / "camera.png"), trace=True)
    assert rows[0] == ["evaluation", "value", "distance_bound"]
    assert [(int(n), float(v), float(b)) for n, v, b in rows[1:]] == [
        (number, *point) for number, point in enumerate(solution.trace, 1)
    ]
    assert len(rows) == solution.iterations + 1


def test_the_result_is_the_same_with_it(command, make_image, tmp_path):
    make_image("a.png")
    command("run", "a.png", "-o", "plain.png")
    command("run", "a.png", "-o", "traced.png", "--trace", "t.csv", "--residual", "removed")
    assert (tmp_path / "plain.png").read_bytes() == (tmp_path / "traced.png").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("extension", ["png", "svg", "PDF"])
def test_a_name_of_a_picture_means_a_plot(command, make_image, tmp_path, extension):
    make_image("a.png", noise(40, 40))
    assert command("run", "a.png", "--trace", f"new/t.{extension}").exit_code == 0
    assert (tmp_path / f"new/t.{extension}").read_bytes()[:5] in (b"\x89PNG\r", b"<?xml", b"%PDF-")


def _drawn(points, tolerance, tmp_path, monkeypatch):
    found = []
    monkeypatch.setattr(
        "tvdenoise.pictures.figures.save_figure", lambda figure, _target: found.append(figure)
    )
    save_trace([TracePoint(*point) for point in points], tolerance, tmp_path / "t.png")
    return found[0].axes


def test_the_plot_shows_the_bound_the_tolerance_and_the_decrease_on_logarithmic_axes(tmp_path, monkeypatch):
    above, below = _drawn([(9.0, 0.1), (5.0, 0.2), (4.5, 0.01)], 0.02, tmp_path, monkeypatch)
    tolerance, bound = above.get_lines()
    assert np.allclose(tolerance.get_ydata(), 0.02 * 255)
    assert np.allclose(bound.get_ydata(), np.array([0.1, 0.2, 0.01]) * 255)
    assert np.allclose(below.get_lines()[0].get_ydata(), [4.5, 0.5])
    assert (above.get_yscale(), below.get_yscale()) == ("log", "log")


@pytest.mark.parametrize("points", [[(0.0, 1e-9)], [(4.0, 0.1), (4.0, 0.01)]])
def test_a_solve_without_a_decrease_is_drawn_too(points, tmp_path, monkeypatch):
    _, below = _drawn(points, 0.02, tmp_path, monkeypatch)
    assert [text.get_text() for text in below.texts] == ["J did not decrease"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a.png", "b.png", "--trace", "t.csv"), "--trace records the solve of one file, not of 2"),
        ((".", "--trace", "t.csv"), "--trace records the solve of one file, not of 2"),
        (("a.png", "gone.png", "--trace", "t.csv"), "--trace records the solve of one file, not of 2"),
        (("a.png", "--trace", "t.txt"), "traces are .csv, .png, .svg, .pdf files"),
        (("a.png", "--trace", ""), "--trace is empty"),
        (("a.png", "--trace", "there.csv"), "the output there.csv already exists"),
        (("a.png", "--trace", "a.png", "--overwrite"), "a.png: the output would replace the input"),
        (("a.png", "-o", "c.png", "--trace", "c.png"), "two outputs of a.png would both be c.png"),
        (("a.png", "--trace", "t.csv", "--report", "t.csv"), "the report t.csv is an input or an output"),
        (("-", "-o", "c.png", "--trace", "t.csv"), "--trace works on files, not on standard streams"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(command, make_image, tmp_path, arguments, message):
    make_image("a.png")
    make_image("b.png")
    (tmp_path / "there.csv").write_text("precious")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    result = command("run", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_an_existing_trace_is_replaced_with_overwrite_and_kept_with_skip_existing(
    command, make_image, tmp_path
):
    make_image("a.png")
    there = tmp_path / "there.csv"
    there.write_text("precious")
    assert command("run", "a.png", "--trace", "there.csv", "--skip-existing").exit_code == 0
    assert there.read_text() == "precious"
    assert command("run", "a.png", "--trace", "there.csv", "--overwrite").exit_code == 0
    assert there.read_text().startswith("evaluation,value,distance_bound\n1,")


@pytest.mark.slow
def test_the_plot_of_a_single_evaluation_marks_whole_numbers(command, tmp_path):
    Image.fromarray(noise(1, 1)).save(tmp_path / "one.png")
    assert command("run", "one.png", "--trace", "one.svg").exit_code == 0
    marks = re.findall(r"<!-- ([0-9.]+) -->", (tmp_path / "one.svg").read_text())
    assert "1" in marks
    assert not [mark for mark in marks if "." in mark]
