"""What is refused of a TIFF before Pillow sees it: directories, segments and tiles beyond all measure."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from tvdenoise.errors import UnreadableImageError
from tvdenoise.files.pieces import most_pieces, too_many

#: The most smaller copies (overviews) beside a picture; each has half the side of the one before.
MOST_OVERVIEWS = 32
_REMEDY = "use an undamaged copy"
_MOST_TAGS = 1000
_SEGMENTS_ALWAYS_ALLOWED = 100_000
_SMALL_TILE = 1 << 22  # pixels
_WIDTH, _LENGTH, _STRIPS, _TILE_WIDTH, _TILE_LENGTH, _TILES = 256, 257, 273, 322, 323, 324
_INTEGERS = {1: "B", 3: "H", 4: "I", 16: "Q"}


@dataclass(frozen=True)
class _Layout:
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


@dataclass(frozen=True)
class _Entry:
    """count: of values; first: the first one, where it is an integer that the entry itself holds, else 0."""

    count: int
    first: int


def screen(stream: BinaryIO) -> None:
    """Raise UnsupportedImageError or UnreadableImageError for a TIFF that would cost far more than its pixels."""
    most_segments = most_pieces(stream, _SEGMENTS_ALWAYS_ALLOWED)
    for directory in _directories(stream):
        for tag in (_STRIPS, _TILES):
            if tag in directory and directory[tag].count > most_segments:
                raise too_many(most_segments, "strips or tiles")
        _require_modest_tiles(directory)


def _require_modest_tiles(directory: Mapping[int, _Entry]) -> None:
    """A tile is decoded as a whole, whatever of it lies inside the picture."""
    width, length, tile_width, tile_length = (
        directory[tag].first if tag in directory else 0
        for tag in (_WIDTH, _LENGTH, _TILE_WIDTH, _TILE_LENGTH)
    )
    if tile_width * tile_length > max(4 * width * length, _SMALL_TILE):
        raise UnreadableImageError("the file is damaged (its tiles are larger than the picture)", _REMEDY)
    if _TILES in directory and not tile_width * tile_length:
        raise UnreadableImageError("the file is damaged (a side of its tiles is zero)", _REMEDY)


def _directories(stream: BinaryIO) -> Iterator[dict[int, _Entry]]:
    """The directories of a TIFF, one more than may be overviews at most; nothing where it is none, or breaks off."""
    stream.seek(0)
    header = stream.read(16)
    order = {b"II": "<", b"MM": ">"}.get(header[:2])
    if order is None or len(header) < 16:
        return
    (version,) = struct.unpack(order + "H", header[2:4])
    if version not in (42, 43):
        return
    layout = _Layout(order, version == 43)
    (place,) = layout.place.unpack_from(header, 8 if layout.is_big else 4)
    seen: set[int] = set()
    while place and place < 2**63 and len(seen) <= MOST_OVERVIEWS:
        if place in seen:
            raise UnreadableImageError("the file is damaged (its directories run in a circle)", _REMEDY)
        seen.add(place)
        stream.seek(place)
        number = stream.read(layout.count.size)
        if len(number) < layout.count.size:
            return
        (count,) = layout.count.unpack(number)
        if count > _MOST_TAGS:
            raise too_many(_MOST_TAGS, "tags in a directory")
        contents = stream.read(count * layout.entry.size)
        yield _entries(contents, layout)
        following = stream.read(layout.place.size)
        if len(following) < layout.place.size:
            return
        (place,) = layout.place.unpack(following)


def _entries(contents: bytes, layout: _Layout) -> dict[int, _Entry]:
    entries: dict[int, _Entry] = {}
    whole = len(contents) - len(contents) % layout.entry.size
    for tag, kind, count, value in layout.entry.iter_unpack(contents[:whole]):
        form = _INTEGERS.get(kind)
        number = struct.Struct(layout.order + form) if form else None
        is_inside = number is not None and number.size * count <= len(value)
        first = number.unpack_from(value)[0] if number is not None and is_inside else 0
        entries.setdefault(tag, _Entry(count, first))
    return entries
