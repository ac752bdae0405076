"""Step rules: choose the next step from the last evaluations.

A step x_new = x − τ d along the direction d = g/m, the objective gradient over a metric, has s = −τ d. With the metric
at x_new, y = g_new − m d stands for the change of the gradient. So the inner products that a rule needs, in that
metric, follow from ‖d‖², ‖d_new‖² and ⟨d_new, d⟩ = ⟨g_new, d⟩ alone. Steps with memory need the product of the change
of the iterate with g_new as well.
"""

from __future__ import annotations

from collections import deque
from statistics import geometric_mean
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from tvdenoise.model.engines import Move

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tvdenoise.model.engines import Evaluation, Step
    from tvdenoise.model.objective import Minimisable


#: Take a short step if the short one is less than this part of the long one.
_SWITCH = 0.6
#: A short step is the least of so many last ones.
_SHORT_STEPS = 6
#: A value is accepted up to the highest of so many last accepted values ...
_ACCEPTED_VALUES = 8
#: ... plus the rounding of their sums, in units of the precision.
_VALUE_ROUNDING = 16
#: After so many rejected values in a row, safe steps follow, each longer than the last one by a factor as long as the
#: value falls; after many more, safe steps alone.
_PATIENCE, _LAST_PATIENCE, _GROWTH = 8, 500, 2
#: The step that always descends: the curvature is at most twice the metric (see `Objective.metric`).
SAFE_STEP = 0.5
#: So many values in a row may be above the accepted ones: the next step mostly brings them down.
_MOST_PASSED = 1
#: The scale of the metric is at most the mean of so many last ones.
_AVERAGED_SCALES = 8
#: The part of a rejected change that a move back leaves, at least and at most, and the most rejected values.
_LEAST_PART, _LARGEST_PART, _MOST_REJECTED = 0.05, 0.5, 2
#: The longest step, times L/μ, if missing pixels leave directions without a lower bound of the curvature.
_LONGEST_STEP = 10


class StepRule(Protocol):
    """Chooses steps.

    start: the step of no length with which to evaluate the start.
    """

    start: Step

    def first(self, start: Evaluation) -> Step:
        """Return the first step."""

    def next(self, step: Step, after: Evaluation) -> Step:
        """Return the step after one that led to an evaluation."""


class FixedStep:
    """The textbook step τ = 1/L along the objective gradient: J never rises."""

    start: Step = 0.0

    def __init__(self, objective: Minimisable) -> None:
        self._step_length = 1 / objective.lipschitz

    def first(self, start: Evaluation) -> float:  # noqa: ARG002
        """Return 1/L."""
        return self._step_length

    def next(self, step: Step, after: Evaluation) -> float:  # noqa: ARG002
        """Return 1/L."""
        return self._step_length


class BarzilaiBorwein:
    """Step lengths of Barzilai and Borwein along the preconditioned gradient, under a watchdog.

    The long step ⟨s,s⟩/⟨s,y⟩ and the short step ⟨s,y⟩/⟨y,y⟩ (IMA J. Numer. Anal. 8, 1988), with inner products in the
    metric of the engine, are inverse curvatures in units of that metric. They are kept between a safe step, 1/2, and
    L/(μ min w), since the metric is at most L and the curvature at least μ min w. If they differ much, the rule takes
    the least of the last short steps (ABBmin1 of Frassoldati, Zanni and Zanghirati, J. Ind. Manag. Optim. 4(2), 2008).

    These steps may raise the value. Undoing a step would cost a copy of the iterate and its gradient; instead, a
    value above the last accepted ones is followed by short steps, and if a few of them do not bring it back down,
    by safe steps, which always descend (a watchdog; Grippo and Sciandrone, Comput. Optim. Appl. 23, 2002), and which
    grow as long as the value falls.
    """

    start: Step = 0.0

    def __init__(self, objective: Minimisable, precision: np.dtype[np.floating]) -> None:
        convexity = objective.convexity
        least = convexity if convexity > 0 else objective.typical_mu / _LONGEST_STEP
        rounding = _VALUE_ROUNDING * float(np.finfo(precision).eps)
        self.memory = Memory(
            np.array([objective.lipschitz / least, 1 + rounding, np.inf]),
            np.full(_SHORT_STEPS, np.inf),
            np.full(_ACCEPTED_VALUES, -np.inf),
            np.zeros(3, np.int64),
        )

    def first(self, start: Evaluation) -> float:
        """Return the safe step, since the curvature is not known yet."""
        return first_step(start.value, self.memory.accepted, self.memory.counts)

    def next(self, step: Step, after: Evaluation) -> float:
        """Return the next step length."""
        assert not isinstance(step, Move)
        return next_step(
            step,
            after.value,
            after.squared_length_before,
            after.gradient_product,
            after.squared_length,
            *self.memory,
        )


