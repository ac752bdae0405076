"""Writing a TIFF of many pages, one by one: all pixels first, in one block where they are not compressed, as ImageJ
wants them, and then the directories."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from tvdenoise.files.families.tiff_directories import Layout, layout_of
from tvdenoise.files.families.tiff_encoding import LARGEST

_OFFSETS, _LENGTHS = 273, 279
_DIRECTORIES = (34665, 34853)  # EXIF and GPS data
_SHORT, _LONG, _LONG8 = 3, 4, 16
#: Bytes of a value of each type, and of the numbers of which it consists.
_SIZES = {
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
_NUMBERS = {**_SIZES, 5: 4, 10: 4}


@dataclass(frozen=True)
class _Field:
    """A tag: its type and its values as stored, or, for EXIF and GPS data, a directory of its own."""

    tag: int
    kind: int
    contents: bytes | tuple[_Field, ...]


def fields_of(page: bytes) -> tuple[tuple[_Field, ...], Layout]:
    """The fields of the only page of a TIFF, and their layout."""
    layout = layout_of(io.BytesIO(page))
    if layout is None:
        raise ValueError("not a TIFF")
    (start,) = layout.place.unpack_from(page, layout.first_link)
    return _directory(page, start, layout), layout


def _directory(page: bytes, start: int, layout: Layout) -> tuple[_Field, ...]:
    (count,) = layout.count.unpack_from(page, start)
    start += layout.count.size
    fields = []
    for number in range(count):
        tag, kind, values, inline = layout.entry.unpack_from(page, start + number * layout.entry.size)
        length = _SIZES[kind] * values
        place = 0
        if length > len(inline) or tag in _DIRECTORIES:
            (place,) = layout.place.unpack(inline)
        if tag in _DIRECTORIES:
            fields.append(_Field(tag, kind, _directory(page, place, layout)))
        else:
            fields.append(_Field(tag, kind, page[place : place + length] if place else inline[:length]))
    return tuple(fields)


class Pages:
    """Appends pages to an empty stream that can be sought; they count once it is closed.

    layout: of what is written; has_one_directory: the first page stands for all, whose pixels follow its own.
    Raises ValueError where a classic TIFF would grow beyond 4 gigabytes.
    """

    def __init__(self, stream: BinaryIO, layout: Layout, *, has_one_directory: bool = False) -> None:
        self._has_one_directory = has_one_directory
        self._stream = stream
        self._layout = layout
        self._pages: list[tuple[_Field, ...]] = []
        self._known: dict[tuple[int, int, bytes], _Field] = {}
        start = (b"II" if layout.order == "<" else b"MM") + (43 if layout.is_big else 42).to_bytes(
            2, "little" if layout.order == "<" else "big"
        )
        stream.write(start + (self._packed([8, 0], 2) if layout.is_big else b"") + bytes(layout.place.size))

    def append(self, page: bytes) -> None:
        """The only page of a TIFF, in strips; numbers of more than a byte have this one's order in its pixels."""
        fields, layout = fields_of(page)
        given = {field.tag: field for field in fields}
        offsets, lengths = (_numbers(given[tag], layout) for tag in (_OFFSETS, _LENGTHS))
        places = []
        for offset, length in zip(offsets, lengths, strict=True):
            places.append(self._stream.tell())
            self._stream.write(memoryview(page)[offset : offset + length])
        if self._has_one_directory and self._pages:
            return
        placed = {tag: self._places(tag, of) for tag, of in ((_OFFSETS, places), (_LENGTHS, lengths))}
        kept = (placed.get(field.tag) or self._turned(field, layout) for field in fields)
        self._pages.append(tuple(map(self._kept, kept)))

    def close(self) -> None:
        """Write the directories, and in the header where they begin."""
        link = self._layout.first_link
        for fields in self._pages:
            written = self._packed_fields(fields)
            start = self._aligned()
            self._stream.write(written + bytes(self._layout.place.size))
            end = self._stream.tell()
            if not self._layout.is_big and end > LARGEST:
                raise ValueError("it would be larger than 4 gigabytes, which a classic TIFF cannot be")
            self._stream.seek(link)
            self._stream.write(self._layout.place.pack(start))
            self._stream.seek(end)
            link = end - self._layout.place.size

    def _packed_fields(self, fields: tuple[_Field, ...]) -> bytes:
        """A directory without the place of the next one; what does not fit into it is written before."""
        layout = self._layout
        packed = [layout.count.pack(len(fields))]
        for field in fields:
            if isinstance(field.contents, bytes):
                contents, count = field.contents, len(field.contents) // _SIZES[field.kind]
            else:
                written, count = self._packed_fields(field.contents), 1
                contents = self._place(self._put(written + bytes(layout.place.size)))
            if len(contents) > layout.place.size:
                contents = layout.place.pack(self._put(contents))
            kind = field.kind if isinstance(field.contents, bytes) else (_LONG8 if layout.is_big else _LONG)
            packed.append(layout.entry.pack(field.tag, kind, count, contents.ljust(layout.place.size, b"\0")))
        return b"".join(packed)

    def _put(self, contents: bytes) -> int:
        """Write, and say where."""
        start = self._aligned()
        self._stream.write(contents)
        return start

    def _aligned(self) -> int:
        if self._stream.tell() % 2:
            self._stream.write(b"\0")
        return self._stream.tell()

    def _place(self, place: int) -> bytes:
        if not self._layout.is_big and place > LARGEST:
            raise ValueError("it would be larger than 4 gigabytes, which a classic TIFF cannot be")
        return self._layout.place.pack(place)

    def _places(self, tag: int, places: list[int]) -> _Field:
        if not self._layout.is_big and max(places) > LARGEST:
            raise ValueError("it would be larger than 4 gigabytes, which a classic TIFF cannot be")
        size, kind = (8, _LONG8) if self._layout.is_big else (4, _LONG)
        return _Field(tag, kind, self._packed(places, size))

    def _packed(self, numbers: list[int], size: int) -> bytes:
        return np.array(numbers, f"{self._layout.order}u{size}").tobytes()

    def _turned(self, field: _Field, layout: Layout) -> _Field:
        """The field in the byte order of what is written."""
        if layout.order == self._layout.order:
            return field
        if not isinstance(field.contents, bytes):
            return _Field(field.tag, field.kind, tuple(self._turned(f, layout) for f in field.contents))
        numbers = np.frombuffer(field.contents, f"u{_NUMBERS[field.kind]}")
        return _Field(field.tag, field.kind, numbers.byteswap().tobytes())

    def _kept(self, field: _Field) -> _Field:
        """Long values are held once, however many pages have them."""
        if not isinstance(field.contents, bytes):
            return field
        return self._known.setdefault((field.tag, field.kind, field.contents), field)


def _numbers(field: _Field, layout: Layout) -> list[int]:
    assert isinstance(field.contents, bytes)
    return [int(n) for n in np.frombuffer(field.contents, f"{layout.order}u{_SIZES[field.kind]}")]


def in_layout(page: bytes, layout: Layout) -> bytes:
    """The only page of a TIFF of bytes, written in another layout."""
    stream = io.BytesIO()
    pages = Pages(stream, layout)
    pages.append(page)
    pages.close()
    return stream.getvalue()
