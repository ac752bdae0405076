"""``run --residual``: what was removed, as a picture of its own."""

import json
import re

import numpy as np
import pytest
import tifffile
from PIL import Image

from support.processes import temporaries
from support.samples import SAMPLES, clean, with_noise
from support.values import noise, pixels
from tvdenoise import denoise
from tvdenoise.files.decoded import DecodedImage
from tvdenoise.pictures.figures import residual_image


def gain_in(path):
    """What the text in the file says."""
    with Image.open(path) as opened:
        return float(re.search(r"×([0-9.e-]+)\.", opened.info["Description"])[1])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["camera.png", "coffee.png", "rocket.png"])
def test_it_is_input_less_result_around_mid_grey(command, tmp_path, name):
    result = command("run", SAMPLES / name, "-o", "out/", "--residual", "removed")
    assert result.exit_code == 0
    shown = tmp_path / "removed" / f"{name[:-4]}_residual.png"
    gain = gain_in(shown)
    assert f"the residual is in {shown.name}, around mid grey, ×{gain:g}" in result.stderr
    noisy = pixels(SAMPLES / name)
    solution = denoise(noisy, channel_axis=-1 if noisy.ndim == 3 else None)
    removed = noisy / np.iinfo(noisy.dtype).max - solution.image
    expected = np.clip(np.rint(128 + 255 * gain * removed), 0, 255)
    assert np.abs(pixels(shown) - expected).max() <= 1  # roundings of single precision
    assert np.mean(pixels(shown) == expected) > 0.999
    assert 1 / 16 < gain * removed.std() <= 1 / 8  # four deviations fit, and eight would not


@pytest.mark.parametrize(("deviation", "gain"), [(0.1, 1), (0.06, 2), (0.2, 0.5), (1e-6, 2**14), (0, 1)])
def test_the_gain_is_the_power_of_two_with_which_four_deviations_fit(deviation, gain):
    values = np.full((40, 40), 0.5, np.float32)
    removed = deviation * np.where(np.arange(1600).reshape(40, 40) % 2, 1, -1).astype(np.float32)
    residual, found = residual_image(DecodedImage(values + removed), values)
    assert found == gain
    assert residual.intensities.dtype == np.uint8


def test_structure_that_went_with_the_noise_is_seen():
    sharp = clean("brick")
    noisy = (with_noise(sharp, 0.02, 3).clip(0, 1) * 255).round().astype(np.uint8)
    shown, _ = residual_image(DecodedImage(noisy), denoise(noisy, mu=2).image)
    assert np.corrcoef(shown.intensities.ravel(), sharp.ravel())[0, 1] > 0.3


def test_folders_are_mirrored_and_earlier_residuals_are_no_inputs(command, make_image, tmp_path):
    make_image("x/a.png")
    make_image("x/deep/b.jpg", noise(12, 12, 3))
    arguments = ("run", "x", "-r", "-o", "out", "--residual", "x/removed", "--overwrite")
    for _ in range(2):
        assert command(*arguments).exit_code == 0
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*_residual*"))
    assert found == ["x/removed/a_residual.png", "x/removed/deep/b_residual.png"]


@pytest.mark.slow
def test_worker_processes_write_the_same(command, make_image, tmp_path):
    for number in range(3):
        make_image(f"x/{number}.png", noise(20, 20, seed=number))
    for jobs in ("1", "2"):
        command("run", "x", "-o", f"o{jobs}", "--residual", f"r{jobs}", "--jobs", jobs)
    for number in range(3):
        first, second = (tmp_path / f"r{jobs}/{number}_residual.png" for jobs in ("1", "2"))
        assert first.read_bytes() == second.read_bytes()


def test_the_report_tells_the_gain(command, make_image, tmp_path):
    make_image("a.png")
    command("run", "a.png", "--residual", "removed", "--report", "r.jsonl", "--quiet")
    notes = json.loads((tmp_path / "r.jsonl").read_text())["notes"]
    assert notes.endswith(f"around mid grey, ×{gain_in(tmp_path / 'removed/a_residual.png'):g}")


