"""Denoising one patch, and the derivative of its error by the bank (see `tvdenoise.solver.implicit`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tvdenoise.model.filter_engine import FilterEngine
from tvdenoise.model.filters import ByBank
from tvdenoise.options import Options
from tvdenoise.solver.descent import Method, descend
from tvdenoise.solver.implicit import solve
from tvdenoise.solver.step_rules import QuasiNewton

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


def engine_for(objective: FilterObjective, kernels: Kernels) -> FilterEngine:
    """Return an engine in one thread that starts where `Method.minimise` does.

    The noisy patch as a start takes up to three times as many evaluations.
    """
    method = Method(Options(threads=1), bank=objective.prior.bank)
    start = method.start(objective.noisy, 1 / objective.prior.level)
    return FilterEngine(objective, start, threads=1, kernels=kernels)


def minimise(engine: FilterEngine, tolerance: float) -> int:
    """Descend until rms(∇J) ≤ tolerance; return the number of evaluations."""
    rule = QuasiNewton(engine.objective, engine.iterate.dtype)
    end = tolerance**2 * engine.iterate.size
    evaluations = 0
    for evaluations, evaluation in enumerate(descend(engine, rule), start=1):
        if evaluation.squared_gradient_norm <= end or evaluations == _MOST:
            break
    return evaluations


def patch_error(
    objective: FilterObjective,
    clean: NDArray[np.floating],
    kernels: Kernels,
    tolerance: float,
    accuracy: float,
) -> PatchError:
    """Denoise a patch and differentiate the error, all in one thread.

    tolerance: rms(∇J) of the solve. accuracy: relative residual of the conjugate gradients.
    """
    with engine_for(objective, kernels) as engine:
        evaluations = minimise(engine, tolerance)
        residual = engine.iterate - clean
        error = float(np.mean(np.square(residual, dtype=np.float64)))
        by_image = residual * residual.dtype.type(2 / residual.size)
        solved = solve(engine.hessian_product, by_image, accuracy, metric=engine.move_metric, most=_MOST)
        slope = engine.derivative(solved.v).bank
        return PatchError(error, slope.times(-1.0), evaluations, solved.products)
