"""The partition of an image: cores side by side, each solved with an overlap, blended, within a memory budget."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise, product
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from tvdenoise.model.objective import Objective
from tvdenoise.tiling.source import Window, extended


def rise(places: NDArray[np.intp], border: int, reach: int) -> NDArray[np.float64]:
    """From 0 to 1 within ``reach`` places of a border, a raised cosine; a step where the reach is 0."""
    if reach == 0:
        return (places >= border).astype(np.float64)
    along = np.clip((places + 0.5 - border + reach) / (2 * reach), 0, 1)
    risen: NDArray[np.float64] = (1 - np.cos(np.pi * along)) / 2
    return risen


def joined_weights(
    core: Window, window: Window, reaches: tuple[int, ...], shape: tuple[int, ...]
) -> list[NDArray[np.float32]]:
    """By axis, the weights of a window's solution around its core: with those of its neighbours they are 1."""
    weights = []
    for part, frame, reach, length in zip(core, window, reaches, shape, strict=True):
        places = np.arange(frame.start, frame.stop)
        weight = np.ones(places.size)
        if part.start > 0:
            weight *= rise(places, part.start, reach)
        if part.stop < length:
            weight *= 1 - rise(places, part.stop, reach)
        weights.append(weight.astype(np.float32))
    return weights


