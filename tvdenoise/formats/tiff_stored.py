"""Fields of a TIFF, or of a block of EXIF data, taken as they are stored, to be written so again.

Pillow makes bytes of what has no type (maker notes, comments), question marks of letters beyond ASCII, and a link to
nowhere of the directory of interoperability.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO

from tvdenoise.formats.tiff_directories import Layout, layout_of
from tvdenoise.formats.tiff_fields import DIRECTORIES, SIZES, Field, byteswapped

_MOST_FIELDS = 1000
_LONG = 4
_LINKS = {4: "I", 13: "I", 16: "Q", 18: "Q"}  # types of a place in the file
_NOT_CARRIED = frozenset({13, 16, 17, 18})  # places, which become untrue, and what only a BigTIFF knows


def fields_in(stream: BinaryIO, is_wanted: Callable[[int], bool]) -> tuple[Field, ...]:
    """Those of the first directory that are wanted by their tags, little-endian; what is malformed is left out."""
    layout = layout_of(stream)
    if layout is None:
        return ()
    stream.seek(layout.first_link)
    try:
        (place,) = layout.place.unpack(stream.read(layout.place.size))
    except struct.error:
        return ()
    return tuple(_Reader(stream, layout).fields(place, is_wanted))


class _Reader:
    """Reads no more bytes of values than there are in the stream, however often fields point at the same ones."""

    def __init__(self, stream: BinaryIO, layout: Layout) -> None:
        self._stream = stream
        self._layout = layout
        self._length = self._left = stream.seek(0, os.SEEK_END)
        self._seen: set[int] = set()

    def fields(self, place: int, is_wanted: Callable[[int], bool] | None = None) -> Iterator[Field]:
        if place in self._seen or place >= self._length:
            return
        self._seen.add(place)
        known = set()
        for tag, kind, count, inline in self._entries(place):
            if tag in known or (is_wanted is not None and not is_wanted(tag)):
                continue
            if (field := self._field(tag, kind, count, inline)) is not None:
                known.add(tag)
                yield field

    def _entries(self, place: int) -> Iterator[tuple[int, int, int, bytes]]:
        layout = self._layout
        self._stream.seek(place)
        number = self._stream.read(layout.count.size)
        if len(number) == layout.count.size:
            count = min(layout.count.unpack(number)[0], _MOST_FIELDS)
            contents = self._stream.read(count * layout.entry.size)
            whole = len(contents) - len(contents) % layout.entry.size
            yield from layout.entry.iter_unpack(contents[:whole])

    def _field(self, tag: int, kind: int, count: int, inline: bytes) -> Field | None:
        if tag in DIRECTORIES:
            link = struct.Struct(self._layout.order + _LINKS.get(kind, "Q"))
            if kind not in _LINKS or count != 1 or link.size > len(inline):
                return None
            (place,) = link.unpack_from(inline)
            fields = tuple(self.fields(place))
            return Field(tag, _LONG, fields) if fields else None
        length = SIZES.get(kind, 0) * count
        if kind not in SIZES or kind in _NOT_CARRIED or length > self._left:
            return None
        self._left -= length
        if length > len(inline):
            self._stream.seek(self._layout.place.unpack(inline)[0])
            inline = self._stream.read(length)
        if len(inline) < length:
            return None
        field = Field(tag, kind, inline[:length])
        return field if self._layout.order == "<" else byteswapped(field)
