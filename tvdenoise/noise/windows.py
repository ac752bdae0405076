"""Windows of an image, so many that an estimate is good, so few that its cost does not grow with the image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


#: Fewer windows without an excluded pixel are no basis for an estimate: then all are taken.
_LEAST_WINDOWS = 200


def windows_of(
    planes: NDArray[np.floating], side: int, *, stride: int, most: int, where: NDArray[np.bool_] | None = None
) -> NDArray[np.floating]:
    """Square windows (channels, windows, side, side) of planes (channels, rows, columns), at most so many.

    where: (rows, columns), false for pixels that no window may hold.
    Every so many rows and columns are left out; an odd number, so that all places in a grid of 8 are taken.
    """
    windows = np.lib.stride_tricks.sliding_window_view(planes, (side, side), axis=(1, 2))
    _, rows, columns, _, _ = windows[:, ::stride, ::stride].shape
    step = 1
    while -(-rows // step) * -(-columns // step) > most:
        step += 2
    step *= stride
    chosen = windows[:, ::step, ::step].reshape(len(planes), -1, side, side)
    if where is None:
        return chosen
    allowed = (
        np.lib.stride_tricks.sliding_window_view(where, (side, side))[::step, ::step].all(axis=(2, 3)).ravel()
    )
    return chosen[:, allowed] if np.count_nonzero(allowed) >= _LEAST_WINDOWS else chosen
