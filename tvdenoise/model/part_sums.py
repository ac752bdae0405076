"""J and ‖∇J‖² over a part of an image, for images that are looked at part by part.

The parts of an image give J together: to each pixel belong the penalties of the differences that leave it, and they
may reach out of the part.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from tvdenoise.model import part_kernels
from tvdenoise.model.engines import available_threads
from tvdenoise.model.rows import PENALTY_CODES, TV_CODES

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from tvdenoise.model.objective import Objective

#: Rows of all planes that a thread takes at a time, so that their number never changes how sums are rounded.
_ROWS = 64


def value_of_part(
    objective: Objective, x: NDArray[np.floating], part: tuple[slice, ...], threads: int | None = None
) -> float:
    """J over a part (of rows and columns, or of planes, rows and columns) of the objective's image at x.

    Fidelity weights are not looked at.
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
    starts = range(box[2], box[3], _ROWS)
    sums = np.zeros((len(starts), 2))

    def sum_rows(band: int) -> None:
        rows = [starts[band], min(starts[band] + _ROWS, box[3])]
        part_kernels.sum_part(volume, noisy, np.array([*box[:2], *rows, *box[4:]]), *parameters, sums[band])

    _do(sum_rows, len(starts), threads)
    penalties, squared_residual = sums.sum(axis=0)
    return float(penalties + objective.mu / 2 * squared_residual)


def squared_norm_of_part(
    gradient: NDArray[np.floating], part: tuple[slice, ...], threads: int | None = None
) -> float:
    """Σ g² over a part of a gradient (channels, ...), in double precision."""
    box = _box(part)
    inner = _as_volume(gradient)[:, box[0] : box[1], :, box[4] : box[5]]
    starts = range(box[2], box[3], _ROWS)
    sums = np.zeros(len(starts))

    def sum_rows(band: int) -> None:
        first = starts[band]
        sums[band] = part_kernels.sum_of_squares(inner[:, :, first : min(first + _ROWS, box[3])])

    _do(sum_rows, len(starts), threads)
    return float(sums.sum())


def _as_volume(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """(channels, planes, rows, columns); an image is a volume of one plane."""
    return values.reshape(len(values), -1, *values.shape[-2:])


def _box(part: tuple[slice, ...]) -> list[int]:
    """The ends of a part along planes, rows and columns."""
    deep = part if len(part) == 3 else (slice(0, 1), *part)
    return [end for each in deep for end in (each.start, each.stop)]


def _do(work: Callable[[int], None], count: int, threads: int | None) -> None:
    """Work on each number below the count."""
    most = min(threads or available_threads(), count)
    if most <= 1:
        for number in range(count):
            work(number)
        return
    with ThreadPoolExecutor(most) as pool:
        list(pool.map(work, range(count)))
