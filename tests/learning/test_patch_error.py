"""The derivative through the minimiser is a difference, and conjugate gradients invert the Hessian."""

from dataclasses import replace

import numpy as np
import pytest

from support.banks import random_bank, with_parities
from support.samples import clean, crop, with_noise
from tvdenoise.learning.patch_error import engine_for, minimise, patch_error
from tvdenoise.model.filter_engine import FilterEngine, Kernels
from tvdenoise.model.filters import FilterObjective, FilterPrior
from tvdenoise.model.prior_file import prior_named
from tvdenoise.solver.implicit import solve


@pytest.fixture
def bank():
    """A bank of which ρ is about 0.5."""
    bank = random_bank(3, members=2)
    rho = FilterPrior(bank, 1.0).concavity
    return replace(bank, potentials=replace(bank.potentials, scale=bank.potentials.scale * 0.5 / rho))


@pytest.fixture
def patch():
    rng = np.random.default_rng(0)
    clean = np.cumsum(rng.standard_normal((1, 12, 15)), axis=2)
    return clean, clean + rng.standard_normal(clean.shape)


def test_conjugate_gradients_invert_the_hessian(bank, patch):
    clean, noisy = patch
    objective = FilterObjective(noisy, FilterPrior(bank, 1.0))
    with FilterEngine(objective, noisy, threads=1) as engine:
        minimise(engine, 1e-6)
        found = solve(engine.hessian_product, clean, 1e-8)
        assert 0 < found.products < 200
        assert np.allclose(objective.hessian_product(engine.iterate, found.v), clean, rtol=0, atol=1e-6)


def test_the_derivative_through_the_minimiser_is_a_difference(bank, patch):
    clean, noisy = patch

    def error(bank):
        objective = FilterObjective(noisy, FilterPrior(bank, 1.0))
        return patch_error(objective, clean, Kernels(bank, 1.0, float), 1e-14, 1e-9)

    found = error(bank)
    h = 1e-4
    change = with_parities(np.random.default_rng(1).standard_normal(bank.filters.shape))
    ahead, behind = (replace(bank, filters=bank.filters + s * change) for s in (h, -h))
    difference = (error(ahead).error - error(behind).error) / (2 * h)
    assert np.vdot(found.by_bank.filters, change) == pytest.approx(difference, rel=1e-4)
    p = bank.potentials
    for name in ("scale", "inner", "share", "outer"):
        change = 0.1 * getattr(p, name) * (1 - p.share)
        ahead, behind = (
            replace(bank, potentials=replace(p, **{name: getattr(p, name) + s * change})) for s in (h, -h)
        )
        difference = (error(ahead).error - error(behind).error) / (2 * h)
        assert getattr(found.by_bank, name) @ change == pytest.approx(difference, rel=1e-4)


def test_a_looser_solve_costs_less_and_has_nearly_the_same_error(bank, patch):
    clean, noisy = patch
    objective = FilterObjective(noisy.astype(np.float32), FilterPrior(bank, 1.0))
    kernels = Kernels(bank, 1.0, np.float32)
    tight = patch_error(objective, clean.astype(np.float32), kernels, 1e-4, 1e-3)
    loose = patch_error(objective, clean.astype(np.float32), kernels, 1e-2, 1e-1)
    assert loose.evaluations < tight.evaluations
    assert loose.products < tight.products
    assert loose.error == pytest.approx(tight.error, rel=0.02)


def test_the_start_saves_half_of_the_evaluations_from_the_noisy_patch():
    noisy = with_noise(crop(clean("brick"), 96), 25 / 255, 0)[np.newaxis] * 255 / 25
    bank = prior_named("gated").suiting(1).bank
    objective = FilterObjective(noisy, FilterPrior(bank, 1.0))
    kernels = Kernels(bank, 1.0, noisy.dtype)
    with FilterEngine(objective, noisy, threads=1, kernels=kernels) as from_noisy:
        slow = minimise(from_noisy, 0.006)
    with engine_for(objective, kernels) as engine:
        assert minimise(engine, 0.006) < 0.5 * slow
