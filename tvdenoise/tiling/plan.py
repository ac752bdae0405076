"""The plan of a tiled solve: one pass over the image chooses parameters, certificate and partition."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tvdenoise.images.data import (
    axis_weights_of,
    fill,
    require_finite,
    with_noise_where_missing,
)
from tvdenoise.images.validity import RangeEnds, near_levels
from tvdenoise.model.colour import RGB_CHANNELS
from tvdenoise.model.fidelity import Fidelity
from tvdenoise.model.filters import FilterPrior
from tvdenoise.model.objective import Objective
from tvdenoise.noise.blocks import BLOCKS
from tvdenoise.noise.estimation import PATCHES, is_thin
from tvdenoise.noise.evidence import examined_planes, is_mostly_clipped, least_excluded, middles, varied
from tvdenoise.parameters import (
    MOST_VALUES,
    OF_IMAGES,
    Parameters,
    choose_by_sample,
    in_units,
    method_of,
    most_values_for,
    noise_for,
    sample_indices,
)
from tvdenoise.solver.stopping import Certificate
from tvdenoise.tiling.partition import Budget, TooLittleMemoryError, overlap_for, partition_for
from tvdenoise.tiling.source import Stage, Tell, bands, extended, within

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tvdenoise.images.data import Layout
    from tvdenoise.model.objective import Minimisable
    from tvdenoise.noise.evidence import NoiseEvidence, WindowGrid
    from tvdenoise.noise.model import NoiseModel
    from tvdenoise.options import Options
    from tvdenoise.parameters import Sample
    from tvdenoise.solver.descent import Method
    from tvdenoise.tiling.partition import Partition
    from tvdenoise.tiling.source import Reader, Window


@dataclass(frozen=True)
class Form:
    """The form of J for any window of an image, and how to minimise it."""

    method: Method
    mu: float
    epsilon: float

    def objective(
        self,
        noisy: NDArray[np.floating],
        fidelity: Fidelity | None = None,
        gates: NDArray[np.floating] | None = None,
    ) -> Minimisable:
        """Return J for planes (channels, ...). gates: as in `Method.posed`."""
        return self.method.posed(noisy, self.mu, self.epsilon, fidelity, gates)

    def gates(self, reader: Reader, window: Window) -> NDArray[np.floating] | None:
        """Return the gates in a window, which depend on the noisy pixels around it; None if there are none."""
        bank = self.method.bank
        if bank is None or bank.gate is None:
            return None
        from tvdenoise.model.filter_engine import gates_of  # its kernels take time to import

        around = extended(window, (bank.gate_reach,) * len(reader.shape), reader.shape)
        noisy, _ = reader.noisy(around)
        found = gates_of(FilterPrior(bank, 1 / self.mu), noisy, self.method.options.threads)
        return np.ascontiguousarray(found[:, :, *within(window, around)])

    def certificate(self, reader: Reader, tolerance: float | None, surveyed: Survey) -> Certificate:
        """Return the certificate of the whole image."""
        precision, channels = reader.layout.precision, reader.solved_channels
        stand_in = np.broadcast_to(precision.type(0), (channels, *reader.shape))
        objective = self.objective(stand_in)
        if isinstance(objective, Objective):
            objective = replace(objective, unknowns=max(surveyed.present, 1) * channels)
        return Certificate.of(
            objective, tolerance, precision, extremes=surveyed.extremes, returned=reader.layout.rounding
        )


_FLOAT, _COPIES = 4, 4  # bytes; copies of a plane that estimating its level takes


class StreamedEvidence:
    """`tvdenoise.noise.evidence.NoiseEvidence` from rows added in order; those of a volume plane by plane.

    Each row comes with flags as a last channel, at least `INFORMATIVE` for pixels with information on the noise.
    """

    def __init__(self, shape: tuple[int, int, int], depth: int = 1) -> None:
        """shape: (channels, rows, columns) in total; depth: the number of stacked planes."""
        self.shape = shape
        channels, rows, columns = shape
        channels += 1
        self._depth = depth
        self._seen = 0
        self._has_excluded = False
        #: Equal neighbours of the first two channels by plane: down and across within it, and down from the one before.
        self._equal = np.zeros((min(shape[0], 2), depth, 3), np.int64)
        #: All neighbours, in the same order.
        self._pairs = np.zeros((depth, 3), np.int64)
        self._last = np.empty((channels, 0, columns), np.float32)
        grids = [] if is_thin(rows, columns) else [PATCHES]
        grids += [BLOCKS] if min(rows, columns) >= BLOCKS.side else []
        self._windows = {grid: _Windows(grid, (channels, rows, columns)) for grid in grids}
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
        """Add the next rows (channels and flags, rows, columns), of one plane."""
        plane, row = divmod(self._seen, self.shape[1] // self._depth)
        joined = np.concatenate([self._last[:, -1:], rows], axis=1) if self._last.shape[1] else rows
        flags = joined[-1] >= INFORMATIVE
        self._has_excluded = self._has_excluded or not bool(flags.all())
        start = joined.shape[1] - rows.shape[1]
        down, across = flags[1:] & flags[:-1], flags[start:, 1:] & flags[start:, :-1]
        runs = (0 if row else 2, slice(0, start)), (0, slice(start, None))
        for kind, part in runs:
            self._pairs[plane, kind] += np.count_nonzero(down[part])
        self._pairs[plane, 1] += np.count_nonzero(across)
        for equal, values in zip(self._equal[:, plane], joined[:-1], strict=False):
            is_equal = (values[1:] == values[:-1]) & down
            for kind, part in runs:
                equal[kind] += np.count_nonzero(is_equal[part])
            equal[1] += np.count_nonzero((values[start:, 1:] == values[start:, :-1]) & across)
        for windows in self._windows.values():
            windows.add(self._last, rows, self._seen)
        if self._thin is not None:
            self._thin.append(rows[:-1].copy())
        kept = max(PATCHES.side, BLOCKS.side) - 1
        self._seen += rows.shape[1]
        self._last = (
            rows[:, -kept:].copy()
            if rows.shape[1] >= kept
            else np.concatenate([self._last, rows], axis=1)[:, -kept:]
        )

    def equal_neighbours(self, channel: int = 0) -> float:
        """Return the part of exactly equal neighbours, in the direction with fewer of them."""
        is_varied = (self._equal[0, :, :2] != self._pairs[:, :2]).any(axis=1)
        if not is_varied.any():
            is_varied[:] = True
        after_varied = np.zeros_like(is_varied)
        after_varied[1:] = is_varied[1:] & is_varied[:-1]
        counts = []
        for found in (self._equal[channel], self._pairs):
            within, seams = found[is_varied].sum(axis=0), found[after_varied, 2].sum()
            counts.append((int(within[0] + seams), int(within[1])))
        return min(part / count if count else 1.0 for part, count in zip(*counts, strict=True))

    def windows(self, grid: WindowGrid, channels: slice, inner: int | None = None) -> NDArray[np.floating]:
        """Return the windows (channels, windows, side, side) of these channels on a grid; inner: see `windows_of`."""
        windows = self._windows[grid]
        chosen = middles(windows.taken[channels], inner)
        excluded = windows.excluded_pixels(inner)
        if excluded is not None and excluded.any():
            chosen = chosen[:, least_excluded(excluded)]
        return chosen if self._depth == 1 else varied(chosen)

    def whole_windows(self, grid: WindowGrid, inner: int | None = None) -> int | None:
        """Return how many windows of a grid hold no excluded pixel; None if no pixel is excluded."""
        if not self._has_excluded:
            return None
        windows = self._windows[grid]
        excluded = windows.excluded_pixels(inner)
        return windows.count if excluded is None else int(np.count_nonzero(excluded == 0))

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
    return _FLOAT * (2 * channels + 2 + _COPIES) * rows * columns if is_thin(rows, columns) else 0


class _Windows:
    """The windows of a grid, taken from rows added in order.

    count: the number of windows. taken: (channels, windows, side, side).
    """

    def __init__(self, grid: WindowGrid, shape: tuple[int, int, int]) -> None:
        """shape: (channels and flags, rows, columns)."""
        channels, rows, columns = shape
        self._side, self._step = grid.side, grid.step(rows, columns)
        self._across = len(range(0, columns - grid.side + 1, self._step))
        self.count = len(range(0, rows - grid.side + 1, self._step)) * self._across
        self.taken = np.empty((channels - 1, self.count, grid.side, grid.side), np.float32)
        #: Where a window holds excluded pixels; None as long as none does.
        self._excluded: NDArray[np.bool_] | None = None
        self._next = 0

    def excluded_pixels(self, inner: int | None) -> NDArray[np.intp] | None:
        """Return the number of excluded pixels in (the middle of) each window; None if there are none at all."""
        if self._excluded is None:
            return None
        counts: NDArray[np.intp] = np.count_nonzero(middles(self._excluded, inner), axis=(1, 2))
        return counts

    def add(self, before: NDArray[np.floating], rows: NDArray[np.floating], seen: int) -> None:
        """Take the windows that these rows complete; before: the last of the ``seen`` rows."""
        while (top := self._next * self._step) + self._side <= seen + rows.shape[1]:
            if top >= seen:
                strip = rows[:, top - seen : top - seen + self._side]
            else:
                held = before[:, before.shape[1] - (seen - top) :]
                strip = np.concatenate([held, rows[:, : self._side - held.shape[1]]], axis=1)
            windows = np.lib.stride_tricks.sliding_window_view(strip, (self._side, self._side), axis=(1, 2))
            place = slice(self._next * self._across, (self._next + 1) * self._across)
            self.taken[:, place] = windows[:-1, 0, :: self._step]
            if strip[-1].min() < INFORMATIVE:
                if self._excluded is None:
                    self._excluded = np.zeros(self.taken.shape[1:], bool)
                self._excluded[place] = windows[-1, 0, :: self._step] < INFORMATIVE
            self._next += 1


@dataclass(eq=False)
class Survey:
    """The results of two passes over an image.

    layout: placed at the values of the image. present: the number of its pixels that are not absent.
    extremes: the least and the largest value of the planes to solve.
    noise, sample: the evidence for the noise estimate, and the sample for the choice of μ; None unless requested.
    """

    layout: Layout
    present: int
    extremes: tuple[np.floating, np.floating]
    noise: StreamedEvidence | None
    sample: Sample | None

    @property
    def span(self) -> float:
        """The span of all planes, computed in their precision."""
        low, high = self.extremes
        return float(high - low)


#: Flags of pixels: in holes of absent pixels, near clipped ones, with noise, and absent but filled with noise.
_HOLE, _CLIPPED, INFORMATIVE, _FILLED = 0.0, 0.5, 1.0, 2.0
#: Bands are read with so many more rows, in which clipped and missing pixels have influence.
_AROUND = 8


def survey(
    reader: Reader,
    most_pixels: int,
    tell: Tell,
    *,
    needs_noise: bool,
    needs_sample: bool,
    most_values: int = MOST_VALUES,
) -> Survey:
    """Read the image in bands: once for its extremes, and again if more is needed.

    most_values: the most values in the sample.
    Raises ValueError for values that cannot be denoised, as `denoise`.
    """
    shape = (reader.channels, *reader.shape)
    windows = bands(reader.shape, most_pixels, reader.source.chunk)
    parts = 1 + (needs_noise or needs_sample or reader.channels == RGB_CHANNELS)
    found = _Extremes(reader.channels, finds_levels=needs_noise or needs_sample)
    for number, window in enumerate(windows):
        tell(Stage.READING, number / len(windows) / parts)
        found.add(*reader.read(window), reader.layout)
    require_finite(found.bad)
    if found.present == 0:
        raise ValueError("no pixel is known: all are missing or have the weight zero")
    assert found.extremes is not None
    placed = replace(reader, layout=reader.layout.placed(*found.extremes))
    layout = placed.layout
    ends = (np.array(found.extremes, layout.precision) - layout.centre) / layout.unit
    extremes: tuple[np.floating, np.floating] = (ends[0], ends[1])
    if parts == 1:
        return Survey(layout, found.present, extremes, None, None)
    levels = [tuple((level - layout.centre) / layout.unit for level in each) for each in found.levels]
    for used in (levels, []):  # without levels, if nearly all pixels are clipped
        evidence = StreamedEvidence.of(shape) if needs_noise else None
        examined = examined_planes(reader.shape)
        flagged = (shape[0] + 1, *shape[1:])
        sampler = _Sampler(flagged, layout.precision, most_values) if needs_sample else None
        solved, clipped = _Solved(), 0
        for number, window in enumerate(windows):
            tell(Stage.READING, (1 + number / len(windows)) / parts)
            planes = _flagged(placed, window, used, solved)
            clipped += int(np.count_nonzero(planes[-1] == _CLIPPED))
            if evidence is not None:
                evidence.add_window(planes, window, examined)
            if sampler is not None:
                sampler.add(planes, window)
            del planes
        if not is_mostly_clipped(clipped, math.prod(reader.shape)):
            break
    sample = None if sampler is None else _sample_of(sampler.sample)
    return Survey(layout, found.present, (solved.low, solved.high), evidence, sample)


def _sample_of(flagged: NDArray[np.floating]) -> Sample:
    """Return the sample in planes with flags."""
    flags = flagged[-1]
    absent = (flags == _HOLE) | (flags == _FILLED)
    fidelity = Fidelity.of(None, None, absent, flags.dtype) if absent.any() else None
    return flagged[:-1], fidelity, None if (flags != _CLIPPED).all() else flags != _CLIPPED


class _Solved:
    """The extremes of the planes to solve, part by part."""

    def __init__(self) -> None:
        self.low: np.floating = np.float64(np.inf)
        self.high: np.floating = np.float64(-np.inf)

    def add(self, planes: NDArray[np.floating]) -> None:
        """Include a part."""
        self.low, self.high = min(self.low, planes.min()), max(self.high, planes.max())


def _flagged(
    reader: Reader, window: Window, levels: list[tuple[float, ...]], solved: _Solved
) -> NDArray[np.floating]:
    """Return the planes (channels and flags, ...) of a window, with noise in place of scattered absent pixels."""
    shape = reader.shape
    if not any(levels) and not reader.may_have_absent:
        values, _ = reader.read(window)
        planes = reader.rotated(reader.layout.planes(values))
        solved.add(reader.solved(planes))
        return np.concatenate([planes, np.full_like(planes[:1], INFORMATIVE)])
    wider = extended(window, (0,) * (len(shape) - 2) + (_AROUND, _AROUND), shape)
    inner = within(window, wider)
    values, absent = reader.read(wider)
    planes = reader.layout.planes(values)
    flags = np.full(planes.shape[1:], INFORMATIVE, planes.dtype)
    near = near_levels(planes, levels, absent) if any(levels) else None
    if absent is None:
        planes = reader.rotated(planes)
        solved.add(reader.solved(planes)[:, *inner])
    elif absent.all():
        planes[:] = 0
        flags[:] = _HOLE
    else:
        fill(planes, absent)
        planes = reader.rotated(planes)
        solved.add(reader.solved(planes)[:, *inner])
        planes, is_informative = with_noise_where_missing(planes, absent)
        flags[absent] = np.where(is_informative[absent], _FILLED, _HOLE)
    if near is not None:
        flags[near] = np.where(flags[near] == INFORMATIVE, _CLIPPED, _HOLE)
    return np.concatenate([planes[:, *inner], flags[np.newaxis][:, *inner]])


class _Extremes:
    """The extremes of the stored values, and the ends at which those of each channel pile up, part by part."""

    def __init__(self, channels: int, *, finds_levels: bool) -> None:
        self.extremes: tuple[np.generic, np.generic] | None = None
        self.present = 0
        self.bad = 0
        self._ends = [RangeEnds() for _ in range(channels if finds_levels else 0)]

    def add(self, values: NDArray[np.generic], absent: NDArray[np.bool_] | None, layout: Layout) -> None:
        """Include the present values of a part."""
        channels = values[..., np.newaxis] if layout.channel_axis is None else values
        known = channels[...] if absent is None else channels[~absent]
        if known.size == 0:
            return
        self.present += known.size // channels.shape[-1]
        low, high = known.min(), known.max()
        if values.dtype.kind == "f" and not (np.isfinite(low) and np.isfinite(high)):
            self.bad += int(np.count_nonzero(~np.isfinite(known)))
            return
        if self.extremes is not None:
            low, high = min(low, self.extremes[0]), max(high, self.extremes[1])
        self.extremes = (low, high)
        for channel, ends in enumerate(self._ends):
            ends.add(known[..., channel])

    @property
    def levels(self) -> list[tuple[float, ...]]:
        """The ends at which values pile up, for each channel."""
        return [ends.clipping for ends in self._ends]


class _Sampler:
    """Takes `tvdenoise.parameters.sample` band by band."""

    def __init__(self, shape: Sequence[int], precision: np.dtype[np.floating], most_values: int) -> None:
        """shape: (channels and flags, ...)."""
        places = sample_indices((shape[0] - 1, *shape[1:]), most_values)
        self._places = places or [np.arange(length) for length in shape[1:]]
        self.sample = np.empty((shape[0], *map(len, self._places)), precision)

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
    absent: the number of pixels without data.
    """

    reader: Reader
    form: Form
    noise: NoiseModel | None
    certificate: Certificate
    partition: Partition
    budget: Budget
    band: int
    absent: int = 0

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
        """Make the plan from passes over the image. Raises as `tvdenoise.denoise_tiled` does."""
        method = method_of(options, reader.channels, axis_weights_of(spacing, len(reader.shape)))
        if method.bank is not None and len(reader.shape) != 2:
            raise ValueError(OF_IMAGES)
        budget = Budget(
            memory,
            reader.channels,
            reader.stored_bytes,
            is_sparse=method.is_sparse,
            width=reader.layout.precision.itemsize,
            bank=method.bank,
        )
        if options.estimates_noise and (held := held_whole((reader.channels, *reader.shape))) > memory:
            raise TooLittleMemoryError(
                "the noise of so thin an image is estimated from all of it; give sigma or mu", held - memory
            )
        band = budget.band(reader.shape, reader.source.chunk)
        surveyed = survey(
            reader,
            band,
            tell,
            needs_noise=options.estimates_noise,
            needs_sample=options.given_mu is None,
            most_values=most_values_for(method),
        )
        absent = math.prod(reader.shape) - surveyed.present
        if absent and method.bank is not None:
            raise ValueError(
                "learned filters need the whole image in memory where pixels have no data; "
                "use total variation (prior tv), or allow more memory"
            )
        reader = replace(reader, layout=surveyed.layout)
        own = in_units(options, reader.layout)
        form, noise = _chosen(own, reader, method, surveyed)
        certificate = form.certificate(reader, own.tolerance, surveyed)
        if overlap is None:
            margins = overlap_for(certificate.objective, reader.shape, budget)
        else:
            margins = (overlap,) * len(reader.shape)
        partition = partition_for(reader.shape, margins, budget)
        return cls(reader, form, noise, certificate, partition, budget, band, absent)

    @property
    def parameters(self) -> Parameters:
        """The parameters in units of the data range."""
        reader, form = self.reader, self.form
        return Parameters.of(form.method, form.mu, form.epsilon, self.noise, reader.layout, reader.channels)

    @property
    def window_tolerance(self) -> float:
        """The tolerance for windows with which the whole meets its own: their squared gradients add up."""
        share = np.sqrt(math.prod(self.reader.shape) / self.partition.pixels)
        return float(_SLACK * share * self.certificate.tolerance)


def _chosen(own: Options, reader: Reader, method: Method, surveyed: Survey) -> tuple[Form, NoiseModel | None]:
    """Return the form with the parameters that `tvdenoise.denoise` would choose, and the noise they suit."""

    def evidence() -> NoiseEvidence:
        found, surveyed.noise = surveyed.noise, None  # its memory is free again before the choice
        assert found is not None
        return found

    noise = noise_for(own, reader.layout, reader.channels, evidence)
    least = reader.layout.least_sigma
    mu, epsilon = choose_by_sample(surveyed.sample, surveyed.span, method, noise, own, least)
    return Form(method, mu, epsilon), noise
