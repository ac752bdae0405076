"""The main header of a JPEG 2000 codestream: how its pixels are coded, and its comments (ISO/IEC 15444-1, annex A)."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from tvdenoise.errors import UnreadableImageError
from tvdenoise.files.pieces import most_pieces, too_many

_START, _SIZE, _CODING, _COMMENT, _TILE = 0xFF4F, 0xFF51, 0xFF52, 0xFF64, 0xFF90
_FIRST_COMPONENT, _TRANSFORM = 36, 9  # positions in the contents of their segments
_REVERSIBLE = 1
_SIGNED = 0x80
_SEGMENT_START, _TILE_HEADER = struct.Struct(">HH"), struct.Struct(">HHHI")
_TILE_PARTS_ALWAYS_ALLOWED = 100_000
_LATIN = b"\0\1"  # says that a comment is text


@dataclass(frozen=True)
class Codestream:
    """size: columns and rows; bits: of each component; signed, subsampled: whether any is; reversible: lossless.

    comments: each with the two bytes that say whether it is text; tiles: of how many the picture is made.
    """

    size: tuple[int, int]
    bits: tuple[int, ...]
    signed: bool
    subsampled: bool
    reversible: bool
    comments: tuple[bytes, ...]
    tiles: int


def codestream_at(stream: BinaryIO, start: int) -> Codestream:
    """What the main header says. Raises ValueError where it is damaged."""
    size, coding, comments = b"", b"", []
    for marker, contents in _segments(stream, start):
        if marker == _SIZE:
            size = contents
        elif marker == _CODING:
            coding = contents
        elif marker == _COMMENT:
            comments.append(contents)
    if len(size) < _FIRST_COMPONENT:
        raise ValueError("its header is incomplete")
    right, lower, left, top, width, height, tiles_left, tiles_top = struct.unpack_from(">8I", size, 2)
    components = [size[index : index + 3] for index in range(_FIRST_COMPONENT, len(size), 3)]
    count = int.from_bytes(size[_FIRST_COMPONENT - 2 : _FIRST_COMPONENT], "big")
    if (
        len(coding) <= _TRANSFORM
        or count == 0
        or 0 in (width, height)
        or len(size) != _FIRST_COMPONENT + 3 * count
    ):
        raise ValueError("its header is incomplete")
    return Codestream(
        (right - left, lower - top),
        tuple((component[0] & ~_SIGNED) + 1 for component in components),
        any(component[0] & _SIGNED for component in components),
        any(component[1:] != b"\1\1" for component in components),
        coding[_TRANSFORM] == _REVERSIBLE,
        tuple(comments),
        -(-(right - tiles_left) // width) * -(-(lower - tiles_top) // height),
    )


def require_all_tiles(stream: BinaryIO, start: int, count: int) -> None:
    """Raise UnreadableImageError where tiles are missing, which decoders take for black.

    start: of the codestream in the file.
    """
    for _ in _segments(stream, start):
        pass
    place, end = stream.tell() - _SEGMENT_START.size, stream.seek(0, os.SEEK_END)
    most, found = most_pieces(stream, _TILE_PARTS_ALWAYS_ALLOWED), set()
    for _ in range(most):
        stream.seek(place)
        marker, _, tile, length = _TILE_HEADER.unpack(
            stream.read(_TILE_HEADER.size).ljust(_TILE_HEADER.size, b"\0")
        )
        if marker != _TILE:
            break
        found.add(tile)
        if length == 0 or place + length > end:
            break
        place += length
    else:
        raise too_many(most, "parts of tiles")
    if len(found) != count or (marker == _TILE and length):
        raise UnreadableImageError("the file is truncated or damaged", "use a complete copy")


def text_of(comment: bytes) -> str:
    """A comment as text; empty for one that is none."""
    return comment[2:].decode("latin-1") if comment.startswith(_LATIN) else ""


def text_comment(text: str) -> bytes:
    return _LATIN + text.encode("latin-1", "replace")


def with_comments(codestream: bytes, comments: tuple[bytes, ...]) -> bytes:
    """The codestream with further comments at the end of its main header."""
    position = 2
    while (marker := int.from_bytes(codestream[position : position + 2], "big")) != _TILE:
        if marker >> 8 != 0xFF:
            raise ValueError("the encoder wrote no tile")
        position += 2 + int.from_bytes(codestream[position + 2 : position + 4], "big")
    added = b"".join(struct.pack(">HH", _COMMENT, len(comment) + 2) + comment for comment in comments)
    return codestream[:position] + added + codestream[position:]


def _segments(stream: BinaryIO, start: int) -> Iterator[tuple[int, bytes]]:
    """Markers and contents of the main header's segments."""
    most = most_pieces(stream)
    stream.seek(start)
    if stream.read(2) != _START.to_bytes(2, "big"):
        raise ValueError("its codestream does not begin")
    for _ in range(most):
        header = stream.read(_SEGMENT_START.size)
        marker, length = _SEGMENT_START.unpack(header.rjust(_SEGMENT_START.size, b"\0"))
        if marker == _TILE:
            return
        if marker >> 8 != 0xFF or length < 2:
            raise ValueError("its header is incomplete")
        yield marker, stream.read(length - 2)
    raise too_many(most, "segments")
