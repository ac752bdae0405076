"""Decoding the TIFF samples that `tiff_samples` tells from those that Pillow decodes.

Every segment is accounted for before memory is taken and checked after it is decompressed: general readers fill up
what is missing with zeros.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL.TiffImagePlugin import (
    COMPRESSION,
    IMAGELENGTH,
    IMAGEWIDTH,
    PLANAR_CONFIGURATION,
    PREDICTOR,
    ROWSPERSTRIP,
    STRIPBYTECOUNTS,
    STRIPOFFSETS,
    TILEBYTECOUNTS,
    TILELENGTH,
    TILEOFFSETS,
    TILEWIDTH,
    TiffImageFile,
)

from tvdenoise.errors import UnreadableImageError
from tvdenoise.files.families.tiff_compression import DECOMPRESS, NO_PREDICTOR, values_of
from tvdenoise.files.families.tiff_opening import directory_end
from tvdenoise.files.families.tiff_samples import SEPARATE_PLANES, Samples

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PLACES = (STRIPOFFSETS, TILEOFFSETS), (STRIPBYTECOUNTS, TILEBYTECOUNTS)
_SMALL_TILE = 1 << 22  # pixels


@dataclass(frozen=True)
class _Grid:
    """How the segments (strips or tiles) lie: each of rows × columns pixels and so many samples."""

    height: int
    width: int
    rows: int
    columns: int
    samples: int
    is_tiled: bool
    layers: int

    @classmethod
    def of(cls, opened: TiffImageFile, count: int) -> _Grid:
        tags = opened.tag_v2
        height, width = int(tags[IMAGELENGTH]), int(tags[IMAGEWIDTH])
        is_tiled = TILEOFFSETS in tags
        rows = int(tags[TILELENGTH]) if is_tiled else min(int(tags.get(ROWSPERSTRIP, height)), height)
        columns = int(tags[TILEWIDTH]) if is_tiled else width
        layers = count if tags.get(PLANAR_CONFIGURATION) == SEPARATE_PLANES else 1
        if min(height, width, rows, columns) < 1:
            raise ValueError("a side of the picture or of its segments is zero")
        if is_tiled and rows * columns > max(4 * height * width, _SMALL_TILE):
            raise ValueError("the tiles are larger than the picture")
        return cls(height, width, rows, columns, count // layers, is_tiled, layers)

    @property
    def across(self) -> int:
        return math.ceil(self.width / self.columns)

    @property
    def down(self) -> int:
        return math.ceil(self.height / self.rows)

    @property
    def count(self) -> int:
        return self.layers * self.down * self.across


def decode_samples(opened: TiffImageFile, stream: BinaryIO, samples: Samples) -> NDArray[Any]:
    """The values (rows, columns, samples) as stored, in this machine's byte order."""
    grid = _Grid.of(opened, samples.count)
    places = _places(opened, stream, grid)
    decompress = DECOMPRESS[opened.tag_v2.get(COMPRESSION, 1)]
    predictor = opened.tag_v2.get(PREDICTOR, NO_PREDICTOR)
    values = np.empty((grid.height, grid.width, samples.count), samples.dtype.newbyteorder("="))
    pixel = grid.samples * samples.dtype.itemsize
    for number, (offset, length) in enumerate(places):
        layer, place = divmod(number, grid.down * grid.across)
        top, left = place // grid.across * grid.rows, place % grid.across * grid.columns
        rows = grid.rows if grid.is_tiled else min(grid.rows, grid.height - top)
        stream.seek(offset)
        data = decompress(stream.read(length), grid.rows * grid.columns * pixel)
        size = rows * grid.columns * pixel
        if len(data) < size:
            raise UnreadableImageError("the file is damaged (a segment is short)", "use an undamaged copy")
        segment = values_of(data[:size], (rows, grid.columns, grid.samples), samples.dtype, predictor)
        target = values[top : top + rows, left : left + grid.columns, layer : layer + grid.samples]
        target[...] = segment[: target.shape[0], : target.shape[1]]
    return values


def _places(opened: TiffImageFile, stream: BinaryIO, grid: _Grid) -> list[tuple[int, int]]:
    """Offset and length of every segment. UnreadableImageError unless the file holds them all."""
    tags = opened.tag_v2
    offsets = tags[TILEOFFSETS if grid.is_tiled else STRIPOFFSETS]
    lengths = tags[TILEBYTECOUNTS if grid.is_tiled else STRIPBYTECOUNTS]
    end = stream.seek(0, os.SEEK_END)
    if len(offsets) < grid.count or len(lengths) < grid.count:
        raise UnreadableImageError("the file is damaged (segments are missing)", "use an undamaged copy")
    places = list(zip(offsets[: grid.count], lengths[: grid.count], strict=True))
    if any(offset <= 0 or length <= 0 or offset + length > end for offset, length in places):
        raise UnreadableImageError("the file is truncated", "use a complete copy")
    return places


def require_segments(opened: TiffImageFile, stream: BinaryIO) -> None:
    """Raise UnreadableImageError where a compressed file ends before its tags or its segments do.

    libtiff, which decodes it for Pillow, would find out too, but print about it.
    """
    tags = opened.tag_v2
    if tags.get(COMPRESSION, 1) == 1:
        return
    offsets, lengths = (tags.get(strips, tags.get(tiles, ())) for strips, tiles in _PLACES)
    last = max((sum(place) for place in zip(offsets, lengths, strict=False)), default=0)
    last = max(last, directory_end(opened, stream))
    if stream.seek(0, os.SEEK_END) < last:
        raise UnreadableImageError("the file is truncated", "use a complete copy")


def turned(values: NDArray[Any], orientation: int) -> NDArray[Any]:
    """The values as they are to be shown, which is how Pillow gives those of a TIFF."""
    if orientation in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    upside_down, mirrored = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    values = values[::-1] if upside_down else values
    return np.ascontiguousarray(values[:, ::-1] if mirrored else values)
