"""Filling: pixels without a value of their own take those with the least total variation while the rest is held."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tvdenoise.model.fidelity import Fidelity

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tvdenoise.solver.descent import Method, Minimiser


#: ε, at least; a part of the span of the intensities.
_EPSILON = 1 / 256
#: μ ε, and the most evaluations; the means that they start from are nearly right.
_MU, _STEPS = 0.14, 40


def filled(
    planes: NDArray[np.floating], coded: NDArray[np.floating], method: Method, epsilon: float = 0.0
) -> Minimiser:
    """Return the minimiser of the total variation over the pixels that `Fidelity` codes as missing.

    planes: with means of their neighbours there. coded: 0 at these pixels; the others are held or absent.
    epsilon: of the image's own solve.
    """
    epsilon = max(epsilon, _EPSILON * float(np.ptp(planes)))
    options = replace(method.options, max_iterations=min(method.options.max_iterations, _STEPS))
    # Nothing but the total variation acts there; μ only sets the scale of the steps and of the tolerance.
    method = replace(method, options=options, bank=None)
    return method.minimise(
        planes, _MU / epsilon, epsilon, fidelity=Fidelity(coded.astype(planes.dtype, copy=False))
    )
