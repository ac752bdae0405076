"""Writing TIFF samples that Pillow cannot write.

Pillow writes the tags, around a single pixel; the pixels and the tags that say how they are stored are then put in the
place of that one.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np

from tvdenoise.formats.tiff_compression import COMPRESS, HORIZONTAL, NO_PREDICTOR, differences_of
from tvdenoise.formats.tiff_samples import STRAIGHT_ALPHA

if TYPE_CHECKING:
    from numpy.typing import NDArray


_ASCII, _SHORT, _LONG, _LONG8 = 2, 3, 4, 16
_WIDTHS = {_SHORT: 2, _LONG: 4, _LONG8: 8}  # bytes
_FORMATS = {"u": 1, "f": 3}
_STRIP = 1 << 20  # bytes
LARGEST = 2**32 - 1  # bytes of a classic TIFF
_PLACES = frozenset({273, 278, 279, 322, 323, 324, 325})  # of strips and tiles
_REPLACED = _PLACES | frozenset({256, 257, 258, 259, 262, 277, 284, 317, 338, 339})
_Entry = tuple[int, int, int, bytes]  # tag, type, count, and four bytes: the value or its place


@dataclass(frozen=True)
class Storage:
    """How the samples of a picture are stored.

    photometric: what the colours are, as TIFF numbers it; compression: as Pillow names it.
    tile: rows and columns of tiles, multiples of 16, or None for strips of about a megabyte.
    texts: with their tags, which may be in the frame, too.
    """

    rows: int
    columns: int
    samples: int
    dtype: np.dtype[Any]
    photometric: int
    has_alpha: bool
    compression: str
    tile: tuple[int, int] | None = None
    texts: tuple[tuple[int, bytes], ...] = ()

    @property
    def height(self) -> int:
        """Rows of a segment."""
        if self.tile is not None:
            return self.tile[0]
        return max(1, min(self.rows, _STRIP // max(1, self.columns * self.samples * self.dtype.itemsize)))

    @property
    def width(self) -> int:
        """Columns of a segment."""
        return self.columns if self.tile is None else self.tile[1]

    @property
    def is_predicted(self) -> bool:
        return COMPRESS[self.compression][2] and self.dtype.kind == "u"

    def numbers(
        self, places: int, offsets: list[int], lengths: list[int]
    ) -> dict[int, tuple[int, list[int]]]:
        """The type and the values of each tag that says it, with the segments in the file; places: their type."""
        numbers = {
            256: (_LONG, [self.columns]),
            257: (_LONG, [self.rows]),
            258: (_SHORT, [8 * self.dtype.itemsize] * self.samples),
            259: (_SHORT, [COMPRESS[self.compression][0]]),
            262: (_SHORT, [self.photometric]),
            277: (_SHORT, [self.samples]),
            284: (_SHORT, [1]),
            317: (_SHORT, [HORIZONTAL if self.is_predicted else NO_PREDICTOR]),
            339: (_SHORT, [_FORMATS[self.dtype.kind]] * self.samples),
        }
        if self.tile is None:
            numbers |= {273: (places, offsets), 278: (_LONG, [self.height]), 279: (places, lengths)}
        else:
            numbers |= {322: (_LONG, [self.width]), 323: (_LONG, [self.height])}
            numbers |= {324: (places, offsets), 325: (places, lengths)}
        if self.has_alpha:
            numbers[338] = (_SHORT, [STRAIGHT_ALPHA])
        return numbers


def encode_samples(frame: bytes, values: NDArray[Any], storage: Storage) -> bytes:
    """A TIFF of values (rows, columns, samples), with the other tags of the frame, a TIFF too."""
    stream = io.BytesIO()
    writer = SampleWriter(stream, frame, storage)
    for top in range(0, storage.rows, storage.height):
        writer.append(values[top : top + storage.height])
    writer.close()
    return stream.getvalue()


class SampleWriter:
    """Writes a TIFF to an empty stream that can be sought, segments first; it is whole once it is closed.

    frame: a TIFF of one pixel, whose other tags are kept.
    """

    def __init__(self, stream: BinaryIO, frame: bytes, storage: Storage) -> None:
        self._stream = stream
        self._storage = storage
        self._layout = _Layout.of(frame)
        self._kept = [entry for entry in self._layout.entries(frame) if entry[0] not in _REPLACED]
        self._offsets: list[int] = []
        self._lengths: list[int] = []
        stream.write(frame)
        self._end = len(frame)

    def append(self, values: NDArray[Any]) -> None:
        """The next segments in order, side by side: (rows, columns, samples) of a strip, or of some tiles.

        Tiles that reach beyond the picture's last row or column may be given without what lies there.
        """
        for segment in self._segments(values):
            kept = differences_of(segment) if self._storage.is_predicted else segment
            stored = kept.astype(kept.dtype.newbyteorder(self._layout.order))
            data = COMPRESS[self._storage.compression][1](stored.tobytes())
            self._offsets.append(self._put(data))
            self._lengths.append(len(data))

    def _segments(self, values: NDArray[Any]) -> Iterator[NDArray[Any]]:
        if self._storage.tile is None:
            yield values
            return
        height, width = self._storage.tile
        for left in range(0, values.shape[1], width):
            tile = values[:, left : left + width]
            if tile.shape[:2] != (height, width):
                beyond = (0, height - tile.shape[0]), (0, width - tile.shape[1]), (0, 0)
                tile = np.pad(tile, beyond, mode="edge")
            yield tile

    def close(self) -> None:
        """Write the directory, and in the header where it begins. ValueError where a classic TIFF is too small."""
        order, layout = self._layout.order, self._layout
        entries = list(self._kept)
        added = [(tag, _ASCII, len(text), text) for tag, text in self._storage.texts]
        places = _LONG if layout.width == 4 else _LONG8
        for tag, (kind, given) in sorted(self._storage.numbers(places, self._offsets, self._lengths).items()):
            if layout.width == 4 and max(given) > LARGEST:
                raise _too_large()
            added.append((tag, kind, len(given), np.array(given, f"{order}u{_WIDTHS[kind]}").tobytes()))
        for tag, kind, count, packed in added:
            value = packed
            if len(packed) > layout.width:
                value = struct.pack(order + layout.place, self._put(packed))
            entries.append((tag, kind, count, value.ljust(layout.width, b"\0")))
        directory = struct.pack(order + layout.counter, len(entries))
        directory += b"".join(
            struct.pack(order + layout.entry, *entry) for entry in sorted(entries, key=lambda entry: entry[0])
        )
        start = self._put(directory + bytes(layout.width))
        self._stream.seek(layout.pointer_at)
        self._stream.write(struct.pack(order + layout.place, start))

    def _put(self, data: bytes) -> int:
        """Write at an even place, and say where."""
        self._stream.write(bytes(self._end % 2))
        start = self._end + self._end % 2
        self._stream.write(data)
        self._end = start + len(data)
        if self._layout.width == 4 and self._end > LARGEST:
            raise _too_large()
        return start


def _too_large() -> ValueError:
    return ValueError("it would be larger than 4 gigabytes, which a classic TIFF cannot be")


@dataclass(frozen=True)
class _Layout:
    """How a TIFF lays out its directory. entry: of `struct`; width: of a place in the file, in bytes."""

    order: Literal["<", ">"]
    pointer_at: int
    counter: str
    entry: str
    place: str
    width: int

    @classmethod
    def of(cls, frame: bytes) -> _Layout:
        order: Literal["<", ">"] = "<" if frame.startswith(b"II") else ">"
        is_big = b"+" in frame[2:4]
        return cls(order, 8, "Q", "HHQ8s", "Q", 8) if is_big else cls(order, 4, "H", "HHI4s", "I", 4)

    def entries(self, frame: bytes) -> list[_Entry]:
        """Those of the first directory."""
        (start,) = struct.unpack_from(self.order + self.place, frame, self.pointer_at)
        (count,) = struct.unpack_from(self.order + self.counter, frame, start)
        start += struct.calcsize(self.order + self.counter)
        size = struct.calcsize(self.order + self.entry)
        return [struct.unpack_from(self.order + self.entry, frame, start + size * i) for i in range(count)]
