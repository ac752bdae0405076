"""Passes over the windows, whose solutions are joined in a composite on disk.

The first pass solves each window alone and blends them. Further passes solve windows with a held ring: block
coordinate descent (Schwarz's alternating method, 1870), in which J never rises and which converges to the minimiser
of the whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from tvdenoise.model.fidelity import ABSENT, HELD, Fidelity
from tvdenoise.solver.descent import Status
from tvdenoise.tiling.evaluation import value_of
from tvdenoise.tiling.partition import blending_weights, fading_weights, product_of
from tvdenoise.tiling.source import bands, extended, lengths, size, within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from numpy.typing import NDArray

    from tvdenoise.solver.descent import Solution
    from tvdenoise.tiling.partition import Partition
    from tvdenoise.tiling.plan import Form
    from tvdenoise.tiling.source import Reader, Window


#: Values to read or write at a time.
_VALUES = 1 << 18
#: Reading or writing this many more values of a row costs no more than another call.
_WORTH_A_CALL = 8000


class Scratch:
    """Planes of an image in a file, initially zero. Read and written, not mapped: mapped pages count as memory in use.

    Windows that cover most of their rows are read and written as whole rows, to save a call for each row.
    """

    def __init__(
        self,
        file: BinaryIO,
        channels: int,
        shape: tuple[int, ...],
        values: int = _VALUES,
        precision: np.dtype[np.floating] | None = None,
    ) -> None:
        """file: empty, and open for unbuffered reading and writing.

        values: the most values to buffer, but at least a row. precision: of the values, single by default.
        """
        self.precision = np.dtype(np.float32) if precision is None else precision
        self._values = min(values, _VALUES)
        self._file = file
        self._channels = channels
        self._shape = shape
        file.truncate(channels * math.prod(shape) * self.precision.itemsize)

    def read(self, window: Window) -> NDArray[np.floating]:
        """Return the values (channels, ...) of a window."""
        values = np.empty((self._channels, *lengths(window)), self.precision)
        for offset, part in self._parts(values, window):
            if part.shape[-1] == self._shape[-1]:
                self._read_into(offset, part)
            elif self._is_nearly_whole(part):
                part[:] = self._whole_rows(offset, len(part))[:, window[-1]]
            else:
                for row, at in self._rows(part, offset, window):
                    self._read_into(at, row)
        return values

    def write(self, window: Window, values: NDArray[np.floating]) -> None:
        """Replace the values (channels, ...) of a window."""
        for offset, part in self._parts(values, window):
            if part.shape[-1] == self._shape[-1]:
                self._write(offset, part)
            elif self._is_nearly_whole(part):
                rows = self._whole_rows(offset, len(part))
                rows[:, window[-1]] = part
                self._write(offset, rows)
            else:
                for row, at in self._rows(part, offset, window):
                    self._write(at, row)

    def _is_nearly_whole(self, part: NDArray[np.floating]) -> bool:
        return bool(self._shape[-1] - part.shape[-1] <= _WORTH_A_CALL)

    def _rows(
        self, part: NDArray[np.floating], offset: int, window: Window
    ) -> Iterator[tuple[NDArray[np.floating], int]]:
        """Yield each row of a part with its offset in the file."""
        for number, row in enumerate(part):
            yield row, offset + (number * self._shape[-1] + window[-1].start) * self.precision.itemsize

    def _whole_rows(self, offset: int, count: int) -> NDArray[np.floating]:
        rows = np.empty((count, self._shape[-1]), self.precision)
        self._read_into(offset, rows)
        return rows

    def _parts(
        self, values: NDArray[np.floating], window: Window
    ) -> Iterator[tuple[int, NDArray[np.floating]]]:
        """Yield views of a few rows of a window's values, with the offset of these whole rows in the file."""
        *outer, rows, _ = (slice(0, self._channels), *window)
        columns = self._shape[-1]
        step = max(self._values // columns, 1)
        strides = [math.prod(self._shape[axis:]) for axis in range(len(outer))]
        for at in product(*(range(part.start, part.stop) for part in outer)):
            first = sum(place * stride for place, stride in zip(at, strides, strict=True))
            plane = values[tuple(place - part.start for place, part in zip(at, outer, strict=True))]
            for top in range(0, rows.stop - rows.start, step):
                yield (
                    (first + (rows.start + top) * columns) * self.precision.itemsize,
                    plane[top : top + step],
                )

    def _read_into(self, offset: int, values: NDArray[np.floating]) -> None:
        self._file.seek(offset)
        view, done = values.reshape(-1).view(np.uint8).data, 0
        while done < len(view):
            count = self._file.readinto(view[done:])  # type: ignore[attr-defined]
            if not count:
                raise OSError("the scratch file ends early")
            done += count

    def _write(self, offset: int, values: NDArray[np.floating]) -> None:
        self._file.seek(offset)
        view, done = np.ascontiguousarray(values, self.precision).reshape(-1).view(np.uint8).data, 0
        while done < len(view):
            done += self._file.write(view[done:])


#: The most values to weight at a time, and the most as a fraction (1/8) of a window.
_SLAB_VALUES, _PART = 1 << 20, 8


def put_weighted(
    scratch: Scratch, window: Window, x: NDArray[np.floating], weights: list[NDArray[np.float32]]
) -> None:
    """Add a window's solution x (channels, ...), times its weights, to the composite, a few rows at a time.

    Where all weights are 1, it is written without reading: no other window covers those pixels.
    """
    support = tuple(
        slice(frame.start + int(np.flatnonzero(weight)[0]), frame.start + int(np.flatnonzero(weight)[-1]) + 1)
        for frame, weight in zip(window, weights, strict=True)
    )
    for slab in _slabs(support, len(x), min(_SLAB_VALUES, x.size // _PART)):
        inner = within(slab, window)
        values = x[:, *inner]
        parts = [weight[part] for weight, part in zip(weights, inner, strict=True)]
        if all((part == 1).all() for part in parts):
            scratch.write(slab, values)
        else:
            held = scratch.read(slab)
            held += values * product_of(parts)
            scratch.write(slab, held)


def _slabs(window: Window, channels: int, most: int) -> list[Window]:
    """Cut a window into parts of at most so many values, along its first axis and if necessary the second."""
    slabs = [window]
    for axis in (0, 1):
        each = channels * size(slabs[0]) // (slabs[0][axis].stop - slabs[0][axis].start)
        slabs = [cut for slab in slabs for cut in _cut(slab, axis, max(most // max(each, 1), 1))]
        if each <= most:
            break
    return slabs


def _cut(window: Window, axis: int, step: int) -> list[Window]:
    """Cut a window along one axis."""
    part = window[axis]
    return [
        (*window[:axis], slice(start, min(start + step, part.stop)), *window[axis + 1 :])
        for start in range(part.start, part.stop, step)
    ]


#: Solving a window again may take this many times the most evaluations of the first pass.
_TIMES = 2
#: Windows are solved again to this part of the certificate's floor, which is a worst case; near a face, few pixels
#: matter.
_FLOOR_PART = 1 / 16


@dataclass(eq=False)
class Windows:
    """Solves windows of one image into a composite.

    work: pixels times evaluations so far. longest: the most evaluations of a window in the first pass.
    """

    reader: Reader
    scratch: Scratch
    form: Form
    work: int = 0
    longest: int = 1

    @property
    def evaluations(self) -> int:
        """The work in evaluations of the whole image, rounded up."""
        return -(-self.work // math.prod(self.reader.shape))

    @property
    def reached_limit(self) -> bool:
        """True if the limit of evaluations is reached."""
        return self.evaluations >= self.form.method.options.max_iterations

    def solve_each(self, partition: Partition, tolerance: float, tell: Callable[[float], None]) -> None:
        """Solve each window alone, with natural boundary conditions, and blend the solutions."""
        done = 0
        for core in partition.cores():
            tell(done / partition.pixels)
            window = partition.window_of(core)
            form = self.form
            noisy, fidelity = self.reader.noisy(window)
            found = form.method.minimise(
                noisy, form.mu, form.epsilon, fidelity=fidelity, tolerance=tolerance, is_sharp=False
            )
            self.work += found.iterations * size(window)
            self.longest = max(self.longest, found.iterations)
            done += size(window)
            reaches = tuple(overlap // 2 for overlap in partition.overlap)
            weights = blending_weights(core, window, reaches, partition.shape)
            put_weighted(self.scratch, window, found.x, weights)
            del found

    def solve_again(self, window: Window, fades: tuple[int, ...], tolerance: float) -> bool:
        """Solve a window with a held ring, starting from the composite; return False if nothing can be gained.

        Changes fade towards the ring over ``fades`` pixels along each axis, unless that would raise J. The ring is as
        wide as the gradient of a pixel reaches; all of it but the innermost pixels lies outside the window.
        """
        shape, inner = self.reader.shape, window
        ring = self.form.method.reach
        window = extended(inner, (ring - 1,) * len(shape), shape)
        gates = self.form.gates(self.reader, window)
        (noisy, fidelity), old = self.reader.noisy(window), self.scratch.read(window)
        left = max(self.form.method.options.max_iterations - self.evaluations, 1)
        most = min(left, _TIMES * self.longest)
        method = self.form.method
        found = replace(method, options=replace(method.options, max_iterations=most)).minimise(
            noisy, self.form.mu, self.form.epsilon, fidelity=_free_inside(window, shape, fidelity, ring),
            tolerance=tolerance, start=old, floor_part=_FLOOR_PART, is_sharp=False,
            gates=gates,
        )  # fmt: skip
        self.work += found.iterations * size(window)
        if found.iterations == 1:
            return found.status is not Status.PRECISION
        x = found.x.astype(self.scratch.precision, copy=False)
        objective, status = found.objective, found.status
        del found

        def value(at: NDArray[np.floating]) -> float:
            return value_of(objective, at, self.form.method.options.threads)

        place = within(inner, window)
        before = value(old)
        faded = x - old
        faded[:, *place] *= product_of(fading_weights(inner, fades, shape))
        faded += old
        if value(faded) <= before:
            self.scratch.write(inner, faded[:, *place])
        elif value(x) <= before:
            self.scratch.write(inner, x[:, *place])
        else:
            return False
        return status is not Status.PRECISION


def _free_inside(
    window: Window, shape: tuple[int, ...], fidelity: Fidelity | None, ring: int
) -> Fidelity | None:
    """Return the fidelity with pixels held within ``ring`` of ends of a window inside the image; None for ones."""
    inner = tuple(
        slice(ring * (part.start > 0), part.stop - part.start - ring * (part.stop < length))
        for part, length in zip(window, shape, strict=True)
    )
    if lengths(inner) == lengths(window):
        return fidelity
    held = np.full(lengths(window), HELD, np.float32)
    held[inner] = 1
    if fidelity is not None:
        held[fidelity.coded == ABSENT] = ABSENT
    return Fidelity(held)


@dataclass(frozen=True, eq=False)
class TiledSolution:
    """A denoised image on disk.

    solution: everything but the image, which is empty; its iterations are evaluations of the whole, rounded up.
    seam: the largest rms(∇J) over the pixels near a face; at most the tolerance times μ, or 1 − ρ, if converged.
    parts: the number of cores along each axis. passes: the number of passes, including the first.
    overlap: the overlap of the windows along each axis, on both sides.
    """

    solution: Solution
    seam: float
    parts: tuple[int, ...]
    passes: int
    overlap: tuple[int, ...]
    reader: Reader
    scratch: Scratch
    band: int

    @property
    def windows(self) -> int:
        """The number of windows."""
        return math.prod(self.parts)

    def read(self, window: Window) -> NDArray[np.floating]:
        """Return the denoised image in a window, channels last if there are several, in the units of `denoise`."""
        return self.reader.image(self.scratch.read(window), window)

    def blocks(self, rows: int | None = None) -> Iterator[tuple[Window, NDArray[np.floating]]]:
        """Yield the denoised image in bands of full width, in order; rows: the height of the bands but the last."""
        shape = self.reader.shape
        chunk = self.reader.source.chunk if rows is None else None
        windows = bands(shape, self.band if rows is None else rows * shape[-1], chunk)
        for window in windows:
            yield window, self.read(window)
