"""What the kernels for images and for volumes have in common: how they are compiled, and loops over one row.

The row functions are small, and take contiguous rows, because the compiler vectorises a loop only while it
can prove, with few run-time checks, that its arrays do not overlap. Rows are summed in the image's precision
and bands in double precision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

HYPERBOLIC, HUBER = 0, 1
ISOTROPIC, COMPONENTWISE = 0, 1
PENALTY_CODES = {"hyperbolic": HYPERBOLIC, "huber": HUBER}
TV_CODES = {"isotropic": ISOTROPIC, "componentwise": COMPONENTWISE}

#: Sums may be reassociated, products contracted and 1/√ taken from the hardware's estimate.
_FAST_MATH = {"reassoc", "nnan", "ninf", "nsz", "arcp", "contract", "afn"}


def kernel(function: Callable[..., Any]) -> Any:
    """Compile without the interpreter's lock, and keep the result on disk where any folder is writable."""
    options: dict[str, Any] = {"nogil": True, "fastmath": _FAST_MATH, "error_model": "numpy"}
    try:
        return numba.njit(function, cache=True, **options)
    except RuntimeError:  # neither the package's folder nor the user's cache is writable
        return numba.njit(function, **options)


@kernel
def advance_row(x, g, step_length):
    """x ← x − τ g."""
    for j in range(x.shape[0]):
        x[j] -= step_length * g[j]


@kernel
def _hyperbolic_weights(squared, epsilon):
    """Replace each s by 1/√(s + ε²); return Σ √(s + ε²)."""
    one = squared.dtype.type(1)
    total = squared.dtype.type(0)
    for j in range(squared.shape[0]):
        shifted = squared[j] + epsilon * epsilon
        weight = one / np.sqrt(shifted)
        total += shifted * weight
        squared[j] = weight
    return total


@kernel
def _huber_weights(squared, epsilon):
    """Replace each s by 1/max(√s, ε); return the sum of s/(2ε) where s ≤ ε², √s − ε/2 elsewhere."""
    one = squared.dtype.type(1)
    half = squared.dtype.type(0.5)
    total = squared.dtype.type(0)
    for j in range(squared.shape[0]):
        s = squared[j]
        weight = one / np.sqrt(max(s, epsilon * epsilon))
        total += half * s * weight if s <= epsilon * epsilon else s * weight - half * epsilon
        squared[j] = weight
    return total


@kernel
def derivative_weights(squared, epsilon, penalty):
    """Replace each s = |z|² by h'(z)/z; return the sum of h(z)."""
    if penalty == HYPERBOLIC:
        return _hyperbolic_weights(squared, epsilon)
    return _huber_weights(squared, epsilon)
