"""Products of a sparse matrix with rows equal those of numpy."""

from __future__ import annotations

import numpy as np
import pytest

from tvdenoise.model.kernels import kernel
from tvdenoise.model.products import (
    DIFFERENCE,
    LANES,
    LARGEST,
    PITCH,
    SUM,
    WIDTH,
    Pattern,
    add_inner_products,
    multiply,
    rows_as_sources,
)

PRECISIONS = [(np.float32, 1e-5), (np.float64, 1e-13)]
#: The sources: nine rows, then sums and differences of rows at some distance.
SOURCES = np.concatenate(
    [
        rows_as_sources(9),
        [(kind, k * PITCH + 5, k * PITCH + 5 - shift) for k, kind, shift in [(0, SUM, 3), (4, SUM, -2)]],
        [
            (kind, k * PITCH + 5, k * PITCH + 5 - shift)
            for k, kind, shift in [(8, DIFFERENCE, 1), (4, DIFFERENCE, -5)]
        ],
    ]
)
#: Rows and sources of each group, out of 20 rows and 13 sources.
GROUPS = {
    "all sizes of blocks": [(size, 3 + size) for size in range(1, LARGEST)],
    "several blocks": [(LARGEST + 1, 13), (2 * LARGEST, 2)],
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
    groups = [
        (own, rng.permutation(len(SOURCES))[:shared]) for own, (_, shared) in zip(rows, sizes, strict=False)
    ]
    return Pattern.of(groups, SOURCES)


def _sources(array, n):
    """Return the first n columns of all sources, by slices."""
    values = array.ravel()
    found = []
    for kind, one, other in SOURCES:
        a, b = values[one : one + n], values[other : other + n]
        found.append(a + b if kind == SUM else a - b if kind == DIFFERENCE else a)
    return np.array(found)


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("n", [LANES, WIDTH])
@pytest.mark.parametrize("sizes", GROUPS.values(), ids=GROUPS)
def test_products_equal_those_of_the_whole_matrix(sizes, n, dtype, tolerance):
    rng = np.random.default_rng(1)
    pattern = _pattern(sizes)
    matrix = np.zeros((20, len(SOURCES)))
    matrix[pattern.row, pattern.column] = rng.standard_normal(pattern.row.size)
    products = pattern.packed(matrix, dtype)
    assert np.allclose(pattern.unpacked(products.weights, matrix.shape), matrix, rtol=1e-6)
    result, source = rng.random((20, PITCH)).astype(dtype), rng.standard_normal((9, PITCH)).astype(dtype)
    before = result.copy()
    multiplied(result, source, products, n)
    expected = matrix @ _sources(source.astype(float), n)
    assert np.abs(result[:, :n] - expected)[pattern.rows // PITCH].max() <= tolerance * np.abs(expected).max()
    untouched = np.ones(20, bool)
    untouched[pattern.rows // PITCH] = False
    assert np.array_equal(result[untouched], before[untouched])
    assert np.array_equal(result[:, n:], before[:, n:])


@pytest.mark.parametrize("sizes", GROUPS.values(), ids=GROUPS)
def test_derivatives_by_the_weights_are_inner_products(sizes):
    rng = np.random.default_rng(2)
    pattern = _pattern(sizes)
    products = pattern.packed(np.zeros((20, len(SOURCES))), np.float64)
    result, source = rng.standard_normal((20, PITCH)), rng.standard_normal((9, PITCH))
    sums = np.ones(pattern.row.size)
    differentiated(sums, result, source, products, 32)
    expected = 1 + (result[:, :32] @ _sources(source, 32).T)[pattern.row, pattern.column]
    assert np.allclose(sums, expected, rtol=1e-12)
