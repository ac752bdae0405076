"""``tvdenoise compare``: numbers, pictures, and what cannot be compared."""

import json

import numpy as np
import pytest
import tifffile
from PIL import Image

from support.samples import SAMPLES
from support.values import noise, pixels
from tvdenoise.images.metrics import psnr, ssim
from tvdenoise.pictures.comparison import crop_of

CLEAN = SAMPLES / "clean" / "coffee_clean.png"
NOISY = SAMPLES / "coffee.png"


def entries(result):
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_each_image_is_a_line_with_tabs(command):
    result = command("compare", CLEAN, NOISY, CLEAN)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [f"{NOISY}\t20.7674\t0.356102", f"{CLEAN}\tinf\t1.000000"]
    assert result.stderr == ""


@pytest.mark.slow
def test_on_a_terminal_it_is_a_table(process_on_terminal):
    code, shown = process_on_terminal("compare", str(CLEAN), str(NOISY), shows_output=True)
    assert code == 0
    assert "PSNR (dB)" in shown
    assert "20.77" in shown
    assert "\t" not in shown


def test_json_is_valid_for_equal_images_too(command):
    first, second = entries(command("compare", CLEAN, NOISY, CLEAN, "--json"))
    assert first["psnr"] == psnr(pixels(CLEAN), pixels(NOISY), 255)
    assert first["ssim"] == ssim(pixels(CLEAN), pixels(NOISY), 255)
    assert (first["image"], first["identical"], first["data_range"]) == (str(NOISY), False, 255)
    assert (second["psnr"], second["ssim"], second["identical"]) == (None, pytest.approx(1), True)


@pytest.mark.parametrize(("name", "expected"), [("retina", 22.22), ("rocket", 31.61)])
def test_alpha_and_16_bits_are_measured_as_the_samples_say(command, name, expected):
    (entry,) = entries(
        command("compare", SAMPLES / f"clean/{name}_clean.png", SAMPLES / f"{name}.png", "--json")
    )
    assert entry["psnr"] == pytest.approx(expected, abs=0.005)
    assert entry["data_range"] == (65535 if name == "rocket" else 255)


def test_what_is_invisible_takes_no_part(command, make_image):
    values = noise(30, 30, 4)
    values[..., 3] = 255
    values[:14, :, 3] = 0
    reference = make_image("reference.png", values)
    values[:14, :, :3] = 7
    values[-1, -1, 0] ^= 1
    (entry,) = entries(command("compare", reference, make_image("image.png", values), "--json"))
    assert entry["psnr"] == pytest.approx(20 * np.log10(255) + 10 * np.log10(16 * 30 * 3))
    assert entry["ssim"] > 0.999


def test_the_data_range_is_that_of_the_type_or_of_the_option(command, tmp_path):
    first, second = (4095 * noise(20, 20, dtype=np.float32, seed=seed) for seed in (0, 1))
    for name, values in (("a.tif", first), ("b.tif", second)):
        tifffile.imwrite(tmp_path / name, values)
    (plain,) = entries(command("compare", "a.tif", "b.tif", "--json"))
    (scaled,) = entries(command("compare", "a.tif", "b.tif", "--json", "--data-range", "4095"))
    assert plain["data_range"] == 1
    assert scaled["psnr"] == pytest.approx(plain["psnr"] + 20 * np.log10(4095))
    assert scaled["ssim"] == ssim(first, second, 4095)


def _turned(path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise(12, 12)).save(path, exif=exif)


def test_what_cannot_be_compared_is_a_line_each_and_the_others_are_compared(command, make_image, tmp_path):
    make_image("reference.png", noise(12, 12))
    make_image("size.png", noise(12, 13))
    make_image("colour.png", noise(12, 12, 3))
    make_image("deep.png", noise(12, 12, dtype=np.uint16))
    hidden = np.dstack((noise(12, 12), np.tile(np.uint8(0), (12, 12))))
    Image.fromarray(hidden).save(tmp_path / "hidden.png")
    _turned(tmp_path / "turned.png")
    (tmp_path / "bad.png").write_text("no image")
    make_image("good.png", noise(12, 12, seed=1))
    names = ["size", "colour", "deep", "hidden", "turned", "bad", "gone", "good"]
    result = command("compare", "reference.png", *(f"{name}.png" for name in names))
    assert result.exit_code == 1
    assert [line.split("\t")[0] for line in result.stdout.splitlines()] == ["good.png"]
    lines = dict(zip(names, result.stderr.splitlines(), strict=False))
    assert len(result.stderr.splitlines()) == 7
    for name, reason in {
        "size": "it has 13 × 12 pixels, and the reference reference.png has 12 × 12 pixels; crop",
        "colour": "it has 8-bit colour pixels, and the reference reference.png has 8-bit grey pixels; convert",
        "deep": "it has 16-bit grey pixels, and the reference reference.png has 8-bit grey pixels; convert",
        "hidden": "its alpha hides other pixels than the alpha of the reference reference.png; remove alpha",
        "turned": "it has the EXIF orientation 6, and the reference reference.png has the EXIF orientation 1; rotate",
        "bad": "not an image, or damaged",
        "gone": "no such file or directory",
    }.items():
        assert lines[name].startswith(f"tvdenoise: {name}.png: {reason}")


