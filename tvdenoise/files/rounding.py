"""From denoised intensities to those that a file stores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BAND = 1 << 17  # values that are rounded at a time, so that they stay in the processor's cache


def stored(denoised: NDArray[np.floating], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Intensities in [0, 1] as integers, rounded half to even and clipped; as floats those that the type can hold."""
    if dtype.kind == "f":
        limit = np.finfo(dtype).max  # beyond which half precision knows only infinity
        clipped: NDArray[Any] = np.clip(denoised, -limit, limit).astype(dtype)
        return clipped
    largest = np.float32(np.iinfo(dtype).max)
    result = np.empty(denoised.shape, dtype)
    height = max(1, _BAND * len(result) // result.size)
    for top in range(0, len(result), height):
        scaled = denoised[top : top + height] * largest
        np.rint(scaled, out=scaled)
        result[top : top + height] = np.clip(scaled, 0, largest, out=scaled)
    return result
