"""Gradient descent: the iteration, its states, the solution, and the method that sets it up."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from tvdenoise.model.colour import RGB_CHANNELS, chroma_weights
from tvdenoise.model.engines import FusedEngine, SparseEngine
from tvdenoise.model.filters import FilterObjective, FilterPrior
from tvdenoise.model.objective import Objective
from tvdenoise.model.penalties import PENALTIES
from tvdenoise.options import Options, default_of
from tvdenoise.solver.compiled import evaluations, suits, threads_for
from tvdenoise.solver.step_rules import BarzilaiBorwein, FixedStep, QuasiNewton
from tvdenoise.solver.stopping import MOST_GAIN, Certificate

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from tvdenoise.model.engines import Engine, Evaluation
    from tvdenoise.model.fidelity import Fidelity
    from tvdenoise.model.filter_engine import FilterEngine
    from tvdenoise.model.filters import FilterBank
    from tvdenoise.model.objective import Minimisable
    from tvdenoise.noise.model import NoiseModel
    from tvdenoise.solver.step_rules import StepRule


#: μ and ε of the total variation from which learned filters start, over 1/s and s.
_START_MU, _START_EPSILON = 1.2, 0.1


class Progress:
    """Reports the completed part of a solve after each evaluation, from 0 to 1 and never falling.

    The logarithm of the distance bound falls roughly linearly, so the part is measured on that scale.
    """

    def __init__(self, certificate: Certificate, report: Callable[[float], None]) -> None:
        self._certificate = certificate
        self._report = report
        self._whole: float | None = None
        self._done = 0.0

    def add(self, evaluation: Evaluation) -> None:
        """Add the next evaluation, starting with that of the start."""
        left = math.log(self._certificate.excess(evaluation))
        if self._whole is None:
            self._whole = left
        part = 1 - left / self._whole if left > 0 else 1.0
        self._done = max(self._done, part)
        self._report(self._done)


class Status(Enum):
    """How a solve ended; the value is the sentence that a user reads."""

    CONVERGED = "converged to the tolerance"
    FILLED = (
        "converged as far as missing pixels allow: the objective gradient is small, no distance is bounded"
    )
    PRECISION = "stopped at the limit of the floating-point precision, short of the tolerance"
    ITERATION_LIMIT = "stopped at the iteration limit, short of the tolerance"


class TracePoint(NamedTuple):
    """J at an iterate, and a bound of its rms distance to the exact minimiser (units of the data range)."""

    value: float
    distance_bound: float


@dataclass(frozen=True, eq=False)
class Solution:
    """A denoised image with its parameters and certificate.

    image: the denoised image, with the shape of the input.
    mu, epsilon: the parameters of J, in units of the data range (1/range and range). With learned filters mu is
        1/level, and epsilon is 0.
    level: of learned filters, in units of the data range; None with total variation.
    noise: the noise that mu was chosen for; None if mu was given.
    tolerance: the requested distance bound.
    status: how the solve ended.
    iterations: evaluations of the objective gradient, including the one at the start.
    value: J at the result.
    distance_bound: an upper bound of the rms distance to the exact minimiser x* of J (units of the data range). The
        rms is over the unknowns: all channels of all pixels that the mask does not hold; with fidelity weights it
        is √(Σ w (x − x*)² / Σ w). Infinite if pixels are missing, since J is then not strongly convex.
    trace: value and distance bound at each evaluation, from the start to the result; empty unless requested.
    absent: the number of pixels without data, which are returned unchanged.
    impulses: the number of removed impulses, which are filled once the rest is solved; the bound is that of the rest.
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
    absent: int = 0
    impulses: int = 0
    level: float | None = None

    @property
    def sigma(self) -> float | None:
        """The noise level that mu was chosen for, in units of the data range; None if mu was given."""
        return None if self.noise is None else self.noise.sigma

    @property
    def converged(self) -> bool:
        """True if the distance bound is at most the tolerance, or the status is `Status.FILLED`."""
        return self.status in (Status.CONVERGED, Status.FILLED)


def descend(engine: Engine, step_rule: StepRule) -> Iterator[Evaluation]:
    """Step down the objective forever, yielding the evaluation at each iterate, beginning with the start."""
    evaluation = engine.advance(step_rule.start)
    yield evaluation
    step = step_rule.first(evaluation)
    while True:
        evaluation = engine.advance(step)
        yield evaluation
        step = step_rule.next(step, evaluation)


@dataclass(frozen=True)
class State:
    """The latest evaluation and the number of evaluations; status: how the descent ended, None while it continues."""

    iterations: int
    evaluation: Evaluation
    status: Status | None


