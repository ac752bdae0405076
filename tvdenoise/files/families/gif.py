"""GIF: read, but not written, since 256 colours cannot hold a denoised picture."""

from __future__ import annotations

import os
from typing import Any, BinaryIO

from tvdenoise.files.formats import Family, Format, inspect_nothing
from tvdenoise.files.picture import Picture
from tvdenoise.files.pieces import most_pieces, too_many

_TABLE = 0x80  # the flag of a table of colours
_EXTENSION, _IMAGE, _END = b"!", b",", b";"


def _screen(stream: BinaryIO) -> None:
    """Refuse millions of blocks, or of bytes between them, up to a second frame."""
    most = most_pieces(stream)
    stream.seek(0)
    header = stream.read(13)
    if header[:4] != b"GIF8" or len(header) < 13:
        return
    _skip_table(stream, header[10])
    images = 0
    for _ in range(most):
        kind = stream.read(1)
        if kind in (b"", _END):
            return
        if kind == _IMAGE:
            if (images := images + 1) > 1 or len(descriptor := stream.read(9)) < 9:
                return
            _skip_table(stream, descriptor[8])
        if kind in (_IMAGE, _EXTENSION):
            stream.seek(1, os.SEEK_CUR)
            while (length := stream.read(1)) not in (b"", b"\0"):
                stream.seek(length[0], os.SEEK_CUR)
    raise too_many(most, "blocks")


def _skip_table(stream: BinaryIO, flags: int) -> None:
    if flags & _TABLE:
        stream.seek(3 << (1 + (flags & 7)), os.SEEK_CUR)


def _options(_picture: Picture, _quality: int | None) -> dict[str, Any]:
    return {}


FAMILY = Family(
    formats=(Format("GIF", "GIF", (".gif",)),), inspect=inspect_nothing, options=_options, screen=_screen
)
