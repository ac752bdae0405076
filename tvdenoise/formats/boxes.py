"""Boxes of AVIF, HEIF and JPEG 2000 files (ISO/IEC 14496-12 and 15444-1)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from tvdenoise.errors import UnreadableImageError
from tvdenoise.formats.family import chunk_limit, too_many

_TO_THE_END, _LONG = 0, 1
_CONTAINER = {b"iprp", b"ipco"}
_META, _META_HEADER = b"meta", 4  # version and flags precede the inner boxes
_LARGEST_META = 1 << 24


@dataclass(frozen=True)
class FileBox:
    """A box of a file; kind: four bytes; start, end: offsets of its contents."""

    kind: bytes
    start: int
    end: int

    def contents(self, stream: BinaryIO) -> bytes:
        stream.seek(self.start)
        return stream.read(self.end - self.start)


def boxes(stream: BinaryIO, start: int = 0, end: int | None = None) -> Iterator[FileBox]:
    """Yield the sibling boxes in a range of a file.

    Raises UnreadableImageError for a truncated box, and UnsupportedImageError for too many boxes.
    """
    most, found = chunk_limit(stream), 0
    end = stream.seek(0, os.SEEK_END) if end is None else end
    while start < end:
        if (found := found + 1) > most:
            raise too_many(most, "boxes")
        stream.seek(start)
        header = stream.read(8)
        length, width = int.from_bytes(header[:4], "big"), 8
        if length == _LONG:
            length, width = int.from_bytes(stream.read(8), "big"), 16
        elif length == _TO_THE_END:
            length = end - start
        if len(header) < 8 or length < width or start + length > end:
            raise UnreadableImageError("the file is truncated or damaged", "use a complete copy")
        yield FileBox(header[4:], start + width, start + length)
        start += length


def packed(kind: bytes, contents: bytes) -> bytes:
    """Encode a box."""
    if len(contents) + 8 < 1 << 32:
        return (len(contents) + 8).to_bytes(4, "big") + kind + contents
    return _LONG.to_bytes(4, "big") + kind + (len(contents) + 16).to_bytes(8, "big") + contents


def item_properties(stream: BinaryIO) -> list[tuple[bytes, bytes]]:
    """Return kinds and contents of all properties (and of the item list, `iinf`) of an AVIF or HEIF file."""
    meta = next((box for box in boxes(stream) if box.kind == _META), None)
    if meta is None or meta.end - meta.start > _LARGEST_META:
        return []
    return list(_inside(stream, meta.start + _META_HEADER, meta.end))


def _inside(stream: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, bytes]]:
    for box in boxes(stream, start, end):
        if box.kind in _CONTAINER:
            yield from _inside(stream, box.start, box.end)
        else:
            yield box.kind, box.contents(stream)


@dataclass(frozen=True)
class ColourCodes:
    """Colour primaries and transfer function, as code points of ITU-T H.273."""

    primaries: int
    transfer: int

    @property
    def are_usual(self) -> bool:
        """Whether they are sRGB's, unspecified, or so close that programs treat them as sRGB."""
        return self.primaries in (1, 2) and self.transfer in (1, 2, 6, 13, 14, 15)


def colour_codes(properties: list[tuple[bytes, bytes]]) -> ColourCodes | None:
    """Return the first colour codes among the properties of a file, or None."""
    for kind, contents in properties:
        if kind == b"colr" and contents[:4] == b"nclx" and len(contents) >= 8:
            return ColourCodes(int.from_bytes(contents[4:6], "big"), int.from_bytes(contents[6:8], "big"))
    return None


def notes_of_companions(properties: list[tuple[bytes, bytes]]) -> tuple[str, ...]:
    """Return a note if the file has depth or gain maps."""
    extra_outputs = any(
        (kind == b"auxC" and b"alpha" not in contents and b"auxid:1" not in contents)
        or (kind == b"iinf" and b"tmap" in contents)
        for kind, contents in properties
    )
    return ("its depth or gain map is dropped",) if extra_outputs else ()
