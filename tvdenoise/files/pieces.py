"""Files of more pieces (chunks, segments, strips) than any picture needs, with which decoders would spend minutes."""

from __future__ import annotations

import os
from typing import BinaryIO

from tvdenoise.errors import UnsupportedImageError

_ALWAYS_ALLOWED = 10_000
_BYTES_A_PIECE = 1024  # of the file, for every further one, so that time stays bounded by its length


def most_pieces(stream: BinaryIO, always_allowed: int = _ALWAYS_ALLOWED) -> int:
    """How many pieces a file of the stream's length may have."""
    return always_allowed + stream.seek(0, os.SEEK_END) // _BYTES_A_PIECE


def too_many(most: int, what: str) -> UnsupportedImageError:
    return UnsupportedImageError(
        f"the file has more than {most:,} {what}, which no picture needs",
        "save it again with another program",
    )
