"""Volumes as images: a bounded number of their planes, one below the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

#: Pixels that are looked at, in planes spread evenly over the volume, but at least so many planes.
_MOST_PIXELS = 4_000_000
_LEAST_PLANES = 4


def planes_looked_at(shape: Sequence[int]) -> NDArray[np.intp] | None:
    """Which planes of a volume (planes, rows, columns) are; None for an image (rows, columns)."""
    if len(shape) == 2:
        return None
    count, rows, columns = shape
    taken = min(count, max(_LEAST_PLANES, _MOST_PIXELS // (rows * columns)))
    return np.linspace(0, count - 1, taken).astype(np.intp)


def side_by_side(
    planes: NDArray[np.floating], where: NDArray[np.bool_] | None
) -> tuple[NDArray[np.floating], NDArray[np.bool_] | None]:
    """An image (channels, rows, columns) as it is; a volume as a tall image of some of its planes.

    The noise is looked for within planes, since the distance of planes is often another one, and where a
    microscope focuses anew the noise of two planes is independent. The seams are few enough not to matter.
    """
    if planes.ndim == 3:
        return planes, where
    chosen = planes_looked_at(planes.shape[1:])
    tall = planes[:, chosen].reshape(len(planes), -1, planes.shape[-1])
    return tall, None if where is None else where[chosen].reshape(-1, planes.shape[-1])
