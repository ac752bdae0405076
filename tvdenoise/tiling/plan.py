"""The plan of a tiled solve: one pass over the image chooses parameters, certificate and partition."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tvdenoise.images.data import axis_weights_of, require_reasonable
from tvdenoise.model.objective import Objective
from tvdenoise.noise.blocks import BLOCKS
from tvdenoise.noise.estimation import PATCHES, is_thin
from tvdenoise.noise.evidence import examined_planes, varied
from tvdenoise.parameters import choose_by_sample, method_of, noise_for, sample_indices
from tvdenoise.solver.stopping import Certificate
from tvdenoise.tiling.partition import Budget, TooLittleMemoryError, overlap_for, partition_for
from tvdenoise.tiling.source import Stage, Tell, bands, size

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tvdenoise.noise.evidence import NoiseEvidence, WindowGrid
    from tvdenoise.noise.model import NoiseModel
    from tvdenoise.options import Options
    from tvdenoise.solver.descent import Method
    from tvdenoise.tiling.partition import Partition
    from tvdenoise.tiling.source import Reader, Window


@dataclass(frozen=True)
class Form:
    """The form of J for any window of an image, and how to minimise it."""

    method: Method
    mu: float
    epsilon: float

    def objective(self, noisy: NDArray[np.floating]) -> Objective:
        """Return J for planes (channels, ...)."""
        return self.method.objective(noisy, self.mu, self.epsilon)

    def certificate(
        self, reader: Reader, tolerance: float | None, extremes: tuple[np.floating, np.floating]
    ) -> Certificate:
        """Return the certificate of the whole image; extremes: its least and largest value."""
        stand_in = np.broadcast_to(np.float32(0), (reader.channels, *reader.shape))
        return Certificate.of(self.objective(stand_in), tolerance, np.dtype(np.float32), extremes=extremes)


_FLOAT, _COPIES = 4, 4  # bytes; copies of a plane that estimating its level takes


class StreamedEvidence:
    """`tvdenoise.noise.evidence.NoiseEvidence` from rows added in order; those of a volume plane by plane."""

    def __init__(self, shape: tuple[int, int, int], depth: int = 1) -> None:
        """shape: (channels, rows, columns) in total; depth: the number of stacked planes."""
        self.shape = shape
        channels, rows, columns = shape
        self._depth = depth
        self._seen = 0
        #: Equal neighbours by plane: down and across within the plane, and down from the plane before.
        self._equal = np.zeros((depth, 3), np.int64)
        self._last = np.empty((channels, 0, columns), np.float32)
        grids = [] if is_thin(rows, columns) else [PATCHES]
        grids += [BLOCKS] if min(rows, columns) >= BLOCKS.side else []
        self._windows = {grid: _Windows(grid, shape) for grid in grids}
        self._thin: list[NDArray[np.floating]] | None = [] if is_thin(rows, columns) else None

    @classmethod
    def of(cls, shape: tuple[int, ...]) -> StreamedEvidence:
        """Start for an image (channels, rows, columns) or a volume (channels, planes, rows, columns)."""
        examined = _examined_shape(shape)
        return cls(examined, examined[1] // shape[-2])

    def add_window(
        self, planes: NDArray[np.floating], window: Window, examined: NDArray[np.intp] | None
    ) -> None:
        """Add the next band of an image or a volume; examined: the planes of a volume to examine."""
        if examined is None:
            self.add(planes)
            return
        first, last = np.searchsorted(examined, (window[0].start, window[0].stop))
        for plane in examined[first:last] - window[0].start:
            self.add(planes[:, plane])

    def add(self, rows: NDArray[np.floating]) -> None:
        """Add the next rows (channels, rows, columns), of one plane."""
        first, before = rows[0], self._last[0, -1:]
        plane, row = divmod(self._seen, self.shape[1] // self._depth)
        equal = self._equal[plane]
        equal[0] += np.count_nonzero(first[1:] == first[:-1])
        equal[1] += np.count_nonzero(first[:, 1:] == first[:, :-1])
        if len(before):
            equal[0 if row else 2] += np.count_nonzero(first[:1] == before)
        for windows in self._windows.values():
            windows.add(self._last, rows, self._seen)
        if self._thin is not None:
            self._thin.append(rows.copy())
        kept = max(PATCHES.side, BLOCKS.side) - 1
        self._seen += rows.shape[1]
        self._last = (
            rows[:, -kept:].copy()
            if rows.shape[1] >= kept
            else np.concatenate([self._last, rows], axis=1)[:, -kept:]
        )

    def equal_neighbours(self) -> float:
        """Return the part of exactly equal neighbours, in the direction with fewer of them."""
        rows, columns = self.shape[1] // self._depth, self.shape[2]
        pairs = np.array([(rows - 1) * columns, rows * (columns - 1), columns])
        is_varied = (self._equal[:, :2] != pairs[:2]).any(axis=1)
        if not is_varied.any():
            is_varied[:] = True
        after_varied = np.zeros_like(is_varied)
        after_varied[1:] = is_varied[1:] & is_varied[:-1]
        within, seams = self._equal[is_varied].sum(axis=0), self._equal[after_varied, 2].sum()
        planes, between = np.count_nonzero(is_varied), np.count_nonzero(after_varied)
        equal = (int(within[0] + seams), int(within[1]))
        counts = (int(planes * pairs[0] + between * pairs[2]), int(planes * pairs[1]))
        return min(part / count if count else 1.0 for part, count in zip(equal, counts, strict=True))

    def windows(self, grid: WindowGrid, channels: slice) -> NDArray[np.floating]:
        """Return the windows (channels, windows, side, side) of these channels on a grid."""
        taken = self._windows[grid].taken[channels]
        return taken if self._depth == 1 else varied(taken)

    def planes(self) -> NDArray[np.floating]:
        """Return the planes, which must be too thin for windows."""
        assert self._thin is not None
        return np.concatenate(self._thin, axis=1)


def _examined_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return (channels, rows, columns) of the stacked examined planes of an image or a volume (channels, ...)."""
    channels, *deep, rows, columns = shape
    planes = examined_planes([*deep, rows, columns])
    return channels, rows if planes is None else rows * len(planes), columns


