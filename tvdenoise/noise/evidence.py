"""The evidence for a noise estimate: windows and regions of an image, or planes of a volume.

This module takes it from arrays; `tvdenoise.tiling.plan` gathers it in one pass over an image too large for memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

from tvdenoise.images.data import with_noise_where_missing
from tvdenoise.images.windows import box_sums

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tvdenoise.images.data import Data


Value = TypeVar("Value", bound=np.generic)
#: If fewer windows are free of excluded pixels, those with the fewest are taken, too.
_LEAST_WINDOWS = 200


@dataclass(frozen=True)
class WindowGrid:
    """A grid of windows of side × side pixels, at most ``most``, a multiple of the stride apart."""

    side: int
    stride: int
    most: int

    def step(self, rows: int, columns: int) -> int:
        """Return the distance between windows in an image of at least one window.

        It is an odd multiple of the stride, so that windows take all positions relative to a grid of 8 pixels.
        """
        down, across = (-(-(length - self.side + 1) // self.stride) for length in (rows, columns))
        step = 1
        while -(-down // step) * -(-across // step) > self.most:
            step += 2
        return step * self.stride


def windows_of(
    planes: NDArray[np.floating],
    side: int,
    *,
    stride: int,
    most: int,
    where: NDArray[np.bool_] | None = None,
    inner: int | None = None,
) -> NDArray[np.floating]:
    """Return windows (channels, windows, side, side) of planes (channels, rows, columns) on a `WindowGrid`.

    where: (rows, columns), false for pixels that no window should hold.
    inner: take only the inner × inner pixels in the middle of each window; None for all.
    """
    grid = WindowGrid(side, stride, most)
    windows = np.moveaxis(middles(grid_windows(planes, grid), inner), (-2, -1), (0, 1))
    # Pixel by pixel in memory: copied in long runs, and ready for sums over many windows.
    pixels = np.ascontiguousarray(windows).reshape(*windows.shape[:3], -1)
    if where is not None:
        pixels = np.take(pixels, least_excluded(excluded_pixels(where, grid, inner)), axis=-1)
    return np.moveaxis(pixels, (0, 1), (-2, -1))


def grid_windows(values: NDArray[Value], grid: WindowGrid) -> NDArray[Value]:
    """Return a view of the windows of values (..., rows, columns) on a grid: (..., down, across, side, side)."""
    step = grid.step(*values.shape[-2:])
    windows = np.lib.stride_tricks.sliding_window_view(values, (grid.side, grid.side), axis=(-2, -1))
    return windows[..., ::step, ::step, :, :]


def middles(windows: NDArray[Value], side: int | None) -> NDArray[Value]:
    """Return the side × side pixels in the middle of windows (..., side, side); None for all."""
    margin = 0 if side is None else (windows.shape[-1] - side) // 2
    return windows[..., margin : windows.shape[-1] - margin, margin : windows.shape[-1] - margin]


def excluded_pixels(where: NDArray[np.bool_], grid: WindowGrid, inner: int | None = None) -> NDArray[np.intp]:
    """Return the number of false pixels in (the middle of) each window of a grid."""
    margin = 0 if inner is None else (grid.side - inner) // 2
    rows, columns = where.shape
    flags = (~where[margin : rows - margin, margin : columns - margin]).view(np.uint8)
    # A window holds at most 64 pixels, so its sum fits the type.
    counts = box_sums(flags, grid.side - 2 * margin, grid.step(rows, columns))
    excluded: NDArray[np.intp] = counts.astype(np.intp).ravel()
    return excluded


def least_excluded(excluded: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the windows to use, given their numbers of excluded pixels: those without any, or with the fewest."""
    whole = np.flatnonzero(excluded == 0)
    return (
        whole
        if whole.size >= _LEAST_WINDOWS
        else np.sort(np.argsort(excluded, kind="stable")[:_LEAST_WINDOWS])
    )


