"""Pixels of any kind as red, green and blue of 8 bits, for people to look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tvdenoise.files.picture import Picture

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
    def of(cls, picture: Picture) -> Tone:
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
