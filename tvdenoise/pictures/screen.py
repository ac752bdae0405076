"""Map intensities to displayed values; for display only, never for results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tvdenoise.files.decoded import DecodedImage


_INKS = 4
_SAMPLE = 1_000_000  # values, about, from which to take percentiles
_PERCENTILES = (0.1, 99.9)
_FULL_ENOUGH = 1 / 4  # of the range of integers; darker images would look nearly black
_CHECKER, _CHECKER_GREYS = 8, (100, 155)


def as_light(
    intensities: NDArray[Any], unit: float, dtype: type[np.floating[Any]] = np.float32
) -> NDArray[np.floating[Any]]:
    """A copy of intensities in units of ``unit``: grey (rows, columns[, 1]) or RGB (rows, columns, 3).

    CMYK inks (rows, columns, 4) become RGB light without a profile: (1 − ink)(1 − black).
    """
    fractions = np.array(intensities, dtype)
    if unit != 1:
        fractions /= dtype(unit)
    if fractions.ndim == 3 and fractions.shape[2] == _INKS:
        fractions = (1 - fractions[..., :3]) * (1 - fractions[..., 3:])
    return fractions


def faint_and_bright(values: NDArray[Any]) -> tuple[float, float]:
    """The 0.1 and 99.9 percentiles: minimum and maximum except a few outliers."""
    black, white = np.percentile(values, _PERCENTILES)
    return float(black), float(white)


@dataclass(frozen=True)
class Screen:
    """The intensities shown as black and white, in any unit; others are clipped to them.

    is_stretched: True if they are not the limits of the image's type.
    """

    black: float = 0.0
    white: float = 1.0
    is_stretched: bool = False

    @classmethod
    def of(cls, image: DecodedImage) -> Screen:
        """The screen for stored intensities: the limits of an unsigned type or of inks; percentiles for floats, for
        signed integers, and for others that use little of their range."""
        values = image.intensities
        step = max(1, round((values.size / _SAMPLE) ** 0.5))
        black, white = faint_and_bright(values[::step, ::step].astype(np.float64))
        if values.dtype.kind == "u":
            largest = float(np.iinfo(values.dtype).max)
            if image.channels == _INKS or white >= largest * _FULL_ENOUGH or white == black:
                return cls(0, largest)
        return cls(black, white, True) if white > black else cls(black - 0.5, black + 0.5, True)

    def fractions(self, light: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        """Map light (see `as_light`) to [0, 1], from black to white."""
        kind = light.dtype.type
        span = kind(self.white - self.black)
        fractions: NDArray[np.floating[Any]] = np.clip((light - kind(self.black)) / span, 0, 1)
        return fractions

    def quick_bytes(self, light: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
        """Map light (see `as_light`), which is overwritten, to 0 for black to 255 for white; halves round up."""
        span = self.white - self.black
        light *= light.dtype.type(255 / span)
        light += light.dtype.type(0.5 - 255 * self.black / span)
        np.maximum(light, 0, out=light)
        np.minimum(light, 255, out=light)
        shown: NDArray[np.uint8] = light.astype(np.uint8)
        return shown

    def rgb(self, intensities: NDArray[Any], alpha: NDArray[Any] | None = None) -> NDArray[np.uint8]:
        """Intensities (rows, columns[, channels]) as RGB (rows, columns, 3), over a checkerboard where transparent."""
        if intensities.ndim == 3 and intensities.shape[2] == _INKS:
            values = as_light(intensities, self.white, np.float64) * 255
        else:
            scale = 255 / (self.white - self.black)
            values = np.clip((intensities.astype(np.float64) - self.black) * scale, 0, 255)
        if values.ndim == 2:
            values = np.repeat(values[..., np.newaxis], 3, axis=2)
        if alpha is not None:
            cover = _cover(alpha)[..., np.newaxis]
            values = cover * values + (1 - cover) * _checker(alpha.shape)[..., np.newaxis]
        shown: NDArray[np.uint8] = np.rint(values).astype(np.uint8)
        return shown


def _cover(alpha: NDArray[Any]) -> NDArray[np.float64]:
    largest = 1.0 if alpha.dtype.kind == "f" else float(np.iinfo(alpha.dtype).max)
    return np.clip(alpha / largest, 0, 1).astype(np.float64)


def _checker(shape: tuple[int, ...]) -> NDArray[np.float64]:
    rows, columns = (np.arange(length) // _CHECKER for length in shape)
    return np.where(np.add.outer(rows, columns) % 2, *_CHECKER_GREYS).astype(np.float64)
