"""What the windows' solutions are joined to, on disk, and how it is renewed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tvdenoise.tiling.blending import product_of
from tvdenoise.tiling.windows import size, within

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tvdenoise.tiling.scratch import Scratch
    from tvdenoise.tiling.source import Window

#: Values that are weighted at a time, and the part of a window that they are at most.
_VALUES, _PART = 1 << 20, 8


def put_weighted(
    scratch: Scratch, window: Window, x: NDArray[np.floating], weights: list[NDArray[np.float32]]
) -> None:
    """Add a window's solution x (channels, ...) to the composite, times its weights, in steps of some rows.

    Where all weights are 1 it is put there: nothing else adds to those pixels.
    """
    support = tuple(
        slice(frame.start + int(np.flatnonzero(weight)[0]), frame.start + int(np.flatnonzero(weight)[-1]) + 1)
        for frame, weight in zip(window, weights, strict=True)
    )
    for slab in _slabs(support, len(x), min(_VALUES, x.size // _PART)):
        inner = within(slab, window)
        values = x[:, *inner]
        parts = [weight[part] for weight, part in zip(weights, inner, strict=True)]
        if all((part == 1).all() for part in parts):
            scratch.write(slab, values.astype(np.float32, copy=False))
        else:
            held = scratch.read(slab)
            held += values * product_of(parts)
            scratch.write(slab, held)


def _slabs(window: Window, channels: int, most: int) -> list[Window]:
    """A window cut into parts of at most so many values, along its first axis, where that is not enough along two."""
    slabs = [window]
    for axis in (0, 1):
        each = channels * size(slabs[0]) // (slabs[0][axis].stop - slabs[0][axis].start)
        slabs = [cut for slab in slabs for cut in _cut(slab, axis, max(most // max(each, 1), 1))]
        if each <= most:
            break
    return slabs


def _cut(window: Window, axis: int, step: int) -> list[Window]:
    """A window cut along one axis."""
    part = window[axis]
    return [
        (*window[:axis], slice(start, min(start + step, part.stop)), *window[axis + 1 :])
        for start in range(part.start, part.stop, step)
    ]
