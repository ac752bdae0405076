"""What cameras and their programs write beside the pixels comes through as it was, or is told to be left out."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from camera_files import EXIF, GPS, IPTC, LONG, OF_A_CAMERA, PLACE, exif_of, tags_in, tiff_of
from conftest import noise
from PIL import Image

HARDLY = ("--mu", "1e9")


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_exif_of_a_tiff_keeps_types_texts_and_what_only_the_maker_reads(
    order: str, command, tmp_path: Path
) -> None:
    (tmp_path / "a.tif").write_bytes(tiff_of(noise(8, 9, 3), {EXIF: OF_A_CAMERA, GPS: PLACE}, order))
    assert command("run", "a.tif", *HARDLY).exit_code == 0
    written = tags_in((tmp_path / "a_denoised.tif").read_bytes())
    assert written[EXIF] == OF_A_CAMERA
    assert written[GPS] == PLACE


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_exif_of_a_photograph_becomes_that_of_a_tiff_and_back(
    order: str, make_image, command, tmp_path: Path
) -> None:
    title, rating = (1, "title".encode("utf-16le") + b"\0\0"), (3, (5,))
    block = exif_of({EXIF: OF_A_CAMERA, GPS: PLACE, 0x9C9B: title, 0x4746: rating}, order)
    make_image("a.jpg", noise(8, 9, 3), exif=b"Exif\0\0" + block)
    assert command("run", "a.jpg", "-o", "b.tif", *HARDLY).exit_code == 0
    written = tags_in((tmp_path / "b.tif").read_bytes())
    assert (written[EXIF], written[GPS], written[0x9C9B], written[0x4746]) == (
        OF_A_CAMERA,
        PLACE,
        title,
        rating,
    )
    assert command("run", "b.tif", "-o", "c.png", *HARDLY).exit_code == 0
    with Image.open(tmp_path / "c.png") as opened:
        again = tags_in(opened.info["exif"].removeprefix(b"Exif\0\0"))
    assert (again[EXIF], again[GPS]) == (OF_A_CAMERA, PLACE)


def test_links_in_exif_data_that_run_in_a_circle_end(command, tmp_path: Path) -> None:
    contents = bytearray(tiff_of(noise(8, 9), {EXIF: {33434: (5, (1, 50)), 40965: (LONG, (0,))}}))
    link = contents.index(struct.pack("<HHII", 40965, LONG, 1, 0))
    start = link - 2 - 12
    contents[link + 8 : link + 12] = struct.pack("<I", start)
    (tmp_path / "a.tif").write_bytes(contents)
    assert command("run", "a.tif", *HARDLY).exit_code == 0
    assert tags_in((tmp_path / "a_denoised.tif").read_bytes())[EXIF] == {33434: (5, (1, 50))}


@pytest.mark.parametrize("order", ["<", ">"])
def test_iptc_data_that_are_stored_as_numbers_keep_every_byte(order: str, command, tmp_path: Path) -> None:
    iptc = b"\x1c\2\x05\0\6Titled\0"
    stored = struct.unpack(f"{order}3I", iptc)
    (tmp_path / "a.tif").write_bytes(tiff_of(noise(8, 9), {IPTC: (LONG, stored)}, order))
    assert command("run", "a.tif", *HARDLY).exit_code == 0
    written = tags_in((tmp_path / "a_denoised.tif").read_bytes())
    assert written[IPTC] == (LONG, struct.unpack("<3I", iptc)), "the bytes, whatever numbers they make"
    assert command("run", "a.tif", "-o", "a.png", *HARDLY).exit_code == 0
    with Image.open(tmp_path / "a.png") as opened:
        assert iptc in opened.info["exif"]


def test_where_nothing_is_said_of_the_resolution_nothing_is_written(command, tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(tiff_of(noise(8, 9, 3), {}))
    for target in ("b.tif", "b.png", "b.jpg"):
        assert command("run", "a.tif", "-o", target, *HARDLY).exit_code == 0
        with Image.open(tmp_path / target) as opened:
            assert target == "b.tif" or "dpi" not in opened.info
    assert not {282, 283} & set(tags_in((tmp_path / "b.tif").read_bytes()))
