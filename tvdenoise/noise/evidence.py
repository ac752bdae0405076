"""What an estimate of the noise is read from: windows of an image, regions of it, planes of a volume.

An image that is held has them at hand; one that is too large to hold is read once for them
(`tvdenoise.tiling.plan`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from tvdenoise.images.data import with_noise_where_missing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tvdenoise.images.data import Data


#: Fewer windows without an excluded pixel are no basis for an estimate: then those with the fewest are taken, too.
_LEAST_WINDOWS = 200


@dataclass(frozen=True)
class WindowGrid:
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

    where: (rows, columns), false for pixels that no window should hold. The places are those of a `WindowGrid`.
    """
    step = WindowGrid(side, stride, most).step(*planes.shape[1:])
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


class NoiseEvidence(Protocol):
    """Of planes (channels, rows, columns): grey, or luminance and opponents; those of a volume one below the other."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, rows, columns)."""

    def equal_neighbours(self) -> float:
        """The part of the first channel's neighbouring pixels that are exactly equal, where it is less."""

    def windows(self, grid: WindowGrid, channels: slice) -> NDArray[np.floating]:
        """The windows (channels, windows, side, side) of these channels at the places of a grid."""

    def planes(self) -> NDArray[np.floating]:
        """The planes themselves; asked for only where they are too thin for windows."""


@dataclass(frozen=True, eq=False)
class ArrayEvidence:
    """The evidence of planes (channels, rows, columns) at hand.

    where: (rows, columns), false for pixels that say nothing of the noise; None for all.
    depth: how many planes of a volume lie one below the other; of these, those of one value say nothing.
    """

    array: NDArray[np.floating]
    where: NDArray[np.bool_] | None = None
    depth: int = 1

    @classmethod
    def of(cls, planes: NDArray[np.floating], where: NDArray[np.bool_] | None = None) -> ArrayEvidence:
        """Of planes (channels, rows, columns), or of a volume (channels, planes, rows, columns)."""
        array, where = side_by_side(planes, where)
        return cls(array, where, array.shape[1] // planes.shape[-2])

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, rows, columns)."""
        channels, rows, columns = self.array.shape
        return channels, rows, columns

    def equal_neighbours(self) -> float:
        """The part of neighbouring pixels that are exactly equal, in the direction in which it is less."""
        parts = []
        where = self._varied_planes()
        for axis in (0, 1):
            equal = np.diff(self.array[0], axis=axis) == 0
            if where is not None:
                before, after = np.delete(where, -1, axis), np.delete(where, 0, axis)
                both = before & after
                equal = equal[both] if both.any() else equal.ravel()
            parts.append(float(equal.mean()) if equal.size else 1.0)
        return min(parts)

    def _varied_planes(self) -> NDArray[np.bool_] | None:
        """Where a pixel says something of the noise, without planes of one value, unless all are."""
        if self.depth == 1:
            return self.where
        planes = self.array[0].reshape(self.depth, -1)
        is_varied = (planes != planes[:, :1]).any(axis=1)
        if is_varied.all() or not is_varied.any():
            return self.where
        varied_rows = np.repeat(is_varied, self.array.shape[1] // self.depth)[:, np.newaxis]
        return np.broadcast_to(varied_rows, self.array.shape[1:]) & (
            True if self.where is None else self.where
        )

    def windows(self, grid: WindowGrid, channels: slice) -> NDArray[np.floating]:
        """The windows (channels, windows, side, side) of these channels at the places of a grid."""
        found = windows_of(
            self.array[channels], grid.side, stride=grid.stride, most=grid.most, where=self.where
        )
        return found if self.depth == 1 else varied(found)

    def planes(self) -> NDArray[np.floating]:
        """The planes themselves."""
        return self.array


#: A part that holds fewer windows tells little of its noise: then what is kept around it tells, too.
_LEAST_WINDOWS_WITHIN = 1000
_WINDOWS = WindowGrid(8, stride=2, most=30_000)
_MARGIN = 64  # pixels around the part


def noise_shown(data: Data) -> tuple[NDArray[np.floating], NDArray[np.bool_] | None]:
    """Planes in which an image shows its noise, and which of their pixels say something of it; None for all.

    Of an image of which a part is kept they are those around what is denoised.
    """
    planes, fidelity = data.planes, data.fidelity
    if fidelity is None:
        return planes, None
    is_informative = None
    if fidelity.has_missing:
        planes, is_informative = with_noise_where_missing(planes, fidelity.coded == 0)
    if fidelity.count in (0, fidelity.coded.size):
        return planes, is_informative
    box = tuple(_extent(fidelity.is_free, axis) for axis in range(fidelity.coded.ndim))
    is_free = fidelity.is_free[box] if is_informative is None else (fidelity.is_free & is_informative)[box]
    if _windows_within(is_free) >= _LEAST_WINDOWS_WITHIN:
        return planes[:, *box], is_free
    wider = (*box[:-2], *(slice(max(part.start - _MARGIN, 0), part.stop + _MARGIN) for part in box[-2:]))
    return planes[:, *wider], None if is_informative is None else is_informative[wider]


def _extent(where: NDArray[np.bool_], axis: int) -> slice:
    """From the first to the last place along an axis."""
    places = np.flatnonzero(where.any(axis=tuple(other for other in range(where.ndim) if other != axis)))
    return slice(int(places[0]), int(places[-1]) + 1)


def _windows_within(where: NDArray[np.bool_]) -> int:
    """How many windows of those that an estimate may look at lie within."""
    chosen = planes_looked_at(where.shape)
    tall = where if chosen is None else where[chosen].reshape(-1, where.shape[-1])
    side = _WINDOWS.side
    if min(tall.shape) < side:
        return 0
    step = _WINDOWS.step(*tall.shape)
    windows = np.lib.stride_tricks.sliding_window_view(tall, (side, side))[::step, ::step]
    return int(np.count_nonzero(windows.all(axis=(2, 3))))
