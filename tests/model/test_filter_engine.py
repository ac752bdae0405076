"""The fused kernel for learned filters equals the definition, at every border and for any number of threads."""

from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest

from support.banks import random_bank, with_parities
from tvdenoise.model import filter_kernels
from tvdenoise.model.engines import Move, SparseEngine
from tvdenoise.model.fidelity import ABSENT, HELD, Fidelity
from tvdenoise.model.filter_engine import FilterEngine, Kernels, gates_of
from tvdenoise.model.filters import FilterObjective, FilterPrior
from tvdenoise.model.gates import ByGate
from tvdenoise.solver.step_rules import SAFE_STEP

#: channels, rows, columns, groups, filters of a group, side, whether every second group is of scale 2, and the hidden
#: values of the gate, if it has one.
CASES = [
    (1, 1, 1, 2, 2, 7, False),
    (1, 2, 530, 7, 1, 7, False),
    (1, 13, 5, 4, 1, 7, False),
    (2, 4, 9, 3, 1, 5, False),
    (3, 3, 519, 4, 3, 3, False),
    (1, 140, 9, 5, 1, 9, False),
    (1, 11, 13, 4, 2, 7, True),
    (1, 5, 530, 5, 1, 7, True),
    (2, 30, 7, 6, 1, 5, True),
    (1, 40, 530, 5, 2, 5, True, 4),
    (3, 9, 31, 3, 1, 7, False, 7),
    (2, 5, 7, 4, 1, 3, True, 1),
    (1, 1, 2, 3, 1, 3, True),
]
PRECISIONS = [(np.float32, 1e-5), (np.float64, 1e-13)]


def _problem(case, dtype):
    channels, rows, columns, count, members, side, coarse, *hidden = case
    rng = np.random.default_rng(case)
    bank = random_bank(count, channels, side, coarse=coarse, members=members, hidden=sum(hidden))
    noisy, start = rng.random((2, channels, rows, columns)).astype(dtype)
    return FilterObjective(noisy, FilterPrior(bank, 0.3)), start


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("preconditioned", [False, True])
def test_a_step_follows_the_direction_and_evaluates_there(case, preconditioned, dtype, tolerance):
    objective, start = _problem(case, dtype)
    with FilterEngine(objective, start, threads=2, preconditioned=preconditioned) as engine:
        first = engine.advance(0.0)
        assert first.value == pytest.approx(objective.value(start), rel=tolerance, abs=0.01 * tolerance)
        before, direction = engine.gradient.copy(), engine.direction.copy()
        scale = np.linalg.norm(objective.gated.gradient(start)) + np.linalg.norm(start - objective.noisy)
        assert np.linalg.norm(before - objective.gradient(start)) <= tolerance * scale
        along = objective.metric(start).divide(before) if preconditioned else before
        assert np.linalg.norm(direction - along) <= tolerance * scale
        step = 0.9 if preconditioned else 0.9 / objective.lipschitz
        evaluation = engine.advance(step)
        x = start - dtype(step) * direction
        assert np.array_equal(engine.iterate, x)
        assert np.linalg.norm(engine.gradient - objective.gradient(x)) <= tolerance * scale
        assert evaluation.value == pytest.approx(objective.value(x), rel=tolerance, abs=0.01 * tolerance)
        norm, product = (np.vdot(engine.gradient, other) for other in (engine.gradient, direction))
        assert evaluation.squared_gradient_norm == pytest.approx(norm, abs=tolerance * scale**2)
        lengths = (evaluation.squared_length_before, evaluation.gradient_product, evaluation.squared_length)
        expected = [np.vdot(before, direction), product, np.vdot(engine.gradient, engine.direction)]
        assert lengths == pytest.approx(expected, abs=tolerance * scale**2)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_moves_with_memory_are_those_of_the_definition(case):
    objective, start = _problem(case, np.float64)
    sparse = SparseEngine(objective, start, preconditioned=True)
    with FilterEngine(objective, start, threads=2) as engine:
        moves = (Move(0.0), Move(0.5), Move(0.8, -0.3, 0.2), Move(0.0, change=-0.6), Move(0.4, 0.2, -0.1))
        for step in (*moves, 0.0, 0.5):  # gradient steps have another metric
            found, expected = engine.advance(step), sparse.advance(step)
            assert np.allclose(engine.iterate, sparse.iterate, rtol=0, atol=1e-12)
            assert np.allclose(engine.direction, sparse.direction, rtol=0, atol=1e-12)
            names = ("gradient_product", "squared_length", "change_product", "squared_length_before")
            for name in names[: None if step else -1]:
                assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-9, abs=1e-11)


