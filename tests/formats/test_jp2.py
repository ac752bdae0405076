"""JPEG 2000: lossless stays bit for bit, at 8 and 16 bits; boxes and comments come through."""

from __future__ import annotations

import dataclasses
import struct
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import ExifTags, Image

from support.metadata import ASKED, PROFILE, RECORD, XMP, exif_bytes
from support.round_trips import decoded_of
from support.values import noise
from tvdenoise.errors import TvdenoiseError, UnreadableImageError, UnsupportedImageError
from tvdenoise.files.decoded import DecodedImage, Metadata
from tvdenoise.files.reading import read
from tvdenoise.files.writing import write
from tvdenoise.formats.boxes import boxes, packed
from tvdenoise.formats.jp2 import Jp2Traits
from tvdenoise.formats.registry import FORMAT_BY_EXTENSION

JP2, BARE = FORMAT_BY_EXTENSION[".jp2"], FORMAT_BY_EXTENSION[".j2k"]
GEOTIFF = bytes.fromhex("b14bf8bd083d4b43a5ae8cd7d5a6ce03") + b"a GeoTIFF"


def add_box(path: Path, kind: bytes, contents: bytes) -> None:
    """Put a box before the codestream."""
    stored = path.read_bytes()
    position = stored.index(b"jp2c") - 4
    path.write_bytes(stored[:position] + packed(kind, contents) + stored[position:])


def replace_in_header(path: Path, kind: bytes, contents: bytes) -> None:
    """Give a box in the header other contents of any length."""
    stored = path.read_bytes()
    with path.open("rb") as stream:
        header = next(box for box in boxes(stream) if box.kind == b"jp2h")
        inner = [(box.kind, box.contents(stream)) for box in boxes(stream, header.start, header.end)]
    changed = b"".join(packed(name, contents if name == kind else old) for name, old in inner)
    path.write_bytes(stored[: header.start - 8] + packed(b"jp2h", changed) + stored[header.end :])


@pytest.mark.parametrize("values", [noise(30, 40), noise(30, 40, 3), noise(30, 40, 4)])
def test_what_other_programs_write_is_read(values, make_image) -> None:
    picture = read(make_image("a.jp2", values))
    planes = picture.intensities if picture.alpha is None else np.dstack((picture.intensities, picture.alpha))
    np.testing.assert_array_equal(planes, values)


@pytest.mark.parametrize("kind", ["RGB", "RGBA", "RGB;16", "RGBA;16"])
def test_pixels_are_not_converted_by_a_profile_that_is_kept(kind: str, command, tmp_path: Path) -> None:
    swapped = PROFILE.replace(b"rXYZ", b"some").replace(b"gXYZ", b"rXYZ").replace(b"some", b"gXYZ")
    picture = dataclasses.replace(decoded_of(kind), metadata=Metadata(icc=swapped))
    write(picture, tmp_path / "a.jp2", JP2)
    assert command("run", "a.jp2", "--mu", "1e9").exit_code == 0
    after = read(tmp_path / "a_denoised.jp2")
    assert after.metadata.icc == swapped
    np.testing.assert_array_equal(after.intensities, picture.intensities)
    np.testing.assert_array_equal(after.alpha, picture.alpha)
    contents = (tmp_path / "a_denoised.jp2").read_bytes()
    codestream = imagecodecs.jpeg2k_decode(contents[contents.index(b"\xff\x4f\xff\x51") :])
    planes = after.intensities if after.alpha is None else np.dstack((after.intensities, after.alpha))
    np.testing.assert_array_equal(codestream, planes)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_what_is_lossy_stays_lossy_at_about_48_decibels(dtype: type, command, tmp_path: Path) -> None:
    largest = np.iinfo(dtype).max
    values = (noise(64, 64, 3, dtype=np.float32) * 0.2 * largest).astype(dtype)
    (tmp_path / "a.jp2").write_bytes(imagecodecs.jpeg2k_encode(values, level=60, reversible=False))
    before = read(tmp_path / "a.jp2")
    assert command("run", "a.jp2", "--mu", "1e9").exit_code == 0
    after = read(tmp_path / "a_denoised.jp2")
    assert isinstance(after.traits, Jp2Traits)
    assert not after.traits.lossless
    error = np.mean((after.intensities.astype(float) - before.intensities) ** 2)
    assert 46 < 10 * np.log10(largest**2 / error) < 52


def test_quality_makes_lossless_files_lossy_and_small(command, tmp_path: Path) -> None:
    write(DecodedImage(noise(64, 64, 3)), tmp_path / "a.jp2", JP2)
    assert command("run", "a.jp2", "--quality", "30", "--mu", "1e9").exit_code == 0
    assert (tmp_path / "a_denoised.jp2").stat().st_size < (tmp_path / "a.jp2").stat().st_size / 2


