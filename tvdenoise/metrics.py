"""How close a picture is to its clean reference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import gaussian_filter

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SIGMA = 1.5
_RADIUS = 5  # of the weights, which end at 3.5 σ


def psnr(image: NDArray[Any], reference: NDArray[Any], data_range: float) -> float:
    """Peak signal-to-noise ratio in dB; infinite where both are equal."""
    error = np.mean(np.square(np.subtract(image, reference, dtype=np.float64)))
    return float(np.inf if error == 0 else 10 * np.log10(data_range**2 / error))


def ssim(image: NDArray[Any], reference: NDArray[Any], data_range: float) -> float:
    """Structural similarity with Gaussian weights (σ = 1.5); of (rows, columns, channels) the channels' mean.

    Both sides must have at least 11 pixels.
    """
    if image.ndim == 3:
        pairs = zip(np.moveaxis(image, -1, 0), np.moveaxis(reference, -1, 0), strict=True)
        return float(np.mean([ssim(one, other, data_range) for one, other in pairs]))
    x, y = image.astype(np.float64), reference.astype(np.float64)
    mean_x, mean_y = _weighted(x), _weighted(y)
    variances = _weighted(x * x) - mean_x**2 + _weighted(y * y) - mean_y**2
    covariance = _weighted(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    similarity /= (mean_x**2 + mean_y**2 + c1) * (variances + c2)
    return float(similarity[_RADIUS:-_RADIUS, _RADIUS:-_RADIUS].mean())


def _weighted(values: NDArray[np.float64]) -> NDArray[np.float64]:
    means: NDArray[np.float64] = gaussian_filter(values, _SIGMA, truncate=3.5)
    return means
