"""Windows of an image, so many that an estimate is good, so few that its cost does not grow with the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


#: Fewer windows without an excluded pixel are no basis for an estimate: then those with the fewest are taken, too.
_LEAST_WINDOWS = 200


@dataclass(frozen=True)
class Grid:
    """Where windows are taken: of side × side pixels, a stride apart or an odd multiple of it, at most so many."""

    side: int
    stride: int
    most: int

    def step(self, rows: int, columns: int) -> int:
        """The distance of windows along rows and columns, in an image of at least one window.

        Every so many rows and columns are left out; an odd number, so that all places in a grid of 8 are taken.
        """
        down, across = (-(-(length - self.side + 1) // self.stride) for length in (rows, columns))
        step = 1
        while -(-down // step) * -(-across // step) > self.most:
            step += 2
        return step * self.stride


def windows_of(
    planes: NDArray[np.floating], side: int, *, stride: int, most: int, where: NDArray[np.bool_] | None = None
) -> NDArray[np.floating]:
    """Square windows (channels, windows, side, side) of planes (channels, rows, columns), at most so many.

    where: (rows, columns), false for pixels that no window should hold. The places are those of a `Grid`.
    """
    step = Grid(side, stride, most).step(*planes.shape[1:])
    windows = np.lib.stride_tricks.sliding_window_view(planes, (side, side), axis=(1, 2))
    chosen = windows[:, ::step, ::step].reshape(len(planes), -1, side, side)
    if where is None:
        return chosen
    within = np.lib.stride_tricks.sliding_window_view(where, (side, side))[::step, ::step]
    excluded = np.count_nonzero(~within, axis=(2, 3)).ravel()
    if np.count_nonzero(excluded == 0) >= _LEAST_WINDOWS:
        return chosen[:, excluded == 0]
    return chosen[:, np.sort(np.argsort(excluded, kind="stable")[:_LEAST_WINDOWS])]


def varied(windows: NDArray[np.floating]) -> NDArray[np.floating]:
    """The windows (channels, windows, side, side) that are not of one value, or all where there are none."""
    is_varied = (windows != windows[..., :1, :1]).any(axis=(0, 2, 3))
    return windows if is_varied.all() or not is_varied.any() else windows[:, is_varied]