def held_whole(shape: tuple[int, ...]) -> int:
    """Return the bytes, beside bounded samples, that estimating the noise of a shape (channels, ...) takes."""
    channels, rows, columns = _examined_shape(shape)
    return _FLOAT * (2 * channels + _COPIES) * rows * columns if is_thin(rows, columns) else 0


class _Windows:
    """The windows of a grid, taken from rows added in order."""

    def __init__(self, grid: WindowGrid, shape: tuple[int, int, int]) -> None:
        channels, rows, columns = shape
        self._side, self._step = grid.side, grid.step(rows, columns)
        self._across = len(range(0, columns - grid.side + 1, self._step))
        down = len(range(0, rows - grid.side + 1, self._step))
        self.taken = np.empty((channels, down * self._across, grid.side, grid.side), np.float32)
        self._next = 0

    def add(self, before: NDArray[np.floating], rows: NDArray[np.floating], seen: int) -> None:
        """Take the windows that these rows complete; before: the last of the ``seen`` rows."""
        while (top := self._next * self._step) + self._side <= seen + rows.shape[1]:
            if top >= seen:
                strip = rows[:, top - seen : top - seen + self._side]
            else:
                held = before[:, before.shape[1] - (seen - top) :]
                strip = np.concatenate([held, rows[:, : self._side - held.shape[1]]], axis=1)
            windows = np.lib.stride_tricks.sliding_window_view(strip, (self._side, self._side), axis=(1, 2))
            place = self._next * self._across
            self.taken[:, place : place + self._across] = windows[:, 0, :: self._step]
            self._next += 1


@dataclass(eq=False)
class Survey:
    """The results of one pass over an image.

    extremes: the least and the largest value of the planes to solve.
    noise, sample: the evidence for the noise estimate, and the sample for the choice of μ; None unless requested.
    """

    extremes: tuple[np.floating, np.floating]
    noise: StreamedEvidence | None
    sample: NDArray[np.float32] | None

    @property
    def span(self) -> float:
        """The span of all planes, computed in their precision."""
        low, high = self.extremes
        return float(high - low)


def survey(reader: Reader, most_pixels: int, tell: Tell, *, needs_noise: bool, needs_sample: bool) -> Survey:
    """Read the image once, in bands. Raises ValueError for values that are too large or not finite, as `denoise`."""
    shape = (reader.channels, *reader.shape)
    evidence = StreamedEvidence.of(shape) if needs_noise else None
    examined = examined_planes(reader.shape)
    sampler = _Sampler(shape) if needs_sample else None
    stored, solved, bad, done = _Extremes(), _Extremes(), 0, 0
    for window in bands(reader.shape, most_pixels, reader.source.chunk):
        tell(Stage.READING, done / math.prod(reader.shape))
        planes = reader.stored_planes(window)
        if not stored.add(planes):
            bad += int(np.count_nonzero(~np.isfinite(planes)))
        elif not bad:
            planes = reader.rotated(planes)
            solved.add(planes)
            if evidence is not None:
                evidence.add_window(planes, window, examined)
            if sampler is not None:
                sampler.add(planes, window)
        done += size(window)
        del planes
    require_reasonable(float(max(stored.high, -stored.low)), bad)
    return Survey((solved.low, solved.high), evidence, None if sampler is None else sampler.sample)


