"""The sides of a picture in its EXIF data, which a reader may leave as they were when it turns the pixels."""

from __future__ import annotations

import struct
from contextlib import suppress

_EXIF, _COLUMNS, _ROWS = 34665, 40962, 40963
_ENTRY, _TAG = 12, 2  # bytes
_PREFIX = b"Exif\0\0"
_NUMBERS = {3: "H", 4: "I"}  # by type


def with_sides(contents: bytes, columns: int, rows: int) -> bytes:
    """EXIF data, their columns and rows exchanged where they are those of before a quarter turn."""
    start = len(_PREFIX) if contents.startswith(_PREFIX) else 0
    order = {b"II": "<", b"MM": ">"}.get(contents[start : start + 2])
    if order is None or columns == rows:
        return contents
    with suppress(struct.error, KeyError):
        (first,) = struct.unpack_from(f"{order}I", contents, start + 4)
        link = _entries(contents, start + first, order)[_EXIF]
        (inside,) = struct.unpack_from(f"{order}I", contents, link + 8)
        entries = _entries(contents, start + inside, order)
        places = entries[_COLUMNS], entries[_ROWS]
        if tuple(_number(contents, place, order) for place in places) == (rows, columns):
            return _exchanged(contents, *places)
    return contents


def _entries(contents: bytes, place: int, order: str) -> dict[int, int]:
    """Where the entry of each tag begins."""
    (count,) = struct.unpack_from(f"{order}H", contents, place)
    starts = [place + 2 + _ENTRY * number for number in range(count)]
    return {struct.unpack_from(f"{order}H", contents, start)[0]: start for start in starts}


def _number(contents: bytes, place: int, order: str) -> int:
    (kind,) = struct.unpack_from(f"{order}H", contents, place + _TAG)
    (number,) = struct.unpack_from(order + _NUMBERS[kind], contents, place + 8)
    return int(number)


def _exchanged(contents: bytes, first: int, second: int) -> bytes:
    changed = bytearray(contents)
    for target, source in ((first, second), (second, first)):
        changed[target + _TAG : target + _ENTRY] = contents[source + _TAG : source + _ENTRY]
    return bytes(changed)
