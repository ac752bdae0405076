"""Implicit differentiation: how the minimiser answers to the noisy image and to the parameters.

At the minimiser ∇J(x; f, θ) = 0, so ∇²J dx = −∂∇J/∂f df − ∂∇J/∂θ dθ. For a cotangent c, the derivative of a function
of x by x, one linear system gives all derivatives: with ∇²J v = c, they are −(∂∇J/∂f)ᵀ v and −⟨∂∇J/∂θ, v⟩ (see
Chen, Ranftl and Pock, IEEE TIP 23(3), 2014). ∇²J is at least the modulus of strong convexity, so the system has one
solution, and conjugate gradients find it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tvdenoise.model.filters import FilterObjective, FilterPrior

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from tvdenoise.model.filters import ByBank
    from tvdenoise.model.objective import Objective


#: The most products with ∇²J.
_MOST = 5000


@dataclass(frozen=True, eq=False)
class PlaneGradients:
    """Derivatives in units of the planes.

    noisy: (channels, ...). mu, epsilon: of total variation. level: of learned filters. bank: by their weights.
    residual: ‖c − ∇²J v‖/‖c‖ that was reached.
    """

    noisy: NDArray[np.floating]
    residual: float
    mu: float | None = None
    epsilon: float | None = None
    level: float | None = None
    bank: ByBank | None = None


def solve(
    product: Callable[[NDArray[np.floating]], NDArray[np.floating]],
    right: NDArray[np.floating],
    metric: NDArray[np.floating],
    accuracy: float,
) -> tuple[NDArray[np.floating], float]:
    """Solve H v = c by conjugate gradients, preconditioned by a diagonal; return v and ‖c − H v‖/‖c‖.

    accuracy: the relative residual at which to stop.
    """
    v = np.zeros_like(right)
    size = float(np.linalg.norm(right))
    if size == 0:
        return v, 0.0
    residual = right.copy()
    scaled = np.divide(residual, metric, out=np.zeros_like(residual), where=metric > 0)
    direction, norm = scaled.copy(), float(np.vdot(residual, scaled))
    for _ in range(_MOST):
        if float(np.linalg.norm(residual)) <= accuracy * size:
            break
        across = product(direction)
        step = norm / float(np.vdot(direction, across))
        v += step * direction
        residual -= step * across
        scaled = np.divide(residual, metric, out=np.zeros_like(residual), where=metric > 0)
        before, norm = norm, float(np.vdot(residual, scaled))
        direction = scaled + norm / before * direction
    return v, float(np.linalg.norm(residual)) / size


def of_total_variation(
    objective: Objective, x: NDArray[np.floating], cotangent: NDArray[np.floating], accuracy: float
) -> PlaneGradients:
    """Return the derivatives for J with total variation. Raises ValueError for Huber's function and missing pixels.

    x: the minimiser, (channels, ...). cotangent: the derivative of the function by x. Held and absent pixels of x are
    those of the noisy image, and the derivative by them includes that.
    """
    if not objective.is_strongly_convex:
        raise ValueError("some pixels are missing, so that the minimiser need not be unique")
    curvature, fidelity = objective.curvature(x), objective.fidelity
    weights = np.ones(x.shape[1:]) if fidelity is None else np.maximum(fidelity.coded, 0).astype(np.float64)
    is_free = np.ones(x.shape[1:], bool) if fidelity is None else fidelity.is_free
    metric = np.where(is_free, objective.metric(x), 0.0)

    def product(d: NDArray[np.floating]) -> NDArray[np.floating]:
        return np.where(is_free, curvature(d) + objective.mu * weights * d, 0.0)

    v, residual = solve(product, np.where(is_free, cotangent, 0.0), metric, accuracy)
    bound = np.where(is_free, weights * (x - objective.noisy), 0.0)
    return PlaneGradients(
        np.where(is_free, objective.mu * weights * v, cotangent - curvature(v)),
        residual,
        mu=-float(np.vdot(bound, v)),
        epsilon=-float(np.vdot(objective.gradient_by_epsilon(x), v)),
    )


def of_filters(
    objective: FilterObjective,
    x: NDArray[np.floating],
    cotangent: NDArray[np.floating],
    accuracy: float,
    threads: int | None,
) -> PlaneGradients:
    """Return the derivatives for J with learned filters; the arguments are those of `of_total_variation`."""
    from tvdenoise.model.filter_engine import FilterEngine

    level, bank = objective.prior.level, objective.prior.bank
    with FilterEngine(objective, x, threads) as engine:
        v, residual = solve(engine.hessian_product, cotangent, np.ones_like(x), accuracy)
        engine.advance(0.0)
        of_prior = engine.gradient - (x - objective.noisy)
        along = engine.hessian_product(x) - x
    at_one = FilterObjective(objective.noisy / level, FilterPrior(bank, 1.0))
    with FilterEngine(at_one, x / level, threads) as engine:
        by_bank = engine.derivative(level * v)
    return PlaneGradients(
        v,
        residual,
        level=-float(np.vdot(of_prior - along, v)) / level,
        bank=type(by_bank)(*(-one for one in by_bank)),
    )
