"""What cameras and their programs write beside the pixels comes through as it was, or is told to be left out."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from support.camera_files import (
    EXIF,
    GPS,
    IPTC,
    LONG,
    MAKER_NOTE,
    OF_A_CAMERA,
    PLACE,
    exif_of,
    tags_in,
    tiff_of,
)
from support.values import noise
from tvdenoise.formats.heic import with_sides
from tvdenoise.formats.tiff.directories import fields_in

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


@pytest.mark.slow
@pytest.mark.parametrize("orientation", range(1, 9))
def test_what_is_said_of_columns_and_rows_turns_with_a_tiff(
    orientation: int, command, tmp_path: Path
) -> None:
    said = {282: (5, (300, 1)), 283: (5, (150, 1)), 296: (3, (2,)), 274: (3, (orientation,))}
    sides = {40962: (LONG, (9,)), 40963: (LONG, (8,))}
    (tmp_path / "a.tif").write_bytes(tiff_of(noise(8, 9, 3), {**said, EXIF: sides}))
    for target in ("b.tif", "b.png"):
        assert command("run", "a.tif", "-o", target, *HARDLY).exit_code == 0
        with Image.open(tmp_path / target) as opened:
            expected = (300, 150) if opened.size == (9, 8) else (150, 300)
            assert opened.info["dpi"] == pytest.approx(expected, abs=0.013)  # half a point a metre
            assert opened.size == ((9, 8) if orientation < 5 else (8, 9))
            exif = opened.getexif().get_ifd(EXIF)
            assert (exif[40962], exif[40963]) == opened.size


@pytest.mark.parametrize(("kind", "form"), [(LONG, "<"), (3, ">")])
def test_the_sides_in_the_exif_of_a_heic_are_those_of_the_turned_picture(
    kind: int, form: str, command, tmp_path: Path
) -> None:
    heif = pytest.importorskip("pillow_heif")
    sides = {40962: (kind, (24,)), 40963: (kind, (16,))}
    block = exif_of({274: (3, (6,)), EXIF: {**OF_A_CAMERA, **sides}}, form)
    heif.from_pillow(Image.fromarray(noise(16, 24, 3))).save(tmp_path / "a.heic", exif=b"Exif\0\0" + block)
    for target in ("b.jpg", "b.png", "b.tif"):
        assert command("run", "a.heic", "-o", target, *HARDLY).exit_code == 0
        with Image.open(tmp_path / target) as opened:
            exif = opened.getexif().get_ifd(EXIF)
            assert (exif[40962], exif[40963]) == opened.size == (16, 24)
            assert exif[MAKER_NOTE] == OF_A_CAMERA[MAKER_NOTE][1]


def test_links_in_exif_data_that_run_in_a_circle_end(command, tmp_path: Path) -> None:
    contents = bytearray(tiff_of(noise(8, 9), {EXIF: {33434: (5, (1, 50)), 40965: (LONG, (0,))}}))
    link = contents.index(struct.pack("<HHII", 40965, LONG, 1, 0))
    start = link - 2 - 12
    contents[link + 8 : link + 12] = struct.pack("<I", start)
    (tmp_path / "a.tif").write_bytes(contents)
    assert command("run", "a.tif", *HARDLY).exit_code == 0
    assert tags_in((tmp_path / "a_denoised.tif").read_bytes())[EXIF] == {33434: (5, (1, 50))}


@pytest.mark.parametrize("kind", [3, 16, 18])
def test_exif_data_behind_a_link_of_a_wrong_type_fail_no_picture(kind: int, command, tmp_path: Path) -> None:
    contents = tiff_of(noise(8, 9), {EXIF: OF_A_CAMERA})
    link, wrong = (struct.pack("<HHI", EXIF, each, 1) for each in (LONG, kind))
    (tmp_path / "a.tif").write_bytes(contents.replace(link, wrong))
    result = command("run", "a.tif", *HARDLY)
    assert result.exit_code == 0, result.stderr
    assert EXIF not in tags_in((tmp_path / "a_denoised.tif").read_bytes())


def test_exif_data_that_are_damaged_anyhow_fail_no_reader() -> None:
    block = exif_of(
        {274: (3, (6,)), EXIF: {**OF_A_CAMERA, 40962: (LONG, (24,)), 40963: (LONG, (16,))}, GPS: PLACE}
    )
    generator = np.random.default_rng(0)
    for _ in range(3000):
        damaged = np.frombuffer(block, np.uint8).copy()
        places = generator.integers(0, len(block), generator.integers(1, 5))
        damaged[places] = generator.integers(0, 256, len(places))
        contents = damaged[: generator.integers(8, len(block) + 1)].tobytes()
        assert len(with_sides(contents, 16, 24)) == len(contents)
        found = fields_in(BytesIO(contents), lambda _tag: True)
        assert sum(len(field.contents) for field in found if isinstance(field.contents, bytes)) <= len(block)


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


@pytest.mark.slow
@pytest.mark.parametrize("stated", [(0, 0), (1, 0), (0, 1), (4_000_000_000, 1)])
def test_a_resolution_that_is_none_fails_no_picture(
    stated: tuple[int, int], make_image, command, tmp_path: Path
) -> None:
    said = {282: (5, stated), 283: (5, stated), 296: (3, (2,))}
    (tmp_path / "a.tif").write_bytes(tiff_of(noise(8, 9, 3), said))
    make_image("a.jpg", noise(8, 9, 3), exif=b"Exif\0\0" + exif_of(said))
    for source in ("a.tif", "a.jpg"):
        for target in ("b.tif", "b.png", "b.jpg", "b.bmp", "b.jp2", "b.webp"):
            result = command("run", source, "-o", target, "--overwrite", *HARDLY)
            assert result.exit_code == 0, result.stderr


def test_the_resolution_of_a_microscope_is_kept_or_told(command, tmp_path: Path) -> None:
    said = {282: (5, (390_769, 1)), 283: (5, (390_769, 1)), 296: (3, (2,))}  # 65 nm
    (tmp_path / "a.tif").write_bytes(tiff_of(noise(8, 9, 3), said))
    for target in ("b.tif", "b.png", "b.bmp"):
        assert command("run", "a.tif", "-o", target, *HARDLY).exit_code == 0
        with Image.open(tmp_path / target) as opened:
            assert opened.info["dpi"] == pytest.approx((390_769, 390_769), abs=0.02)
    result = command("run", "a.tif", "-o", "b.jpg", *HARDLY)
    assert result.exit_code == 0
    assert "390,769 dots per inch" in result.stderr


def test_where_nothing_is_said_of_the_resolution_nothing_is_written(command, tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(tiff_of(noise(8, 9, 3), {}))
    for target in ("b.tif", "b.png", "b.jpg"):
        assert command("run", "a.tif", "-o", target, *HARDLY).exit_code == 0
        with Image.open(tmp_path / target) as opened:
            assert target == "b.tif" or "dpi" not in opened.info
    assert not {282, 283} & set(tags_in((tmp_path / "b.tif").read_bytes()))


def jpeg(*segments: bytes, values: np.ndarray | None = None) -> bytes:
    """A JPEG with more segments before those that Pillow writes."""
    contents = BytesIO()
    Image.fromarray(noise(16, 24, 3) if values is None else values).save(contents, "JPEG", quality=90)
    return b"\xff\xd8" + b"".join(segments) + contents.getvalue()[2:]


def segment(number: int, contents: bytes) -> bytes:
    return bytes((0xFF, 0xE0 + number)) + struct.pack(">H", len(contents) + 2) + contents


OWN = [segment(1, b"FLIR\0" + bytes(range(256)) * 200)] * 3 + [
    segment(6, b"GoPro\0x"),
    segment(12, b"Ducky\0y"),
]


def test_segments_of_other_programs_stay_in_a_jpeg_and_are_told_elsewhere(command, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg(*OWN))
    result = command("run", "a.jpg", *HARDLY)
    assert result.exit_code == 0
    assert "note" not in result.stderr
    assert b"".join(OWN) in (tmp_path / "a_denoised.jpg").read_bytes()
    result = command("run", "a.jpg", "-o", "a.png", *HARDLY)
    assert "note: its JPEG segments APP1 (FLIR), APP12 (Ducky), APP6 (GoPro) are dropped" in result.stderr
    assert command("run", "a.jpg", "-o", "b.jpg", "--strip-metadata", *HARDLY).exit_code == 0
    assert b"FLIR" not in (tmp_path / "b.jpg").read_bytes()


def test_segments_that_become_untrue_are_left_out_and_told(command, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg(segment(11, b"JP\0\1signed"), segment(0, b"JFXX\0\x13")))
    result = command("run", "a.jpg", *HARDLY)
    assert "APP0 (JFXX), APP11 (JP)" in result.stderr
    assert b"signed" not in (tmp_path / "a_denoised.jpg").read_bytes()


def test_the_film_behind_a_photograph_stays_there(command, tmp_path: Path) -> None:
    film = b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 300
    (tmp_path / "a.jpg").write_bytes(jpeg(segment(5, b"\xff\xd9 is no end here")) + film)
    result = command("run", "a.jpg", *HARDLY)
    assert result.exit_code == 0
    assert "note" not in result.stderr
    written = (tmp_path / "a_denoised.jpg").read_bytes()
    assert written.endswith(b"\xff\xd9" + film), "so that places that count from the end stay true"
    result = command("run", "a.jpg", "-o", "a.tif", *HARDLY)
    assert "note: 76,812 bytes" in result.stderr


def test_zeros_behind_a_photograph_are_nothing(command, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg() + bytes(1000))
    assert "note" not in command("run", "a.jpg", "-o", "a.png", *HARDLY).stderr


PREVIEW, VGA, UNDEFINED_KIND, STEREO = 0x010002, 0x010001, 0, 0x020002


def several(*kinds: int) -> bytes:
    """Pictures of those kinds behind a first one, of half its size, with an index, as CIPA DC-007 has it."""
    others = [jpeg(values=noise(8, 12, 3, seed=kind)) for kind in kinds]
    length = len(jpeg(_index(kinds, [0] * len(kinds), [0] * len(kinds))))
    begin = 2 + 8  # from where places count
    starts = [length - begin + sum(map(len, others[:number])) for number in range(len(others))]
    index = _index(kinds, [len(other) for other in others], starts)
    return jpeg(index) + b"".join(others)


def _index(kinds: tuple[int, ...], lengths: list[int], starts: list[int]) -> bytes:
    pictures = [(0x20030000, 0, 0), *zip(kinds, lengths, starts, strict=True)]
    entries = b"".join(struct.pack("<IIIHH", *picture, 0, 0) for picture in pictures)
    tags = {0xB000: (7, b"0100"), 0xB001: (LONG, (len(pictures),)), 0xB002: (7, entries)}
    return segment(2, b"MPF\0" + exif_of(tags))


@pytest.mark.parametrize("kinds", [(PREVIEW,), (VGA, PREVIEW)])
def test_a_photograph_with_previews_is_one_picture(kinds: tuple[int, ...], command, tmp_path: Path) -> None:
    contents = several(*kinds)
    (tmp_path / "a.jpg").write_bytes(contents)
    with Image.open(tmp_path / "a.jpg") as opened:
        assert (opened.format, opened.n_frames) == ("MPO", 1 + len(kinds))
    result = command("run", "a.jpg", *HARDLY)
    assert result.exit_code == 0, result.stderr
    length = len(contents) - contents.index(b"\xff\xd9") - 2
    assert (
        f"note: {length:,} bytes after the image (previews, a gain map or a video) are dropped"
        in result.stderr
    )
    written = (tmp_path / "a_denoised.jpg").read_bytes()
    assert b"MPF\0" not in written
    with Image.open(tmp_path / "a_denoised.jpg") as opened:
        assert (opened.format, opened.size) == ("JPEG", (24, 16))


@pytest.mark.parametrize("kinds", [(STEREO,), (PREVIEW, STEREO), (UNDEFINED_KIND,)])
def test_pictures_of_their_own_are_still_several(kinds: tuple[int, ...], command, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(several(*kinds))
    result = command("run", "a.jpg", *HARDLY)
    assert result.exit_code == 1
    assert "several images (MPO)" in result.stderr


@pytest.mark.parametrize(("unit", "density"), [(0, (1, 2)), (2, (118, 59))])
def test_the_unit_of_the_resolution_of_a_jpeg_stays(
    unit: int, density: tuple[int, int], command, tmp_path: Path
) -> None:
    contents = bytearray(jpeg())
    contents[13:18] = struct.pack(">BHH", unit, *density)
    (tmp_path / "a.jpg").write_bytes(contents)
    assert command("run", "a.jpg", *HARDLY).exit_code == 0
    with Image.open(tmp_path / "a_denoised.jpg") as opened:
        assert (opened.info["jfif_unit"], opened.info["jfif_density"]) == (unit, density)
    result = command("run", "a.jpg", "-o", "a.png", *HARDLY)
    assert ("note: its pixel aspect" in result.stderr) == (unit == 0)


@pytest.mark.parametrize("tags", [{271: (2, b"Maker\0")}, {}, None])
def test_no_resolution_is_invented_for_a_jpeg_whose_exif_data_have_none(
    tags: dict | None, command, tmp_path: Path
) -> None:
    block = b"no tags" if tags is None else exif_of(tags)
    (tmp_path / "a.jpg").write_bytes(jpeg(segment(1, b"Exif\0\0" + block)))
    for target in ("b.jpg", "b.png", "b.tif"):
        assert command("run", "a.jpg", "-o", target, *HARDLY).exit_code == 0
    assert (tmp_path / "b.jpg").read_bytes()[13:18] == bytes((0, 0, 1, 0, 1))
    with Image.open(tmp_path / "b.png") as opened:
        assert "dpi" not in opened.info
    assert not {282, 283} & set(tags_in((tmp_path / "b.tif").read_bytes()))


def test_a_resolution_that_only_the_exif_data_state_comes_along(command, tmp_path: Path) -> None:
    stated = {282: (5, (300, 1)), 283: (5, (300, 1)), 296: (3, (2,))}
    (tmp_path / "a.jpg").write_bytes(jpeg(segment(1, b"Exif\0\0" + exif_of(stated))))
    assert command("run", "a.jpg", "-o", "b.png", *HARDLY).exit_code == 0
    with Image.open(tmp_path / "b.png") as opened:
        assert opened.info["dpi"] == pytest.approx((300, 300), abs=0.01)


def chunk(kind: bytes, contents: bytes) -> bytes:
    return struct.pack(">I", len(contents)) + kind + contents + struct.pack(">I", zlib.crc32(kind + contents))


def test_a_colour_profile_that_cannot_be_read_is_told(make_image, command, tmp_path: Path) -> None:
    contents = make_image("a.png", noise(8, 9, 3)).read_bytes()
    (tmp_path / "a.png").write_bytes(contents[:33] + chunk(b"iCCP", b"mine\0\0not packed") + contents[33:])
    assert (
        "note: its colour profile cannot be read, and is dropped" in command("run", "a.png", *HARDLY).stderr
    )


@pytest.mark.parametrize("name", ["a.png", "a.webp"])
def test_what_lies_behind_a_picture_is_told(name: str, make_image, command, tmp_path: Path) -> None:
    contents = make_image(name, noise(8, 9, 3), lossless=True).read_bytes()
    (tmp_path / name).write_bytes(contents + bytes(100))
    assert "note" not in command("run", name, *HARDLY).stderr
    (tmp_path / name).write_bytes(contents + bytes(2000) + b"more")
    result = command("run", name, "--overwrite", *HARDLY)
    assert "note: 2,004 bytes" in result.stderr


@pytest.mark.parametrize(("kind", "depth"), [(b"P5", 1), (b"P6", 1), (b"P6", 2)])
def test_comments_of_a_pnm_and_further_pictures_behind_are_told(
    kind: bytes, depth: int, command, tmp_path: Path
) -> None:
    values = noise(8, 9, *((3,) if kind == b"P6" else ()), dtype=(np.uint8, np.uint16)[depth - 1])
    pixels = values.astype(f">u{depth}").tobytes()
    picture = kind + b"\n9 8 %d\n" % (256**depth - 1) + pixels
    (tmp_path / "a.pnm").write_bytes(picture)
    assert "note" not in command("run", "a.pnm", *HARDLY).stderr
    commented = picture.replace(b"\n", b"\n# by hand\n", 1)
    (tmp_path / "a.pnm").write_bytes(commented + picture)
    result = command("run", "a.pnm", "--overwrite", *HARDLY)
    assert "note: its comments" in result.stderr
    assert f"note: {len(picture)} bytes" in result.stderr


def test_unknown_chunks_of_a_webp_are_told(make_image, command, tmp_path: Path) -> None:
    contents = make_image("a.webp", noise(8, 9, 3), lossless=True, xmp=b"<x/>").read_bytes()
    contents += b"MINE" + struct.pack("<I", 4) + b"data"
    (tmp_path / "a.webp").write_bytes(contents[:4] + struct.pack("<I", len(contents) - 8) + contents[8:])
    assert "note: its WebP chunks MINE are dropped" in command("run", "a.webp", *HARDLY).stderr


def bmp(values: np.ndarray, colours: int, profile: bytes, primaries: bytes = bytes(48)) -> bytes:
    """A bitmap of the fifth version: 24 bits, with a number of four letters that says what its colours are."""
    rows, columns = values.shape[:2]
    pixels = b"".join(row[:, ::-1].tobytes() + bytes(-3 * columns % 4) for row in values[::-1])
    header = struct.pack("<IiiHHIIiiII", 124, columns, rows, 1, 24, 0, len(pixels), 2835, 2835, 0, 0)
    header += bytes(16) + struct.pack("<I", colours) + primaries
    header += struct.pack("<4I", 4, 124 + len(pixels), len(profile), 0)
    return struct.pack("<2sIII", b"BM", 138 + len(pixels) + len(profile), 0, 138) + header + pixels + profile


def test_the_colour_profile_of_a_bitmap_comes_along_or_is_told(command, tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    (tmp_path / "a.bmp").write_bytes(bmp(noise(8, 9, 3), 0x4D424544, profile))
    assert command("run", "a.bmp", "-o", "a.png", *HARDLY).exit_code == 0
    with Image.open(tmp_path / "a.png") as opened:
        np.testing.assert_array_equal(np.asarray(opened), noise(8, 9, 3))
        assert opened.info["icc_profile"] == profile
    assert "note: BMP has no place for its colour profile" in command("run", "a.bmp", *HARDLY).stderr


@pytest.mark.parametrize(
    ("colours", "primaries", "words"),
    [
        (0x4C494E4B, bytes(48), "its colour profile cannot be read"),
        (0x4D424544, bytes(48), "its colour profile cannot be read"),
        (0, bytes(47) + b"\1", "its calibrated colours are written as if they were sRGB"),
        (0, bytes(48), ""),
        (0x73524742, bytes(48), ""),
    ],
)
def test_colours_of_a_bitmap_that_are_not_carried_are_told(
    colours: int, primaries: bytes, words: str, command, tmp_path: Path
) -> None:
    contents = bmp(noise(8, 9, 3), colours, b"name", primaries)
    (tmp_path / "a.bmp").write_bytes(contents[:-1])
    result = command("run", "a.bmp", *HARDLY)
    assert result.exit_code == 0
    assert f"note: {words}" in result.stderr if words else "note" not in result.stderr