def test_metadata_boxes_and_comments_are_kept(command, tmp_path: Path) -> None:
    exif = exif_bytes(orientation=6).removeprefix(b"Exif\0\0")
    metadata = Metadata(icc=PROFILE, exif=exif, xmp=XMP, dpi=(300.0, 72.5))
    write(DecodedImage(noise(8, 10, 3), metadata=metadata), tmp_path / "a.jp2", JP2)
    add_box(tmp_path / "a.jp2", b"uuid", GEOTIFF)
    add_box(tmp_path / "a.jp2", b"xml ", b"<gml/>")
    for source, target in (("a.jp2", "b.jp2"), ("b.jp2", "c.jp2")):
        result = command("run", source, "-o", target, *ASKED)
        assert result.exit_code == 0
        assert "note" not in result.stderr
    after = read(tmp_path / "c.jp2")
    assert after.metadata.icc == PROFILE
    assert after.metadata.exif == exif
    assert after.metadata.xmp == XMP
    assert after.metadata.dpi == pytest.approx((300, 72.5), rel=1e-9)
    assert after.metadata.record == RECORD
    stored = (tmp_path / "c.jp2").read_bytes()
    for once in (RECORD.encode(), packed(b"uuid", GEOTIFF), packed(b"xml ", b"<gml/>")):
        assert stored.count(once) == 1
    with Image.open(tmp_path / "c.jp2") as opened:
        assert opened.size == (10, 8)
    assert "its boxes uuid, boxes xml are dropped" in command("run", "c.jp2", "-o", "d.png").stderr
    with Image.open(tmp_path / "d.png") as opened:
        assert opened.getexif()[ExifTags.Base.Orientation] == 6
    command("run", "c.jp2", "-o", "e.jp2", "--strip-metadata")
    for personal in (b"Maker", b"adobe:ns:meta", b"GeoTIFF", b"gml", b"tvdenoise", b"res "):
        assert personal not in (tmp_path / "e.jp2").read_bytes(), personal


@pytest.mark.parametrize("extension", ["jp2", "j2k"])
def test_comments_of_the_codestream_stay(extension: str, make_image, command, tmp_path: Path) -> None:
    make_image(f"a.{extension}", comment="by hand")
    assert "note" not in command("run", f"a.{extension}", "-o", f"b.{extension}").stderr
    command("run", f"b.{extension}", "-o", f"c.{extension}")
    stored = (tmp_path / f"c.{extension}").read_bytes()
    assert stored.count(b"\0\1by hand") == 1
    assert stored.count(b"Created by OpenJPEG") == 1
    assert "its comments are dropped" in command("run", f"c.{extension}", "-o", "d.png").stderr


@pytest.mark.parametrize("dpi", [1.0, 72.0, 299.99, 0.01, 1e6, 25.4, 1234567.89])
def test_any_resolution_is_kept_nearly(dpi: float, tmp_path: Path) -> None:
    write(DecodedImage(noise(4, 4), metadata=Metadata(dpi=(dpi, 2 * dpi))), tmp_path / "a.jp2", JP2)
    assert read(tmp_path / "a.jp2").metadata.dpi == pytest.approx((dpi, 2 * dpi), rel=1e-4)


@pytest.mark.parametrize(("bits", "full"), [(4, 255), (10, 65535), (12, 65535)])
@pytest.mark.parametrize("shape", [(9, 9), (9, 9, 3)])
def test_other_depths_are_stretched_with_a_notice(
    bits: int, full: int, shape: tuple[int, ...], command, tmp_path: Path
) -> None:
    values = noise(*shape, dtype=np.uint8 if bits < 8 else np.uint16) % 2**bits
    values.flat[:2] = 0, 2**bits - 1
    encoded = imagecodecs.jpeg2k_encode(values, level=0, reversible=True, bitspersample=bits)
    (tmp_path / "a.jp2").write_bytes(encoded)
    result = command("run", "a.jp2", "--mu", "1e9")
    assert f"note: {bits}-bit" in result.stderr
    exact = values * (full / (2**bits - 1))
    np.testing.assert_allclose(read(tmp_path / "a_denoised.jp2").intensities, exact, rtol=0, atol=0.51)


@pytest.mark.parametrize(
    ("kind", "box", "contents", "reason"),
    [
        ("RGB", b"colr", struct.pack(">BBBI", 1, 0, 0, 14), r"an unknown colour space \(number 14\)"),
        ("RGB", b"colr", b"\4\0\0" + bytes(20), r"an unknown colour space \(unknown\)"),
        ("L", b"colr", b"\2\0\0" + PROFILE, "colour profile does not match its pixels"),
        ("LA", b"cdef", struct.pack(">H6H", 2, 0, 0, 1, 1, 2, 0), "premultiplied alpha or extra channels"),
        ("RGBA", b"cdef", b"\0\0", "4 channels besides alpha"),
    ],
)
def test_what_would_be_misread_is_refused(
    kind: str, box: bytes, contents: bytes, reason: str, tmp_path: Path
) -> None:
    write(decoded_of(kind), tmp_path / "a.jp2", JP2)
    replace_in_header(tmp_path / "a.jp2", box, contents)
    with pytest.raises(UnsupportedImageError, match=reason):
        read(tmp_path / "a.jp2")


