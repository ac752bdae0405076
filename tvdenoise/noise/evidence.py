"""What an estimate of the noise looks at: windows of an image, and how many of its neighbouring pixels are equal.

An image that is held has them at hand; one that is too large to hold is read once for them
(`tvdenoise.tiling.evidence`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from tvdenoise.noise.volumes import side_by_side
from tvdenoise.noise.windows import Grid, varied, windows_of

if TYPE_CHECKING:
    from numpy.typing import NDArray


class NoiseEvidence(Protocol):
    """Of planes (channels, rows, columns): grey, or luminance and opponents; those of a volume one below the other."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, rows, columns)."""

    def equal_neighbours(self) -> float:
        """The part of the first channel's neighbouring pixels that are exactly equal, where it is less."""

    def windows(self, grid: Grid, channels: slice) -> NDArray[np.floating]:
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

    def windows(self, grid: Grid, channels: slice) -> NDArray[np.floating]:
        """The windows (channels, windows, side, side) of these channels at the places of a grid."""
        found = windows_of(
            self.array[channels], grid.side, stride=grid.stride, most=grid.most, where=self.where
        )
        return found if self.depth == 1 else varied(found)

    def planes(self) -> NDArray[np.floating]:
        """The planes themselves."""
        return self.array