def states(
    engine: Engine, step_rule: StepRule, certificate: Certificate, max_iterations: int
) -> Iterator[State]:
    """Descend until the certificate is met or exhausted, or after ``max_iterations`` evaluations.

    Yields the state at each iterate of the engine; the last state has a status.
    """
    most_gain = MOST_GAIN
    for iterations, found in enumerate(descend(engine, step_rule), start=1):
        evaluation = found
        if certificate.may_end(found, most_gain):
            evaluation = engine.sharpened(found)
            most_gain = certificate.most_gain_after(found, evaluation)
        status = ended(certificate, evaluation, is_last=iterations >= max_iterations)
        yield State(iterations, evaluation, status)
        if status is not None:
            return


def ended(certificate: Certificate, evaluation: Evaluation, *, is_last: bool) -> Status | None:
    """Return how a descent ends at an evaluation; None if it goes on. is_last: it is the last that is allowed."""
    if certificate.is_met(evaluation):
        return Status.CONVERGED if certificate.objective.is_strongly_convex else Status.FILLED
    if certificate.is_exhausted(evaluation):
        return Status.PRECISION
    return Status.ITERATION_LIMIT if is_last else None


@dataclass(frozen=True, eq=False)
class Minimiser:
    """The result of a solve: the iterate and its certificate; the fields are those of `Solution`."""

    x: NDArray[np.floating]
    objective: Minimisable
    status: Status
    iterations: int
    value: float
    tolerance: float
    distance_bound: float
    trace: tuple[TracePoint, ...] = ()


@dataclass(eq=False)
class Descent:
    """A solve ready to run: the objective, the engine with the iterate, the step rule and the certificate."""

    objective: Minimisable
    engine: FusedEngine | SparseEngine | FilterEngine
    step_rule: StepRule
    certificate: Certificate
    max_iterations: int

    @property
    def iterate(self) -> NDArray[np.floating]:
        """x; the next evaluation overwrites it."""
        return self.engine.iterate

    def states(self) -> Iterator[State]:
        """Run the solve; see the function `states`."""
        return states(self.engine, self.step_rule, self.certificate, self.max_iterations)

    def run(self, listener: Callable[[Evaluation], None] | None = None) -> State:
        """Run the solve as fast as possible; return its last state. listener: called with each evaluation."""
        if not (
            isinstance(self.engine, FusedEngine) and suits(self.engine, self.step_rule, self.certificate)
        ):
            for state in self.states():
                if listener is not None:
                    listener(state.evaluation)
            return state
        assert isinstance(self.step_rule, BarzilaiBorwein)
        count = 0
        for batch in evaluations(self.engine, self.step_rule, self.certificate, self.max_iterations):
            count += len(batch)
            if listener is not None:
                for evaluation in batch:
                    listener(evaluation)
        status = ended(self.certificate, batch[-1], is_last=count >= self.max_iterations)
        return State(count, batch[-1], status)


