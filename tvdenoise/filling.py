"""Values for missing pixels: first ones to start from, and noisy ones for those who estimate the noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import binary_opening, uniform_filter

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LEAST_SIDE = 3
#: How far away a pixel may be whose noise stands for that of a missing one, and how often one is looked for.
_REACH, _ATTEMPTS = 3, 6


def fill(planes: NDArray[np.floating], is_missing: NDArray[np.bool_]) -> None:
    """Replace the missing pixels of planes (channels, ...) in place, from windows that grow until they know some.

    is_missing: with the shape of one channel; not all may be. What stood there, NaN too, is not looked at.
    """
    is_known = ~is_missing
    known = is_known.astype(np.float32)
    waiting, side = is_missing.copy(), _LEAST_SIDE
    planes[:, is_missing] = 0
    while waiting.any():
        part = uniform_filter(known, side, mode="constant")
        ready = waiting & (part > 0.5 / side**part.ndim)
        for plane in planes:
            total = uniform_filter(np.where(is_known, plane, 0), side, mode="constant")
            plane[ready] = total[ready] / part[ready]
        waiting &= ~ready
        side = 2 * side - 1


def with_noise_where_missing(
    planes: NDArray[np.floating], is_missing: NDArray[np.bool_]
) -> tuple[NDArray[np.floating], NDArray[np.bool_]]:
    """Filled planes (channels, ...) as an estimator of noise should see them, and which pixels it may look at.

    Scattered missing pixels would leave few windows without any, and filled ones have hardly any noise. To their
    first value is added what a known pixel nearby differs by from the mean of its 3×3 pixels: this has 8/9 of the
    variance of the noise, and the first value, a mean of eight, has the rest. Holes of 3×3 pixels and more are not
    looked at.
    """
    noisy = planes.copy()
    rng = np.random.default_rng(0)
    window = (1,) * (is_missing.ndim - 2) + (3, 3)
    places = np.argwhere(is_missing)
    means = uniform_filter(planes, (1, *window))
    for _ in range(_ATTEMPTS):
        near = places.copy()
        near[:, -2:] += rng.integers(-_REACH, _REACH, near[:, -2:].shape, endpoint=True)
        near = np.clip(near, 0, np.array(is_missing.shape) - 1)
        is_known = ~is_missing[tuple(near.T)]
        to, source = tuple(places[is_known].T), tuple(near[is_known].T)
        for plane, result, mean in zip(planes, noisy, means, strict=True):
            result[to] = plane[to] + (plane[source] - mean[source])
        places = places[~is_known]
    is_hole = binary_opening(is_missing, np.ones(window, bool))
    return noisy, ~is_hole
