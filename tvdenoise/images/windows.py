"""Sums over the square window around each pixel, with numpy alone: scipy.ndimage takes 0.1 s to import."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray


def window_sums(
    values: NDArray[np.generic], reach: int, border: Literal["edge", "symmetric"], dtype: DTypeLike
) -> NDArray[Any]:
    """Return the sum over the pixels within ``reach`` rows and columns of each pixel of values (..., rows, columns).

    border: how values continue beyond the border, as `numpy.pad` names it. dtype: of the sums, which must fit.
    """
    sums: NDArray[Any] = values.astype(dtype, copy=False)
    for axis in (-2, -1):
        widths = [(0, 0)] * sums.ndim
        widths[axis] = (reach, reach)
        padded = np.moveaxis(np.pad(sums, widths, mode=border), axis, 0)
        total = padded[: -2 * reach].copy()
        for start in range(1, 2 * reach + 1):
            total += padded[start : start + len(total)]
        sums = np.moveaxis(total, 0, axis)
    return sums
