"""What is written in parts is what would be written whole: the same bytes, or the same in tiles."""

from __future__ import annotations

import errno
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import tifffile

from files.test_regions import large
from formats.test_tiff_kinds import KINDS, store, together
from support.makers import MAKERS, metadata_for, values_of
from support.processes import temporaries
from support.readers import tiff_values
from support.values import noise
from tvdenoise.errors import UnsupportedImageError, UnwritableImageError
from tvdenoise.files import large as large_files
from tvdenoise.files.decoded import DecodedImage
from tvdenoise.files.large import LargeImage, LargeWriter, require_large_carried
from tvdenoise.files.memory import MemoryBudget
from tvdenoise.files.reading import read
from tvdenoise.files.writing import encode, require_readable, with_record, without_metadata
from tvdenoise.formats.registry import FORMAT_BY_EXTENSION
from tvdenoise.formats.tiff.writing import Pages

TIFF = FORMAT_BY_EXTENSION[".tif"]
RECORD = "tvdenoise 0.1.0; mu=12.5; epsilon=0.01"


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of a few rows, and as many as are asked for."""
    monkeypatch.setattr(MemoryBudget, "for_parts", None)
    monkeypatch.setattr("tvdenoise.formats.tiff.segments._PIECE", 400)
    monkeypatch.setattr("tvdenoise.formats.tiff.writing._STRIP", 700)
    monkeypatch.setattr(large_files, "_AT_ONCE", 1500)


def denoised_of(picture: DecodedImage) -> np.ndarray:
    """Intensities as a solve gives them, some beyond what can be stored."""
    shape = picture.intensities.shape
    values = noise(*shape, dtype=np.float32, seed=3) * 1.2 - 0.1
    return values * 1e5 if picture.is_float else values


def writer(picture: LargeImage, pixel: DecodedImage, denoised: np.ndarray) -> LargeWriter:
    return LargeWriter(picture, pixel, TIFF, lambda window: denoised[window], lambda _: None)


def written(path: Path) -> tuple[bytes, bytes]:
    """A file with its record, in parts and whole."""
    whole, parts = read(path), BytesIO()
    denoised = denoised_of(whole)
    with path.open("rb") as stream:
        picture = large(stream)
        writer(picture, with_record(picture.pixel, TIFF, RECORD), denoised).write_to(parts)
    return parts.getvalue(), encode(with_record(whole.with_denoised(denoised), TIFF, RECORD), TIFF)


@pytest.mark.slow
@pytest.mark.parametrize(
    "stored", [{}, {"compression": "lzw", "predictor": True}, {"compression": "zlib"}], ids=str
)
@pytest.mark.parametrize("name", KINDS)
def test_strips_are_the_same_bytes(name: str, stored: dict, tmp_path: Path) -> None:
    values, options = KINDS[name]
    if values.ndim == 3 and "extrasamples" in options:
        values = np.concatenate((values[..., :-1], np.maximum(values[..., -1:], 1)), axis=-1)
    for order in "<>":
        store(tmp_path / "a.tif", values, options | stored, byteorder=order, rowsperstrip=5)
        parts, whole = written(tmp_path / "a.tif")
        assert parts == whole


@pytest.mark.parametrize("stored", [{}, {"compression": "zstd", "predictor": True}], ids=str)
@pytest.mark.parametrize("name", ["grey", "grey 16", "colour alpha", "inks 16", "float", "half alpha"])
def test_tiles_stay_tiles_with_the_same_pixels_and_tags(name: str, stored: dict, tmp_path: Path) -> None:
    values, options = KINDS[name]
    if values.ndim == 3 and "extrasamples" in options:
        values = np.concatenate((values[..., :-1], np.maximum(values[..., -1:], 1)), axis=-1)
    store(
        tmp_path / "a.tif",
        values,
        options | stored,
        tile=(16, 32),
        software="s",
        datetime="2020:01:01 00:00:00",
    )
    parts, whole = written(tmp_path / "a.tif")
    (tmp_path / "parts.tif").write_bytes(parts)
    (tmp_path / "whole.tif").write_bytes(whole)
    with tifffile.TiffFile(BytesIO(parts)) as opened:
        page = opened.pages[0]
        assert (page.tilelength, page.tilewidth) == (16, 32)
        assert page.compression.name == ("ZSTD" if stored else "NONE")
        np.testing.assert_array_equal(tiff_values(parts), tiff_values(whole))
    first, second = read(tmp_path / "parts.tif"), read(tmp_path / "whole.tif")
    np.testing.assert_array_equal(together(first), together(second))
    assert first.metadata == second.metadata
    assert first.traits == second.traits


@pytest.mark.parametrize("kind", ["L", "I;16", "RGB;16", "CMYK", "F", "RGBF;16"])
def test_all_metadata_are_the_same_bytes(kind: str, tmp_path: Path) -> None:
    metadata = metadata_for(kind, ("icc", "exif", "xmp", "dpi", "tags"))
    MAKERS["TIFF", kind].write(tmp_path / "a.tif", values_of(kind, 40, 50), metadata)
    parts, whole = written(tmp_path / "a.tif")
    assert parts == whole
    (tmp_path / "b.tif").write_bytes(parts)
    found = read(tmp_path / "b.tif").metadata
    assert found.icc == metadata["icc"]
    assert found.xmp == metadata["xmp"]
    assert found.record == RECORD
    assert {65000, 65001, 65002} <= set(found.tags)


def test_a_byte_order_that_tags_depend_on_stays(tmp_path: Path) -> None:
    tags = [(50838, 4, 2, (4, 6), True), (50839, 1, 10, bytes(range(10)), True)]
    tifffile.imwrite(tmp_path / "a.tif", noise(40, 50, dtype=np.uint16), byteorder=">", extratags=tags)
    parts, whole = written(tmp_path / "a.tif")
    assert parts == whole
    assert parts.startswith(b"MM")


def test_metadata_can_be_left_out(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise(40, 50), description="of a picture", resolution=(300, 300))
    whole = read(tmp_path / "a.tif")
    with (tmp_path / "a.tif").open("rb") as stream:
        picture = large(stream)
        parts = BytesIO()
        writer(picture, without_metadata(picture.pixel), denoised_of(whole)).write_to(parts)
    assert parts.getvalue() == encode(without_metadata(whole.with_denoised(denoised_of(whole))), TIFF)


@pytest.mark.parametrize("big", [False, True])
def test_what_may_be_too_large_for_a_classic_tiff_becomes_a_bigtiff(
    big: bool, tmp_path: Path, monkeypatch
) -> None:
    values = noise(40, 50, dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", values, tile=(16, 16))
    room = 2**32 - 1 - values.nbytes + big
    monkeypatch.setattr("tvdenoise.formats.tiff.writing._ROOM_FOR_TAGS", room)
    parts, whole = written(tmp_path / "a.tif")
    for contents in (parts, whole):
        with tifffile.TiffFile(BytesIO(contents)) as opened:
            assert opened.is_bigtiff == big
    np.testing.assert_array_equal(tiff_values(parts), tiff_values(whole))


def test_what_is_written_takes_the_place_of_the_target_once_it_can_be_read(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise(40, 50), tile=(16, 16))
    denoised, seen = denoised_of(read(tmp_path / "a.tif")), []
    with (tmp_path / "a.tif").open("rb") as stream:
        picture = large(stream)
        writer(picture, picture.pixel, denoised).write(tmp_path / "b.tif", before=seen.append)
    assert read(tmp_path / "b.tif").size == (50, 40)
    assert seen[0].parent == tmp_path
    assert not temporaries(tmp_path)
    with pytest.raises(UnwritableImageError, match="reads as L of 50 × 40 pixels"):
        require_readable(tmp_path / "b.tif", picture.pixel, TIFF, size=(40, 50))


def test_a_full_disk_is_one_error_and_leaves_nothing(tmp_path: Path, monkeypatch) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise(40, 50), rowsperstrip=5)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Pages, "append", full)
    with (tmp_path / "a.tif").open("rb") as stream:
        picture = large(stream)
        writing = writer(picture, picture.pixel, np.zeros((40, 50), np.float32))
        with pytest.raises(UnwritableImageError, match=r"no space left on device; free some space"):
            writing.write(tmp_path / "b.tif")
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


def test_only_a_format_that_is_written_in_parts_is_taken(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise(40, 50), rowsperstrip=5)
    with (tmp_path / "a.tif").open("rb") as stream:
        picture = large(stream)
        require_large_carried(picture, TIFF, "")
        with pytest.raises(
            UnsupportedImageError, match="PNG can only be written whole; write a TIFF, or wait"
        ):
            require_large_carried(picture, FORMAT_BY_EXTENSION[".png"], "wait")
