"""Writing TIFF samples that Pillow cannot write.

Pillow writes the tags, around a single pixel; the pixels and the tags that say how they are stored are then put in the
place of that one.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tvdenoise.files.families.tiff_compression import COMPRESS, HORIZONTAL, NO_PREDICTOR, differences_of
from tvdenoise.files.families.tiff_samples import STRAIGHT_ALPHA

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SHORT, _LONG = 3, 4
_FORMATS = {"u": 1, "f": 3}
_STRIP = 1 << 20  # bytes
_LARGEST = 2**32 - 1
_REPLACED = frozenset({256, 257, 258, 259, 262, 273, 277, 278, 279, 284, 317, 338, 339})
_Entry = tuple[int, int, int, bytes]  # tag, type, count, and four bytes: the value or its place


def encode_samples(
    frame: bytes, values: NDArray[Any], *, photometric: int, has_alpha: bool, compression: str
) -> bytes:
    """A TIFF of values (rows, columns, samples), with the other tags of the frame, a TIFF too.

    photometric: what the colours are, as TIFF numbers it.
    """
    order: Literal["<", ">"] = "<" if frame.startswith(b"II") else ">"
    rows, columns, samples = values.shape
    number, compress, differs = COMPRESS[compression]
    predicted = differs and values.dtype.kind == "u"
    height = max(1, min(rows, _STRIP // max(1, columns * samples * values.itemsize)))
    contents = bytearray(frame)
    offsets, lengths = [], []
    for top in range(0, rows, height):
        strip = values[top : top + height]
        strip = differences_of(strip) if predicted else strip
        data = compress(strip.astype(strip.dtype.newbyteorder(order)).tobytes())
        contents += bytes(len(contents) % 2)
        offsets.append(len(contents))
        lengths.append(len(data))
        contents += data
    numbers = {
        256: (_LONG, [columns]),
        257: (_LONG, [rows]),
        258: (_SHORT, [8 * values.itemsize] * samples),
        259: (_SHORT, [number]),
        262: (_SHORT, [photometric]),
        273: (_LONG, offsets),
        277: (_SHORT, [samples]),
        278: (_LONG, [height]),
        279: (_LONG, lengths),
        284: (_SHORT, [1]),
        317: (_SHORT, [HORIZONTAL if predicted else NO_PREDICTOR]),
        339: (_SHORT, [_FORMATS[values.dtype.kind]] * samples),
    }
    if has_alpha:
        numbers[338] = (_SHORT, [STRAIGHT_ALPHA])
    return _with_directory(contents, _kept_entries(frame, order), numbers, order)


def _kept_entries(frame: bytes, order: str) -> list[_Entry]:
    (start,) = struct.unpack_from(f"{order}I", frame, 4)
    (count,) = struct.unpack_from(f"{order}H", frame, start)
    entries: list[_Entry] = [
        struct.unpack_from(f"{order}HHI4s", frame, start + 2 + 12 * index) for index in range(count)
    ]
    return [entry for entry in entries if entry[0] not in _REPLACED]


def _with_directory(
    contents: bytearray, kept: list[_Entry], numbers: dict[int, tuple[int, list[int]]], order: str
) -> bytes:
    """The contents with a directory of these entries at their end."""
    entries = list(kept)
    for tag, (kind, given) in numbers.items():
        packed = np.array(given, f"{order}u{2 if kind == _SHORT else 4}").tobytes()
        if len(packed) > 4:
            contents += bytes(len(contents) % 2)
            place = len(contents)
            contents += packed
            packed = place.to_bytes(8, "little" if order == "<" else "big")
            packed = packed[:4] if order == "<" else packed[4:]
        entries.append((tag, kind, len(given), packed.ljust(4, b"\0")))
    contents += bytes(len(contents) % 2)
    if len(contents) + 12 * len(entries) + 6 > _LARGEST:
        raise ValueError("it would be larger than 4 gigabytes, which a TIFF cannot be")
    struct.pack_into(f"{order}I", contents, 4, len(contents))
    contents += struct.pack(f"{order}H", len(entries))
    for entry in sorted(entries):
        contents += struct.pack(f"{order}HHI4s", *entry)
    return bytes(contents + bytes(4))
