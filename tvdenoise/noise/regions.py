"""Where the noise is looked for in an image of which only a part is denoised."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tvdenoise.filling import with_noise_where_missing
from tvdenoise.noise.volumes import planes_looked_at
from tvdenoise.noise.windows import Grid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tvdenoise.data import Data

#: A part that holds fewer windows tells little of its noise: then what is kept around it tells, too.
_LEAST_WINDOWS = 1000
_WINDOWS = Grid(8, stride=2, most=30_000)
_MARGIN = 64  # pixels around the part


def noise_shown(data: Data) -> tuple[NDArray[np.floating], NDArray[np.bool_] | None]:
    """Planes in which an image shows its noise, and which of their pixels say something of it; None for all.

    Of an image of which a part is kept they are those around what is denoised.
    """
    planes, fidelity = data.planes, data.fidelity
    if fidelity is None:
        return planes, None
    is_telling = None
    if fidelity.has_missing:
        planes, is_telling = with_noise_where_missing(planes, fidelity.coded == 0)
    if fidelity.count in (0, fidelity.coded.size):
        return planes, is_telling
    box = tuple(_extent(fidelity.is_free, axis) for axis in range(fidelity.coded.ndim))
    is_free = fidelity.is_free[box] if is_telling is None else (fidelity.is_free & is_telling)[box]
    if _windows_within(is_free) >= _LEAST_WINDOWS:
        return planes[:, *box], is_free
    wider = (*box[:-2], *(slice(max(part.start - _MARGIN, 0), part.stop + _MARGIN) for part in box[-2:]))
    return planes[:, *wider], None if is_telling is None else is_telling[wider]


def _extent(where: NDArray[np.bool_], axis: int) -> slice:
    """From the first to the last place along an axis."""
    places = np.flatnonzero(where.any(axis=tuple(other for other in range(where.ndim) if other != axis)))
    return slice(int(places[0]), int(places[-1]) + 1)


def _windows_within(where: NDArray[np.bool_]) -> int:
    """How many windows of those that an estimate may look at lie within."""
    chosen = planes_looked_at(where.shape)
    tall = where if chosen is None else where[chosen].reshape(-1, where.shape[-1])
    side = _WINDOWS.side
    if min(tall.shape) < side:
        return 0
    step = _WINDOWS.step(*tall.shape)
    windows = np.lib.stride_tricks.sliding_window_view(tall, (side, side))[::step, ::step]
    return int(np.count_nonzero(windows.all(axis=(2, 3))))
