"""The parameters used are written where a format has a place, beside what users wrote; --strip-metadata."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image, TiffImagePlugin
from PIL.PngImagePlugin import PngInfo

from support.metadata import ASKED, PROFILE, RECORD, XMP, exif_bytes, information
from support.values import noise
from tvdenoise.files.decoded import record_in, with_record, without_record
from tvdenoise.files.reading import read

_PROCESSING_SOFTWARE = 11


def test_a_record_is_told_from_other_texts() -> None:
    assert record_in(f"by hand | {RECORD}") == RECORD
    assert record_in("tvdenoise is good; mu=3") is None
    assert with_record("by hand", RECORD) == f"by hand | {RECORD}"
    assert with_record(f"by hand | {RECORD}", RECORD) == f"by hand | {RECORD}"
    assert without_record(f"by hand | {RECORD}") == "by hand"
    assert without_record(RECORD) == ""


@pytest.mark.slow
@pytest.mark.parametrize("extension", ["png", "jpg", "tif"])
@pytest.mark.parametrize("source", ["png", "jpg", "tif", "bmp"])
def test_the_parameters_used_are_recorded(
    source: str, extension: str, make_image, command, tmp_path: Path
) -> None:
    make_image(f"a.{source}")
    assert command("run", f"a.{source}", "-o", f"b.{extension}", *ASKED).exit_code == 0
    written = tmp_path / f"b.{extension}"
    assert read(written).metadata.record == RECORD
    assert written.read_bytes().count(RECORD.encode()) == 1
    with Image.open(written) as opened:
        if extension == "png":
            assert opened.text["tvdenoise"] == RECORD
        elif extension == "jpg":
            assert opened.info["comment"] == RECORD.encode()
        else:
            assert opened.tag_v2[_PROCESSING_SOFTWARE] == RECORD


@pytest.mark.parametrize("extension", ["png", "jpg", "tif"])
def test_a_second_run_leaves_one_record_of_what_it_did(
    extension: str, make_image, command, tmp_path: Path
) -> None:
    make_image(f"a.{extension}")
    command("run", f"a.{extension}", "-o", f"b.{extension}", "--mu", "3")
    result = command("run", f"b.{extension}", "-o", f"c.{extension}", *ASKED)
    assert "note" not in result.stderr
    written = (tmp_path / f"c.{extension}").read_bytes()
    assert written.count(b"tvdenoise 0") == 1
    assert RECORD.encode() in written


def test_the_record_stands_beside_what_users_wrote(make_image, command, tmp_path: Path) -> None:
    texts = PngInfo()
    texts.add_text("Software", "camera")
    texts.add_text("tvdenoise", "a note of mine")
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[TiffImagePlugin.SOFTWARE] = "microscope"
    tags.tagtype[_PROCESSING_SOFTWARE] = 2
    tags[_PROCESSING_SOFTWARE] = "editor 5"
    make_image("a.png", pnginfo=texts)
    make_image("a.tif", tiffinfo=tags)
    first, second = b"\xff\xfe\0\7first", b"by hand"
    make_image("a.jpg", extra=first, comment=second)
    for extension in ("png", "jpg", "tif"):
        command("run", f"a.{extension}", "-o", f"b.{extension}", *ASKED)
        command("run", f"b.{extension}", "-o", f"c.{extension}", *ASKED)
    assert information(tmp_path / "c.png")["Software"] == "camera"
    assert b"a note of mine" in (tmp_path / "c.png").read_bytes()
    with Image.open(tmp_path / "c.tif") as opened:
        assert opened.tag_v2[TiffImagePlugin.SOFTWARE] == "microscope"
        assert opened.tag_v2[_PROCESSING_SOFTWARE] == f"editor 5 | {RECORD}"
    assert information(tmp_path / "c.jpg")["comment"] == second
    assert first in (tmp_path / "c.jpg").read_bytes()


@pytest.mark.parametrize("extension", ["bmp", "webp", "pgm"])
def test_a_format_without_a_place_has_no_record_and_no_notice(extension, make_image, command) -> None:
    make_image("a.png")
    command("run", "a.png", "-o", "b.png")
    result = command("run", "b.png", "-o", f"c.{extension}", *ASKED)
    assert result.exit_code == 0
    assert "note" not in result.stderr
    assert b"tvdenoise" not in Path(f"c.{extension}").read_bytes()


@pytest.mark.parametrize("extension", ["png", "jpg", "tif", "webp"])
def test_stripping_leaves_the_profile_and_nothing_personal(
    extension: str, make_image, command, tmp_path: Path
) -> None:
    options: dict = {"icc_profile": PROFILE, "exif": exif_bytes(orientation=1), "dpi": (300, 300)}
    if extension == "png":
        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", XMP.decode())
        options["pnginfo"].add_text("Author", "Someone")
        options["pnginfo"].add(b"gAMA", (45455).to_bytes(4, "big"))
    elif extension != "tif":
        options["xmp"] = XMP
    if extension == "jpg":
        options["comment"] = b"Someone"
    make_image(f"a.{extension}", noise(8, 10, 3), **options)
    result = command("run", f"a.{extension}", "-o", f"b.{extension}", "--strip-metadata")
    assert result.exit_code == 0
    assert "note" not in result.stderr
    written = (tmp_path / f"b.{extension}").read_bytes()
    for personal in (b"Maker", b"Someone", b"adobe:ns:meta", b"tvdenoise"):
        assert personal not in written, personal
    after = information(tmp_path / f"b.{extension}")
    assert after["icc_profile"] == PROFILE
    assert after.get("dpi") != (300, 300)
    if extension == "png":
        assert after["gamma"] == pytest.approx(0.45455)


@pytest.mark.parametrize("extension", ["png", "jpg", "webp"])
def test_stripping_keeps_the_orientation_and_only_it(extension: str, make_image, command, tmp_path) -> None:
    make_image(f"a.{extension}", noise(8, 10, 3), exif=exif_bytes(orientation=6))
    command("run", f"a.{extension}", "-o", f"b.{extension}", "--strip-metadata")
    with Image.open(tmp_path / f"b.{extension}") as opened:
        assert dict(opened.getexif()) == {274: 6}


def test_stripping_works_in_place_where_a_report_keeps_the_record(make_image, command) -> None:
    make_image("a.png")
    arguments = ("run", "a.png", "--in-place", "--strip-metadata", "--report", "r")
    assert command(*arguments).exit_code == 0
    assert b"tvdenoise" not in Path("a.png").read_bytes()
    assert "already denoised, skipped" in command(*arguments, "--skip-existing").stderr
