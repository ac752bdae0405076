"""The norm of ∇J that bounds the distance: explicit matrices, the largest distance that it allows, and the kernels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.linalg import block_diag

from support.banks import random_bank, small_prior
from tvdenoise.model.engines import SparseEngine
from tvdenoise.model.fidelity import HELD, Fidelity
from tvdenoise.model.filter_engine import FilterEngine
from tvdenoise.model.filters import FilterBank, FilterObjective, FilterPrior

#: channels of the bank and of the image, rows, columns, side of the filters, some of scale 2.
CASES = [(1, 1, 7, 9, 7, False), (1, 2, 5, 6, 5, True), (3, 3, 6, 4, 3, False), (1, 1, 1, 12, 5, True)]


def _problem(case):
    """An objective with ρ < 1, and C as a dense matrix."""
    of_bank, channels, rows, columns, side, coarse = case
    bank = random_bank(5, of_bank, side, coarse=coarse, members=2)
    bank = FilterBank(bank.filters * np.sqrt(0.9 / bank.concavity), bank.potentials, bank.scales)
    assert bank.concavity == pytest.approx(0.9)
    noisy = np.random.default_rng(4).standard_normal((channels, rows, columns))
    objective = FilterObjective(noisy, FilterPrior(bank, 1.0))
    weights = np.repeat(bank.potentials.concavity, 2 * rows * columns)[:, None]
    operators = [operator.toarray() for operator in objective.prior.operators((rows, columns))]
    blocks = [np.eye(rows * columns) - operator.T @ (weights * operator) for operator in operators]
    return objective, block_diag(*blocks * (channels // of_bank))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_no_curvature_is_below_the_matrix(case):
    objective, matrix = _problem(case)
    shape = objective.noisy.shape
    for x in (np.zeros(shape), 0.5 * objective.noisy, 3 * objective.noisy):
        columns = np.eye(x.size).reshape(-1, *shape)
        hessian = np.stack([objective.hessian_product(x, one).ravel() for one in columns])
        assert np.linalg.eigvalsh(hessian - matrix)[0] >= -1e-9


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_norm_is_that_of_explicit_matrices_and_at_most_the_plain_one(case):
    objective, matrix = _problem(case)
    least = np.linalg.eigvalsh(matrix)[0]
    assert least > objective.modulus
    ratio = (least / objective.modulus) ** 2
    factor = 2 * (ratio - np.sqrt(ratio**2 - ratio)) / least
    inverse = np.linalg.inv(factor * matrix - np.eye(len(matrix)))
    for seed in range(3):
        g = np.random.default_rng(seed).standard_normal(objective.noisy.shape)
        expected = (objective.modulus * factor / 2) ** 2 * g.ravel() @ inverse @ g.ravel()
        found = objective.squared_dual_norm(g)
        assert found == pytest.approx(expected, rel=1e-9)
        assert found < np.vdot(g, g)
    worst = np.linalg.eigh(matrix)[1][:, 0].reshape(objective.noisy.shape)
    assert objective.squared_dual_norm(worst) == pytest.approx(1, rel=1e-9)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_distance_that_strong_convexity_allows_is_within_the_bound(case):
    objective, matrix = _problem(case)
    values, vectors = np.linalg.eigh(matrix)
    rng = np.random.default_rng(5)
    largest = 0.0
    for _ in range(200):
        g = vectors @ (rng.standard_normal(len(values)) * rng.random(len(values)) ** 4)
        middle = np.linalg.solve(matrix, g) / 2  # of the ellipsoid ⟨g, e⟩ ≥ ⟨e, C e⟩
        direction = vectors @ (rng.standard_normal(len(values)) * np.where(np.arange(len(values)) < 2, 30, 1))
        radius = np.sqrt(middle @ matrix @ middle / (direction @ matrix @ direction))
        e = middle + radius * direction
        assert g @ e == pytest.approx(e @ matrix @ e)
        squared = objective.squared_dual_norm(g.reshape(objective.noisy.shape))
        largest = max(largest, objective.modulus * np.linalg.norm(e) / np.sqrt(squared))
    assert 0.3 < largest <= 1


def test_without_concavity_it_is_the_plain_norm():
    bank = random_bank(4)
    bank = FilterBank(bank.filters, replace(bank.potentials, share=np.zeros(4)))
    noisy = np.random.default_rng(2).standard_normal((1, 8, 9))
    objective = FilterObjective(noisy, FilterPrior(bank, 1.0))
    assert objective.squared_dual_norm(noisy) == pytest.approx(np.vdot(noisy, noisy), rel=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("is_held", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_engine_has_the_norm_of_the_definition(channels, is_held, dtype):
    rng = np.random.default_rng(6)
    noisy, start = rng.random((2, channels, 20, 33)).astype(dtype)
    fidelity = Fidelity(np.where(rng.random((20, 33)) < 0.2, HELD, 1.0)) if is_held else None
    objective = FilterObjective(noisy, FilterPrior(small_prior().bank, 0.1), fidelity)
    slow = SparseEngine(objective, start, preconditioned=True)
    with FilterEngine(objective, start, threads=2) as engine:
        found, expected = (one.sharpened(one.advance(0.0)) for one in (engine, slow))
    assert found.squared_dual_norm == pytest.approx(expected.squared_dual_norm, rel=1e-4)
    assert found.squared_dual_norm < found.squared_gradient_norm
