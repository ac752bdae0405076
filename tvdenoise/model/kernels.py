"""The fused sweep for images: one pass over memory takes a step and computes everything the next step needs.

For each row of a band, the sweep sets x ← x − τ g, replaces g by the objective gradient at the new x, and adds
up the penalties, ‖x − f‖², ‖g_new‖² and ⟨g_new, g_old⟩. The rows involved stay in the fastest cache, so a sweep
costs little more than moving x, g and f through memory.

The row functions are small and take contiguous rows, because the compiler vectorises a loop only if it can
prove, with few run-time checks, that its arrays do not overlap. Sums over a row are in the image's precision,
sums over a band in double precision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
import numpy as np

from tvdenoise.model.kernel_cache import KernelCache

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import DTypeLike


HYPERBOLIC, HUBER = 0, 1
ISOTROPIC, ANISOTROPIC = 0, 1
PENALTY_CODES = {"hyperbolic": HYPERBOLIC, "huber": HUBER}
TV_CODES = {"isotropic": ISOTROPIC, "anisotropic": ANISOTROPIC}

#: Allows reassociated sums, contracted products and the hardware's estimate of 1/√.
_FAST_MATH = {"reassoc", "nnan", "ninf", "nsz", "arcp", "contract", "afn"}


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function that releases the interpreter's lock, and cache it in the user's cache folder."""
    dispatcher = numba.njit(function, nogil=True, fastmath=_FAST_MATH, error_model="numpy")
    dispatcher._cache = KernelCache(function)  # where njit(cache=True) puts Numba's own cache
    return dispatcher


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


@kernel
def _add_squared_lengths(squared, here, below, weight):
    """Add w²(d_across² + d_down²) of one channel's row to the sum over channels."""
    n = here.shape[0]
    for j in range(n - 1):
        across = here[j + 1] - here[j]
        down = below[j] - here[j]
        squared[j] += weight * (across * across + down * down)
    down = below[n - 1] - here[n - 1]
    squared[n - 1] += weight * down * down


@kernel
def _squared_components(squared_across, squared_down, here, below, weight):
    """Compute w² d_across² and w² d_down² of one channel's row."""
    n = here.shape[0]
    for j in range(n - 1):
        across = here[j + 1] - here[j]
        squared_across[j] = weight * across * across
    squared_across[n - 1] = 0
    for j in range(n):
        down = below[j] - here[j]
        squared_down[j] = weight * down * down


@kernel
def _edge_flow(j, above, here, below, across, down, down_above):
    """Return outflow less inflow of h'(∇x) at a pixel that may lack a left or right neighbour."""
    flow = (below[j] - here[j]) * down[j] - (here[j] - above[j]) * down_above[j]
    if j > 0:
        flow -= (here[j] - here[j - 1]) * across[j - 1]
    if j < here.shape[0] - 1:
        flow += (here[j + 1] - here[j]) * across[j]
    return flow


@kernel
def _gradient_row(g, above, here, below, noisy, across, down, down_above, weight, mu):
    """Replace one channel's row of g by ∇J there; return Σ(x − f)², Σ g_new² and Σ g_new g_old.

    across, down, down_above: h'(z)/z for the differences to the right of, below and above each pixel.
    """
    n = here.shape[0]
    squared_residual = g.dtype.type(0)
    squared_norm = g.dtype.type(0)
    product = g.dtype.type(0)
    for j in range(1, n - 1):
        x = here[j]
        residual = x - noisy[j]
        inflow = (x - above[j]) * down_above[j] + (x - here[j - 1]) * across[j - 1]
        outflow = (below[j] - x) * down[j] + (here[j + 1] - x) * across[j]
        gradient = weight * (inflow - outflow) + mu * residual
        squared_residual += residual * residual
        squared_norm += gradient * gradient
        product += gradient * g[j]
        g[j] = gradient
    for j in range(0, n, max(1, n - 1)):
        residual = here[j] - noisy[j]
        flow = _edge_flow(j, above, here, below, across, down, down_above)
        gradient = mu * residual - weight * flow
        squared_residual += residual * residual
        squared_norm += gradient * gradient
        product += gradient * g[j]
        g[j] = gradient
    return squared_residual, squared_norm, product


@kernel
def _row(x, halo, starts, band, c, i):
    """Return row i of one channel after the step: from the image within the band, from the halo just outside."""
    if i < starts[band]:
        return halo[band, 0, c] if i >= 0 else x[c, 0]
    if i >= starts[band + 1]:
        return halo[band + 1, 1, c] if i < x.shape[1] else x[c, i - 1]
    return x[c, i]