def test_alpha_that_hides_nothing_makes_no_difference(command, make_image):
    values = noise(12, 12)
    make_image("a.png", values)
    make_image("b.png", np.dstack((values, np.full_like(values, 255))))
    assert command("compare", "a.png", "b.png").stdout == "b.png\tinf\t1.000000\n"


def test_a_reference_that_cannot_be_read_is_named(command, make_image):
    make_image()
    result = command("compare", "gone.png", "photo.png")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "tvdenoise: gone.png: no such file or directory\n"


def test_a_tiny_image_has_a_psnr_and_a_note_about_ssim(command, make_image):
    make_image("a.png", noise(5, 40))
    make_image("b.png", noise(5, 40, seed=1))
    result = command("compare", "a.png", "b.png")
    assert result.exit_code == 0
    assert result.stdout.endswith("\t\n")
    assert result.stderr == "tvdenoise: b.png: note: SSIM needs 11 × 11 visible pixels\n"


def test_another_colour_profile_is_noted(command, make_image):
    from support.makers import METADATA

    make_image("a.png")
    make_image("b.png", icc_profile=METADATA["icc"])
    assert "its colour profile differs" in command("compare", "a.png", "b.png").stderr


@pytest.mark.slow
@pytest.mark.parametrize("extension", ["png", "svg", "pdf"])
def test_a_plot_is_written_in_the_format_of_its_name(command, tmp_path, extension):
    plot = tmp_path / f"sheet.{extension}"
    assert command("compare", CLEAN, NOISY, "--plot", plot).exit_code == 0
    assert plot.read_bytes()[:5] in (b"\x89PNG\r", b"<?xml", b"%PDF-")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((1, 1), np.uint8),
        ((1, 300), np.uint8),
        ((300, 2, 3), np.uint8),
        ((16, 16, 4), np.uint8),
        ((40, 50), np.uint16),
        ((700, 20), np.uint8),
    ],
)
def test_pictures_of_any_shape_are_drawn(command, make_image, tmp_path, shape, dtype):
    make_image("a.png", noise(*shape, dtype=dtype) | np.array(np.iinfo(dtype).max - 7, dtype))
    make_image("b.png", noise(*shape, dtype=dtype, seed=1) | np.array(np.iinfo(dtype).max - 7, dtype))
    assert command("compare", "a.png", "b.png", "a.png", "--plot", "p.png").exit_code == 0
    assert pixels(tmp_path / "p.png").shape[1] == 1605  # three columns


@pytest.mark.slow
def test_names_that_the_font_lacks_or_that_look_like_formulas_are_drawn(process, make_image):
    make_image("名$x_y$.png", noise(12, 12))
    result = process("compare", "名$x_y$.png", "名$x_y$.png", "--plot", "p.png")
    assert (result.returncode, result.stderr) == (0, b"")


def test_cmyk_is_drawn_as_light(command, tmp_path):
    for name, seed in (("a.tif", 0), ("b.tif", 1)):
        tifffile.imwrite(tmp_path / name, noise(20, 20, 4, seed=seed), photometric="separated")
    assert command("compare", "a.tif", "b.tif", "--plot", "p.png").exit_code == 0


def test_the_crop_lies_where_the_difference_shows_most():
    maps = [np.full((80, 100), 1e-4, np.float32) for _ in range(2)]
    maps[0][:, :50] *= 3  # a louder picture has no more say
    maps[1][60:66, 70:76] = 1e-2
    crop = crop_of(maps, 4, 320, 400)
    assert (crop.rows, crop.columns) == (80, 80)
    assert 264 - 80 <= crop.top <= 240
    assert 304 - 80 <= crop.left <= 280
    middle = crop_of([np.zeros((80, 100), np.float32)], 4, 320, 400)
    assert (middle.top, middle.left) == (120, 160)


def test_an_existing_plot_is_only_replaced_when_asked_and_an_input_never(command, make_image):
    reference = make_image("a.png", noise(12, 12))
    make_image("b.png", noise(12, 12, seed=1))
    plot = make_image("p.png")
    before = plot.read_bytes(), reference.read_bytes()
    assert "p.png already exists" in command("compare", "a.png", "b.png", "--plot", "p.png").stderr
    result = command("compare", "a.png", "b.png", "--plot", "./a.png", "--overwrite")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "a.png is an input" in result.stderr
    assert (plot.read_bytes(), reference.read_bytes()) == before
    assert command("compare", "a.png", "b.png", "--plot", "p.png", "--overwrite").exit_code == 0
    assert plot.read_bytes() != before[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--plot", "p.txt"), "plots are .png, .svg, .pdf files"),
        (("--data-range", "0"), "--data-range must be positive"),
        (("a.png",) * 8 + ("--plot", "p.png"), "a plot shows at most 8 images beside the reference"),
    ],
)
def test_what_cannot_be_carried_out_is_refused(command, make_image, options, message):
    make_image("a.png", noise(12, 12))
    result = command("compare", "a.png", "a.png", *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