class _Extremes:
    def __init__(self) -> None:
        self.low: np.floating = np.float32(np.inf)
        self.high: np.floating = np.float32(-np.inf)

    def add(self, planes: NDArray[np.floating]) -> bool:
        """Include the planes; if a value is not finite, ignore them and return False."""
        low, high = planes.min(), planes.max()
        if not (np.isfinite(low) and np.isfinite(high)):
            return False
        self.low, self.high = min(self.low, low), max(self.high, high)
        return True


class _Sampler:
    """Takes `tvdenoise.parameters.sample` band by band."""

    def __init__(self, shape: Sequence[int]) -> None:
        """shape: (channels, ...)."""
        self._places = sample_indices(shape) or [np.arange(length) for length in shape[1:]]
        self.sample = np.empty((shape[0], *map(len, self._places)), np.float32)

    def add(self, planes: NDArray[np.floating], window: Window) -> None:
        """Copy the part of a window (channels, ...) that belongs to the sample."""
        to, source = [], []
        for places, part in zip(self._places, window, strict=True):
            first, last = np.searchsorted(places, (part.start, part.stop))
            to.append(slice(first, last))
            source.append(places[first:last] - part.start)
        for values, plane in zip(self.sample, planes, strict=True):
            values[tuple(to)] = plane[np.ix_(*source)]


#: Windows are solved to this part of the tolerance that would just meet that of the whole.
_SLACK = 0.95


@dataclass(frozen=True, eq=False)
class TilingPlan:
    """How to solve an image in windows.

    noise: the noise that μ was chosen for, None if μ was given. band: the pixels of a streamed band.
    """

    reader: Reader
    form: Form
    noise: NoiseModel | None
    certificate: Certificate
    partition: Partition
    budget: Budget
    band: int

    @classmethod
    def of(
        cls,
        reader: Reader,
        options: Options,
        *,
        memory: int,
        spacing: Sequence[float] | None,
        overlap: int | None,
        tell: Tell,
    ) -> TilingPlan:
        """Make the plan from one pass over the image. Raises as `tvdenoise.denoise_tiled` does."""
        method = method_of(options, reader.channels, axis_weights_of(spacing, len(reader.shape)))
        budget = Budget(memory, reader.channels, reader.stored_bytes, is_sparse=method.is_sparse)
        if options.estimates_noise and (held := held_whole((reader.channels, *reader.shape))) > memory:
            raise TooLittleMemoryError(
                "the noise of so thin an image is estimated from all of it; give sigma or mu", held - memory
            )
        band = budget.band(reader.shape, reader.source.chunk)
        surveyed = survey(
            reader, band, tell, needs_noise=options.estimates_noise, needs_sample=options.mu is None
        )
        form, noise = _chosen(options, method, surveyed)
        certificate = form.certificate(reader, options.tolerance, surveyed.extremes)
        if overlap is None:
            margins = overlap_for(certificate.objective, reader.shape, budget)
        else:
            margins = (overlap,) * len(reader.shape)
        partition = partition_for(reader.shape, margins, budget)
        return cls(reader, form, noise, certificate, partition, budget, band)

    @property
    def window_tolerance(self) -> float:
        """The tolerance for windows with which the whole meets its own: their squared gradients add up."""
        share = np.sqrt(math.prod(self.reader.shape) / self.partition.pixels)
        return float(_SLACK * share * self.certificate.tolerance)


def _chosen(options: Options, method: Method, surveyed: Survey) -> tuple[Form, NoiseModel | None]:
    """Return the form with the parameters that `tvdenoise.denoise` would choose, and the noise they suit."""

    def evidence() -> NoiseEvidence:
        assert surveyed.noise is not None
        return surveyed.noise

    noise = noise_for(options, len(method.channel_weights), evidence)
    mu, epsilon = choose_by_sample(
        surveyed.sample, surveyed.span, method, noise, options.mu, options.epsilon, options.strength
    )
    return Form(method, mu, epsilon), noise
