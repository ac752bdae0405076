"""The choice of μ and ε: the least estimate of the risk, for noise like the image's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tvdenoise.defaults import LEAST_SIGMA, epsilon_for, least_epsilon, mu_for
from tvdenoise.method import Method
from tvdenoise.risk import Risk

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tvdenoise.model.fidelity import Fidelity
    from tvdenoise.noise.model import NoiseModel

#: Of fewer pixels that are sought and known the risk says nothing.
_LEAST_KNOWN = 50


@dataclass(frozen=True, eq=False)
class Parameters:
    """mu, epsilon: as in J, in units of the data range; noise: that mu was chosen for, None where mu was given."""

    mu: float
    epsilon: float
    noise: NoiseModel | None = None


def choose(
    planes: NDArray[np.floating],
    method: Method,
    noise: NoiseModel | None,
    mu: float | None,
    epsilon: float | None,
    strength: float = 1.0,
    fidelity: Fidelity | None = None,
) -> tuple[float, float]:
    """μ and ε for planes (channels, rows, columns), or a volume: what is given is kept, the other chosen for it.

    noise: the noise that μ is chosen for; needed where μ is not given. strength: divides the chosen μ.
    fidelity: the weights of pixels, None for ones. ε follows from μ times their mean.
    """
    typical = 1.0 if fidelity is None else fidelity.typical
    if mu is None:
        assert noise is not None
        mu = choose_mu(planes, noise, method, epsilon, fidelity) / strength
    if epsilon is None:
        chroma, span = method.has_weighted_chroma, float(np.ptp(planes))
        least = least_epsilon(planes, fidelity, weighted_chroma=chroma)
        epsilon = epsilon_for(mu * typical, weighted_chroma=chroma, span=span, least=least)
    return mu, epsilon


def choose_by_sample(
    sampled: NDArray[np.floating] | None,
    span: float,
    method: Method,
    noise: NoiseModel | None,
    mu: float | None,
    epsilon: float | None,
    strength: float = 1.0,
) -> tuple[float, float]:
    """As `choose`, from a sample of planes as `tvdenoise.sampling` takes it, and the span of them all.

    sampled: needed where μ is not given.
    """
    if mu is None:
        assert noise is not None
        assert sampled is not None
        if noise.sigma < LEAST_SIGMA:
            mu = mu_for(noise.sigma)
        else:
            mu = Risk.on(np.ascontiguousarray(sampled, np.float32), noise, method, epsilon).best_mu()
        mu /= strength
    if epsilon is None:
        epsilon = epsilon_for(mu, weighted_chroma=method.has_weighted_chroma, span=span)
    return mu, epsilon


def choose_mu(
    planes: NDArray[np.floating],
    noise: NoiseModel,
    method: Method,
    epsilon: float | None = None,
    fidelity: Fidelity | None = None,
) -> float:
    """The μ of least estimated risk for planes (channels, rows, columns), or a volume, with this noise.

    epsilon: kept where given; otherwise it follows from each μ. fidelity: the weights of pixels, None for ones.
    """
    typical = 1.0 if fidelity is None else fidelity.typical
    if noise.sigma < LEAST_SIGMA:
        return mu_for(noise.sigma) / typical
    risk = Risk.of(planes, noise, method, epsilon, fidelity)
    if risk.fidelity is not None and np.count_nonzero(risk.fidelity.is_known) < _LEAST_KNOWN:
        return mu_for(noise.sigma) / typical
    return risk.best_mu() / typical
