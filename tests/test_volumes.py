"""Volumes: three-dimensional total variation, with distances of their own along each axis."""

import numpy as np
import pytest

from support.minimisers import independent_minimiser
from support.samples import clean, psnr, rms, volume, with_noise
from tvdenoise import Status, denoise, estimate_noise
from tvdenoise.model import engines
from tvdenoise.model.colour import to_opponent
from tvdenoise.model.engines import FusedEngine, SparseEngine
from tvdenoise.model.objective import Objective
from tvdenoise.model.penalties import PENALTIES, Huber
from tvdenoise.options import Options, specs
from tvdenoise.parameters import sample
from tvdenoise.solver.stopping import Certificate

TOTAL_VARIATIONS = specs(Options)["tv"].kind.names

SIGMA = 25 / 255
AXES = (0, 1, 2)
SHAPES = [
    (1, 1, 1, 1), (1, 5, 1, 1), (1, 1, 5, 1), (1, 1, 1, 5), (1, 2, 2, 2), (1, 5, 9, 7), (1, 3, 70, 33),
    (2, 4, 6, 5), (3, 3, 13, 37), (1, 63, 17), (3, 9, 10),
]  # fmt: skip
MODELS = pytest.mark.parametrize(
    ("tv", "penalty"), [(tv, kind(0.03)) for tv in TOTAL_VARIATIONS for kind in PENALTIES.values()]
)


@pytest.fixture
def narrow_bands(monkeypatch):
    """Many bands even in a small volume."""
    monkeypatch.setattr(engines, "_VOXELS_PER_BAND", 1)
    monkeypatch.setattr(engines, "_ROWS_PER_VOLUME_BAND", 4)


def posed(shape, dtype, tv="isotropic", penalty=None):
    """An objective with weights of channels and axes, and a start."""
    rng = np.random.default_rng([*shape])
    weights = tuple(rng.uniform(0.5, 3, shape[0])), tuple(rng.uniform(0.2, 1, len(shape) - 1))
    noisy, start = rng.random(shape).astype(dtype), rng.random(shape).astype(dtype)
    return Objective(noisy, 14.0, penalty or PENALTIES["hyperbolic"](0.03), tv, *weights), start


@pytest.fixture(scope="module")
def noisy():
    """A synthetic volume with white noise, float32."""
    return with_noise(volume(24, 64, 72), SIGMA, seed=5).astype(np.float32)


@pytest.mark.slow
@MODELS
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-12)])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.usefixtures("narrow_bands")
def test_the_kernel_for_volumes_equals_the_definition(shape, dtype, tolerance, tv, penalty):
    objective, start = posed(shape, dtype, tv, penalty)
    with FusedEngine(objective, start, threads=2) as engine:
        engine.advance(0.0)
        before, first = engine.iterate.copy(), engine.direction.copy()
        evaluation = engine.advance(0.01)
        x, gradient = engine.iterate, objective.gradient(engine.iterate)
        assert np.allclose(x, before - 0.01 * first, rtol=0, atol=tolerance)
        scale = np.linalg.norm(objective.total_variation_gradient(x)) + 14 * np.linalg.norm(
            x - objective.noisy
        )
        assert np.linalg.norm(engine.direction - gradient) <= tolerance * scale
        assert evaluation.value == pytest.approx(objective.value(x), rel=tolerance)
        squared, product = np.vdot(gradient, gradient), np.vdot(gradient, first)
        assert evaluation.squared_gradient_norm == pytest.approx(squared, abs=tolerance * scale**2)
        lengths = np.linalg.norm(first) * np.linalg.norm(gradient)
        assert evaluation.gradient_product == pytest.approx(product, abs=2 * tolerance * (lengths + scale**2))


@MODELS
def test_the_gradient_of_a_volume_is_the_difference_quotient_of_the_value(tv, penalty):
    objective, x = posed((2, 4, 6, 5), np.float64, tv, penalty)
    direction = np.random.default_rng(2).normal(size=x.shape)
    step = 1e-6
    quotient = (objective.value(x + step * direction) - objective.value(x - step * direction)) / (2 * step)
    assert quotient == pytest.approx(np.vdot(objective.gradient(x), direction), rel=1e-7)


