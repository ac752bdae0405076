"""What carries an iterate down an objective, and the definition of it; the fast twins are in `tvdenoise.model.fused`.

An engine holds the iterate x and the objective gradient g there; `advance` takes x ← x − τ g and evaluates.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tvdenoise.model.objective import Objective


@dataclass(frozen=True)
class Evaluation:
    """What one step tells: J at the new iterate, ‖g_new‖² and ⟨g_new, g_old⟩.

    squared_dual_norm: ‖g_new‖²_{W⁻¹} where pixels have weights, None where that is ‖g_new‖².
    squared_missing_norm: ‖g_new‖² over missing pixels.
    """

    value: float
    squared_gradient_norm: float
    gradient_product: float
    squared_dual_norm: float | None = None
    squared_missing_norm: float = 0.0


class Engine(Protocol):
    """An iterate, its objective gradient, and the step that renews both."""

    @property
    def objective(self) -> Objective:
        """The objective that is descended."""

    @property
    def iterate(self) -> NDArray[np.floating]:
        """x, (channels, rows, columns) or (channels, planes, rows, columns)."""

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
        fidelity = self.objective.fidelity
        return Evaluation(
            value=self.objective.value(self.iterate),
            squared_gradient_norm=float(np.vdot(self.gradient, self.gradient)),
            gradient_product=float(np.vdot(self.gradient, previous)),
            squared_dual_norm=None if fidelity is None else fidelity.squared_dual_norm(self.gradient),
            squared_missing_norm=0.0 if fidelity is None else fidelity.squared_missing_norm(self.gradient),
        )


def available_threads() -> int:
    """The number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
