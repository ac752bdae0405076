"""Denoising one patch, and the derivative of its error by the bank.

At the minimiser x* of J, ∇J(x*; θ) = 0, so ∂x*/∂θ = −H⁻¹ ∂∇J/∂θ with the Hessian H of J. For an error ℓ(x*) the
derivative is −∂⟨v, ∇J(x*; θ)⟩/∂θ with v = H⁻¹ ∂ℓ/∂x. Conjugate gradients find v: H is symmetric and at least 1 − ρ.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tvdenoise.model.filter_engine import FilterEngine
from tvdenoise.model.filters import ByBank
from tvdenoise.solver.descent import descend
from tvdenoise.solver.step_rules import BarzilaiBorwein

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tvdenoise.model.filter_engine import Kernels
    from tvdenoise.model.filters import FilterObjective


#: A patch is not solved further after so many evaluations or products.
_MOST = 400


class PatchError(NamedTuple):
    """The mean squared error of a denoised patch, its derivatives by the bank, and what they cost.

    evaluations: of ∇J. products: with the Hessian.
    """

    error: float
    by_bank: ByBank
    evaluations: int
    products: int


def minimise(engine: FilterEngine, tolerance: float) -> int:
    """Descend until rms(∇J) ≤ tolerance; return the number of evaluations."""
    rule = BarzilaiBorwein(engine.objective, engine.iterate.dtype)
    end = tolerance**2 * engine.iterate.size
    evaluations = 0
    for evaluations, evaluation in enumerate(descend(engine, rule), start=1):
        if evaluation.squared_gradient_norm <= end or evaluations == _MOST:
            break
    return evaluations


def inverse_product(
    engine: FilterEngine, right: NDArray[np.floating], accuracy: float
) -> tuple[NDArray[np.floating], int]:
    """Return v with ∇²J(x) v = right at the iterate, up to a relative residual, and the number of products with ∇²J."""
    v = np.zeros_like(right)
    residual = right.copy()
    direction = right.copy()
    norm = start = _inner(residual, residual)
    products = 0
    while norm > accuracy**2 * start and products < _MOST:
        product = engine.hessian_product(direction)
        products += 1
        step = right.dtype.type(norm / _inner(direction, product))
        v += step * direction
        residual -= step * product
        before, norm = norm, _inner(residual, residual)
        direction = residual + right.dtype.type(norm / before) * direction
    return v, products


def patch_error(
    objective: FilterObjective,
    clean: NDArray[np.floating],
    kernels: Kernels,
    tolerance: float,
    accuracy: float,
) -> PatchError:
    """Denoise a patch from its noisy values on and differentiate the error, all in one thread.

    tolerance: rms(∇J) of the solve. accuracy: relative residual of the conjugate gradients.
    """
    with FilterEngine(objective, objective.noisy, threads=1, kernels=kernels) as engine:
        evaluations = minimise(engine, tolerance)
        residual = engine.iterate - clean
        error = _inner(residual, residual) / residual.size
        v, products = inverse_product(engine, residual * residual.dtype.type(2 / residual.size), accuracy)
        slope = engine.derivative(v)
        return PatchError(error, ByBank(*(-one for one in slope)), evaluations, products)


def _inner(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    return float(np.einsum("chw,chw->", a, b, dtype=np.float64))