@pytest.mark.parametrize("axis_weights", [(1.0, 1.0, 1.0), (0.25, 1.0, 1.0)])
def test_the_lipschitz_constant_of_a_volume_counts_each_axis_and_is_nearly_attained(axis_weights):
    signs = (-1.0) ** np.indices((24, 24, 24)).sum(axis=0)[np.newaxis]
    objective = Objective(np.zeros_like(signs), 14.0, Huber(0.05), axis_weights=axis_weights)
    assert objective.lipschitz == pytest.approx(14 + 4 * np.sum(np.square(axis_weights)) / 0.05)
    ratio = np.linalg.norm(objective.gradient(1e-3 * signs)) / (1e-3 * np.linalg.norm(signs))
    assert 0.9 * objective.lipschitz < ratio <= objective.lipschitz


@pytest.mark.parametrize("shape", [(1, 20, 150, 100), (2, 3, 200, 300)])
def test_the_number_of_threads_never_changes_a_byte_of_a_volume(shape, monkeypatch):
    monkeypatch.setattr(engines, "_VOXELS_PER_BAND", 1)
    objective, start = posed(shape, np.float32)
    results = []
    for threads in (1, 2, 3, 7):
        with FusedEngine(objective, start, threads) as engine:
            evaluations = [engine.advance(step) for step in (0.0, 0.001, 0.01, 0.002)]
            results.append((engine.iterate.tobytes(), engine.direction.tobytes(), evaluations))
    assert len(engine._starts) > 3, "the volume must be cut into bands for this to test anything"
    assert all(result == results[0] for result in results[1:])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spacing", "colour"), [((1, 1, 1), False), ((4, 1, 1), False), ((3, 1, 2), True)], ids=str
)
@pytest.mark.parametrize("tv", TOTAL_VARIATIONS)
def test_a_volume_is_never_further_from_its_minimiser_than_the_certificate_says(spacing, colour, tv):
    small = volume(10, 16, 18, seed=3)
    image = with_noise(np.stack([small, small**2, 1 - small]) if colour else small[np.newaxis], SIGMA, seed=3)
    planes = to_opponent(image) if colour else image
    axis_weights = tuple(min(spacing) / distance for distance in spacing)
    weights = (1.0, 3.0, 3.0) if colour else (1.0,)
    objective = Objective(planes, 14.0, PENALTIES["hyperbolic"](0.01), tv, weights, axis_weights)
    exact, own_bound = independent_minimiser(objective)
    for dtype, tolerances in ((np.float64, (0.02, 0.002, 1e-5)), (np.float32, (0.02, 2e-3, 9e-4))):
        for tolerance in tolerances:
            solution = denoise(
                image.astype(dtype), 14.0, 0.01, tolerance=tolerance, tv=tv, channel_axis=0,
                spatial_axes=(1, 2, 3), spacing=spacing,
            )  # fmt: skip
            result = to_opponent(solution.image.astype(np.float64)) if colour else solution.image
            assert solution.converged
            assert rms(result - exact) <= solution.distance_bound + own_bound
            assert solution.distance_bound <= tolerance


@pytest.mark.slow
@pytest.mark.parametrize("spacing", [None, (4, 1, 1)], ids=str)
def test_the_two_engines_agree_on_volumes_within_the_sum_of_their_bounds(noisy, spacing):
    fast, slow = (
        denoise(noisy, engine=engine, spatial_axes=AXES, spacing=spacing) for engine in ("fused", "sparse")
    )
    assert fast.converged
    assert slow.converged
    assert rms(fast.image - slow.image) <= fast.distance_bound + slow.distance_bound
    assert fast.mu == slow.mu


