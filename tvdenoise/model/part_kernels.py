"""The sums of which J consists over a part of an image, and of squares over a part of a gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tvdenoise.model.rows import HYPERBOLIC, ISOTROPIC, derivative_weights, kernel
from tvdenoise.model.volume_kernels import (
    add_squared_lengths,
    square_differences,
    square_differences_across,
)

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


@kernel
def sum_part(x, noisy, box, scales, epsilon, penalty, tv, sums):
    """Put the sum of the penalties and ‖x − f‖² over a part into ``sums``.

    x, noisy: (channels, planes, rows, columns). box: first and last plane, row and column, the last ones excluded.
    scales: (channels, 3), the squared factors of the differences to the next plane, row and column. The differences
    that leave the part are those of the image.
    """
    channels, planes, rows, columns = x.shape
    left, right = box[4], box[5]
    n = right - left
    end = min(right + 1, columns)
    weights = np.empty((3, end - left), x.dtype)
    sums[:] = 0.0
    for z in range(box[0], box[1]):
        for i in range(box[2], box[3]):
            weights[0, :] = 0
            for c in range(channels):
                here = x[c, z, i, left:end]
                below = x[c, z, min(i + 1, rows - 1), left:end]
                behind = x[c, min(z + 1, planes - 1), i, left:end]
                if tv == ISOTROPIC:
                    add_squared_lengths(weights[0], here, below, behind, scales[c])
                else:
                    square_differences(weights[0], here, behind, scales[c, 0])
                    square_differences(weights[1], here, below, scales[c, 1])
                    square_differences_across(weights[2], here, scales[c, 2])
                    for axis in range(3):
                        if scales[c, axis] > 0:
                            sums[0] += derivative_weights(weights[axis, :n], epsilon, penalty)
                squared = x.dtype.type(0)
                for j in range(n):
                    residual = here[j] - noisy[c, z, i, left + j]
                    squared += residual * residual
                sums[1] += squared
            if tv == ISOTROPIC:
                sums[0] += derivative_weights(weights[0, :n], epsilon, penalty)


@kernel
def sum_of_squares(values):
    """Σ v² of (channels, planes, rows, columns) in double precision, row by row."""
    total = 0.0
    for c in range(values.shape[0]):
        for z in range(values.shape[1]):
            for i in range(values.shape[2]):
                row = values[c, z, i]
                of_row = 0.0
                for j in range(row.shape[0]):
                    of_row += np.float64(row[j]) * np.float64(row[j])
                total += of_row
    return total


def prepare_parts(dtype: DTypeLike) -> bool:
    """Load these kernels for one precision from the cache or compile them; True if they had to be compiled."""
    scalar = np.dtype(dtype).type
    x = np.zeros((1, 1, 1, 1), dtype)
    box = np.array([0, 1, 0, 1, 0, 1])
    sum_part(x, x, box, np.ones((1, 3), dtype), scalar(1), HYPERBOLIC, ISOTROPIC, np.zeros(2))
    sum_of_squares(x[..., :1, :1])
    return is_compiled_afresh()


def is_compiled_afresh() -> bool:
    """True from the moment at which a kernel was not found in the cache."""
    return bool(sum_part.stats.cache_misses or sum_of_squares.stats.cache_misses)
