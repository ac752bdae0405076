"""What a JPEG holds beside its picture for other programs: segments of their own, and data behind the picture."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import BinaryIO

EXTENDED_XMP = b"http://ns.adobe.com/xmp/extension/\0"
_MULTIPLE_PICTURES, _GAIN_MAP = b"MPF\0", b"urn:iso:std:iso:ts:21496:-1\0"
#: Which the reader and the writer see to themselves.
_HANDLED = (
    ("APP0", b"JFIF\0"),
    ("APP1", b"Exif\0\0"),
    ("APP1", b"http://ns.adobe.com/xap/1.0/\0"),
    ("APP2", b"ICC_PROFILE\0"),
    ("APP14", b"Adobe"),
)
#: Which become untrue: small copies, signatures, what another decoder adds to the pixels.
_UNTRUE = (("APP0", b""), ("APP10", b"AROT"), ("APP11", b""))
#: Which tell of pictures behind the first one.
_OF_OTHERS = (("APP2", _MULTIPLE_PICTURES), ("APP2", _GAIN_MAP))
_MOST_NAMES = 8
_LARGEST_BEHIND = 1 << 26  # bytes, that are kept
_MARKER = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]", re.DOTALL)
_START_OF_SCAN, _END = 0xDA, 0xD9
_LITTLE, _BLOCK = 1 << 6, 1 << 20  # bytes that are searched at a time, at first and then
_LONGEST_NAME = 32

Segment = tuple[str, bytes]  # as Pillow gives it


def is_kept(segment: Segment) -> bool:
    """Whether it is copied, as it stays true and is not written anyway."""
    return segment[0].startswith("APP") and not _is_among(segment, _HANDLED + _UNTRUE + _OF_OTHERS)


def names_of_left_out(segments: Iterable[Segment]) -> str:
    """Those that no JPEG written has; empty where there are none."""
    return named(
        segment for segment in segments if not _is_among(segment, _HANDLED) and _is_among(segment, _UNTRUE)
    )


def named(segments: Iterable[Segment]) -> str:
    """Them by number and by what they say that they are."""
    names = sorted({_name(segment) for segment in segments})
    return ", ".join(names[:_MOST_NAMES]) + (" and others" if len(names) > _MOST_NAMES else "")


def has_gain_map(segments: Iterable[Segment]) -> bool:
    """Whether the first picture says that another one makes it brighter where a display can show that."""
    return any(_is_among(segment, (("APP2", _GAIN_MAP),)) for segment in segments)


def has_place_of_others(segments: Iterable[Segment]) -> bool:
    """Whether a segment says where in the file other pictures begin."""
    return any(_is_among(segment, (("APP2", _MULTIPLE_PICTURES),)) for segment in segments)


def packed(segment: Segment) -> bytes:
    """With its marker and its length."""
    name, contents = segment
    marker = bytes((0xFF, 0xE0 + int(name.removeprefix("APP"))))
    return marker + (len(contents) + 2).to_bytes(2, "big") + contents


def data_behind(stream: BinaryIO) -> tuple[bytes, int]:
    """What follows the picture, and its length; nothing where it is only zeros, or where it is too much to be kept."""
    end = _end_of_picture(stream)
    length = stream.seek(0, os.SEEK_END)
    if end is None or end == length:
        return b"", 0
    stream.seek(end)
    if length - end > _LARGEST_BEHIND:
        return b"", length - end
    found = stream.read()
    return (found, len(found)) if found.strip(b"\0") else (b"", 0)


def _end_of_picture(stream: BinaryIO) -> int | None:
    place = 2
    while (found := _next_marker(stream, place)) is not None:
        marker, place = found
        if marker == _END:
            return place
        stream.seek(place)
        place += max(2, int.from_bytes(stream.read(2), "big"))
    return None


def _next_marker(stream: BinaryIO, place: int) -> tuple[int, int] | None:
    """The next one, and where it ends; within pixels, those that divide them do not count."""
    size = _LITTLE
    stream.seek(place)
    before = b""
    while block := stream.read(size):
        if (found := _MARKER.search(before + block)) is not None:
            return found[0][-1], place - len(before) + found.end()
        place += len(block)
        before, size = block[-1:], _BLOCK
    return None


def _is_among(segment: Segment, known: Iterable[Segment]) -> bool:
    return any(segment[0] == name and segment[1].startswith(beginning) for name, beginning in known)


def _name(segment: Segment) -> str:
    number, contents = segment
    beginning = re.match(rb"[A-Za-z][\w .:/-]*", contents[:_LONGEST_NAME])
    return f"{number} ({beginning[0].decode()})" if beginning else number
