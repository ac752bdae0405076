"""Step rules on a quadratic whose curvatures are known, and on J."""

from itertools import pairwise

import numpy as np
import pytest

from support.samples import clean, crop, with_noise
from tvdenoise.model.engines import Evaluation, SparseEngine
from tvdenoise.model.objective import Objective
from tvdenoise.model.penalties import Hyperbolic
from tvdenoise.solver.descent import descend
from tvdenoise.solver.step_rules import BarzilaiBorwein, FixedStep

DOUBLE = np.dtype(np.float64)


def _objective(mu=14.0, epsilon=0.01):
    noisy = with_noise(crop(clean("camera")), 25 / 255, seed=1)
    return Objective(noisy[np.newaxis], mu, Hyperbolic(epsilon))


def _pair(curvatures, step_length, gradient):
    """Return the evaluations before and after a step on the quadratic with these curvatures; the value falls."""
    after = gradient - step_length * curvatures * gradient
    return (
        Evaluation(1.0, gradient @ gradient, 0.0),
        Evaluation(0.5, after @ after, after @ gradient),
    )


def test_the_fixed_step_is_one_over_the_lipschitz_constant():
    objective = _objective()
    rule = FixedStep(objective)
    start = Evaluation(1.0, 1.0, 0.0)
    assert rule.first(start) == 1 / objective.lipschitz
    assert rule.next(0.3, start, start) == 1 / objective.lipschitz


def test_the_step_is_the_inverse_curvature_if_there_is_only_one():
    objective = _objective()
    rule = BarzilaiBorwein(objective, DOUBLE)
    step_length = rule.first(Evaluation(1.0, 1.0, 0.0))
    before, after = _pair(np.full(5, 200.0), step_length, np.ones(5))
    assert rule.next(step_length, before, after) == pytest.approx(1 / 200)


def test_similar_curvatures_give_a_long_step_and_different_ones_a_short_step():
    gradient = np.ones(2)
    for curvatures, is_long in (([100.0, 120.0], True), ([20.0, 700.0], False)):
        rule = BarzilaiBorwein(_objective(), DOUBLE)
        step_length = rule.first(Evaluation(1.0, 1.0, 0.0))
        curvature = np.array(curvatures)
        before, after = _pair(curvature, step_length, gradient)
        expected = 2 / curvature.sum() if is_long else curvature.sum() / (curvature @ curvature)
        assert rule.next(step_length, before, after) == pytest.approx(expected)


def test_steps_stay_between_one_over_l_and_one_over_mu():
    objective = _objective()
    for curvature, expected in ((1e-3, 1 / objective.mu), (1e9, 1 / objective.lipschitz)):
        rule = BarzilaiBorwein(objective, DOUBLE)
        step_length = rule.first(Evaluation(1.0, 1.0, 0.0))
        before, after = _pair(np.full(3, curvature), step_length, np.ones(3))
        assert rule.next(step_length, before, after) == pytest.approx(expected)


def test_a_value_that_stays_too_high_leads_to_steps_of_one_over_l_until_it_falls():
    objective = _objective()
    rule = BarzilaiBorwein(objective, DOUBLE)
    step_length = rule.first(Evaluation(1.0, 1.0, 0.0))
    remaining = 1 - 200 * step_length  # of the gradient, where the curvature is 200
    high = Evaluation(2.0, remaining**2, remaining)
    steps = [rule.next(step_length, Evaluation(1.0, 1.0, 0.0), high) for _ in range(12)]
    assert steps[0] > 1 / objective.lipschitz
    assert steps[-4:] == [1 / objective.lipschitz] * 4
    low = Evaluation(0.9, remaining**2, remaining)
    assert rule.next(step_length, Evaluation(1.0, 1.0, 0.0), low) > 1 / objective.lipschitz


@pytest.mark.parametrize("rule", [FixedStep, lambda objective: BarzilaiBorwein(objective, DOUBLE)])
def test_both_rules_reach_the_minimum(rule):
    objective = _objective()
    engine = SparseEngine(objective, objective.noisy)
    for count, evaluation in enumerate(descend(engine, rule(objective)), start=1):
        if objective.distance_bound(evaluation.squared_gradient_norm) < 1e-6:
            break
        assert count < 2000
    assert np.linalg.norm(objective.gradient(engine.iterate)) < 1e-6 * objective.mu * engine.iterate.size


def test_the_fixed_step_never_lets_the_value_rise():
    objective = _objective()
    engine = SparseEngine(objective, objective.noisy)
    states = descend(engine, FixedStep(objective))
    values = [next(states).value for _ in range(60)]
    assert all(after <= before for before, after in pairwise(values))


def test_barzilai_borwein_needs_less_than_a_third_of_the_fixed_steps():
    objective = _objective()
    counts = []
    for rule in (FixedStep(objective), BarzilaiBorwein(objective, DOUBLE)):
        engine = SparseEngine(objective, objective.noisy)
        for count, evaluation in enumerate(descend(engine, rule), start=1):
            if objective.distance_bound(evaluation.squared_gradient_norm) < 0.03 / objective.mu:
                counts.append(count)
                break
    assert counts[1] < counts[0] / 3
