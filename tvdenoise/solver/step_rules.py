"""Step rules: choose the step length from the last evaluations.

A step x_new = x − τ g with gradients g and g_new has s = −τ g and y = g_new − g, so the inner products that a rule
needs follow from ‖g‖², ‖g_new‖² and ⟨g_new, g⟩ alone.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from tvdenoise.model.engines import Evaluation
    from tvdenoise.model.objective import Objective


#: Take a short step if the short one is less than this part of the long one.
_SWITCH = 0.6
#: A short step is the least of so many last ones.
_SHORT_STEPS = 6
#: A value is accepted up to the highest of so many last accepted values ...
_ACCEPTED_VALUES = 8
#: ... plus the rounding of their sums, in units of the precision.
_VALUE_ROUNDING = 16
#: After so many rejected values in a row, steps of 1/L follow.
_PATIENCE = 8
#: The longest step, times 1/μ, if missing pixels leave directions without a lower bound of the curvature.
_LONGEST_STEP = 10


class StepRule(Protocol):
    """Chooses step lengths."""

    def first(self, start: Evaluation) -> float:
        """Return the length of the first step."""

    def next(self, step_length: float, before: Evaluation, after: Evaluation) -> float:
        """Return the length of the step after one of ``step_length`` between two evaluations."""


class FixedStep:
    """The textbook step τ = 1/L: J never rises."""

    def __init__(self, objective: Objective) -> None:
        self._step_length = 1 / objective.lipschitz

    def first(self, start: Evaluation) -> float:  # noqa: ARG002
        """Return 1/L."""
        return self._step_length

    def next(self, step_length: float, before: Evaluation, after: Evaluation) -> float:  # noqa: ARG002
        """Return 1/L."""
        return self._step_length


class BarzilaiBorwein:
    """Step lengths of Barzilai and Borwein, kept in [1/L, 1/μ] (1/(μ min w) with weights), under a watchdog.

    The long step ⟨s,s⟩/⟨s,y⟩ and the short step ⟨s,y⟩/⟨y,y⟩ (IMA J. Numer. Anal. 8, 1988) are inverse curvatures.
    If they differ much, the rule takes the least of the last short steps (ABBmin1 of Frassoldati, Zanni and
    Zanghirati, J. Ind. Manag. Optim. 4(2), 2008).

    These steps may raise the value. Undoing a step would cost a copy of the iterate and its gradient; instead, a
    value above the last accepted ones is followed by short steps, and if a few of them do not bring it back down,
    by steps of 1/L, which always descend (a watchdog; Grippo and Sciandrone, Comput. Optim. Appl. 23, 2002).
    """

    def __init__(self, objective: Objective, precision: np.dtype[np.floating]) -> None:
        self._least = 1 / objective.lipschitz
        convexity = objective.convexity
        self._most = 1 / convexity if convexity > 0 else _LONGEST_STEP / objective.typical_mu
        self._rounding = _VALUE_ROUNDING * float(np.finfo(precision).eps)
        self._short_steps: deque[float] = deque(maxlen=_SHORT_STEPS)
        self._accepted: deque[float] = deque(maxlen=_ACCEPTED_VALUES)
        self._rejected = 0

    def first(self, start: Evaluation) -> float:
        """Return 1/L, since the curvature is not known yet."""
        self._accepted.append(start.value)
        return self._least

    def next(self, step_length: float, before: Evaluation, after: Evaluation) -> float:
        """Return the next step length."""
        long, short = _long_and_short(step_length, before, after)
        self._short_steps.append(short)
        if after.value > max(self._accepted) * (1 + self._rounding):
            self._rejected += 1
            chosen = min(self._short_steps) if self._rejected <= _PATIENCE else self._least
        else:
            self._rejected = 0
            self._accepted.append(after.value)
            chosen = min(self._short_steps) if short < _SWITCH * long else long
        return min(max(chosen, self._least), self._most)


def _long_and_short(step_length: float, before: Evaluation, after: Evaluation) -> tuple[float, float]:
    """Return ⟨s,s⟩/⟨s,y⟩ and ⟨s,y⟩/⟨y,y⟩; infinity and zero if rounding hides the curvature."""
    descent = before.squared_gradient_norm - after.gradient_product  # ⟨s,y⟩/τ
    change = after.squared_gradient_norm - 2 * after.gradient_product + before.squared_gradient_norm  # ⟨y,y⟩
    if descent <= 0 or change <= 0:
        return np.inf, 0.0
    return step_length * before.squared_gradient_norm / descent, step_length * descent / change
