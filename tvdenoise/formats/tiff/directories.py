"""Directories of a TIFF: screening, reading their fields byte for byte, and the tags that describe the image.

Files are screened before tifffile or Pillow opens them: neither limits the number of directories, tags or segments, or
the size of tiles. Fields are read as stored, since tifffile converts the EXIF, GPS and interoperability directories to
values (and refuses to write them), and Pillow changes the type of undefined values (maker notes, comments), replaces
letters beyond ASCII by question marks, and leaves a dangling link to the interoperability directory.
"""

from __future__ import annotations

import math
import os
import struct
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from io import BytesIO
from typing import BinaryIO, Literal

import numpy as np
from PIL import Image, TiffTags
from PIL.TiffImagePlugin import (
    ARTIST,
    COPYRIGHT,
    DATE_TIME,
    EXIFIFD,
    ICCPROFILE,
    IMAGEDESCRIPTION,
    PHOTOSHOP_CHUNK,
    RESOLUTION_UNIT,
    SOFTWARE,
    X_RESOLUTION,
    XMP,
    Y_RESOLUTION,
)

from tvdenoise.errors import UnreadableImageError, UnsupportedImageError
from tvdenoise.files.decoded import StoredTag
from tvdenoise.formats.family import chunk_limit, too_many

REMEDY = "use an undamaged copy"
#: Links to EXIF, GPS and (within EXIF) interoperability directories.
DIRECTORIES = (34665, 34853, 40965)
ASCII, SHORT, LONG, RATIONAL, LONG8 = 2, 3, 4, 5, 16  # types
#: Bytes per value of each type.
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
_IPTC = 33723  # bytes, often stored as LONG
_MOST_OVERVIEWS = 32  # per page; each has half the side of the one before
_MOST_TAGS = 1000
_SEGMENTS_ALWAYS_ALLOWED = 100_000
_SMALL_TILE = 1 << 22  # pixels
_CLASSIC, _BIG = 42, 43  # versions
_INTEGERS = {1: 1, SHORT: 2, LONG: 4, LONG8: 8}
_LINKS = {LONG: "I", 13: "I", LONG8: "Q", 18: "Q"}  # types of file offsets
_WHOLE = {SHORT: "H", **_LINKS}
_NOT_CARRIED = frozenset({13, 16, 17, 18})  # file offsets, which become invalid, and BigTIFF types
NEW_SUBFILE_TYPE, _SUBFILE_TYPE, _SUB_DIRECTORIES = 254, 255, 330
REDUCED, _MASK = 1, 4  # bits of NewSubfileType
_OLD_REDUCED = 2  # value of SubfileType
_ORIENTATION, _ON_THEIR_SIDE = 274, (5, 6, 7, 8)
_WIDTH, _LENGTH, _STRIPS, _TILE_WIDTH, _TILE_LENGTH, _TILES, _DEPTH = 256, 257, 273, 322, 323, 324, 32997
#: Tags that are equal for pages of one shape and kind: sides, bits, colours, channels, types.
_FORM = (_WIDTH, _LENGTH, 258, 262, 277, 338, 339)


@dataclass(frozen=True)
class TiffLayout:
    """Byte order, and whether the file is a BigTIFF; with the structs of its numbers."""

    order: Literal["<", ">"]
    is_big: bool

    @cached_property
    def count(self) -> struct.Struct:
        return struct.Struct(self.order + ("Q" if self.is_big else "H"))

    @cached_property
    def entry(self) -> struct.Struct:
        return struct.Struct(self.order + ("HHQ8s" if self.is_big else "HHI4s"))

    @cached_property
    def place(self) -> struct.Struct:
        return struct.Struct(self.order + ("Q" if self.is_big else "I"))

    @property
    def first_link(self) -> int:
        """Offset in the header of the first directory's offset."""
        return 8 if self.is_big else 4

    @property
    def header(self) -> bytes:
        """The beginning of a file, up to `first_link`."""
        start = (b"II" if self.order == "<" else b"MM") + struct.pack(
            self.order + "H", _BIG if self.is_big else _CLASSIC
        )
        return start + (struct.pack(self.order + "HH", 8, 0) if self.is_big else b"")


