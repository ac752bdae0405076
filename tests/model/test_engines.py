"""The fast engines equal the definition, for every shape and any number of threads."""

import numpy as np
import pytest

from tvdenoise.model import engines
from tvdenoise.model.engines import FusedEngine, SparseEngine
from tvdenoise.model.fidelity import ABSENT, HELD, Fidelity
from tvdenoise.model.objective import Objective
from tvdenoise.model.penalties import PENALTIES
from tvdenoise.options import Options, specs

TOTAL_VARIATIONS = specs(Options)["tv"].kind.names

SHAPES = [
    (1, 1, 1), (1, 1, 2), (1, 1, 130), (1, 9, 1), (1, 2, 2), (1, 63, 65), (1, 300, 7), (2, 5, 4), (3, 1, 1),
    (3, 1, 37), (3, 41, 1), (3, 33, 70), (4, 66, 31),
]  # fmt: skip
PRECISIONS = [(np.float32, 1e-5), (np.float64, 1e-12)]
MODELS = pytest.mark.parametrize(
    ("tv", "penalty"), [(tv, kind(0.03)) for tv in TOTAL_VARIATIONS for kind in PENALTIES.values()]
)


@pytest.fixture
def narrow_bands(monkeypatch):
    """Use many bands even for a small image."""
    monkeypatch.setattr(engines, "_PIXELS_PER_BAND", 1)
    monkeypatch.setattr(engines, "_ROWS_PER_BAND", 4)
    monkeypatch.setattr(engines, "_VOXELS_PER_BAND", 1)
    monkeypatch.setattr(engines, "_ROWS_PER_VOLUME_BAND", 4)


def _objective(shape, dtype, tv, penalty):
    rng = np.random.default_rng([*shape])
    weights = tuple(rng.uniform(0.5, 3, shape[0]))
    return Objective(rng.random(shape).astype(dtype), 14.0, penalty, tv, weights), rng.random(shape).astype(
        dtype
    )


def _assert_equals_the_definition(engine, evaluation, objective, tolerance):
    x = engine.iterate
    part = objective.total_variation_gradient(x)
    gradient = objective.gradient(x)
    scale = np.linalg.norm(part) + objective.mu * np.linalg.norm(x - objective.noisy)
    assert np.linalg.norm(engine.direction - gradient) <= tolerance * scale
    assert evaluation.value == pytest.approx(objective.value(x), rel=tolerance)
    assert evaluation.squared_gradient_norm == pytest.approx(
        np.vdot(gradient, gradient), abs=tolerance * scale**2
    )


@pytest.mark.slow
@MODELS
@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.usefixtures("narrow_bands")
def test_one_fused_evaluation_equals_the_definition(shape, dtype, tolerance, tv, penalty):
    objective, start = _objective(shape, dtype, tv, penalty)
    with FusedEngine(objective, start, threads=2) as engine:
        _assert_equals_the_definition(engine, engine.advance(0.0), objective, tolerance)


@pytest.mark.slow
@MODELS
@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.usefixtures("narrow_bands")
def test_a_fused_step_follows_the_negative_gradient_and_evaluates_there(shape, dtype, tolerance, tv, penalty):
    objective, start = _objective(shape, dtype, tv, penalty)
    with FusedEngine(objective, start, threads=2) as engine:
        engine.advance(0.0)
        before, gradient = engine.iterate.copy(), engine.direction.copy()
        evaluation = engine.advance(0.01)
        assert np.allclose(engine.iterate, before - 0.01 * gradient, rtol=0, atol=tolerance)
        _assert_equals_the_definition(engine, evaluation, objective, tolerance)
        product = np.vdot(engine.direction.astype(float), gradient)
        scale = np.linalg.norm(gradient) * np.linalg.norm(engine.direction)
        assert abs(evaluation.gradient_product - product) <= tolerance * scale


METRIC_SHAPES = [(1, 1, 1), (1, 9, 1), (2, 5, 4), (3, 18, 23), (1, 3, 9, 11), (3, 4, 13, 6)]


def _uneven(shape, tv, penalty, *, has_codes):
    """Return an objective with unequal channels and axes and, if asked, pixels of every kind, and a start."""
    rng = np.random.default_rng([*shape])
    noisy, start = rng.random(shape), rng.random(shape)
    factors = rng.uniform(0.5, 3, shape[0]), rng.uniform(0.3, 1, len(shape) - 1)
    fidelity = Fidelity(rng.choice([HELD, ABSENT, 0.0, 0.5, 2.0], shape[1:])) if has_codes else None
    if fidelity is not None:
        start[:, ~fidelity.is_free] = noisy[:, ~fidelity.is_free]
    return Objective(noisy, 14.0, penalty, tv, *map(tuple, factors), fidelity), start