def test_moves_without_a_metric_are_refused():
    objective, start = _problem((1, 11, 13, 4, 1, 7, True), np.float64)
    with (
        FilterEngine(objective, start, threads=1, preconditioned=False) as engine,
        pytest.raises(ValueError, match="memory"),
    ):
        engine.advance(Move(0.5))


@pytest.mark.parametrize("preconditioned", [False, True])
@pytest.mark.parametrize("case", CASES[1:-1], ids=str)
def test_held_pixels_keep_their_values_and_count_in_no_sum_but_the_value(case, preconditioned):
    objective, start = _problem(case, np.float64)
    coded = np.where(np.random.default_rng(3).random(start.shape[1:]) < 0.4, HELD, 1.0)
    objective = replace(objective, fidelity=Fidelity(coded))
    sparse = SparseEngine(objective, start, preconditioned=preconditioned)
    with FilterEngine(objective, start, threads=2, preconditioned=preconditioned) as engine:
        for step in (0.0, 0.5 if preconditioned else 0.5 / objective.lipschitz):
            found, expected = engine.advance(step), sparse.advance(step)
            for name in ("value", "squared_gradient_norm", "gradient_product", "squared_length"):
                if preconditioned or name != "squared_length":
                    assert getattr(found, name) == pytest.approx(
                        getattr(expected, name), rel=1e-10, abs=1e-12
                    )
            assert np.allclose(engine.direction, sparse.direction, rtol=0, atol=1e-12)
        held = coded == HELD
        assert np.array_equal(engine.iterate[:, held], start[:, held])
        assert not np.array_equal(engine.iterate, start)
    assert objective.total_weight == np.count_nonzero(~held) * len(start)


def test_a_step_over_the_uniform_metric_lowers_the_value():
    objective, start = _problem((1, 40, 30, 5, 3, 7, True), np.float64)
    coded = np.ones(start.shape[1:])
    coded[:9] = HELD
    with FilterEngine(replace(objective, fidelity=Fidelity(coded)), start, threads=1) as engine:
        values = [engine.advance(step).value for step in (0.0, *[SAFE_STEP] * 20)]
    assert all(after < before for before, after in pairwise(values))


def test_weights_of_pixels_are_refused():
    objective, start = _problem((1, 11, 13, 4, 1, 7, True), np.float64)
    for weight in (0.0, 0.5, ABSENT):
        coded = np.ones(start.shape[1:])
        coded[2, 3] = weight
        with pytest.raises(ValueError, match="know no weights"):
            replace(objective, fidelity=Fidelity(coded))


@pytest.mark.parametrize("case", [case for case in CASES if min(case[1:3]) > 3], ids=str)
def test_a_part_has_sums_of_its_own_and_parts_add_up(case):
    objective, start = _problem(case, np.float64)
    _, rows, columns = start.shape
    total, squared_norm = 0.0, 0.0
    gradient = objective.gradient(start)
    for down, across in product(((0, 3), (3, rows)), ((0, columns - 2), (columns - 2, columns))):
        part = slice(*down), slice(*across)
        with FilterEngine(objective, start, 2, preconditioned=False, part=part) as engine:
            evaluation = engine.advance(0.0)
            assert np.allclose(engine.gradient[:, *part], gradient[:, *part], rtol=0, atol=1e-12)
            own = np.linalg.norm(gradient[:, *part]) ** 2
            assert evaluation.squared_gradient_norm == pytest.approx(own, rel=1e-10)
        total += evaluation.value
        squared_norm += evaluation.squared_gradient_norm
    assert total == pytest.approx(objective.value(start), rel=1e-12)
    assert squared_norm == pytest.approx(np.vdot(gradient, gradient), rel=1e-10)


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_product_with_the_hessian_equals_the_definition(case, dtype, tolerance):
    objective, start = _problem(case, dtype)
    direction = np.random.default_rng(1).standard_normal(start.shape).astype(dtype)
    with FilterEngine(objective, start, threads=2) as engine:
        product = engine.hessian_product(direction)
    expected = objective.hessian_product(start, direction)
    assert np.linalg.norm(product - expected) <= 3 * tolerance * np.linalg.norm(expected)


