"""Volumes as images: a bounded number of their planes, one below the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Pixels that are looked at, in planes spread evenly over the volume, but at least so many planes.
_MOST_PIXELS = 4_000_000
_LEAST_PLANES = 4


def side_by_side(
    planes: NDArray[np.floating], where: NDArray[np.bool_] | None
) -> tuple[NDArray[np.floating], NDArray[np.bool_] | None]:
    """An image (channels, rows, columns) as it is; a volume as a tall image of some of its planes.

    The noise is looked for within planes, since the distance of planes is often another one, and where a
    microscope focuses anew the noise of two planes is independent. The seams are few enough not to matter.
    """
    if planes.ndim == 3:
        return planes, where
    channels, count, rows, columns = planes.shape
    taken = min(count, max(_LEAST_PLANES, _MOST_PIXELS // (rows * columns)))
    chosen = np.linspace(0, count - 1, taken).astype(np.intp)
    tall = planes[:, chosen].reshape(channels, -1, columns)
    return tall, None if where is None else where[chosen].reshape(-1, columns)
