"""Sums over square windows, with numpy alone: scipy.ndimage takes 0.1 s to import."""

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
    widths = [(0, 0)] * (values.ndim - 2) + [(reach, reach)] * 2
    return box_sums(np.pad(values.astype(dtype, copy=False), widths, mode=border), 2 * reach + 1)


def box_sums(values: NDArray[Any], side: int, step: int = 1) -> NDArray[Any]:
    """Return the sums over the windows of side × side values (..., rows, columns), in the type of the values.

    step: the distance between windows, in rows and columns.
    """
    for axis in (-2, -1):
        moved = np.moveaxis(values, axis, 0)
        kept = len(moved) - side + 1
        total = moved[:kept:step].copy()
        for shift in range(1, side):
            total += moved[shift : shift + kept : step]
        values = np.moveaxis(total, 0, axis)
    return values
