"""Gradient descent: the iteration, its end, and the solution."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from tvdenoise.model.engines import Engine, Evaluation
    from tvdenoise.noise.model import NoiseModel
    from tvdenoise.steps import StepRule
    from tvdenoise.stopping import Certificate


class Status(Enum):
    """How a solve ended; the value is the sentence that a user reads."""

    CONVERGED = "converged to the tolerance"
    FILLED = (
        "converged as far as missing pixels allow: the objective gradient is small, no distance is bounded"
    )
    PRECISION = "stopped at the limit of the floating-point precision, short of the tolerance"
    ITERATION_LIMIT = "stopped at the iteration limit, short of the tolerance"


class TracePoint(NamedTuple):
    """J at an iterate, and how far that can be from the exact minimiser (rms, units of the data range)."""

    value: float
    distance_bound: float


@dataclass(frozen=True, eq=False)
class Solution:
    """A denoised image and how good it is.

    image: the denoised image, with the shape of the input.
    mu, epsilon: the parameters of J, in units of the data range (1/range and range).
    noise: the noise that mu was chosen for; None where mu was given.
    tolerance: the distance bound that was asked for.
    status: how the solve ended.
    iterations: evaluations of the objective gradient, the one at the start included.
    value: J at the result.
    distance_bound: the rms distance to the exact minimiser x* of J is never larger (units of the data range). The
        rms is over the unknowns, all pixels of all channels but those that a mask held; with fidelity weights it
        is the weighted one, √(Σ w (x − x*)² / Σ w). Infinite where pixels are missing: without fidelity there J
        is not strongly convex, and nothing is known of the distance.
    trace: value and distance bound at each evaluation, the one at the start first and that of the result last;
        empty where it was not asked for.
    """

    image: NDArray[np.floating]
    mu: float
    epsilon: float
    noise: NoiseModel | None
    tolerance: float
    status: Status
    iterations: int
    value: float
    distance_bound: float
    trace: tuple[TracePoint, ...] = ()

    @property
    def sigma(self) -> float | None:
        """The noise level that mu was chosen for, in units of the data range; None where mu was given."""
        return None if self.noise is None else self.noise.sigma

    @property
    def converged(self) -> bool:
        """True where the distance bound is at most the tolerance, or the status is `Status.FILLED`."""
        return self.status in (Status.CONVERGED, Status.FILLED)


def descend(engine: Engine, step_rule: StepRule) -> Iterator[Evaluation]:
    """Step down the objective without end, yielding the evaluation at each iterate, the start first."""
    evaluation = engine.advance(0.0)
    yield evaluation
    step_length = step_rule.first(evaluation)
    while True:
        before, evaluation = evaluation, engine.advance(step_length)
        yield evaluation
        step_length = step_rule.next(step_length, before, evaluation)


def minimise(
    engine: Engine,
    step_rule: StepRule,
    certificate: Certificate,
    max_iterations: int,
    watchers: Iterable[Callable[[Evaluation], None]] = (),
) -> tuple[Status, int, Evaluation]:
    """Descend until the certificate is met, exhausted, or ``max_iterations`` evaluations are spent.

    Returns how it ended, the number of evaluations and the last one; the iterate is the engine's.
    watchers: each called with every evaluation.
    """
    for iterations, evaluation in enumerate(descend(engine, step_rule), start=1):
        for watch in watchers:
            watch(evaluation)
        if certificate.is_met(evaluation):
            is_bounded = certificate.objective.is_strongly_convex
            return Status.CONVERGED if is_bounded else Status.FILLED, iterations, evaluation
        if certificate.is_exhausted(evaluation):
            return Status.PRECISION, iterations, evaluation
        if iterations >= max_iterations:
            return Status.ITERATION_LIMIT, iterations, evaluation
    raise AssertionError("descend() never ends")
