"""The blocks of a GIF: walked for what is refused or left out, without decoding anything."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO

from tvdenoise.files.pieces import most_pieces, too_many

_HEADER_LENGTH, _PICTURE_HEADER_LENGTH = 13, 9
_TABLE = 0x80  # the flag of a table of colours
_EXTENSION, _APPLICATION, _PICTURE, _END = b"!", b"\xff", b",", b";"


def screen(stream: BinaryIO) -> None:
    """Refuse millions of blocks, or of bytes between them, up to a second picture."""
    most = most_pieces(stream)
    stream.seek(0)
    header = stream.read(_HEADER_LENGTH)
    if header[:4] != b"GIF8" or len(header) < _HEADER_LENGTH:
        return
    _skip_table(header[10:11], stream)
    pictures = 0
    for _ in range(most):
        kind = stream.read(1)
        if kind in (b"", _END):
            return
        if kind == _PICTURE:
            if (pictures := pictures + 1) > 1:
                return
            _skip_table(stream.read(_PICTURE_HEADER_LENGTH)[8:9], stream)
        if kind in (_PICTURE, _EXTENSION):
            stream.seek(1, os.SEEK_CUR)
            _skip_contents(stream)
    raise too_many(most, "blocks")


def application_names(stream: BinaryIO) -> Iterator[bytes]:
    """The names of the application extensions, as far as the file is whole."""
    stream.seek(0)
    _skip_table(stream.read(_HEADER_LENGTH)[10:11], stream)
    while kind := stream.read(1):
        if kind == _PICTURE:
            _skip_table(stream.read(_PICTURE_HEADER_LENGTH)[8:9], stream)
            stream.seek(1, os.SEEK_CUR)
        elif kind == _EXTENSION:
            if stream.read(1) == _APPLICATION:
                yield stream.read(int.from_bytes(stream.read(1), "little"))
        else:
            return
        _skip_contents(stream)


def _skip_table(flags: bytes, stream: BinaryIO) -> None:
    if flags and flags[0] & _TABLE:
        stream.seek(3 << (1 + (flags[0] & 7)), os.SEEK_CUR)


def _skip_contents(stream: BinaryIO) -> None:
    while length := int.from_bytes(stream.read(1), "little"):
        stream.seek(length, os.SEEK_CUR)
