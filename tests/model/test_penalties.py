"""The penalties as functions of one variable."""

import numpy as np
import pytest

from tvdenoise.model.penalties import PENALTIES

EPSILON = 0.03
PENALTY = pytest.mark.parametrize("penalty", [kind(EPSILON) for kind in PENALTIES.values()], ids=PENALTIES)


@PENALTY
def test_the_weight_is_the_derivative_over_z(penalty):
    z = np.random.default_rng(1).uniform(1e-3, 0.3, 1000)
    step = 1e-7
    slope = (penalty.value((z + step) ** 2) - penalty.value((z - step) ** 2)) / (2 * step)
    assert np.allclose(penalty.weight(z**2) * z, slope, rtol=0, atol=1e-7)


@PENALTY
def test_the_slope_is_one_far_away_and_the_curvature_at_most_one_over_epsilon(penalty):
    far = 1e6 * EPSILON
    assert penalty.weight(np.array([far**2]))[0] * far == pytest.approx(1, abs=1e-9)
    z = np.linspace(-1, 1, 100001) * 4 * EPSILON
    slope = penalty.weight(z**2) * z
    curvature = np.diff(slope) / np.diff(z)
    assert penalty.curvature == pytest.approx(1 / EPSILON)
    assert 0.999 / EPSILON < curvature.max() <= 1.0000001 / EPSILON
    assert curvature.min() >= -1e-9  # rounding


def test_the_hyperbola_is_the_root_of_the_sum_of_squares():
    values = PENALTIES["hyperbolic"](3.0).value(np.array([0.0, 16.0]))
    assert np.array_equal(values, [3.0, 5.0])


def test_huber_is_quadratic_up_to_epsilon_and_linear_beyond():
    values = PENALTIES["huber"](2.0).value(np.array([0.0, 1.0, 4.0, 25.0]))
    assert np.array_equal(values, [0.0, 0.25, 1.0, 4.0])
