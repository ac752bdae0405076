"""Step rules: the step length from what the last steps showed.

A step x_new = x − τ g with gradients g and g_new has s = −τ g and y = g_new − g, so that the inner products
that a rule needs follow from ‖g‖², ‖g_new‖² and ⟨g_new, g⟩ alone.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from tvdenoise.model.engines import Evaluation
    from tvdenoise.model.objective import Objective


#: Take a short step where the short one is less than this part of the long one, the long one elsewhere.
_SWITCH = 0.6
#: The short step taken is the least of the last few.
_SHORT_STEPS = 6
#: The value may rise, but not above the highest of the last few accepted values ...
_ACCEPTED_VALUES = 8
#: ... give or take the rounding of their sums, in units of the precision ...
_VALUE_ROUNDING = 16
#: ... for more than so many steps.
_PATIENCE = 8


#: The longest step, times 1/μ, where pixels without fidelity leave directions of no known curvature.
_LONGEST_STEP = 10


class StepRule(Protocol):
    """Chooses step lengths."""

    def first(self, start: Evaluation) -> float:
        """The step from the start."""

    def next(self, step_length: float, before: Evaluation, after: Evaluation) -> float:
        """The step that follows one of ``step_length`` between two evaluations."""


class FixedStep:
    """τ = 1/L, the textbook method: J never rises."""

    def __init__(self, objective: Objective) -> None:
        self._step_length = 1 / objective.lipschitz

    def first(self, start: Evaluation) -> float:  # noqa: ARG002
        """1/L."""
        return self._step_length

    def next(self, step_length: float, before: Evaluation, after: Evaluation) -> float:  # noqa: ARG002
        """1/L."""
        return self._step_length


class BarzilaiBorwein:
    """Step lengths of Barzilai and Borwein, kept in [1/L, 1/μ] (1/(μ min w) with weights), under a watchdog.

    The long step ⟨s,s⟩/⟨s,y⟩ and the short one ⟨s,y⟩/⟨y,y⟩ (IMA J. Numer. Anal. 8, 1988) are inverse
    curvatures. Where they differ much, the least of the last short ones is taken (ABBmin1 of Frassoldati,
    Zanni and Zanghirati, J. Ind. Manag. Optim. 4(2), 2008).

    These steps do not descend at every iterate. A value above the last accepted ones is not undone, which
    would cost a copy of the iterate and its gradient; short steps follow, and where a few of them do not
    bring the value back below, steps of 1/L, which always descend (a watchdog; Grippo and Sciandrone,
    Comput. Optim. Appl. 23, 2002).
    """

    def __init__(self, objective: Objective, precision: np.dtype[np.floating]) -> None:
        self._least = 1 / objective.lipschitz
        convexity = objective.convexity
        self._most = 1 / convexity if convexity > 0 else _LONGEST_STEP / objective.typical_mu
        self._rounding = _VALUE_ROUNDING * float(np.finfo(precision).eps)
        self._short_steps: deque[float] = deque(maxlen=_SHORT_STEPS)
        self._accepted: deque[float] = deque(maxlen=_ACCEPTED_VALUES)
        self._refused = 0

    def first(self, start: Evaluation) -> float:
        """1/L, since nothing is known of the curvature yet."""
        self._accepted.append(start.value)
        return self._least

    def next(self, step_length: float, before: Evaluation, after: Evaluation) -> float:
        """The next step length."""
        long, short = _long_and_short(step_length, before, after)
        self._short_steps.append(short)
        if after.value > max(self._accepted) * (1 + self._rounding):
            self._refused += 1
            chosen = min(self._short_steps) if self._refused <= _PATIENCE else self._least
        else:
            self._refused = 0
            self._accepted.append(after.value)
            chosen = min(self._short_steps) if short < _SWITCH * long else long
        return min(max(chosen, self._least), self._most)


def _long_and_short(step_length: float, before: Evaluation, after: Evaluation) -> tuple[float, float]:
    """⟨s,s⟩/⟨s,y⟩ and ⟨s,y⟩/⟨y,y⟩; infinite and zero where rounding hides the curvature."""
    descent = before.squared_gradient_norm - after.gradient_product  # ⟨s,y⟩/τ
    change = after.squared_gradient_norm - 2 * after.gradient_product + before.squared_gradient_norm  # ⟨y,y⟩
    if descent <= 0 or change <= 0:
        return np.inf, 0.0
    return step_length * before.squared_gradient_norm / descent, step_length * descent / change
