"""An estimate of the error of the result, without a clean image."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from tvdenoise.defaults import LEAST_CHOSEN_EPSILON, LEAST_SIGMA, epsilon_for, least_epsilon
from tvdenoise.method import DEFAULT_MAX_ITERATIONS, Method
from tvdenoise.noise.model import NoiseKind
from tvdenoise.sampling import sample, sample_of_free

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from tvdenoise.model.fidelity import Fidelity
    from tvdenoise.noise.model import NoiseModel

#: The search looks at no other μσ than from here to there.
_LEAST_MU_SIGMA, _LARGEST_MU_SIGMA = 0.1, 100.0
#: Steps of the search in log μ: first apart, then near the best.
_COARSE_STEP, _FINE_STEP = 0.8, 0.4


#: The probe is this much of the noise: real noise is skewed, which a larger probe sees ...
_PROBE = {NoiseKind.WHITE: 0.1, NoiseKind.INTENSITY: 0.3, NoiseKind.CORRELATED: 0.3}
#: ... and both solves are exact to this part of the probe.
_PROBE_EXACTNESS = 1 / 50
_PROBE_SEED = 1


@dataclass(eq=False)
class Risk:
    """An unbiased estimate of the mean squared error of the result, up to a constant, as a function of log μ.

    Where pixels have weights μ stands for its product with their mean. The error is that of the pixels which are
    sought and known; of the others nothing can be said.

    With noise of covariance Σ the risk is ‖x − f‖²/N + 2 tr(Σ ∂x/∂f)/N less a constant (Stein, Ann. Statist.
    9(6), 1981), and the trace is the mean of ⟨n', x(f + δn') − x(f)⟩/δ over noise n' of that covariance
    (Ramani, Blu and Unser, IEEE TIP 17(9), 2008, where n' is white). Both solves start from the last one.
    """

    noisy: NDArray[np.float32]
    probe: NDArray[np.float32]
    method: Method
    epsilon: float | None
    part: float
    fidelity: Fidelity | None = None
    typical: float = 1.0
    least_epsilon: float = LEAST_CHOSEN_EPSILON
    last: NDArray[np.floating] | None = None

    @classmethod
    def of(
        cls,
        planes: NDArray[np.floating],
        noise: NoiseModel,
        method: Method,
        epsilon: float | None,
        fidelity: Fidelity | None = None,
    ) -> Risk:
        """The risk for planes, probed by noise drawn from the model with a fixed seed."""
        typical = 1.0
        least = least_epsilon(planes, fidelity, weighted_chroma=method.has_weighted_chroma)
        if fidelity is None:
            planes = sample(planes)
        else:
            typical = fidelity.typical
            planes, fidelity = sample_of_free(planes, fidelity)
        noisy = np.ascontiguousarray(planes, np.float32)
        return cls.on(noisy, noise, method, epsilon, fidelity, typical, least)

    @classmethod
    def on(
        cls,
        noisy: NDArray[np.float32],
        noise: NoiseModel,
        method: Method,
        epsilon: float | None,
        fidelity: Fidelity | None = None,
        typical: float = 1.0,
        least: float = LEAST_CHOSEN_EPSILON,
    ) -> Risk:
        """The same on a sample of planes, with the weights of its pixels."""
        quick = replace(method, engine="fused", step="bb", max_iterations=DEFAULT_MAX_ITERATIONS)
        probe = noise.draw(noisy, _PROBE_SEED)
        if fidelity is not None:
            probe[:, ~fidelity.is_known] = 0
        return cls(noisy, probe, quick, epsilon, _PROBE[noise.kind], fidelity, typical, least)

    @property
    def level(self) -> float:
        """Root mean square of the probing noise, in data ranges."""
        return float(np.sqrt(self._mean(np.square(self.probe, dtype=np.float64))))

    def best_mu(self) -> float:
        """The μ of least risk."""
        return float(np.exp(_least(self, max(self.level, LEAST_SIGMA))))

    def __call__(self, log_mu: float) -> float:
        """The estimated risk, squared data ranges a pixel, less a constant."""
        mu = float(np.exp(log_mu))
        chroma = self.method.has_weighted_chroma
        epsilon = epsilon_for(mu, weighted_chroma=chroma, least=self.least_epsilon)
        epsilon = epsilon if self.epsilon is None else self.epsilon
        tolerance = self.part * _PROBE_EXACTNESS * self.level
        step = np.float32(self.part) * self.probe
        minimise = partial(
            self.method.minimise,
            mu=mu / self.typical,
            epsilon=epsilon,
            tolerance=tolerance,
            fidelity=self.fidelity,
        )
        x = minimise(self.noisy, start=self.last).x
        moved = minimise(self.noisy + step, start=x + step).x
        self.last = x
        residual = self._mean(np.square(x - self.noisy, dtype=np.float64))
        divergence = self._mean(np.multiply(self.probe, moved - x, dtype=np.float64)) / self.part
        return float(residual + 2 * divergence)

    def _mean(self, values: NDArray[np.floating]) -> float:
        """Over the pixels that are sought and known."""
        return float(np.mean(values if self.fidelity is None else values[:, self.fidelity.is_known]))


def _least(risk: Callable[[float], float], sigma: float) -> float:
    """log μ of the least risk: coarse steps around μσ = 1, downhill in fine ones, then a parabola."""
    known: dict[float, float] = {}
    low, high = float(np.log(_LEAST_MU_SIGMA / sigma)), float(np.log(_LARGEST_MU_SIGMA / sigma))

    def at(log_mu: float) -> float:
        if log_mu not in known:
            known[log_mu] = risk(log_mu)
        return known[log_mu]

    best = min((k * _COARSE_STEP - float(np.log(sigma)) for k in (1, 0, -1, -2)), key=at)
    for step in (_FINE_STEP, -_FINE_STEP):
        while low < best + step < high and at(best + step) < at(best):
            best += step
    before, here, after = at(best - _FINE_STEP), at(best), at(best + _FINE_STEP)
    curvature = before - 2 * here + after
    if curvature <= 0:
        return best
    return best + float(np.clip((before - after) / (2 * curvature), -0.5, 0.5)) * _FINE_STEP
