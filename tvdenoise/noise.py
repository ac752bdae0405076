"""The noise level of an image, estimated from the image alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Median of |z| for a standard normal z.
_MEDIAN_OF_ABSOLUTE_NORMAL = 0.6744897501960817


def estimate_sigma(planes: NDArray[np.floating]) -> float:
    """The level σ of white noise over all planes (channels, rows, columns), in their intensity units.

    The median of the absolute finest diagonal Haar coefficients over that of a standard normal (Donoho and
    Johnstone, Biometrika 81(3), 1994), the root mean square over channels. Texture makes it read high. Zero
    where an image is smaller than 2×2.
    """
    _, rows, columns = planes.shape
    if rows < 2 or columns < 2:
        return 0.0
    block = planes[:, : rows // 2 * 2, : columns // 2 * 2]
    diagonal = (block[:, ::2, ::2] - block[:, ::2, 1::2] - block[:, 1::2, ::2] + block[:, 1::2, 1::2]) / 2
    levels = np.median(np.abs(diagonal), axis=(1, 2)) / _MEDIAN_OF_ABSOLUTE_NORMAL
    return float(np.sqrt(np.mean(np.square(levels, dtype=np.float64))))
