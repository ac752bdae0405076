"""What is refused of JPEGs before a decoder sees them."""

from __future__ import annotations

import os
from typing import BinaryIO

from tvdenoise.files.pieces import most_pieces, too_many

_EXIF_PREFIX = b"Exif\0\0"
_MOST_EXIF_SEGMENTS = 256  # which Pillow joins one by one
_MOST_SCANS = 200
_BLOCK = 1 << 20
_START, _START_OF_SCAN, _END = 0xD8, 0xDA, 0xD9
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, _START + 1)})


def screen(stream: BinaryIO) -> None:
    """Refuse millions of segments, or of bytes between them, before the pixels, and endless scans."""
    most = most_pieces(stream)
    stream.seek(0)
    if stream.read(3) != b"\xff\xd8\xff":
        return
    stream.seek(2)
    count = exif_count = 0
    before = b""
    while len(byte := stream.read(1)) == 1:
        if (count := count + 1) > 2 * most:  # a segment counts as two: its marker has two bytes
            raise too_many(most, "segments")
        is_marker, before = before == b"\xff" and byte not in b"\0\xff", byte
        if not is_marker or byte[0] in _WITHOUT_LENGTH:
            continue
        if byte[0] == _START_OF_SCAN:
            _require_few_scans(stream)
        if byte[0] in (_START_OF_SCAN, _END):
            return
        beginning = stream.read(2 + len(_EXIF_PREFIX))
        length = max(2, int.from_bytes(beginning[:2], "big"))
        stream.seek(length - len(beginning), os.SEEK_CUR)
        exif_count += beginning[2:] == _EXIF_PREFIX
        if exif_count > _MOST_EXIF_SEGMENTS:
            raise too_many(_MOST_EXIF_SEGMENTS, "segments of EXIF data")


def _require_few_scans(stream: BinaryIO) -> None:
    """Each may be of a few bytes, and yet passes over all pixels. Among those bytes no marker occurs by chance."""
    count, before = 1, b""
    while block := stream.read(_BLOCK):
        block = before + block
        end = block.find(bytes((0xFF, _END)))
        count += block.count(bytes((0xFF, _START_OF_SCAN)), 0, len(block) if end < 0 else end)
        if count > _MOST_SCANS:
            raise too_many(_MOST_SCANS, "scans")
        if end >= 0:
            return
        before = block[-1:]
