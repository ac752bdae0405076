"""J and ‖∇J‖² over a part of an image, for images that are evaluated part by part.

The values of disjoint parts add up to J: a difference belongs to the pixel that it starts from, even if it ends in
another part.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from tvdenoise.machine import available_threads
from tvdenoise.model.fidelity import ABSENT
from tvdenoise.model.kernels import HYPERBOLIC, ISOTROPIC, PENALTY_CODES, TV_CODES, derivative_weights, kernel
from tvdenoise.model.volume_kernels import (
    add_flagged_squared_lengths,
    add_squared_lengths,
    flag_differences,
    multiply_row,
    square_differences,
    square_differences_across,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import DTypeLike, NDArray

    from tvdenoise.model.objective import Objective


@kernel
def sum_part(  # noqa: PLR0912
    x, noisy, fidelity, box, scales, epsilon, penalty, tv, has_gaps, sums
):
    """Put the sum of the penalties and ‖x − f‖² over a part into ``sums``.

    x, noisy: (channels, planes, rows, columns). box: start and stop of the planes, rows and columns.
    fidelity: (planes, rows, columns), of which only the absent pixels count; used if has_gaps.
    scales: (channels, 3), the squared factors of the differences to the next plane, row and column.
    """
    channels, planes, rows, columns = x.shape
    left, right = box[4], box[5]
    n = right - left
    end = min(right + 1, columns)
    weights = np.empty((3, end - left), x.dtype)
    flags = np.ones((3, end - left), x.dtype)
    sums[:] = 0.0
    for z in range(box[0], box[1]):
        for i in range(box[2], box[3]):
            weights[0, :] = 0
            if has_gaps:
                below_row, behind_plane = min(i + 1, rows - 1), min(z + 1, planes - 1)
                flag_differences(
                    flags, fidelity[z, i, left:end], fidelity[z, below_row, left:end],
                    fidelity[behind_plane, i, left:end], flags.dtype.type(ABSENT),
                )  # fmt: skip
            for c in range(channels):
                here = x[c, z, i, left:end]
                below = x[c, z, min(i + 1, rows - 1), left:end]
                behind = x[c, min(z + 1, planes - 1), i, left:end]
                if tv == ISOTROPIC:
                    if has_gaps:
                        add_flagged_squared_lengths(weights[0], here, below, behind, scales[c], flags)
                    else:
                        add_squared_lengths(weights[0], here, below, behind, scales[c])
                else:
                    square_differences(weights[0], here, behind, scales[c, 0])
                    square_differences(weights[1], here, below, scales[c, 1])
                    square_differences_across(weights[2], here, scales[c, 2])
                    for axis in range(3):
                        if scales[c, axis] > 0:
                            if has_gaps:
                                multiply_row(weights[axis], flags[axis])
                            sums[0] += derivative_weights(weights[axis, :n], epsilon, penalty)
                squared = x.dtype.type(0)
                for j in range(n):
                    residual = here[j] - noisy[c, z, i, left + j]
                    if has_gaps and fidelity[z, i, left + j] == ABSENT:
                        residual = x.dtype.type(0)
                    squared += residual * residual
                sums[1] += squared
            if tv == ISOTROPIC:
                sums[0] += derivative_weights(weights[0, :n], epsilon, penalty)


@kernel
def sum_of_squares(values):
    """Return Σ v² over (channels, planes, rows, columns) in double precision."""
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
    """Load these kernels for one precision from the cache or compile them; return True if they had to be compiled."""
    scalar = np.dtype(dtype).type
    x = np.zeros((1, 1, 1, 1), dtype)
    box = np.array([0, 1, 0, 1, 0, 1])
    sum_part(x, x, x[0], box, np.ones((1, 3), dtype), scalar(1), HYPERBOLIC, ISOTROPIC, False, np.zeros(2))
    sum_of_squares(x[..., :1, :1])
    return is_compiled_afresh()


def is_compiled_afresh() -> bool:
    """Return True if any of these kernels was not found in the cache."""
    return bool(sum_part.stats.cache_misses or sum_of_squares.stats.cache_misses)


#: Rows of all planes that a thread sums at a time; fixed, so that rounding does not depend on the number of threads.
_ROWS = 64


def value_of_part(
    objective: Objective, x: NDArray[np.floating], part: tuple[slice, ...], threads: int | None = None
) -> float:
    """Return J at x over a part: slices of rows and columns, or of planes, rows and columns.

    Ignores fidelity weights, but not absent pixels. The penalties of absent pixels count; they are constant.
    """
    box = _box(part)
    volume, noisy = _as_volume(x), _as_volume(objective.noisy)
    squared_weights = np.multiply.outer(
        np.square(objective.channel_weights), (0.0, *objective.squared_axis_weights)[-3:]
    )
    scalar = x.dtype.type
    parameters = (
        squared_weights.astype(x.dtype), scalar(objective.penalty.epsilon),
        PENALTY_CODES[objective.penalty.name], TV_CODES[objective.tv],
    )  # fmt: skip
    fidelity = objective.fidelity
    has_gaps = fidelity is not None and fidelity.absent > 0
    coded = noisy[0] if fidelity is None else fidelity.coded.astype(x.dtype).reshape(noisy.shape[1:])
    starts = range(box[2], box[3], _ROWS)
    sums = np.zeros((len(starts), 2))

    def sum_rows(band: int) -> None:
        rows = [starts[band], min(starts[band] + _ROWS, box[3])]
        part = np.array([*box[:2], *rows, *box[4:]])
        sum_part(volume, noisy, coded, part, *parameters, has_gaps, sums[band])

    _do(sum_rows, len(starts), threads)
    penalties, squared_residual = sums.sum(axis=0)
    return float(penalties + objective.mu / 2 * squared_residual)


def squared_norm_of_part(
    gradient: NDArray[np.floating], part: tuple[slice, ...], threads: int | None = None
) -> float:
    """Return Σ g² over a part of a gradient (channels, ...), in double precision."""
    box = _box(part)
    inner = _as_volume(gradient)[:, box[0] : box[1], :, box[4] : box[5]]
    starts = range(box[2], box[3], _ROWS)
    sums = np.zeros(len(starts))

    def sum_rows(band: int) -> None:
        first = starts[band]
        sums[band] = sum_of_squares(inner[:, :, first : min(first + _ROWS, box[3])])

    _do(sum_rows, len(starts), threads)
    return float(sums.sum())


def _as_volume(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Reshape to (channels, planes, rows, columns); an image is a volume of one plane."""
    return values.reshape(len(values), -1, *values.shape[-2:])


def _box(part: tuple[slice, ...]) -> list[int]:
    """Return start and stop of a part along planes, rows and columns."""
    deep = part if len(part) == 3 else (slice(0, 1), *part)
    return [end for each in deep for end in (each.start, each.stop)]


def _do(work: Callable[[int], None], count: int, threads: int | None) -> None:
    """Call ``work`` with each number below the count, in threads."""
    most = min(threads or available_threads(), count)
    if most <= 1:
        for number in range(count):
            work(number)
        return
    with ThreadPoolExecutor(most) as pool:
        list(pool.map(work, range(count)))
