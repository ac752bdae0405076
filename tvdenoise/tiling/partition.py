"""The partition of an image into cores, each solved with an overlap and blended, within a memory budget."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise, product
from typing import TYPE_CHECKING

import numpy as np

from tvdenoise.model.objective import Objective
from tvdenoise.precision import precision_of
from tvdenoise.tiling.source import Window, extended

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from tvdenoise.model.filters import FilterBank
    from tvdenoise.model.objective import Minimisable


def raised_cosine(places: NDArray[np.intp], border: int, reach: int) -> NDArray[np.float64]:
    """Return a raised cosine from 0 to 1 within ``reach`` places of a border; a step if the reach is 0."""
    if reach == 0:
        return (places >= border).astype(np.float64)
    along = np.clip((places + 0.5 - border + reach) / (2 * reach), 0, 1)
    risen: NDArray[np.float64] = (1 - np.cos(np.pi * along)) / 2
    return risen


def blending_weights(
    core: Window, window: Window, reaches: tuple[int, ...], shape: tuple[int, ...]
) -> list[NDArray[np.float32]]:
    """Return the blending weights of a window's solution along each axis; those of all windows add up to 1."""
    weights = []
    for part, frame, reach, length in zip(core, window, reaches, shape, strict=True):
        places = np.arange(frame.start, frame.stop)
        weight = np.ones(places.size)
        if part.start > 0:
            weight *= raised_cosine(places, part.start, reach)
        if part.stop < length:
            weight *= 1 - raised_cosine(places, part.stop, reach)
        weights.append(weight.astype(np.float32))
    return weights


