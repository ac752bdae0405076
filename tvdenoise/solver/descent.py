"""Gradient descent: the iteration, its end, its solution, and the method that sets it up."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from tvdenoise.model.engines import BandedEngine, SparseEngine, fused_engine
from tvdenoise.model.objective import Objective, TotalVariation
from tvdenoise.model.penalties import PENALTIES
from tvdenoise.solver.step_rules import BarzilaiBorwein, FixedStep, StepName
from tvdenoise.solver.stopping import Certificate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from tvdenoise.model.engines import Engine, Evaluation
    from tvdenoise.model.fidelity import Fidelity
    from tvdenoise.noise.model import NoiseModel
    from tvdenoise.solver.step_rules import StepRule


class Progress:
    """Tells the part that is done after each evaluation, from 0 to 1 and never less than before.

    The distance bound falls about evenly on a logarithmic scale: the part is that of its way there.
    """

    def __init__(self, certificate: Certificate, tell: Callable[[float], None]) -> None:
        self._certificate = certificate
        self._tell = tell
        self._whole: float | None = None
        self._done = 0.0

    def add(self, evaluation: Evaluation) -> None:
        """The next evaluation, that of the start first."""
        left = math.log(self._certificate.excess(evaluation))
        if self._whole is None:
            self._whole = left
        part = 1 - left / self._whole if left > 0 else 1.0
        self._done = max(self._done, part)
        self._tell(self._done)


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


PenaltyName = Literal["hyperbolic", "huber"]
EngineName = Literal["fused", "sparse"]
ENGINES: tuple[EngineName, ...] = get_args(EngineName)
DEFAULT_MAX_ITERATIONS = 2000


@dataclass(frozen=True, eq=False)
class Minimiser:
    """What a solve found: the iterate, and how good it is (see `tvdenoise.solver.descent.Solution`)."""

    x: NDArray[np.floating]
    objective: Objective
    status: Status
    iterations: int
    value: float
    tolerance: float
    distance_bound: float
    trace: tuple[TracePoint, ...] = ()


@dataclass(frozen=True)
class Method:
    """The form of the total variation, and the way down.

    channel_weights: a factor for each channel's image gradient; axis_weights: one for the differences along each
    axis, None for ones; threads: None for all processors.
    """

    channel_weights: tuple[float, ...] = (1.0,)
    tv: TotalVariation = "isotropic"
    penalty: PenaltyName = "hyperbolic"
    step: StepName = "bb"
    engine: EngineName = "fused"
    max_iterations: int = DEFAULT_MAX_ITERATIONS
    threads: int | None = None
    axis_weights: tuple[float, ...] | None = None

    @property
    def has_weighted_chroma(self) -> bool:
        """True where channels have different weights."""
        return len(set(self.channel_weights)) > 1

    def minimise(
        self,
        noisy: NDArray[np.floating],
        mu: float,
        epsilon: float,
        *,
        fidelity: Fidelity | None = None,
        tolerance: float | None = None,
        start: NDArray[np.floating] | None = None,
        stored: np.dtype[np.floating] | None = None,
        trace: bool = False,
        progress: Callable[[float], None] | None = None,
        floor_part: float = 1.0,
    ) -> Minimiser:
        """Solve for an image (channels, rows, columns) or a volume (channels, planes, rows, columns).

        start: by default the noisy image. fidelity: the weights of pixels, None for ones.
        stored: the precision of the result, where not that of the planes; trace: keep what each evaluation told.
        progress: called with the part that is done after each; see `Progress`.
        floor_part: the solve is given up as exhausted at this part of the least bound that the precision can certify.
        """
        penalty = PENALTIES[self.penalty](epsilon)
        objective = Objective(noisy, mu, penalty, self.tv, self.channel_weights, self.axis_weights, fidelity)
        with self._engine(objective, noisy if start is None else start) as engine:
            precision = engine.iterate.dtype
            rule = BarzilaiBorwein(objective, precision) if self.step == "bb" else FixedStep(objective)
            certificate = Certificate.of(objective, tolerance, precision, stored=stored or noisy.dtype)
            certificate = replace(certificate, floor=floor_part * certificate.floor)
            told: list[Evaluation] = []
            watchers = [told.append] if trace else []
            if progress is not None:
                watchers.append(Progress(certificate, progress).add)
            status, iterations, last = minimise(engine, rule, certificate, self.max_iterations, watchers)
            return Minimiser(
                x=engine.iterate,
                objective=objective,
                status=status,
                iterations=iterations,
                value=last.value,
                tolerance=certificate.tolerance,
                distance_bound=certificate.distance_bound(last),
                trace=tuple(TracePoint(each.value, certificate.distance_bound(each)) for each in told),
            )

    def _engine(self, objective: Objective, start: NDArray[np.floating]) -> BandedEngine | SparseEngine:
        if self.engine == "sparse":
            return SparseEngine(objective, start)
        return fused_engine(objective, start, self.threads)
