"""Overviews of TIFF pages are made anew from the result, wherever and however they are stored."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from support.values import noise
from tvdenoise.files.opening import header_of
from tvdenoise.formats.tiff.overviews import Averaging, Meaning

HARDLY = ("--mu", "1e9")
REDUCED = 1


def _shares(length: int, size: int) -> np.ndarray:
    """The share of each of ``length`` places in each of ``size`` means, exactly."""
    edges = [Fraction(number * length, size) for number in range(size + 1)]
    shares = [
        [max(Fraction(0), min(place + 1, stop) - max(place, start)) for place in range(length)]
        for start, stop in pairwise(edges)
    ]
    return np.array([[float(share) for share in row] for row in shares]) * size / length


def _averaged(values: np.ndarray, rows: int, columns: int, weights: np.ndarray | None = None) -> np.ndarray:
    """Area averages of values (rows, columns, ...) by plain matrices."""
    down, across = _shares(values.shape[0], rows), _shares(values.shape[1], columns)
    if weights is None:
        weights = np.ones(values.shape[:2])
    weighted = values.astype(float) * weights.reshape(*weights.shape, *(1,) * (values.ndim - 2))
    sums = np.tensordot(across, np.tensordot(down, weighted, 1), (1, 1)).swapaxes(0, 1)
    total = down @ weights.astype(float) @ across.T
    with np.errstate(invalid="ignore"):
        return sums / total.reshape(rows, columns, *(1,) * (values.ndim - 2))


def _windows(shape: tuple[int, int], height: int, width: int) -> Iterator[tuple[slice, slice]]:
    for top in range(0, shape[0], height):
        for left in range(0, shape[1], width):
            yield slice(top, min(top + height, shape[0])), slice(left, min(left + width, shape[1]))


def _gathered(
    values: np.ndarray, size: tuple[int, int], meaning: Meaning, window: tuple[int, int], height: int
) -> np.ndarray:
    """Average values in windows of a size, and check the rows that come at once."""
    taken: list[np.ndarray] = []
    averaging = Averaging(
        values.shape, size, values.dtype, meaning, height, lambda rows: taken.append(rows.copy())
    )
    for rows, columns in _windows(values.shape[:2], *window):
        averaging.add((rows, columns), values[rows, columns])
    assert [len(rows) for rows in taken[:-1]] == [height] * (math.ceil(size[0] / height) - 1)
    return np.concatenate(taken)


@pytest.mark.parametrize("window", [(37, 53), (8, 53), (16, 16), (5, 7), (1, 9)], ids=str)
@pytest.mark.parametrize("size", [(18, 26), (19, 27), (37, 20), (9, 13), (1, 1), (5, 53)], ids=str)
def test_averages_are_those_of_the_areas_in_whatever_windows_they_come(
    size: tuple[int, int], window: tuple[int, int]
) -> None:
    values = noise(37, 53, 3)
    found = _gathered(values, size, Meaning(), window, 4)
    exact = _averaged(values, *size)
    assert np.abs(found - exact).max() <= 0.5 + 1e-9
    floats = _gathered(values.astype(np.float64), size, Meaning(), window, 16)
    np.testing.assert_allclose(floats, exact, rtol=1e-12)


@pytest.mark.parametrize("window", [(20, 30), (7, 11)], ids=str)
def test_what_is_missing_or_transparent_does_not_count(window: tuple[int, int]) -> None:
    size = (7, 11)
    floats = noise(20, 30, 1, dtype=np.float32)
    floats[:9, :9] = np.nan
    floats[12, 20] = np.nan
    present = ~np.isnan(floats[..., 0])
    expected = _averaged(np.nan_to_num(floats), *size, present)
    assert 0 < np.isnan(expected).sum() < expected.size
    np.testing.assert_allclose(_gathered(floats, size, Meaning(), window, 3), expected, rtol=1e-6)
    filled = np.where(present[..., np.newaxis], floats, np.float32(-9999))
    found = _gathered(filled, size, Meaning(nodata=-9999.0), window, 3)
    np.testing.assert_allclose(found, np.where(np.isnan(expected), -9999, expected), rtol=1e-6)

    values = noise(20, 30, 4)
    values[:9, :9, 3] = 0
    found = _gathered(values, size, Meaning(alpha=3), window, 3)
    colours = _averaged(values[..., :3], *size, values[..., 3] / 255)
    assert np.abs(found[..., :3] - np.nan_to_num(colours)).max() <= 0.5 + 1e-9
    assert np.abs(found[..., 3] - _averaged(values[..., 3], *size)).max() <= 0.5 + 1e-9


KINDS: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
    "grey": (noise(96, 130), {"photometric": "minisblack"}),
    "colour": (noise(96, 130, 3), {"photometric": "rgb", "compression": "zlib", "predictor": True}),
    "deep": (noise(96, 130, dtype=np.uint16), {"photometric": "minisblack", "compression": "lzw"}),
    "float": (noise(96, 130, dtype=np.float32), {"photometric": "minisblack", "compression": "zstd"}),
    "alpha": (noise(96, 130, 4), {"photometric": "rgb", "extrasamples": ["unassalpha"]}),
    "lut": (
        noise(96, 130),
        {"photometric": "palette", "colormap": np.stack((np.arange(256) * 257,) * 3).astype(np.uint16)},
    ),
}
SIZES = ((48, 65), (24, 33))


def _write_pyramid(
    path: Path, values: np.ndarray, options: dict[str, Any], *, below: bool, big: bool = False, **more: Any
) -> None:
    """Write a page, with overviews of zeros that show nothing of it, and with a description of the first."""
    with tifffile.TiffWriter(path, bigtiff=big) as writer:
        writer.write(
            values, subifds=len(SIZES) if below else 0, tile=(32, 48), metadata=None, **options | more
        )
        for number, (rows, columns) in enumerate(SIZES):
            writer.write(
                np.zeros((rows, columns, *values.shape[2:]), values.dtype),
                subfiletype=REDUCED,
                tile=(16, 16) if number == 0 else None,
                description="first overview" if number == 0 else None,
                metadata=None,
                **options,
            )


def _pages_of(path: Path) -> list[tifffile.TiffPage]:
    """The page and its overviews; their data are read."""
    with tifffile.TiffFile(path) as opened:
        first = opened.pages[0]
        found = [first, *(first.pages or ()), *list(opened.pages)[1:]]
        for page in found:
            page.values = page.asarray()
    return found


def _check(path: Path, before: list[tifffile.TiffPage], dtype: np.dtype) -> None:
    page, *overviews = _pages_of(path)
    assert len(overviews) == len(SIZES)
    for found, old, size in zip(overviews, before[1:], SIZES, strict=True):
        assert found.shape[:2] == size
        assert found.subfiletype & REDUCED
        assert found.description == old.description
        for name in ("tile", "compression", "photometric", "extrasamples", "bitspersample", "is_subifd"):
            assert getattr(found, name) == getattr(old, name), name
        values = page.values
        if values.shape[2:] == (4,):
            colours = _averaged(values[..., :3], *size, values[..., 3])
            expected = np.dstack((colours, _averaged(values[..., 3], *size)))
        else:
            expected = _averaged(values, *size)
        assert np.abs(found.values - expected).max() <= (1e-6 if dtype.kind == "f" else 0.5 + 1e-9)


@pytest.mark.parametrize("below", [True, False], ids=["below", "following"])
@pytest.mark.parametrize("kind", KINDS)
def test_overviews_show_the_result(kind: str, below: bool, command, tmp_path: Path) -> None:
    values, options = KINDS[kind]
    _write_pyramid(tmp_path / "a.tif", values, options, below=below)
    before = _pages_of(tmp_path / "a.tif")
    result = command("run", "a.tif", "-o", "b.tif")
    assert result.exit_code == 0, result.stderr
    assert "note" not in result.stderr
    _check(tmp_path / "b.tif", before, values.dtype)
    page = _pages_of(tmp_path / "b.tif")[0]
    assert (page.tile, page.compression) == (before[0].tile, before[0].compression)
    assert command("run", "b.tif", "-o", "c.tif", *HARDLY).exit_code == 0
    _check(tmp_path / "c.tif", before, values.dtype)


@pytest.mark.parametrize("below", [True, False], ids=["below", "following"])
@pytest.mark.parametrize("kind", ["grey", "colour", "float", "alpha"])
def test_overviews_of_files_denoised_in_parts_are_the_same(
    kind: str, below: bool, command, tmp_path: Path, monkeypatch
) -> None:
    values, options = KINDS[kind]
    if kind == "alpha":
        values = values | np.uint8(1)
    _write_pyramid(tmp_path / "a.tif", values, options, below=below, big=True)
    before = _pages_of(tmp_path / "a.tif")
    monkeypatch.setattr("tvdenoise.files.memory.MemoryBudget.shortage", lambda *_: "it needs too much memory")
    monkeypatch.setattr("tvdenoise.files.large._AT_ONCE", 2000)
    result = command("run", "a.tif", "-o", "b.tif", "--memory", "4GB", "--mu", "20")
    assert result.exit_code == 0, result.stderr
    assert "denoised in 1 part" in result.stderr
    _check(tmp_path / "b.tif", before, values.dtype)


def test_every_plane_of_an_ome_pyramid_has_its_own(command, tmp_path: Path) -> None:
    values = noise(3, 64, 96)
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as writer:
        writer.write(values, subifds=1, tile=(32, 32), photometric="minisblack", metadata={"axes": "ZYX"})
        writer.write(values[:, ::2, ::2], subfiletype=REDUCED, tile=(16, 16), photometric="minisblack")
    assert header_of(tmp_path / "a.ome.tif").planes == 3
    for options in (HARDLY, ("--mu", "8", "--volume")):
        assert command("run", "a.ome.tif", "-o", "b.ome.tif", "--overwrite", *options).exit_code == 0
        with (
            tifffile.TiffFile(tmp_path / "a.ome.tif") as before,
            tifffile.TiffFile(tmp_path / "b.ome.tif") as after,
        ):
            assert after.ome_metadata == before.ome_metadata
            assert [level.shape for level in after.series[0].levels] == [(3, 64, 96), (3, 32, 48)]
            planes, reduced = (level.asarray() for level in after.series[0].levels)
        for plane, small in zip(planes, reduced, strict=True):
            assert np.abs(small - _averaged(plane, 32, 48)).max() <= 0.5 + 1e-9


def test_an_overview_of_one_bit_stays_one_bit(command, tmp_path: Path) -> None:
    values = noise(40, 60) > 127
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(values, metadata=None)
        writer.write(values[::2, ::2].copy(), subfiletype=REDUCED, metadata=None)
    assert command("run", "a.tif", "--impulses", "on", "-o", "b.tif").exit_code == 0
    page, overview = _pages_of(tmp_path / "b.tif")
    assert (overview.bitspersample, overview.shape) == (1, (20, 30))
    shown, reduced = (each.values ^ (each.photometric == 0) for each in (page, overview))  # True is white
    np.testing.assert_array_equal(reduced, _averaged(shown, 20, 30) >= 0.5)


def test_a_turned_page_has_turned_overviews(command, tmp_path: Path) -> None:
    values, options = KINDS["grey"]
    turned = [(274, 3, 1, 6, True)]
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(values, subifds=1, metadata=None, extratags=turned, **options)
        writer.write(
            values[::2, ::2].copy(),
            subfiletype=REDUCED,
            tile=(16, 32),
            metadata=None,
            extratags=turned,
            **options,
        )
    assert command("run", "a.tif", "-o", "b.tif", *HARDLY).exit_code == 0
    page, overview = _pages_of(tmp_path / "b.tif")
    np.testing.assert_array_equal(page.values, np.rot90(values, -1))
    assert (overview.shape, overview.tile, 274 in overview.tags) == ((65, 48), (32, 16), False)
    assert np.abs(overview.values - _averaged(page.values, 65, 48)).max() <= 0.5


def test_images_in_reduced_size_that_show_something_else_are_dropped_with_a_note(
    command, tmp_path: Path
) -> None:
    values, options = KINDS["grey"]
    for name, sides, kind in (
        ("label", (64, 64), REDUCED),
        ("larger", (192, 260), REDUCED),
        ("mask", (48, 65), 4),
    ):
        with tifffile.TiffWriter(tmp_path / f"{name}.tif") as writer:
            writer.write(values, subifds=1, metadata=None, **options)
            small = noise(*sides) > 127 if name == "mask" else noise(*sides)
            writer.write(small, subfiletype=kind, metadata=None, **options)
        result = command("run", f"{name}.tif", *HARDLY)
        assert "note: its images in reduced size that do not show the same, or are damaged, are dropped" in (
            result.stderr
        )
        with tifffile.TiffFile(tmp_path / f"{name}_denoised.tif") as opened:
            assert (len(opened.pages), opened.pages.first.pages) == (1, None)


def test_a_link_to_nowhere_does_not_fail_the_file(command, tmp_path: Path) -> None:
    values, options = KINDS["grey"]
    tifffile.imwrite(tmp_path / "a.tif", values, extratags=[(331, 4, 3, (7, 99, 1 << 31), True)], **options)
    written, linked = (struct.pack("<HHI", tag, 4, 3) for tag in (331, 330))
    (tmp_path / "a.tif").write_bytes((tmp_path / "a.tif").read_bytes().replace(written, linked))
    result = command("run", "a.tif", *HARDLY)
    assert result.exit_code == 0
    assert "or are damaged, are dropped" in result.stderr


def test_stripping_metadata_keeps_overviews_without_their_tags(command, tmp_path: Path) -> None:
    values, options = KINDS["grey"]
    _write_pyramid(tmp_path / "a.tif", values, options, below=True)
    assert command("run", "a.tif", "--strip-metadata", "-o", "b.tif", *HARDLY).exit_code == 0
    _, first, _ = _pages_of(tmp_path / "b.tif")
    assert (first.shape, first.description) == (SIZES[0], "")


def test_another_format_says_that_overviews_are_dropped(command, tmp_path: Path) -> None:
    values, options = KINDS["grey"]
    _write_pyramid(tmp_path / "a.tif", values, options, below=True)
    assert "note: its overviews are dropped" in command("run", "a.tif", "-o", "a.png", *HARDLY).stderr


def test_lossy_compression_of_overviews_is_replaced_with_a_note(command, tmp_path: Path) -> None:
    values = np.add.outer(np.arange(64), np.arange(96)).astype(np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(values, subifds=1, metadata=None, compression="lzw")
        writer.write(values[::2, ::2].copy(), subfiletype=REDUCED, compression="jpeg", metadata=None)
    result = command("run", "a.tif", "-o", "b.tif", *HARDLY)
    assert "note: the compression of its overviews is replaced by deflate" in result.stderr
    page, overview = _pages_of(tmp_path / "b.tif")
    assert (page.compression.name, overview.compression.name) == ("LZW", "ADOBE_DEFLATE")


def test_the_layout_of_a_cloud_optimised_file_is_lost_with_a_note(command, tmp_path: Path) -> None:
    values, options = KINDS["grey"]
    _write_pyramid(tmp_path / "a.tif", values, options, below=False)
    contents = (tmp_path / "a.tif").read_bytes()
    first = int.from_bytes(contents[4:8], "little")
    assert first == 8  # the directory; another one at the end leads to the same pixels
    text = b"GDAL_STRUCTURAL_METADATA_SIZE=000140 bytes\n"
    with tifffile.TiffFile(tmp_path / "a.tif") as opened:
        end = opened.pages.first.offset + 2 + 12 * len(opened.pages.first.tags) + 4
    moved = contents[:4] + len(contents).to_bytes(4, "little") + text.ljust(end - 8, b" ")[: end - 8]
    (tmp_path / "a.tif").write_bytes(moved + contents[end:] + contents[first:end])
    result = command("run", "a.tif", *HARDLY)
    assert result.exit_code == 0, result.stderr
    assert (
        "note: its layout as a cloud-optimised GeoTIFF is lost; gdal_translate -of COG makes one"
        in result.stderr
    )


def test_tiles_of_a_page_in_memory_are_kept(command, tmp_path: Path) -> None:
    for tile, written in (((32, 48), (32, 48)), ((16, 16), (16, 16))):
        tifffile.imwrite(tmp_path / "a.tif", noise(50, 70, 3), photometric="rgb", tile=tile)
        assert command("run", "a.tif", "-o", "b.tif", "--overwrite", *HARDLY).exit_code == 0
        [page] = _pages_of(tmp_path / "b.tif")
        assert (page.tilelength, page.tilewidth) == written
        np.testing.assert_array_equal(page.values, noise(50, 70, 3))
    with Image.open(tmp_path / "b.tif") as opened:
        np.testing.assert_array_equal(np.array(opened), noise(50, 70, 3))


def test_the_first_of_several_pages_keeps_its_overviews(command, tmp_path: Path) -> None:
    values, options = KINDS["grey"]
    _write_pyramid(tmp_path / "a.tif", values, options, below=False)
    before = _pages_of(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "a.tif", noise(20, 30), append=True, metadata=None)
    tifffile.imwrite(tmp_path / "a.tif", noise(10, 15), append=True, metadata=None, subfiletype=REDUCED)
    assert command("run", "a.tif", "--first-frame", "-o", "b.tif", *HARDLY).exit_code == 0
    _check(tmp_path / "b.tif", before, values.dtype)


def test_levels_of_an_aperio_slide_are_overviews_and_its_label_is_a_page(command, tmp_path: Path) -> None:
    values = noise(128, 200, 3)
    told = {"photometric": "rgb", "metadata": None}
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(values, tile=(32, 32), description="Aperio Image Library v1\n200x128 [0,0]", **told)
        writer.write(values[::4, ::4].copy(), description="Aperio Image Library v1\nthumbnail", **told)
        writer.write(values[::2, ::2].copy(), tile=(32, 32), description="Aperio Image Library v1", **told)
        for kind, name, sides in ((1, "label", (40, 44)), (9, "macro", (30, 90))):
            description = f"Aperio Image Library v1\n{name}"
            writer.write(noise(*sides, 3), subfiletype=kind, description=description, **told)
    assert header_of(tmp_path / "a.tif").planes == 3
    result = command("run", "a.tif", "-o", "b.tif")
    assert result.exit_code == 0, result.stderr
    assert "note" not in result.stderr
    with tifffile.TiffFile(tmp_path / "a.tif") as old, tifffile.TiffFile(tmp_path / "b.tif") as new:
        for name in ("shape", "tile", "description", "is_tiled"):
            assert [getattr(page, name) for page in old.pages] == [getattr(page, name) for page in new.pages]
        assert [page.subfiletype for page in new.pages][:3] == [0, 0, 0]
        slide, thumbnail, level = (page.asarray() for page in list(new.pages)[:3])
    assert np.abs(thumbnail - _averaged(slide, 32, 50)).max() <= 0.5 + 1e-9
    assert np.abs(level - _averaged(slide, 64, 100)).max() <= 0.5 + 1e-9
    assert header_of(tmp_path / "b.tif").planes == 3


@pytest.mark.parametrize("how", ["declared", "given"])
def test_missing_pixels_do_not_darken_overviews(how: str, command, tmp_path: Path) -> None:
    values = noise(96, 130, dtype=np.uint16) | np.uint16(1)
    values[:30, :41] = 0
    options: dict[str, Any] = {"photometric": "minisblack"}
    if how == "declared":
        options["extratags"] = [(42113, 2, 0, "0", True)]
    _write_pyramid(tmp_path / "a.tif", values, options, below=False)
    asked = () if how == "declared" else ("--nodata", "0")
    assert command("run", "a.tif", "-o", "b.tif", *asked).exit_code == 0
    page, *overviews = _pages_of(tmp_path / "b.tif")
    assert not page.values[:30, :41].any()
    for overview, size in zip(overviews, SIZES, strict=True):
        expected = np.nan_to_num(_averaged(page.values, *size, page.values > 0))
        assert np.abs(overview.values - expected).max() <= 0.5 + 1e-9
        assert not overview.values[:7, :10].any()
        if how == "declared":
            assert overview.tags[42113].value == "0"
