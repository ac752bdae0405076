"""What the noise of an image too large to hold is read from, gathered while its rows come in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tvdenoise.noise.blocks import BLOCKS
from tvdenoise.noise.volumes import planes_looked_at
from tvdenoise.noise.white import PATCHES, is_thin
from tvdenoise.noise.windows import varied

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tvdenoise.noise.windows import Grid
    from tvdenoise.tiling.source import Window

_FLOAT, _COPIES = 4, 4  # bytes; of a plane whose level is read


class StreamedEvidence:
    """`tvdenoise.noise.evidence.NoiseEvidence` of rows that come in order, those of volumes plane after plane."""

    def __init__(self, shape: tuple[int, int, int], depth: int = 1) -> None:
        """shape: (channels, rows, columns) in all; depth: of how many planes."""
        self.shape = shape
        channels, rows, columns = shape
        self._depth = depth
        self._seen = 0
        #: Equal neighbours by plane: down and across within it, and down from the one before.
        self._equal = np.zeros((depth, 3), np.int64)
        self._last = np.empty((channels, 0, columns), np.float32)
        grids = [] if is_thin(rows, columns) else [PATCHES]
        grids += [BLOCKS] if min(rows, columns) >= BLOCKS.side else []
        self._windows = {grid: _Windows(grid, shape) for grid in grids}
        self._thin: list[NDArray[np.floating]] | None = [] if is_thin(rows, columns) else None

    @classmethod
    def of(cls, shape: tuple[int, ...]) -> StreamedEvidence:
        """For an image (channels, rows, columns) or a volume (channels, planes, rows, columns)."""
        looked_at = _looked_at(shape)
        return cls(looked_at, looked_at[1] // shape[-2])

    def add_window(
        self, planes: NDArray[np.floating], window: Window, looked_at: NDArray[np.intp] | None
    ) -> None:
        """The next band of an image, or of a volume, of whose planes some are looked at."""
        if looked_at is None:
            self.add(planes)
            return
        first, last = np.searchsorted(looked_at, (window[0].start, window[0].stop))
        for plane in looked_at[first:last] - window[0].start:
            self.add(planes[:, plane])

    def add(self, rows: NDArray[np.floating]) -> None:
        """The next rows (channels, rows, columns), of one plane."""
        first, before = rows[0], self._last[0, -1:]
        plane, row = divmod(self._seen, self.shape[1] // self._depth)
        equal = self._equal[plane]
        equal[0] += np.count_nonzero(first[1:] == first[:-1])
        equal[1] += np.count_nonzero(first[:, 1:] == first[:, :-1])
        if len(before):
            equal[0 if row else 2] += np.count_nonzero(first[:1] == before)
        for windows in self._windows.values():
            windows.add(self._last, rows, self._seen)
        if self._thin is not None:
            self._thin.append(rows.copy())
        kept = max(PATCHES.side, BLOCKS.side) - 1
        self._seen += rows.shape[1]
        self._last = (
            rows[:, -kept:].copy()
            if rows.shape[1] >= kept
            else np.concatenate([self._last, rows], axis=1)[:, -kept:]
        )

    def equal_neighbours(self) -> float:
        """The part of neighbouring pixels that are exactly equal, in the direction in which it is less."""
        rows, columns = self.shape[1] // self._depth, self.shape[2]
        pairs = np.array([(rows - 1) * columns, rows * (columns - 1), columns])
        is_varied = (self._equal[:, :2] != pairs[:2]).any(axis=1)
        if not is_varied.any():
            is_varied[:] = True
        after_varied = np.zeros_like(is_varied)
        after_varied[1:] = is_varied[1:] & is_varied[:-1]
        within, seams = self._equal[is_varied].sum(axis=0), self._equal[after_varied, 2].sum()
        planes, between = np.count_nonzero(is_varied), np.count_nonzero(after_varied)
        equal = (int(within[0] + seams), int(within[1]))
        counts = (int(planes * pairs[0] + between * pairs[2]), int(planes * pairs[1]))
        return min(part / count if count else 1.0 for part, count in zip(equal, counts, strict=True))

    def windows(self, grid: Grid, channels: slice) -> NDArray[np.floating]:
        """The windows (channels, windows, side, side) of these channels at the places of a grid."""
        taken = self._windows[grid].taken[channels]
        return taken if self._depth == 1 else varied(taken)

    def planes(self) -> NDArray[np.floating]:
        """The planes themselves, where they are thin."""
        assert self._thin is not None
        return np.concatenate(self._thin, axis=1)


def _looked_at(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Channels, rows and columns of what is looked at of an image or a volume (channels, ...)."""
    channels, *deep, rows, columns = shape
    planes = planes_looked_at([*deep, rows, columns])
    return channels, rows if planes is None else rows * len(planes), columns


def held_whole(shape: tuple[int, ...]) -> int:
    """The bytes that estimating the noise of an image or a volume (channels, ...) takes beside bounded samples."""
    channels, rows, columns = _looked_at(shape)
    return _FLOAT * (2 * channels + _COPIES) * rows * columns if is_thin(rows, columns) else 0


class _Windows:
    """The windows of a grid, in its order, from rows that come in order."""

    def __init__(self, grid: Grid, shape: tuple[int, int, int]) -> None:
        channels, rows, columns = shape
        self._side, self._step = grid.side, grid.step(rows, columns)
        self._across = len(range(0, columns - grid.side + 1, self._step))
        down = len(range(0, rows - grid.side + 1, self._step))
        self.taken = np.empty((channels, down * self._across, grid.side, grid.side), np.float32)
        self._next = 0

    def add(self, before: NDArray[np.floating], rows: NDArray[np.floating], seen: int) -> None:
        """before: the last rows of those seen."""
        while (top := self._next * self._step) + self._side <= seen + rows.shape[1]:
            if top >= seen:
                strip = rows[:, top - seen : top - seen + self._side]
            else:
                held = before[:, before.shape[1] - (seen - top) :]
                strip = np.concatenate([held, rows[:, : self._side - held.shape[1]]], axis=1)
            windows = np.lib.stride_tricks.sliding_window_view(strip, (self._side, self._side), axis=(1, 2))
            place = self._next * self._across
            self.taken[:, place : place + self._across] = windows[:, 0, :: self._step]
            self._next += 1
