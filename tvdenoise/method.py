"""How a problem is posed and solved, once μ and ε are known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

from tvdenoise.approach import Approach
from tvdenoise.model.engines import SparseEngine
from tvdenoise.model.fused import BandedEngine, fused_engine
from tvdenoise.model.objective import Objective, TotalVariation
from tvdenoise.model.penalties import PENALTIES
from tvdenoise.solver import Status, TracePoint, minimise
from tvdenoise.steps import BarzilaiBorwein, FixedStep, StepName
from tvdenoise.stopping import Certificate

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from tvdenoise.model.engines import Evaluation
    from tvdenoise.model.fidelity import Fidelity

PenaltyName = Literal["hyperbolic", "huber"]
EngineName = Literal["fused", "sparse"]
ENGINES: tuple[EngineName, ...] = get_args(EngineName)
DEFAULT_MAX_ITERATIONS = 2000


@dataclass(frozen=True, eq=False)
class Minimiser:
    """What a solve found: the iterate, and how good it is (see `tvdenoise.solver.Solution`)."""

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
        progress: called with the part that is done after each; see `Approach`.
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
                watchers.append(Approach(certificate, progress).add)
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
