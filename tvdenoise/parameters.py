"""The choice of μ and ε where they are not given."""

from __future__ import annotations

#: White noise of level σ wants about this μσ.
_MU_SIGMA = 1.4
#: No image is taken to have less noise than this (a tenth of an 8-bit grey level), so that an image without
#: noise comes back unchanged rather than divides by zero.
LEAST_SIGMA = 0.1 / 255
#: ε μ: a tenth of the noise level for one weight on all channels, a fifth for weighted chroma.
_EPSILON_MU = 0.14
_EPSILON_MU_CHROMA = 0.28
#: Below the spacing of the intensities themselves a smaller ε changes nothing but the condition of J.
_LEAST_CHOSEN_EPSILON = 1e-9


def mu_for(sigma: float) -> float:
    """μ = 1.4/σ for white noise of level σ (intensity units), floored at a tenth of an 8-bit grey level."""
    return _MU_SIGMA / max(sigma, LEAST_SIGMA)


def epsilon_for(mu: float, *, weighted_chroma: bool) -> float:
    """ε = 0.14/μ, or 0.28/μ where chroma is weighted: a fixed part of the noise level that μ stands for."""
    scale = _EPSILON_MU_CHROMA if weighted_chroma else _EPSILON_MU
    return max(scale / mu, _LEAST_CHOSEN_EPSILON)
