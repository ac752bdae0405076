"""Intensities as a screen shows them, for pictures for people; never on the way to a result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tvdenoise.files.upright import Orientation

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from tvdenoise.files.picture import Picture

_INKS = 4
_HIDDEN = 0.5  # the grey of invisible pixels
_BAND = 1 << 18  # values that are looked at together

Part = tuple[slice, slice]


def as_light(intensities: NDArray[Any], white: float) -> NDArray[np.float32]:
    """Intensities in fractions of white: grey (rows, columns) as it is, or red, green and blue.

    Four channels are inks, (rows, columns, 4), shown as light without a profile: what each of the first three and
    black let through.
    """
    fractions = np.asarray(intensities, np.float32) / np.float32(white)
    if fractions.ndim == 3 and fractions.shape[2] == _INKS:
        fractions = (1 - fractions[..., :3]) * (1 - fractions[..., 3:])
    return fractions


@dataclass(frozen=True, eq=False)
class Displayed:
    """A picture as a person sees it.

    pixels: as stored but upright; visible: which of them are, or None for all; white: the value that counts as 1.
    """

    pixels: NDArray[Any]
    visible: NDArray[np.bool_] | None
    white: float

    @classmethod
    def of(cls, picture: Picture, white: float) -> Displayed:
        orientation = Orientation.of(picture)
        visible = None if picture.visible is None else orientation.shown(picture.visible)
        return cls(orientation.shown(picture.intensities), visible, white)

    def light(self, part: Part) -> NDArray[np.float32]:
        """A part as grey, or red, green and blue; invisible pixels are grey."""
        light = as_light(self.pixels[part], self.white)
        if self.visible is not None:
            light[~self.visible[part]] = _HIDDEN
        return light

    def overview(self, factor: int) -> NDArray[np.float32]:
        """All of it as `light`, as means of blocks of factor × factor pixels."""
        return self._reduced(self.light, factor)

    def squared_difference(self, other: Displayed, factor: int) -> NDArray[np.float32]:
        """Means over channels and such blocks, in data ranges; 0 where nothing is visible."""

        def squares(part: Part) -> NDArray[np.float32]:
            difference = self.pixels[part].astype(np.float32) - other.pixels[part].astype(np.float32)
            difference = np.square(difference / np.float32(self.white))
            if self.visible is not None:
                difference[~self.visible[part]] = 0
            return np.asarray(difference.mean(axis=2)) if difference.ndim == 3 else difference

        return self._reduced(squares, factor)

    def _reduced(self, values: Callable[[Part], NDArray[np.float32]], factor: int) -> NDArray[np.float32]:
        """Means of blocks, at the lower and right edges of smaller ones; from bands of rows."""
        rows, columns = self.pixels.shape[:2]
        height = max(1, _BAND // (columns * factor)) * factor
        bands = []
        for top in range(0, rows, height):
            band = values((slice(top, min(top + height, rows)), slice(0, columns)))
            bands.append(_block_means(_block_means(band, factor, 0), factor, 1))
        return np.concatenate(bands)


def _block_means(values: NDArray[np.float32], factor: int, axis: int) -> NDArray[np.float32]:
    """Along an axis; the last block may be smaller."""
    starts = np.arange(0, values.shape[axis], factor)
    counts = np.minimum(factor, values.shape[axis] - starts).astype(np.float32)
    shape = [1] * values.ndim
    shape[axis] = len(counts)
    means: NDArray[np.float32] = np.add.reduceat(values, starts, axis) / counts.reshape(shape)
    return means
