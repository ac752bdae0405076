"""The sparse image gradient and its adjoint, the negative divergence.

Images are flattened in (channel, row, column) order. Differences are forward with a Neumann boundary: the
difference across the last row or column is zero (Chambolle, J. Math. Imaging Vis. 20, 2004).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Sequence

#: An upper bound of the squared norm of one one-dimensional difference.
SQUARED_NORM_PER_AXIS = 4.0


def difference(length: int) -> sparse.csr_array:
    """The (length, length) forward difference ``(Dx)_i = x_{i+1} − x_i``, with a last row of zeros."""
    inner = np.arange(length - 1)
    rows = np.concatenate([inner, inner])
    columns = np.concatenate([inner, inner + 1])
    values = np.concatenate([-np.ones(length - 1), np.ones(length - 1)])
    return sparse.coo_array((values, (rows, columns)), shape=(length, length)).tocsr()


def image_gradient(
    rows: int, columns: int, channel_weights: Sequence[float] | np.ndarray = (1.0,)
) -> sparse.csr_array:
    """∇ as a (2·C·rows·columns, C·rows·columns) matrix, C being the number of channel weights.

    The rows hold, for each channel, the differences down (row to row) and then across (column to column),
    each times the channel's weight. ``image_gradient(...).T`` is the adjoint.
    """
    down = sparse.kron(difference(rows), sparse.eye_array(columns))
    across = sparse.kron(sparse.eye_array(rows), difference(columns))
    one_channel = sparse.vstack([down, across])
    weights = sparse.diags_array(np.asarray(channel_weights, dtype=float))
    return sparse.kron(weights, one_channel).tocsr()


def divergence(
    rows: int, columns: int, channel_weights: Sequence[float] | np.ndarray = (1.0,)
) -> sparse.csr_array:
    """div = −∇ᵀ, so that ⟨∇x, p⟩ = −⟨x, div p⟩."""
    return (-image_gradient(rows, columns, channel_weights).T).tocsr()