def test_the_number_of_threads_never_changes_a_byte(monkeypatch):
    monkeypatch.setattr(filter_kernels, "TILE_ROWS", 16)
    objective, start = _problem((1, 90, 520, 5, 2, 7, True, 6), np.float32)
    results = []
    for threads in (1, 2, 5):
        with FilterEngine(objective, start, threads) as engine:
            evaluations = [engine.advance(step) for step in (Move(0.0), Move(0.5), Move(0.7, 0.1, 0.2), 0.5)]
            v = engine.hessian_product(start)
            by_bank, by_noisy = engine.derivative(start, by_noisy=True)
            slopes = b"".join(one.tobytes() for one in (*by_bank.arrays, *by_bank.gate, by_noisy))
            results.append(
                (evaluations, engine.iterate.tobytes(), v.tobytes(), slopes, engine.gates.tobytes())
            )
    assert len(engine._tiles) > 10, "the image must be cut into tiles for this to test anything"
    assert results[1:] == results[:1] * 2


@pytest.mark.parametrize("case", CASES[1:], ids=str)
def test_derivatives_by_the_bank_are_differences(case):
    objective, start = _problem(case, np.float64)
    bank = objective.prior.bank
    rng = np.random.default_rng(2)
    v = rng.standard_normal(start.shape)
    objective = replace(objective, prior=FilterPrior(bank, 1.0))
    with FilterEngine(objective, start, threads=1) as engine:
        slope = engine.derivative(v).bank

    def product(changed):
        return float(np.vdot(replace(objective, prior=FilterPrior(changed, 1.0)).gradient(start), v))

    h = 1e-6
    change = with_parities(rng.standard_normal(bank.filters.shape))
    ahead, behind = (replace(bank, filters=bank.filters + s * change) for s in (h, -h))
    difference = (product(ahead) - product(behind)) / (2 * h)
    assert np.vdot(slope.filters, change) == pytest.approx(difference, rel=1e-5, abs=1e-7)
    p = bank.potentials
    for name in ("scale", "inner", "share", "outer"):
        change = rng.standard_normal(len(p.scale)) * getattr(p, name) * 0.1
        change *= 1 if name != "share" else (1 - p.share)
        ahead, behind = (
            replace(bank, potentials=replace(p, **{name: getattr(p, name) + s * change})) for s in (h, -h)
        )
        difference = (product(ahead) - product(behind)) / (2 * h)
        assert getattr(slope, name) @ change == pytest.approx(difference, rel=1e-5, abs=1e-7)
    assert (slope.gate is None) == (bank.gate is None)
    for name in ByGate._fields if bank.gate else ():
        change = rng.standard_normal(getattr(bank.gate, name).shape)
        ahead, behind = (
            replace(bank, gate=replace(bank.gate, **{name: getattr(bank.gate, name) + s * change}))
            for s in (h, -h)
        )
        difference = (product(ahead) - product(behind)) / (2 * h)
        assert np.vdot(getattr(slope.gate, name), change) == pytest.approx(difference, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_derivatives_by_the_noisy_image_through_the_gates_are_differences(case):
    objective, start = _problem(case, np.float64)
    rng = np.random.default_rng(4)
    v, change = rng.standard_normal((2, *start.shape))
    with FilterEngine(objective, start, threads=1) as engine:
        slope = engine.derivative(v, by_noisy=True).noisy

    def product(h):
        moved = replace(objective, noisy=objective.noisy + h * change)
        return float(np.vdot(moved.gated.gradient(start), v))

    difference = (product(1e-6) - product(-1e-6)) / 2e-6
    assert np.vdot(slope, change) == pytest.approx(difference, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("case", [case for case in CASES if len(case) == 8], ids=str)
def test_gates_are_those_of_the_definition_across_tiles_and_at_borders(case, dtype, tolerance, monkeypatch):
    monkeypatch.setattr(filter_kernels, "TILE_ROWS", 16)
    objective, start = _problem(case, dtype)
    with FilterEngine(objective, start, threads=2) as engine:
        expected = objective.gated.gates
        assert np.allclose(engine.gates, expected, rtol=0, atol=tolerance)
    assert expected.std() > 0.05, "the gates must differ for this to test anything"
    assert expected.min() >= 0
    assert expected.max() <= 1


def test_given_gates_take_the_place_of_those_of_the_noisy_image():
    objective, start = _problem((1, 40, 60, 5, 2, 5, True, 4), np.float64)
    gates = gates_of(objective.prior, objective.noisy)
    cut = np.s_[:, 13:33, 20:47]
    prior = replace(objective.prior, gates=gates[:, *cut])
    part = FilterObjective(np.ascontiguousarray(objective.noisy[cut]), prior)
    with FilterEngine(part, start[cut], threads=1) as engine:
        assert np.array_equal(engine.gates, gates[:, *cut])
        engine.advance(0.0)
        assert np.allclose(engine.gradient, part.gradient(start[cut]), rtol=0, atol=1e-12)
    inside = np.s_[:, 10:-10, 10:-10]  # as far from the ends as the gradient reaches
    assert np.allclose(part.gradient(start[cut])[inside], objective.gradient(start)[cut][inside])


def test_results_do_not_depend_on_where_arrays_lie_in_memory():
    objective, start = _problem((1, 40, 130, 9, 1, 7, False), np.float32)
    packed = Kernels(objective.prior.bank, 1.0, np.float32).fine.packed
    tiles = filter_kernels.tiles_of(40, 130, 3)
    none, gates = np.zeros((0, 0, 0), np.float32), np.full((9, 40, 130), 0.5, np.float32)
    centre = np.full(1, 0.5, np.float32)
    kept, results = [], set()
    for shift in range(12):
        kept.append(np.zeros(997 * (shift + 1)))  # moves what the kernel allocates
        buffer = np.zeros(4 * (start.size + 64), np.float32)
        x, f, g, d = (
            buffer[k * (start.size + shift) + shift :][: start.size].reshape(start.shape) for k in range(4)
        )
        x[:], f[:], g[:], d[:] = start, objective.noisy, 0, 0
        sums = np.zeros((len(tiles), filter_kernels.SUMS))
        for tile in range(len(tiles)):
            filter_kernels.sweep_tile(x, centre, f, none, g, d, gates, tiles, tile, *packed, sums)
        results.add(g.tobytes() + sums.tobytes())
    assert len(results) == 1


@pytest.mark.parametrize(
    "case", [(1, 40, 60, 6, 2, 7, True), (3, 30, 40, 4, 2, 7, True), (2, 20, 30, 4, 1, 7, False)]
)
def test_rounding_of_the_gradient_grows_with_the_span_and_not_with_an_offset(case):
    bounded, start = _problem(case, np.float32)
    errors = []
    for offset in (0, 50):
        offsets = (offset * np.arange(1, len(start) + 1)).reshape(-1, 1, 1)
        noisy, x = ((one + offsets).astype(np.float32) for one in (bounded.noisy, start))
        objective = FilterObjective(noisy, FilterPrior(bounded.prior.bank, 0.3))
        with FilterEngine(objective, x, threads=1) as engine:
            engine.advance(0.0)
            errors.append(np.abs(engine.gradient - objective.gradient(x.astype(np.float64))).max())
    assert 0 < errors[1] <= 2.0**-24 * bounded.gradient_rounding(1.0)
    assert errors[1] <= 3 * errors[0]
