"""The fused sweep for volumes, and for images whose pixels have weights or unequal distances.

It extends the sweep for images (`tvdenoise.model.kernels`) by a third difference, from each plane to the next. A
band is a range of rows in all planes, swept plane by plane: the penalty weights and the iterate of the previous
plane are still in the second-level cache. An image is a volume of one plane.

Pixels may have fidelity weights; a negative weight marks a held or an absent pixel, whose gradient is zero.
Differences to and from absent pixels are zero: their flags are 0, and both their squares and their weights are
multiplied by them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tvdenoise.model.fidelity import ABSENT
from tvdenoise.model.kernels import HYPERBOLIC, ISOTROPIC, advance_row, derivative_weights, kernel

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


#: The number of sums of a band: penalties, ‖x − f‖²_W, ‖g_new‖², ⟨g_new, g_old⟩, ‖g_new‖²_{W⁻¹} where w > 0, and
#: ‖g_new‖² where w = 0.
SUMS = 6


@kernel
def add_squared_lengths(squared, here, below, behind, scales):
    """Add the scaled squares of the three differences of one channel's row to the sum over channels."""
    n = here.shape[0]
    between, down_scale, across_scale = scales[0], scales[1], scales[2]
    for j in range(n - 1):
        across = here[j + 1] - here[j]
        down = below[j] - here[j]
        deep = behind[j] - here[j]
        squared[j] += between * deep * deep + down_scale * down * down + across_scale * across * across
    down = below[n - 1] - here[n - 1]
    deep = behind[n - 1] - here[n - 1]
    squared[n - 1] += between * deep * deep + down_scale * down * down


@kernel
def square_differences(squared, here, other, scale):
    """Compute the scaled squares of the differences from one row to another."""
    for j in range(here.shape[0]):
        difference = other[j] - here[j]
        squared[j] = scale * difference * difference


@kernel
def square_differences_across(squared, here, scale):
    """Compute the scaled squares of the differences within a row."""
    n = here.shape[0]
    for j in range(n - 1):
        difference = here[j + 1] - here[j]
        squared[j] = scale * difference * difference
    squared[n - 1] = 0


@kernel
def flag_differences(flags, here, below, behind, absent):
    """Set flags (3, columns) to 1 for the differences to the next plane, row and column between present pixels, else 0.

    here, below, behind: rows of coded fidelities, of which ``absent`` marks absent pixels.
    """
    zero, one = flags.dtype.type(0), flags.dtype.type(1)
    n = here.shape[0]
    for j in range(n):
        present = here[j] != absent
        flags[0, j] = one if present and behind[j] != absent else zero
        flags[1, j] = one if present and below[j] != absent else zero
    for j in range(n - 1):
        flags[2, j] = one if here[j] != absent and here[j + 1] != absent else zero
    flags[2, n - 1] = one


@kernel
def multiply_row(values, factors):
    """Multiply a row by factors."""
    for j in range(values.shape[0]):
        values[j] *= factors[j]


@kernel
def add_flagged_squared_lengths(squared, here, below, behind, scales, flags):
    """Do the same as `add_squared_lengths` for flagged differences."""
    n = here.shape[0]
    between, down_scale, across_scale = scales[0], scales[1], scales[2]
    for j in range(n):
        down = below[j] - here[j]
        deep = behind[j] - here[j]
        squared[j] += between * deep * deep * flags[0, j] + down_scale * down * down * flags[1, j]
    for j in range(n - 1):
        across = here[j + 1] - here[j]
        squared[j] += across_scale * across * across * flags[2, j]


@kernel
def _flow_within_plane(flow, above, here, below, across, down, down_above, down_scale, across_scale):
    """Compute one row of ∇ᵀ h' for the differences within the plane: inflow less outflow.

    across, down, down_above: h'(z)/z for the differences to the right of, below and above each pixel.
    """
    n = here.shape[0]
    for j in range(1, n - 1):
        x = here[j]
        vertical = (x - above[j]) * down_above[j] - (below[j] - x) * down[j]
        horizontal = (x - here[j - 1]) * across[j - 1] - (here[j + 1] - x) * across[j]
        flow[j] = down_scale * vertical + across_scale * horizontal
    for j in range(0, n, max(1, n - 1)):
        edge = down_scale * ((here[j] - above[j]) * down_above[j] - (below[j] - here[j]) * down[j])
        if j > 0:
            edge += across_scale * (here[j] - here[j - 1]) * across[j - 1]
        if j < n - 1:
            edge -= across_scale * (here[j + 1] - here[j]) * across[j]
        flow[j] = edge


