"""Intensities as a screen shows them, for pictures for people; never on the way to a result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_INKS = 4


def as_light(intensities: NDArray[Any], white: float) -> NDArray[np.float32]:
    """Rows of a picture in fractions of white: grey (rows, columns) as it is, or red, green and blue.

    Four channels are inks, (rows, columns, 4), shown as light without a profile: what each of the first three and
    black let through.
    """
    fractions = np.asarray(intensities, np.float32) / np.float32(white)
    if fractions.ndim == 3 and fractions.shape[2] == _INKS:
        fractions = (1 - fractions[..., :3]) * (1 - fractions[..., 3:])
    return fractions


def upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Pixels (rows, columns, ...) turned as an EXIF orientation from 1 to 8 says; shares memory with them."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels
