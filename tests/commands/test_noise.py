"""``tvdenoise noise``: tables, JSON, plots and warnings about noise; and what ``run`` says of it."""

import json

import numpy as np
import pytest
from PIL import Image

from support.samples import SAMPLES, clean, correlated
from support.values import noise as random_values
from tvdenoise import estimate_noise


@pytest.fixture
def grain(tmp_path):
    """A file with correlated noise of about 15 grey levels."""
    image = clean("camera")
    values = np.clip((image + correlated(image.shape, 15 / 255)) * 255, 0, 255).round().astype(np.uint8)
    Image.fromarray(values).save(tmp_path / "grain.png")
    return tmp_path / "grain.png"


def test_the_table_shows_every_image_on_standard_output(command):
    result = command("noise", SAMPLES / "camera.png", SAMPLES / "cell.png")
    assert result.exit_code == 0
    for text in ("camera.png", "cell.png", "varies with intensity"):
        assert text in result.stdout


def test_json_holds_what_the_api_estimates(command):
    result = command("noise", SAMPLES / "coffee.png", "--json")
    (line,) = result.stdout.splitlines()
    entry = json.loads(line)
    with Image.open(SAMPLES / "coffee.png") as picture:
        model = estimate_noise(np.asarray(picture), channel_axis=-1)
    assert entry["sigma"] == model.sigma
    assert entry["kind"] == model.kind.value
    assert len(entry["channels"]) == 3
    assert entry["channels"][0]["spectrum"] == model.channels[0].spectrum.tolist()


def test_estimators_that_disagree_are_named_on_standard_error(grain, command):
    result = command("noise", grain)
    assert "correlated" in result.stdout
    assert "the estimators disagree" in result.stderr
    assert "disagree" not in command("noise", SAMPLES / "camera.png").stderr


@pytest.mark.slow
@pytest.mark.parametrize("extension", ["png", "svg", "pdf"])
def test_a_plot_is_written_in_the_format_of_its_name(command, tmp_path, extension):
    plot = tmp_path / f"curve.{extension}"
    assert command("noise", SAMPLES / "cell.png", SAMPLES / "camera.png", "--plot", plot).exit_code == 0
    assert plot.read_bytes()[:5] in (b"\x89PNG\r", b"<?xml", b"%PDF-")


@pytest.mark.slow
def test_an_existing_plot_is_only_replaced_when_asked(command, tmp_path):
    plot = tmp_path / "curve.png"
    plot.write_bytes(b"precious")
    result = command("noise", SAMPLES / "cell.png", "--plot", plot)
    assert result.exit_code == 2
    assert plot.read_bytes() == b"precious"
    assert command("noise", SAMPLES / "cell.png", "--plot", plot, "--overwrite").exit_code == 0
    assert plot.read_bytes() != b"precious"


def test_a_plot_never_replaces_an_input(command, make_image):
    picture = make_image("scans/a.png")
    before = picture.read_bytes()
    for inputs in (["scans/a.png"], ["scans"]):
        result = command("noise", *inputs, "--plot", "./scans/a.png", "--overwrite")
        assert (result.exit_code, result.stdout) == (2, "")
        assert "a.png is an input" in result.stderr
    assert picture.read_bytes() == before


def test_a_plot_that_is_a_folder_is_refused_before_the_work(command, tmp_path):
    (tmp_path / "curve.png").mkdir()
    result = command("noise", SAMPLES / "cell.png", "--plot", tmp_path / "curve.png", "--overwrite")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "is a folder" in result.stderr


def test_a_plot_of_another_kind_of_file_is_refused(command, tmp_path):
    result = command("noise", SAMPLES / "cell.png", "--plot", tmp_path / "curve.txt")
    assert result.exit_code == 2
    assert ".png, .svg, .pdf" in result.stderr


def test_a_bad_file_is_one_line_and_the_others_are_measured(command, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"not an image")
    result = command("noise", tmp_path / "bad.png", SAMPLES / "camera.png", "--json")
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 1
    assert result.stderr.count("\n") == 1
    assert "bad.png" in result.stderr


def test_a_folder_without_images_has_an_exit_code_of_its_own(command, tmp_path):
    (tmp_path / "empty").mkdir()
    assert command("noise", tmp_path / "empty").exit_code == 3


def test_run_says_what_noise_it_chose_for(command, tmp_path):
    result = command("run", SAMPLES / "camera.png", "-o", "a.png", "--verbose", "--report", "r.jsonl")
    assert "/255 (white), mu " in result.stderr
    assert "correlation of neighbours" in result.stderr
    entry = json.loads((tmp_path / "r.jsonl").read_text())
    assert entry["noise"] == "white"  # although it is clipped
    assert entry["sigma"] == pytest.approx(25 / 255, rel=0.1)


@pytest.mark.slow
def test_auto_is_the_default_and_white_is_white(command, grain, tmp_path):
    outputs = {}
    for name, options in {
        "default": (),
        "auto": ("--mu", "auto", "--epsilon", "auto", "--noise", "auto"),
        "white": ("--noise", "white"),
    }.items():
        assert command("run", grain, "-o", f"{name}.png", *options).exit_code == 0
        outputs[name] = (tmp_path / f"{name}.png").read_bytes()
    assert outputs["default"] == outputs["auto"]
    assert outputs["white"] != outputs["auto"]


def test_strength_smooths_more_and_contradicts_a_mu(command, tmp_path, make_image):
    make_image("a.png", random_values(40, 40))
    for strength in ("1", "2"):
        command(
            "run", "a.png", "-o", f"b{strength}.png", "--strength", strength, "--report", f"{strength}.jsonl"
        )
    mu = [json.loads((tmp_path / f"{strength}.jsonl").read_text())["mu"] for strength in ("1", "2")]
    assert mu[0] == pytest.approx(2 * mu[1])
    result = command("run", "a.png", "--mu", "5", "--strength", "2")
    assert result.exit_code == 2
    assert "--strength" in result.stderr
