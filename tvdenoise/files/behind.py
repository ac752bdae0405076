"""What lies in a file behind its picture, of which nobody knows what it is."""

from __future__ import annotations

import os
from typing import BinaryIO

_BLOCK = 1 << 20
_LEFT_BEHIND = "{:,} bytes behind the picture are left out"


def notices_behind(stream: BinaryIO, end: int) -> tuple[str, ...]:
    """A notice about what follows that place, where it is more than zeros."""
    length = stream.seek(0, os.SEEK_END) - end
    stream.seek(end)
    while block := stream.read(_BLOCK):
        if block.strip(b"\0"):
            return (_LEFT_BEHIND.format(length),)
    return ()
