"""Products of a sparse matrix with rows equal those of numpy."""

from __future__ import annotations

import numpy as np
import pytest

from tvdenoise.model.kernels import kernel
from tvdenoise.model.products import LANES, LARGEST, PITCH, Pattern, add_inner_products, multiply

PRECISIONS = [(np.float32, 1e-5), (np.float64, 1e-13)]
#: Rows and sources of each group, out of 20 rows and 9 sources.
GROUPS = {
    "all sizes of blocks": [(size, 1 + size % 4) for size in range(1, LARGEST)],
    "several blocks": [(LARGEST + 1, 5), (2 * LARGEST, 2)],
    "no sources": [(3, 0), (2, 3)],
    "no rows": [(0, 2), (4, 3)],
}


@kernel
def multiplied(result, source, products, n):
    multiply(result, source, products, n)


@kernel
def differentiated(sums, result, source, products, n):
    add_inner_products(sums, result, source, products, n)


def _pattern(sizes):
    rng = np.random.default_rng(7)
    rows = np.split(rng.permutation(20), np.cumsum([count for count, _ in sizes]))
    return Pattern.of(
        [(own, rng.permutation(9)[:shared]) for own, (_, shared) in zip(rows, sizes, strict=False)]
    )


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("n", [LANES, PITCH])
@pytest.mark.parametrize("sizes", GROUPS.values(), ids=GROUPS)
def test_products_equal_those_of_the_whole_matrix(sizes, n, dtype, tolerance):
    rng = np.random.default_rng(1)
    pattern = _pattern(sizes)
    matrix = np.zeros((20, 9))
    matrix[pattern.row, pattern.column] = rng.standard_normal(pattern.row.size)
    products = pattern.packed(matrix, dtype)
    assert np.allclose(pattern.unpacked(products.weights, (20, 9)), matrix, rtol=1e-6)
    result, source = rng.random((20, PITCH)).astype(dtype), rng.standard_normal((9, PITCH)).astype(dtype)
    before = result.copy()
    multiplied(result, source, products, n)
    expected = matrix @ source.astype(float)
    assert np.abs(result - expected)[pattern.rows, :n].max() <= tolerance * np.abs(expected).max()
    untouched = np.ones(20, bool)
    untouched[pattern.rows] = False
    assert np.array_equal(result[untouched], before[untouched])
    assert np.array_equal(result[:, n:], before[:, n:])


@pytest.mark.parametrize("sizes", GROUPS.values(), ids=GROUPS)
def test_derivatives_by_the_weights_are_inner_products(sizes):
    rng = np.random.default_rng(2)
    pattern = _pattern(sizes)
    products = pattern.packed(np.zeros((20, 9)), np.float64)
    result, source = rng.standard_normal((20, PITCH)), rng.standard_normal((9, PITCH))
    sums = np.ones(pattern.row.size)
    differentiated(sums, result, source, products, 32)
    expected = 1 + (result[:, :32] @ source[:, :32].T)[pattern.row, pattern.column]
    assert np.allclose(sums, expected, rtol=1e-12)
