"""A solve that is watched at every evaluation, and starts from a solution for other parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tvdenoise.method import DEFAULT_MAX_ITERATIONS, Method
from tvdenoise.model.fused import FusedEngine
from tvdenoise.model.objective import Objective
from tvdenoise.model.penalties import PENALTIES
from tvdenoise.solver import Status, descend
from tvdenoise.steps import BarzilaiBorwein
from tvdenoise.stopping import Certificate

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray

#: How much of the change of μ a start takes part in: nothing of a change of so little (of log μ), then more by this
#: slope, and no more than by the root (evaluations counted on photographs).
_SMALL_CHANGE, _SLOPE, _LARGEST_EXPONENT = 0.04, 2.0, 0.5


@dataclass(frozen=True, eq=False)
class Stage:
    """x: the iterate, which the next evaluation overwrites; distance_bound: as of `Solution`.

    status: how the solve ended; None while it goes on.
    """

    x: NDArray[np.floating[Any]]
    distance_bound: float
    evaluations: int
    status: Status | None


def stages(
    method: Method,
    noisy: NDArray[np.floating[Any]],
    mu: float,
    epsilon: float,
    start: NDArray[np.floating[Any]],
) -> Generator[Stage, None, None]:
    """The iterates for planes (channels, rows, columns), the last one within the default tolerance."""
    objective = Objective(noisy, mu, PENALTIES[method.penalty](epsilon), method.tv, method.channel_weights)
    with FusedEngine(objective, start, method.threads) as engine:
        precision = engine.iterate.dtype
        certificate = Certificate.of(objective, None, precision)
        rule = BarzilaiBorwein(objective, precision)
        for evaluations, evaluation in enumerate(descend(engine, rule), start=1):
            status = None
            if certificate.is_met(evaluation):
                status = Status.CONVERGED
            elif certificate.is_exhausted(evaluation):
                status = Status.PRECISION
            elif evaluations >= DEFAULT_MAX_ITERATIONS:
                status = Status.ITERATION_LIMIT
            yield Stage(engine.iterate, certificate.distance_bound(evaluation), evaluations, status)
            if status is not None:
                return


def start_from(
    noisy: NDArray[np.floating[Any]], x: NDArray[np.floating[Any]], old_mu: float, mu: float
) -> NDArray[np.floating[Any]]:
    """Where to start for μ, given the solution for another one.

    At the minimiser μ(f − x) is the gradient of the total variation. Were that the same for both, the residual
    would change by old μ/μ; it changes by less, and the gradient is spoilt where it should not have changed. So a
    small change starts from the old solution, a large one with the residual times the root of old μ/μ.
    """
    change = float(np.log(mu / old_mu))
    exponent = min(max(_SLOPE * (abs(change) - _SMALL_CHANGE), 0.0), _LARGEST_EXPONENT)
    if exponent == 0:
        return x
    start: NDArray[np.floating[Any]] = np.subtract(x, noisy)
    start *= np.float32(np.exp(-exponent * change))
    start += noisy
    return start
