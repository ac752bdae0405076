"""Small copies of an image in its metadata show the result, and gain maps stay where they are found."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin

from support.camera_files import EXIF, LONG, MAKER_NOTE, OF_A_CAMERA, exif_of, tags_in, tiff_of
from support.values import noise
from tvdenoise.files.decoded import DecodedImage, Metadata
from tvdenoise.files.reading import read
from tvdenoise.files.writing import write
from tvdenoise.formats.registry import FORMAT_BY_EXTENSION

COLUMNS, ROWS = 48, 36
GENTLE = ("--mu", "20", "--max-iterations", "5")
FORMATS = [".jpg", ".png", ".webp", ".avif", ".jp2", ".heic"]


def scene(dtype: type = np.uint8) -> np.ndarray:
    """Red on the left and blue on the right, with noise."""
    values = noise(ROWS, COLUMNS, 3) // 8
    values[:, : COLUMNS // 2, 0] += 180
    values[:, COLUMNS // 2 :, 2] += 180
    return values if dtype == np.uint8 else values.astype(dtype) * 257


def jpeg_of(image: Image.Image, **options: object) -> bytes:
    contents = io.BytesIO()
    image.save(contents, "JPEG", **options)
    return contents.getvalue()


def old_thumbnail(size: tuple[int, int] = (16, 12)) -> bytes:
    return jpeg_of(Image.new("RGB", size, (0, 255, 0)))


def with_thumbnail(block: bytes, thumbnail: bytes, *, order: str = "<", after: bytes = b"") -> bytes:
    """EXIF data with a second directory; after: bytes behind the thumbnail."""
    second = len(block) + len(block) % 2
    entries = struct.pack(f"{order}HHIHH", 259, 3, 1, 6, 0)
    entries += struct.pack(f"{order}HHII", 513, LONG, 1, second + 2 + 3 * 12 + 4)
    entries += struct.pack(f"{order}HHII", 514, LONG, 1, len(thumbnail))
    found = bytearray(block + bytes(len(block) % 2))
    (place,) = struct.unpack_from(f"{order}I", found, 4)
    (count,) = struct.unpack_from(f"{order}H", found, place)
    struct.pack_into(f"{order}I", found, place + 2 + 12 * count, second)
    return bytes(found) + struct.pack(f"{order}H", 3) + entries + bytes(4) + thumbnail + after


def thumbnail_in(exif: bytes | None) -> Image.Image | None:
    """The thumbnail that the second directory of EXIF data names; None if there is no second directory."""
    assert exif is not None
    exif = exif.removeprefix(b"Exif\0\0")
    order = "<" if exif.startswith(b"II") else ">"
    (first,) = struct.unpack_from(f"{order}I", exif, 4)
    (count,) = struct.unpack_from(f"{order}H", exif, first)
    (second,) = struct.unpack_from(f"{order}I", exif, first + 2 + 12 * count)
    if second == 0:
        return None
    (count,) = struct.unpack_from(f"{order}H", exif, second)
    entries = (struct.unpack_from(f"{order}HHII", exif, second + 2 + 12 * each) for each in range(count))
    found = {tag: value for tag, _, _, value in entries}
    return shown(exif[found[513] : found[513] + found[514]])


def shown(contents: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(contents))
    image.load()
    return image


def assert_shows_the_scene(thumbnail: Image.Image | None, size: tuple[int, int] = (16, 12)) -> None:
    assert thumbnail is not None
    assert thumbnail.size == size
    means = np.asarray(thumbnail.convert("RGB"), float)
    left, right = means[:, : size[0] // 3].mean(axis=(0, 1)), means[:, -size[0] // 3 :].mean(axis=(0, 1))
    assert left[0] > 150
    assert right[2] > 150
    assert max(*left[1:], *right[:2]) < 90


def made(
    path: Path, exif: bytes | None = None, values: np.ndarray | None = None, xmp: bytes | None = None
) -> None:
    image = DecodedImage(scene() if values is None else values, metadata=Metadata(exif=exif, xmp=xmp))
    write(image, path, FORMAT_BY_EXTENSION[path.suffix])


@pytest.mark.parametrize("extension", FORMATS)
def test_the_thumbnail_of_exif_data_shows_the_result(extension: str, command, tmp_path: Path) -> None:
    if extension == ".heic":
        pytest.importorskip("pillow_heif")
    exif = with_thumbnail(exif_of({271: (2, b"Maker\0"), EXIF: OF_A_CAMERA}), old_thumbnail())
    made(tmp_path / f"a{extension}", exif)
    assert np.asarray(thumbnail_in(read(tmp_path / f"a{extension}").metadata.exif))[0, 0, 1] > 200
    result = command("run", f"a{extension}", *GENTLE, "-o", f"b{extension}")
    assert result.exit_code == 0, result.stderr
    assert "thumbnail" not in result.stderr
    written = read(tmp_path / f"b{extension}").metadata.exif
    assert written is not None
    assert_shows_the_scene(thumbnail_in(written))
    assert old_thumbnail()[200:] not in written
    assert tags_in(written)[EXIF][MAKER_NOTE] == OF_A_CAMERA[MAKER_NOTE]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("old", ["last", "in the middle", "large", "small and in the middle"])
def test_whatever_lies_around_a_thumbnail_stays_where_it_was(
    order: str, old: str, command, tmp_path: Path
) -> None:
    thumbnail = old_thumbnail((16, 12))
    thumbnail += bytes(3000) if old == "large" else b""
    if old.startswith("small"):
        thumbnail = jpeg_of(Image.new("L", (16, 12)), quality=5)
    after = b"an offset points here" if old.endswith("middle") else b""
    exif = with_thumbnail(exif_of({EXIF: OF_A_CAMERA}, order), thumbnail, order=order, after=after)
    made(tmp_path / "a.jpg", exif)
    assert command("run", "a.jpg", *GENTLE, "-o", "b.jpg").exit_code == 0
    written = read(tmp_path / "b.jpg").metadata.exif
    assert written is not None
    assert_shows_the_scene(thumbnail_in(written))
    start = len(exif) - len(after) - len(thumbnail)
    assert written[: start - 34] == exif[: start - 34]  # but for the offset and length
    if after:
        assert written[start + len(thumbnail) :].startswith(after)


@pytest.mark.parametrize("size", [(16, 12), (21, 9)])
def test_an_uncompressed_thumbnail_is_overwritten(size: tuple[int, int], command, tmp_path: Path) -> None:
    old = np.full((size[1], size[0], 3), (0, 255, 0), np.uint8)
    second = tiff_of(old, {})
    exif = bytearray(second)  # its first directory is copied as the second
    (place,) = struct.unpack_from("<I", exif, 4)
    struct.pack_into("<I", exif, 4, len(exif))
    exif += struct.pack("<HHHII", 1, 274, 3, 1, 1) + struct.pack("<I", place)
    made(tmp_path / "a.jpg", bytes(exif))
    assert command("run", "a.jpg", *GENTLE, "-o", "b.jpg").exit_code == 0
    written = read(tmp_path / "b.jpg").metadata.exif
    assert written is not None
    assert len(written) == len(exif)
    assert_shows_the_scene(Image.frombytes("RGB", size, written[8 : 8 + old.size]), size)


@pytest.mark.parametrize(
    ("thumbnail", "values"),
    [
        (b"\xff\xd8\xff no thumbnail at all", scene()),
        (jpeg_of(Image.new("L", (2100, 2100))), scene()),
        (b"\xff\xd8\xff\xc0\0\x0b\x08\xff\xff\xff\xff\1\1\x11\0\xff\xda", scene()),
    ],
    ids=["damaged", "large", "bomb"],
)
def test_a_thumbnail_that_cannot_be_made_anew_is_dropped_and_told(
    thumbnail, values, command, tmp_path: Path
) -> None:
    exif = with_thumbnail(exif_of({EXIF: OF_A_CAMERA}), thumbnail)
    made(tmp_path / "a.jpg", exif, values)
    result = command("run", "a.jpg", *GENTLE, "-o", "b.jpg")
    assert result.exit_code == 0
    assert "note: its thumbnail in EXIF data cannot be made anew, and is dropped" in result.stderr
    written = read(tmp_path / "b.jpg").metadata.exif
    assert written is not None
    assert thumbnail_in(written) is None
    assert thumbnail[3:] not in written
    assert tags_in(written)[EXIF] == OF_A_CAMERA


@pytest.mark.parametrize("geometry", ["margins", "cropped", "stretched"])
def test_a_new_thumbnail_has_the_geometry_of_the_old_one(geometry: str, command, tmp_path: Path) -> None:
    size = (20, 20)
    before = Image.fromarray(scene())
    make = {"margins": ImageOps.pad, "cropped": ImageOps.fit, "stretched": Image.Image.resize}[geometry]
    old = make(before, size)
    made(tmp_path / "a.png", with_thumbnail(exif_of({EXIF: OF_A_CAMERA}), jpeg_of(old, quality=95)))
    assert command("run", "a.png", *GENTLE, "-o", "b.png").exit_code == 0
    new = thumbnail_in(read(tmp_path / "b.png").metadata.exif)
    assert new is not None
    assert np.abs(np.asarray(new, float) - np.asarray(old, float)).mean() < 20
    assert (np.asarray(new)[0].mean() < 20) == (geometry == "margins")


def resource(number: int, contents: bytes) -> bytes:
    return b"8BIM" + struct.pack(">HHI", number, 0, len(contents)) + contents + bytes(len(contents) % 2)


def photoshop_thumbnail(thumbnail: bytes, size: tuple[int, int] = (16, 12)) -> bytes:
    row = (size[0] * 24 + 31) // 32 * 4
    return struct.pack(">IIIIIIHH", 1, *size, row, row * size[1], len(thumbnail), 24, 1) + thumbnail


def segment(number: int, contents: bytes) -> bytes:
    return bytes((0xFF, 0xE0 + number)) + struct.pack(">H", len(contents) + 2) + contents


def with_segments(*segments: bytes) -> bytes:
    contents = jpeg_of(Image.fromarray(scene()), quality=95)
    end = 4 + int.from_bytes(contents[4:6], "big")
    return contents[:end] + b"".join(segments) + contents[end:]


TITLE = resource(1028, b"\x1c\2\x05\0\6Titled\0")
PATHS = resource(2000, bytes(range(256)) * 60)


def check_resources(contents: bytes, number: int, swapped: bool) -> None:
    """Resources in their order, with a new thumbnail and everything else as it was."""
    assert contents.startswith(TITLE)
    assert PATHS in contents
    place = contents.index(b"8BIM" + struct.pack(">H", number)) + 12
    size = struct.unpack_from(">I", contents, place - 4)[0]
    kind, columns, rows, row, whole, length, bits, planes = struct.unpack_from(">IIIIIIHH", contents, place)
    assert (kind, columns, rows, row, whole, bits, planes) == (1, 16, 12, 48, 576, 24, 1)
    assert size == length + 28
    thumbnail = shown(contents[place + 28 : place + 28 + length])
    assert_shows_the_scene(Image.merge("RGB", thumbnail.split()[::-1]) if swapped else thumbnail)


@pytest.mark.parametrize(("number", "swapped"), [(1036, False), (1033, True)])
@pytest.mark.parametrize("is_cut", [False, True])
def test_the_thumbnail_of_photoshop_in_a_jpeg_shows_the_result(
    number: int, swapped: bool, is_cut: bool, command, tmp_path: Path
) -> None:
    resources = TITLE + resource(number, photoshop_thumbnail(old_thumbnail())) + PATHS
    pieces = [resources[:300], resources[300:]] if is_cut else [resources]
    other = segment(6, b"GoPro\0x")
    contents = with_segments(*(segment(13, b"Photoshop 3.0\0" + piece) for piece in pieces), other)
    (tmp_path / "a.jpg").write_bytes(contents)
    result = command("run", "a.jpg", *GENTLE, "-o", "b.jpg")
    assert result.exit_code == 0
    assert "thumbnail" not in result.stderr
    with Image.open(tmp_path / "b.jpg") as opened:
        written = [each for name, each in opened.applist if name == "APP13"]
        assert ("APP6", b"GoPro\0x") in opened.applist
    check_resources(b"".join(each.removeprefix(b"Photoshop 3.0\0") for each in written), number, swapped)


@pytest.mark.parametrize("target", ["b.tif", "b.png"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_thumbnail_of_photoshop_in_a_tiff_shows_the_result(
    dtype, target, command, tmp_path: Path
) -> None:
    resources = TITLE + resource(1036, photoshop_thumbnail(old_thumbnail())) + PATHS
    (tmp_path / "a.tif").write_bytes(tiff_of(scene(dtype), {34377: (7, resources)}))
    assert command("run", "a.tif", *GENTLE, "-o", target).exit_code == 0
    if target == "b.tif":
        written = tags_in((tmp_path / target).read_bytes())
    else:
        written = tags_in(read(tmp_path / target).metadata.exif or b"")
    check_resources(written[34377][1], 1036, swapped=False)


def test_the_thumbnail_of_floats_is_dropped_and_told(command, tmp_path: Path) -> None:
    from tvdenoise.formats.tiff.directories import Field
    from tvdenoise.formats.tiff.writing import TiffTraits

    tag = Field(34377, 7, TITLE + resource(1036, photoshop_thumbnail(old_thumbnail())) + PATHS)
    image = DecodedImage(scene().astype(np.float32) / 255, codec="TIFF", traits=TiffTraits({34377: tag}))
    write(image, tmp_path / "a.tif", FORMAT_BY_EXTENSION[".tif"])
    result = command("run", "a.tif", *GENTLE, "-o", "b.tif")
    assert "note: its thumbnail in Photoshop data cannot be made anew, and is dropped" in result.stderr
    assert tags_in((tmp_path / "b.tif").read_bytes())[34377][1] == TITLE + PATHS


JFXX: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: b"\x10" + old_thumbnail(),
    "palette": lambda: b"\x11" + bytes((16, 12)) + bytes(768 + 192),
    "rgb": lambda: b"\x13" + bytes((16, 12)) + bytes((0, 255, 0)) * 192,
}
CIFF = segment(0, b"II\x1a\0\0\0HEAPJPGM" + bytes(range(200)))


@pytest.mark.parametrize("kind", JFXX)
def test_an_extension_of_jfif_shows_the_result_and_ciff_stays(kind: str, command, tmp_path: Path) -> None:
    exif = segment(1, b"Exif\0\0" + exif_of({271: (2, b"Maker\0")}))
    (tmp_path / "a.jpg").write_bytes(with_segments(segment(0, b"JFXX\0" + JFXX[kind]()), CIFF, exif))
    result = command("run", "a.jpg", *GENTLE, "-o", "b.jpg")
    assert result.exit_code == 0
    assert "note" not in result.stderr
    contents = (tmp_path / "b.jpg").read_bytes()
    assert CIFF in contents
    with Image.open(tmp_path / "b.jpg") as opened:
        opened.load()
        assert [name for name, _ in opened.applist[:2]] == ["APP0", "APP0"]
        extension = opened.applist[1][1]
        assert opened.getexif()[271] == "Maker"
    assert extension.startswith(b"JFXX\0\x10")
    assert_shows_the_scene(shown(extension[6:]))
    assert "JFXX" in command("run", "a.jpg", *GENTLE, "-o", "b.png").stderr


def _xmp(thumbnail: bytes) -> bytes:
    packed = base64.b64encode(thumbnail).decode()
    lines = "&#xA;".join(packed[start : start + 76] for start in range(0, len(packed), 76))
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description xmlns:xmpGImg="http://ns.adobe.com/xap/1.0/g/img/">'
        f"<xmpGImg:format>JPEG</xmpGImg:format><xmpGImg:image>{lines}</xmpGImg:image></rdf:Description></x:xmpmeta>"
    ).encode()


@pytest.mark.parametrize("extension", [".jpg", ".png", ".webp"])
def test_the_thumbnail_of_xmp_data_shows_the_result(extension: str, command, tmp_path: Path) -> None:
    made(tmp_path / f"a{extension}", xmp=_xmp(old_thumbnail() + bytes(900)))
    assert command("run", f"a{extension}", *GENTLE, "-o", f"b{extension}").exit_code == 0
    written = read(tmp_path / f"b{extension}").metadata.xmp or b""
    assert written.startswith(_xmp(b"").partition(b"<xmpGImg:image>")[0])
    image = written.partition(b"<xmpGImg:image>")[2].partition(b"</xmpGImg:image>")[0]
    assert_shows_the_scene(shown(base64.b64decode(image)))


@pytest.mark.parametrize("is_packed", [False, True])
def test_the_thumbnail_in_a_text_of_a_png_shows_the_result(is_packed: bool, command, tmp_path: Path) -> None:
    exif = b"Exif\0\0" + with_thumbnail(exif_of({EXIF: OF_A_CAMERA}), old_thumbnail())
    chunks = PngImagePlugin.PngInfo()
    digits = exif.hex()
    lines = "\n".join(digits[start : start + 72] for start in range(0, len(digits), 72))
    chunks.add_text("Raw profile type exif", f"\nexif\n{len(exif):8}\n{lines}\n", zip=is_packed)
    Image.fromarray(scene()).save(tmp_path / "a.png", pnginfo=chunks)
    assert command("run", "a.png", *GENTLE, "-o", "b.png").exit_code == 0
    with Image.open(tmp_path / "b.png") as opened:
        opened.load()
        text = opened.text["Raw profile type exif"]
    name, length, *rows = text.strip("\n").split("\n")
    written = bytes.fromhex("".join(rows))
    assert (name, int(length)) == ("exif", len(written))
    assert_shows_the_scene(thumbnail_in(written))


def test_metadata_that_are_damaged_anyhow_fail_no_image() -> None:
    from tvdenoise.formats.thumbnails import Miniature, renewed_exif, renewed_resources

    miniature = Miniature(DecodedImage(scene()))
    generator = np.random.default_rng(0)
    resources = TITLE + resource(1036, photoshop_thumbnail(old_thumbnail())) + TITLE
    for block, renewed in (
        (with_thumbnail(exif_of({EXIF: OF_A_CAMERA, 34377: (7, resources)}), old_thumbnail()), renewed_exif),
        (resources, renewed_resources),
    ):
        for _ in range(400):
            damaged = np.frombuffer(block, np.uint8).copy()
            places = generator.integers(0, len(block), generator.integers(1, 5))
            damaged[places] = generator.integers(0, 256, len(places))
            contents = damaged[: generator.integers(8, len(block) + 1)].tobytes()
            assert len(renewed(contents, miniature).contents) < len(block) + (1 << 17)


NAMESPACE = b'xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/"'
ANNOUNCEMENT = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:Container="http://ns.google.com/photos/1.0/container/" '
    + NAMESPACE
    + b' dc:kept="1" '
    b'hdrgm:Version="1.0"><hdrgm:GainMapMax><rdf:Seq/></hdrgm:GainMapMax><Container:Directory><rdf:Seq>'
    b'<rdf:li><Container:Item Item:Semantic="Primary"/></rdf:li><rdf:li><Container:Item Item:Semantic="GainMap"'
    b' Item:Length="99"/></rdf:li></rdf:Seq></Container:Directory></rdf:Description></rdf:RDF></x:xmpmeta>'
)
ISO = segment(2, b"urn:iso:std:iso:ts:21496:-1\0" + bytes(4))
PREVIEW, UNDEFINED = 0x010002, 0
APPLE = b"http://ns.adobe.com/xap/1.0/\0<x>urn:com:apple:photo:2020:aux:hdrgainmap</x>"
HOW = {
    "xmp": ((segment(1, b"http://ns.adobe.com/xap/1.0/\0" + ANNOUNCEMENT),), ()),
    "iso": ((ISO,), ()),
    "apple": ((), (segment(1, APPLE),)),
}


def several(
    before: tuple[bytes, ...], others: list[tuple[int, bytes]], order: str = "<", shift: int = 0
) -> bytes:
    """An image with others behind it and their index; shift: an error of their offsets."""

    def whole(first: int, begin: int) -> bytes:
        entries = struct.pack(f"{order}IIIHH", 0x20030000, first, 0, 0, 0)
        start = first - begin + shift
        for kind, contents in others:
            entries += struct.pack(f"{order}IIIHH", kind, len(contents), start, 0, 0)
            start += len(contents)
        tags = {0xB000: (7, b"0100"), 0xB001: (LONG, (1 + len(others),)), 0xB002: (7, entries)}
        return with_segments(*before, segment(2, b"MPF\0" + exif_of(tags, order)))

    shape = whole(0, 0)
    return whole(len(shape), shape.index(b"MPF\0") + 4) + b"".join(contents for _, contents in others)


def gain_map(*segments: bytes) -> bytes:
    contents = jpeg_of(Image.fromarray(noise(9, 12)))
    return contents[:2] + b"".join(segments) + contents[2:]


def indexed(path: Path) -> list[bytes]:
    """The images that the index of a file names, each cut out of it."""
    contents = path.read_bytes()
    begin = contents.index(b"MPF\0") + 4
    with Image.open(path) as opened:
        entries = opened._getmp()[0xB002] if opened.format == "JPEG" else opened.mpinfo[0xB002]
    starts = [begin + entry["DataOffset"] if number else 0 for number, entry in enumerate(entries)]
    return [contents[start : start + entry["Size"]] for start, entry in zip(starts, entries, strict=True)]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("film", [b"", b"\0\0\0\x18ftypmp42" + bytes(range(256))])
def test_a_jpeg_keeps_its_gain_map_and_a_true_index(
    how: str, order: str, film: bytes, command, tmp_path: Path
) -> None:
    before, inside = HOW[how]
    mapped = gain_map(*inside)
    (tmp_path / "a.jpg").write_bytes(several(before, [(UNDEFINED, mapped)], order) + film)
    result = command("run", "a.jpg", *GENTLE, "-o", "b.jpg")
    assert result.exit_code == 0, result.stderr
    assert "note" not in result.stderr
    contents = (tmp_path / "b.jpg").read_bytes()
    first, second = indexed(tmp_path / "b.jpg")
    assert second == mapped
    assert first + second + film == contents
    assert first.endswith(b"\xff\xd9")
    assert all(announced[4:] in first for announced in before)
    assert shown(first).size == (COLUMNS, ROWS)


def test_previews_before_a_gain_map_are_dropped_and_it_stays(command, tmp_path: Path) -> None:
    preview, mapped = old_thumbnail(), gain_map()
    contents = several(HOW["xmp"][0], [(PREVIEW, preview), (UNDEFINED, mapped), (PREVIEW, preview)])
    (tmp_path / "a.jpg").write_bytes(contents + b"film")
    result = command("run", "a.jpg", *GENTLE, "-o", "b.jpg")
    assert f"note: {2 * len(preview):,} bytes after the image" in result.stderr
    first, second = indexed(tmp_path / "b.jpg")
    assert second == mapped
    assert (tmp_path / "b.jpg").read_bytes() == first + mapped + b"film"


@pytest.mark.parametrize("why", ["another format", "stripped", "wrong offsets", "previews alone"])
def test_what_announces_a_gain_map_goes_where_it_goes(why: str, command, tmp_path: Path) -> None:
    others = [(PREVIEW if why == "previews alone" else UNDEFINED, gain_map())]
    shift = 7 if why == "wrong offsets" else 0
    (tmp_path / "a.jpg").write_bytes(several((*HOW["xmp"][0], ISO), others, shift=shift))
    target = "b.png" if why == "another format" else "b.jpg"
    more = ("--strip-metadata",) if why == "stripped" else ()
    result = command("run", "a.jpg", *GENTLE, *more, "-o", target)
    assert result.exit_code == 0, result.stderr
    contents = (tmp_path / target).read_bytes()
    for name in (b"hdrgm", b"hdr-gain-map", b"GainMap", b"MPF\0", b"21496"):
        assert name not in contents
    if why != "stripped":
        assert "note: what its XMP data say of a gain map is dropped" in result.stderr
        xmp = read(tmp_path / target).metadata.xmp or b""
        assert b'dc:kept="1"' in xmp
        assert b'Semantic="Primary"' in xmp


def test_the_thumbnail_of_an_animation_shows_its_first_frame(command, tmp_path: Path) -> None:
    exif = with_thumbnail(exif_of({EXIF: OF_A_CAMERA}), old_thumbnail())
    frames = [Image.fromarray(scene()), Image.fromarray(255 - scene())]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:], duration=100, exif=exif)
    assert command("run", "a.png", *GENTLE, "-o", "b.png").exit_code == 0
    with Image.open(tmp_path / "b.png") as opened:
        assert opened.n_frames == 2
        assert_shows_the_scene(thumbnail_in(opened.info["exif"]))


def test_a_text_that_is_packed_is_packed_again() -> None:
    from tvdenoise.formats.png_chunks import with_new_text

    chunk = (b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n       2\nabcd\n"))
    found = with_new_text(chunk, lambda _name, data: data[::-1])
    assert zlib.decompress(found[1].partition(b"\0\0")[2]) == b"\nexif\n       2\ncdab\n"
    assert with_new_text(chunk, lambda _name, data: data) == chunk