@kernel
def _add_flow_between_planes(flow, before, here, behind, deep, deep_before, scale):
    """Add the contribution of the differences to the planes before and behind."""
    for j in range(here.shape[0]):
        x = here[j]
        flow[j] += scale * ((x - before[j]) * deep_before[j] - (behind[j] - x) * deep[j])


@kernel
def _update_gradient(g, flow, here, noisy, mu):
    """Replace a row of g by ∇J there; return Σ(x − f)², Σ g_new² and Σ g_new g_old."""
    squared_residual = g.dtype.type(0)
    squared_norm = g.dtype.type(0)
    product = g.dtype.type(0)
    for j in range(here.shape[0]):
        residual = here[j] - noisy[j]
        gradient = flow[j] + mu * residual
        squared_residual += residual * residual
        squared_norm += gradient * gradient
        product += gradient * g[j]
        g[j] = gradient
    return squared_residual, squared_norm, product


@kernel
def _update_weighted_gradient(g, flow, here, noisy, fidelity, mu):
    """Do the same with weights; return all sums of `SUMS` but the penalties."""
    zero, one = g.dtype.type(0), g.dtype.type(1)
    squared_residual = zero
    squared_norm = zero
    product = zero
    dual = zero
    missing = zero
    for j in range(here.shape[0]):
        weight = fidelity[j]
        residual = here[j] - noisy[j]
        bound = max(weight, zero) * residual
        gradient = flow[j] + mu * bound if weight >= zero else zero
        squared_residual += bound * residual
        squared_norm += gradient * gradient
        product += gradient * g[j]
        dual += gradient * gradient * (one / weight if weight > zero else zero)
        missing += gradient * gradient if weight == zero else zero
        g[j] = gradient
    return squared_residual, squared_norm, product, dual, missing


@kernel
def _row(x, halo, starts, band, c, z, i):
    """Return row i of plane z of one channel after the step; outside the volume, its nearest row."""
    z = min(max(z, 0), x.shape[1] - 1)
    if i < starts[band]:
        return halo[band, 0, c, z] if i >= 0 else x[c, z, 0]
    if i >= starts[band + 1]:
        return halo[band + 1, 1, c, z] if i < x.shape[2] else x[c, z, i - 1]
    return x[c, z, i]


@kernel
def _weigh_row(  # noqa: PLR0912
    weights, x, halo, starts, band, z, i, scales, epsilon, penalty, tv, fidelity, flags, has_gaps
):
    """Fill the rows of h'(z)/z for the differences that leave row i of plane z; return the sum of h over them.

    weights: (1, 1, columns) if isotropic, shared by all differences of a pixel; (3, channels, columns) if
    anisotropic, for the differences to the next plane, row and column; (3, 1, columns) if isotropic with gaps.
    flags: (3, columns), overwritten. has_gaps: the fidelity has absent pixels.
    """
    total = 0.0
    if has_gaps:
        below_row, behind_plane = min(i + 1, fidelity.shape[1] - 1), min(z + 1, fidelity.shape[0] - 1)
        flag_differences(
            flags, fidelity[z, i], fidelity[z, below_row], fidelity[behind_plane, i], flags.dtype.type(ABSENT)
        )
    if tv == ISOTROPIC:
        weights[0, 0, :] = 0
    for c in range(x.shape[0]):
        here = _row(x, halo, starts, band, c, z, i)
        below = _row(x, halo, starts, band, c, z, i + 1)
        behind = _row(x, halo, starts, band, c, z + 1, i)
        if tv == ISOTROPIC:
            if has_gaps:
                add_flagged_squared_lengths(weights[0, 0], here, below, behind, scales[c], flags)
            else:
                add_squared_lengths(weights[0, 0], here, below, behind, scales[c])
        else:
            square_differences(weights[0, c], here, behind, scales[c, 0])
            square_differences(weights[1, c], here, below, scales[c, 1])
            square_differences_across(weights[2, c], here, scales[c, 2])
            for axis in range(3):
                if scales[c, axis] > 0:  # 0 along the planes of an image
                    if has_gaps:
                        multiply_row(weights[axis, c], flags[axis])
                    total += derivative_weights(weights[axis, c], epsilon, penalty)
                    if has_gaps:
                        multiply_row(weights[axis, c], flags[axis])
    if tv == ISOTROPIC:
        total += derivative_weights(weights[0, 0], epsilon, penalty)
        if has_gaps:
            for axis in range(2, -1, -1):
                weights[axis, 0, :] = weights[0, 0]
                multiply_row(weights[axis, 0], flags[axis])
    return total


