"""A picture at any resolution, without keeping more than a sixteenth of it besides."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from tvdenoise.live.view import Region, reduced

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_KEPT_LEVEL = 2  # the reduction that is kept, from which coarser ones are made
_BAND = 1 << 21  # values of the picture that are reduced at a time


class Reductions:
    """Planes (channels, rows, columns) whose parts are read at full resolution or reduced by powers of two.

    shape: rows and columns; read: the planes of some rows and columns of the picture, float32.
    """

    def __init__(
        self, shape: tuple[int, int], read: Callable[[slice, slice], NDArray[np.floating[Any]]]
    ) -> None:
        self.shape = shape
        self._read = read

    def part(self, region: Region) -> NDArray[np.floating[Any]]:
        """The planes of a region, (channels, rows, columns)."""
        if region.level < _KEPT_LEVEL:
            return self._from_picture(region)
        halvings = region.level - _KEPT_LEVEL
        rows, columns = _enlarged(region, halvings)
        return _halved(self._kept[:, rows, columns], halvings)

    def _from_picture(self, region: Region) -> NDArray[np.floating[Any]]:
        return _halved(self._read(*_enlarged(region, region.level)), region.level)

    @cached_property
    def _kept(self) -> NDArray[np.floating[Any]]:
        rows, columns = (reduced(length, _KEPT_LEVEL) for length in self.shape)
        height = max(1, _BAND // (self.shape[1] << _KEPT_LEVEL))
        bands = (
            self._from_picture(Region(_KEPT_LEVEL, top, 0, min(height, rows - top), columns))
            for top in range(0, rows, height)
        )
        return np.concatenate(list(bands), axis=1)


def _enlarged(region: Region, halvings: int) -> tuple[slice, slice]:
    """The rows and columns that become those of a region; they may reach beyond the end."""
    return (
        slice(region.top << halvings, (region.top + region.rows) << halvings),
        slice(region.left << halvings, (region.left + region.columns) << halvings),
    )


def _halved(planes: NDArray[np.floating[Any]], times: int) -> NDArray[np.floating[Any]]:
    """Means of squares of pixels; at odd ends the last row or column counts twice."""
    for _ in range(times):
        _, rows, columns = planes.shape
        if rows % 2 or columns % 2:
            planes = np.pad(planes, ((0, 0), (0, rows % 2), (0, columns % 2)), mode="edge")
        pairs = planes[:, ::2] + planes[:, 1::2]
        planes = (pairs[:, :, ::2] + pairs[:, :, 1::2]) * np.float32(0.25)
    return planes