def fading_weights(
    window: Window, fades: tuple[int, ...], shape: tuple[int, ...]
) -> list[NDArray[np.float32]]:
    """Return weights along each axis: 1 in the middle of a window, 0 at those of its ends inside the image."""
    weights = []
    for frame, fade, length in zip(window, fades, shape, strict=True):
        places = np.arange(frame.start, frame.stop)
        weight = np.ones(places.size)
        half = min(fade, places.size // 2) // 2
        if frame.start > 0:
            weight *= raised_cosine(places, frame.start + half + 1, half)
        if frame.stop < length:
            weight *= 1 - raised_cosine(places, frame.stop - half - 1, half)
        weights.append(weight.astype(np.float32))
    return weights


def product_of(weights: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Multiply the weights along each axis into weights of pixels."""
    every = weights[0]
    for along in weights[1:]:
        every = np.multiply.outer(every, along)
    return every


#: The factor of the cost of reading and writing if columns are cut.
_COST_OF_CUT_COLUMNS = 1.05
#: Up to this number, every count of parts is tried for all axes but the first.
_EVERY = 16


@dataclass(frozen=True)
class Face:
    """The face between two neighbouring cores along an axis.

    core: the core after the border; the face has its extent along the other axes.
    """

    axis: int
    core: Window

    @property
    def border(self) -> int:
        """The first place after the border."""
        border: int = self.core[self.axis].start
        return border

    def around(self, reach: int, shape: Sequence[int]) -> Window:
        """Return the pixels within ``reach`` of the border."""
        place = slice(max(self.border - reach, 0), min(self.border + reach, shape[self.axis]))
        return (*self.core[: self.axis], place, *self.core[self.axis + 1 :])


@dataclass(frozen=True)
class Partition:
    """Cores between borders along each axis, and the overlap to solve them with.

    shape: of the image. parts: the number of cores along each axis. overlap: along each axis, on both sides.
    """

    shape: tuple[int, ...]
    parts: tuple[int, ...]
    overlap: tuple[int, ...]

    @classmethod
    def of_least_work(
        cls, shape: Sequence[int], overlap: Sequence[int], fits: Callable[[Partition], bool]
    ) -> Partition | None:
        """Return the partition with the fewest pixels to solve among those that fit; None if none does.

        No core is shorter than the overlap, so only neighbours overlap.
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
        """Return the fitting partition with the fewest parts along the first axis; this one must fit."""
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
        """The shape of the largest window."""
        return self.largest_with(self.overlap)

    def largest_with(self, margins: Sequence[int]) -> tuple[int, ...]:
        """Return the same for other overlaps."""
        return tuple(
            min(-(-length // parts) + margin * min(parts - 1, 2), length)
            for length, parts, margin in zip(self.shape, self.parts, margins, strict=True)
        )

    @property
    def pixels(self) -> int:
        """The number of pixels in all windows, overlaps counted each time."""
        return math.prod(
            length + 2 * margin * (parts - 1)
            for length, parts, margin in zip(self.shape, self.parts, self.overlap, strict=True)
        )

    @property
    def count(self) -> int:
        """The number of cores."""
        return math.prod(self.parts)

    def cores(self) -> Iterator[Window]:
        """Yield the cores in row order."""
        borders = [
            [length * k // parts for k in range(parts + 1)]
            for length, parts in zip(self.shape, self.parts, strict=True)
        ]
        for ends in product(*(pairwise(along) for along in borders)):
            yield tuple(slice(*end) for end in ends)

    def window_of(self, core: Window) -> Window:
        """Return the window of a core: the core with its overlap."""
        return extended(core, self.overlap, self.shape)

    def faces(self) -> list[Face]:
        """Return all faces between cores."""
        return [
            Face(axis, core)
            for core in self.cores()
            for axis in range(len(self.shape))
            if core[axis].start > 0
        ]


def _counts(most: int) -> list[int]:
    """Return numbers of parts to try up to ``most``: all small ones, then increasingly sparse."""
    counts, number = [], 1
    while number < most:
        counts.append(number)
        number += max(number // _EVERY, 1)
    return [*counts, most]


_SINGLE = 4  # bytes
#: Memory in arrays of a window's size, for each channel. To solve: f, x, g and the rows that bands
#: exchange.
_SOLVED = 3.3
#: To solve with a held ring: the composite and the values to write back, too.
_HELD = 4.4
#: To certify: f, x as read, x, g and the exchanged rows.
_CERTIFIED = 4.4
#: The same for all arrays with learned filters.
_FILTERED = 1.1
#: Bytes of a pixel for weights, flags and sums of squares.
_PIXEL_BYTES = 8
#: With scipy's sparse operators; with learned filters, bytes for each tap of the bank.
_SPARSE, _SPARSE_TAP = 110, 40
#: The least reach of a window around a face to each side, and the distance from the face (pixels, beyond those that
#: are tested) within which changes do not fade.
_LEAST_REACH, _NEAR = 12, 9
#: Largest streamed band (bytes); larger ones are no faster, since they do not fit the cache.
_LARGEST_BAND = 1 << 26
#: The part of the budget that is planned for.
_PLANNED = 0.97

#: The bound on the influence of a window's end, at the end of the overlap. The actual influence is smaller, and wider
#: overlaps cost more than the further passes that they save.
_DECAY = 0.1
#: The overlap with learned filters, in reaches of a filter. In photographs, at two thirds of it, a window's end moves
#: the solution by 1e-4 of the level; half of the tolerance would do.
_FILTER_OVERLAP = 9
#: The least overlap of images and of volumes (where overlaps cost more), and the largest overlap to choose.
_LEAST_OVERLAP, _LEAST_VOLUME_OVERLAP, _LARGEST_OVERLAP = 64, 8, 512

#: The most pixels in windows per pixel of the image that a wide overlap may cost.
_MOST_WORK = 1.5


class TooLittleMemoryError(ValueError):
    """Not even the smallest windows fit the memory.

    missing: how many more bytes are needed.
    """

    def __init__(self, message: str, missing: int) -> None:
        self.missing = missing
        super().__init__(message)


@dataclass(frozen=True)
class Budget:
    """A memory budget for arrays.

    memory: in bytes. channels: of a pixel. stored: bytes of a pixel in the source.
    is_sparse: scipy's sparse operators evaluate the objective. width: bytes of a value in the precision of the solve.
    bank: learned filters in the place of total variation.
    """

    memory: int
    channels: int
    stored: int
    is_sparse: bool = False
    width: int = _SINGLE
    bank: FilterBank | None = None

    @property
    def solved_bytes(self) -> float:
        """Bytes per pixel of a window to read and solve."""
        reading = self.stored + 2 * self.width * self.channels
        return max(self._sparse_bytes or self.width * self._solved, reading)

    @property
    def held_bytes(self) -> float:
        """Bytes per pixel of a window to solve with a held ring."""
        return (self._sparse_bytes or self.width * self._held) + _PIXEL_BYTES + self.stored

    @property
    def _sparse_bytes(self) -> float:
        """Bytes per pixel for scipy's sparse operators; 0 if they are not used."""
        if not self.is_sparse:
            return 0.0
        if self.bank is not None:
            return _SPARSE_TAP * self.bank.filters.size
        return _SPARSE * self.width * self.channels

    @property
    def _solved(self) -> float:
        """Values per pixel to solve; with filters f, x, ∇J, two directions, a change, the metric and some more.

        The metric has two parts: of frequencies and of pixels.
        """
        if self.bank is None:
            return _SOLVED * self.channels
        metric = self.bank.channels + self.bank.images_in(self.channels)
        solving = 6 * self.channels + metric + max(self.channels, self._smooth)
        return _FILTERED * (self._gates + max(solving, 3 * self.channels + self._energies))

    @property
    def _held(self) -> float:
        """Values per pixel to solve with a held ring; with filters they compare the composite, x and a mixture."""
        if self.bank is None:
            return _HELD * self.channels
        return _FILTERED * (
            self._gates
            + max(
                8 * self.channels + self.bank.images_in(self.channels) + self._smooth,
                self._energies + self.channels,
            )
        )

    @property
    def _certified(self) -> float:
        """Values per pixel to certify."""
        if self.bank is None:
            return _CERTIFIED * self.channels
        certifying = 3 * self.channels + max(self.channels, self._smooth)
        return _FILTERED * (self._gates + max(certifying, 3 * self.channels + self._energies))

    @property
    def _smooth(self) -> int:
        """Values per pixel for filters: the smoothed image, the gradient there, and that smoothed; or transforms."""
        assert self.bank is not None
        return 3 * self.bank.channels

    @property
    def _gates(self) -> int:
        """Values per pixel for gates."""
        assert self.bank is not None
        return self.bank.gates_in(self.channels)

    @property
    def _energies(self) -> int:
        """Values per pixel for the energies from which gates are made."""
        assert self.bank is not None
        return self.bank.gated_groups

    @property
    def margin(self) -> int:
        """How far away pixels are on which the gradient of a pixel depends, beyond its neighbours."""
        return 0 if self.bank is None else 2 * self.bank.reach - 1 + self.bank.gate_reach

    @property
    def _largest_band(self) -> int:
        """The most pixels in a band to read and certify, with those around it but the neighbours."""
        each = self._certified * self.width + _PIXEL_BYTES + self.stored
        return int(_PLANNED * self.memory / each)

    def band(self, shape: Sequence[int], chunk: Sequence[int]) -> int:
        """Return the pixels of a band to read and certify: few, but a row of whole chunks if that fits."""
        usual = int(_LARGEST_BAND / (self._certified * self.width))
        around = 2 * self.margin * shape[-1]
        most = max(self._largest_band - around, 1)
        return min(most, max(usual, min(chunk[-2], shape[-2]) * shape[-1]))

    def fits(self, partition: Partition) -> bool:
        """Return True if every window fits, including those around faces."""
        if math.prod(partition.largest) * self.solved_bytes > _PLANNED * self.memory:
            return False
        reaches = tuple(reach_of(overlap) + self.margin for overlap in partition.overlap)
        lengths = partition.largest_with(reaches)
        around = [
            math.prod((*lengths[:axis], min(2 * reach, lengths[axis]), *lengths[axis + 1 :]))
            for axis, (parts, reach) in enumerate(zip(partition.parts, reaches, strict=True))
            if parts > 1
        ]
        return max(around, default=0) * self.held_bytes <= _PLANNED * self.memory

    def suffices(self, shape: Sequence[int], overlap: Sequence[int]) -> bool:
        """Return True if the smallest windows fit in every case, and a row with its neighbours."""
        finest = Partition(
            tuple(shape),
            tuple(max(length // max(margin, 1), 1) for length, margin in zip(shape, overlap, strict=True)),
            tuple(overlap),
        )
        rows = (3 ** (len(shape) - 1) + 2 * self.margin) * shape[-1]
        return self.fits(finest) and self.fits_held(finest) and self._largest_band >= rows

    def fits_held(self, partition: Partition) -> bool:
        """Return True if every window fits when solved with a held ring."""
        margins = tuple(overlap + self.margin for overlap in partition.overlap)
        return math.prod(partition.largest_with(margins)) * self.held_bytes <= _PLANNED * self.memory


def reach_of(overlap: int) -> int:
    """Return how far a window around a face extends to each side (pixels)."""
    return max(overlap * 3 // 4, _LEAST_REACH)


def fade_of(reach: int) -> int:
    """Return over how many of those pixels changes fade out."""
    return min(reach // 2, reach - _NEAR)


def overlap_for(objective: Minimisable, shape: Sequence[int], budget: Budget) -> tuple[int, ...]:
    """Choose the overlap along each axis, on both sides; less if memory is short or overlaps would be most of the work.

    The influence of a window's end decays at least like q^d at a distance of d pixels, with q = (√κ − 1)/(√κ + 1) and
    κ = L/μ; across planes that lie further apart it decays in fewer of them. The certificate detects any remaining
    error, and further passes correct it. With learned filters the actual influence is far smaller than such a bound.
    """
    if not isinstance(objective, Objective):
        return (_overlap_of_filters(budget.bank),) * len(shape)
    root = float(np.sqrt(objective.lipschitz / objective.mu))
    axes = len(shape)
    distance = np.log(_DECAY) / np.log((root - 1) / (root + 1)) if root > 1 else 1.0
    least = _least_overlap(axes)
    weights = objective.axis_weights or (1.0,) * axes
    overlap = tuple(int(np.clip(np.ceil(distance * weight), least, _LARGEST_OVERLAP)) for weight in weights)
    while max(overlap) > least and not _is_affordable(shape, overlap, budget):
        overlap = tuple(max(margin * 3 // 4, least) for margin in overlap)
    return overlap


def _is_affordable(shape: Sequence[int], overlap: Sequence[int], budget: Budget) -> bool:
    """Return True if windows with this overlap fit, and overlaps are not most of the work."""
    if not budget.suffices(shape, overlap):
        return False
    partition = Partition.of_least_work(shape, overlap, budget.fits)
    return partition is not None and partition.pixels <= _MOST_WORK * math.prod(shape)


def partition_for(shape: Sequence[int], overlap: Sequence[int], budget: Budget) -> Partition:
    """Return the partition of least work. Raises TooLittleMemoryError if not even the smallest windows fit."""
    partition = Partition.of_least_work(shape, overlap, budget.fits)
    if partition is None or not budget.suffices(shape, overlap):
        needed = _least_memory(shape, overlap, budget)
        raise TooLittleMemoryError(
            f"{'×'.join(map(str, shape))} pixels in windows that overlap by {max(overlap)} need at least "
            f"{math.ceil(needed / 1e4) / 100:g} MB of memory, not {budget.memory / 1e6:g}",
            needed - budget.memory,
        )
    return partition


def _least_overlap(axes: int) -> int:
    """Return the least overlap for an image or a volume."""
    return _LEAST_OVERLAP if axes == 2 else _LEAST_VOLUME_OVERLAP


def _overlap_of_filters(bank: FilterBank | None) -> int:
    """Return the overlap with learned filters."""
    return max(_LEAST_OVERLAP, 0 if bank is None else _FILTER_OVERLAP * bank.reach)


def memory_needed(
    shape: Sequence[int],
    channels: int,
    dtype: np.dtype[np.generic],
    overlap: int | None = None,
    bank: FilterBank | None = None,
) -> int:
    """Return the least memory (bytes) to denoise an image in windows, at the default ε or with learned filters."""
    if overlap is None:
        overlap = _least_overlap(len(shape)) if bank is None else _overlap_of_filters(bank)
    dtype = np.dtype(dtype)
    budget = Budget(0, channels, channels * dtype.itemsize, width=precision_of(dtype).itemsize, bank=bank)
    return _least_memory(shape, (overlap,) * len(shape), budget)


def _least_memory(shape: Sequence[int], overlap: Sequence[int], budget: Budget) -> int:
    """Return the least memory (bytes) that the smallest windows fit."""
    low, high = 1, 1 << 62
    while low < high:
        middle = (low + high) // 2
        if replace(budget, memory=middle).suffices(shape, overlap):
            high = middle
        else:
            low = middle + 1
    return low
