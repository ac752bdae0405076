"""Writing TIFF samples that Pillow cannot write.

Pillow writes the tags, around a single pixel; the pixels and the tags that say how they are stored are then put in the
place of that one.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tvdenoise.files.families.tiff_compression import COMPRESS, HORIZONTAL, NO_PREDICTOR, differences_of
from tvdenoise.files.families.tiff_samples import STRAIGHT_ALPHA

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ASCII, _SHORT, _LONG, _LONG8 = 2, 3, 4, 16
_WIDTHS = {_SHORT: 2, _LONG: 4, _LONG8: 8}  # bytes
_FORMATS = {"u": 1, "f": 3}
_STRIP = 1 << 20  # bytes
LARGEST = 2**32 - 1  # bytes of a classic TIFF
_REPLACED = frozenset({256, 257, 258, 259, 262, 273, 277, 278, 279, 284, 317, 338, 339})
_Entry = tuple[int, int, int, bytes]  # tag, type, count, and four bytes: the value or its place


def encode_samples(
    frame: bytes,
    values: NDArray[Any],
    *,
    photometric: int,
    has_alpha: bool,
    compression: str,
    texts: tuple[tuple[int, bytes], ...] = (),
) -> bytes:
    """A TIFF of values (rows, columns, samples), with the other tags of the frame, a TIFF too.

    photometric: what the colours are, as TIFF numbers it; texts: with their tags, which may be in the frame, too.
    """
    layout = _Layout.of(frame)
    rows, columns, samples = values.shape
    number, compress, differs = COMPRESS[compression]
    predicted = differs and values.dtype.kind == "u"
    height = max(1, min(rows, _STRIP // max(1, columns * samples * values.itemsize)))
    contents = bytearray(frame)
    offsets, lengths = [], []
    for top in range(0, rows, height):
        strip = values[top : top + height]
        strip = differences_of(strip) if predicted else strip
        data = compress(strip.astype(strip.dtype.newbyteorder(layout.order)).tobytes())
        contents += bytes(len(contents) % 2)
        offsets.append(len(contents))
        lengths.append(len(data))
        contents += data
    place = _LONG if layout.width == 4 else _LONG8
    numbers = {
        256: (_LONG, [columns]),
        257: (_LONG, [rows]),
        258: (_SHORT, [8 * values.itemsize] * samples),
        259: (_SHORT, [number]),
        262: (_SHORT, [photometric]),
        273: (place, offsets),
        277: (_SHORT, [samples]),
        278: (_LONG, [height]),
        279: (place, lengths),
        284: (_SHORT, [1]),
        317: (_SHORT, [HORIZONTAL if predicted else NO_PREDICTOR]),
        339: (_SHORT, [_FORMATS[values.dtype.kind]] * samples),
    }
    if has_alpha:
        numbers[338] = (_SHORT, [STRAIGHT_ALPHA])
    kept = [entry for entry in layout.entries(frame) if entry[0] not in _REPLACED]
    return _with_directory(contents, kept, numbers, texts, layout)


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


def _with_directory(
    contents: bytearray,
    kept: list[_Entry],
    numbers: dict[int, tuple[int, list[int]]],
    texts: tuple[tuple[int, bytes], ...],
    layout: _Layout,
) -> bytes:
    """The contents with a directory of these entries at their end."""
    order, entries = layout.order, list(kept)
    added = [(tag, _ASCII, len(text), text) for tag, text in texts]
    for tag, (kind, given) in numbers.items():
        added.append((tag, kind, len(given), np.array(given, f"{order}u{_WIDTHS[kind]}").tobytes()))
    for tag, kind, count, packed in added:
        value = packed
        if len(packed) > layout.width:
            contents += bytes(len(contents) % 2)
            value = struct.pack(order + layout.place, len(contents))
            contents += packed
        entries.append((tag, kind, count, value.ljust(layout.width, b"\0")))
    contents += bytes(len(contents) % 2)
    start = len(contents)
    contents += struct.pack(order + layout.counter, len(entries))
    for entry in sorted(entries, key=lambda entry: entry[0]):
        contents += struct.pack(order + layout.entry, *entry)
    contents += bytes(layout.width)
    if layout.width == 4 and len(contents) > LARGEST:
        raise ValueError("it would be larger than 4 gigabytes, which a classic TIFF cannot be")
    struct.pack_into(order + layout.place, contents, layout.pointer_at, start)
    return bytes(contents)
