"""A bounded sample of an image, for estimates whose cost must not grow with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Values (pixels times channels) of a sample.
_MOST_VALUES = 300_000
#: Tiles a side.
_TILES = 4


def sample(planes: NDArray[np.floating]) -> NDArray[np.floating]:
    """Planes (channels, rows, columns) as they are where small, else a mosaic of tiles spread evenly over them.

    The tiles lie side by side in their own order; their seams are few enough not to matter.
    """
    _, rows, columns = planes.shape
    if planes.size <= _MOST_VALUES:
        return planes
    scale = np.sqrt(_MOST_VALUES / planes.size)
    pieces = [_pieces(length, max(8, int(length * scale))) for length in (rows, columns)]
    return np.ascontiguousarray(planes[:, pieces[0]][:, :, pieces[1]])


def _pieces(length: int, kept: int) -> NDArray[np.intp]:
    """The indices of about ``kept`` of ``length`` places, in equal runs at equal distances."""
    if kept >= length:
        return np.arange(length)
    run = -(-kept // _TILES)
    starts = np.linspace(0, length - run, _TILES).astype(np.intp)
    return np.unique(np.add.outer(starts, np.arange(run)).ravel())