@MODELS
@pytest.mark.parametrize("has_codes", [False, True])
@pytest.mark.parametrize("shape", METRIC_SHAPES)
def test_the_metric_is_the_diagonal_of_the_quadratic_that_touches_the_objective(
    shape, has_codes, tv, penalty
):
    objective, x = _uneven(shape, tv, penalty, has_codes=has_codes)
    step = 1e-4
    metric = objective.metric(x).diagonal.ravel()
    differences = objective.image_gradient @ x.ravel()
    weights = penalty.weight(objective._squared_lengths(differences))
    weights = np.tile(weights, differences.size // weights.size)
    free = (
        np.ones(shape, bool)
        if objective.fidelity is None
        else objective.fidelity.is_free & np.ones(shape, bool)
    )
    for unknown in np.random.default_rng(1).permutation(np.flatnonzero(free))[:5]:
        moved = x.ravel().copy()
        moved[unknown] += step
        change = objective.image_gradient @ moved - differences
        fidelity = (
            1.0 if objective.fidelity is None else objective.fidelity.coded.ravel()[unknown % x[0].size]
        )
        curvature = weights @ change**2 / step**2 + objective.mu * fidelity
        assert metric[unknown] == pytest.approx(curvature, rel=1e-6, abs=1e-9)


@MODELS
@pytest.mark.parametrize("has_codes", [False, True])
@pytest.mark.parametrize("shape", METRIC_SHAPES)
@pytest.mark.usefixtures("narrow_bands")
def test_preconditioned_steps_equal_those_of_the_definition(shape, has_codes, tv, penalty):
    objective, start = _uneven(shape, tv, penalty, has_codes=has_codes)
    slow = SparseEngine(objective, start, preconditioned=True)
    with FusedEngine(objective, start, 2, preconditioned=True) as fast:
        for step in (0.0, 0.3, 0.7):
            expected, found = slow.advance(step), fast.advance(step)
            scale = expected.squared_gradient_norm + 1
            for name in ("value", "gradient_product", "squared_length_before", "squared_length"):
                assert getattr(found, name) == pytest.approx(
                    getattr(expected, name), rel=1e-10, abs=1e-12 * scale
                )
        assert np.allclose(fast.direction, slow.direction, rtol=0, atol=1e-10)
        assert np.allclose(fast.iterate, slow.iterate, rtol=0, atol=1e-12)


def test_the_sparse_engine_follows_the_negative_gradient():
    objective, start = _objective((3, 5, 6), np.float64, "isotropic", PENALTIES["hyperbolic"](0.03))
    engine = SparseEngine(objective, start)
    engine.advance(0.0)
    first = objective.gradient(start)
    evaluation = engine.advance(0.01)
    second = objective.gradient(start - 0.01 * first)
    assert np.array_equal(engine.direction, second)
    assert evaluation.value == objective.value(start - 0.01 * first)
    assert evaluation.squared_gradient_norm == pytest.approx(np.vdot(second, second))
    assert evaluation.gradient_product == pytest.approx(np.vdot(second, first))


@pytest.mark.parametrize("shape", [(1, 700, 300), (3, 400, 350)])
def test_the_number_of_threads_never_changes_a_byte(shape):
    objective, start = _objective(shape, np.float32, "isotropic", PENALTIES["hyperbolic"](0.03))
    results = []
    for threads in (1, 2, 3, 7):
        with FusedEngine(objective, start, threads) as engine:
            evaluations = [engine.advance(step) for step in (0.0, 0.001, 0.01, 0.002)]
            results.append((engine.iterate.tobytes(), engine.direction.tobytes(), evaluations))
    assert len(engine._starts) > 3, "the image must be cut into bands for this to test anything"
    assert all(result == results[0] for result in results[1:])


def test_neither_the_start_nor_the_noisy_image_is_modified():
    objective, start = _objective((1, 20, 20), np.float32, "isotropic", PENALTIES["hyperbolic"](0.03))
    kept = start.copy(), objective.noisy.copy()
    with FusedEngine(objective, start, 1) as engine:
        engine.advance(0.0)
        engine.advance(0.01)
    assert np.array_equal(start, kept[0])
    assert np.array_equal(objective.noisy, kept[1])


@pytest.mark.parametrize("gap", [0, 16, 64, 4096])
@pytest.mark.parametrize("shape", [(1, 1, 200), (1, 2, 203), (3, 4, 130)])
def test_where_arrays_lie_in_memory_never_changes_a_byte(shape, gap):
    objective, start = _objective(shape, np.float32, "isotropic", PENALTIES["hyperbolic"](0.03))
    results = []
    for is_in_order in (True, False):
        engine = FusedEngine(objective, start, 1, preconditioned=True)
        memory = np.empty(3 * (start.nbytes + gap), np.uint8)
        places = [memory[k * (start.nbytes + gap) :][: start.nbytes] for k in range(3)]
        if not is_in_order:
            places.reverse()
        x, d, noisy = (place.view(np.float32).reshape(engine.operands.x.shape) for place in places)
        x[...], d[...], noisy[...] = engine.operands.x, 0, engine.operands.noisy
        engine.operands = engine.operands._replace(x=x, d=d, noisy=noisy)
        evaluations = [engine.advance(step) for step in (0.0, 0.5, 0.7)]
        results.append((x.tobytes(), d.tobytes(), evaluations))
    engine = FusedEngine(objective, start, 1, preconditioned=True)
    evaluations = [engine.advance(step) for step in (0.0, 0.5, 0.7)]
    results.append((engine.iterate.tobytes(), engine.direction.tobytes(), evaluations))
    assert results[0] == results[1] == results[2]
