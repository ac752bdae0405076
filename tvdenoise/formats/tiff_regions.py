"""Reading parts of a TIFF: only the strips or tiles that a window touches are decoded."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from threading import Lock
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL.TiffImagePlugin import TiffImageFile

from tvdenoise.formats.tiff_decoding import turned
from tvdenoise.formats.tiff_samples import Samples, known_samples
from tvdenoise.formats.tiff_segments import Segments
from tvdenoise.formats.tiff_tags import ORIENTATION

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tvdenoise.formats.family import Window


_PIECE = 1 << 20  # bytes into which uncompressed strips are cut
_COPIES = 3  # of a segment while it is decoded: as stored, decompressed, and without its predictor
_SIDEWAYS = (5, 6, 7, 8)  # orientations that exchange rows and columns


class TiffRegions:
    """See `regions.Regions`. The segments of one row of them are kept, so that neighbours are not decoded twice."""

    def __init__(self, stream: BinaryIO, segments: Segments, samples: Samples, orientation: int = 1) -> None:
        self._stream = stream
        self._segments = segments
        self._samples = samples
        self._orientation = orientation
        grid = segments.grid
        is_sideways = orientation in _SIDEWAYS
        self.shape = (grid.width, grid.height) if is_sideways else (grid.height, grid.width)
        self.dtype = samples.dtype.newbyteorder("=")
        self.colours = samples.colours
        self.has_alpha = samples.has_alpha
        sides = (grid.columns, grid.rows) if is_sideways else (grid.rows, grid.columns)
        self.tile = sides if grid.is_tiled else None
        self.piece = min(sides[0], self.shape[0])
        self._most_kept = grid.layers * (grid.down if is_sideways else grid.across)
        self.memory = (self._most_kept + _COPIES) * grid.rows * segments.row_bytes
        self._kept: OrderedDict[int, NDArray[Any]] = OrderedDict()
        self._lock = Lock()

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """The intensities and alpha in a window."""
        values = turned(self._values(*self._as_stored(window)), self._orientation)
        alpha = np.ascontiguousarray(values[..., -1]) if self._samples.has_alpha else None
        return self._samples.intensities(values), alpha

    def _as_stored(self, window: Window) -> Window:
        """The window in the picture as it is stored, which may be turned."""
        rows, columns = window
        if self._orientation in (3, 4, 7, 8):
            rows = slice(self.shape[0] - rows.stop, self.shape[0] - rows.start)
        if self._orientation in (2, 3, 6, 7):
            columns = slice(self.shape[1] - columns.stop, self.shape[1] - columns.start)
        return (columns, rows) if self._orientation in _SIDEWAYS else (rows, columns)

    def _values(self, rows: slice, columns: slice) -> NDArray[Any]:
        """The values (rows, columns, samples) in a window of the stored picture."""
        grid = self._segments.grid
        shape = rows.stop - rows.start, columns.stop - columns.start, self._samples.count
        values = np.empty(shape, self.dtype)
        with self._lock:
            for number in self._touched(rows, columns):
                layer, top, left = grid.place(number)
                segment = self._segment(number)
                first_row, first_column = max(top, rows.start), max(left, columns.start)
                part = segment[first_row - top : rows.stop - top, first_column - left : columns.stop - left]
                down, across = first_row - rows.start, first_column - columns.start
                target = values[down:, across:, layer : layer + grid.samples]
                target[: part.shape[0], : part.shape[1]] = part[: target.shape[0], : target.shape[1]]
        return values

    def _touched(self, rows: slice, columns: slice) -> Iterator[int]:
        """The numbers of the segments that hold a part of a window."""
        grid = self._segments.grid
        for layer in range(grid.layers):
            for down in range(rows.start // grid.rows, -(-rows.stop // grid.rows)):
                for across in range(columns.start // grid.columns, -(-columns.stop // grid.columns)):
                    yield (layer * grid.down + down) * grid.across + across

    def _segment(self, number: int) -> NDArray[Any]:
        """A decoded segment: kept, or decoded now in the place of the one that was used longest ago."""
        if number in self._kept:
            self._kept.move_to_end(number)
            return self._kept[number]
        if len(self._kept) >= self._most_kept:
            self._kept.popitem(last=False)
        self._kept[number] = self._segments.values(number, self._stream)
        return self._kept[number]


def regions_of(opened: TiffImageFile, stream: BinaryIO) -> TiffRegions | None:
    """What reads parts of a TIFF; None of kinds that are decoded whole. UnreadableImageError where it is truncated."""
    if (samples := known_samples(opened)) is None:
        return None
    segments = Segments.of(opened, stream, samples).in_pieces(_PIECE)
    orientation = opened.tag_v2.get(ORIENTATION, 1)
    return TiffRegions(stream, segments, samples, orientation if orientation in range(2, 9) else 1)
