"""Chunks of a PNG: reading and writing them, and which of other programs' chunks are copied.

The chunks with a place in `Metadata` are kept by `tvdenoise.formats.png`.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

from tvdenoise.errors import UnreadableImageError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
BLOCK = 1 << 20  # bytes read at a time
_CRITICAL = {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"fdAT"}  # fdAT: pixels of an animation


@dataclass(frozen=True)
class Chunk:
    kind: bytes
    contents: bytes  # empty if they are only checked


def packed(kind: bytes, contents: bytes) -> bytes:
    checksum = zlib.crc32(contents, zlib.crc32(kind))
    return struct.pack(">I4s", len(contents), kind) + contents + struct.pack(">I", checksum)


def chunks_of(stream: BinaryIO, kept: set[bytes] | None) -> Iterator[Chunk]:
    """Yield the complete chunks up to IEND, checking their checksums; kept: kinds whose contents are kept, or None."""
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


COLOUR_CHUNKS = frozenset({b"cHRM", b"cICP", b"gAMA", b"sRGB"})
TEXT_CHUNKS = frozenset({b"tEXt", b"zTXt", b"iTXt"})
BACKGROUND, RESOLUTION = b"bKGD", b"pHYs"
# Handled by the reader and the writer.
_HANDLED = frozenset(
    {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"iCCP", b"eXIf", RESOLUTION, b"acTL", b"fcTL", b"fdAT"}
)
# Invalid after denoising: significant bits, modification time, histogram, suggested palette, and offsets of
# the compressed rows.
_OUT_OF_DATE = frozenset({b"sBIT", b"tIME", b"hIST", b"sPLT", b"iDOT"})
_PALETTE = 3
# The gamma and primaries of sRGB, the default of every program.
_USUAL = {
    b"gAMA": struct.pack(">I", 45455),
    b"cHRM": struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000),
}


def is_copied(kind: bytes) -> bool:
    """Return whether a chunk is private and safe to copy when pixels change."""
    return kind[1:2].islower() and kind[3:4].islower()


def keeps_background(depth: int, colour: int) -> bool:
    """Return whether the background colour means the same in the written file."""
    return depth >= 8 and colour != _PALETTE


def notes_of_left_out(
    kinds: Collection[bytes], *, has_aspect: bool, keeps_background: bool
) -> tuple[str, ...]:
    """Return a note about chunks that are never written to a PNG, if there are any.

    has_aspect: the resolution has no unit, and is the aspect of pixels that are not square.
    """
    kept = _HANDLED | COLOUR_CHUNKS | TEXT_CHUNKS | _OUT_OF_DATE
    kept |= {BACKGROUND} if keeps_background else set()
    left_out = {kind for kind in kinds if kind not in kept and not is_copied(kind)}
    left_out |= {RESOLUTION} if has_aspect else set()
    return _named(left_out)


def notes_elsewhere(kept: Mapping[bytes, bytes], kinds: Collection[bytes]) -> tuple[str, ...]:
    """Return a note about kept chunks (contents by name) that other formats cannot hold, if there are any."""
    names = {kind for kind in kept if kind not in COLOUR_CHUNKS | TEXT_CHUNKS}
    names |= {b"cICP"} & set(kept)
    if not {b"iCCP", b"sRGB"} & set(kinds):
        names |= {kind for kind, usual in _USUAL.items() if kept.get(kind, usual) != usual}
    return _named(names)


def _named(kinds: Collection[bytes]) -> tuple[str, ...]:
    names = ", ".join(kind.decode("latin-1") for kind in sorted(kinds))
    return (f"its PNG chunks {names} are dropped",) if names else ()


_RAW_PROFILE = re.compile(rb"Raw profile type (exif|APP1|8bim|iptc)", re.IGNORECASE)
_LONGEST_TEXT = 1 << 24  # bytes of a decompressed text
_HEX_IN_LINE = 72


def with_new_text(chunk: tuple[bytes, bytes], renewed: Callable[[str, bytes], bytes]) -> tuple[bytes, bytes]:
    """Return a text chunk (kind and contents) whose metadata are passed through a function.

    renewed: called with "exif" (which may begin with its prefix), "8bim" or "xmp", and the data; returns the new ones.
    Other chunks, and those that are malformed, stay.
    """
    kind, contents = chunk
    keyword, _, rest = contents.partition(b"\0")
    if kind == b"iTXt" and keyword == b"XML:com.adobe.xmp" and rest.startswith(b"\0\0"):
        language, translated, text = (*rest[2:].split(b"\0", 2), b"", b"")[:3]
        new = renewed("xmp", text)
        return chunk if new == text else (kind, b"\0".join((keyword + b"\0\0", language, translated, new)))
    if kind not in (b"tEXt", b"zTXt") or (found := _RAW_PROFILE.fullmatch(keyword)) is None:
        return chunk
    name = "8bim" if found[1].lower() in (b"8bim", b"iptc") else "exif"
    with suppress(zlib.error, ValueError, IndexError):
        text = zlib.decompressobj().decompress(rest[1:], _LONGEST_TEXT) if kind == b"zTXt" else rest
        first, length, *lines = text.strip(b"\n").split(b"\n")
        data = bytes.fromhex(b"".join(lines).decode("ascii"))[: int(length)]
        new = renewed(name, data)
        if new != data:
            digits = new.hex().encode()
            rows = [digits[start : start + _HEX_IN_LINE] for start in range(0, len(digits), _HEX_IN_LINE)]
            text = b"\n" + b"\n".join((first, b"%8d" % len(new), *rows)) + b"\n"
            stored = b"\0" + zlib.compress(text) if kind == b"zTXt" else text
            return kind, keyword + b"\0" + stored
    return chunk
