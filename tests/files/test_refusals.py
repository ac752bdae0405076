"""What cannot be read, or not be carried without loss, is refused in one clear line."""

from __future__ import annotations

import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageFile, TiffImagePlugin

from support.tiff_files import simple_tiff
from support.values import noise
from tvdenoise.errors import UnreadableImageError, UnsupportedImageError
from tvdenoise.files.decoded import DecodedImage
from tvdenoise.files.pillow import PILLOW_SETTINGS
from tvdenoise.files.reading import read
from tvdenoise.files.writing import encode
from tvdenoise.formats.registry import FORMAT_BY_EXTENSION


def test_an_animation_is_never_taken_for_one_picture(tmp_path: Path) -> None:
    frames = [Image.fromarray(noise(8, 8, 3, seed=seed)) for seed in range(3)]
    for name in ("a.png", "a.webp", "a.gif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        with pytest.raises(UnsupportedImageError, match="holds 3"):
            read(tmp_path / name, first_frame=False)


def test_several_pages_are_never_taken_for_one(tmp_path: Path) -> None:
    pages = [Image.fromarray(noise(8, 8, seed=seed)) for seed in range(2)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(UnsupportedImageError, match="holds 2"):
        read(tmp_path / "a.tif", first_frame=False)


def test_several_pictures_in_a_jpeg_are_refused(tmp_path: Path) -> None:
    pictures = [Image.fromarray(noise(8, 8, 3, seed=seed)) for seed in range(2)]
    pictures[0].save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=pictures[1:])
    with pytest.raises(UnsupportedImageError, match="MPO"):
        read(tmp_path / "a.jpg")


def test_an_overview_is_no_page(tmp_path: Path) -> None:
    small = Image.fromarray(noise(4, 4))
    small.encoderinfo = {"tiffinfo": TiffImagePlugin.ImageFileDirectory_v2()}
    small.encoderinfo["tiffinfo"][254] = 1
    Image.fromarray(noise(8, 8)).save(tmp_path / "a.tif", save_all=True, append_images=[small])
    picture = read(tmp_path / "a.tif")
    assert picture.notes == ()
    np.testing.assert_array_equal(picture.intensities, noise(8, 8))


@pytest.mark.parametrize(("mode", "extension"), [("LAB", "tif")])
def test_other_colours_and_depths_are_refused(mode: str, extension: str, tmp_path: Path) -> None:
    Image.new(mode, (4, 4)).save(tmp_path / f"a.{extension}")
    with pytest.raises(UnsupportedImageError, match="convert it to"):
        read(tmp_path / f"a.{extension}")


def tiff(tags: dict[int, object], values: np.ndarray) -> bytes:
    """A TIFF whose tags say something else than how it was written."""
    from io import BytesIO

    stream = BytesIO()
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in tags.items():
        directory[tag] = value
    Image.fromarray(values).save(stream, "TIFF", tiffinfo=directory)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("tags", "values", "reason"),
    [
        ({254: 1}, noise(4, 4), "preview of a raw image"),
        ({50706: b"\1\4\0\0"}, noise(4, 4), "preview of a raw image"),
    ],
)
def test_a_tiff_that_pillow_would_misread_is_refused(tags, values, reason: str, tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(tiff(tags, values))
    with pytest.raises(UnsupportedImageError, match=reason):
        read(tmp_path / "a.tif")


def test_a_picture_larger_than_a_format_allows_is_refused() -> None:
    with pytest.raises(
        UnsupportedImageError, match="WebP holds at most 16383 columns and rows, not 16384 × 1"
    ):
        encode(DecodedImage(np.zeros((1, 16384), np.uint8)), FORMAT_BY_EXTENSION[".webp"])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(value: float, make_image) -> None:
    values = noise(4, 4, dtype=np.float32)
    values[1, 2] = value
    with pytest.raises(UnsupportedImageError, match="finite"):
        read(make_image("a.tif", values))


def test_an_image_above_the_limit_is_refused_before_it_is_decoded(make_image, monkeypatch) -> None:
    path = make_image("a.png", noise(40, 50))
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("decoded"))
    with pytest.raises(UnsupportedImageError, match=r"50 × 40 .* --max-pixels 1"):
        read(path, max_megapixels=0.0019)


