"""``--prior``: learned filters for files, in reports, records and other processes."""

import json

import numpy as np
import pytest
import tifffile
from PIL import Image

from support.banks import small_prior
from support.samples import rms
from support.values import noise
from tvdenoise.files.reading import read

PRIOR = small_prior()
KINDS = {
    "bands.tif": (30, 40, 5),
    "deep.png": (30, 40),
    "float.tif": (30, 40),
    "alpha.png": (30, 40, 4),
    "cmyk.tif": (30, 40, 4),
}


@pytest.fixture
def prior(tmp_path):
    path = tmp_path / "small.prior"
    path.write_bytes(PRIOR.to_bytes())
    return path


def test_a_line_a_report_and_a_record_name_level_and_filters(command, make_image, prior, tmp_path):
    make_image("a.png", noise(40, 50))
    report = tmp_path / "report.jsonl"
    result = command("run", "a.png", "--prior", prior, "--level", "0.1", "--report", report)
    assert result.exit_code == 0, result.stderr
    assert "learned filters, level 25.5/255, " in result.stderr
    entry = json.loads(report.read_text())
    assert (entry["prior"], entry["level"], entry["mu"], entry["epsilon"]) == (
        f"learned-{PRIOR.digest}", 0.1, None, None,
    )  # fmt: skip
    with Image.open(tmp_path / "a_denoised.png") as opened:
        assert f"level=0.1; prior=learned-{PRIOR.digest}" in str(opened.info)


def test_a_second_run_in_place_knows_its_own_result(command, make_image, prior):
    make_image("a.png", noise(40, 50))
    assert command("run", "a.png", "--prior", prior, "--in-place").exit_code == 0
    again = command("run", "a.png", "--prior", prior, "--in-place")
    assert "skipped" in again.stderr


@pytest.mark.slow
def test_workers_get_the_filters_themselves(process, make_image, prior, tmp_path):
    for name in ("a.png", "b.png", "c.png"):
        make_image(f"in/{name}", noise(40, 50))
    alone = process("run", "in", "-o", "one", "--prior", prior, "--level", "0.1")
    both = process("run", "in", "-o", "two", "--prior", prior, "--level", "0.1", "--jobs", "2")
    assert (alone.returncode, both.returncode) == (0, 0), both.stderr
    for name in ("a.png", "b.png", "c.png"):
        first, second = (np.asarray(Image.open(tmp_path / folder / name)) for folder in ("one", "two"))
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--prior", "none.prior"), "none.prior: it cannot be read: No such file"),
        (("--prior", "a.png"), "a.png: the file is not a prior; give a file written by"),
        (("--prior", "small.prior", "--mu", "10"), "--mu belongs to total variation"),
        (("--prior", "small.prior", "--volume"), "--prior cannot be combined with --volume"),
        (("--prior", "small.prior", "--shared-parameters"), "--shared-parameters chooses mu"),
        (("--level", "0.1"), "--level is that of learned filters"),
    ],
)
def test_what_does_not_go_together_is_refused_before_any_work(words, told, command, make_image, prior):
    make_image("a.png", noise(12, 17))
    result = command("run", "a.png", *words)
    assert result.exit_code == 2
    assert told in result.stderr
    assert not (prior.parent / "a_denoised.png").exists()


@pytest.mark.parametrize("name", ["bands.tif", "deep.png", "float.tif", "alpha.png", "cmyk.tif"])
def test_files_of_all_kinds_keep_what_they_have(name, command, prior, tmp_path):
    values = noise(*KINDS[name])
    if name == "float.tif":
        tifffile.imwrite(tmp_path / name, values.astype(np.float32) * 7, photometric="minisblack")
    elif name == "bands.tif":
        tifffile.imwrite(tmp_path / name, values, photometric="minisblack", planarconfig="contig")
    elif name == "deep.png":
        Image.fromarray(values.astype(np.uint16) * 257).save(tmp_path / name)
    elif name == "cmyk.tif":
        Image.fromarray(values, "CMYK").save(tmp_path / name)
    else:
        Image.fromarray(values).save(tmp_path / name)
    result = command("run", name, "--prior", prior, "--level", "0.05", "--residual", "residuals")
    assert result.exit_code == 0, result.stderr
    first, second = (read(path) for path in (tmp_path / name, *tmp_path.glob("*_denoised.*")))
    assert (first.size, first.kind, first.channels) == (second.size, second.kind, second.channels)
    assert not np.array_equal(first.intensities, second.intensities)
    assert rms(first.intensities.astype(float) - second.intensities) < 0.1 * np.ptp(first.intensities)


def test_the_images_of_a_stack_have_one_level(command, prior, tmp_path):
    values = noise(3, 30, 40)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack")
    result = command("run", "a.tif", "--prior", prior)
    assert result.exit_code == 0, result.stderr
    assert "3 images, noise" in result.stderr
    assert "(the median of" not in result.stderr
    found = tifffile.imread(tmp_path / "a_denoised.tif")
    assert found.shape == values.shape
    assert (found != values).any(axis=(1, 2)).all()


def test_hidden_pixels_are_filled_and_a_mask_keeps_the_rest(command, make_image, prior, tmp_path):
    values = noise(40, 50, 4)
    values[..., 3] = 255
    values[3:9, 4:9, 3] = 0
    make_image("a.png", values)
    make_image("mask.png", np.where(np.indices((40, 50))[1] < 25, 255, 0).astype(np.uint8))
    result = command("run", "a.png", "--prior", prior, "--mask", "mask.png", "--level", "0.1")
    assert result.exit_code == 0, result.stderr
    assert "1,000 of 2,000 pixels in the mask (50 %)" in result.stderr
    found = np.asarray(Image.open(tmp_path / "a_denoised.png"))
    np.testing.assert_array_equal(found[:, 25:], values[:, 25:])
    np.testing.assert_array_equal(found[..., 3], values[..., 3])
    assert (found[:, :25] != values[:, :25]).any()


@pytest.mark.parametrize("prior", ["gated", "learned"])
def test_a_note_names_the_better_filters_where_gates_meet_noise_that_is_not_white(command, tmp_path, prior):
    clean = np.tile(np.linspace(0.1, 0.9, 160), (160, 1))
    rng = np.random.default_rng(1)
    growing = clean + 0.12 * np.sqrt(clean) * rng.standard_normal(clean.shape)
    white = clean + 0.05 * rng.standard_normal(clean.shape)
    for name, image in (("growing", growing), ("white", white)):
        tifffile.imwrite(tmp_path / f"{name}.tif", image.astype(np.float32))
    result = command(
        "run", tmp_path / "growing.tif", tmp_path / "white.tif", "--prior", prior, "-o", tmp_path / "out"
    )
    assert result.exit_code == 0, result.stderr
    notes = [line for line in result.stderr.splitlines() if "--prior learned suits it better" in line]
    assert len(notes) == (prior == "gated")
    assert all("growing.tif" in line and "varies with intensity" in line for line in notes)
