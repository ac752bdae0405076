"""Step rules on a quadratic whose curvatures are known, and on J."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from support.banks import small_prior
from support.samples import clean, crop, with_noise
from tvdenoise.model.engines import Evaluation, FusedEngine, Move, SparseEngine
from tvdenoise.model.filters import FilterObjective, FilterPrior
from tvdenoise.model.objective import Objective
from tvdenoise.model.penalties import PENALTIES, Hyperbolic
from tvdenoise.solver.descent import descend
from tvdenoise.solver.step_rules import SAFE_STEP, BarzilaiBorwein, FixedStep, QuasiNewton

DOUBLE = np.dtype(np.float64)


def _objective(mu=14.0, epsilon=0.01):
    noisy = with_noise(crop(clean("camera")), 25 / 255, seed=1)
    return Objective(noisy[np.newaxis], mu, Hyperbolic(epsilon))


START = Evaluation(1.0, 1.0, 0.0)
METRIC = np.linspace(1, 9, 5)


def _after(curvatures, step_length, value=0.5):
    """Return the evaluation after a step along d = 1 on the quadratic with these curvatures, in units of the metric."""
    before = np.ones(len(METRIC))
    after = before - step_length * curvatures * before
    gradient = METRIC * after
    return Evaluation(
        value,
        gradient @ gradient,
        gradient @ before,
        squared_length_before=before @ (METRIC * before),
        squared_length=gradient @ after,
    )


def test_the_fixed_step_is_one_over_the_lipschitz_constant():
    objective = _objective()
    rule = FixedStep(objective)
    assert rule.first(START) == 1 / objective.lipschitz
    assert rule.next(0.3, START) == 1 / objective.lipschitz


def test_the_step_is_the_inverse_curvature_if_there_is_only_one():
    rule = BarzilaiBorwein(_objective(), DOUBLE)
    step_length = rule.first(START)
    assert rule.next(step_length, _after(np.full(5, 0.8), step_length)) == pytest.approx(1 / 0.8)


def test_similar_curvatures_give_a_long_step_and_different_ones_a_short_step():
    for given, is_long in (([0.5, 0.6, 0.7, 0.6, 0.5], True), ([1.8, 0.4, 0.1, 0.1, 0.02], False)):
        rule = BarzilaiBorwein(_objective(), DOUBLE)
        step_length = rule.first(START)
        curvatures = np.array(given)
        first, second = np.sum(METRIC * curvatures), np.sum(METRIC * curvatures**2)
        expected = np.sum(METRIC) / first if is_long else first / second
        assert rule.next(step_length, _after(curvatures, step_length)) == pytest.approx(expected)


def test_steps_stay_between_the_safe_one_and_the_inverse_of_the_least_curvature_in_the_metric():
    objective = _objective()
    for curvature, expected in ((1e-9, objective.lipschitz / objective.mu), (1e9, SAFE_STEP)):
        rule = BarzilaiBorwein(objective, DOUBLE)
        step_length = rule.first(START)
        after = _after(np.full(5, curvature), step_length)
        assert rule.next(step_length, after) == pytest.approx(expected)


def test_values_that_stay_too_high_lead_to_safe_steps_which_grow_while_the_value_falls():
    rule = BarzilaiBorwein(_objective(), DOUBLE)
    step_length = rule.first(START)
    curvature = np.full(5, 0.8)

    def steps_after(values):
        return [rule.next(step_length, _after(curvature, step_length, value)) for value in values]

    risen = steps_after(np.linspace(2, 3, 12))
    assert risen[0] > SAFE_STEP
    assert risen[-4:] == [SAFE_STEP] * 4
    assert steps_after([2.9, 2.8, 2.85]) == [2 * step_length, 2 * step_length, SAFE_STEP]
    assert steps_after(np.linspace(2.8, 2, 500))[-4:] == [SAFE_STEP] * 4
    assert rule.next(step_length, _after(curvature, step_length, value=0.9)) > SAFE_STEP


def _learned(rho=0.9):
    """A small image in noise, and learned filters."""
    steps = np.kron(np.arange(6.0).reshape(2, 3) % 4, np.ones((5, 4)))
    noisy = steps + np.random.default_rng(2).standard_normal(steps.shape)
    return FilterObjective(noisy[np.newaxis], FilterPrior(small_prior(rho=rho).bank, 1.0))


def test_quasi_newton_moves_are_those_of_explicit_bfgs_matrices():
    objective = _learned()
    engine = SparseEngine(objective, objective.noisy, preconditioned=True)
    rule = QuasiNewton(objective, DOUBLE)
    metric = objective.move_metric(engine.iterate)
    identity = np.eye(engine.iterate.size)
    scaled = np.stack([metric.divide(one.reshape(engine.iterate.shape)).ravel() for one in identity])
    iterates, gradients, moves, scales = [], [], [], []
    step = rule.start
    for count in range(12):
        evaluation = engine.advance(step)
        iterates.append(engine.iterate.ravel())
        gradients.append(objective.gradient(engine.iterate).ravel())
        step = rule.next(step, evaluation) if count else rule.first(evaluation)
        moves.append(step)
    assert moves[0] == Move(SAFE_STEP)
    for k in range(1, 11):
        s, y = iterates[k] - iterates[k - 1], gradients[k] - gradients[k - 1]
        turn = identity - np.outer(s, y) / (s @ y)
        scales.append((s @ y) / (y @ scaled @ y))
        scale = min(scales[-1], np.exp(np.mean(np.log(scales[-8:]))))
        inverse = scale * turn @ scaled @ turn.T + np.outer(s, s) / (s @ y)
        expected = -inverse @ gradients[k]
        assert np.allclose(
            iterates[k + 1] - iterates[k], expected, rtol=0, atol=1e-9 * np.linalg.norm(expected)
        )


def test_a_second_high_value_goes_back_to_where_the_slope_should_be_zero_and_then_gradient_steps_follow():
    rule = QuasiNewton(_learned(), DOUBLE)
    start = Evaluation(3.0, 1.0, 0.0, squared_length=4.0)
    assert rule.first(start) == Move(SAFE_STEP)  # the slope along it is −2
    fallen = Evaluation(1.0, 1.0, 1.0, squared_length_before=4.0, squared_length=4.0, change_product=-1.0)
    rule.next(Move(SAFE_STEP), fallen)
    risen = Evaluation(4.0, 1.0, 0.0, squared_length_before=4.0, squared_length=9.0, change_product=6.0)
    passed = rule.next(Move(SAFE_STEP), risen)
    assert passed.gradient > 0
    slope = passed.change * 6 - passed.gradient * 9
    assert slope < 0
    back = rule.next(passed, replace(risen, change_product=-4 * slope))
    assert back == pytest.approx(Move(0.0, 0.0, 1 / 5 - 1))
    rule.next(back, risen)
    assert rule.next(back, risen) == 0.0  # evaluates again in the metric that bounds the curvature
    assert rule.next(0.0, risen) == SAFE_STEP
    fallen = Evaluation(0.5, 1.0, 4.0, squared_length_before=9.0, squared_length=4.0, change_product=-1.0)
    assert rule.next(SAFE_STEP, fallen) == BarzilaiBorwein(_learned(), DOUBLE).next(SAFE_STEP, fallen)


def test_a_value_far_above_the_others_goes_back_at_once():
    rule = QuasiNewton(_learned(), DOUBLE)
    start = Evaluation(3.0, 1.0, 0.0, squared_length=4.0)
    rule.first(start)  # the slope along the move is −2
    risen = Evaluation(3.1, 1.0, 0.0, squared_length_before=4.0, squared_length=9.0, change_product=6.0)
    assert rule.next(Move(SAFE_STEP), risen) == pytest.approx(Move(0.0, 0.0, 2 / 8 - 1))


def test_a_value_after_a_high_one_counts_from_the_beginning_again():
    rule = QuasiNewton(_learned(), DOUBLE)
    rule.first(Evaluation(2.0, 1.0, 0.0, squared_length=4.0))
    low = Evaluation(0.9, 1.0, 0.0, squared_length_before=4.0, squared_length=3.0, change_product=-1.0)
    high = replace(low, value=2.5)
    rule.next(Move(SAFE_STEP), low)
    for _ in range(3):
        for evaluation in (high, low):
            assert rule.next(Move(SAFE_STEP), evaluation).gradient > 0  # and not back


def test_a_start_close_to_a_minimiser_needs_about_as_many_evaluations_as_gradient_steps():
    objective = _learned(0.95)
    near = SparseEngine(objective, objective.noisy, preconditioned=True)
    for evaluation in descend(near, BarzilaiBorwein(objective, DOUBLE)):
        if objective.distance_bound(evaluation.squared_gradient_norm) < 1e-8:
            break
    start = near.iterate + 0.03 * np.random.default_rng(3).standard_normal(near.iterate.shape)
    counts = []
    for rule in (QuasiNewton(objective, DOUBLE), BarzilaiBorwein(objective, DOUBLE)):
        engine = SparseEngine(objective, start, preconditioned=True)
        for count, evaluation in enumerate(descend(engine, rule), start=1):
            if objective.distance_bound(evaluation.squared_gradient_norm) < 0.01 or count == 400:
                break
        counts.append(count)
    assert counts[0] < 1.5 * counts[1]


@pytest.mark.parametrize("rho", [0, 0.95])
def test_quasi_newton_steps_reach_the_minimum_with_fewer_evaluations(rho):
    objective = _learned(rho)
    counts = []
    for rule in (QuasiNewton(objective, DOUBLE), BarzilaiBorwein(objective, DOUBLE)):
        engine = SparseEngine(objective, objective.noisy, preconditioned=True)
        for count, evaluation in enumerate(descend(engine, rule), start=1):
            if objective.distance_bound(evaluation.squared_gradient_norm) < 1e-8:
                break
            assert count < 400
        assert np.linalg.norm(objective.gradient(engine.iterate)) < 1e-7
        counts.append(count)
    assert counts[0] < counts[1]


def test_the_fused_engine_takes_no_steps_with_memory():
    objective = _objective()
    with (
        FusedEngine(objective, objective.noisy, 1) as engine,
        pytest.raises(ValueError, match="no direction"),
    ):
        engine.advance(Move(0.5))


RULES = pytest.mark.parametrize("is_fixed", [True, False])


def _descent(objective, *, is_fixed):
    """Return an engine that runs the definition, and its evaluations."""
    rule = FixedStep(objective) if is_fixed else BarzilaiBorwein(objective, DOUBLE)
    engine = SparseEngine(objective, objective.noisy, preconditioned=not is_fixed)
    return engine, descend(engine, rule)


@RULES
def test_both_rules_reach_the_minimum(is_fixed):
    objective = _objective()
    engine, evaluations = _descent(objective, is_fixed=is_fixed)
    for count, evaluation in enumerate(evaluations, start=1):
        if objective.distance_bound(evaluation.squared_gradient_norm) < 1e-6:
            break
        assert count < 2000
    assert np.linalg.norm(objective.gradient(engine.iterate)) < 1e-6 * objective.mu * engine.iterate.size


def test_the_fixed_step_never_lets_the_value_rise():
    _, evaluations = _descent(_objective(), is_fixed=True)
    values = [next(evaluations).value for _ in range(60)]
    assert all(after <= before for before, after in pairwise(values))


@pytest.mark.parametrize("tv", ["isotropic", "anisotropic"])
@pytest.mark.parametrize("penalty", PENALTIES.values())
def test_safe_steps_never_let_the_value_rise(penalty, tv):
    noisy = with_noise(crop(clean("camera")), 25 / 255, seed=1)
    planes = np.stack([noisy, noisy[::-1], noisy.T])
    objective = Objective(planes, 14.0, penalty(0.01), tv, (1.0, 3.0, 3.0), (1.0, 0.5))
    engine = SparseEngine(objective, planes, preconditioned=True)
    values = [engine.advance(step).value for step in (0.0, *[SAFE_STEP] * 25)]
    assert all(after <= before for before, after in pairwise(values))


def test_barzilai_borwein_needs_less_than_a_fifth_of_the_fixed_steps():
    objective = _objective()
    counts = []
    for is_fixed in (True, False):
        _, evaluations = _descent(objective, is_fixed=is_fixed)
        for count, evaluation in enumerate(evaluations, start=1):
            if objective.distance_bound(evaluation.squared_gradient_norm) < 0.03 / objective.mu:
                counts.append(count)
                break
    assert counts[1] < counts[0] / 5