def test_in_place_leaves_what_was_removed(command, make_image, tmp_path):
    path = make_image("a.png", noise(30, 30) // 4 + 100)
    before = pixels(path).astype(float)
    assert command("run", "a.png", "--in-place", "--residual", "removed").exit_code == 0
    shown = tmp_path / "removed/a_residual.png"
    removed = (pixels(shown).astype(float) - 128) / gain_in(shown)
    assert np.abs(pixels(path) + removed - before).max() <= 0.5 + 0.5 / gain_in(shown) + 0.01
    again = command("run", "a.png", "--in-place", "--residual", "removed", "--skip-existing")
    assert (again.exit_code, "already denoised" in again.stderr) == (0, True)


def test_what_is_invisible_was_not_changed(command, make_image, tmp_path):
    values = noise(20, 20, 4)
    values[:5, :, 3] = 0
    make_image("a.png", values)
    assert command("run", "a.png", "--residual", "removed").exit_code == 0
    shown = pixels(tmp_path / "removed/a_residual.png")
    assert shown.shape == (20, 20, 3)
    assert (shown[:5] == 128).all()
    assert (shown[5:] != 128).mean() > 0.9


def test_inks_are_shown_as_light(command, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", noise(20, 20, 4) // 2, photometric="separated")
    assert command("run", "a.tif", "--mu", "3", "--residual", "removed").exit_code == 0
    assert pixels(tmp_path / "removed/a_residual.png").shape == (20, 20, 3)


def test_the_data_range_of_floats_counts(command, tmp_path):
    values = noise(30, 30, dtype=np.float32)
    for name, scale in (("unit", 1), ("wide", 4096)):
        tifffile.imwrite(tmp_path / f"{name}.tif", values * scale)
        command(
            "run", f"{name}.tif", "--mu", "3", "--residual", "removed", "--data-range", str(scale), "--quiet"
        )
    unit, wide = (tmp_path / f"removed/{name}_residual.png" for name in ("unit", "wide"))
    assert gain_in(unit) == gain_in(wide)
    assert np.array_equal(pixels(unit), pixels(wide))


def test_the_data_range_of_integers_counts(command, tmp_path):
    tifffile.imwrite(tmp_path / "full.tif", noise(30, 30))
    tifffile.imwrite(tmp_path / "part.tif", noise(30, 30).astype(np.uint16))
    for name in ("full", "part"):
        options = ("--data-range", "255", "--mu", "3", "--residual", "removed", "--quiet")
        assert command("run", f"{name}.tif", *options).exit_code == 0
    full, part = (tmp_path / f"removed/{name}_residual.png" for name in ("full", "part"))
    assert gain_in(full) == gain_in(part)
    assert np.array_equal(pixels(full), pixels(part))


@pytest.mark.parametrize("choice", ["keep", "fill"])
def test_pixels_without_a_value_show_no_change(command, tmp_path, choice):
    values = noise(30, 30, dtype=np.float32)
    values[4:8] = np.nan
    tifffile.imwrite(tmp_path / "a.tif", values)
    assert command("run", "a.tif", "--nan", choice, "--residual", "removed").exit_code == 0
    shown = pixels(tmp_path / "removed/a_residual.png")
    assert (shown[4:8] == 128).all()
    assert (shown[8:] != 128).mean() > 0.9


def test_the_orientation_is_that_of_the_input(command, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "a maker, which the residual does not need"
    Image.fromarray(noise(12, 20)).save(tmp_path / "a.png", exif=exif)
    command("run", "a.png", "--residual", "removed")
    with Image.open(tmp_path / "removed/a_residual.png") as opened:
        assert dict(opened.getexif()) == {0x0112: 6}


class TestRefusals:
    @pytest.fixture(autouse=True)
    def images(self, make_image):
        make_image("a.png")
        make_image("b.png", noise(12, 17, seed=1))

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (
                ("a.png", "--residual", "there"),
                "there/a_residual.png already exists; add --overwrite to replace",
            ),
            (
                ("a.png", "--in-place", "--residual", "there"),
                "there/a_residual.png already exists; add --skip-existing to keep",
            ),
            (("a.png", "--residual", "b.png"), "--residual b.png is not a folder"),
            (("a.png", "--residual", ""), "--residual is empty"),
            ((".", "--residual", "."), "--residual would write images among the inputs"),
            (("-", "--residual", "new"), "--residual works on files, not on standard streams"),
            (("a.png", "-o", "-", "--residual", "new"), "--residual works on files, not on standard streams"),
            (
                ("a.png", "x/a.jpg", "--residual", "new"),
                "a.png and x/a.jpg would both become new/a_residual.png",
            ),
            (
                ("a.png", "there/a_residual.png", "-o", "o/", "--residual", "there", "--overwrite"),
                "there/a_residual.png is an input and would be replaced by the output of a.png",
            ),
            (
                ("a.png", "-o", "new/a_residual.png", "--residual", "new"),
                "two outputs of a.png would both be new/a_residual.png",
            ),
            (
                ("a.png", "--residual", "new", "--report", "new/a_residual.png"),
                "the report new/a_residual.png is an input or an output",
            ),
        ],
    )
    def test_they_come_before_any_work(self, command, make_image, tmp_path, arguments, message):
        make_image("x/a.jpg")
        make_image("there/a_residual.png", noise(5, 5))
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        result = command("run", *arguments)
        assert result.exit_code == 2
        assert message in result.stderr
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before

    def test_existing_ones_are_replaced_with_overwrite(self, command, make_image):
        there = make_image("there/a_residual.png", noise(5, 5))
        assert command("run", "a.png", "--residual", "there", "--overwrite").exit_code == 0
        assert pixels(there).shape == (12, 17)

    def test_skip_existing_goes_by_the_output_and_keeps_what_is_whole(self, command, make_image, tmp_path):
        make_image("out/a.png")  # done, without a residual
        kept = make_image("there/b_residual.png", noise(5, 5))  # a run was killed between the two
        arguments = ("run", "a.png", "b.png", "-o", "out", "--residual", "there", "--skip-existing")
        assert command(*arguments).exit_code == 0
        assert not (tmp_path / "there/a_residual.png").exists()
        assert pixels(kept).shape == (5, 5)
        (tmp_path / "out/b.png").unlink()
        kept.write_bytes(kept.read_bytes()[:40])
        assert command(*arguments).exit_code == 0
        assert pixels(kept).shape == (12, 17)

    def test_a_residual_that_cannot_be_written_leaves_no_output(self, command, tmp_path):
        (tmp_path / "closed").mkdir()
        (tmp_path / "closed" / "a_residual.png").mkdir()
        result = command("run", "a.png", "--residual", "closed", "--overwrite")
        assert result.exit_code == 2
        assert not (tmp_path / "a_denoised.png").exists()
        assert not temporaries(tmp_path)
