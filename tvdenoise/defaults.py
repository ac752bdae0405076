"""μ and ε where nothing else is known: the same part of the noise everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tvdenoise.model.fidelity import Fidelity

#: μσ for white noise and an ordinary picture.
_MU_SIGMA = 1.4
#: No image is taken to have less noise than this (a tenth of an 8-bit grey level), so that an image without
#: noise comes back unchanged rather than divides by zero.
LEAST_SIGMA = 0.1 / 255
#: ε μ: a tenth of the noise level for one weight on all channels, a fifth for weighted chroma.
_EPSILON_MU = 0.14
_EPSILON_MU_CHROMA = 0.28
_LARGEST_EPSILON = 1 / 6
#: Below the spacing of the intensities themselves a smaller ε changes nothing but the condition of J.
LEAST_CHOSEN_EPSILON = 1e-9
#: Where pixels are missing, in spans of the intensities.
_LEAST_FILLING_EPSILON = 1 / 256


def mu_for(sigma: float) -> float:
    """μ = 1.4/σ for white noise of level σ (data ranges), floored at a tenth of an 8-bit grey level."""
    return _MU_SIGMA / max(sigma, LEAST_SIGMA)


def epsilon_for(
    mu: float, *, weighted_chroma: bool, span: float = np.inf, least: float = LEAST_CHOSEN_EPSILON
) -> float:
    """ε = 0.14/μ, or 0.28/μ where chroma is weighted: a fixed part of the noise level that μ stands for.

    At most a sixth of the span of the intensities: a μ far below what the image's noise wants shall smooth
    more, not turn the edges that it would keep into slopes that cost nothing.
    """
    scale = _EPSILON_MU_CHROMA if weighted_chroma else _EPSILON_MU
    return max(min(scale / mu, _LARGEST_EPSILON * span), least)


def least_epsilon(planes: NDArray[np.floating], fidelity: Fidelity | None, *, weighted_chroma: bool) -> float:
    """The least ε that is chosen: 1/256 of the span (1/128 where chroma is weighted) where pixels are missing.

    Where nothing but the total variation acts a smaller ε makes the solve long, and the filling no better.
    """
    if fidelity is None or not fidelity.has_missing:
        return LEAST_CHOSEN_EPSILON
    part = _LEAST_FILLING_EPSILON * (2 if weighted_chroma else 1)
    return max(part * float(np.ptp(planes)), LEAST_CHOSEN_EPSILON)