@dataclass(frozen=True)
class Field:
    """A tag: its type, and its values in little-endian order or, for EXIF and GPS, the fields of a directory."""

    tag: int
    kind: int
    contents: bytes | tuple[Field, ...]

    @property
    def text(self) -> str:
        assert isinstance(self.contents, bytes)
        return self.contents.removesuffix(b"\0").decode("latin-1")

    def packed(self, order: str) -> bytes:
        """Return the values in a byte order."""
        assert isinstance(self.contents, bytes)
        if order == "<" or self.tag == _IPTC:
            return self.contents
        size = 4 if self.kind in (RATIONAL, 10) else SIZES[self.kind]
        return np.frombuffer(self.contents, f"u{size}").byteswap().tobytes()


@dataclass(frozen=True)
class Entry:
    """count: of values; first: the first value if it is an integer stored in the entry itself, else 0."""

    count: int
    first: int


@dataclass(frozen=True)
class Directory:
    """place: its offset; link: the offset, after its tags, of the link to the next directory."""

    place: int
    link: int
    entries: Mapping[int, Entry]

    def first(self, tag: int) -> int:
        """Return the first value of a tag; 0 if the tag is missing or the value is not stored in the entry."""
        return self.entries[tag].first if tag in self.entries else 0

    @property
    def is_overview(self) -> bool:
        return bool(self.first(NEW_SUBFILE_TYPE) & REDUCED) or self.first(_SUBFILE_TYPE) == _OLD_REDUCED

    @property
    def is_mask(self) -> bool:
        return bool(self.first(NEW_SUBFILE_TYPE) & _MASK)

    @property
    def form(self) -> tuple[tuple[int, int], ...]:
        """A key that is equal for pages of one displayed shape and kind."""
        columns, rows, *others = (self.entries.get(tag, Entry(0, 0)) for tag in _FORM)
        sides = (rows, columns) if self.first(_ORIENTATION) in _ON_THEIR_SIDE else (columns, rows)
        return tuple((entry.count, entry.first) for entry in (*sides, *others))

    @property
    def sides(self) -> tuple[int, int]:
        """Rows and columns as displayed."""
        sides = self.first(_LENGTH), self.first(_WIDTH)
        return sides[::-1] if self.first(_ORIENTATION) in _ON_THEIR_SIDE else sides

    def shows(self, page: Directory) -> bool:
        """Return whether it has the extent of a page, but for rounded sides, and fewer pixels."""
        (rows, columns), (all_rows, all_columns) = self.sides, page.sides
        if not (0 < rows <= all_rows and 0 < columns <= all_columns and (rows, columns) != page.sides):
            return False
        return abs(columns * all_rows - rows * all_columns) <= all_rows + all_columns

    @property
    def tile(self) -> tuple[int, int] | None:
        """Rows and columns of its tiles as displayed; None for strips."""
        tile = self.first(_TILE_LENGTH), self.first(_TILE_WIDTH)
        if not all(tile):
            return None
        return tile[::-1] if self.first(_ORIENTATION) in _ON_THEIR_SIDE else tile


def layout_of(stream: BinaryIO) -> TiffLayout | None:
    """Return the layout of a TIFF; None for other files."""
    stream.seek(0)
    header = stream.read(16)
    if header[:2] not in (b"II", b"MM") or len(header) < 8:
        return None
    order: Literal["<", ">"] = "<" if header.startswith(b"II") else ">"
    (version,) = struct.unpack(order + "H", header[2:4])
    is_whole = len(header) >= {_CLASSIC: 8, _BIG: 16}.get(version, math.inf)
    return TiffLayout(order, version == _BIG) if is_whole else None


def directories(stream: BinaryIO) -> Iterator[Directory]:
    """Yield the directories of a TIFF; none for other files.

    Raises UnreadableImageError for circular or truncated directories, and UnsupportedImageError for more than the
    file's length explains.
    """
    if (layout := layout_of(stream)) is None:
        return
    most, length = chunk_limit(stream), stream.seek(0, os.SEEK_END)
    stream.seek(layout.first_link)
    (place,) = layout.place.unpack(stream.read(layout.place.size))
    seen: set[int] = set()
    pages = 1
    while place:
        if place in seen:
            raise UnreadableImageError("the file is damaged (its directories form a loop)", REMEDY)
        if place >= length:
            raise truncated()
        seen.add(place)
        directory, following = _directory_at(place, stream, layout)
        pages += not directory.is_overview
        if len(seen) > min(most, (_MOST_OVERVIEWS + 1) * pages):
            raise too_many(len(seen) - 1, "pages or overviews")
        yield directory
        place = following