@pytest.mark.slow
def test_volumes_take_35_evaluations_at_most():
    counts = []
    for seed, planes in enumerate((24, 40)):
        for level in (2, 5, 10, 25, 50):
            for spacing in (None, (4, 1, 1)):
                sigma = level / 255
                noisy = with_noise(volume(planes, 64, 64, seed), sigma, seed).astype(np.float32)
                solution = denoise(noisy, 1.4 / sigma, spatial_axes=AXES, spacing=spacing)
                assert solution.converged
                counts.append(solution.iterations)
    assert np.mean(counts) <= 28
    assert max(counts) <= 35


def test_a_tolerance_below_the_floor_of_single_precision_ends_there_in_volumes_too(noisy):
    single = denoise(noisy, 14.0, 0.01, tolerance=1e-9, spatial_axes=AXES)
    assert single.status is Status.PRECISION
    assert single.iterations < 200
    double = denoise(noisy.astype(np.float64), 14.0, 0.01, tolerance=1e-7, spatial_axes=AXES)
    assert double.converged
    assert rms(single.image - double.image) <= single.distance_bound + double.distance_bound
    objective = Objective(noisy[np.newaxis], 14.0, PENALTIES["hyperbolic"](1e-9))
    floor = Certificate.of(objective, None, np.dtype(np.float32)).floor
    assert floor == pytest.approx(8 * 2.0**-24 * np.abs(noisy).max() * (14 + 12e9) / 14)


@pytest.mark.slow
@pytest.mark.parametrize("spacing", [None, (4, 1, 1)], ids=str)
@pytest.mark.parametrize("level", [5, 25, 50])
def test_a_volume_needs_no_parameter_and_the_choice_loses_two_tenths_of_a_decibel_at_most(level, spacing):
    reference = volume(40, 96, 96)[:: 1 if spacing is None else 2]
    noisy = with_noise(reference, level / 255, seed=1).astype(np.float32)
    chosen = denoise(noisy, spatial_axes=AXES, spacing=spacing)
    assert chosen.sigma == pytest.approx(level / 255, rel=0.06)
    best = max(
        psnr(denoise(noisy, chosen.mu * factor, spatial_axes=AXES, spacing=spacing).image, reference)
        for factor in np.geomspace(0.4, 2.5, 9)
    )
    assert psnr(chosen.image, reference) > best - 0.2


@pytest.mark.slow
def test_a_volume_gains_over_its_planes_denoised_alone():
    reference = volume(72, 64, 72)
    noisy = with_noise(reference, SIGMA, seed=5).astype(np.float32)
    planes = max(
        psnr(np.stack([denoise(plane, mu).image for plane in noisy]), reference) for mu in (10, 14, 20, 28)
    )
    assert psnr(denoise(noisy, spatial_axes=AXES).image, reference) > planes + 1


def test_a_stack_of_equal_planes_is_denoised_like_its_plane():
    plane = with_noise(clean("camera")[200:260, 200:270], SIGMA, seed=2)
    flat = denoise(plane, 14.0)
    stack = denoise(np.stack([plane] * 5), 14.0, spatial_axes=AXES)
    assert rms(stack.image - flat.image) <= stack.distance_bound + flat.distance_bound
    single = denoise(plane[np.newaxis], 14.0, spatial_axes=AXES)
    assert rms(single.image[0] - flat.image) <= single.distance_bound + flat.distance_bound


def test_far_away_planes_are_nearly_independent():
    planes = with_noise(volume(4, 40, 40), SIGMA, seed=2)
    far = denoise(planes, 14.0, spatial_axes=AXES, spacing=(1e5, 1, 1))
    alone = np.stack([denoise(plane, 14.0).image for plane in planes])
    assert rms(far.image - alone) <= 2 * far.tolerance


def test_the_axes_may_be_anywhere_and_only_ratios_of_distances_count(noisy):
    plain = denoise(noisy, 14.0, spatial_axes=AXES, spacing=(4, 1, 2))
    moved = denoise(np.transpose(noisy, (2, 0, 1)), 14.0, spatial_axes=(1, 2, 0), spacing=(2.0, 0.5, 1.0))
    assert np.array_equal(np.transpose(moved.image, (1, 2, 0)), plain.image)
    channel = denoise(
        noisy[:, :, np.newaxis], 14.0, channel_axis=2, spatial_axes=(0, 1, 3), spacing=(4, 1, 2)
    )
    assert np.array_equal(channel.image[:, :, 0], plain.image)