class QuasiNewton:
    """Steps of the memoryless BFGS method (Shanno, Math. Oper. Res. 3(3), 1978), under a watchdog.

    H is the BFGS matrix of the last change s = Δ of the iterate and y of the gradient, made from γ M⁻¹ with the metric
    M of the engine. γ is ⟨s,y⟩/⟨y, M⁻¹y⟩ of the last step, or the geometric mean of the last ones if that is less:
    otherwise a step that follows a long one would overshoot. With a γ above that of the last step, values may alternate
    without end. With d = M⁻¹g, q = d_new − d_old and α = ⟨s,g⟩/⟨s,y⟩,

        −Δ_new = H g = z + (α − ⟨y,z⟩/⟨s,y⟩) s,    z = γ (d_new − α q),

    which is a `Move`; its products follow from those of an evaluation. H is positive definite, so the value falls along
    Δ_new at first. If it ends above the last accepted values twice in a row, the next move goes back to where the slope
    along Δ is zero if it is linear in between; so it does at once if the value is above them by more than they differ.
    After a few such moves the steps are those of `BarzilaiBorwein`, in the metric that bounds the curvature: one
    curvature along the last step does not describe J there.
    """

    start: Step = Move(0.0)

    def __init__(self, objective: Minimisable, precision: np.dtype[np.floating]) -> None:
        self._gradient_steps = BarzilaiBorwein(objective, precision)
        self._rounding = _VALUE_ROUNDING * float(np.finfo(precision).eps)
        self._accepted: deque[float] = deque(maxlen=_ACCEPTED_VALUES)
        self._high = 0  # values that were let pass since the last accepted one
        self._rejected = 0
        self._slope = 0.0  # ⟨g, Δ⟩ at the start of the last step
        self._scales: deque[float] = deque(maxlen=_AVERAGED_SCALES)

    def first(self, start: Evaluation) -> Move:
        """Return the safe step, since the curvature is not known yet."""
        self._accepted.append(start.value)
        return self._safe(start)

    def next(self, step: Step, after: Evaluation) -> Step:
        """Return the next move, or the length of a gradient step."""
        if not isinstance(step, Move):
            return self._gradient_steps.next(step, after) if step else self._gradient_steps.first(after)
        excess = self._excess(after)
        if excess <= 0:
            self._high = 0
            self._accepted.append(after.value)
        elif self._high < _MOST_PASSED and excess <= max(self._accepted) - min(self._accepted):
            self._high += 1
        else:
            self._rejected += 1
            if self._rejected > _MOST_REJECTED:
                return 0.0  # evaluates again, for a direction in the other metric
            return self._back(after)
        bent = after.change_product - self._slope  # ⟨s,y⟩
        change = after.squared_length - 2 * after.gradient_product + after.squared_length_before  # ⟨y,M⁻¹y⟩
        if bent <= 0 or change <= 0:  # rounding hides the curvature
            return self._safe(after)
        self._scales.append(bent / change)
        scale = min(bent / change, geometric_mean(self._scales))
        along = after.change_product / bent
        of_sum = scale * (after.squared_length - after.gradient_product - along * change)  # ⟨y,z⟩
        return self._taken(Move(scale * (1 - along), scale * along, of_sum / bent - along), after)

    def _excess(self, after: Evaluation) -> float:
        """Return how far the value is above the last accepted ones, less rounding."""
        highest = max(self._accepted)
        return after.value - (highest + self._rounding * abs(highest))

    def _back(self, at: Evaluation) -> Move:
        """Return the move back on the rejected change, to where its slope should be zero."""
        part = _LARGEST_PART
        if self._slope < 0 < at.change_product:
            part = min(max(self._slope / (self._slope - at.change_product), _LEAST_PART), _LARGEST_PART)
        return self._taken(Move(0.0, change=part - 1), at)

    def _safe(self, at: Evaluation) -> Move:
        return self._taken(Move(SAFE_STEP), at)

    def _taken(self, move: Move, at: Evaluation) -> Move:
        """Note ⟨g, Δ⟩ for the change of the iterate that a move will make."""
        by_gradient = move.gradient * at.squared_length + move.before * at.gradient_product
        self._slope = move.change * at.change_product - by_gradient
        return move


class Memory(NamedTuple):
    """What the rule of Barzilai and Borwein remembers, in arrays that it changes.

    limits: the longest step, the factor of the accepted values up to which a value is accepted, and the last value.
    short_steps, accepted: the last ones, in no order. counts: of short steps, of accepted values, and of values
    rejected since the last accepted one.
    """

    limits: NDArray[np.float64]
    short_steps: NDArray[np.float64]
    accepted: NDArray[np.float64]
    counts: NDArray[np.int64]


# These two functions are also compiled, for `tvdenoise.solver.compiled`, so they use numbers and arrays only.


def first_step(value: float, accepted: NDArray[np.float64], counts: NDArray[np.int64]) -> float:
    """Return the first step length after a start with this value."""
    accepted[0] = value
    counts[1] = 1
    return SAFE_STEP


def next_step(
    step_length: float,
    value: float,
    length_before: float,
    product: float,
    length: float,
    limits: NDArray[np.float64],
    short_steps: NDArray[np.float64],
    accepted: NDArray[np.float64],
    counts: NDArray[np.int64],
) -> float:
    """Return the step length after one that led to this value, and to these products of the directions d_old and d.

    length_before, product, length: ‖d_old‖², ⟨d, d_old⟩ and ‖d‖² in the metric.
    """
    descent = length_before - product  # ⟨s,y⟩/τ
    change = descent - product + length  # ⟨y,y⟩
    long, short = np.inf, 0.0  # if rounding hides the curvature
    if descent > 0 and change > 0:
        long = step_length * length_before / descent
        short = step_length * descent / change
    short_steps[counts[0] % short_steps.shape[0]] = short
    counts[0] += 1
    has_risen, limits[2] = value > limits[2], value
    if value > accepted.max() * limits[1]:
        counts[2] += 1
        if counts[2] <= _PATIENCE:
            chosen = short_steps.min()
        else:
            chosen = SAFE_STEP if has_risen or counts[2] > _LAST_PATIENCE else _GROWTH * step_length
    else:
        counts[2] = 0
        accepted[counts[1] % accepted.shape[0]] = value
        counts[1] += 1
        chosen = short_steps.min() if short < _SWITCH * long else long
    return float(min(max(chosen, SAFE_STEP), limits[0]))