def numbers_in(stream: BinaryIO, directory: Directory, tag: int, most: int) -> tuple[int, ...]:
    """Return the first ``most`` whole numbers of a tag; none if it is missing, malformed or truncated."""
    layout, length = layout_of(stream), stream.seek(0, os.SEEK_END)
    assert layout is not None
    start = directory.place + layout.count.size
    stream.seek(start)
    for number, kind, count, inline in layout.entry.iter_unpack(stream.read(directory.link - start)):
        if number != tag or kind not in _WHOLE:
            continue
        size, values = struct.calcsize("=" + _WHOLE[kind]), inline
        if size * count > len(inline):
            stream.seek(min(length, layout.place.unpack(inline)[0]))
            values = stream.read(size * min(count, most))
        whole = min(count, most, len(values) // size)
        return struct.unpack_from(f"{layout.order}{whole}{_WHOLE[kind]}", values)
    return ()


def sub_directories(stream: BinaryIO, directory: Directory) -> tuple[list[Directory], bool]:
    """Return the directories below a directory (SubIFDs), and whether some are damaged or too many."""
    layout, length = layout_of(stream), stream.seek(0, os.SEEK_END)
    assert layout is not None
    found, is_whole = [], True
    for place in numbers_in(stream, directory, _SUB_DIRECTORIES, _MOST_OVERVIEWS):
        try:
            found.append(_directory_at(min(place, length), stream, layout)[0])
        except (UnreadableImageError, UnsupportedImageError):
            is_whole = False
    stated = directory.entries.get(_SUB_DIRECTORIES, Entry(0, 0)).count
    return found, not is_whole or len(found) < stated


def truncated() -> UnreadableImageError:
    return UnreadableImageError("the file is truncated", "use a complete copy")


def _directory_at(place: int, stream: BinaryIO, layout: TiffLayout) -> tuple[Directory, int]:
    """Return a directory and the offset of the next one. Raises UnreadableImageError if truncated."""
    stream.seek(place)
    number = stream.read(layout.count.size)
    if len(number) < layout.count.size:
        raise truncated()
    (count,) = layout.count.unpack(number)
    if count > _MOST_TAGS:
        raise too_many(_MOST_TAGS, "tags in a directory")
    contents = stream.read(count * layout.entry.size)
    link = place + layout.count.size + count * layout.entry.size
    following = stream.read(layout.place.size)
    if len(following) < layout.place.size:
        raise truncated()
    return Directory(place, link, _entries(contents, layout)), layout.place.unpack(following)[0]


def _entries(contents: bytes, layout: TiffLayout) -> dict[int, Entry]:
    entries: dict[int, Entry] = {}
    order: Literal["little", "big"] = "little" if layout.order == "<" else "big"
    for tag, kind, count, value in layout.entry.iter_unpack(contents):
        size = _INTEGERS.get(kind, 0)
        first = int.from_bytes(value[:size], order) if size * count <= len(value) else 0
        entries.setdefault(tag, Entry(count, first))
    return entries


def screen(stream: BinaryIO) -> None:
    """Raise UnsupportedImageError or UnreadableImageError for a TIFF that costs far more to decode than its pixels.

    Also refuses pages of several planes, of which Pillow would read only the first.
    """
    most_segments = chunk_limit(stream, _SEGMENTS_ALWAYS_ALLOWED)
    most, below = chunk_limit(stream), 0
    for found in directories(stream):
        below += found.entries[_SUB_DIRECTORIES].count if _SUB_DIRECTORIES in found.entries else 0
        if below > most:
            raise too_many(most, "overviews")
        for tag in (_STRIPS, _TILES):
            if tag in found.entries and found.entries[tag].count > most_segments:
                raise too_many(most_segments, "strips or tiles")
        tile = found.first(_TILE_WIDTH) * found.first(_TILE_LENGTH)  # always decoded whole
        if tile > max(4 * found.first(_WIDTH) * found.first(_LENGTH), _SMALL_TILE):
            raise UnreadableImageError("the file is damaged (its tiles are larger than the image)", REMEDY)
        if _TILES in found.entries and not tile:
            raise UnreadableImageError("the file is damaged (a side of its tiles is zero)", REMEDY)
        if found.first(_DEPTH) > 1:
            raise UnsupportedImageError(
                f"it has {found.first(_DEPTH)} planes in one page, which is not supported",
                "save each plane as a page of its own",
            )


def fields_in(
    stream: BinaryIO, is_wanted: Callable[[int], bool], *, repeated: bool = False
) -> tuple[Field, ...]:
    """Return the wanted fields of the first directory of a TIFF or of a block of EXIF data.

    Skips malformed fields. repeated: return all fields of a tag, not only the first.
    """
    layout = layout_of(stream)
    if layout is None:
        return ()
    stream.seek(layout.first_link)
    (place,) = layout.place.unpack(stream.read(layout.place.size))
    return tuple(_Reader(stream, layout).fields(place, is_wanted, repeated=repeated))


class _Reader:
    """Reads fields, and at most as many bytes of values as the stream has, even if fields share them."""

    def __init__(self, stream: BinaryIO, layout: TiffLayout) -> None:
        self._stream = stream
        self._layout = layout
        self._length = self._left = stream.seek(0, os.SEEK_END)
        self._seen: set[int] = set()

    def fields(
        self, place: int, is_wanted: Callable[[int], bool] | None = None, *, repeated: bool = False
    ) -> Iterator[Field]:
        if place in self._seen or place >= self._length:
            return
        self._seen.add(place)
        known = set()
        for tag, kind, count, inline in self._entries(place):
            if (tag in known and not repeated) or (is_wanted is not None and not is_wanted(tag)):
                continue
            if (field := self._field(tag, kind, count, inline)) is not None:
                known.add(tag)
                yield field

    def _entries(self, place: int) -> Iterator[tuple[int, int, int, bytes]]:
        layout = self._layout
        self._stream.seek(place)
        number = self._stream.read(layout.count.size)
        if len(number) == layout.count.size:
            count = min(layout.count.unpack(number)[0], _MOST_TAGS)
            contents = self._stream.read(count * layout.entry.size)
            whole = len(contents) - len(contents) % layout.entry.size
            yield from layout.entry.iter_unpack(contents[:whole])

    def _field(self, tag: int, kind: int, count: int, inline: bytes) -> Field | None:
        if tag in DIRECTORIES:
            link = struct.Struct(self._layout.order + _LINKS.get(kind, "Q"))
            if kind not in _LINKS or count != 1 or link.size > len(inline):
                return None
            fields = tuple(self.fields(*link.unpack_from(inline)))
            return Field(tag, LONG, fields) if fields else None
        length = SIZES.get(kind, 0) * count
        if kind not in SIZES or kind in _NOT_CARRIED or length > self._left:
            return None
        self._left -= length
        if length > len(inline):
            self._stream.seek(self._layout.place.unpack(inline)[0])
            inline = self._stream.read(length)
        if len(inline) < length:
            return None
        return Field(tag, kind, Field(tag, kind, inline[:length]).packed(self._layout.order))


ORIENTATION = 274
_SIDES = 40962, 40963  # columns and rows in EXIF data
_DOCUMENT_NAME, _MAKE, _MODEL, _PAGE_NAME, _HOST, _IPTC = 269, 271, 272, 285, 316, 33723
_BYTES, _NUMBERS = frozenset({1, 2, 7}), frozenset({3, 4, 5, 8, 9, 10, 11, 12})  # types
_TEXTS = (
    *(_DOCUMENT_NAME, IMAGEDESCRIPTION, _MAKE, _MODEL, _PAGE_NAME, SOFTWARE, DATE_TIME, ARTIST, _HOST),
    *(COPYRIGHT, PHOTOSHOP_CHUNK),
)
_OF_NUMBERS = (ORIENTATION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT)
#: Tags that other formats store in EXIF data.
_DESCRIPTIVE = frozenset({*_TEXTS, *_OF_NUMBERS, _IPTC, *DIRECTORIES})
_BESIDE = frozenset({XMP, ICCPROFILE})  # read by Pillow
# Storage of the pixels (which the writer decides anew), and statistics of them.
_STRUCTURAL = frozenset(
    {
        *(*range(254, 260), *range(262, 267), 273, *range(277, 282), 284, *range(288, 294)),
        *(317, *range(320, 326), 332, *range(338, 343), 347, *range(512, 522), *range(529, 533), 559),
        *range(32995, 32999),
    }
)
# Invalid after denoising: previews, layers, and file offsets (including those of MetaMorph and Zeiss LSM).
_STALE = frozenset({330, 37724, *range(33628, 33632), 34412})
MALFORMED = (
    *(OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, OverflowError),
    *(AttributeError, RuntimeError, struct.error),
)

#: By number.
Tags = Mapping[int, Field]


def tags_in(
    stream: BinaryIO, directory: Directory
) -> tuple[dict[int, Field], dict[int, StoredTag], list[int]]:
    """Read the first directory of a TIFF: the tags that describe the image, the other tags, and the numbers of the tags
    that are left out, because their type is wrong or they would be invalid in the written file."""
    found = {field.tag: field for field in fields_in(stream, _is_kept) if _has_right_type(field)}
    described = {tag: field for tag, field in found.items() if tag in _DESCRIPTIVE}
    further = {tag: stored(field) for tag, field in found.items() if tag not in _DESCRIPTIVE}
    silent = _STRUCTURAL | _BESIDE | {*DIRECTORIES}
    present = {tag for tag, entry in directory.entries.items() if entry.count} - silent
    return described, further, sorted(present - set(found))


def tags_of_exif(contents: bytes | None) -> dict[int, Field]:
    """Read all tags of a block of EXIF data except structural ones; none if it is malformed."""
    fields = fields_in(BytesIO(contents or b""), _is_kept)
    return {field.tag: field for field in fields if _has_right_type(field)}


def _is_kept(tag: int) -> bool:
    return tag not in _STRUCTURAL | _STALE | _BESIDE


def _has_right_type(field: Field) -> bool:
    right = _BYTES if field.tag in _TEXTS else _NUMBERS if field.tag in _OF_NUMBERS else {field.kind}
    return field.kind in right and bool(field.contents)


def stored(field: Field) -> StoredTag:
    assert isinstance(field.contents, bytes)
    return field.kind, field.contents


def orientation_of(contents: bytes | None) -> int:
    """Return the orientation in a block of EXIF data, from 1 (upright) to 8; 1 if it is missing or malformed."""
    exif = Image.Exif()
    with warnings.catch_warnings(), suppress(*MALFORMED):
        warnings.simplefilter("ignore")
        exif.load(contents or b"")
        return int(exif[ORIENTATION]) if exif.get(ORIENTATION) in range(2, 9) else 1
    return 1


def with_sides_exchanged(tags: Tags) -> dict[int, Field]:
    """Return the tags of an image after a quarter turn, with the values for columns and rows swapped."""
    exchanged = _exchanged(tags, X_RESOLUTION, Y_RESOLUTION)
    if EXIFIFD in exchanged and isinstance(inside := exchanged[EXIFIFD].contents, tuple):
        fields = _exchanged({field.tag: field for field in inside}, *_SIDES)
        contents = tuple(fields[tag] for tag in sorted(fields))
        exchanged[EXIFIFD] = replace(exchanged[EXIFIFD], contents=contents)
    return exchanged


def _exchanged(tags: Tags, first: int, second: int) -> dict[int, Field]:
    names = {first: second, second: first}
    renamed = (replace(field, tag=names.get(tag, tag)) for tag, field in tags.items())
    return {field.tag: field for field in renamed}


def notes_of_lost(tags: Iterable[int]) -> tuple[str, ...]:
    """Return a note that names the tags, if there are any."""
    names = [
        f"{tag} ({name})" if (name := TiffTags.lookup(tag).name) != "unknown" else str(tag) for tag in tags
    ]
    return (f"its TIFF tags {', '.join(names)} are dropped",) if names else ()
