"""The strips and tiles of a TIFF: how they lie, where they are stored, and the values in each.

Every segment is accounted for before memory is taken and checked after it is decompressed: general readers fill up
what is missing with zeros.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from tvdenoise.formats.tiff_compression import DECOMPRESS, NO_PREDICTOR, values_of
from tvdenoise.formats.tiff_samples import SEPARATE_PLANES, Samples

if TYPE_CHECKING:
    from numpy.typing import NDArray


_SMALL_TILE = 1 << 22  # pixels
_UNCOMPRESSED = 1


@dataclass(frozen=True)
class Grid:
    """How the segments (strips or tiles) lie: each of rows × columns pixels and so many samples."""

    height: int
    width: int
    rows: int
    columns: int
    samples: int
    is_tiled: bool
    layers: int

    @classmethod
    def of(cls, opened: TiffImageFile, count: int) -> Grid:
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

    def place(self, number: int) -> tuple[int, int, int]:
        """The layer of a segment, and its first row and column."""
        layer, place = divmod(number, self.down * self.across)
        return layer, place // self.across * self.rows, place % self.across * self.columns

    def stored_rows(self, top: int) -> int:
        """Those of a segment that begins there: tiles are whole, the last strip ends with the picture."""
        return self.rows if self.is_tiled else min(self.rows, self.height - top)


@dataclass(frozen=True, eq=False)
class Segments:
    """places: offset and length of each in the file; compression, predictor: as TIFF numbers them."""

    grid: Grid
    places: Sequence[tuple[int, int]]
    dtype: np.dtype[Any]
    compression: int
    predictor: int

    @classmethod
    def of(cls, opened: TiffImageFile, stream: BinaryIO, samples: Samples) -> Segments:
        """Raises UnreadableImageError unless the file holds them all."""
        grid = Grid.of(opened, samples.count)
        tags = opened.tag_v2
        compression, predictor = tags.get(COMPRESSION, _UNCOMPRESSED), tags.get(PREDICTOR, NO_PREDICTOR)
        return cls(grid, _places(opened, stream, grid), samples.dtype, compression, predictor)

    @property
    def row_bytes(self) -> int:
        """Of a row of a segment, uncompressed."""
        return self.grid.columns * self.grid.samples * self.dtype.itemsize

    def values(self, number: int, stream: BinaryIO) -> NDArray[Any]:
        """The values (rows, columns, samples) of a segment as stored. UnreadableImageError where it is short."""
        grid = self.grid
        _, top, _ = grid.place(number)
        rows = grid.stored_rows(top)
        offset, length = self.places[number]
        stream.seek(offset)
        data = DECOMPRESS[self.compression](stream.read(length), grid.rows * self.row_bytes)
        size = rows * self.row_bytes
        if len(data) < size:
            raise _short()
        return values_of(data[:size], (rows, grid.columns, grid.samples), self.dtype, self.predictor)

    def in_pieces(self, most: int) -> Segments:
        """Uncompressed strips as smaller ones of at most so many bytes, or of a row; others as they are.

        Raises UnreadableImageError where a strip is short.
        """
        grid = self.grid
        if grid.is_tiled or self.compression != _UNCOMPRESSED or grid.rows * self.row_bytes <= most:
            return self
        rows = max(1, most // self.row_bytes)
        if grid.down > 1:  # pieces must not cross from one strip into the next
            rows = next(number for number in range(rows, 0, -1) if grid.rows % number == 0)
        finer = replace(grid, rows=rows)
        places = []
        for layer in range(grid.layers):
            for top in range(0, grid.height, rows):
                offset, length = self.places[layer * grid.down + top // grid.rows]
                start, size = top % grid.rows * self.row_bytes, finer.stored_rows(top) * self.row_bytes
                if start + size > length:
                    raise _short()
                places.append((offset + start, size))
        return replace(self, grid=finer, places=places)


def _short() -> UnreadableImageError:
    return UnreadableImageError("the file is damaged (a segment is short)", "use an undamaged copy")


def _places(opened: TiffImageFile, stream: BinaryIO, grid: Grid) -> list[tuple[int, int]]:
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
