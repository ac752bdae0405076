"""The stopping rule: the certificate, and the precision below which it cannot fall."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tvdenoise.model.engines import Evaluation
    from tvdenoise.model.objective import Objective


#: Unit roundoffs of the largest intensity that the stored result may be off: the colour rotation there and
#: back and the conversion to the units of the input.
_RESULT_ROUNDINGS = 8
#: Unit roundoffs that the two weighted differences of one pixel's gradient along one axis may be off together.
_GRADIENT_ROUNDINGS = 8
#: A row is summed in so many parts side by side, at least.
_LANES = 16
#: The default tolerance is at most this part of the span of the intensities.
_LARGEST_TOLERANCE = 0.03


@dataclass(frozen=True)
class Certificate:
    """Bounds the rms distance to the exact minimiser, rounding included, and says when it is small enough.

    Where pixels have weights it is the weighted rms (see `Objective.distance_bound`). Where pixels have no
    fidelity at all there is no bound; then rms(∇J)/μ, of which the bound consists elsewhere, decides when to stop:
    over all unknowns, and over the missing pixels by themselves.

    tolerance: the largest bound, in intensity units, at which the iteration may stop.
    rounding: what rounding alone can add to the distance.
    sums: the part by which rounding can falsify the norm of the gradient, whose rows are summed in its precision.
    floor: the least bound that the precision can certify.
    """

    objective: Objective
    tolerance: float
    rounding: float
    sums: float
    floor: float

    @classmethod
    def of(
        cls,
        objective: Objective,
        tolerance: float | None,
        precision: np.dtype[np.floating],
        stored: np.dtype[np.floating] | None = None,
        extremes: tuple[np.floating, np.floating] | None = None,
    ) -> Certificate:
        """The certificate for iterates of one precision and results stored in another (by default the same).

        extremes: the least and the largest value of the noisy image, where the objective's own does not hold them.

        The tolerance is by default 0.03/μ (μ times the mean weight), at most 3 % of the span of the
        intensities, and never less than the floor.

        An iterate rounded to multiples of u·max|f| has a gradient that is off by up to L times as much, and
        so a bound of about L/μ · u · max|f|; weights that differ turn that into more.
        """
        unit = float(np.finfo(precision).eps) / 2
        low, high = extremes or (objective.noisy.min(), objective.noisy.max())
        largest = float(max(high, -low))
        widest = max(objective.channel_weights)
        stored_unit = float(np.finfo(stored or precision).eps) / 2
        roundings = _GRADIENT_ROUNDINGS * (objective.noisy.ndim - 1)
        gain = 1.0 if objective.fidelity is None else objective.fidelity.gain
        rounding = _RESULT_ROUNDINGS * stored_unit * largest + roundings * unit * widest / objective.mu * gain
        floor = max(8 * unit * largest * objective.lipschitz / objective.mu * gain, 2 * rounding)
        if tolerance is None:
            span = float(high - low)
            tolerance = max(min(0.03 / objective.typical_mu, _LARGEST_TOLERANCE * span), floor)
        sums = unit * objective.noisy.shape[-1] / _LANES
        return cls(objective, tolerance, rounding, sums, floor)

    def distance_bound(self, evaluation: Evaluation) -> float:
        """‖∇J(x)‖/(μ√N) and the rounding: rms(x − x*) is never larger. Infinite where none is known."""
        bound = self._measure(evaluation)
        return bound if self.objective.is_strongly_convex or np.isnan(bound) else np.inf

    def is_met(self, evaluation: Evaluation) -> bool:
        """True where the distance bound, or what takes its place, is at most the tolerance."""
        return self._measure(evaluation) <= self.tolerance

    def is_exhausted(self, evaluation: Evaluation) -> bool:
        """True where the same has reached the floor: going on would only shuffle roundings."""
        return self._measure(evaluation) <= self.floor

    def excess(self, evaluation: Evaluation) -> float:
        """How many times that with which a solve ends the distance bound is, or what takes its place; 1 for none."""
        measure, end = self._measure(evaluation), max(self.tolerance, self.floor)
        return measure / end if measure > end else 1.0

    def _measure(self, evaluation: Evaluation) -> float:
        """The distance bound; rms(∇J)/μ where there is none."""
        objective, squared_norm = self.objective, evaluation.squared_gradient_norm
        if not objective.is_strongly_convex:
            rms = objective.gradient_rms(squared_norm, evaluation.squared_missing_norm)
            small = rms / objective.typical_mu
        elif evaluation.squared_dual_norm is not None:
            small = objective.distance_bound(evaluation.squared_dual_norm)
        else:
            small = objective.distance_bound(squared_norm)
        return small * (1 + self.sums) + self.rounding
