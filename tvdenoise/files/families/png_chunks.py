"""The chunks of a PNG."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from tvdenoise.errors import UnreadableImageError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
BLOCK = 1 << 20  # bytes that are read at a time
_CRITICAL = {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"fdAT"}  # the last one of an animation


@dataclass(frozen=True)
class Chunk:
    kind: bytes
    contents: bytes  # empty for those that are only checked


def packed(kind: bytes, contents: bytes) -> bytes:
    checksum = zlib.crc32(contents, zlib.crc32(kind))
    return struct.pack(">I4s", len(contents), kind) + contents + struct.pack(">I", checksum)


def chunks_of(stream: BinaryIO, kept: set[bytes] | None) -> Iterator[Chunk]:
    """All complete chunks to the end of the image, their checksums compared; the contents of some kinds, or of all."""
    stream.seek(len(SIGNATURE))
    while len(header := stream.read(8)) == 8:
        length, kind = struct.unpack(">I4s", header)
        checksum, blocks = zlib.crc32(kind), []
        remaining = length
        while remaining:
            block = stream.read(min(remaining, BLOCK))
            if not block:
                return
            checksum = zlib.crc32(block, checksum)
            if kept is None or kind in kept:
                blocks.append(block)
            remaining -= len(block)
        if len(stored := stream.read(4)) < 4:
            return
        if kind in _CRITICAL and int.from_bytes(stored, "big") != checksum:
            raise UnreadableImageError("the file is damaged (a checksum is wrong)", "use an undamaged copy")
        yield Chunk(kind, b"".join(blocks))
        if kind == b"IEND":
            return
