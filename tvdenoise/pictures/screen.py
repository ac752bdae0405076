"""Intensities as a screen shows them; never on the way to a result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tvdenoise.files.orientation import Orientation

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from tvdenoise.files.decoded import DecodedImage


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
    def of(cls, picture: DecodedImage, white: float) -> Displayed:
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


_SAMPLE = 1_000_000  # values whose percentiles are taken
_PERCENTILES = (0.1, 99.9)
_FULL_ENOUGH = 1 / 4  # of the range of integers; darker pictures would be shown nearly black
_CHECKER, _CHECKER_GREYS = 8, (100, 155)


@dataclass(frozen=True)
class Tone:
    """The stored values that are shown black and white; what is beyond is cut.

    is_stretched: where they are not the ends of the type's range.
    """

    black: float
    white: float
    is_stretched: bool = False

    @classmethod
    def of(cls, picture: DecodedImage) -> Tone:
        """The ends of the range for integers; percentiles for floats, and for integers that use little of theirs."""
        values = picture.intensities
        step = max(1, round((values.size / _SAMPLE) ** 0.5))
        black, white = (
            float(end) for end in np.percentile(values[::step, ::step].astype(np.float64), _PERCENTILES)
        )
        if values.dtype.kind != "f":
            largest = float(np.iinfo(values.dtype).max)
            if picture.channels == 4 or white >= largest * _FULL_ENOUGH or white == black:
                return cls(0, largest)
        return cls(black, white, True) if white > black else cls(black - 0.5, black + 0.5, True)

    def shown(self, intensities: NDArray[Any], alpha: NDArray[Any] | None = None) -> NDArray[np.uint8]:
        """Intensities (rows, columns[, channels]) as (rows, columns, 3), laid over a checker where transparent.

        Inks are mixed plainly: (1 − ink)(1 − black).
        """
        scale = 255 / (self.white - self.black)
        values = np.clip((intensities.astype(np.float64) - self.black) * scale, 0, 255)
        if values.ndim == 2:
            values = np.repeat(values[..., np.newaxis], 3, axis=2)
        elif values.shape[2] == 4:
            values = (255 - values[..., :3]) * (255 - values[..., 3:]) / 255
        if alpha is not None:
            cover = _cover(alpha)[..., np.newaxis]
            values = cover * values + (1 - cover) * _checker(alpha.shape)[..., np.newaxis]
        return np.rint(values).astype(np.uint8)


def _cover(alpha: NDArray[Any]) -> NDArray[np.float64]:
    largest = 1.0 if alpha.dtype.kind == "f" else float(np.iinfo(alpha.dtype).max)
    return np.clip(alpha / largest, 0, 1).astype(np.float64)


def _checker(shape: tuple[int, ...]) -> NDArray[np.float64]:
    rows, columns = (np.arange(length) // _CHECKER for length in shape)
    return np.where(np.add.outer(rows, columns) % 2, *_CHECKER_GREYS).astype(np.float64)
