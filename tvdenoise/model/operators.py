"""The sparse image gradient and its adjoint, the negative divergence.

Images are flattened in (channel, row, column) or (channel, plane, row, column) order. Differences are forward
with a Neumann boundary: the difference across the last plane, row or column is zero (Chambolle, J. Math.
Imaging Vis. 20, 2004).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Sequence


#: An upper bound of the squared norm of the one-dimensional difference operator.
SQUARED_NORM_PER_AXIS = 4.0


def difference(length: int) -> sparse.csr_array:
    """Return the (length, length) forward difference ``(Dx)_i = x_{i+1} − x_i``, with a last row of zeros."""
    inner = np.arange(length - 1)
    rows = np.concatenate([inner, inner])
    columns = np.concatenate([inner, inner + 1])
    values = np.concatenate([-np.ones(length - 1), np.ones(length - 1)])
    return sparse.coo_array((values, (rows, columns)), shape=(length, length)).tocsr()


def image_gradient(
    shape: Sequence[int],
    channel_weights: Sequence[float] | np.ndarray = (1.0,),
    axis_weights: Sequence[float] | np.ndarray | None = None,
) -> sparse.csr_array:
    """Return ∇ as a (d·C·N, C·N) matrix for N pixels along d axes, C being the number of channel weights.

    shape: (rows, columns) or (planes, rows, columns). axis_weights: a factor for the differences along each axis,
    h_min/hᵢ for pixels at distance hᵢ; ones by default.

    The rows hold, for each channel, the differences along each axis in order (to the next plane, row and column),
    times the channel's weight. ``image_gradient(...).T`` is the adjoint.
    """
    factors = np.ones(len(shape)) if axis_weights is None else axis_weights
    one_channel = sparse.vstack(
        [factor * _along(axis, shape) for axis, factor in enumerate(factors)], format="csr"
    )
    weights = sparse.diags_array(np.asarray(channel_weights, dtype=float))
    return sparse.kron(weights, one_channel).tocsr()


def _along(axis: int, shape: Sequence[int]) -> sparse.sparray:
    """Return the differences along one axis of a single-channel image."""
    before, after = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
    differences = sparse.kron(difference(shape[axis]), sparse.eye_array(after))
    return sparse.kron(sparse.eye_array(before), differences)


def divergence(
    shape: Sequence[int],
    channel_weights: Sequence[float] | np.ndarray = (1.0,),
    axis_weights: Sequence[float] | np.ndarray | None = None,
) -> sparse.csr_array:
    """Return div = −∇ᵀ, so that ⟨∇x, p⟩ = −⟨x, div p⟩."""
    return (-image_gradient(shape, channel_weights, axis_weights).T).tocsr()