def test_cmyk_and_several_codestreams_are_refused(make_image, tmp_path: Path) -> None:
    Image.new("CMYK", (4, 4)).save(tmp_path / "a.jp2")
    with pytest.raises(UnsupportedImageError):
        read(tmp_path / "a.jp2")
    path = make_image("b.jp2")
    path.write_bytes(path.read_bytes() + packed(b"jp2c", b"\xff\x4f\xff\x51"))
    with pytest.raises(UnsupportedImageError, match="several images"):
        read(path)


def test_a_codestream_that_is_larger_than_its_file_says_is_refused(make_image) -> None:
    path = make_image("a.jp2", noise(8, 9))
    size = struct.pack(">II", 9, 8)
    start = path.read_bytes().index(b"\xff\x51")
    contents = path.read_bytes()
    assert contents[start:].count(size) == 2  # of the picture and of its only tile
    path.write_bytes(contents[:start] + contents[start:].replace(size, struct.pack(">II", 60_000, 60_000)))
    with pytest.raises(UnreadableImageError, match="its header is invalid"):
        read(path, max_megapixels=1)


def test_boxes_that_cannot_stay_are_told(make_image, command) -> None:
    add_box(make_image("a.jp2"), b"ftbl", b"elsewhere")
    assert "note: its JPEG 2000 boxes ftbl are dropped" in command("run", "a.jp2").stderr


def test_a_palette_becomes_true_colour(command, tmp_path: Path) -> None:
    indices = noise(6, 7) % 3
    (tmp_path / "b.jp2").write_bytes(imagecodecs.jpeg2k_encode(indices, level=0, reversible=True))
    palette = np.array([[0, 0, 0], [200, 10, 20], [5, 250, 90]], np.uint8)
    stored = (tmp_path / "b.jp2").read_bytes()
    header = packed(b"ihdr", struct.pack(">IIHBBBB", 6, 7, 1, 7, 7, 0, 0))
    header += packed(b"colr", struct.pack(">BBBI", 1, 0, 0, 16))
    header += packed(b"pclr", struct.pack(">HB3B", 3, 3, 7, 7, 7) + palette.tobytes())
    header += packed(b"cmap", b"".join(struct.pack(">HBB", 0, 1, column) for column in range(3)))
    start, end = stored.index(b"jp2h") - 4, stored.index(b"jp2c") - 4
    (tmp_path / "a.jp2").write_bytes(stored[:start] + packed(b"jp2h", header) + stored[end:])
    result = command("run", "a.jp2", "--mu", "1e9")
    assert "its palette" in result.stderr
    np.testing.assert_array_equal(read(tmp_path / "a_denoised.jp2").intensities, palette[indices])


@pytest.mark.parametrize("extension", ["jp2", "j2k"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.97, 0.999])
def test_a_truncated_file_is_refused(extension: str, part: float, make_image) -> None:
    path = make_image(f"a.{extension}", noise(40, 50, 3))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    with pytest.raises(TvdenoiseError):
        read(path)


@pytest.mark.parametrize("extension", ["jp2", "j2k"])
def test_a_picture_in_tiles_is_read_and_one_without_all_of_them_is_refused(
    extension: str, make_image
) -> None:
    values = noise(40, 50, 3)
    path = make_image(f"a.{extension}", values, tile_size=(16, 16), num_resolutions=3)
    np.testing.assert_array_equal(read(path).intensities, values)
    contents = path.read_bytes()
    first, second = contents.index(b"\xff\x90\0\x0a\0\2"), contents.index(b"\xff\x90\0\x0a\0\3")
    path.write_bytes(contents[:first] + contents[second:])
    if extension == "jp2":  # its last box ends earlier
        place = contents.index(b"jp2c") - 4
        length = int.from_bytes(contents[place : place + 4], "big") or len(contents) - place
        shorter = struct.pack(">I", length - (second - first))
        path.write_bytes(contents[:place] + shorter + contents[place + 4 : first] + contents[second:])
    with pytest.raises(UnreadableImageError, match="damaged"):
        read(path)


@pytest.mark.parametrize("extension", ["jp2", "j2k"])
def test_no_damage_gets_past_the_package_s_own_errors(extension: str, make_image) -> None:
    path = make_image(f"a.{extension}", noise(12, 12, 3))
    contents = path.read_bytes()
    generator = np.random.default_rng(1)
    for _ in range(150):
        damaged = bytearray(contents)
        for position in generator.integers(0, min(len(damaged), 250), 3):
            damaged[position] = generator.integers(256)
        path.write_bytes(damaged)
        try:
            read(path, max_megapixels=1)
        except TvdenoiseError as error:
            assert "\n" not in str(error)  # noqa: PT017  # most damage goes unnoticed, and that is fine


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (1, 1, 3)])
@pytest.mark.parametrize("quality", [(), ("--quality", "95")])
def test_the_smallest_and_constant_images_pass(shape, quality, command, tmp_path: Path) -> None:
    for name, values in (("a.jp2", noise(*shape)), ("b.jp2", np.full(shape, 77, np.uint8))):
        write(DecodedImage(values), tmp_path / name, JP2)
        assert command("run", name, *quality).exit_code == 0
