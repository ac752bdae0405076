"""Parts of a TIFF are what the whole file holds there, and only what they touch is decoded."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import tifffile
from PIL import Image

from formats.test_tiff_kinds import KINDS, STORED, store, together
from support.seeds import SEEDS
from support.values import noise
from tvdenoise.errors import UnreadableImageError, UnsupportedImageError
from tvdenoise.files.decoded import DecodedImage
from tvdenoise.files.large import LargeImage
from tvdenoise.files.memory import MemoryBudget
from tvdenoise.files.reading import open_within, read
from tvdenoise.formats.tiff.segments import Segments

NOTHING = MemoryBudget(0)
WHOLE = {"palette.tif", "one_bit.tif", "jpeg.tif"}  # seeds that are decoded whole
WINDOWS = [(0, 37, 0, 50), (0, 1, 0, 1), (36, 37, 49, 50), (3, 20, 15, 33), (15, 17, 0, 50), (0, 37, 31, 32)]


@pytest.fixture
def plenty_for_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """However little was given, parts may be read."""
    monkeypatch.setattr(MemoryBudget, "for_parts", None)


def large(stream: BinaryIO, **options: bool) -> LargeImage:
    found = open_within(stream, NOTHING, **options)
    assert isinstance(found, LargeImage)
    return found


def part(picture: LargeImage, window: tuple[int, int, int, int]) -> np.ndarray:
    top, bottom, left, right = window
    intensities, alpha = picture.parts((slice(top, bottom), slice(left, right)))
    return intensities if alpha is None else np.dstack((intensities, alpha))


def same_file(picture: LargeImage, whole: DecodedImage) -> None:
    """Whether both say the same of a file, but for its pixels."""
    assert (picture.size, picture.pixel.kind, picture.dtype) == (
        whole.size,
        whole.kind,
        whole.intensities.dtype,
    )
    assert picture.metadata == whole.metadata
    assert picture.pixel.traits == whole.traits
    assert picture.pixel.notes == whole.notes


@pytest.mark.slow
@pytest.mark.usefixtures("plenty_for_parts")
@pytest.mark.parametrize(
    "stored", [*STORED, {"rowsperstrip": 6}, {"rowsperstrip": 7, "compression": "lzw"}], ids=str
)
@pytest.mark.parametrize("name", KINDS)
def test_any_part_of_any_kind_is_what_the_whole_file_holds_there(
    name: str, stored: dict, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr("tvdenoise.formats.tiff.segments._PIECE", 400)
    values, options = KINDS[name]
    for order, big in (("<", False), (">", True)):
        for planar in (False, True) if values.ndim == 3 else (False,):
            path = tmp_path / "a.tif"
            store(path, values, options | stored, planar=planar, byteorder=order, bigtiff=big)
            whole = read(path)
            with path.open("rb") as stream:
                picture = large(stream)
                same_file(picture, whole)
                for window in WINDOWS:
                    top, bottom, left, right = window
                    expected = together(whole)[top:bottom, left:right]
                    np.testing.assert_array_equal(part(picture, window), expected)


@pytest.mark.usefixtures("plenty_for_parts")
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("stored", [{"tile": (16, 32)}, {"rowsperstrip": 5, "compression": "zlib"}], ids=str)
@pytest.mark.parametrize("kind", ["colour", "grey 16", "float alpha"])
def test_a_picture_that_is_stored_turned_is_turned_in_parts_too(
    kind: str, stored: dict, orientation: int, tmp_path: Path
) -> None:
    values, options = KINDS[kind]
    path = tmp_path / "a.tif"
    xmp = b'<x:xmpmeta xmlns:tiff="t"><a tiff:Orientation="%d"/></x:xmpmeta>' % orientation
    store(
        path,
        values,
        options | stored,
        extratags=[(274, 3, 1, orientation, True), (700, 1, len(xmp), xmp, True)],
    )
    whole = read(path)
    rows, columns = whole.intensities.shape[:2]
    with path.open("rb") as stream:
        picture = large(stream)
        same_file(picture, whole)
        for window in ((0, rows, 0, columns), (2, rows - 9, 5, columns - 1), (rows - 1, rows, 0, 1)):
            top, bottom, left, right = window
            np.testing.assert_array_equal(part(picture, window), together(whole)[top:bottom, left:right])


@pytest.mark.usefixtures("plenty_for_parts")
@pytest.mark.parametrize("name", [name for name in SEEDS if name.endswith(".tif") and name not in WHOLE])
def test_what_a_tiff_says_is_the_same_in_parts(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(SEEDS[name]())
    whole = read(tmp_path / name)
    with (tmp_path / name).open("rb") as stream:
        picture = large(stream)
        same_file(picture, whole)
        rows, columns = whole.intensities.shape[:2]
        np.testing.assert_array_equal(part(picture, (0, rows, 0, columns)), together(whole))


@pytest.mark.usefixtures("plenty_for_parts")
@pytest.mark.parametrize("options", [{"imagej": True}, {"tile": (16, 16)}, {"ome": True}], ids=str)
def test_the_first_of_several_pictures_may_be_in_parts(options: dict, tmp_path: Path) -> None:
    values = noise(5, 40, 50, dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack", **options)
    with (tmp_path / "a.tif").open("rb") as stream:
        picture = large(stream, first_frame=True)
        same_file(picture, read(tmp_path / "a.tif", first_frame=True))
        np.testing.assert_array_equal(part(picture, (3, 30, 2, 50)), values[0, 3:30, 2:50])
        with pytest.raises(UnsupportedImageError, match="split the image"):
            open_within(stream, NOTHING)


@pytest.mark.usefixtures("plenty_for_parts")
def test_smaller_copies_in_the_file_are_left_out_of_parts_too(tmp_path: Path) -> None:
    values = noise(64, 80)
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(values, tile=(16, 16), subifds=1, metadata=None)
        writer.write(values[::2, ::2], tile=(16, 16), subfiletype=1, metadata=None)
        writer.write(values[::4, ::4], tile=(16, 16), subfiletype=1, metadata=None)
    with (tmp_path / "a.tif").open("rb") as stream:
        picture = large(stream)
        same_file(picture, read(tmp_path / "a.tif"))
        np.testing.assert_array_equal(part(picture, (0, 64, 0, 80)), values)


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The lengths of what is read of segments from now on, as stored."""
    lengths: list[int] = []
    values = Segments.values

    def counting(segments: Segments, number: int, data: bytes) -> np.ndarray:
        lengths.append(segments.places[number][1])
        return values(segments, number, data)

    monkeypatch.setattr(Segments, "values", counting)
    return lengths