@dataclass(frozen=True)
class Method:
    """The form of the objective and how to minimise it.

    channel_weights: a factor for each channel's image gradient; axis_weights: a factor for the differences along
    each axis, None for ones.
    bank: learned filters in the place of the image gradient; None for total variation. In the place of μ stands the
    reciprocal 1/s of their level, which has the same unit and the same effect; there is no ε.
    """

    options: Options = field(default_factory=Options)
    channel_weights: tuple[float, ...] = (1.0,)
    axis_weights: tuple[float, ...] | None = None
    bank: FilterBank | None = None

    @property
    def has_weighted_chroma(self) -> bool:
        """True if the channel weights differ."""
        return len(set(self.channel_weights)) > 1

    @property
    def chroma_only(self) -> float | None:
        """The weight of the opponents if only these are solved; None otherwise."""
        return self.options.chroma if self.options.chroma_only else None

    @property
    def gain(self) -> float:
        """The factor by which the weight of the opponents, if only these are solved, raises the μ that suits them."""
        return self.options.chroma if self.options.chroma_only else 1.0

    def solved(self, planes: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return the planes (channels, ...) to solve, without the luminance before them if it is kept."""
        return planes[-len(self.channel_weights) :]

    @property
    def is_sparse(self) -> bool:
        """True if scipy's sparse operators evaluate the objective."""
        return self.options.engine == "sparse"

    @property
    def reach(self) -> int:
        """How far away pixels are, at most, on which the objective gradient of a pixel depends."""
        return 1 if self.bank is None else 2 * self.bank.reach

    @property
    def quick(self) -> Method:
        """The same form with the default (fastest) engine and steps."""
        fast = {name: default_of(name) for name in ("engine", "step", "max_iterations")}
        return replace(self, options=replace(self.options, **fast))

    def objective(
        self, noisy: NDArray[np.floating], mu: float, epsilon: float, fidelity: Fidelity | None = None
    ) -> Objective:
        """Return J with total variation, for an image (channels, rows, columns) or a volume (channels, planes, ...)."""
        penalty = PENALTIES[self.options.penalty](epsilon)
        return Objective(
            noisy, mu, penalty, self.options.tv, self.channel_weights, self.axis_weights, fidelity
        )

    def posed(
        self,
        noisy: NDArray[np.floating],
        mu: float,
        epsilon: float,
        fidelity: Fidelity | None = None,
        gates: NDArray[np.floating] | None = None,
    ) -> Minimisable:
        """Return J with total variation, or with learned filters of level 1/μ.

        gates: of a window of a larger image, which depend on pixels outside; by default those of the noisy image.
        Raises ValueError for weights of pixels, with learned filters: they can only hold pixels.
        """
        if self.bank is None:
            return self.objective(noisy, mu, epsilon, fidelity)
        return FilterObjective(noisy, FilterPrior(self.bank, 1 / mu, gates), fidelity)

    @contextmanager
    def descent(
        self,
        objective: Minimisable,
        start: NDArray[np.floating],
        *,
        tolerance: float | None = None,
        stored: np.dtype[np.floating] | None = None,
        returned: float = 0.0,
        floor_part: float = 1.0,
        is_sharp: bool = True,
    ) -> Iterator[Descent]:
        """Set up a descent from a start; its engine is closed on exit.

        stored: the precision of the result, by default that of the planes. returned: the error of its conversion (see
        `Certificate.of`). floor_part: the part of the least bound
        that the precision can certify at which the descent gives up. is_sharp: as in `Certificate`.
        """
        with self._engine(objective, start) as engine:
            del start  # the engine has a copy
            precision = engine.iterate.dtype
            rule: StepRule = BarzilaiBorwein(objective, precision)
            if self.options.step == "fixed":
                rule = FixedStep(objective)
            elif self.bank is not None:
                rule = QuasiNewton(objective, precision)
            certificate = Certificate.of(
                objective, tolerance, precision, stored=stored or objective.noisy.dtype, returned=returned
            )
            certificate = replace(certificate, floor=floor_part * certificate.floor, is_sharp=is_sharp)
            yield Descent(objective, engine, rule, certificate, self.options.max_iterations)

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
        returned: float = 0.0,
        trace: bool = False,
        progress: Callable[[float], None] | None = None,
        floor_part: float = 1.0,
        is_sharp: bool = True,
        gates: NDArray[np.floating] | None = None,
    ) -> Minimiser:
        """Solve for an image (channels, rows, columns) or a volume (channels, planes, rows, columns).

        start: by default the noisy image, or with learned filters its minimiser of J with total variation, from which
        they need fewer evaluations. fidelity: the weights of pixels, None for ones. stored, returned,
        floor_part, is_sharp: as in `descent`. gates: as in `posed`. trace: record the value and the bound at each
        evaluation. progress: called with the completed part after each evaluation; see `Progress`.
        """
        objective = self.posed(noisy, mu, epsilon, fidelity, gates)
        with self.descent(
            objective,
            self.start(noisy, mu) if start is None else start,
            tolerance=tolerance,
            stored=stored,
            returned=returned,
            floor_part=floor_part,
            is_sharp=is_sharp,
        ) as descent:
            certificate = descent.certificate
            followed = None if progress is None else Progress(certificate, progress)
            points = []

            def record(evaluation: Evaluation) -> None:
                if trace:
                    points.append(TracePoint(evaluation.value, certificate.distance_bound(evaluation)))
                if followed is not None:
                    followed.add(evaluation)

            state = descent.run(record if trace or progress is not None else None)
            assert state.status is not None
            return Minimiser(
                x=descent.iterate,
                objective=objective,
                status=state.status,
                iterations=state.iterations,
                value=state.evaluation.value,
                tolerance=certificate.tolerance,
                distance_bound=certificate.distance_bound(state.evaluation),
                trace=tuple(points),
            )

    def start(self, noisy: NDArray[np.floating], mu: float) -> NDArray[np.floating]:
        """Return the iterate to start from unless a better one is known; see ``start`` of `minimise`."""
        if self.bank is None:
            return noisy
        weights = chroma_weights(self.options.chroma) if len(noisy) == RGB_CHANNELS else self.channel_weights
        quick = replace(self.quick, bank=None, channel_weights=weights)
        return quick.minimise(noisy, _START_MU * mu, _START_EPSILON / mu).x

    def _engine(
        self, objective: Minimisable, start: NDArray[np.floating]
    ) -> FusedEngine | SparseEngine | FilterEngine:
        has_metric = self.options.step != "fixed"
        if self.is_sparse:
            return SparseEngine(objective, start, preconditioned=has_metric)
        if isinstance(objective, FilterObjective):
            from tvdenoise.model.filter_engine import FilterEngine  # its kernels take time to import

            return FilterEngine(objective, start, self.options.threads, preconditioned=has_metric)
        assert isinstance(objective, Objective)
        threads = threads_for(objective, self.options.threads) if has_metric else self.options.threads
        return FusedEngine(objective, start, threads, preconditioned=has_metric)
