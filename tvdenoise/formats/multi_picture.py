"""The index of the images that follow a JPEG in its file (CIPA DC-007): previews, gain maps, other views.

Pillow reads such an index and writes one only for images that it encodes itself.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from typing import BinaryIO

from PIL import JpegImagePlugin

from tvdenoise.formats.tiff.directories import MALFORMED, fields_in, layout_of

MULTI_PICTURE = b"MPF\0"
_ENTRIES = 0xB002
_ENTRY = "IIIHH"
_HEADER = 50  # bytes before the entries: those of a directory of three tags
_PREVIEWS, _UNDEFINED = (0x010001, 0x010002), 0
_KIND = 0xFFFFFF  # bits of an attribute
_BEGINNING = 1 << 16  # bytes of an image in which its metadata are looked for
_GAIN_MAPS = (b"http://ns.adobe.com/hdr-gain-map/", b"urn:iso:std:iso:ts:21496:-1", b":hdrgainmap")


@dataclass(frozen=True)
class Picture:
    """An entry of the index; start: the offset in the file, or after the first image, 0 for the first image."""

    attribute: int
    length: int
    start: int
    dependents: Sequence[int] = (0, 0)

    @property
    def is_preview(self) -> bool:
        """Whether it is a smaller copy of the first image."""
        return self.attribute & _KIND in _PREVIEWS

    @property
    def is_undefined(self) -> bool:
        return self.attribute & _KIND == _UNDEFINED

    def is_gain_map(self, stream: BinaryIO) -> bool:
        """Return whether its own metadata say that it is a gain map."""
        stream.seek(self.start)
        beginning = stream.read(min(self.length, _BEGINNING))
        return any(name in beginning for name in _GAIN_MAPS)


def pictures_of(opened: JpegImagePlugin.JpegImageFile) -> tuple[Picture, ...]:
    """Return the entries of an opened JPEG, with offsets in the file; none without a valid index."""
    index, begin = opened.info.get("mp"), opened.info.get("mpoffset")
    if not isinstance(index, bytes) or not isinstance(begin, int):
        return ()
    try:
        layout = layout_of(BytesIO(index))
        fields = fields_in(BytesIO(index), {_ENTRIES}.__contains__)
        if layout is None or not fields or not isinstance(fields[0].contents, bytes):
            return ()
        found = struct.iter_unpack(layout.order + _ENTRY, fields[0].contents)
        entries = [
            Picture(attribute, length, start, dependents) for attribute, length, start, *dependents in found
        ]
    except MALFORMED:
        return ()
    return tuple(replace(entry, start=entry.start + begin if entry.start else 0) for entry in entries)


def index_of(pictures: Sequence[Picture], length: int, begin: int) -> bytes:
    """Return the contents of an index, without its name.

    pictures: with offsets after the first image; length: of the first image, in bytes; begin: offset of the index in
    the file, from which its offsets count.
    """
    first, *others = pictures
    entries = struct.pack("<" + _ENTRY, first.attribute, length, 0, *first.dependents)
    for each in others:
        start = length + each.start - begin
        entries += struct.pack("<" + _ENTRY, each.attribute, each.length, start, *each.dependents)
    tags = struct.pack("<HHI4s", 0xB000, 7, 4, b"0100") + struct.pack("<HHII", 0xB001, 4, 1, len(pictures))
    tags += struct.pack("<HHII", _ENTRIES, 7, len(entries), _HEADER)
    return b"II*\0" + struct.pack("<IH", 8, 3) + tags + bytes(4) + entries