@kernel
def step_volume_halo(x, g, step_length, starts, halo):
    """Copy the rows on both sides of every border between bands, as they will be after the step.

    starts: first row of each band, and the number of rows. halo: (bands + 1, 2, channels, planes, columns), where
    ``halo[k]`` holds the rows above and the rows below the start of band k.
    """
    for k in range(1, starts.shape[0] - 1):
        for side in range(2):
            row = starts[k] - 1 + side
            for c in range(x.shape[0]):
                for z in range(x.shape[1]):
                    halo[k, side, c, z] = x[c, z, row]
                    advance_row(halo[k, side, c, z], g[c, z, row], step_length)


@kernel
def sweep_volume_band(
    x, g, noisy, fidelity, band, starts, halo, step_length, mu, epsilon, scales, penalty, tv, is_weighted,
    has_gaps, sums
):  # fmt: skip
    """Step and evaluate the rows ``starts[band]`` to ``starts[band + 1]`` of all planes in place.

    x, g, noisy: (channels, planes, rows, columns). fidelity: (planes, rows, columns), used if is_weighted; it has
    absent pixels if has_gaps.
    scales: (channels, 3), the squared factors of the differences to the next plane, row and column.
    sums[band]: see `SUMS`.
    """
    channels, planes, _, columns = x.shape
    first, last = starts[band], starts[band + 1]
    isotropic = tv == ISOTROPIC
    own = 1 if isotropic else channels
    kinds = 1 if isotropic and not has_gaps else 3
    # For this plane and the one before; row 0 is the row above the band.
    weights = np.zeros((2, last - first + 1, kinds, own, columns), x.dtype)
    flow = np.empty(columns, x.dtype)
    flags = np.empty((3, columns if has_gaps else 1), x.dtype)
    sums[band, :] = 0.0
    for c in range(channels):
        for i in range(first, last):
            advance_row(x[c, 0, i], g[c, 0, i], step_length)
    for z in range(planes):
        here_weights, before_weights = weights[z % 2], weights[(z + 1) % 2]
        if first > 0:
            _weigh_row(
                here_weights[0], x, halo, starts, band, z, first - 1, scales, epsilon, penalty, tv, fidelity,
                flags, has_gaps,
            )  # fmt: skip
        for i in range(first, last):
            if z + 1 < planes:
                for c in range(channels):
                    advance_row(x[c, z + 1, i], g[c, z + 1, i], step_length)
            k = i - first + 1
            sums[band, 0] += _weigh_row(
                here_weights[k], x, halo, starts, band, z, i, scales, epsilon, penalty, tv, fidelity, flags,
                has_gaps,
            )  # fmt: skip
            for c in range(channels):
                deep, down, across = (0, 0, 0) if kinds == 1 else (0, 1, 2)
                own = 0 if isotropic else c
                here = x[c, z, i]
                _flow_within_plane(
                    flow, _row(x, halo, starts, band, c, z, i - 1), here,
                    _row(x, halo, starts, band, c, z, i + 1), here_weights[k, across, own],
                    here_weights[k, down, own], here_weights[k - 1, down, own], scales[c, 1], scales[c, 2],
                )  # fmt: skip
                if planes > 1:
                    _add_flow_between_planes(
                        flow, _row(x, halo, starts, band, c, z - 1, i), here,
                        _row(x, halo, starts, band, c, z + 1, i), here_weights[k, deep, own],
                        before_weights[k, deep, own], scales[c, 0],
                    )  # fmt: skip
                if is_weighted:
                    residual, norm, product, dual, missing = _update_weighted_gradient(
                        g[c, z, i], flow, here, noisy[c, z, i], fidelity[z, i], mu
                    )
                else:
                    residual, norm, product = _update_gradient(g[c, z, i], flow, here, noisy[c, z, i], mu)
                    dual, missing = norm, x.dtype.type(0)
                sums[band, 1] += residual
                sums[band, 2] += norm
                sums[band, 3] += product
                sums[band, 4] += dual
                sums[band, 5] += missing


def prepare_volumes(dtype: DTypeLike) -> bool:
    """Load these kernels for one precision from the cache or compile them; return True if they had to be compiled."""
    scalar = np.dtype(dtype).type
    x = np.zeros((1, 1, 1, 1), dtype)
    starts = np.array([0, 1])
    halo = np.zeros((2, 2, 1, 1, 1), dtype)
    zero, one = scalar(0), scalar(1)
    step_volume_halo(x, x.copy(), zero, starts, halo)
    sweep_volume_band(
        x, x.copy(), x.copy(), x[0].copy(), 0, starts, halo, zero, one, one, np.ones((1, 3), dtype),
        HYPERBOLIC, ISOTROPIC, False, False, np.zeros((1, SUMS)),
    )  # fmt: skip
    return is_compiled_afresh()


def is_compiled_afresh() -> bool:
    """Return True if any of these kernels was not found in the cache."""
    return bool(step_volume_halo.stats.cache_misses or sweep_volume_band.stats.cache_misses)
