"""How an image was stored stays, and what only one program stores so becomes what others read."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support.hostile import png_chunk
from support.values import noise, pixels


@pytest.mark.parametrize(("subsampling", "number"), [("4:4:4", 0), ("4:2:2", 1), ("4:2:0", 2)])
def test_jpeg_keeps_the_chroma_subsampling_of_the_input(
    subsampling: str, number: int, make_image, command, tmp_path: Path
) -> None:
    from PIL import JpegImagePlugin

    make_image("a.jpg", noise(16, 16, 3), subsampling=subsampling)
    assert command("run", "a.jpg", "--mu", "20").exit_code == 0
    with Image.open(tmp_path / "a_denoised.jpg") as opened:
        assert JpegImagePlugin.get_sampling(opened) == number


def test_a_lower_quality_makes_a_smaller_jpeg(make_image, command, tmp_path: Path) -> None:
    make_image("a.jpg", noise(64, 64, 3))
    assert command("run", "a.jpg", "--mu", "500", "--quality", "30", "-o", "small.jpg").exit_code == 0
    assert command("run", "a.jpg", "--mu", "500", "-o", "large.jpg").exit_code == 0
    assert (tmp_path / "small.jpg").stat().st_size < (tmp_path / "large.jpg").stat().st_size / 2


@pytest.mark.parametrize("lossless", [True, False])
def test_webp_stays_lossless_or_lossy(lossless: bool, make_image, command, tmp_path: Path) -> None:
    make_image("a.webp", noise(16, 16, 3), lossless=lossless)
    assert command("run", "a.webp", "--mu", "20").exit_code == 0
    contents = (tmp_path / "a_denoised.webp").read_bytes()
    assert (b"VP8L" in contents) is lossless


@pytest.mark.parametrize("compression", ["raw", "packbits", "tiff_lzw", "tiff_adobe_deflate"])
def test_tiff_keeps_its_lossless_compression(compression: str, make_image, command, tmp_path: Path) -> None:
    make_image("a.tif", noise(16, 16), compression=compression)
    assert command("run", "a.tif", "--mu", "20").exit_code == 0
    with Image.open(tmp_path / "a_denoised.tif") as opened:
        assert opened.info["compression"] == compression


def test_a_big_endian_tiff_comes_through(tmp_path: Path, command) -> None:
    values = noise(5, 6, dtype=np.uint16)
    Image.frombytes("I;16B", (6, 5), values.astype(">u2").tobytes()).save(tmp_path / "a.tif")
    assert command("run", "a.tif", "--mu", "1e9").exit_code == 0
    np.testing.assert_array_equal(pixels(tmp_path / "a_denoised.tif"), values)


def test_a_palette_becomes_true_colour_with_a_notice(tmp_path: Path, command) -> None:
    colours = noise(8, 8, 3) // 128 * 255
    Image.fromarray(colours).quantize(8, dither=Image.Dither.NONE).save(tmp_path / "a.png")
    result = command("run", "a.png", "--mu", "1e9")
    assert result.exit_code == 0
    assert "note: its palette" in result.stderr
    np.testing.assert_array_equal(pixels(tmp_path / "a_denoised.png"), colours)


def test_a_grey_palette_with_transparency_becomes_grey_with_alpha(tmp_path: Path, command) -> None:
    indices = Image.frombytes("P", (2, 2), bytes([0, 1, 2, 1]))
    indices.putpalette([10, 10, 10, 99, 99, 99, 200, 200, 200])
    indices.save(tmp_path / "a.png", transparency=bytes([255, 7, 255]))
    assert command("run", "a.png", "--mu", "1e9").exit_code == 0
    expected = [[[10, 255], [99, 7]], [[200, 255], [99, 7]]]
    np.testing.assert_array_equal(pixels(tmp_path / "a_denoised.png"), expected)


@pytest.mark.parametrize(
    ("values", "transparent", "expected_alpha"),
    [
        (np.array([[5, 9]], np.uint8), 9, [[255, 0]]),
        (np.array([[[1, 2, 3], [1, 2, 4]]], np.uint8), (1, 2, 3), [[0, 255]]),
    ],
)
def test_a_transparent_colour_becomes_alpha(
    values, transparent, expected_alpha, make_image, command, tmp_path: Path
) -> None:
    make_image("a.png", values, transparency=transparent)
    result = command("run", "a.png", "--mu", "1e9")
    assert "note: its transparent colour" in result.stderr
    written = pixels(tmp_path / "a_denoised.png")
    np.testing.assert_array_equal(written[..., -1], expected_alpha)
    np.testing.assert_array_equal(written[..., :-1].reshape(values.shape), values)


def test_a_two_bit_grey_png_is_widened_with_its_transparent_level(tmp_path: Path, command) -> None:
    header = struct.pack(">IIBBBBB", 4, 1, 2, 0, 0, 0, 0)  # 4×1, 2 bits, grey
    row = zlib.compress(bytes([0, 0b00_01_10_11]))
    chunks = ((b"IHDR", header), (b"tRNS", struct.pack(">H", 2)), (b"IDAT", row), (b"IEND", b""))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks))
    result = command("run", "a.png", "--mu", "1e9")
    assert "note: 2-bit grey" in result.stderr
    np.testing.assert_array_equal(
        pixels(tmp_path / "a_denoised.png"), [[[0, 255], [85, 255], [170, 0], [255, 255]]]
    )


def test_a_pgm_with_an_odd_largest_value_is_stretched_with_a_notice(tmp_path: Path, command) -> None:
    (tmp_path / "a.pgm").write_bytes(b"P5 # odd\n2 1 100\n" + bytes([0, 100]))
    result = command("run", "a.pgm", "--mu", "1e9")
    assert "intensities up to 100 are written as intensities up to 255" in result.stderr
    np.testing.assert_array_equal(pixels(tmp_path / "a_denoised.pgm"), [[0, 255]])


def test_a_file_is_read_by_its_contents_and_written_by_the_name_of_the_output(
    make_image, command, tmp_path
) -> None:
    make_image("a.bmp", noise(5, 5)).rename(tmp_path / "a.png")
    assert command("run", "a.png", "--mu", "1e9").exit_code == 0
    with Image.open(tmp_path / "a_denoised.png") as opened:
        assert opened.format == "PNG"


def test_a_named_file_without_a_known_extension_keeps_its_format(make_image, command, tmp_path: Path) -> None:
    make_image("a.bmp", noise(5, 5)).rename(tmp_path / "scan")
    assert command("run", "scan").exit_code == 0
    with Image.open(tmp_path / "scan_denoised") as opened:
        assert opened.format == "BMP"


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (1, 1, 3)])
def test_the_smallest_images_pass(shape: tuple[int, ...], make_image, command) -> None:
    make_image("a.png", noise(*shape))
    assert command("run", "a.png").exit_code == 0


@pytest.mark.parametrize("value", [0, 77, 255])
def test_a_constant_image_stays_what_it_is(value: int, make_image, command, tmp_path: Path) -> None:
    make_image("a.png", np.full((6, 7), value, np.uint8))
    assert command("run", "a.png").exit_code == 0
    assert np.all(pixels(tmp_path / "a_denoised.png") == value)
