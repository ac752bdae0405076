"""The fields of a TIFF's directory, as they are stored and may be written again elsewhere."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np

from tvdenoise.formats.tiff_directories import Layout, layout_of

#: EXIF and GPS data, and, within the former, what says how to exchange them.
DIRECTORIES = (34665, 34853, 40965)
IPTC = 33723
#: Bytes of a value of each type, and of the numbers of which it consists.
SIZES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
NUMBERS = {**SIZES, 5: 4, 10: 4}


@dataclass(frozen=True)
class Field:
    """A tag: its type and its values as stored, or, for EXIF and GPS data, a directory of its own."""

    tag: int
    kind: int
    contents: bytes | tuple[Field, ...]


def fields_of(page: bytes) -> tuple[tuple[Field, ...], Layout]:
    """The fields of the only page of a TIFF, and their layout."""
    layout = layout_of(io.BytesIO(page))
    if layout is None:
        raise ValueError("not a TIFF")
    (start,) = layout.place.unpack_from(page, layout.first_link)
    return _directory(page, start, layout), layout


def _directory(page: bytes, start: int, layout: Layout) -> tuple[Field, ...]:
    (count,) = layout.count.unpack_from(page, start)
    start += layout.count.size
    fields = []
    for number in range(count):
        tag, kind, values, inline = layout.entry.unpack_from(page, start + number * layout.entry.size)
        length = SIZES[kind] * values
        place = 0
        if length > len(inline) or tag in DIRECTORIES:
            (place,) = layout.place.unpack(inline)
        if tag in DIRECTORIES:
            fields.append(Field(tag, kind, _directory(page, place, layout)))
        else:
            fields.append(Field(tag, kind, page[place : place + length] if place else inline[:length]))
    return tuple(fields)


def numbers_of(field: Field, layout: Layout) -> list[int]:
    assert isinstance(field.contents, bytes)
    return [int(n) for n in np.frombuffer(field.contents, f"{layout.order}u{SIZES[field.kind]}")]


def byteswapped(field: Field) -> Field:
    """The field in the other byte order; IPTC data, which many store as numbers, are bytes and have none."""
    if not isinstance(field.contents, bytes):
        return Field(field.tag, field.kind, tuple(map(byteswapped, field.contents)))
    if field.tag == IPTC:
        return field
    numbers = np.frombuffer(field.contents, f"u{NUMBERS[field.kind]}")
    return Field(field.tag, field.kind, numbers.byteswap().tobytes())