def fading_weights(
    window: Window, fades: tuple[int, ...], shape: tuple[int, ...]
) -> list[NDArray[np.float32]]:
    """By axis, 1 in the middle of a window and falling to 0 towards those of its ends that are not the image's."""
    weights = []
    for frame, fade, length in zip(window, fades, shape, strict=True):
        places = np.arange(frame.start, frame.stop)
        weight = np.ones(places.size)
        half = min(fade, places.size // 2) // 2
        if frame.start > 0:
            weight *= rise(places, frame.start + half + 1, half)
        if frame.stop < length:
            weight *= 1 - rise(places, frame.stop - half - 1, half)
        weights.append(weight.astype(np.float32))
    return weights


def product_of(weights: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The weights of pixels from those by axis."""
    every = weights[0]
    for along in weights[1:]:
        every = np.multiply.outer(every, along)
    return every


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


_FLOAT = 4
#: Arrays of a window's size, in single precision for each channel: f, x and g and the rows that bands exchange;
_SOLVED = 3.3
#: with its ring held: the composite and what is written back, too;
_HELD = 4.4
#: to certify: f, x as it was read, x, g, and those rows.
_CERTIFIED = 4.4
#: Bytes of a pixel for weights, flags and sums of squares.
_OF_PIXEL = 8
#: What scipy's sparse operators take, in those arrays.
_SPARSE = 110
#: A window around a join goes at least so far to both sides (pixels), and beyond what is looked at.
_LEAST_REACH, _NEAR = 12, 9
#: Streamed bands are no larger (bytes): they are as quick, and the more the better they fit the cache.
_LARGEST_BAND = 1 << 26
#: The part of the budget that is planned for.
_PLANNED = 0.97

#: By its bound, the influence of a window's end has decayed to this part at the end of the overlap. It decays faster,
#: and wider overlaps cost more than the further passes that they spare.
_DECAYED = 0.1
#: The least overlap of images, and of volumes, where overlaps cost more; the largest that is chosen.
_LEAST, _LEAST_IN_VOLUMES, _LARGEST = 64, 8, 512

#: Pixels of windows for each of the image, that a wide overlap may cost at most.
_MOST_WORK = 1.5


class TooLittleMemoryError(ValueError):
    """Not even the smallest windows fit. missing: bytes."""

    def __init__(self, message: str, missing: int) -> None:
        self.missing = missing
        super().__init__(message)


@dataclass(frozen=True)
class Budget:
    """How many bytes the arrays may take, for pixels with so many channels and bytes as stored.

    is_sparse: the engine is that of sparse operators.
    """

    memory: int
    channels: int
    stored: int
    is_sparse: bool = False

    @property
    def solved_bytes(self) -> float:
        """Of a pixel that is read and solved."""
        arrays = _SPARSE if self.is_sparse else _SOLVED
        reading = self.stored + 2 * _FLOAT * self.channels
        return max(arrays * _FLOAT * self.channels, reading)

    @property
    def held_bytes(self) -> float:
        """Of a pixel of a window whose ring is held."""
        arrays = _SPARSE if self.is_sparse else _HELD
        return arrays * _FLOAT * self.channels + _OF_PIXEL + self.stored

    @property
    def _largest_band(self) -> int:
        """Pixels of a band that is read and certified, at most."""
        each = _CERTIFIED * _FLOAT * self.channels + _OF_PIXEL + self.stored
        return int(_PLANNED * self.memory / each)

    def band(self, shape: Sequence[int], chunk: Sequence[int]) -> int:
        """Pixels of a band that is read and certified: few, but a row of whole chunks where that fits."""
        usual = int(_LARGEST_BAND / (_CERTIFIED * _FLOAT * self.channels))
        return min(self._largest_band, max(usual, min(chunk[-2], shape[-2]) * shape[-1]))

    def fits(self, partition: Partition) -> bool:
        """True where every window fits, those around joins too."""
        if math.prod(partition.largest) * self.solved_bytes > _PLANNED * self.memory:
            return False
        reaches = tuple(map(reach_of, partition.overlap))
        lengths = partition.largest_with(reaches)
        around = [
            math.prod((*lengths[:axis], min(2 * reach, lengths[axis]), *lengths[axis + 1 :]))
            for axis, (parts, reach) in enumerate(zip(partition.parts, reaches, strict=True))
            if parts > 1
        ]
        return max(around, default=0) * self.held_bytes <= _PLANNED * self.memory

    def suffices(self, shape: Sequence[int], overlap: Sequence[int]) -> bool:
        """True where the smallest windows fit in any case, and a row with its neighbours."""
        finest = Partition(
            tuple(shape),
            tuple(max(length // max(margin, 1), 1) for length, margin in zip(shape, overlap, strict=True)),
            tuple(overlap),
        )
        rows = 3 ** (len(shape) - 1) * shape[-1]
        return self.fits(finest) and self.fits_held(finest) and self._largest_band >= rows

    def fits_held(self, partition: Partition) -> bool:
        """True where every window fits with its ring held."""
        return math.prod(partition.largest) * self.held_bytes <= _PLANNED * self.memory


def reach_of(overlap: int) -> int:
    """How far a window around a join goes to both sides."""
    return max(overlap * 3 // 4, _LEAST_REACH)


def fade_of(reach: int) -> int:
    """Over how many of those pixels its changes fade out."""
    return min(reach // 2, reach - _NEAR)


def overlap_for(objective: Objective, shape: Sequence[int], budget: Budget) -> tuple[int, ...]:
    """How far windows of an image overlap along each axis, to both sides; less where memory is short of that, or
    where it would make most of the work.

    The influence of a window's end decays at least like q^d at a distance of d pixels, with q = (√κ − 1)/(√κ + 1) and
    κ = L/μ; across planes that lie apart it decays in fewer of them. What an overlap leaves is found by the
    certificate, and further passes mend it.
    """
    root = float(np.sqrt(objective.lipschitz / objective.mu))
    axes = len(shape)
    distance = np.log(_DECAYED) / np.log((root - 1) / (root + 1)) if root > 1 else 1.0
    least = _least_overlap(axes)
    weights = objective.axis_weights or (1.0,) * axes
    overlap = tuple(int(np.clip(np.ceil(distance * weight), least, _LARGEST)) for weight in weights)
    while max(overlap) > least and not _is_affordable(shape, overlap, budget):
        overlap = tuple(max(margin * 3 // 4, least) for margin in overlap)
    return overlap


def _is_affordable(shape: Sequence[int], overlap: Sequence[int], budget: Budget) -> bool:
    """True where windows that overlap so far fit, and are not for the most part overlap."""
    if not budget.suffices(shape, overlap):
        return False
    partition = Partition.of_least_work(shape, overlap, budget.fits)
    return partition is not None and partition.pixels <= _MOST_WORK * math.prod(shape)


def partition_for(shape: Sequence[int], overlap: Sequence[int], budget: Budget) -> Partition:
    """The partition of least work. Raises TooLittleMemoryError where not even the smallest windows fit."""
    partition = Partition.of_least_work(shape, overlap, budget.fits)
    if partition is None or not budget.suffices(shape, overlap):
        needed = _least(shape, overlap, budget)
        raise TooLittleMemoryError(
            f"{'×'.join(map(str, shape))} pixels in windows that overlap by {max(overlap)} need at least "
            f"{math.ceil(needed / 1e4) / 100:g} MB of memory, not {budget.memory / 1e6:g}",
            needed - budget.memory,
        )
    return partition


def _least_overlap(axes: int) -> int:
    """Of images or volumes."""
    return _LEAST if axes == 2 else _LEAST_IN_VOLUMES


def memory_needed(
    shape: Sequence[int], channels: int, dtype: np.dtype[np.generic], overlap: int | None = None
) -> int:
    """The least memory (bytes) with which an image can be denoised in windows, at the default ε."""
    margins = (_least_overlap(len(shape)) if overlap is None else overlap,) * len(shape)
    return _least(shape, margins, Budget(0, channels, channels * np.dtype(dtype).itemsize))


def _least(shape: Sequence[int], overlap: Sequence[int], budget: Budget) -> int:
    """The bytes with which the smallest windows fit."""
    low, high = 1, 1 << 62
    while low < high:
        middle = (low + high) // 2
        if replace(budget, memory=middle).suffices(shape, overlap):
            high = middle
        else:
            low = middle + 1
    return low
