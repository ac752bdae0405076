"""Segments (strips and tiles) of a TIFF: tifffile locates and decompresses those that a window touches, on threads.

tifffile's own `asarray` and `decode` are not used: the former fills missing segments with zeros, and reads a single
uncompressed strip whole; the latter refuses a last strip that is compressed with all its rows.
"""

from __future__ import annotations

import math
import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from threading import Lock
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL.TiffImagePlugin import TiffImageFile

from tvdenoise.errors import UnreadableImageError
from tvdenoise.formats.tiff.directories import ORIENTATION, truncated
from tvdenoise.formats.tiff.samples import Samples, known_samples
from tvdenoise.machine import on_threads, usable_threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tvdenoise.formats.family import Window

_FLOATING_POINT = 3  # predictor
_UNCOMPRESSED, _SEPARATE_PLANES = 1, 2
_EXCESS = 1 << 16  # bytes by which a decompressed segment may exceed its pixels
_PIECE = 1 << 20  # bytes of the pieces of uncompressed strips
_COPIES = 3  # of a segment during decoding: stored, decompressed, and without predictor
_SIDEWAYS = (5, 6, 7, 8)  # orientations that swap rows and columns


@dataclass(frozen=True)
class Grid:
    """The grid of segments, each of rows × columns pixels and ``samples`` samples; layers: 1, or one per plane."""

    height: int
    width: int
    rows: int
    columns: int
    samples: int
    is_tiled: bool
    layers: int

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
        """Return the layer of a segment, and its first row and column."""
        layer, place = divmod(number, self.down * self.across)
        return layer, place // self.across * self.rows, place % self.across * self.columns

    def stored_rows(self, top: int) -> int:
        """Return the stored rows of a segment that starts at row ``top``: the last strip ends with the image."""
        return self.rows if self.is_tiled else min(self.rows, self.height - top)


