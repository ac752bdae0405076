"""The blocks of a GIF: walked for what is refused or left out, without decoding anything."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from tvdenoise.files.families.canvas import Disposal
from tvdenoise.files.pieces import most_pieces, too_many

_HEADER_LENGTH, _PICTURE_HEADER_LENGTH = 13, 9
_TABLE = 0x80  # the flag of a table of colours
TRANSPARENT = 1  # a flag of how a frame is shown
_DISPOSALS = {2: Disposal.CLEAR, 3: Disposal.RESTORE, 4: Disposal.RESTORE}  # 4 as viewers have it
_EXTENSION, _APPLICATION, _PICTURE, _END = b"!", b"\xff", b",", b";"


@dataclass(frozen=True)
class Block:
    """kind: a picture, an extension or the end; place: where it begins.

    label: what extension it is; start: its first sub-block, where it is one; box: left, top, columns and rows of a
    picture, and its flags.
    """

    kind: bytes
    place: int
    label: bytes = b""
    start: bytes = b""
    box: tuple[int, int, int, int] = (0, 0, 0, 0)
    flags: int = 0

    @property
    def is_end(self) -> bool:
        return self.kind == _END


@dataclass(frozen=True)
class Control:
    """How a frame is shown: for how many hundredths of a second; transparent: the number of the colour that is."""

    delay: int = 0
    transparent: int | None = None
    disposal: Disposal = Disposal.KEEP

    @classmethod
    def of(cls, block: Block) -> Control:
        """What a block says; what says nothing where it is too short."""
        if len(block.start) < 4:
            return cls()
        flags, transparent = block.start[0], block.start[3]
        return cls(
            int.from_bytes(block.start[1:3], "little"),
            transparent if flags & TRANSPARENT else None,
            _DISPOSALS.get(flags >> 2 & 7, Disposal.KEEP),
        )


def covers(block: Block, size: tuple[int, int]) -> bool:
    """Whether a frame covers a canvas of that size."""
    left, top, columns, rows = block.box
    return left == top == 0 and columns >= size[0] and rows >= size[1]


def screen(stream: BinaryIO) -> None:
    """Refuse millions of blocks, or of bytes between them."""
    most = most_pieces(stream)
    stream.seek(0)
    header = stream.read(_HEADER_LENGTH)
    if header[:4] != b"GIF8" or len(header) < _HEADER_LENGTH:
        return
    _skip_table(header[10:11], stream)
    for number, _ in enumerate(blocks(stream)):
        if number >= most:
            raise too_many(most, "blocks")


def blocks(stream: BinaryIO) -> Iterator[Block]:
    """The blocks from here to the end, without decoding any; stray bytes between them are blocks of no kind.

    When a block is given, the stream is behind it.
    """
    while kind := stream.read(1):
        place = stream.tell() - 1
        block = Block(kind, place)
        if kind == _PICTURE:
            header = stream.read(_PICTURE_HEADER_LENGTH)
            if len(header) < _PICTURE_HEADER_LENGTH:
                return
            *box, flags = struct.unpack("<HHHHB", header)
            block = Block(kind, place, box=(box[0], box[1], box[2], box[3]), flags=flags)
            _skip_table(header[8:9], stream)
            stream.seek(1, os.SEEK_CUR)
            _skip_contents(stream)
        elif kind == _EXTENSION:
            label = stream.read(1)
            start = stream.read(int.from_bytes(stream.read(1), "little"))
            block = Block(kind, place, label, start)
            if start:
                _skip_contents(stream)
        yield block
        if kind == _END:
            return


def application_names(stream: BinaryIO) -> Iterator[bytes]:
    """The names of the application extensions, as far as the file is whole."""
    stream.seek(0)
    _skip_table(stream.read(_HEADER_LENGTH)[10:11], stream)
    for block in blocks(stream):
        if block.label == _APPLICATION:
            yield block.start


def _skip_table(flags: bytes, stream: BinaryIO) -> None:
    if flags and flags[0] & _TABLE:
        stream.seek(3 << (1 + (flags[0] & 7)), os.SEEK_CUR)


def _skip_contents(stream: BinaryIO) -> None:
    while length := int.from_bytes(stream.read(1), "little"):
        stream.seek(length, os.SEEK_CUR)
