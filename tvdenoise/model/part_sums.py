"""J and ‖∇J‖² over a part of an image, for images that are evaluated part by part.

The values of disjoint parts add up to J: a difference belongs to the pixel that it starts from, even if it ends in
another part.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from tvdenoise.machine import limited_threads, on_threads
from tvdenoise.model.engines import Operands, form_of
from tvdenoise.model.fidelity import ABSENT
from tvdenoise.model.kernels import GAPPED, KernelForm, kernel, rows_for

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tvdenoise.model.objective import Objective


@cache
def sum_for(form: KernelForm) -> Any:
    """Return the function that sums over a part of an image; it is compiled when first called."""
    known_channels, is_isotropic = form.channels, form.tv == "isotropic"
    has_gaps = form.fidelity == GAPPED
    kinds = 3 if has_gaps or not is_isotropic else 1
    weigh = rows_for(form).weigh

    def sum_part(x, noisy, fidelity, box, scales, epsilon, sums):
        """Put the sum of the penalties and ‖x − f‖² over a part into ``sums``.

        x, noisy: (channels, planes, rows, columns). box: start and stop of the planes, rows and columns.
        fidelity: (planes, rows, columns), of which only the absent pixels count; empty if there are none.
        scales: (channels, 3), the squared factors of the differences to the next plane, row and column.
        """
        channels = known_channels or x.shape[0]
        left, right = box[4], box[5]
        weights = np.empty((kinds, 1 if is_isotropic else channels, right - left), x.dtype)
        flags = np.ones((3, right - left), x.dtype)
        sums[:] = 0.0
        for z in range(box[0], box[1]):
            for i in range(box[2], box[3]):
                sums[0] += weigh(weights, flags, x, fidelity, z, i, left, right, scales, epsilon)
                for c in range(channels):
                    squared = x.dtype.type(0)
                    for j in range(left, right):
                        residual = x[c, z, i, j] - noisy[c, z, i, j]
                        if has_gaps and fidelity[z, i, j] == ABSENT:
                            residual = x.dtype.type(0)
                        squared += residual * residual
                    sums[1] += squared

    return kernel(sum_part, form.name)


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


#: Rows of all planes that a thread sums at a time; fixed, so that rounding does not depend on the number of threads.
_ROWS = 64


def value_of_part(
    objective: Objective, x: NDArray[np.floating], part: tuple[slice, ...], threads: int | None = None
) -> float:
    """Return J at x over a part: slices of rows and columns, or of planes, rows and columns.

    Ignores fidelity weights, but not absent pixels. The penalties of absent pixels count; they are constant.
    """
    box = _box(part)
    starts = range(box[2], box[3], _ROWS)
    operands = Operands.of(objective, x, x, np.array([0, x.shape[-2]]))
    sum_part = sum_for(form_of(objective))
    sums = np.zeros((len(starts), 2))

    def sum_rows(band: int) -> None:
        rows = [starts[band], min(starts[band] + _ROWS, box[3])]
        part = np.array([*box[:2], *rows, *box[4:]])
        sum_part(
            operands.x, operands.noisy, operands.fidelity, part, operands.scales, operands.epsilon, sums[band]
        )

    with limited_threads(threads):
        on_threads(sum_rows, range(len(starts)))
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

    with limited_threads(threads):
        on_threads(sum_rows, range(len(starts)))
    return float(sums.sum())


def _as_volume(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Reshape to (channels, planes, rows, columns); an image is a volume of one plane."""
    return values.reshape(len(values), -1, *values.shape[-2:])


def _box(part: tuple[slice, ...]) -> list[int]:
    """Return start and stop of a part along planes, rows and columns."""
    deep = part if len(part) == 3 else (slice(0, 1), *part)
    return [end for each in deep for end in (each.start, each.stop)]
