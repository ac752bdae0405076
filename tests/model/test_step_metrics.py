"""The metrics of the steps: inverses, and bounds of the curvature."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.linalg import block_diag

from support.banks import random_bank
from tvdenoise.model.filters import FilterObjective, FilterPrior
from tvdenoise.model.step_metrics import PixelMetric, SpectralMetric

#: channels of the bank and of the image, rows, columns, groups, filters of a group, side, some of scale 2.
CASES = [
    (1, 1, 9, 7, 4, 2, 7, False),
    (1, 2, 4, 11, 4, 1, 5, False),
    (1, 1, 10, 13, 4, 2, 7, True),
    (3, 3, 5, 6, 3, 1, 3, False),
    (2, 2, 7, 4, 5, 2, 5, True),
    (1, 1, 1, 8, 2, 1, 3, False),
]


def _explicit(case):
    """Return the objective and ½ Σ w KᵀK + 1 as a dense matrix, for images in a row of pixels."""
    of_bank, channels, rows, columns, count, members, side, coarse = case
    bank = random_bank(count, of_bank, side, coarse=coarse, members=members)
    noisy = np.random.default_rng(3).standard_normal((channels, rows, columns))
    objective = FilterObjective(noisy, FilterPrior(bank, 1.0))
    operators = [operator.toarray() for operator in objective.prior.operators((rows, columns))]
    weights = np.maximum(bank.potentials.curvature, bank.potentials.concavity)
    repeated = np.repeat(weights, members * rows * columns)[:, None]
    blocks = [np.eye(rows * columns) + operator.T @ (repeated * operator) / 2 for operator in operators]
    return objective, block_diag(*blocks * (channels // of_bank))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_spectral_metric_is_the_explicit_matrix(case):
    objective, matrix = _explicit(case)
    noisy = objective.noisy
    metric = objective.metric(noisy)
    assert np.allclose(metric.times(noisy).ravel(), matrix @ noisy.ravel(), rtol=1e-10, atol=1e-10)
    expected = np.linalg.solve(matrix, noisy.ravel())
    assert np.allclose(metric.divide(noisy).ravel(), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_no_curvature_is_above_twice_the_metric(case):
    objective, matrix = _explicit(case)
    shape = objective.noisy.shape
    factor = np.linalg.inv(np.linalg.cholesky(matrix))
    for x in (np.zeros(shape), 0.1 * objective.noisy, 3 * objective.noisy):
        columns = np.eye(x.size).reshape(-1, *shape)
        hessian = np.stack([objective.hessian_product(x, one).ravel() for one in columns])
        assert np.linalg.eigvalsh(factor @ hessian @ factor.T)[-1] <= 2 + 1e-9


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_metric_of_a_start_is_scaled_in_each_pixel(case):
    objective, matrix = _explicit(case)
    noisy = objective.noisy
    metric = objective.move_metric(0.1 * noisy)
    p = np.broadcast_to(metric.scaling, noisy.shape).ravel()
    explicit = matrix / p[:, None] / p
    assert np.allclose(metric.times(noisy).ravel(), explicit @ noisy.ravel(), rtol=1e-10, atol=1e-10)
    expected = np.linalg.solve(explicit, noisy.ravel())
    assert np.allclose(metric.divide(noisy).ravel(), expected, rtol=1e-10, atol=1e-10)
    assert p.min() >= 1
    assert np.ptp(p) > 0.01


def test_the_metric_of_moves_takes_each_potential_times_its_mean_gate():
    bank = random_bank(4, hidden=5)
    noisy = np.random.default_rng(3).standard_normal((2, 12, 17))
    objective = FilterObjective(noisy, FilterPrior(bank, 1.0))
    openness = objective.gated.gates.mean(axis=(0, 2, 3))
    assert openness.min() < 0.5
    ungated = replace(bank, gate=None)
    closed = replace(ungated, potentials=replace(bank.potentials, scale=bank.potentials.scale * openness))
    expected = FilterObjective(noisy, FilterPrior(closed, 1.0)).metric(noisy)
    found = objective.move_metric(noisy).whole
    assert np.allclose(found.inverse, expected.inverse, rtol=1e-12)
    assert not np.allclose(found.inverse, objective.metric(noisy).inverse, rtol=1e-3)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_local_curvature_is_the_diagonal_of_the_majorising_quadratic_when_it_is_constant(case):
    objective, _ = _explicit(case)
    bank, shape = objective.prior.bank, objective.noisy.shape
    found = objective.prior.local_curvature(np.zeros(shape))
    assert np.allclose(found, bank.largest_local_curvature)
    operators = [operator.toarray() for operator in objective.prior.operators(shape[1:])]
    ratios = np.repeat(bank.potentials.curvature, bank.members * found[0].size)[:, None]
    traces = [np.trace(operator.T @ (ratios * operator)) for operator in operators]
    if min(shape[1:]) > 3:  # else the filters meet themselves on the extended image
        assert np.mean(traces) / found[0].size == pytest.approx(bank.largest_local_curvature, rel=0.6)
    assert (objective.prior.local_curvature(objective.noisy) < found).all()


@pytest.mark.parametrize("threads", [1, 3])
def test_the_number_of_threads_changes_no_byte(threads):
    bank = random_bank(4)
    image = np.random.default_rng(4).random((2, 61, 83)).astype(np.float32)
    convolution = bank.bounding_convolution()
    one = SpectralMetric.of(convolution, (61, 83), np.float32).divide(image)
    assert np.array_equal(SpectralMetric.of(convolution, (61, 83), np.float32, threads).divide(image), one)


def test_the_pixel_metric_divides_where_it_is_not_zero():
    metric = PixelMetric(np.array([[2.0, 0.0, 0.5]]))
    image = np.array([[1.0, 3.0, 4.0]])
    assert np.array_equal(metric.divide(image), [[0.5, 0, 8]])
    assert np.array_equal(metric.times(image), [[2, 0, 2]])
