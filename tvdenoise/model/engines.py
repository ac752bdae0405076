"""Engines that step and evaluate J: the sparse definition, and the fused kernels on bands of rows.

An engine holds the iterate x and the objective gradient g there; `advance` sets x ← x − τ g and evaluates J.
The fused engines update x and g in place, so they need two arrays of the image's size beside the noisy image.
Bands depend on the shape alone, so results are byte-identical for any number of threads.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np

from tvdenoise.machine import available_threads
from tvdenoise.model.kernels import PENALTY_CODES, TV_CODES, step_halo, sweep_band

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tvdenoise.model.objective import Objective


@dataclass(frozen=True)
class Evaluation:
    """J at the new iterate, ‖g_new‖² and ⟨g_new, g_old⟩ after a step.

    squared_dual_norm: ‖g_new‖²_{W⁻¹} if pixels have weights; None if that equals ‖g_new‖².
    squared_missing_norm: ‖g_new‖² over missing pixels.
    """

    value: float
    squared_gradient_norm: float
    gradient_product: float
    squared_dual_norm: float | None = None
    squared_missing_norm: float = 0.0


class Engine(Protocol):
    """An iterate, its objective gradient, and the step that updates both."""

    @property
    def objective(self) -> Objective:
        """The objective to minimise."""

    @property
    def iterate(self) -> NDArray[np.floating]:
        """x, (channels, rows, columns) or (channels, planes, rows, columns)."""

    def advance(self, step_length: float) -> Evaluation:
        """Set x ← x − τ g and g ← ∇J(x). A first call with τ = 0 evaluates the start."""


class SparseEngine:
    """The definition: scipy's sparse operators in double precision, one line for each formula."""

    def __init__(self, objective: Objective, start: NDArray[np.floating]) -> None:
        self.objective = objective
        self.iterate = start.astype(np.float64)
        self.gradient = np.zeros_like(self.iterate)

    def __enter__(self) -> SparseEngine:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: there are no threads to end."""

    def advance(self, step_length: float) -> Evaluation:
        """Set x ← x − τ g and g ← ∇J(x)."""
        previous = self.gradient
        self.iterate = self.iterate - step_length * previous
        self.gradient = self.objective.gradient(self.iterate)
        fidelity = self.objective.fidelity
        return Evaluation(
            value=self.objective.value(self.iterate),
            squared_gradient_norm=float(np.vdot(self.gradient, self.gradient)),
            gradient_product=float(np.vdot(self.gradient, previous)),
            squared_dual_norm=None if fidelity is None else fidelity.squared_dual_norm(self.gradient),
            squared_missing_norm=0.0 if fidelity is None else fidelity.squared_missing_norm(self.gradient),
        )


#: A band has at least this many pixels (the unit of work of a thread) and rows (each band recomputes two rows of
#: its neighbours).
_PIXELS_PER_BAND = 1 << 16
_ROWS_PER_BAND = 64
#: The same for volumes, where a band is a range of rows in all planes: fewer rows, so that two planes of a band
#: fit the cache.
_VOXELS_PER_BAND = 1 << 18
_ROWS_PER_VOLUME_BAND = 32


def fused_engine(
    objective: Objective, start: NDArray[np.floating], threads: int | None = None
) -> BandedEngine:
    """Return the fastest engine for an objective."""
    is_plain = objective.axis_weights is None and objective.fidelity is None
    if is_plain and objective.noisy.ndim == 3:
        return FusedEngine(objective, start, threads)
    return VolumeEngine(objective, start, threads)


class BandedEngine(ABC):
    """An engine whose threads process bands of rows.

    Subclasses set ``_sums``: for each band, the sums that the kernel returns.
    """

    _sums: NDArray[np.float64]

    def __init__(
        self, objective: Objective, start: NDArray[np.floating], threads: int | None, starts: NDArray[np.intp]
    ) -> None:
        self.objective = objective
        self.iterate = np.array(start, order="C")
        self.gradient = np.zeros_like(self.iterate)
        self._precision = self.iterate.dtype
        # Read-only arrays have a different Numba type, for which the kernels would be compiled again.
        self._noisy = np.require(objective.noisy, requirements=("C", "W"))
        self._starts = starts
        bands = starts.size - 1
        self._threads = min(threads or available_threads(), bands)
        self._pool = ThreadPoolExecutor(self._threads - 1) if self._threads > 1 else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()

    def advance(self, step_length: float) -> Evaluation:
        """Set x ← x − τ g and g ← ∇J(x), in one sweep through memory."""
        step = self._precision.type(step_length)
        self._step_halo(step)
        self._sweep_all(step)
        penalties, squared_residual, squared_norm, product, *weighted = map(float, self._sums.sum(axis=0))
        dual, missing = weighted or (squared_norm, 0.0)
        return Evaluation(
            value=penalties - self.objective.absent_value + self.objective.mu / 2 * squared_residual,
            squared_gradient_norm=squared_norm,
            gradient_product=product,
            squared_dual_norm=None if self.objective.fidelity is None else dual,
            squared_missing_norm=missing,
        )

    @abstractmethod
    def _step_halo(self, step: np.floating) -> None:
        """Copy the rows next to the borders between bands, as they will be after the step."""

    @abstractmethod
    def _sweep(self, band: int, step: np.floating) -> None:
        """Step and evaluate one band."""

    def _sweep_all(self, step: np.floating) -> None:
        waiting = iter(range(self._starts.size - 1))

        def sweep() -> None:
            for band in waiting:
                self._sweep(band, step)

        others = [self._pool.submit(sweep) for _ in range(self._threads - 1)] if self._pool else []
        sweep()
        wait(others)
        for other in others:
            other.result()


class FusedEngine(BandedEngine):
    """Runs `tvdenoise.model.kernels`, for images without weights."""

    def __init__(self, objective: Objective, start: NDArray[np.floating], threads: int | None = None) -> None:
        channels, rows, columns = start.shape
        starts = _band_starts(rows, max(_ROWS_PER_BAND, -(-_PIXELS_PER_BAND // columns)))
        super().__init__(objective, start, threads, starts)
        bands = starts.size - 1
        self._halo = np.empty((bands + 1, 2, channels, columns), self._precision)
        self._sums = np.empty((bands, 4))
        scalar = self._precision.type
        self._parameters = (
            scalar(objective.mu),
            scalar(objective.penalty.epsilon),
            np.square(objective.channel_weights).astype(self._precision),
            PENALTY_CODES[objective.penalty.name],
            TV_CODES[objective.tv],
        )

    def _step_halo(self, step: np.floating) -> None:
        step_halo(self.iterate, self.gradient, step, self._starts, self._halo)

    def _sweep(self, band: int, step: np.floating) -> None:
        sweep_band(
            self.iterate, self.gradient, self._noisy, band, self._starts, self._halo, step,
            *self._parameters, self._sums,
        )  # fmt: skip


class VolumeEngine(BandedEngine):
    """Runs `tvdenoise.model.volume_kernels`, for volumes and for images with weights.

    iterate and gradient have the shape of the noisy image; to the kernel an image is a volume of one plane.
    """

    def __init__(self, objective: Objective, start: NDArray[np.floating], threads: int | None = None) -> None:
        from tvdenoise.model import volume_kernels

        rows, columns = start.shape[-2:]
        as_volume = (len(start), -1, rows, columns)
        planes = start.size // (len(start) * rows * columns)
        height = max(_ROWS_PER_VOLUME_BAND, -(-_VOXELS_PER_BAND // (columns * planes)))
        super().__init__(objective, start, threads, _band_starts(rows, height))
        self._kernels = volume_kernels
        bands = self._starts.size - 1
        self._halo = np.empty((bands + 1, 2, len(start), planes, columns), self._precision)
        self._sums = np.empty((bands, volume_kernels.SUMS))
        self._arrays = tuple(array.reshape(as_volume) for array in (self.iterate, self.gradient, self._noisy))
        fidelity = objective.fidelity
        scalar = self._precision.type
        scales = np.multiply.outer(
            np.square(objective.channel_weights), (0.0, *objective.squared_axis_weights)[-3:]
        )
        self._weights = (
            np.empty((0, 0, 0), self._precision)
            if fidelity is None
            else fidelity.coded.astype(self._precision, copy=False).reshape(as_volume[1:])
        )
        self._parameters = (
            scalar(objective.mu),
            scalar(objective.penalty.epsilon),
            scales.astype(self._precision),
            PENALTY_CODES[objective.penalty.name],
            TV_CODES[objective.tv],
            fidelity is not None,
            fidelity is not None and fidelity.absent > 0,
        )

    def _step_halo(self, step: np.floating) -> None:
        iterate, gradient, _ = self._arrays
        self._kernels.step_volume_halo(iterate, gradient, step, self._starts, self._halo)

    def _sweep(self, band: int, step: np.floating) -> None:
        self._kernels.sweep_volume_band(
            *self._arrays, self._weights, band, self._starts, self._halo, step, *self._parameters, self._sums
        )


def _band_starts(rows: int, height: int) -> NDArray[np.intp]:
    """Return the first row of each band, followed by the number of rows."""
    return np.append(np.arange(0, rows, height), rows)
