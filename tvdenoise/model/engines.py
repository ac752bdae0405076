"""Two ways to carry an iterate down an objective: the definition, and the fast kernel that equals it.

An engine holds the iterate x and the objective gradient g there; `advance` takes x ← x − τ g and evaluates.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tvdenoise.model.objective import Objective

#: Bands hold at least this many pixels (what a thread takes at a time) and this many rows (since each band
#: computes two rows of its neighbours again). They follow from the shape alone, so that the number of threads
#: never changes how sums are rounded.
_PIXELS_PER_BAND = 1 << 16
_ROWS_PER_BAND = 64


@dataclass(frozen=True)
class Evaluation:
    """What one step tells: J at the new iterate, ‖g_new‖² and ⟨g_new, g_old⟩."""

    value: float
    squared_gradient_norm: float
    gradient_product: float


class Engine(Protocol):
    """An iterate, its objective gradient, and the step that renews both."""

    @property
    def objective(self) -> Objective:
        """The objective that is descended."""

    @property
    def iterate(self) -> NDArray[np.floating]:
        """x, (channels, rows, columns)."""

    def advance(self, step_length: float) -> Evaluation:
        """x ← x − τ g, g ← ∇J(x). A first call with τ = 0 evaluates the start."""


class SparseEngine:
    """The definition: scipy's sparse operator, double precision, one line for each formula."""

    def __init__(self, objective: Objective, start: NDArray[np.floating]) -> None:
        self.objective = objective
        self.iterate = start.astype(np.float64)
        self.gradient = np.zeros_like(self.iterate)

    def __enter__(self) -> SparseEngine:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held."""

    def advance(self, step_length: float) -> Evaluation:
        """x ← x − τ g, g ← ∇J(x)."""
        previous = self.gradient
        self.iterate = self.iterate - step_length * previous
        self.gradient = self.objective.gradient(self.iterate)
        return Evaluation(
            value=self.objective.value(self.iterate),
            squared_gradient_norm=float(np.vdot(self.gradient, self.gradient)),
            gradient_product=float(np.vdot(self.gradient, previous)),
        )


class FusedEngine:
    """The fast kernel of `tvdenoise.model.kernels` on bands of rows, in the image's own precision.

    Holds two arrays of the image's size beside the noisy image: x and g are renewed in place.
    """

    def __init__(self, objective: Objective, start: NDArray[np.floating], threads: int | None = None) -> None:
        from tvdenoise.model import kernels

        self.objective = objective
        self.iterate = np.array(start, order="C")
        self.gradient = np.zeros_like(self.iterate)
        self._precision = self.iterate.dtype
        self._kernels = kernels
        self._noisy = np.ascontiguousarray(objective.noisy)
        self._starts = _band_starts(*self.iterate.shape[1:])
        bands = self._starts.size - 1
        channels, _, columns = self.iterate.shape
        self._halo = np.empty((bands + 1, 2, channels, columns), self._precision)
        self._sums = np.empty((bands, 4))
        scalar = self._precision.type
        self._parameters = (
            scalar(objective.mu),
            scalar(objective.penalty.epsilon),
            np.square(objective.channel_weights).astype(self._precision),
            kernels.PENALTY_CODES[objective.penalty.name],
            kernels.TV_CODES[objective.tv],
        )
        self._threads = min(threads or available_threads(), bands)
        self._pool = ThreadPoolExecutor(self._threads - 1) if self._threads > 1 else None

    def __enter__(self) -> FusedEngine:
        return self

    def __exit__(self, *_: object) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()

    def advance(self, step_length: float) -> Evaluation:
        """x ← x − τ g, g ← ∇J(x), in one sweep through memory."""
        step = self._precision.type(step_length)
        self._kernels.step_halo(self.iterate, self.gradient, step, self._starts, self._halo)
        waiting = iter(range(self._starts.size - 1))

        def sweep() -> None:
            for band in waiting:
                self._kernels.sweep_band(
                    self.iterate, self.gradient, self._noisy, band, self._starts, self._halo,
                    step, *self._parameters, self._sums,
                )  # fmt: skip

        others = [self._pool.submit(sweep) for _ in range(self._threads - 1)] if self._pool else []
        sweep()
        wait(others)
        for other in others:
            other.result()
        penalties, squared_residual, squared_norm, product = self._sums.sum(axis=0)
        return Evaluation(
            value=float(penalties + self.objective.mu / 2 * squared_residual),
            squared_gradient_norm=float(squared_norm),
            gradient_product=float(product),
        )


def available_threads() -> int:
    """The number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _band_starts(rows: int, columns: int) -> NDArray[np.intp]:
    """First row of each band, followed by the number of rows."""
    height = max(_ROWS_PER_BAND, -(-_PIXELS_PER_BAND // columns))
    return np.append(np.arange(0, rows, height), rows)
