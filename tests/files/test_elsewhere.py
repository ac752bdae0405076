"""What only one format keeps is kept there, and told where the picture is written as another one."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from PIL import Image, TiffImagePlugin
from PIL.PngImagePlugin import PngInfo

from support.hostile import png_chunk
from support.values import noise

IPTC = b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x08\x1c\x02\x05\0\x03abc"
LONG_XMP = b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 40


def segment(marker: int, contents: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(contents) + 2).to_bytes(2, "big") + contents


def add_chunks(path: Path, *chunks: tuple[bytes, bytes]) -> None:
    """Put chunks between the header and the pixels of a PNG."""
    contents = path.read_bytes()
    end = contents.index(b"IHDR") + 21
    path.write_bytes(contents[:end] + b"".join(png_chunk(*chunk) for chunk in chunks) + contents[end:])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"comment": b"by hand"}, "comments"),
        ({"extra": segment(0xED, IPTC)}, "IPTC data"),
        ({"extra": segment(0xE1, LONG_XMP)}, "extended XMP data"),
        ({"comment": b"by hand", "extra": segment(0xED, IPTC)}, "comments, IPTC data"),
    ],
)
def test_what_only_a_jpeg_keeps_is_told_in_other_formats_alone(
    options: dict, names: str, make_image, command
) -> None:
    make_image("a.jpg", noise(8, 10), **options)
    assert f"note: its {names} are dropped" in command("run", "a.jpg", "-o", "a.png").stderr
    assert "note" not in command("run", "a.jpg", "-o", "b.jpg").stderr
    assert "note" not in command("run", "a.jpg", "-o", "b.png", "--strip-metadata").stderr


def test_a_jpeg_that_tvdenoise_wrote_has_nothing_to_tell(make_image, command) -> None:
    make_image("a.jpg")
    command("run", "a.jpg", "-o", "b.jpg")
    assert "note" not in command("run", "b.jpg", "-o", "c.png").stderr


def test_the_iptc_of_a_tiff_comes_along_into_a_png(make_image, command, tmp_path: Path) -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags.tagtype[TiffImagePlugin.IPTC_NAA_CHUNK] = 7
    tags[TiffImagePlugin.IPTC_NAA_CHUNK] = b"\x1c\x02\x05\0\x03abc"
    make_image("a.tif", tiffinfo=tags)
    assert "note" not in command("run", "a.tif", "-o", "a.png").stderr
    with Image.open(tmp_path / "a.png") as opened:
        assert opened.getexif()[TiffImagePlugin.IPTC_NAA_CHUNK] == b"\x1c\x02\x05\0\x03abc"


@pytest.mark.parametrize("values", [noise(5, 6), noise(5, 6, 3)])
def test_the_background_and_chunks_of_other_programs_stay_in_a_png(
    values, make_image, command, tmp_path: Path
) -> None:
    kept = ((b"bKGD", b"\0\7" * (1 if values.ndim == 2 else 3)), (b"prVt", b"private"))
    add_chunks(make_image("a.png", values), *kept)
    assert "note" not in command("run", "a.png").stderr
    for chunk in kept:
        assert png_chunk(*chunk) in (tmp_path / "a_denoised.png").read_bytes()
    assert "note: its PNG chunks bKGD, prVt are dropped" in command("run", "a.png", "-o", "b.tif").stderr


def test_chunks_that_cannot_stay_are_told(make_image, command) -> None:
    aspect = struct.pack(">IIB", 2, 1, 0)
    add_chunks(make_image("a.png"), (b"oFFs", bytes(9)), (b"vpAG", b"x"), (b"pHYs", aspect))
    assert "note: its PNG chunks oFFs, pHYs, vpAG are dropped" in command("run", "a.png").stderr


def test_chunks_that_denoising_makes_untrue_are_dropped(make_image, command, tmp_path: Path) -> None:
    stale = ((b"sBIT", b"\5"), (b"tIME", bytes(7)), (b"pHYs", struct.pack(">IIB", 1, 1, 0)))
    add_chunks(make_image("a.png"), *stale)
    assert "note" not in command("run", "a.png").stderr
    for chunk in stale:
        assert png_chunk(*chunk) not in (tmp_path / "a_denoised.png").read_bytes()


@pytest.mark.parametrize(
    ("chunks", "names"),
    [
        ([(b"gAMA", struct.pack(">I", 45455))], None),
        ([(b"gAMA", struct.pack(">I", 100_000))], "gAMA"),
        ([(b"sRGB", b"\0"), (b"gAMA", struct.pack(">I", 100_000))], None),
        ([(b"cICP", b"\x0c\x0d\0\1")], "cICP"),
    ],
)
def test_colours_that_another_format_would_show_differently_are_told(
    chunks: list, names: str | None, make_image, command
) -> None:
    stored = PngInfo()
    for chunk in chunks:
        stored.add(*chunk)
    make_image("a.png", noise(5, 6, 3), pnginfo=stored)
    shown = command("run", "a.png", "-o", "a.tif").stderr
    assert (f"its PNG chunks {names} are dropped" in shown) if names else ("note" not in shown)