@dataclass(frozen=True, eq=False)
class Segments:
    """places: offset and length of each segment; compression, predictor: TIFF's numbers."""

    grid: Grid
    places: Sequence[tuple[int, int]]
    kind: Samples
    compression: int
    predictor: int

    @classmethod
    def of(cls, stream: BinaryIO, samples: Samples) -> Segments:
        """Locate the segments of the first page. Raises UnreadableImageError if the file does not hold them all."""
        import tifffile

        # Disable tifffile's special treatment of some kinds of files.
        # The name of a temporary file may be a number, which tifffile would take for a path.
        opened = tifffile.TiffFile(
            stream, name="TIFF", offset=0, is_lsm=False, is_ndpi=False, is_scanimage=False
        )
        page = opened.pages.first
        layers = samples.count if page.planarconfig == _SEPARATE_PLANES else 1
        rows, columns = page.rowsperstrip, page.imagewidth
        if page.is_tiled:
            rows, columns = page.tilelength, page.tilewidth
        if min(page.imagelength, page.imagewidth, rows, columns) < 1:
            raise ValueError("a side of the image or of its segments is zero")
        sides = page.imagelength, page.imagewidth, rows, columns
        grid = Grid(*sides, samples.count // layers, page.is_tiled, layers)
        if min(len(page.dataoffsets), len(page.databytecounts)) < grid.count:
            raise UnreadableImageError("the file is damaged (segments are missing)", "use an undamaged copy")
        places = list(zip(page.dataoffsets, page.databytecounts, strict=False))[: grid.count]
        end = stream.seek(0, os.SEEK_END)
        if any(offset <= 0 or length <= 0 or offset + length > end for offset, length in places):
            raise truncated()
        return cls(grid, places, samples, int(page.compression), int(page.predictor))

    @property
    def row_bytes(self) -> int:
        """Uncompressed bytes of a row of a segment."""
        return self.kind.row_bytes(self.grid.columns, self.grid.samples)

    @property
    def decoded_row_bytes(self) -> int:
        """Bytes of a row of a segment in memory."""
        return self.grid.columns * self.grid.samples * self.kind.dtype.itemsize

    def stored(self, number: int, stream: BinaryIO) -> bytes:
        """Read a segment as it is stored."""
        offset, length = self.places[number]
        stream.seek(offset)
        return stream.read(length)

    def values(self, number: int, data: bytes) -> NDArray[Any]:
        """Decode the values (rows, columns, samples) of a segment, in native byte order, from its stored bytes.

        Raises UnreadableImageError if it is too short.
        """
        import imagecodecs
        import tifffile

        grid = self.grid
        _, top, _ = grid.place(number)
        rows = grid.stored_rows(top)
        if self.compression != _UNCOMPRESSED:
            decompress = tifffile.TIFF.DECOMPRESSORS[self.compression]
            data = decompress(data, out=grid.rows * self.row_bytes + _EXCESS)
        size = rows * self.row_bytes
        if len(data) < size:
            raise _short()
        dtype = self.kind.dtype
        if self.kind.is_packed:
            unpacked = imagecodecs.packints_decode(
                data[:size], dtype.newbyteorder("="), self.kind.bits, runlen=grid.columns * grid.samples
            )
            return unpacked.reshape(rows, grid.columns, grid.samples)
        stored = np.frombuffer(data, dtype, size // dtype.itemsize)
        stored = stored.reshape(rows, grid.columns, grid.samples)
        unpredict = tifffile.TIFF.UNPREDICTORS[self.predictor]
        if self.predictor == _FLOATING_POINT:
            return np.asarray(unpredict(stored, axis=-2)).astype(dtype.newbyteorder("="), copy=False)
        native = stored.astype(dtype.newbyteorder("="), copy=False)
        integers: NDArray[Any] = native.view(f"u{native.itemsize}")  # the bits, whatever the type
        return np.asarray(unpredict(integers, axis=-2)).view(native.dtype)

    def in_pieces(self, most: int) -> Segments:
        """Split uncompressed strips into smaller ones of at most ``most`` bytes, or one row; keep other segments.

        Raises UnreadableImageError if a strip is too short.
        """
        grid = self.grid
        if grid.is_tiled or self.compression != _UNCOMPRESSED or grid.rows * self.row_bytes <= most:
            return self
        rows = max(1, most // self.row_bytes)
        if grid.down > 1:  # pieces must not cross strips
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


class TiffRegions:
    """See `family.Regions`. Caches a row of segments, so that neighbouring windows do not decode them twice."""

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
        self.block_rows = min(sides[0], self.shape[0])
        self._most_kept = grid.layers * (grid.down if is_sideways else grid.across)
        self.memory = (self._most_kept + _COPIES) * grid.rows * segments.decoded_row_bytes
        self._kept: OrderedDict[int, NDArray[Any]] = OrderedDict()
        self._lock = Lock()

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """Read the intensities and alpha of a window."""
        values = _turned(self._values(*self._as_stored(window)), self._orientation)
        number = self._samples.alpha
        alpha = None if number is None else np.ascontiguousarray(values[..., number])
        return self._samples.intensities(values), alpha

    def _as_stored(self, window: Window) -> Window:
        """Convert a window to stored coordinates, which differ by the orientation."""
        rows, columns = window
        if self._orientation in (3, 4, 7, 8):
            rows = slice(self.shape[0] - rows.stop, self.shape[0] - rows.start)
        if self._orientation in (2, 3, 6, 7):
            columns = slice(self.shape[1] - columns.stop, self.shape[1] - columns.start)
        return (columns, rows) if self._orientation in _SIDEWAYS else (rows, columns)

    def _values(self, rows: slice, columns: slice) -> NDArray[Any]:
        """Read the values (rows, columns, samples) of a window in stored coordinates."""
        grid = self._segments.grid
        shape = rows.stop - rows.start, columns.stop - columns.start, self._samples.count
        values = np.empty(shape, self.dtype)

        def place(number: int, segment: NDArray[Any]) -> None:
            layer, top, left = grid.place(number)
            first_row, first_column = max(top, rows.start), max(left, columns.start)
            part = segment[first_row - top : rows.stop - top, first_column - left : columns.stop - left]
            down, across = first_row - rows.start, first_column - columns.start
            target = values[down:, across:, layer : layer + grid.samples]
            target[: part.shape[0], : part.shape[1]] = part[: target.shape[0], : target.shape[1]]

        def decode(number: int) -> None:
            with self._lock:
                data = self._segments.stored(number, self._stream)
            place(number, self._segments.values(number, data))

        numbers = list(self._touched(rows, columns))
        # There is little to gain from the cache then; more threads would take more memory than it.
        if len(numbers) > self._most_kept >= usable_threads():
            on_threads(decode, numbers)
            return values
        with self._lock:
            for number in numbers:
                place(number, self._segment(number))
        return values

    def _touched(self, rows: slice, columns: slice) -> Iterator[int]:
        """Yield the numbers of the segments that overlap a window."""
        grid = self._segments.grid
        for layer in range(grid.layers):
            for down in range(rows.start // grid.rows, -(-rows.stop // grid.rows)):
                for across in range(columns.start // grid.columns, -(-columns.stop // grid.columns)):
                    yield (layer * grid.down + down) * grid.across + across

    def _segment(self, number: int) -> NDArray[Any]:
        """Return a decoded segment from the cache, or decode it and evict the least recently used one."""
        if number in self._kept:
            self._kept.move_to_end(number)
            return self._kept[number]
        if len(self._kept) >= self._most_kept:
            self._kept.popitem(last=False)
        data = self._segments.stored(number, self._stream)
        self._kept[number] = self._segments.values(number, data)
        return self._kept[number]


def regions_of(opened: TiffImageFile, stream: BinaryIO) -> TiffRegions | None:
    """Return a reader for parts of a TIFF; None for other kinds. Raises UnreadableImageError if it is truncated."""
    if (samples := known_samples(opened.tag_v2)) is None:
        return None
    orientation = opened.tag_v2.get(ORIENTATION, 1)
    segments = Segments.of(stream, samples).in_pieces(_PIECE)
    return TiffRegions(stream, segments, samples, orientation if orientation in range(2, 9) else 1)


def decoded(opened: TiffImageFile, stream: BinaryIO) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Decode the intensities and alpha of a whole TIFF with known samples."""
    regions = regions_of(opened, stream)
    assert regions is not None
    rows, columns = regions.shape
    return regions.read((slice(0, rows), slice(0, columns)))


def _turned(values: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Apply the orientation, as Pillow does for TIFF."""
    if orientation in _SIDEWAYS:
        values = values.swapaxes(0, 1)
    upside_down, mirrored = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    values = values[::-1] if upside_down else values
    return np.ascontiguousarray(values[:, ::-1] if mirrored else values)
