"""With learned filters, the certificate holds against an independent minimiser, and the minimiser is unique."""

from dataclasses import replace

import numpy as np
import pytest

from support.banks import random_gate
from support.minimisers import independent_minimiser
from tvdenoise.learning.patch_error import minimise
from tvdenoise.learning.weights import Terms, starting_weights
from tvdenoise.model.filter_engine import FilterEngine
from tvdenoise.model.filters import FilterObjective, FilterPrior

LEVEL = 0.1


def _objective(rho, channels, shape, dtype, hidden=6):
    """A noisy image of steps, and the start of a course with shares so large that ρ is at its limit.

    hidden: hidden values of a gate that differs much between pixels; 0 for no gate.
    """
    rng = np.random.default_rng([channels, *shape])
    terms = Terms(rho=rho, coarse=8, group=2)
    weights = starting_weights(terms, 32, channels)
    bank = terms.bank(weights._replace(share=weights.share + 3, outer=weights.outer - 2))
    assert FilterPrior(bank, LEVEL).concavity == pytest.approx(rho)
    bank = replace(bank, gate=random_gate(16, hidden) if hidden else None)
    steps = (np.indices(shape).sum(axis=0) // 9 % 2) * np.arange(1, channels + 1)[:, None, None] / channels
    noisy = steps + LEVEL * rng.standard_normal((channels, *shape))
    return FilterObjective(noisy.astype(dtype), FilterPrior(bank, LEVEL))


def _rms(difference):
    return np.sqrt(np.mean(np.square(difference)))


def _solved(objective, start, tolerance):
    """The iterate and its bound."""
    with FilterEngine(objective, start.astype(objective.noisy.dtype), threads=1) as engine:
        minimise(engine, tolerance * objective.convexity)
        evaluation = engine.sharpened(engine.advance(0.0))
        return engine.iterate, objective.distance_bound(evaluation.squared_dual_norm)


CASES = [
    (0, 1, (11, 13), np.float32),
    (0.9, 1, (11, 13), np.float32, 0),
    (0.9, 1, (3, 5), np.float64),
    (0.9, 3, (7, 9), np.float32),
    (0.95, 1, (17, 4), np.float32),
    (0.95, 1, (1, 25), np.float64),
]
LARGE = [(rho, channels, (48, 48), np.float32) for rho in (0, 0.9, 0.95) for channels in (1, 3)]


@pytest.mark.parametrize(
    "case",
    [*CASES, *(pytest.param(case, marks=pytest.mark.slow) for case in LARGE)],
    ids=str,
)
def test_the_distance_to_an_independent_minimiser_is_below_the_bound(case):
    objective = _objective(*case)
    truth, error = independent_minimiser(replace(objective, noisy=objective.noisy.astype(float)))
    for tolerance in (0.3 * LEVEL, 0.05 * LEVEL):
        found, bound = _solved(objective, objective.noisy, tolerance)
        assert bound <= tolerance
        assert _rms(found - truth) <= bound + error + 1e-6


@pytest.mark.parametrize("rho", [0, 0.95])
def test_three_starts_lead_to_one_minimiser(rho):
    objective = _objective(rho, 1, (19, 22), np.float64)
    rng = np.random.default_rng(0)
    starts = (objective.noisy, np.zeros_like(objective.noisy), rng.standard_normal(objective.noisy.shape))
    found, bounds = zip(*(_solved(objective, start, 1e-4 * LEVEL) for start in starts), strict=True)
    for k in (1, 2):
        assert _rms(found[k] - found[0]) <= bounds[k] + bounds[0]
        assert _rms(found[k] - objective.noisy) > 100 * bounds[k]
