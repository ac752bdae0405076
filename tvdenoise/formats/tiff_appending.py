"""Writing a TIFF of many pages, one by one: all pixels first, in one block where they are not compressed, as ImageJ
wants them, and then the directories."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import BinaryIO

import numpy as np

from tvdenoise.formats.tiff_directories import Layout
from tvdenoise.formats.tiff_encoding import LARGEST
from tvdenoise.formats.tiff_fields import SIZES, Field, byteswapped, fields_of, numbers_of

_OFFSETS, _LENGTHS = 273, 279
_LONG, _LONG8 = 4, 16


class Pages:
    """Appends pages to an empty stream that can be sought; they count once it is closed.

    layout: of what is written; has_one_directory: the first page stands for all, whose pixels follow its own, without
    end: so ImageJ writes more than 4 gigabytes.
    Raises ValueError where another classic TIFF would grow beyond 4 gigabytes.
    """

    def __init__(self, stream: BinaryIO, layout: Layout, *, has_one_directory: bool = False) -> None:
        self._has_one_directory = has_one_directory
        self._stream = stream
        self._layout = layout
        self._pages: list[tuple[Field, ...]] = []
        self._known: dict[tuple[int, int, bytes], Field] = {}
        start = (b"II" if layout.order == "<" else b"MM") + (43 if layout.is_big else 42).to_bytes(
            2, "little" if layout.order == "<" else "big"
        )
        stream.write(start + (self._packed([8, 0], 2) if layout.is_big else b"") + bytes(layout.place.size))

    def append(self, page: bytes, added: tuple[Field, ...] = ()) -> None:
        """The only page of a TIFF, in strips; numbers of more than a byte have this one's order in its pixels.

        added: further fields, little-endian, in the place of those of the same tags.
        """
        stored, layout = fields_of(page)
        given = {field.tag: field for field in stored}
        offsets, lengths = (
            numbers_of(given[tag], layout) if tag in given else [] for tag in (_OFFSETS, _LENGTHS)
        )
        replaced = {field.tag for field in added}
        kept = [field for field in stored if field.tag not in replaced]  # some of them several times
        both = (*self._turned(kept, layout.order), *self._turned(added, "<"))
        turned = tuple(sorted(both, key=lambda field: field.tag))
        if self._has_one_directory and not self._pages:
            self._lead(turned, lengths)
        places = []
        for offset, length in zip(offsets, lengths, strict=True):
            places.append(self._stream.tell())
            self._stream.write(memoryview(page)[offset : offset + length])
        if not (self._has_one_directory and self._pages):
            self._pages.append(tuple(map(self._kept, self._placed(turned, places, lengths))))

    def close(self) -> None:
        """Write the directories, and in the header where they begin."""
        link = self._layout.first_link
        for fields in () if self._has_one_directory else self._pages:
            link = self._write_directory(fields, link)

    def _lead(self, fields: tuple[Field, ...], lengths: list[int]) -> None:
        """Write the directory that stands for all before their pixels."""
        start, places = self._stream.tell(), [0] * len(lengths)
        for _ in range(2):  # the second time with the places that the first one has shown
            self._stream.seek(start)
            self._write_directory(self._placed(fields, places, lengths), self._layout.first_link)
            places = [self._aligned() + sum(lengths[:number]) for number in range(len(lengths))]

    def _placed(self, fields: tuple[Field, ...], places: list[int], lengths: list[int]) -> tuple[Field, ...]:
        """The fields, with where the pixels lie in what is written."""
        placed = {tag: self._places(tag, of) for tag, of in ((_OFFSETS, places), (_LENGTHS, lengths))}
        return tuple(placed.get(field.tag, field) for field in fields)

    def _write_directory(self, fields: tuple[Field, ...], link: int) -> int:
        """Also where it begins, at a link; where the next one is to be linked from."""
        written = self._packed_fields(fields)
        start = self._aligned()
        self._stream.write(written + bytes(self._layout.place.size))
        end = self._stream.tell()
        if not self._layout.is_big and end > LARGEST:
            raise ValueError("it would be larger than 4 gigabytes, which a classic TIFF cannot be")
        self._stream.seek(link)
        self._stream.write(self._layout.place.pack(start))
        self._stream.seek(end)
        return end - self._layout.place.size

    def _packed_fields(self, fields: tuple[Field, ...]) -> bytes:
        """A directory without the place of the next one; what does not fit into it is written before."""
        layout = self._layout
        packed = [layout.count.pack(len(fields))]
        for field in fields:
            if isinstance(field.contents, bytes):
                contents, count = field.contents, len(field.contents) // SIZES[field.kind]
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

    def _places(self, tag: int, places: list[int]) -> Field:
        if not self._layout.is_big and max(places, default=0) > LARGEST:
            raise ValueError("it would be larger than 4 gigabytes, which a classic TIFF cannot be")
        size, kind = (8, _LONG8) if self._layout.is_big else (4, _LONG)
        return Field(tag, kind, self._packed(places, size))

    def _packed(self, numbers: list[int], size: int) -> bytes:
        return np.array(numbers, f"{self._layout.order}u{size}").tobytes()

    def _turned(self, fields: Iterable[Field], order: str) -> Iterable[Field]:
        """Fields of a byte order in that of what is written."""
        return fields if order == self._layout.order else map(byteswapped, fields)

    def _kept(self, field: Field) -> Field:
        """Long values are held once, however many pages have them."""
        if not isinstance(field.contents, bytes):
            return field
        return self._known.setdefault((field.tag, field.kind, field.contents), field)


def in_layout(page: bytes, layout: Layout, added: tuple[Field, ...] = ()) -> bytes:
    """The only page of a TIFF of bytes, or of nothing but tags, in another layout; added: see `Pages.append`."""
    stream = io.BytesIO()
    pages = Pages(stream, layout)
    pages.append(page, added)
    pages.close()
    return stream.getvalue()
