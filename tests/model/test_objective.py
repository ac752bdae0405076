"""J, its gradient and its constants, by the definition."""

import numpy as np
import pytest

from tvdenoise.model.objective import Objective
from tvdenoise.model.penalties import PENALTIES, Huber, Hyperbolic
from tvdenoise.options import Options, specs

TOTAL_VARIATIONS = specs(Options)["tv"].kind.names

MODELS = [(tv, kind) for tv in TOTAL_VARIATIONS for kind in PENALTIES.values()]


def _objective(tv, penalty, *, seed=1, channels=3):
    rng = np.random.default_rng(seed)
    weights = tuple(rng.uniform(0.5, 3, channels))
    return Objective(rng.random((channels, 7, 5)), 14.0, penalty, tv, weights)


@pytest.mark.parametrize(("tv", "kind"), MODELS)
def test_the_gradient_is_the_difference_quotient_of_the_value(tv, kind):
    objective = _objective(tv, kind(0.05))
    rng = np.random.default_rng(2)
    x, direction = rng.random(objective.noisy.shape), rng.normal(size=objective.noisy.shape)
    step = 1e-6
    quotient = (objective.value(x + step * direction) - objective.value(x - step * direction)) / (2 * step)
    slope = np.vdot(objective.gradient(x), direction)
    assert quotient == pytest.approx(slope, rel=1e-7)


@pytest.mark.parametrize(("tv", "kind"), MODELS)
def test_the_gradient_is_mu_strongly_monotone_and_lipschitz(tv, kind):
    objective = _objective(tv, kind(0.05))
    rng = np.random.default_rng(3)
    for scale in (1e-4, 1e-2, 1.0):
        x = rng.random(objective.noisy.shape)
        y = x + scale * rng.normal(size=x.shape)
        change = objective.gradient(x) - objective.gradient(y)
        assert np.vdot(change, x - y) >= objective.mu * np.vdot(x - y, x - y)
        assert np.linalg.norm(change) <= objective.lipschitz * np.linalg.norm(x - y)


def test_the_lipschitz_constant_is_nearly_attained_by_a_checkerboard():
    signs = (-1.0) ** np.add.outer(np.arange(40), np.arange(40))[np.newaxis]
    objective = Objective(np.zeros((1, 40, 40)), 14.0, Huber(0.05))
    change = objective.gradient(1e-3 * signs) - objective.gradient(np.zeros_like(signs))
    ratio = np.linalg.norm(change) / (1e-3 * np.linalg.norm(signs))
    assert objective.lipschitz == pytest.approx(14 + 8 / 0.05)
    assert 0.95 * objective.lipschitz < ratio <= objective.lipschitz


def test_the_lipschitz_constant_grows_with_the_square_of_the_chroma_weight():
    objective = Objective(np.zeros((3, 2, 2)), 14.0, Hyperbolic(0.1), "isotropic", (1.0, 3.0, 3.0))
    assert objective.lipschitz == pytest.approx(14 + 8 * 9 / 0.1)


def test_isotropic_variation_couples_channels_and_anisotropic_does_not():
    noisy = np.zeros((2, 2, 2))
    x = noisy.copy()
    x[0, 1], x[1, :, 1] = 3.0, 4.0  # 3 down in the first channel, 4 across in the second
    values = [Objective(noisy, 2.0, Hyperbolic(1e-9), tv, (1.0, 1.0)).value(x) for tv in TOTAL_VARIATIONS]
    fidelity = np.vdot(x, x)
    assert values == pytest.approx([fidelity + 5 + 3 + 4, fidelity + 3 + 3 + 4 + 4])


def test_the_distance_bound_is_the_gradient_norm_over_mu_root_n():
    objective = Objective(np.zeros((1, 5, 5)), 4.0, Hyperbolic(0.1))
    assert objective.distance_bound(100.0) == pytest.approx(10 / (4 * 5))
