"""CMYK: denoised in its own four channels, and never converted."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from support.metadata import PROFILE, information
from support.readers import tiff_values
from support.round_trips import returned
from support.values import noise, pixels
from tvdenoise.api import denoise
from tvdenoise.errors import UnsupportedImageError
from tvdenoise.files.reading import read

ROWS, COLUMNS = np.mgrid[:40, :56]
SMOOTH = np.dstack((COLUMNS * 4, 160 - ROWS * 3, 40 + ROWS + COLUMNS, ROWS * 2)).astype(np.uint8)


def inks(values: np.ndarray) -> Image.Image:
    return Image.frombytes("CMYK", values.shape[1::-1], values.tobytes())


def without_adobe_mark(contents: bytes) -> bytes:
    start = contents.index(b"\xff\xee")
    return contents[:start] + contents[start + 2 + int.from_bytes(contents[start + 2 : start + 4], "big") :]


@pytest.mark.parametrize("stored", ["CMYK", "YCCK"])
def test_an_inverted_jpeg_comes_back_looking_the_same(stored: str, command, tmp_path: Path) -> None:
    contents = imagecodecs.jpeg8_encode(~SMOOTH, level=98, colorspace="CMYK", outcolorspace=stored)
    (tmp_path / "a.jpg").write_bytes(contents)
    assert information(tmp_path / "a.jpg")["adobe_transform"] == (2 if stored == "YCCK" else 0)
    before, after = pixels(tmp_path / "a.jpg").astype(int), pixels(returned(command, "a.jpg")).astype(int)
    assert np.abs(before - SMOOTH).max() < 10, "the inks are not taken for their absence"
    assert np.abs(after - before).max() <= 5
    with Image.open(tmp_path / "out.jpg") as opened:
        assert (opened.mode, opened.info["adobe"]) == ("CMYK", 100)


def test_a_jpeg_that_does_not_say_whether_its_inks_are_inverted_is_refused(tmp_path: Path) -> None:
    inks(SMOOTH).save(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").write_bytes(without_adobe_mark((tmp_path / "a.jpg").read_bytes()))
    with pytest.raises(UnsupportedImageError, match="inverted"):
        read(tmp_path / "b.jpg")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_four_inks_are_denoised_together_with_equal_weight(dtype: type, command, tmp_path: Path) -> None:
    values = noise(24, 31, 4, dtype=dtype) // 2
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="separated", compression="lzw")
    assert command("run", "a.tif", "--mu", "8", "-o", "b.tif").exit_code == 0
    largest = np.iinfo(dtype).max
    expected = np.rint(denoise(values, mu=8, channel_axis=-1).image * np.float32(largest))
    after = tiff_values(tmp_path / "b.tif")
    np.testing.assert_array_equal(after, expected.clip(0, largest).astype(dtype))
    assert np.all(after.std(axis=(0, 1)) < values.std(axis=(0, 1)) / 2)


def test_a_jpeg_in_cmyk_becomes_a_tiff_with_the_same_inks(command, tmp_path: Path) -> None:
    inks(SMOOTH).save(tmp_path / "a.jpg", icc_profile=PROFILE)
    path = returned(command, "a.jpg", "b.tif")
    np.testing.assert_array_equal(tiff_values(path), pixels(tmp_path / "a.jpg"))
    assert information(path)["icc_profile"] == PROFILE


def test_the_noise_of_cmyk_has_four_channels(command, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise(40, 40, 4), photometric="separated")
    import json

    result = command("noise", "a.tif", "--json")
    assert result.exit_code == 0, result.output
    assert len(json.loads(result.stdout)["channels"]) == 4
