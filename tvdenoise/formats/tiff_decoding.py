"""Decoding the TIFF samples that `tiff_samples` tells from those that Pillow decodes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL.TiffImagePlugin import (
    COMPRESSION,
    STRIPBYTECOUNTS,
    STRIPOFFSETS,
    TILEBYTECOUNTS,
    TILEOFFSETS,
    TiffImageFile,
)

from tvdenoise.errors import UnreadableImageError
from tvdenoise.formats.tiff_opening import directory_end
from tvdenoise.formats.tiff_samples import Samples
from tvdenoise.formats.tiff_segments import Segments

if TYPE_CHECKING:
    from numpy.typing import NDArray


_PLACES = (STRIPOFFSETS, TILEOFFSETS), (STRIPBYTECOUNTS, TILEBYTECOUNTS)


def decode_samples(opened: TiffImageFile, stream: BinaryIO, samples: Samples) -> NDArray[Any]:
    """The values (rows, columns, samples) as stored, in this machine's byte order."""
    segments = Segments.of(opened, stream, samples)
    grid = segments.grid
    values = np.empty((grid.height, grid.width, samples.count), samples.dtype.newbyteorder("="))
    for number in range(grid.count):
        layer, top, left = grid.place(number)
        segment = segments.values(number, stream)
        rows, columns = slice(top, top + grid.rows), slice(left, left + grid.columns)
        target = values[rows, columns, layer : layer + grid.samples]
        target[...] = segment[: target.shape[0], : target.shape[1]]
    return values


def require_segments(opened: TiffImageFile, stream: BinaryIO) -> None:
    """Raise UnreadableImageError where a compressed file ends before its tags or its segments do.

    libtiff, which decodes it for Pillow, would find out too, but print about it.
    """
    tags = opened.tag_v2
    if tags.get(COMPRESSION, 1) == 1:
        return
    offsets, lengths = (tags.get(strips, tags.get(tiles, ())) for strips, tiles in _PLACES)
    last = max((sum(place) for place in zip(offsets, lengths, strict=False)), default=0)
    last = max(last, directory_end(opened, stream))
    if stream.seek(0, os.SEEK_END) < last:
        raise UnreadableImageError("the file is truncated", "use a complete copy")


def turned(values: NDArray[Any], orientation: int) -> NDArray[Any]:
    """The values as they are to be shown, which is how Pillow gives those of a TIFF."""
    if orientation in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    upside_down, mirrored = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    values = values[::-1] if upside_down else values
    return np.ascontiguousarray(values[:, ::-1] if mirrored else values)
