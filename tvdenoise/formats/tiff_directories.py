"""The directories of a TIFF, one for each page, walked without reading more of them than says what they are."""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from tvdenoise.errors import UnreadableImageError
from tvdenoise.formats.family import most_pieces, too_many

REMEDY = "use an undamaged copy"
#: The most smaller copies (overviews) for each page; each has half the side of the one before.
MOST_OVERVIEWS = 32
_MOST_TAGS = 1000
_CLASSIC, _BIG = 42, 43  # versions
_HEADER_LENGTHS = {_CLASSIC: 8, _BIG: 16}
_TEXT = 2  # a type
_INTEGERS = {1: "B", 3: "H", 4: "I", 16: "Q"}
_NEW_SUBFILE_TYPE, _SUBFILE_TYPE = 254, 255
_REDUCED, _MASK = 1, 4  # bits of the newer type
_OLD_REDUCED = 2  # the older one
_ORIENTATION, _ON_THEIR_SIDE = 274, (5, 6, 7, 8)
#: What says whether two pages are of one shape and kind: sides, bits, colours, channels, types.
_FORM = (256, 257, 258, 262, 277, 338, 339)


@dataclass(frozen=True)
class Layout:
    """How numbers are stored: in a plain TIFF, or in a BigTIFF."""

    order: str
    is_big: bool

    @property
    def count(self) -> struct.Struct:
        return struct.Struct(self.order + ("Q" if self.is_big else "H"))

    @property
    def entry(self) -> struct.Struct:
        return struct.Struct(self.order + ("HHQ8s" if self.is_big else "HHI4s"))

    @property
    def place(self) -> struct.Struct:
        return struct.Struct(self.order + ("Q" if self.is_big else "I"))

    @property
    def first_link(self) -> int:
        """Where the header says where the first directory lies."""
        return 8 if self.is_big else 4


@dataclass(frozen=True)
class Entry:
    """count: of values; first: the first one, where it is an integer that the entry itself holds, else 0."""

    count: int
    first: int


@dataclass(frozen=True)
class Directory:
    """place: in the file; link: where the place of the next one is written."""

    place: int
    link: int
    entries: Mapping[int, Entry]

    def first(self, tag: int) -> int:
        """The first value of a tag; 0 where it is missing or elsewhere."""
        return self.entries[tag].first if tag in self.entries else 0

    @property
    def is_overview(self) -> bool:
        return bool(self.first(_NEW_SUBFILE_TYPE) & _REDUCED) or self.first(_SUBFILE_TYPE) == _OLD_REDUCED

    @property
    def is_mask(self) -> bool:
        return bool(self.first(_NEW_SUBFILE_TYPE) & _MASK)

    @property
    def form(self) -> tuple[tuple[int, int], ...]:
        """Equal for pages of one shape, as they are shown, and kind."""
        columns, rows, *others = (self.entries.get(tag, Entry(0, 0)) for tag in _FORM)
        sides = (rows, columns) if self.first(_ORIENTATION) in _ON_THEIR_SIDE else (columns, rows)
        return tuple((entry.count, entry.first) for entry in (*sides, *others))


def layout_of(stream: BinaryIO) -> Layout | None:
    """The layout of a TIFF; None for other files."""
    stream.seek(0)
    header = stream.read(_HEADER_LENGTHS[_BIG])
    order = {b"II": "<", b"MM": ">"}.get(header[:2])
    if order is None or len(header) < _HEADER_LENGTHS[_CLASSIC]:
        return None
    (version,) = struct.unpack(order + "H", header[2:4])
    is_whole = len(header) >= _HEADER_LENGTHS.get(version, math.inf)
    return Layout(order, version == _BIG) if is_whole else None


def directories(stream: BinaryIO) -> Iterator[Directory]:
    """The directories of a TIFF; nothing where it is none.

    Raises UnreadableImageError where they run in a circle or out of the file, and UnsupportedImageError for more than
    the length of the file explains.
    """
    if (layout := layout_of(stream)) is None:
        return
    most, length = most_pieces(stream), stream.seek(0, os.SEEK_END)
    stream.seek(layout.first_link)
    (place,) = layout.place.unpack(stream.read(layout.place.size))
    seen: set[int] = set()
    pages = 1
    while place:
        if place in seen:
            raise UnreadableImageError("the file is damaged (its directories run in a circle)", REMEDY)
        if place >= length:
            raise _truncated()
        seen.add(place)
        directory, following = _directory_at(place, stream, layout)
        pages += not directory.is_overview
        if len(seen) > min(most, (MOST_OVERVIEWS + 1) * pages):
            raise too_many(len(seen) - 1, "pages or overviews")
        yield directory
        place = following


def texts_in(stream: BinaryIO, tag: int) -> tuple[bytes, ...]:
    """The texts of a tag in the first directory of a TIFF, as stored; some programs write several descriptions."""
    layout = layout_of(stream)
    assert layout is not None
    stream.seek(layout.first_link)
    (place,) = layout.place.unpack(stream.read(layout.place.size))
    stream.seek(place)
    (count,) = layout.count.unpack(stream.read(layout.count.size))
    contents = stream.read(min(count, _MOST_TAGS) * layout.entry.size)
    texts = []
    for number, kind, length, value in layout.entry.iter_unpack(contents):
        if (number, kind) == (tag, _TEXT):
            if length > len(value):
                stream.seek(layout.place.unpack(value)[0])
                value = stream.read(length)  # noqa: PLW2901
            texts.append(value[:length])
    return tuple(texts)


def _truncated() -> UnreadableImageError:
    return UnreadableImageError("the file is truncated", "use a complete copy")


def _directory_at(place: int, stream: BinaryIO, layout: Layout) -> tuple[Directory, int]:
    """A directory and the place of the next one. Raises UnreadableImageError where the file ends before."""
    stream.seek(place)
    number = stream.read(layout.count.size)
    if len(number) < layout.count.size:
        raise _truncated()
    (count,) = layout.count.unpack(number)
    if count > _MOST_TAGS:
        raise too_many(_MOST_TAGS, "tags in a directory")
    contents = stream.read(count * layout.entry.size)
    link = place + layout.count.size + count * layout.entry.size
    following = stream.read(layout.place.size)
    if len(following) < layout.place.size:
        raise _truncated()
    return Directory(place, link, _entries(contents, layout)), layout.place.unpack(following)[0]


def _entries(contents: bytes, layout: Layout) -> dict[int, Entry]:
    entries: dict[int, Entry] = {}
    whole = len(contents) - len(contents) % layout.entry.size
    for tag, kind, count, value in layout.entry.iter_unpack(contents[:whole]):
        form = _INTEGERS.get(kind)
        number = struct.Struct(layout.order + form) if form else None
        is_inside = number is not None and number.size * count <= len(value)
        first = number.unpack_from(value)[0] if number is not None and is_inside else 0
        entries.setdefault(tag, Entry(count, first))
    return entries
