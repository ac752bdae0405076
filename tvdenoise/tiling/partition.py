"""How an image is parted: cores side by side, each solved with an overlap around it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise, product
from typing import TYPE_CHECKING

from tvdenoise.tiling.windows import extended

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tvdenoise.tiling.source import Window

#: Cutting the columns makes reading and writing dearer by about so much.
_COST_OF_CUT_COLUMNS = 1.05
#: Numbers of cuts that are tried for all axes but the first.
_EVERY = 16


@dataclass(frozen=True)
class Face:
    """Where two cores meet: across an axis at a border, over the core's extent along the others.

    core: the one behind the border.
    """

    axis: int
    core: Window

    @property
    def border(self) -> int:
        """The first place behind."""
        border: int = self.core[self.axis].start
        return border

    def around(self, reach: int, shape: Sequence[int]) -> Window:
        """The pixels within so many of the border."""
        place = slice(max(self.border - reach, 0), min(self.border + reach, shape[self.axis]))
        return (*self.core[: self.axis], place, *self.core[self.axis + 1 :])


@dataclass(frozen=True)
class Partition:
    """Cores between borders along each axis, and the overlap with which they are solved."""

    shape: tuple[int, ...]
    parts: tuple[int, ...]
    overlap: tuple[int, ...]

    @classmethod
    def of_least_work(
        cls, shape: Sequence[int], overlap: Sequence[int], fits: Callable[[Partition], bool]
    ) -> Partition | None:
        """The partition that has the fewest pixels to solve of those that fit; None where none does.

        No core is shorter than the overlap, so that only neighbours overlap.
        """
        most = [max(length // max(margin, 1), 1) for length, margin in zip(shape, overlap, strict=True)]
        best: tuple[float, Partition] | None = None
        for others in product(*(_counts(number) for number in most[1:])):
            finest = cls(tuple(shape), (most[0], *others), tuple(overlap))
            if not fits(finest):
                continue
            partition = finest._coarsest(fits)
            cost = partition.pixels * (_COST_OF_CUT_COLUMNS if others[-1] > 1 else 1)
            if best is None or cost < best[0]:
                best = cost, partition
        return None if best is None else best[1]

    def _coarsest(self, fits: Callable[[Partition], bool]) -> Partition:
        """That with the fewest parts along the first axis which fits, as this one does."""
        low, high = 1, self.parts[0]
        while low < high:
            middle = (low + high) // 2
            if fits(self._with_parts(middle)):
                high = middle
            else:
                low = middle + 1
        return self._with_parts(low)

    def _with_parts(self, first: int) -> Partition:
        return replace(self, parts=(first, *self.parts[1:]))

    @property
    def largest(self) -> tuple[int, ...]:
        """The lengths of the largest extended core."""
        return self.largest_with(self.overlap)

    def largest_with(self, margins: Sequence[int]) -> tuple[int, ...]:
        """The same with other margins."""
        return tuple(
            min(-(-length // parts) + margin * min(parts - 1, 2), length)
            for length, parts, margin in zip(self.shape, self.parts, margins, strict=True)
        )

    @property
    def pixels(self) -> int:
        """Of all extended cores."""
        return math.prod(
            length + 2 * margin * (parts - 1)
            for length, parts, margin in zip(self.shape, self.parts, self.overlap, strict=True)
        )

    @property
    def count(self) -> int:
        """How many cores there are."""
        return math.prod(self.parts)

    def cores(self) -> Iterator[Window]:
        """In the order of the rows."""
        borders = [
            [length * k // parts for k in range(parts + 1)]
            for length, parts in zip(self.shape, self.parts, strict=True)
        ]
        for ends in product(*(pairwise(along) for along in borders)):
            yield tuple(slice(*end) for end in ends)

    def solved(self, core: Window) -> Window:
        """A core with its overlap."""
        return extended(core, self.overlap, self.shape)

    def faces(self) -> list[Face]:
        """All joins."""
        return [
            Face(axis, core)
            for core in self.cores()
            for axis in range(len(self.shape))
            if core[axis].start > 0
        ]


def _counts(most: int) -> list[int]:
    """Numbers of parts to try: each of the small ones, then ever fewer."""
    counts, number = [], 1
    while number < most:
        counts.append(number)
        number += max(number // _EVERY, 1)
    return [*counts, most]
