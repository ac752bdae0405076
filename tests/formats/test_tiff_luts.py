"""TIFF colour maps: the LUT of a grey image stays, and its indices are the data; other palettes become colours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from support.values import noise
from tvdenoise.files.opening import header_of
from tvdenoise.files.reading import read

RISE = np.arange(256) * 257
GREEN = np.stack((RISE * 0, RISE, RISE * 0)).astype(np.uint16)
INVERTED = np.stack((RISE[::-1], RISE // 2, RISE)).astype(np.uint16)
HUES = (
    np.abs((np.arange(256) * 6 / 256 + np.array([[0], [4], [2]])) % 6 - 3) * 32767 - 32767 / 2
)  # ImageJ's Spectrum
SPECTRUM = np.clip(HUES, 0, 65535).astype(np.uint16)
LABELS = np.random.default_rng(5).integers(0, 65536, (3, 256)).astype(np.uint16)
FEW = np.repeat(GREEN[:, ::64], 64, axis=1)
IMAGEJ = {"description": "ImageJ=1.54f\nmin=0.0\nmax=255.0\n", "metadata": None}
OME = {"description": '<?xml version="1.0"?><OME><Image/></OME>', "metadata": None}


def _store(path: Path, values: np.ndarray, lut: np.ndarray, **options: Any) -> None:
    tifffile.imwrite(path, values, photometric="palette", colormap=lut, **options)


def _checkerboard(shape: tuple[int, int], dtype: type = np.uint8) -> tuple[np.ndarray, np.ndarray]:
    """A noisy image, and its truth."""
    rows, columns = np.indices(shape)
    truth = 0.25 + 0.5 * ((rows // 16 + columns // 16) % 2)
    noisy = truth + 0.06 * np.random.default_rng(1).standard_normal(shape)
    largest = np.iinfo(dtype).max
    return np.rint(np.clip(noisy, 0, 1) * largest).astype(dtype), truth * largest


@pytest.mark.parametrize(
    ("lut", "options"),
    [
        (GREEN, {}),
        (GREEN, {"byteorder": ">", "compression": "lzw", "predictor": True}),
        (INVERTED, {"bigtiff": True, "byteorder": ">", "tile": (16, 32)}),
        (SPECTRUM, IMAGEJ),
        (SPECTRUM, OME),
    ],
    ids=["green", "big endian", "inverted", "imagej", "ome"],
)
def test_a_lut_stays_and_its_indices_are_denoised(lut, options, command, tmp_path: Path) -> None:
    values, truth = _checkerboard((96, 112))
    _store(tmp_path / "a.tif", values, lut, **options)
    header = header_of(tmp_path / "a.tif")
    assert (header.channels, header.has_alpha) == (1, False)
    result = command("run", "a.tif", "-o", "b.tif")
    assert result.exit_code == 0, result.stderr
    assert "note" not in result.stderr
    with tifffile.TiffFile(tmp_path / "b.tif") as opened:
        page = opened.pages.first
        assert page.photometric.name == "PALETTE"
        np.testing.assert_array_equal(page.colormap, lut)
        found = page.asarray()
    assert np.mean((found - truth) ** 2) < 0.2 * np.mean((values - truth) ** 2)


def test_a_lut_of_16_bits_stays(command, tmp_path: Path) -> None:
    values, truth = _checkerboard((64, 64), np.uint16)
    lut = np.stack((np.arange(65536),) * 2 + (np.zeros(65536),)).astype(np.uint16)
    _store(tmp_path / "a.tif", values, lut)
    assert command("run", "a.tif", "-o", "b.tif").exit_code == 0
    with tifffile.TiffFile(tmp_path / "b.tif") as opened:
        np.testing.assert_array_equal(opened.pages.first.colormap, lut)
        assert np.mean((opened.asarray() - truth) ** 2) < 0.2 * np.mean((values - truth) ** 2)


@pytest.mark.parametrize(
    ("lut", "options"),
    [(LABELS, {}), (LABELS, IMAGEJ), (SPECTRUM, {}), (FEW, {})],
    ids=["labels", "imagej labels", "not a microscope's", "four colours"],
)
def test_other_palettes_become_true_colour(lut, options, command, tmp_path: Path) -> None:
    values = noise(20, 24)
    _store(tmp_path / "a.tif", values, lut, **options)
    result = command("run", "a.tif", "--mu", "1e9")
    assert "note: its palette is written as 8-bit colour" in result.stderr
    np.testing.assert_array_equal(
        read(tmp_path / "a_denoised.tif").intensities, np.moveaxis(lut[:, values] // 256, 0, -1)
    )


def test_each_page_of_a_stack_keeps_its_lut(command, tmp_path: Path) -> None:
    values = noise(3, 20, 24)
    luts = [GREEN, INVERTED, GREEN[::-1]]
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for plane, lut in zip(values, luts, strict=True):
            writer.write(plane, photometric="palette", colormap=lut, metadata=None)
    assert command("run", "a.tif", "--volume", "--mu", "1e9").exit_code == 0
    with tifffile.TiffFile(tmp_path / "a_denoised.tif") as opened:
        for page, plane, lut in zip(opened.pages, values, luts, strict=True):
            np.testing.assert_array_equal(page.colormap, lut)
            np.testing.assert_array_equal(page.asarray(), plane)


def test_a_format_without_a_place_for_the_lut_says_that_it_is_dropped(command, tmp_path: Path) -> None:
    _store(tmp_path / "a.tif", noise(9, 8), GREEN)
    result = command("run", "a.tif", "-o", "a.png", "--mu", "1e9")
    assert "note: its colour map (LUT) is dropped: the result is grey" in result.stderr
    np.testing.assert_array_equal(read(tmp_path / "a.png").intensities, noise(9, 8))