@kernel
def _weights_below(across, down, x, halo, starts, band, i, channel_weights, epsilon, penalty, tv):
    """Fill the rows of h'(z)/z to the right of and below each pixel of row i; return the sum of h over them.

    across, down: one row for each channel if anisotropic; if isotropic, the first row of ``down`` holds the weight
    that all differences of a pixel share.
    """
    total = 0.0
    if tv == ISOTROPIC:
        down[0, :] = 0
    for c in range(x.shape[0]):
        here = _row(x, halo, starts, band, c, i)
        below = _row(x, halo, starts, band, c, i + 1)
        if tv == ISOTROPIC:
            _add_squared_lengths(down[0], here, below, channel_weights[c])
        else:
            _squared_components(across[c], down[c], here, below, channel_weights[c])
            total += derivative_weights(across[c], epsilon, penalty)
            total += derivative_weights(down[c], epsilon, penalty)
    if tv == ISOTROPIC:
        total += derivative_weights(down[0], epsilon, penalty)
    return total


@kernel
def step_halo(x, g, step_length, starts, halo):
    """Copy the rows on both sides of every border between bands, as they will be after the step.

    starts: first row of each band, and the number of rows. halo: (bands + 1, 2, channels, columns), where
    ``halo[k]`` holds the row above and the row below the start of band k.
    """
    for k in range(1, starts.shape[0] - 1):
        for side in range(2):
            for c in range(x.shape[0]):
                row = starts[k] - 1 + side
                halo[k, side, c] = x[c, row]
                advance_row(halo[k, side, c], g[c, row], step_length)


@kernel
def sweep_band(
    x, g, noisy, band, starts, halo, step_length, mu, epsilon, channel_weights, penalty, tv, sums
):  # fmt: skip
    """Step and evaluate the rows ``starts[band]`` to ``starts[band + 1]`` in place.

    x, g, noisy: (channels, rows, columns). channel_weights: squared. sums[band] receives the penalties' sum,
    ‖x − f‖², ‖g_new‖² and ⟨g_new, g_old⟩ over the band.
    """
    channels, _, columns = x.shape
    first, last = starts[band], starts[band + 1]
    own = 1 if tv == ISOTROPIC else channels
    across = np.zeros((own, columns), x.dtype)
    down = np.zeros((own, columns), x.dtype)
    down_above = np.zeros((own, columns), x.dtype)
    sums[band, :] = 0.0
    for c in range(channels):
        advance_row(x[c, first], g[c, first], step_length)
    if first > 0:
        _weights_below(
            across, down_above, x, halo, starts, band, first - 1, channel_weights, epsilon, penalty, tv
        )  # fmt: skip
    for i in range(first, last):
        if i + 1 < last:
            for c in range(channels):
                advance_row(x[c, i + 1], g[c, i + 1], step_length)
        sums[band, 0] += _weights_below(
            across, down, x, halo, starts, band, i, channel_weights, epsilon, penalty, tv
        )
        for c in range(channels):
            k = 0 if tv == ISOTROPIC else c
            right = down[0] if tv == ISOTROPIC else across[c]
            above = _row(x, halo, starts, band, c, i - 1)
            below = _row(x, halo, starts, band, c, i + 1)
            residual, norm, product = _gradient_row(
                g[c, i], above, x[c, i], below, noisy[c, i],
                right, down[k], down_above[k], channel_weights[c], mu,
            )  # fmt: skip
            sums[band, 1] += residual
            sums[band, 2] += norm
            sums[band, 3] += product
        down, down_above = down_above, down


def prepare(dtype: DTypeLike) -> bool:
    """Load the kernels for one precision from the cache or compile them; return True if they had to be compiled."""
    scalar = np.dtype(dtype).type
    x = np.zeros((1, 1, 1), dtype)
    starts = np.array([0, 1])
    halo = np.zeros((2, 2, 1, 1), dtype)
    zero, one = scalar(0), scalar(1)
    step_halo(x, x.copy(), zero, starts, halo)
    channel_weights, sums = np.ones(1, dtype), np.zeros((1, 4))
    sweep_band(
        x, x.copy(), x.copy(), 0, starts, halo, zero, one, one, channel_weights, HYPERBOLIC, ISOTROPIC, sums
    )  # fmt: skip
    return is_compiled_afresh()


def is_compiled_afresh() -> bool:
    """Return True if any of these kernels was not found in the cache."""
    return bool(step_halo.stats.cache_misses or sweep_band.stats.cache_misses)
