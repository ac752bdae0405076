"""First values for missing pixels: means of what is known nearby."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import uniform_filter

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LEAST_SIDE = 3


def fill(planes: NDArray[np.floating], is_missing: NDArray[np.bool_]) -> None:
    """Replace the missing pixels of planes (channels, ...) in place, from windows that grow until they know some.

    is_missing: with the shape of one channel; not all may be. What stood there, NaN too, is not looked at.
    """
    is_known = ~is_missing
    known = is_known.astype(np.float32)
    waiting, side = is_missing.copy(), _LEAST_SIDE
    planes[:, is_missing] = 0
    while waiting.any():
        part = uniform_filter(known, side, mode="constant")
        ready = waiting & (part > 0.5 / side**part.ndim)
        for plane in planes:
            total = uniform_filter(np.where(is_known, plane, 0), side, mode="constant")
            plane[ready] = total[ready] / part[ready]
        waiting &= ~ready
        side = 2 * side - 1
