"""PSNR and SSIM of two images, computed in double precision and in bands of rows, to bound the memory."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


#: Rows and columns of SSIM's window: a Gaussian of σ = 1.5, cut at 3.5 σ.
WINDOW = 11
_RADIUS = WINDOW // 2
_SIGMA = 1.5
_K1, _K2 = 0.01, 0.03  # of Wang, Bovik, Sheikh and Simoncelli, IEEE TIP 13(4), 2004
_BAND = 1 << 20  # pixels


def psnr(
    reference: NDArray[np.generic],
    image: NDArray[np.generic],
    data_range: float,
    where: NDArray[np.bool_] | None = None,
) -> float:
    """Return the PSNR in decibels, 10 log10(range² / mean squared difference); infinity for equal images.

    reference, image: (rows, columns) or (rows, columns, channels), of one shape. data_range: the difference between
    white and black, in their units. where: (rows, columns), the pixels to compare; all by default.

    Raises ValueError for other shapes, and if there is no pixel to compare.
    """
    _require_comparable(reference, image, data_range)
    total, count = 0.0, 0
    for rows in _bands(reference):
        difference = np.subtract(reference[rows], image[rows], dtype=np.float64)
        if where is not None:
            difference = difference[where[rows]]
        total += float(np.sum(np.square(difference, out=difference)))
        count += difference.size
    if count == 0:
        raise ValueError("there is no pixel to compare")
    if total == 0:
        return math.inf
    return 20 * math.log10(data_range) - 10 * math.log10(total / count)


def ssim(
    reference: NDArray[np.generic],
    image: NDArray[np.generic],
    data_range: float,
    where: NDArray[np.bool_] | None = None,
) -> float:
    """Return the mean structural similarity over channels and all windows within the image; 1 for equal images.

    The arguments are those of `psnr`; a window counts if all of its pixels do. Windows have Gaussian weights with
    σ = 1.5 and population covariances, as in scikit-image's
    ``structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False)``.

    Raises ValueError for other shapes, for images smaller than the window, and if no window counts.
    """
    _require_comparable(reference, image, data_range)
    if min(reference.shape[:2]) < WINDOW:
        rows, columns = reference.shape[:2]
        raise ValueError(f"SSIM takes {WINDOW} × {WINDOW} pixels at least, not {columns} × {rows}")
    channels = _channels(reference)
    total, count = 0.0, 0
    for rows in _bands(reference[: len(reference) - 2 * _RADIUS]):
        seen = slice(rows.start, rows.stop + 2 * _RADIUS)
        counted = None if where is None else _whole_windows(where[seen])
        for channel in channels:
            similarity = _similarity(reference[(seen, *channel)], image[(seen, *channel)], data_range)
            if counted is not None:
                similarity = similarity[counted]
            total += float(similarity.sum())
            count += similarity.size
    if count == 0:
        raise ValueError(f"no {WINDOW} × {WINDOW} pixels can be compared")
    return total / count


def _similarity(
    first: NDArray[np.generic], second: NDArray[np.generic], data_range: float
) -> NDArray[np.float64]:
    """Return SSIM at each pixel of two planes whose window lies within them."""
    x, y = np.asarray(first, np.float64), np.asarray(second, np.float64)
    mean_x, mean_y = _windowed(x), _windowed(y)
    squares_x, squares_y, products = _windowed(x * x), _windowed(y * y), _windowed(x * y)
    c1, c2 = (_K1 * data_range) ** 2, (_K2 * data_range) ** 2
    both = mean_x * mean_y
    squares = mean_x * mean_x + mean_y * mean_y
    covariance = products - both
    variances = squares_x + squares_y - squares
    return (2 * both + c1) * (2 * covariance + c2) / ((squares + c1) * (variances + c2))


def _windowed(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weighted mean of each window."""
    from scipy.ndimage import gaussian_filter

    inside = slice(_RADIUS, -_RADIUS)
    means: NDArray[np.float64] = gaussian_filter(plane, _SIGMA, radius=_RADIUS)[inside, inside]
    return means


def _whole_windows(where: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return True for each window whose pixels all count."""
    from scipy.ndimage import minimum_filter

    inside = slice(_RADIUS, -_RADIUS)
    whole: NDArray[np.bool_] = minimum_filter(where, WINDOW)[inside, inside]
    return whole


def _channels(image: NDArray[np.generic]) -> list[tuple[slice, int] | tuple[()]]:
    """Return the index of each channel, to follow that of the rows."""
    return [()] if image.ndim == 2 else [(slice(None), channel) for channel in range(image.shape[2])]


def _bands(image: NDArray[np.generic]) -> Iterator[slice]:
    """Yield bands of rows of about `_BAND` pixels; the last may be shorter."""
    height = max(1, _BAND // max(1, image.shape[1]))
    for top in range(0, len(image), height):
        yield slice(top, min(top + height, len(image)))


def _require_comparable(
    reference: NDArray[np.generic], image: NDArray[np.generic], data_range: float
) -> None:
    if reference.shape != image.shape:
        raise ValueError(f"images of shapes {reference.shape} and {image.shape} cannot be compared")
    if reference.ndim not in (2, 3):
        raise ValueError(
            f"images have (rows, columns) or (rows, columns, channels), not shape {reference.shape}"
        )
    if not (math.isfinite(data_range) and data_range > 0):
        raise ValueError(f"data_range must be positive and finite, not {data_range}")
