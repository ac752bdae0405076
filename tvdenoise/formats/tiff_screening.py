"""What is refused of a TIFF before Pillow sees it: directories, segments and tiles beyond all measure, and pages that
are volumes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import BinaryIO

from tvdenoise.errors import UnreadableImageError, UnsupportedImageError
from tvdenoise.formats.family import most_pieces, too_many
from tvdenoise.formats.tiff_directories import REMEDY, Entry, directories

_SEGMENTS_ALWAYS_ALLOWED = 100_000
_SMALL_TILE = 1 << 22  # pixels
_DEPTH = 32997  # planes of a page
_WIDTH, _LENGTH, _STRIPS, _TILE_WIDTH, _TILE_LENGTH, _TILES = 256, 257, 273, 322, 323, 324


def screen(stream: BinaryIO) -> None:
    """Raise UnsupportedImageError or UnreadableImageError for a TIFF that would cost far more than its pixels.

    Also for one whose pages hold several planes each: Pillow would see the first.
    """
    most_segments = most_pieces(stream, _SEGMENTS_ALWAYS_ALLOWED)
    for found in directories(stream):
        directory = found.entries
        for tag in (_STRIPS, _TILES):
            if tag in directory and directory[tag].count > most_segments:
                raise too_many(most_segments, "strips or tiles")
        _require_modest_tiles(directory)
        if found.first(_DEPTH) > 1:
            raise UnsupportedImageError(
                f"it has {found.first(_DEPTH)} planes in one page, which is not carried",
                "save each plane as a page of its own",
            )


def _require_modest_tiles(directory: Mapping[int, Entry]) -> None:
    """A tile is decoded as a whole, whatever of it lies inside the picture."""
    width, length, tile_width, tile_length = (
        directory[tag].first if tag in directory else 0
        for tag in (_WIDTH, _LENGTH, _TILE_WIDTH, _TILE_LENGTH)
    )
    if tile_width * tile_length > max(4 * width * length, _SMALL_TILE):
        raise UnreadableImageError("the file is damaged (its tiles are larger than the picture)", REMEDY)
    if _TILES in directory and not tile_width * tile_length:
        raise UnreadableImageError("the file is damaged (a side of its tiles is zero)", REMEDY)