def varied(windows: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the windows (channels, windows, side, side) that are not constant, or all if all are constant."""
    is_varied = (windows != windows[..., :1, :1]).any(axis=(0, 2, 3))
    return windows if is_varied.all() or not is_varied.any() else windows[:, is_varied]


#: The most pixels of a volume to examine, in planes spread evenly over it, and the least number of planes.
_MOST_PIXELS = 4_000_000
_LEAST_PLANES = 4


def examined_planes(shape: Sequence[int]) -> NDArray[np.intp] | None:
    """Return the indices of the planes of a volume (planes, rows, columns) to examine; None for an image."""
    if len(shape) == 2:
        return None
    count, rows, columns = shape
    taken = min(count, max(_LEAST_PLANES, _MOST_PIXELS // (rows * columns)))
    return np.linspace(0, count - 1, taken).astype(np.intp)


def stacked_planes(
    planes: NDArray[np.floating], where: NDArray[np.bool_] | None
) -> tuple[NDArray[np.floating], NDArray[np.bool_] | None]:
    """Return an image (channels, rows, columns) as it is, a volume as a tall image of its examined planes.

    Noise is estimated within planes, since the distance between planes often differs from that between pixels, and
    the noise of planes that a microscope focuses separately is independent. The seams are too few to matter.
    """
    if planes.ndim == 3:
        return planes, where
    chosen = examined_planes(planes.shape[1:])
    tall = planes[:, chosen].reshape(len(planes), -1, planes.shape[-1])
    return tall, None if where is None else where[chosen].reshape(-1, planes.shape[-1])


class NoiseEvidence(Protocol):
    """The evidence from planes (channels, rows, columns): grey, or luminance and opponents; a volume's are stacked."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, rows, columns)."""

    def equal_neighbours(self, channel: int = 0) -> float:
        """Return the part of exactly equal neighbours in a channel, in the direction with fewer of them.

        channel: 0 or 1, the first opponent of a colour image.
        """

    def windows(self, grid: WindowGrid, channels: slice, inner: int | None = None) -> NDArray[np.floating]:
        """Return the windows (channels, windows, side, side) of these channels on a grid; inner: see `windows_of`."""

    def whole_windows(self, grid: WindowGrid, inner: int | None = None) -> int | None:
        """Return how many windows of a grid hold no excluded pixel; None if no pixel is excluded."""

    def planes(self) -> NDArray[np.floating]:
        """Return the planes; called only if they are too thin for windows."""


@dataclass(frozen=True, eq=False)
class ArrayEvidence:
    """The evidence from planes (channels, rows, columns) in memory.

    where: (rows, columns), false for pixels without information on the noise; None for all.
    depth: the number of stacked planes of a volume; constant ones are ignored.
    """

    array: NDArray[np.floating]
    where: NDArray[np.bool_] | None = None
    depth: int = 1

    @classmethod
    def of(cls, planes: NDArray[np.floating], where: NDArray[np.bool_] | None = None) -> ArrayEvidence:
        """Take the evidence from planes (channels, rows, columns) or a volume (channels, planes, rows, columns)."""
        array, where = stacked_planes(planes, where)
        return cls(array, where, array.shape[1] // planes.shape[-2])

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, rows, columns)."""
        channels, rows, columns = self.array.shape
        return channels, rows, columns

    def equal_neighbours(self, channel: int = 0) -> float:
        """Return the part of exactly equal neighbours, in the direction with fewer of them."""
        where = self._varied_planes()
        values = self.array[channel]
        return min(_equal_part(values, where, axis) for axis in (0, 1))

    def _varied_planes(self) -> NDArray[np.bool_] | None:
        """Return ``where`` without constant planes, unless all planes are constant."""
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

    def windows(self, grid: WindowGrid, channels: slice, inner: int | None = None) -> NDArray[np.floating]:
        """Return the windows (channels, windows, side, side) of these channels on a grid; inner: see `windows_of`."""
        found = windows_of(
            self.array[channels],
            grid.side,
            stride=grid.stride,
            most=grid.most,
            where=self.where,
            inner=inner,
        )
        return found if self.depth == 1 else varied(found)

    def whole_windows(self, grid: WindowGrid, inner: int | None = None) -> int | None:
        """Return how many windows of a grid hold no excluded pixel; None if no pixel is excluded."""
        if self.where is None or self.where.all():
            return None
        return int(np.count_nonzero(excluded_pixels(self.where, grid, inner) == 0))

    def planes(self) -> NDArray[np.floating]:
        """Return the planes."""
        return self.array


#: Values to compare at a time, which fit the cache.
_BAND = 1 << 16


def _equal_part(values: NDArray[np.floating], where: NDArray[np.bool_] | None, axis: int) -> float:
    """Return the part of values (rows, columns) equal to the next along an axis, 1 if there is none.

    where: the values that count, if any pair does.
    """
    rows, columns = values.shape
    height = max(1, _BAND // columns)
    down, across = (1, 0) if axis == 0 else (0, 1)
    equal, equal_counted, counted = 0, 0, 0
    for top in range(0, rows - down, height):
        here = slice(top, min(top + height, rows - down)), slice(0, columns - across)
        following = slice(here[0].start + down, here[0].stop + down), slice(across, columns)
        is_equal = values[here] == values[following]
        equal += int(np.count_nonzero(is_equal))
        if where is not None:
            both = where[here] & where[following]
            counted += int(np.count_nonzero(both))
            equal_counted += int(np.count_nonzero(is_equal & both))
    if counted:
        return equal_counted / counted
    pairs = (rows - down) * (columns - across)
    return equal / pairs if pairs else 1.0


#: If the unknown part holds fewer windows, the noise is estimated from the kept pixels around it, too.
_LEAST_WINDOWS_WITHIN = 1000
_WINDOWS = WindowGrid(8, stride=2, most=30_000)
_MARGIN = 64  # pixels


#: If fewer pixels are away from clipped ones, they are no measure of the whole, and clipped pixels count.
_LEAST_UNCLIPPED = 0.1


def noise_shown(data: Data) -> tuple[NDArray[np.floating], NDArray[np.bool_] | None]:
    """Return planes to estimate the noise from, and a mask of their informative pixels; None for all.

    If a mask keeps part of the image, the planes cover the unknown pixels and their surroundings.
    """
    planes, fidelity = data.planes, data.fidelity
    is_informative = None
    if fidelity is not None and fidelity.is_void.any():
        planes, is_informative = with_noise_where_missing(planes, fidelity.is_void)
    unclipped = unclipped_pixels(data)
    if unclipped is not None:
        is_informative = unclipped if is_informative is None else is_informative & unclipped
    if fidelity is None or not fidelity.is_held.any() or fidelity.is_held.all():
        return planes, is_informative
    is_free = ~fidelity.is_held
    box = tuple(_extent(is_free, axis) for axis in range(is_free.ndim))
    is_free = is_free[box] if is_informative is None else (is_free & is_informative)[box]
    if _windows_within(is_free) >= _LEAST_WINDOWS_WITHIN:
        return planes[:, *box], is_free
    wider = (*box[:-2], *(slice(max(part.start - _MARGIN, 0), part.stop + _MARGIN) for part in box[-2:]))
    return planes[:, *wider], None if is_informative is None else is_informative[wider]


def unclipped_pixels(data: Data) -> NDArray[np.bool_] | None:
    """Return the mask of pixels away from clipped ones; None if that is all, or too few to go by."""
    if data.clipped is None or is_mostly_clipped(int(np.count_nonzero(data.clipped)), data.clipped.size):
        return None
    return ~data.clipped


def is_mostly_clipped(clipped: int, count: int) -> bool:
    """Return True if too few of so many pixels are away from clipped ones."""
    return count - clipped < _LEAST_UNCLIPPED * count


def _extent(where: NDArray[np.bool_], axis: int) -> slice:
    """Return the range of the true values along an axis."""
    places = np.flatnonzero(where.any(axis=tuple(other for other in range(where.ndim) if other != axis)))
    return slice(int(places[0]), int(places[-1]) + 1)


def _windows_within(where: NDArray[np.bool_]) -> int:
    """Return how many windows of the grid lie within the mask."""
    chosen = examined_planes(where.shape)
    tall = where if chosen is None else where[chosen].reshape(-1, where.shape[-1])
    side = _WINDOWS.side
    if min(tall.shape) < side:
        return 0
    step = _WINDOWS.step(*tall.shape)
    windows = np.lib.stride_tricks.sliding_window_view(tall, (side, side))[::step, ::step]
    return int(np.count_nonzero(windows.all(axis=(2, 3))))