def test_the_limit_itself_is_allowed_and_pillows_own_limit_plays_no_part(make_image, monkeypatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5)
    assert read(make_image("a.png", noise(40, 50)), max_megapixels=0.002).size == (50, 40)
    assert Image.MAX_IMAGE_PIXELS == 5


def test_a_png_that_only_lacks_its_end_is_refused(make_image) -> None:
    path = make_image("a.png")
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(UnreadableImageError, match="truncated"):
        read(path)


def test_a_png_whose_pixels_have_a_wrong_checksum_is_refused(make_image) -> None:
    path = make_image("a.png")
    contents = bytearray(path.read_bytes())
    end = contents.index(b"IEND") - 8
    contents[end] ^= 1
    path.write_bytes(contents)
    with Image.open(path) as opened:  # Pillow would read it
        opened.load()
    with pytest.raises(UnreadableImageError, match="checksum"):
        read(path)


@pytest.mark.parametrize(
    ("contents", "reason"),
    [
        (b"", "the file is empty"),
        (b"just text", "not an image, or damaged"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image, or damaged"),
        (b"\x89PNG\r\n\x1a\n", "damaged"),
    ],
)
def test_what_is_no_image_is_refused(contents: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(contents)
    with pytest.raises(UnreadableImageError, match=reason):
        read(tmp_path / "a.png")


@pytest.mark.parametrize(("order", "version"), [("<", 42), (">", 42), ("<", 43), (">", 43)])
def test_a_tiff_of_other_integers_is_named_with_the_remedy(order, version, tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(simple_tiff(order, version, 1, 64, 2))
    message = "64-bit signed TIFF is not supported; save it as 32-bit integers or floats"
    with pytest.raises(UnsupportedImageError, match=message):
        read(tmp_path / "a.tif")


def test_a_jpeg_of_12_bits_is_named(tmp_path: Path) -> None:
    values = noise(16, 16, dtype=np.uint16) // 16
    (tmp_path / "a.jpg").write_bytes(imagecodecs.jpeg8_encode(values, bitspersample=12))
    with pytest.raises(UnsupportedImageError, match="12 bits"):
        read(tmp_path / "a.jpg")


def test_a_tiff_of_complex_numbers_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(simple_tiff("<", 42, 1, 64, 6))
    with pytest.raises(UnsupportedImageError, match="64-bit complex"):
        read(tmp_path / "a.tif")


@pytest.mark.parametrize(
    "contents", [b"II*\0", b"II*\0\xff\xff\xff\x7f", b"MM\0*\0\0\0\x08", b"II*\0\x08\0\0\0\x09"]
)
def test_a_tiff_that_breaks_off_is_damaged(contents: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(contents)
    with pytest.raises(UnreadableImageError):
        read(tmp_path / "a.tif")


def test_a_truncated_file_is_refused_whatever_other_libraries_have_set(make_image, monkeypatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    path = make_image("a.jpg", noise(40, 50, 3))
    path.write_bytes(path.read_bytes()[:-600])
    with pytest.raises(UnreadableImageError):
        read(path)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_settings_of_the_process_last_as_long_as_anyone_needs_them() -> None:
    before = Image.MAX_IMAGE_PIXELS
    with PILLOW_SETTINGS:
        with PILLOW_SETTINGS:
            pass
        assert Image.MAX_IMAGE_PIXELS is None
    assert before == Image.MAX_IMAGE_PIXELS


def test_an_error_that_quotes_the_file_is_shown_safely(make_image, monkeypatch) -> None:
    def fail(_: object) -> None:
        raise ValueError("\x1b[31m" + "long" * 1000)

    path = make_image("a.png")
    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    with pytest.raises(UnreadableImageError, match=r"damaged \(\\x1b\[31mlong"):
        read(path)


@pytest.mark.parametrize("error", [RecursionError(), AssertionError(), AttributeError("x"), zlib.error("x")])
def test_whatever_a_decoder_raises_is_damage(error: Exception, make_image, monkeypatch) -> None:
    def fail(_: object) -> None:
        raise error

    path = make_image("a.png")
    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    with pytest.raises(UnreadableImageError, match="the file is damaged"):
        read(path)


def test_a_decoder_without_memory_is_told_as_such(make_image, monkeypatch) -> None:
    def fail(_: object) -> None:
        raise MemoryError

    path = make_image("a.png")
    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    with pytest.raises(UnreadableImageError, match="not enough memory"):
        read(path)