def test_an_image_may_have_unequal_distances_too():
    image = with_noise(clean("camera")[:80, :90], SIGMA, seed=4)
    plain = denoise(image, 14.0)
    assert np.array_equal(denoise(image, 14.0, spacing=(0.3, 0.3)).image, plain.image)
    assert np.array_equal(denoise(image, 14.0, spatial_axes=(0, 1)).image, plain.image)
    unequal = denoise(image, 14.0, spacing=(1, 3))
    turned = denoise(image.T, 14.0, spatial_axes=(0, 1), spacing=(3, 1))
    sparse = denoise(image, 14.0, spacing=(1, 3), engine="sparse")
    assert rms(unequal.image - plain.image) > 0.01
    assert rms(unequal.image - turned.image.T) <= unequal.distance_bound + turned.distance_bound
    assert rms(unequal.image - sparse.image) <= unequal.distance_bound + sparse.distance_bound


def test_the_noise_of_a_volume_is_that_of_its_planes():
    planes = with_noise(volume(12, 128, 128), SIGMA, seed=6)
    assert estimate_noise(planes, spatial_axes=AXES).sigma == pytest.approx(SIGMA, rel=0.05)
    uneven = planes.copy()
    uneven[:, 64:] += with_noise(np.zeros((12, 64, 128)), 0.4, seed=7)
    where = np.zeros(planes.shape, bool)
    where[:, :64] = True
    assert estimate_noise(uneven, spatial_axes=AXES, where=where).sigma == pytest.approx(SIGMA, rel=0.1)


@pytest.mark.slow
def test_a_sample_of_a_volume_is_bounded_and_spread():
    depth, rows, columns = np.indices((120, 300, 400), dtype=np.float32)
    part = sample(np.stack([depth, rows, columns]))
    assert 0.5 * 300_000 < part.size <= 1.1 * 300_000
    assert all(np.ptp(part[axis]) > 0.9 * length for axis, length in ((1, 300), (2, 400)))
    assert part[0].min() < 60 < part[0].max()
    assert min(np.mean(np.diff(part[axis], axis=axis) == 1) for axis in range(3)) > 0.9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"spatial_axes": (0, 1, 1)}, "must name different axes"),
        ({"spatial_axes": (0, 1, 3)}, "must name different axes"),
        ({"spatial_axes": (0, 1), "channel_axis": 1}, "must name different axes"),
        ({"spatial_axes": AXES, "spacing": (1, 1)}, "spacing must have 3 numbers"),
        ({"spatial_axes": AXES, "spacing": (1, 0, 1)}, "spacing must be positive"),
        ({}, "spatial_axes=\\(0, 1, 2\\) if it is a volume"),
    ],
)
def test_axes_and_distances_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        denoise(np.zeros((4, 5, 6)), 14.0, **options)


def test_the_sparse_engine_steps_down_a_volume():
    objective, start = posed((1, 3, 4, 5), np.float64)
    engine = SparseEngine(objective, start)
    engine.advance(0.0)
    engine.advance(0.01)
    assert np.array_equal(engine.iterate, start - 0.01 * objective.gradient(start))


@pytest.mark.slow
@pytest.mark.parametrize("empty", [1, 8, 15])
@pytest.mark.parametrize("level", [0.0, 0.5])
def test_empty_planes_do_not_make_a_volume_one_without_noise(empty: int, level: float) -> None:
    planes, rows, columns = np.indices((20, 80, 90))
    smooth = 0.5 + 0.3 * np.sin(columns / 17) * np.cos(rows / 19) * np.cos(planes / 9)
    noisy = with_noise(smooth, 0.05, seed=1)
    noisy[:empty] = level
    assert denoise(noisy, spatial_axes=(0, 1, 2), max_iterations=1).sigma == pytest.approx(0.05, rel=0.1)