@pytest.mark.usefixtures("plenty_for_parts")
def test_only_what_a_window_touches_is_decoded_and_rows_in_turn_decode_it_once(
    tmp_path: Path, monkeypatch
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise(64, 80), tile=(16, 16), compression="zlib")
    lengths = counted(monkeypatch)
    with (tmp_path / "a.tif").open("rb") as stream:
        picture = large(stream)
        assert not lengths
        part(picture, (16, 32, 16, 48))
        assert len(lengths) == 2
        for row in range(64):
            part(picture, (row, row + 1, 0, 80))
        assert len(lengths) <= 2 + 4 * 5


@pytest.mark.usefixtures("plenty_for_parts")
def test_rows_of_one_uncompressed_strip_are_read_alone(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tvdenoise.formats.tiff.segments._PIECE", 1000)
    values = noise(300, 200, dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", values, rowsperstrip=300)
    lengths = counted(monkeypatch)
    with (tmp_path / "a.tif").open("rb") as stream:
        picture = large(stream)
        np.testing.assert_array_equal(part(picture, (7, 13, 3, 150)), values[7:13, 3:150])
    assert lengths == [800] * 4
    assert picture.regions.memory < 10_000


@pytest.mark.parametrize(
    "stored", [{"compression": "zlib", "rowsperstrip": 3000}, {"compression": "jpeg"}], ids=str
)
def test_a_file_that_must_be_decoded_whole_is_refused_with_what_it_needs(
    stored: dict, tmp_path: Path
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise(3000, 4000), **stored)
    remedy = "save it as a tiled TIFF, which can be denoised in parts, or allow more with --memory"
    message = (
        rf"it needs 0\.44 GB of memory, and --memory allows 0\.21 GB; it is not stored in small .*; {remedy}"
    )
    with (tmp_path / "a.tif").open("rb") as stream, pytest.raises(UnsupportedImageError, match=message):
        open_within(stream, MemoryBudget(210_000_000))


def test_a_format_that_is_decoded_whole_is_refused_with_what_it_needs(tmp_path: Path) -> None:
    Image.fromarray(noise(3000, 4000)).save(tmp_path / "a.png", compress_level=0)
    message = r"it needs 0\.44 GB of memory, and --memory allows 0\.21 GB; save it as a tiled TIFF"
    with (tmp_path / "a.png").open("rb") as stream, pytest.raises(UnsupportedImageError, match=message):
        open_within(stream, MemoryBudget(210_000_000))


@pytest.mark.usefixtures("plenty_for_parts")
@pytest.mark.parametrize("stored", [{"rowsperstrip": 5}, {"tile": (16, 16), "compression": "lzw"}], ids=str)
def test_a_file_that_ends_early_is_refused(stored: dict, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise(40, 50), **stored)
    contents = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "b.tif").write_bytes(contents[:-30])
    with (tmp_path / "b.tif").open("rb") as stream, pytest.raises(UnreadableImageError, match="truncated"):
        large(stream)


@pytest.mark.usefixtures("plenty_for_parts")
def test_a_damaged_segment_is_told_when_it_is_read(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise(40, 50), tile=(16, 16), compression="zlib")
    contents = bytearray((tmp_path / "a.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "a.tif") as opened:
        start = opened.pages[0].dataoffsets[5]
    contents[start : start + 20] = bytes(20)
    (tmp_path / "a.tif").write_bytes(contents)
    with (tmp_path / "a.tif").open("rb") as stream:
        picture = large(stream)
        part(picture, (0, 16, 0, 50))
        with pytest.raises(UnreadableImageError, match="the file is damaged"):
            part(picture, (16, 32, 0, 50))


@pytest.mark.usefixtures("plenty_for_parts")
@pytest.mark.parametrize(
    ("value", "message"), [(np.nan, r"not finite \(NaN\)"), (np.inf, "some values are infinite;")]
)
def test_a_value_that_is_not_finite_is_found_in_any_part(value: float, message: str, tmp_path: Path) -> None:
    values = noise(40, 50, dtype=np.float32)
    values[38, 2] = value
    tifffile.imwrite(tmp_path / "a.tif", values, rowsperstrip=4)
    with (tmp_path / "a.tif").open("rb") as stream, pytest.raises(UnsupportedImageError, match=message):
        large(stream).require_sound("wait")


@pytest.mark.usefixtures("plenty_for_parts")
def test_full_transparency_anywhere_is_refused(tmp_path: Path) -> None:
    values = noise(40, 50, 4) | 1
    tifffile.imwrite(
        tmp_path / "a.tif", values, photometric="rgb", extrasamples=["unassalpha"], tile=(16, 16)
    )
    with (tmp_path / "a.tif").open("rb") as stream:
        large(stream).require_sound("wait")
    values[39, 49, 3] = 0
    tifffile.imwrite(
        tmp_path / "a.tif", values, photometric="rgb", extrasamples=["unassalpha"], tile=(16, 16)
    )
    with (
        (tmp_path / "a.tif").open("rb") as stream,
        pytest.raises(UnsupportedImageError, match="save it without full transparency, or wait"),
    ):
        large(stream).require_sound("wait")
