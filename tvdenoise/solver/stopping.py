"""The stopping rule: the certificate, and the least bound that the precision can certify."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tvdenoise.model.engines import Evaluation
    from tvdenoise.model.objective import Minimisable


#: The error of the stored result, in unit roundoffs of the largest intensity: the colour rotation and its inverse,
#: and the conversion to the units of the input.
_RESULT_ROUNDINGS = 8
#: A row is summed in at least this many parallel parts: the lanes of the shortest vectors that the compiler uses.
_LANES = 4
#: How many times smaller a sharper norm of the gradient may make the bound, at most (1.5 to 3 on photographs).
MOST_GAIN = 4.0
#: How many times larger the next gain may be than the last one: it changes slowly.
_MORE_GAIN = 1.1
#: The default tolerance is at most this part of the span of the intensities.
_LARGEST_TOLERANCE = 0.03


def bound_of(squared_norm: float, weight: float, modulus: float, sums: float, rounding: float) -> float:
    """Return ‖∇J(x)‖/(μ√N) plus rounding, an upper bound of rms(x − x*); see `Objective.distance_bound`.

    squared_norm: ‖∇J‖²_{W⁻¹}. weight: N, or the sum of the weights. modulus: μ, or another modulus of strong
    convexity. sums, rounding: as in `Certificate`.
    It is also compiled, for `tvdenoise.solver.compiled`.
    """
    return math.sqrt(squared_norm / weight) / modulus * (1 + sums) + rounding


@dataclass(frozen=True)
class Certificate:
    """Bounds the rms distance to the exact minimiser, rounding included, and decides when it is small enough.

    If pixels have weights, the rms is weighted (see `Objective.distance_bound`). If pixels are missing there is no
    bound, and rms(∇J)/μ decides instead: over all unknowns, and over the missing pixels alone.

    tolerance: the largest bound, in intensity units, at which the iteration may stop.
    rounding: the distance that rounding alone can add.
    sums: the relative error of the gradient's norm from summing rows in the image's precision.
    floor: the least bound that the precision can certify.
    is_sharp: False for the plain norm of the gradient, which adds up over parts of an image.
    """

    objective: Minimisable
    tolerance: float
    rounding: float
    sums: float
    floor: float
    is_sharp: bool = True

    @classmethod
    def of(
        cls,
        objective: Minimisable,
        tolerance: float | None,
        precision: np.dtype[np.floating],
        stored: np.dtype[np.floating] | None = None,
        extremes: tuple[np.floating, np.floating] | None = None,
        returned: float = 0.0,
    ) -> Certificate:
        """Set up the certificate for iterates of one precision and results stored in another (by default the same).

        extremes: the least and the largest value of the noisy image, if the objective does not hold the image.
        returned: the error that the conversion of the stored result adds, such as that of a large offset.

        The default tolerance is that of the objective, at most 3 % of the span of the intensities, and at least the
        floor.

        An iterate rounded to multiples of u·max|f| has a gradient with an error of up to L times as much, and so a
        bound of about L/μ · u · max|f|; unequal weights increase it. How much of that is to be expected depends on the
        objective.
        """
        unit = float(np.finfo(precision).eps) / 2
        within = tuple(range(1, objective.noisy.ndim))
        lows, highs = extremes or (objective.noisy.min(axis=within), objective.noisy.max(axis=within))
        low, high, span = np.min(lows), np.max(highs), float(np.max(highs - lows))
        largest = float(max(high, -low))
        stored_unit = float(np.finfo(stored or precision).eps) / 2
        gain = 1.0 if objective.fidelity is None else objective.fidelity.gain
        of_gradient = unit * objective.gradient_rounding(span) / objective.modulus * gain
        rounding = _RESULT_ROUNDINGS * stored_unit * largest + returned + of_gradient
        stagnation = objective.iterate_roundings * unit * largest * objective.lipschitz
        floor = max(stagnation / objective.modulus * gain, 2 * rounding)
        if tolerance is None:
            most = _LARGEST_TOLERANCE * float(high - low)
            tolerance = max(min(objective.default_tolerance, most), floor)
        sums = unit * objective.noisy.shape[-1] / _LANES
        return cls(objective, tolerance, rounding, sums, floor)

    @property
    def constants(self) -> tuple[float, float, float, float]:
        """The arguments of `bound_of` after the squared norm."""
        return self.objective.total_weight, self.objective.modulus, self.sums, self.rounding

    def distance_bound(self, evaluation: Evaluation) -> float:
        """Return ‖∇J(x)‖/(μ√N) plus rounding, an upper bound of rms(x − x*); infinity if pixels are missing."""
        bound = self._measure(evaluation)
        return bound if self.objective.is_strongly_convex or np.isnan(bound) else np.inf

    def is_met(self, evaluation: Evaluation) -> bool:
        """Return True if the distance bound, or rms(∇J)/μ in its place, is at most the tolerance."""
        return self._measure(evaluation) <= self.tolerance

    def is_exhausted(self, evaluation: Evaluation) -> bool:
        """Return True if it has reached the floor, so that further steps would only change rounding errors."""
        return self._measure(evaluation) <= self.floor

    def may_end(self, evaluation: Evaluation, most_gain: float) -> bool:
        """Return True if a sharper norm of the gradient, which takes time, may decide that the descent ends.

        most_gain: how many times smaller it may make the bound.
        """
        is_open = evaluation.squared_dual_norm is None and self.objective.is_strongly_convex
        return self.is_sharp and is_open and 1 < self.excess(evaluation) <= most_gain

    def most_gain_after(self, evaluation: Evaluation, sharpened: Evaluation) -> float:
        """Return how many times smaller a sharper norm may make the next bounds, from what it did for this one."""
        return min(MOST_GAIN, _MORE_GAIN * self._measure(evaluation) / self._measure(sharpened))

    def excess(self, evaluation: Evaluation) -> float:
        """Return the ratio of the distance bound, or of rms(∇J)/μ, to the value that ends the solve; at least 1."""
        measure, end = self._measure(evaluation), max(self.tolerance, self.floor)
        return measure / end if measure > end else 1.0

    def _measure(self, evaluation: Evaluation) -> float:
        """Return the distance bound; rms(∇J)/μ if pixels are missing."""
        objective, squared_norm = self.objective, evaluation.squared_gradient_norm
        if not objective.is_strongly_convex:
            assert objective.fidelity is not None
            channels = len(objective.noisy)
            rms = objective.fidelity.gradient_rms(squared_norm, evaluation.squared_missing_norm, channels)
            return rms / objective.typical_mu * (1 + self.sums) + self.rounding
        if evaluation.squared_dual_norm is not None:
            squared_norm = evaluation.squared_dual_norm
        return bound_of(squared_norm, *self.constants)
