"""Bands of a TIFF, and premultiplied alpha: what is denoised, and what is written back as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from support.readers import tiff_tags
from support.samples import rms
from support.values import noise
from tvdenoise.api import denoise
from tvdenoise.errors import UnsupportedImageError
from tvdenoise.files.decoded import DecodedImage
from tvdenoise.files.opening import header_of
from tvdenoise.files.reading import read

SHAPE = (40, 52)
CLEAN = 60 + 120 * (np.indices(SHAPE).sum(axis=0) // 13 % 2)
SIGMAS = (4, 9, 20, 14, 6)
BANDS = "unspecified"
#: Bands, alpha as the last but one where there is some; tags as tifffile takes them.
LAYOUTS: dict[str, tuple[int, dict[str, Any]]] = {
    "two": (2, {"photometric": "minisblack", "extrasamples": [BANDS]}),
    "three": (3, {"photometric": "minisblack", "extrasamples": [BANDS] * 2}),
    "five": (5, {"photometric": "minisblack", "extrasamples": [BANDS] * 4}),
    "infrared": (4, {"photometric": "rgb", "extrasamples": [BANDS]}),
    "infrared and alpha": (5, {"photometric": "rgb", "extrasamples": ["unassalpha", BANDS]}),
    "white": (3, {"photometric": "miniswhite", "extrasamples": [BANDS] * 2}),
}
STORED: list[dict[str, Any]] = [
    {},
    {"compression": "lzw", "predictor": True, "rowsperstrip": 7},
    {"tile": (16, 32), "compression": "zlib"},
]


def noisy_bands(count: int, dtype: type = np.uint8, seed: int = 0) -> np.ndarray:
    """Bands of one scene, each with noise of its own level."""
    generator = np.random.default_rng(seed)
    bands = [CLEAN + generator.normal(0, sigma, SHAPE) for sigma in SIGMAS[:count]]
    return np.clip(np.rint(np.stack(bands, axis=-1)), 0, 255).astype(dtype)


def store(path: Path, values: np.ndarray, *, planar: bool = False, **options: Any) -> None:
    planes = {"planarconfig": "separate" if planar else "contig"}
    values = np.ascontiguousarray(np.moveaxis(values, -1, -3)) if planar else values
    tifffile.imwrite(path, values, **{"metadata": None, **planes, **options})


def described(path: Path) -> dict[str, Any]:
    """What the tags say of the storage of the first page."""
    [tags, *_] = tiff_tags(path)
    unsigned = (1,) * tags[277]
    return {number: tags.get(number) for number in (258, 259, 262, 277, 284, 338)} | {
        339: tags.get(339, unsigned)
    }


@pytest.mark.parametrize("planar", [False, True], ids=["contig", "planar"])
@pytest.mark.parametrize(
    ("layout", "stored", "dtype", "order"),
    [
        *((layout, STORED[1], np.uint16, ">") for layout in LAYOUTS),
        *(("five", stored, np.uint8, "<") for stored in STORED),
        *(("infrared and alpha", stored, np.float32, ">") for stored in STORED),
    ],
    ids=str,
)
def test_bands_are_written_as_they_were(
    layout: str, stored: dict[str, Any], dtype: type, order: str, planar: bool, command, tmp_path: Path
):
    count, options = LAYOUTS[layout]
    values = noise(*SHAPE, count, dtype=dtype)
    if stored.get("predictor") and dtype is np.float32:
        stored = stored | {"predictor": 3}
    store(tmp_path / "a.tif", values, planar=planar, byteorder=order, **options, **stored)
    assert header_of(tmp_path / "a.tif").channels == count
    result = command("run", "a.tif", "--mu", "1e9")
    assert result.exit_code == 0, result.output
    before, after = described(tmp_path / "a.tif"), described(tmp_path / "a_denoised.tif")
    assert after == before
    with tifffile.TiffFile(tmp_path / "a_denoised.tif") as opened:
        assert opened.byteorder == order
        found = opened.pages.first.asarray()
    expected = np.moveaxis(values, -1, 0) if planar else values
    np.testing.assert_allclose(found, expected, rtol=0, atol=0 if dtype is not np.float32 else 1e-6)


def test_each_band_is_solved_as_an_image_of_its_own(command, tmp_path: Path):
    values = noisy_bands(5)
    store(tmp_path / "a.tif", values, photometric="minisblack")
    result = command("run", "a.tif", "--report", "report.jsonl")
    assert result.exit_code == 0, result.output
    found = tifffile.imread(tmp_path / "a_denoised.tif")
    alone = [denoise(values[..., band]) for band in range(5)]
    for band, solution in enumerate(alone):
        np.testing.assert_array_equal(found[..., band], np.rint(solution.image * 255))
    assert "5 bands, " in result.stderr
    assert "(the median of 5)" in result.stderr
    [line] = (tmp_path / "report.jsonl").read_text().splitlines()
    entry = json.loads(line)
    assert entry["mu"] == sorted(solution.mu for solution in alone)[2]
    assert entry["distance_bound"] == max(solution.distance_bound for solution in alone)
    assert entry["iterations"] == sum(solution.iterations for solution in alone)


@pytest.mark.parametrize("count", [3, 5])
def test_bands_are_coupled_where_asked(count: int, command, tmp_path: Path):
    """Three bands with equal weights too, although they are as many as colours."""
    values = noisy_bands(count)
    store(tmp_path / "a.tif", values, photometric="minisblack")
    assert command("run", "a.tif", "--couple-bands").exit_code == 0
    found = tifffile.imread(tmp_path / "a_denoised.tif")
    expected = denoise(values, channel_axis=-1, chroma=1.0).image
    np.testing.assert_array_equal(found, np.rint(expected * 255))
    command("run", "a.tif", "-o", "apart.tif")
    assert not np.array_equal(tifffile.imread(tmp_path / "apart.tif"), found)


def test_the_colours_beside_infrared_are_bands_too(command, tmp_path: Path):
    values = noisy_bands(4)
    store(tmp_path / "a.tif", values, photometric="rgb", extrasamples=[BANDS])
    assert command("run", "a.tif").exit_code == 0
    found = tifffile.imread(tmp_path / "a_denoised.tif")
    for band in range(4):
        np.testing.assert_array_equal(found[..., band], np.rint(denoise(values[..., band]).image * 255))


def test_a_mask_keeps_pixels_of_all_bands(command, tmp_path: Path):
    values, mask = noisy_bands(5), np.zeros(SHAPE, bool)
    mask[:, 26:] = True
    store(tmp_path / "a.tif", values, photometric="minisblack")
    tifffile.imwrite(tmp_path / "mask.tif", mask * np.uint8(255), photometric="minisblack")
    assert command("run", "a.tif", "--mask", "mask.tif", "--sigma", "0.05").exit_code == 0
    found = tifffile.imread(tmp_path / "a_denoised.tif")
    np.testing.assert_array_equal(found[~mask], values[~mask])
    for band in range(5):
        expected = denoise(values[..., band], mask=mask, sigma=0.05).image
        np.testing.assert_array_equal(found[..., band], np.rint(expected * 255))


@pytest.mark.parametrize("planar", [False, True], ids=["contig", "planar"])
def test_pages_of_bands_have_parameters_for_each_band(planar: bool, command, tmp_path: Path):
    values = np.stack([noisy_bands(3, seed=seed) for seed in range(3)])
    store(tmp_path / "a.tif", values, planar=planar, photometric="minisblack", extrasamples=[BANDS] * 2)
    result = command("run", "a.tif")
    assert result.exit_code == 0, result.output
    assert "3 images, 3 bands, " in result.stderr
    assert "(the median of 3)" in result.stderr
    found = tifffile.imread(tmp_path / "a_denoised.tif")
    found = np.moveaxis(found, -3, -1) if planar else found
    for band in range(3):
        mus = sorted(denoise(values[page, ..., band]).mu for page in range(3))
        expected = denoise(values[0, ..., band], mu=mus[1]).image
        np.testing.assert_array_equal(found[0, ..., band], np.rint(expected * 255))


@pytest.mark.parametrize("couples", [False, True], ids=["apart", "coupled"])
def test_volumes_of_bands(couples: bool, command, tmp_path: Path):
    values = np.stack([noisy_bands(2, seed=seed) for seed in range(4)])
    store(tmp_path / "a.tif", values, photometric="minisblack", extrasamples=[BANDS])
    options = ("--couple-bands",) if couples else ()
    result = command("run", "a.tif", "--volume", "--sigma", "0.04", *options)
    assert result.exit_code == 0, result.output
    assert "4 images in one volume" in result.stderr
    found = tifffile.imread(tmp_path / "a_denoised.tif")
    layout: dict[str, Any] = {"spatial_axes": (0, 1, 2), "sigma": 0.04}
    if couples:
        expected = denoise(values, channel_axis=-1, **layout).image
    else:
        expected = np.stack([denoise(values[..., band], **layout).image for band in range(2)], axis=-1)
    np.testing.assert_array_equal(found, np.rint(expected * 255))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "memory", "options"),
    [
        ((1500, 1400, 5), "300MB", ()),
        ((1000, 1400, 3), "300MB", ("--couple-bands",)),
        ((9, 400, 700, 2), "320MB", ("--volume",)),
    ],
    ids=["apart", "coupled", "volume"],
)
def test_bands_are_denoised_in_parts(
    shape: tuple[int, ...], memory: str, options: tuple[str, ...], command, process, tmp_path: Path
):
    """As in memory, but for the bounds of both."""
    generator = np.random.default_rng(0)
    clean = 60 + 120 * (np.indices(shape[-3:-1]).sum(axis=0) // 40 % 2)
    values = np.clip(clean[..., np.newaxis] + generator.normal(0, 12, shape), 0, 255).astype(np.uint8)
    store(tmp_path / "a.tif", values, photometric="minisblack", tile=(128, 128))
    options = (*options, "--mu", "30")
    assert command("run", "a.tif", "-o", "whole.tif", *options).exit_code == 0
    result = process("run", "a.tif", "-o", "parts.tif", "--memory", memory, *options)
    assert result.returncode == 0, result.stderr
    assert b", because it does not fit in memory" in result.stderr
    whole, parts = (tifffile.imread(tmp_path / name).astype(float) for name in ("whole.tif", "parts.tif"))
    assert rms(whole - parts) < 1
    assert described(tmp_path / "parts.tif") == described(tmp_path / "a.tif")


def test_bands_are_measured_compared_and_shown(command, tmp_path: Path):
    values = noisy_bands(4)
    clean = np.repeat(CLEAN[..., np.newaxis], 4, axis=-1).astype(np.uint8)
    for name, array in (("clean.tif", clean), ("a.tif", values)):
        store(tmp_path / name, array, photometric="rgb", extrasamples=[BANDS])
    result = command("noise", "a.tif", "--json")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["band"] for line in lines] == [1, 2, 3, 4]
    for line, sigma in zip(lines, SIGMAS, strict=False):
        assert line["sigma"] * 255 == pytest.approx(sigma, rel=0.25)
    result = command("run", "a.tif", "-o", "b.tif", "--residual", "residuals")
    assert result.exit_code == 0, result.output
    assert read(tmp_path / "residuals" / "a_residual.png").size == (SHAPE[1], 4 * SHAPE[0])
    assert command("compare", "clean.tif", "a.tif", "b.tif", "--plot", "plot.png").exit_code == 0


def test_shared_parameters_leave_out_bands(command, tmp_path: Path):
    for seed in range(2):
        store(tmp_path / f"{seed}.tif", noisy_bands(2, seed=seed), photometric="minisblack")
        tifffile.imwrite(tmp_path / f"grey{seed}.tif", noisy_bands(1, seed=seed)[..., 0])
    result = command("run", ".", "-o", "out/", "--shared-parameters")
    assert result.exit_code == 0, result.output
    for seed in range(2):
        values, found = noisy_bands(2, seed=seed), tifffile.imread(tmp_path / "out" / f"{seed}.tif")
        for band in range(2):
            np.testing.assert_array_equal(found[..., band], np.rint(denoise(values[..., band]).image * 255))


def test_another_format_gets_straight_alpha(command, tmp_path: Path):
    values = translucent(np.uint8, 255)
    store(tmp_path / "a.tif", values, **PREMULTIPLIED)
    result = command("run", "a.tif", "-o", "a.png", "--mu", "1e9")
    assert result.exit_code == 0
    assert "its premultiplied alpha is written as straight alpha" in result.stderr
    with Image.open(tmp_path / "a.png") as opened:
        found = np.asarray(opened).astype(float)
    np.testing.assert_array_equal(found[..., -1], values[..., -1])
    multiplied = found[..., :-1] * (found[..., -1:] / 255)
    assert np.abs(multiplied - values[..., :-1]).max() <= 1


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("run", "a.tif", "-o", "a.png"), "PNG cannot hold 8-bit bands; choose TIFF with -o NAME.tif"),
        (("run", "a.tif", "--trace", "t.csv"), "--trace records one solve"),
        (("tune", "a.tif", "-o", "sheet.png"), "it has 4 bands, and tune shows grey, colour and CMYK"),
    ],
)
def test_what_bands_do_not_allow_is_refused(arguments: tuple[str, ...], reason: str, command, tmp_path: Path):
    store(tmp_path / "a.tif", noisy_bands(4), photometric="rgb", extrasamples=[BANDS])
    result = command(*arguments)
    assert result.exit_code == 1
    assert reason in result.stderr


def test_a_trace_of_coupled_bands_is_written(command, tmp_path: Path):
    store(tmp_path / "a.tif", noisy_bands(4), photometric="rgb", extrasamples=[BANDS])
    assert command("run", "a.tif", "--trace", "t.csv", "--couple-bands").exit_code == 0
    assert (tmp_path / "t.csv").exists()


def test_images_of_other_numbers_of_bands_are_not_compared(command, tmp_path: Path):
    for count in (4, 5):
        store(tmp_path / f"{count}.tif", noisy_bands(count), photometric="minisblack")
    result = command("compare", "4.tif", "5.tif")
    assert "it has 5 8-bit bands pixels, and the reference 4.tif has 4 8-bit bands pixels" in result.stderr


PREMULTIPLIED = {"photometric": "rgb", "extrasamples": ["assocalpha"]}


@pytest.mark.parametrize("stored", STORED, ids=str)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.float32])
def test_opaque_premultiplied_alpha_is_plain_colour(
    dtype: type, stored: dict[str, Any], command, tmp_path: Path
):
    colours = noisy_bands(3, dtype)
    white = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1
    stored = stored | ({"predictor": 3} if stored.get("predictor") and dtype is np.float32 else {})
    store(tmp_path / "a.tif", np.dstack((colours, np.full(SHAPE, white, dtype))), **PREMULTIPLIED, **stored)
    store(tmp_path / "plain.tif", colours, photometric="rgb", **stored)
    for name in ("a", "plain"):
        assert command("run", f"{name}.tif", "--mu", "40", "--data-range", "255").exit_code == 0
    found = tifffile.imread(tmp_path / "a_denoised.tif")
    np.testing.assert_array_equal(found[..., :3], tifffile.imread(tmp_path / "plain_denoised.tif"))
    assert (found[..., 3] == white).all()
    assert described(tmp_path / "a_denoised.tif")[338] == (1,)


def translucent(dtype: type, largest: int) -> np.ndarray:
    """Noisy colours multiplied by alpha that falls from left to right, to nothing."""
    alpha = np.broadcast_to(np.clip(np.linspace(1.4, -0.1, SHAPE[1]), 0, 1), SHAPE)
    generator = np.random.default_rng(0)
    colours = CLEAN / 255 + generator.normal(0, 0.04, (3, *SHAPE))
    values = np.concatenate((np.clip(colours, 0, 1) * alpha, alpha[np.newaxis]))
    scaled = np.moveaxis(values, 0, -1) * largest
    return scaled.astype(dtype) if largest == 1 else np.rint(scaled).astype(dtype)


@pytest.mark.parametrize(("dtype", "largest"), [(np.uint8, 255), (np.uint16, 65535), (np.float32, 1)])
def test_premultiplied_values_come_back_where_nothing_is_smoothed(
    dtype: type, largest: int, command, tmp_path: Path
):
    values = translucent(dtype, largest)
    store(tmp_path / "a.tif", values, **PREMULTIPLIED)
    result = command("run", "a.tif", "--mu", "1e12")
    assert result.exit_code == 0, result.output
    found = tifffile.imread(tmp_path / "a_denoised.tif")
    np.testing.assert_allclose(found, values, rtol=0, atol=1e-6 if largest == 1 else 0)


def test_premultiplied_colour_is_denoised_with_the_weights_of_its_alpha(command, tmp_path: Path):
    values = translucent(np.uint8, 255)
    store(tmp_path / "a.tif", values, **PREMULTIPLIED)
    result = command("run", "a.tif", "--mu", "30")
    assert result.exit_code == 0, result.output
    assert "within" in result.stderr
    found = tifffile.imread(tmp_path / "a_denoised.tif")
    np.testing.assert_array_equal(found[..., 3], values[..., 3])
    image = read(tmp_path / "a.tif")
    cover, hidden = values[..., 3] / 255, values[..., 3] == 0
    np.testing.assert_allclose(image.weights[~hidden], cover[~hidden] ** 2, rtol=1e-6)
    expected = (
        denoise(image.noisy(), mu=30, channel_axis=-1, weights=image.weights).image * cover[..., np.newaxis]
    )
    # Rounding to integers, and that of the product with alpha, which may be in single or double precision.
    np.testing.assert_allclose(found[~hidden][:, :3], expected[~hidden] * 255, rtol=0, atol=0.5001)
    truth = CLEAN * cover
    before, after = (rms((array[..., 0] - truth)[~hidden]) for array in (values, found))
    assert after < 0.5 * before


def test_the_noise_is_read_where_premultiplied_alpha_is_full(command, tmp_path: Path):
    values = translucent(np.uint16, 65535)
    store(tmp_path / "a.tif", values, **PREMULTIPLIED)
    [line] = command("noise", "a.tif", "--json").stdout.splitlines()
    assert json.loads(line)["sigma"] == pytest.approx(0.04, rel=0.3)


def test_integers_above_their_alpha_come_back_as_they_were():
    intensities, alpha = np.array([[200, 90, 50]], np.uint8), np.array([[255, 60, 100]], np.uint8)
    image = DecodedImage(intensities, alpha, "TIFF", is_premultiplied=True)
    assert image.visible.tolist() == [[True, False, True]]
    assert image.with_denoised(np.full((1, 3), 0.5, np.float32)).intensities.tolist() == [[128, 90, 50]]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (
            ("tune", "a.tif", "-o", "sheet.png"),
            "premultiplied alpha that is not opaque; save it with straight alpha",
        ),
        (("run", "a.tif", "--memory", "300MB"), None),
    ],
)
def test_what_premultiplied_alpha_does_not_allow_is_refused(
    arguments: tuple[str, ...], reason: str | None, command, tmp_path: Path
):
    store(tmp_path / "a.tif", translucent(np.uint8, 255), **PREMULTIPLIED)
    result = command(*arguments)
    assert result.exit_code == (0 if reason is None else 1)
    assert reason is None or reason in result.stderr


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (
            {"photometric": "rgb", "extrasamples": ["unassalpha", "assocalpha"]},
            "several alpha channels is not supported; save it with one",
        ),
        ({"photometric": "rgb", "extrasamples": [BANDS], "compression": "jpegxl"}, "not supported|damaged"),
        ({"photometric": "separated", "extrasamples": [BANDS]}, "inks other than CMYK"),
    ],
)
def test_other_extra_samples_are_refused(options: dict[str, Any], reason: str, tmp_path: Path):
    count = {"rgb": 3, "separated": 4}[options["photometric"]] + len(options["extrasamples"])
    store(tmp_path / "a.tif", noise(*SHAPE, count), **options)
    with pytest.raises(UnsupportedImageError, match=reason):
        read(tmp_path / "a.tif")
