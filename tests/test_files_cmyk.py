"""CMYK: denoised in its own four channels, and never converted."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from conftest import noise, pixels
from PIL import Image
from readers import tiff_values
from test_files_depth import returned
from test_files_metadata import PROFILE, XMP, exif_bytes, information

from tvdenoise.api import denoise
from tvdenoise.errors import TvdenoiseError, UnsupportedImageError
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


def test_the_metadata_of_a_jpeg_in_cmyk_keep_every_byte(command, tmp_path: Path) -> None:
    given = {"icc_profile": PROFILE, "exif": exif_bytes(), "xmp": XMP, "dpi": (300, 300), "comment": b"hand"}
    inks(SMOOTH).save(tmp_path / "a.jpg", **given)
    after = information(returned(command, "a.jpg"))
    assert {name: after[name] for name in given} == given


def test_a_jpeg_that_does_not_say_whether_its_inks_are_inverted_is_refused(tmp_path: Path) -> None:
    inks(SMOOTH).save(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").write_bytes(without_adobe_mark((tmp_path / "a.jpg").read_bytes()))
    with pytest.raises(UnsupportedImageError, match="does not say whether it is inverted; save it as TIFF"):
        read(tmp_path / "b.jpg")


@pytest.mark.parametrize("part", [0.1, 0.5, 0.97])
def test_a_truncated_jpeg_in_cmyk_is_refused(part: float, tmp_path: Path) -> None:
    inks(noise(40, 50, 4)).save(tmp_path / "a.jpg")
    contents = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(contents[: int(len(contents) * part)])
    with pytest.raises(TvdenoiseError):
        read(tmp_path / "a.jpg")


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


@pytest.mark.parametrize("target", ["b.png", "b.webp", "b.bmp", "b.ppm"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_cmyk_is_never_converted_for_a_format(target: str, dtype: type, command, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise(8, 8, 4, dtype=dtype), photometric="separated")
    result = command("run", "a.tif", "-o", target)
    assert result.exit_code == 1
    remedy = "8-bit CMYK; choose JPEG or TIFF" if dtype == np.uint8 else "16-bit CMYK; choose TIFF"
    assert f"cannot hold {remedy}" in result.stderr
    assert not (tmp_path / target).exists()


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
