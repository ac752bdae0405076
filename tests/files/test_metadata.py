"""Colour profile, EXIF, XMP, resolution and texts come through."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image, TiffImagePlugin
from PIL.PngImagePlugin import PngInfo

from support.metadata import PROFILE, XMP, exif_bytes, information
from support.readers import tiff_values
from support.values import noise, pixels
from tvdenoise.files.reading import read


def test_texts_and_colour_chunks_of_a_png_are_kept(make_image, command, tmp_path: Path) -> None:
    chunks = PngInfo()
    chunks.add_text("Title", "Äpfel", zip=True)
    chunks.add_itxt("Author", "名", "zh")
    chunks.add(b"gAMA", (45455).to_bytes(4, "big"))
    make_image("a.png", pnginfo=chunks)
    assert command("run", "a.png").exit_code == 0
    after = information(tmp_path / "a_denoised.png")
    assert (after["Title"], after["Author"], after["gamma"]) == ("Äpfel", "名", 0.45455)


@pytest.mark.parametrize("extension", ["png", "jpg", "webp"])
def test_pixels_stay_as_stored_and_the_orientation_tag_stays_too(
    extension: str, make_image, command, tmp_path: Path
) -> None:
    make_image(f"a.{extension}", noise(8, 10, 3), exif=exif_bytes(orientation=6))
    assert command("run", f"a.{extension}").exit_code == 0
    with Image.open(tmp_path / f"a_denoised.{extension}") as opened:
        assert opened.size == (10, 8)
        assert opened.getexif()[ExifTags.Base.Orientation] == 6


def test_a_tiff_is_turned_and_its_orientation_tag_dropped(make_image, command, tmp_path: Path) -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[ExifTags.Base.Orientation] = 6
    values = noise(8, 10)
    tags[TiffImagePlugin.XMP] = b'<x tiff:Orientation="6" other="here"/>'
    make_image("a.tif", values, tiffinfo=tags)
    assert command("run", "a.tif", "--mu", "1e9").exit_code == 0
    with Image.open(tmp_path / "a_denoised.tif") as opened:
        assert ExifTags.Base.Orientation not in opened.tag_v2
        assert opened.info["xmp"] == b'<x  other="here"/>'
        np.testing.assert_array_equal(np.array(opened), np.rot90(values, -1))


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
def test_the_tags_of_a_tiff_are_kept(compression: str, make_image, command, tmp_path: Path) -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, kind, value in (
        (ExifTags.Base.ImageDescription, 2, "ImageJ=1.54\nunit=µm\n".encode()),
        (ExifTags.Base.Software, 2, b"microscope"),
        (ExifTags.Base.XResolution, 5, TiffImagePlugin.IFDRational(15, 2)),
        (ExifTags.Base.YResolution, 5, TiffImagePlugin.IFDRational(15, 2)),
        (ExifTags.Base.ResolutionUnit, 3, 1),
        (TiffImagePlugin.XMP, 1, XMP),
    ):
        tags.tagtype[tag] = kind
        tags[tag] = value
        tags.tagtype[tag] = kind
    make_image("a.tif", tiffinfo=tags, compression=compression, icc_profile=PROFILE)
    assert command("run", "a.tif").exit_code == 0
    with Image.open(tmp_path / "a.tif") as before, Image.open(tmp_path / "a_denoised.tif") as after:
        assert set(tags) <= set(after.tag_v2)
        for tag in tags:
            assert after.tag_v2[tag] == before.tag_v2[tag], tag
        assert after.info["icc_profile"] == PROFILE


def test_the_exif_of_a_tiff_is_kept(make_image, command, tmp_path: Path) -> None:
    make_image("a.tif", exif=exif_bytes(orientation=1))
    assert command("run", "a.tif").exit_code == 0
    with Image.open(tmp_path / "a_denoised.tif") as opened:
        exif = opened.getexif()
        assert exif[ExifTags.Base.Make] == "Maker"
        assert exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ExposureTime] == TiffImagePlugin.IFDRational(
            1, 50
        )
        assert exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] == "N"


@pytest.mark.slow
def test_a_tiff_with_a_malformed_exif_directory_is_read(make_image, process, tmp_path: Path) -> None:
    path = make_image("a.tif", exif=exif_bytes(orientation=1))
    contents = bytearray(path.read_bytes())
    entry = contents.index(struct.pack("<HHI", ExifTags.IFD.Exif, 4, 1))
    contents[entry + 8 : entry + 12] = struct.pack("<I", 0x7FFFFFF0)
    path.write_bytes(contents)
    finished = process("run", "a.tif", "--mu", "1e9")
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr.count(b"\n") == 1, "Pillow's warnings are no messages for users"
    with Image.open(tmp_path / "a_denoised.tif") as opened:
        assert opened.getexif()[ExifTags.Base.Make] == "Maker"


@pytest.mark.parametrize(
    ("source", "target"), [("jpg", "png"), ("png", "tif"), ("tif", "jpg"), ("jpg", "webp")]
)
def test_metadata_come_along_into_another_format(
    source: str, target: str, make_image, command, tmp_path: Path
) -> None:
    make_image(f"a.{source}", noise(8, 10, 3), exif=exif_bytes(orientation=1), icc_profile=PROFILE)
    assert command("run", f"a.{source}", "-o", f"b.{target}").exit_code == 0
    with Image.open(tmp_path / f"b.{target}") as opened:
        exif = opened.getexif()
        assert exif[ExifTags.Base.Make] == "Maker"
        assert exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] == "N"
        assert opened.info["icc_profile"] == PROFILE


def test_metadata_without_a_place_in_the_format_are_named(make_image, command) -> None:
    make_image("a.png", noise(8, 10, 3), icc_profile=PROFILE, exif=exif_bytes())
    result = command("run", "a.png", "-o", "a.ppm")
    assert result.exit_code == 0
    assert "colour profile, EXIF data" in result.stderr


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # when the test reads the result
@pytest.mark.parametrize("extension", ["png", "jpg", "webp"])
@pytest.mark.parametrize("target", ["same", "tif"])
def test_a_malformed_exif_fails_no_image(
    extension: str, target: str, make_image, command, tmp_path: Path
) -> None:
    broken = b"Exif\0\0II*\0\xff\xff\xff\x7f" + bytes(range(40))
    make_image(f"a.{extension}", noise(8, 10, 3), exif=broken)
    name = f"b.{extension if target == 'same' else target}"
    assert command("run", f"a.{extension}", "-o", name, "--mu", "1e9").exit_code == 0
    if target == "same":
        assert information(tmp_path / name)["exif"].endswith(bytes(range(40)))
    assert pixels(tmp_path / name).shape == (8, 10, 3)


def test_the_comment_and_iptc_of_a_jpeg_are_kept(make_image, command, tmp_path: Path) -> None:
    iptc = b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x08\x1c\x02\x05\0\x03abc"
    segment = b"\xff\xed" + (len(iptc) + 2).to_bytes(2, "big") + iptc
    make_image("a.jpg", noise(8, 10), comment=b"by hand", extra=segment)
    assert command("run", "a.jpg").exit_code == 0
    assert information(tmp_path / "a_denoised.jpg")["comment"] == b"by hand"
    assert segment in (tmp_path / "a_denoised.jpg").read_bytes()


@pytest.mark.parametrize(("name", "largest"), [("exif", 65_527), ("xmp", 65_504)])
def test_a_jpeg_carries_the_largest_blocks_that_it_can_hold(
    name: str, largest: int, make_image, command, tmp_path: Path
) -> None:
    start = b"Exif\0\0II*\0\x08\0\0\0\0\0" if name == "exif" else b"<"
    length = largest + (6 if name == "exif" else 0)
    make_image("a.jpg", noise(8, 8), **{name: start.ljust(length, b"x")})
    result = command("run", "a.jpg")
    assert result.exit_code == 0
    assert information(tmp_path / "a_denoised.jpg")[name] == information(tmp_path / "a.jpg")[name]
    assert "note" not in result.stderr


@pytest.mark.parametrize(("name", "words"), [("exif", "EXIF data"), ("xmp", "XMP data")])
def test_blocks_that_are_too_large_for_a_jpeg_are_told(name: str, words: str, make_image, command) -> None:
    if name == "exif":
        make_image("a.png", noise(8, 8), exif=b"Exif\0\0II*\0\x08\0\0\0\0\0".ljust(70_006, b"x"))
    else:
        make_image("a.webp", noise(8, 8, 3), xmp=b"x" * 70_000)
    result = command("run", "a.png" if name == "exif" else "a.webp", "-o", "b.jpg")
    assert result.exit_code == 0
    assert words in result.stderr


FURTHER = {
    33550: (12, (0.1, 0.2, 0.0)),
    34735: (3, (1, 1, 0, 1, 1024, 0, 1, 1)),
    34737: (2, "WGS 84|"),
    42113: (2, "-9999"),
    65000: (4, 123456),
    65001: (7, b"\1\2\3\4\5"),
    65002: (5, TiffImagePlugin.IFDRational(1, 3)),
    65003: (9, (-5, 6)),
    65004: (11, 1.5),
}


def tiff_with_further_tags(make_image, further: dict, name: str = "a.tif", **options: object) -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, (kind, value) in further.items():
        tags.tagtype[tag] = kind
        tags[tag] = value
        tags.tagtype[tag] = kind
    make_image(name, tiffinfo=tags, **options)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate"])
def test_tags_of_other_programs_are_kept(compression: str, make_image, command, tmp_path: Path) -> None:
    tiff_with_further_tags(make_image, FURTHER, compression=compression)
    result = command("run", "a.tif")
    assert result.exit_code == 0
    with Image.open(tmp_path / "a_denoised.tif") as opened:
        assert opened.info["compression"] == compression
        left_out = set(FURTHER) - set(opened.tag_v2)
        assert left_out <= {65001}, "which Pillow before 13 cannot write compressed"
        assert ("note" in result.stderr) == bool(left_out)
        assert all(f"{tag}" in result.stderr for tag in left_out)
        for tag, (kind, value) in FURTHER.items():
            if tag in left_out:
                continue
            assert opened.tag_v2.tagtype[tag] == kind
            assert opened.tag_v2[tag] == (pytest.approx(float(value)) if kind == 5 else value), tag


def test_tags_that_cannot_be_kept_are_named(make_image, command, tmp_path: Path) -> None:
    tiff_with_further_tags(make_image, {330: (4, 8), 37724: (7, b"layers"), 65000: (16, 2**40)})
    result = command("run", "a.tif")
    assert result.exit_code == 0
    assert "note: its TIFF tags 37724 (ImageSourceData), 65000 are dropped" in result.stderr
    assert "note: its images in reduced size that do not show the same, or are damaged, are dropped" in (
        result.stderr
    )
    with Image.open(tmp_path / "a_denoised.tif") as opened:
        assert not {330, 37724, 65000} & set(opened.tag_v2)


def test_tags_that_another_format_has_no_place_for_are_named(make_image, command) -> None:
    tiff_with_further_tags(make_image, {33550: (12, (0.1, 0.2, 0.0)), 65000: (3, 7)})
    result = command("run", "a.tif", "-o", "b.png")
    assert result.exit_code == 0
    assert "TIFF tags 33550, 65000" in result.stderr


def test_a_picture_on_its_side_becomes_a_tiff(make_image, command, tmp_path: Path) -> None:
    make_image("a.png", noise(8, 10), exif=exif_bytes(orientation=6))
    assert command("run", "a.png", "-o", "b.tif", "--mu", "1e9").exit_code == 0
    with tifffile.TiffFile(tmp_path / "b.tif") as opened:
        assert opened.pages[0].tags[ExifTags.Base.Orientation].value == 6
        np.testing.assert_array_equal(tiff_values(tmp_path / "b.tif"), noise(8, 10))
    np.testing.assert_array_equal(read(tmp_path / "b.tif").intensities, np.rot90(noise(8, 10), -1))
