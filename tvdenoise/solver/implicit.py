"""Implicit differentiation: how the minimiser depends on the noisy image and the parameters.

At the minimiser ∇J(x; f, θ) = 0, so ∇²J dx = −∂∇J/∂f df − ∂∇J/∂θ dθ. For a cotangent c, the derivative of a function
of x by x, one linear system gives all derivatives: with ∇²J v = c, they are −(∂∇J/∂f)ᵀ v and −⟨∂∇J/∂θ, v⟩ (see
Chen, Ranftl and Pock, IEEE TIP 23(3), 2014). ∇²J is at least the modulus of strong convexity, so the system has one
solution, and conjugate gradients find it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tvdenoise.model.filters import FilterObjective, FilterPrior
from tvdenoise.model.step_metrics import PixelMetric

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from tvdenoise.model.filters import ByBank
    from tvdenoise.model.objective import Objective
    from tvdenoise.model.step_metrics import StepMetric


#: The most products with ∇²J.
_MOST = 5000


@dataclass(frozen=True, eq=False)
class Gradients:
    """Derivatives of a function of the denoised image.

    noisy: by the noisy image, with its shape and in its units.
    mu, epsilon: by the parameters of total variation, in units of the data range; None with learned filters.
    level, bank: by the level of learned filters, and by their weights (a `tvdenoise.model.filters.ByBank`); None with
        total variation.
    residual: the relative residual of the linear system that was solved.
    """

    noisy: NDArray[np.floating]
    residual: float
    mu: float | None = None
    epsilon: float | None = None
    level: float | None = None
    bank: ByBank | None = None


class Solved(NamedTuple):
    """v, with ‖c − H v‖/‖c‖ and the number of products with H that it took."""

    v: NDArray[np.floating]
    residual: float
    products: int


def solve(
    product: Callable[[NDArray[np.floating]], NDArray[np.floating]],
    right: NDArray[np.floating],
    accuracy: float,
    *,
    metric: StepMetric | None = None,
    most: int = _MOST,
) -> Solved:
    """Solve H v = c by conjugate gradients, in the precision of c.

    product: d ↦ H d. accuracy: the relative residual at which to stop. metric: preconditions; v
    stays 0 where it does. most: the largest number of products.
    """

    def scaled(residual: NDArray[np.floating]) -> NDArray[np.floating]:
        return residual if metric is None else metric.divide(residual)

    v, residual = np.zeros_like(right), right.copy()
    direction = scaled(residual).copy()
    squared = start = _inner(residual, residual)
    norm = _inner(residual, direction)
    products = 0
    while squared > accuracy**2 * start and products < most:
        across = product(direction)
        products += 1
        step = right.dtype.type(norm / _inner(direction, across))
        v += step * direction
        residual -= step * across
        squared, ahead = _inner(residual, residual), scaled(residual)
        before, norm = norm, _inner(residual, ahead)
        direction = ahead + right.dtype.type(norm / before) * direction
    return Solved(v, float(np.sqrt(squared / start)) if start else 0.0, products)


def _inner(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    axes = "czij"[-a.ndim :]
    return float(np.einsum(f"{axes},{axes}->", a, b, dtype=np.float64))


def of_total_variation(
    objective: Objective, x: NDArray[np.floating], cotangent: NDArray[np.floating], accuracy: float
) -> Gradients:
    """Return the derivatives for J with total variation, in units of the planes.

    Raises ValueError for Huber's function and missing pixels.
    x: the minimiser, (channels, ...). cotangent: the derivative of the function by x. Held and absent pixels of x are
    those of the noisy image, and the derivative by them includes that.
    """
    if not objective.is_strongly_convex:
        raise ValueError("some pixels are missing, so that the minimiser need not be unique")
    curvature, fidelity = objective.curvature(x), objective.fidelity
    weights = np.ones(x.shape[1:]) if fidelity is None else np.maximum(fidelity.coded, 0).astype(np.float64)
    is_free = np.ones(x.shape[1:], bool) if fidelity is None else fidelity.is_free
    metric = PixelMetric(np.where(is_free, objective.metric(x).diagonal, 0.0))

    def product(d: NDArray[np.floating]) -> NDArray[np.floating]:
        return np.where(is_free, curvature(d) + objective.mu * weights * d, 0.0)

    v, residual, _ = solve(product, np.where(is_free, cotangent, 0.0), accuracy, metric=metric)
    bound = np.where(is_free, weights * (x - objective.noisy), 0.0)
    return Gradients(
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
) -> Gradients:
    """Return the derivatives for J with learned filters; the arguments are those of `of_total_variation`."""
    from tvdenoise.model.filter_engine import FilterEngine

    level, bank = objective.prior.level, objective.prior.bank
    with FilterEngine(objective, x, threads) as engine:
        v, residual, _ = solve(engine.hessian_product, cotangent, accuracy, metric=engine.move_metric)
        engine.advance(0.0)
        of_prior = engine.gradient - (x - objective.noisy)
        along = engine.hessian_product(x) - x
    at_one = FilterObjective(objective.noisy / level, FilterPrior(bank, 1.0))
    with FilterEngine(at_one, x / level, threads) as engine:
        by_bank, through_gates = engine.derivative(level * v, by_noisy=True)
    assert through_gates is not None
    through_gates /= level
    return Gradients(
        v - through_gates,
        residual,
        level=float(np.vdot(objective.noisy, through_gates) - np.vdot(of_prior - along, v)) / level,
        bank=by_bank.times(-1.0),
    )
