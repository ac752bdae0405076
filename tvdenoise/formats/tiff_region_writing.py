"""Writing a TIFF whose pixels are given in parts, strip by strip or tile by tile."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from tvdenoise.formats.tiff_encoding import SampleWriter
from tvdenoise.formats.tiff_writing import frame_of, is_too_large, storage_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tvdenoise.files.decoded import DecodedImage
    from tvdenoise.formats.family import Window


_SIDE = 16  # of which those of tiles are multiples


class TiffRegionWriter:
    """See `regions.RegionWriter`. Tiles stay tiles where they are of sides that TIFF allows."""

    def __init__(
        self,
        pixel: DecodedImage,
        given: Mapping[str, Any],
        shape: tuple[int, int],
        tile: tuple[int, int] | None,
        stream: BinaryIO,
    ) -> None:
        if tile is not None and any(side % _SIDE for side in tile):
            tile = None
        self._storage = storage_of(pixel, *shape, tile)
        is_big = is_too_large(math.prod(shape) * self._storage.samples * self._storage.dtype.itemsize)
        self._writer = SampleWriter(stream, frame_of(pixel, given, is_big=is_big), self._storage)

    def windows(self, most: int) -> Iterator[Window]:
        """Strips, or tiles side by side."""
        storage = self._storage
        tile_values = storage.height * storage.width * storage.samples
        width = min(storage.columns, storage.width * max(1, most // tile_values))
        for top in range(0, storage.rows, storage.height):
            for left in range(0, storage.columns, width):
                rows = slice(top, min(top + storage.height, storage.rows))
                yield rows, slice(left, min(left + width, storage.columns))

    def append(self, intensities: NDArray[Any], alpha: NDArray[Any] | None) -> None:
        """The pixels in the next window."""
        self._writer.append(np.dstack((intensities, *(() if alpha is None else (alpha,)))))

    def close(self) -> None:
        """Write the tags; the file is whole then."""
        self._writer.close()
