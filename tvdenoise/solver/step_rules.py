"""Step rules: choose the step length from the last evaluations.

A step x_new = x − τ d along the direction d = g/m, the objective gradient over a metric, has s = −τ d. With the metric
at x_new, y = g_new − m d stands for the change of the gradient. So the inner products that a rule needs, in that
metric, follow from ‖d‖², ‖d_new‖² and ⟨d_new, d⟩ = ⟨g_new, d⟩ alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tvdenoise.model.engines import Evaluation
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
#: The longest step, times L/μ, if missing pixels leave directions without a lower bound of the curvature.
_LONGEST_STEP = 10


class StepRule(Protocol):
    """Chooses step lengths."""

    def first(self, start: Evaluation) -> float:
        """Return the length of the first step."""

    def next(self, step_length: float, after: Evaluation) -> float:
        """Return the length of the step after one of ``step_length`` that led to an evaluation."""


class FixedStep:
    """The textbook step τ = 1/L along the objective gradient: J never rises."""

    def __init__(self, objective: Minimisable) -> None:
        self._step_length = 1 / objective.lipschitz

    def first(self, start: Evaluation) -> float:  # noqa: ARG002
        """Return 1/L."""
        return self._step_length

    def next(self, step_length: float, after: Evaluation) -> float:  # noqa: ARG002
        """Return 1/L."""
        return self._step_length


class BarzilaiBorwein:
    """Step lengths of Barzilai and Borwein along the preconditioned gradient, under a watchdog.

    The long step ⟨s,s⟩/⟨s,y⟩ and the short step ⟨s,y⟩/⟨y,y⟩ (IMA J. Numer. Anal. 8, 1988), with inner products in the
    metric of the engine, are inverse curvatures in units of that metric. They are kept between 1/2, which is safe, and
    L/(μ min w), since the metric is at most L and the curvature at least μ min w. If they differ much, the rule takes
    the least of the last short steps (ABBmin1 of Frassoldati, Zanni and Zanghirati, J. Ind. Manag. Optim. 4(2), 2008).

    These steps may raise the value. Undoing a step would cost a copy of the iterate and its gradient; instead, a
    value above the last accepted ones is followed by short steps, and if a few of them do not bring it back down,
    by safe steps, which always descend (a watchdog; Grippo and Sciandrone, Comput. Optim. Appl. 23, 2002), and which
    grow as long as the value falls.
    """

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

    def next(self, step_length: float, after: Evaluation) -> float:
        """Return the next step length."""
        return next_step(
            step_length,
            after.value,
            after.squared_length_before,
            after.gradient_product,
            after.squared_length,
            *self.memory,
        )


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
