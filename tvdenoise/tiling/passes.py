"""Solving windows: a first time each by itself, then again with its ring held at what the others found.

The second is block coordinate descent (Schwarz's alternating method, 1870): J never rises, and what it leads to is the
minimiser of the whole.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tvdenoise.model.fidelity import Fidelity
from tvdenoise.model.part_sums import value_of_part
from tvdenoise.solver import Status
from tvdenoise.tiling.blending import fading_weights, joined_weights, product_of
from tvdenoise.tiling.composite import put_weighted
from tvdenoise.tiling.windows import lengths, size, size_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from tvdenoise.tiling.form import Form
    from tvdenoise.tiling.partition import Partition
    from tvdenoise.tiling.scratch import Scratch
    from tvdenoise.tiling.source import Reader, Window


#: A window that is solved again may take so many times the evaluations that one took at first.
_TIMES = 2
#: The least bound that the precision can certify is one for any image; where few pixels are at stake, as near a join,
#: a solve goes on to this part of it.
_FLOOR_PART = 1 / 16


@dataclass(eq=False)
class Windows:
    """What it takes to solve windows of one image.

    work: pixels times evaluations so far. longest: evaluations of the window that took most, at first.
    """

    reader: Reader
    scratch: Scratch
    form: Form
    work: int = 0
    longest: int = 1

    @property
    def evaluations(self) -> int:
        """The work in evaluations of the whole, rounded up."""
        return -(-self.work // size_of(self.reader.shape))

    @property
    def are_spent(self) -> bool:
        """True where as many evaluations were made as there may be."""
        return self.evaluations >= self.form.method.max_iterations

    def solve_each(self, partition: Partition, tolerance: float, tell: Callable[[float], None]) -> None:
        """Solve each window by itself, with natural ends, and join the solutions smoothly."""
        done = 0
        for core in partition.cores():
            tell(done / partition.pixels)
            window = partition.solved(core)
            form = self.form
            found = form.method.minimise(
                self.reader.planes(window), form.mu, form.epsilon, tolerance=tolerance
            )
            self.work += found.iterations * size(window)
            self.longest = max(self.longest, found.iterations)
            done += size(window)
            reaches = tuple(overlap // 2 for overlap in partition.overlap)
            weights = joined_weights(core, window, reaches, partition.shape)
            put_weighted(self.scratch, window, found.x, weights)
            del found

    def solve_again(self, window: Window, fades: tuple[int, ...], tolerance: float) -> bool:
        """Solve a window with its ring held, from the composite on; False where nothing could be gained.

        What changes fades towards the ring, within so many pixels along each axis, unless J would rise by that.
        """
        shape = self.reader.shape
        noisy, old = self.reader.planes(window), self.scratch.read(window)
        left = max(self.form.method.max_iterations - self.evaluations, 1)
        most = min(left, _TIMES * self.longest)
        found = replace(self.form.method, max_iterations=most).minimise(
            noisy, self.form.mu, self.form.epsilon, fidelity=_free_inside(window, shape), tolerance=tolerance,
            start=old, floor_part=_FLOOR_PART,
        )  # fmt: skip
        self.work += found.iterations * size(window)
        if found.iterations == 1:
            return found.status is not Status.PRECISION
        x = found.x.astype(np.float32, copy=False)
        every = tuple(slice(0, length) for length in x.shape[1:])
        objective, status = found.objective, found.status
        del found

        def value(at: NDArray[np.floating]) -> float:
            return value_of_part(objective, at, every, self.form.method.threads)

        before = value(old)
        faded = x - old
        faded *= product_of(fading_weights(window, fades, shape))
        faded += old
        if value(faded) <= before:
            self.scratch.write(window, faded)
        elif value(x) <= before:
            self.scratch.write(window, x)
        else:
            return False
        return status is not Status.PRECISION


def _free_inside(window: Window, shape: tuple[int, ...]) -> Fidelity | None:
    """The pixels of a window are sought but for its outermost ones, where these are not the image's."""
    inner = tuple(
        slice(int(part.start > 0), part.stop - part.start - int(part.stop < length))
        for part, length in zip(window, shape, strict=True)
    )
    if lengths(inner) == lengths(window):
        return None
    free = np.full(lengths(window), -1, np.float32)
    free[inner] = 1
    return Fidelity(free)
