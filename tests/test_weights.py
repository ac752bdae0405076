"""Fidelity weights, masks and missing pixels."""

import numpy as np
import pytest

from support.minimisers import independent_minimiser
from support.samples import PHOTOGRAPHS, clean, crop, psnr, rms, volume, with_noise
from tvdenoise import Status, denoise, estimate_noise
from tvdenoise.api import choose_parameters
from tvdenoise.images.data import fill, with_noise_where_missing
from tvdenoise.model import engines
from tvdenoise.model.engines import FusedEngine
from tvdenoise.model.fidelity import Fidelity
from tvdenoise.model.objective import Objective
from tvdenoise.model.penalties import PENALTIES
from tvdenoise.options import Options, specs
from tvdenoise.solver.stopping import Certificate

TOTAL_VARIATIONS = specs(Options)["tv"].kind.names

SIGMA = 25 / 255
SHAPES = [(1, 1, 1), (1, 9, 1), (1, 1, 9), (3, 33, 17), (1, 70, 33), (1, 3, 9, 7), (3, 4, 6, 5)]


def fidelity_for(shape, dtype, *, missing=0.2, held=0.2, absent=0.0):
    """Random weights, missing, held and absent pixels among them."""
    rng = np.random.default_rng([*shape, 9])
    weights = rng.uniform(0.3, 2, shape[1:])
    weights[rng.random(weights.shape) < missing] = 0
    free = rng.random(weights.shape) >= held
    gone = rng.random(weights.shape) < absent if absent else None
    return Fidelity.of(weights, free, gone, np.dtype(dtype))


def posed(shape, dtype, tv="isotropic", penalty="hyperbolic", **parts):
    """An objective with weights of pixels, and a start that agrees with what is held."""
    rng = np.random.default_rng([*shape])
    noisy, start = rng.random(shape).astype(dtype), rng.random(shape).astype(dtype)
    fidelity = fidelity_for(shape, dtype, **parts)
    start[:, ~fidelity.is_free] = noisy[:, ~fidelity.is_free]
    weights = tuple(rng.uniform(0.5, 3, shape[0]))
    return Objective(noisy, 14.0, PENALTIES[penalty](0.03), tv, weights, None, fidelity), start


@pytest.fixture(scope="module")
def noisy():
    """A grey photograph with white noise, float32."""
    return with_noise(clean("camera"), SIGMA, seed=5)[:200, :240].astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("tv", TOTAL_VARIATIONS)
@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-12)])
@pytest.mark.parametrize("absent", [0.0, 0.3])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_kernel_with_weights_equals_the_definition(
    shape, absent, dtype, tolerance, penalty, tv, monkeypatch
):
    monkeypatch.setattr(engines, "_VOXELS_PER_BAND", 1)
    monkeypatch.setattr(engines, "_ROWS_PER_VOLUME_BAND", 4)
    objective, start = posed(shape, dtype, tv, penalty, absent=absent)
    fidelity = objective.fidelity
    with FusedEngine(objective, start, threads=2) as engine:
        engine.advance(0.0)
        evaluation = engine.advance(0.01)
        x, gradient = engine.iterate, objective.gradient(engine.iterate)
        scale = np.linalg.norm(objective.total_variation_gradient(x)) + 28 * np.linalg.norm(
            x - objective.noisy
        )
        assert np.linalg.norm(engine.direction - gradient) <= tolerance * scale
        assert evaluation.value == pytest.approx(objective.value(x), rel=tolerance, abs=tolerance)
        dual = np.sum(gradient[:, fidelity.is_known] ** 2 / fidelity.coded[fidelity.is_known])
        assert evaluation.squared_dual_norm == pytest.approx(dual, abs=4 * tolerance * scale**2)
        missing = np.sum(gradient[:, fidelity.coded == 0] ** 2)
        assert evaluation.squared_missing_norm == pytest.approx(missing, abs=4 * tolerance * scale**2)
        held = ~fidelity.is_free
        assert np.array_equal(x[:, held], objective.noisy[:, held])


@pytest.mark.parametrize("shape", [(2, 7, 5), (1, 4, 6, 5)])
def test_the_gradient_with_weights_is_the_difference_quotient_of_the_value_over_the_unknowns(shape):
    objective, x = posed(shape, np.float64)
    direction = np.random.default_rng(2).normal(size=x.shape) * objective.fidelity.is_free
    step = 1e-6
    quotient = (objective.value(x + step * direction) - objective.value(x - step * direction)) / (2 * step)
    assert quotient == pytest.approx(np.vdot(objective.gradient(x), direction), rel=1e-7)


def test_the_gradient_with_weights_is_strongly_monotone_in_the_weighted_norm_and_lipschitz():
    objective, x = posed((2, 7, 5), np.float64, missing=0)
    fidelity, rng = objective.fidelity, np.random.default_rng(3)
    assert objective.lipschitz == pytest.approx(
        14 * fidelity.coded.max() + 8 * max(objective.channel_weights) ** 2 / 0.03
    )
    assert objective.convexity == pytest.approx(14 * fidelity.coded[fidelity.is_free].min())
    for scale in (1e-4, 1e-2, 1.0):
        step = scale * rng.normal(size=x.shape) * fidelity.is_free
        change = objective.gradient(x + step) - objective.gradient(x)
        assert np.vdot(change, step) >= 14 * np.sum(fidelity.coded * step**2)
        assert np.linalg.norm(change) <= objective.lipschitz * np.linalg.norm(step)


@pytest.mark.slow
@pytest.mark.parametrize("deep", [False, True], ids=["image", "volume"])
def test_with_weights_and_a_mask_the_bound_holds_in_the_weighted_norm(deep):
    image = with_noise(volume(8, 14, 15, seed=3) if deep else crop(clean("camera")), SIGMA, seed=3)
    rng = np.random.default_rng(4)
    weights, mask = rng.uniform(0.1, 3, image.shape), rng.random(image.shape) > 0.3
    fidelity = Fidelity.of(weights, mask, None, np.dtype(np.float64))
    objective = Objective(image[np.newaxis], 14.0, PENALTIES["hyperbolic"](0.01), fidelity=fidelity)
    exact, own_bound = independent_minimiser(objective)
    axes = {"spatial_axes": (0, 1, 2)} if deep else {}
    for dtype, tolerances in ((np.float64, (0.02, 0.002, 1e-5)), (np.float32, (0.02, 2e-3))):
        for tolerance in tolerances:
            solution = denoise(
                image.astype(dtype), 14.0, 0.01, weights=weights, mask=mask, tolerance=tolerance, **axes
            )
            off = (solution.image - exact[0])[mask]
            weighted_rms = np.sqrt(np.sum(weights[mask] * off**2) / np.sum(weights[mask]))
            assert solution.status is Status.CONVERGED
            assert weighted_rms <= solution.distance_bound + own_bound
            assert solution.distance_bound <= tolerance
            assert np.array_equal(solution.image[~mask], image.astype(dtype)[~mask])


def test_the_bound_counts_the_unknowns_alone_and_rounding_counts_for_more_where_weights_differ():
    free = np.zeros((6, 6), bool)
    free[:3] = True
    weights = np.where(np.arange(6) < 3, 0.2, 1.8) * np.ones((6, 1))
    noisy = np.random.default_rng(1).random((2, 6, 6))
    plain, masked, weighted = (
        Objective(noisy, 4.0, PENALTIES["hyperbolic"](0.1), "isotropic", (1.0, 1.0), None, fidelity)
        for fidelity in (
            None,
            Fidelity.of(None, free, None, np.dtype(np.float64)),
            Fidelity.of(weights, None, None, np.dtype(np.float64)),
        )
    )
    assert masked.distance_bound(100.0) == pytest.approx(10 / (4 * np.sqrt(2 * 18)))
    assert weighted.distance_bound(100.0) == pytest.approx(10 / (4 * np.sqrt(2 * weights.sum())))
    certificates = [Certificate.of(each, None, np.dtype(np.float32)) for each in (plain, masked, weighted)]
    assert certificates[1].rounding == certificates[0].rounding
    assert certificates[2].rounding > certificates[0].rounding
    gain = np.sqrt(np.sum(1 / weights) / np.sum(weights))
    assert certificates[2].floor == pytest.approx(
        8 * 2.0**-24 * np.abs(noisy).max() * weighted.lipschitz / 4 * gain
    )


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("colour", [False, True], ids=["grey", "colour"])
def test_kept_pixels_come_back_bit_for_bit_and_a_mask_of_all_white_is_no_mask(dtype, colour):
    image = with_noise(clean("coffee", colour=colour)[:90, :120], SIGMA, seed=2)
    image = (
        np.round(np.clip(image, 0, 1) * 255).astype(np.uint8) if dtype == np.uint8 else image.astype(dtype)
    )
    axis = -1 if colour else None
    plain = denoise(image, channel_axis=axis)
    white = denoise(image, channel_axis=axis, mask=np.ones(image.shape[:2], bool))
    assert white.image.tobytes() == plain.image.tobytes()
    assert (white.mu, white.distance_bound) == (plain.mu, plain.distance_bound)
    mask = np.hypot(*(np.indices(image.shape[:2]) - 50)) < 35
    solution = denoise(image, channel_axis=axis, mask=mask)
    kept = image.astype(solution.image.dtype)[~mask]
    expected = kept / np.float32(255) if dtype == np.uint8 else kept
    assert solution.converged
    assert solution.image[~mask].tobytes() == expected.tobytes()
    assert rms(solution.image[mask] - plain.image[mask]) < 0.3 * SIGMA


def test_a_mask_of_all_black_gives_the_image_back(noisy):
    solution = denoise(noisy, mask=np.zeros(noisy.shape, bool))
    assert solution.converged
    assert np.array_equal(solution.image, noisy)


def test_kept_pixels_are_data_for_their_neighbours():
    image = np.full((9, 9), 0.5)
    image[4, 4] = 0.9
    mask = np.ones((9, 9), bool)
    mask[4, 4] = False
    free, held = denoise(image, 1.0, 0.01).image, denoise(image, 1.0, 0.01, mask=mask).image
    assert held[4, 4] == 0.9 > free[4, 4] + 0.3
    assert held[4, 3] > free[4, 3]


@pytest.mark.slow
@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_a_twentieth_of_the_pixels_missing_is_filled_at_25_decibels(name):
    reference = clean(name)
    missing = np.random.default_rng(PHOTOGRAPHS.index(name)).random(reference.shape) < 0.05
    for sigma in (0, SIGMA):
        image = with_noise(reference, sigma, seed=1).astype(np.float32)
        image[missing] = np.nan
        solution = denoise(image, nan="fill")
        assert solution.status is Status.FILLED
        assert solution.converged
        assert solution.distance_bound == np.inf
        assert psnr(solution.image[missing], reference[missing]) >= 25


def test_missing_pixels_are_those_of_weight_zero_whatever_they_hold(noisy):
    missing = np.random.default_rng(1).random(noisy.shape) < 0.1
    with_nan, wild = noisy.copy(), noisy.copy()
    with_nan[missing], wild[missing] = np.nan, 1e6
    filled = denoise(with_nan, 14.0, nan="fill")
    assert np.array_equal(filled.image, denoise(wild, 14.0, weights=np.where(missing, 0, 1)).image)
    assert np.array_equal(filled.image, denoise(noisy, 14.0, weights=np.where(missing, 0, 1)).image)
    assert np.isnan(with_nan[missing]).all(), "the input is not to be modified"
    assert (wild[missing] == 1e6).all(), "the input is not to be modified"


@pytest.mark.parametrize("held", [np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize("channel_axis", [None, 0, 2])
def test_pixels_of_weight_zero_may_hold_what_is_no_intensity(noisy, channel_axis, held):
    """As a map of a sensor's dead pixels has it, where the pixels themselves were divided by zero."""
    image = noisy if channel_axis is None else np.stack([noisy, noisy[::-1]], channel_axis)
    options = {"channel_axis": channel_axis, "weights": np.ones(noisy.shape)}
    options["weights"][3:6, 4] = 0
    bad = image.copy()
    where = options["weights"] == 0
    bad[
        np.broadcast_to(where if channel_axis is None else np.expand_dims(where, channel_axis), bad.shape)
    ] = held
    before = bad.copy()
    assert (denoise(bad, 14, **options).image == denoise(image, 14, **options).image).all()
    np.testing.assert_array_equal(bad, before)
    mask = np.ones(noisy.shape, bool)
    mask[3:6, 4] = False  # kept pixels are data, whatever their weight
    if not np.isfinite(held):
        with pytest.raises(ValueError, match="not finite"):
            denoise(bad, 14, **options, mask=mask)


def test_without_missing_pixels_nan_may_be_filled_and_nothing_changes(noisy):
    assert denoise(noisy, 14.0, nan="fill").image.tobytes() == denoise(noisy, 14.0).image.tobytes()
    ones = denoise(noisy, 14.0, weights=np.ones(noisy.shape))
    assert ones.image.tobytes() == denoise(noisy, 14.0).image.tobytes()


@pytest.mark.slow
def test_a_small_hole_in_a_large_image_is_solved_by_itself():
    image = with_noise(np.tile(clean("camera"), (2, 2)), SIGMA, seed=3)
    hole = np.zeros(image.shape, bool)
    hole[150:166, 250:266] = True
    image[hole] = np.nan
    solution = denoise(image, 14.0, 0.01, nan="fill")
    fidelity = Fidelity.of(~hole * 1.0, None, None, image.dtype)
    noisy = np.where(hole, 0, image)[np.newaxis]
    objective = Objective(noisy, 14.0, PENALTIES["hyperbolic"](0.01), fidelity=fidelity)
    gradient = objective.gradient(solution.image[np.newaxis])[0]
    assert rms(gradient) <= 0.03
    assert rms(gradient[hole]) <= 0.03


def test_epsilon_is_at_least_a_256th_of_the_span_where_pixels_are_missing(noisy):
    image = noisy.astype(np.float64)
    image[3, 3] = np.nan
    span = np.nanmax(image) - np.nanmin(image)
    assert denoise(image, 500.0, nan="fill").epsilon == pytest.approx(span / 256)
    assert denoise(image, 14.0, nan="fill").epsilon == pytest.approx(0.01)
    assert denoise(noisy, 500.0).epsilon == pytest.approx(0.14 / 500)


@pytest.mark.parametrize("colour", [False, True], ids=["grey", "colour"])
def test_a_fill_stops_at_a_gradient_of_three_hundredths_and_the_engines_agree(colour):
    image = with_noise(clean("coffee", colour=colour)[:60, :70], SIGMA, seed=3).astype(np.float32)
    image[np.random.default_rng(3).random(image.shape[:2]) < 0.1] = np.nan
    axis = -1 if colour else None
    fast, slow = (denoise(image, 14.0, nan="fill", channel_axis=axis, engine=e) for e in ("fused", "sparse"))
    for solution in (fast, slow):
        assert solution.status is Status.FILLED
        assert solution.tolerance == pytest.approx(0.03 / 14)
    assert rms(fast.image - slow.image) <= 2 * fast.tolerance
    closer = denoise(image, 14.0, nan="fill", channel_axis=axis, tolerance=1e-4)
    assert closer.iterations > fast.iterations
    cut = denoise(image, 14.0, nan="fill", channel_axis=axis, max_iterations=2)
    assert cut.status is Status.ITERATION_LIMIT
    assert cut.distance_bound == np.inf


@pytest.mark.slow
def test_volumes_may_have_missing_and_kept_voxels():
    reference = volume(16, 48, 48)
    image = with_noise(reference, SIGMA, seed=2).astype(np.float32)
    rng = np.random.default_rng(5)
    missing, mask = rng.random(image.shape) < 0.05, rng.random(image.shape) > 0.02
    image[missing & mask] = np.nan
    fast, slow = (
        denoise(image, nan="fill", mask=mask, spatial_axes=(0, 1, 2), spacing=(2, 1, 1), engine=engine)
        for engine in ("fused", "sparse")
    )
    assert fast.status is slow.status is Status.FILLED
    assert rms(fast.image - slow.image) <= 2 * fast.tolerance
    assert np.array_equal(fast.image[~mask], image[~mask])
    assert psnr(fast.image[missing & mask], reference[missing & mask]) > 22


@pytest.mark.slow
def test_flat_volumes_larger_than_the_sample_may_have_missing_voxels():
    noisy = with_noise(volume(9, 300, 300), 0.1, 0).astype(np.float32)
    known = choose_parameters(noisy, spatial_axes=(0, 1, 2)).mu
    noisy[np.random.default_rng(0).random(noisy.shape) < 0.01] = np.nan
    filled = choose_parameters(noisy, spatial_axes=(0, 1, 2), nan="fill").mu
    assert 0.8 * known < filled < 1.25 * known


def test_pixels_of_little_weight_are_smoothed_more():
    image = with_noise(np.full((60, 80), 0.5), SIGMA, seed=1)
    weights = np.ones(image.shape)
    weights[:, 40:] = 0.1
    solution = denoise(image, 30.0, weights=weights)
    assert solution.converged
    assert np.std(solution.image[:, 45:]) < 0.5 * np.std(solution.image[:, :35])


def test_only_the_product_of_mu_and_weights_counts(noisy):
    weights = np.random.default_rng(1).uniform(0.5, 1.5, noisy.shape)
    plain = denoise(noisy, 14.0, weights=weights)
    scaled = denoise(noisy, 0.014, weights=1000 * weights)
    assert scaled.epsilon == pytest.approx(plain.epsilon)
    assert scaled.tolerance == pytest.approx(plain.tolerance)
    assert rms(scaled.image - plain.image) <= 2 * plain.tolerance
    chosen, scaled = denoise(noisy, weights=weights), denoise(noisy, weights=1000 * weights)
    assert scaled.mu == pytest.approx(chosen.mu / 1000, rel=0.02)


@pytest.mark.slow
def test_the_noise_is_read_and_mu_chosen_nearly_as_if_scattered_pixels_were_not_missing():
    image = with_noise(clean("astronaut"), SIGMA, seed=3).astype(np.float32)
    whole = denoise(image)
    for part, allowed in ((0.05, 0.03), (0.3, 0.12)):
        holes = image.copy()
        holes[np.random.default_rng(4).random(image.shape) < part] = np.nan
        filled = denoise(holes, nan="fill")
        assert filled.sigma == pytest.approx(whole.sigma, rel=allowed)
        assert filled.mu * (1 - part) == pytest.approx(whole.mu, rel=0.1), "fewer data need more weight each"


def test_kept_regions_say_nothing_of_the_noise():
    image = with_noise(clean("camera"), SIGMA, seed=3)
    mask = np.ones(image.shape, bool)
    mask[:150] = False
    image[:150] = clean("camera")[:150]
    assert denoise(image, mask=mask).sigma == pytest.approx(SIGMA, rel=0.06)
    assert estimate_noise(image, where=mask).sigma == pytest.approx(SIGMA, rel=0.06)


def test_a_small_part_that_is_denoised_has_the_noise_of_what_is_kept_around_it():
    image = clean("camera")
    image = with_noise(image, SIGMA, seed=3)
    far = np.add.outer(np.arange(image.shape[0]), np.zeros(image.shape[1])) > 250
    image[far] = clean("camera")[far]
    small, scattered = np.zeros(image.shape, bool), np.zeros(image.shape, bool)
    small[60:92, 100:132] = True
    scattered[20:200:20, 20:200:20] = True
    for mask in (small, scattered):
        assert denoise(image, mask=mask).sigma == pytest.approx(SIGMA, rel=0.1)


def test_a_small_part_is_denoised_nearly_as_well_as_with_the_best_mu():
    rows, columns = np.indices((200, 220))
    smooth = 0.5 + 0.3 * np.sin(columns / 17) * np.cos(rows / 19)
    image = with_noise(smooth, 0.03, seed=1)
    for side in (16, 24, 32, 48):
        mask = np.zeros(image.shape, bool)
        mask[70 : 70 + side, 90 : 90 + side] = True
        chosen, *tried = (
            rms((denoise(image, mu, mask=mask).image - smooth)[mask]) for mu in (None, 8, 16, 32)
        )
        assert chosen < 1.7 * min(tried)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.uint8, bool])
def test_weights_may_be_numbers_of_any_type(noisy, dtype):
    weights = np.ones(noisy.shape, dtype)
    assert np.array_equal(denoise(noisy, 14.0, weights=weights).image, denoise(noisy, 14.0).image)


def test_of_a_single_pixel_the_risk_says_nothing(noisy):
    mask = np.zeros(noisy.shape, bool)
    mask[90, 90] = True
    chosen = denoise(noisy, mask=mask)
    assert chosen.mu == pytest.approx(1.4 / chosen.sigma)


def test_pixels_without_neighbours_that_tell_do_not_make_an_image_one_without_noise(noisy):
    where = np.indices(noisy.shape).sum(axis=0) % 2 == 0
    assert estimate_noise(noisy, where=where).sigma > 0.5 * SIGMA


def test_first_values_are_means_of_what_is_known_nearby():
    planes = np.stack([np.tile(np.linspace(0, 1, 50), (40, 1)), np.ones((40, 50))])
    missing = np.random.default_rng(1).random((40, 50)) < 0.5
    missing[5:25, 10:40] = True
    known = planes.copy()
    planes[:, missing] = np.nan
    fill(planes, missing)
    assert np.array_equal(planes[:, ~missing], known[:, ~missing])
    assert np.allclose(planes[1], 1, rtol=0, atol=1e-5)
    assert np.abs(planes[0] - known[0]).max() < 0.4
    again, telling = with_noise_where_missing(planes, missing)
    assert not telling[10, 20]
    assert np.array_equal(again[:, ~missing], planes[:, ~missing])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"mask": np.ones((4, 5), bool)}, ValueError, "mask must have the shape"),
        ({"mask": np.ones((4, 4))}, TypeError, "must hold booleans"),
        ({"weights": np.ones((5, 4))}, ValueError, "weights must have the shape"),
        ({"weights": -np.ones((4, 4))}, ValueError, "weights must be zero, or at least"),
        ({"weights": np.full((4, 4), np.nan)}, ValueError, "weights must be zero, or at least"),
        ({"weights": np.full((4, 4), 1e9)}, ValueError, "at most"),
        ({"weights": np.ones((4, 4), complex)}, TypeError, "real numbers"),
        ({"weights": np.zeros((4, 4))}, ValueError, "no pixel is known"),
        ({"nan": "drop"}, ValueError, "nan must be one of refuse, fill, keep"),
    ],
)
def test_weights_and_masks_that_do_not_fit_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        denoise(np.zeros((4, 4)), 14.0, **options)


def test_nan_is_refused_unless_it_is_to_be_filled_and_infinity_always():
    image = np.zeros((4, 4))
    image[1, 1] = np.nan
    with pytest.raises(ValueError, match='nan="fill"'):
        denoise(image, 14.0)
    with pytest.raises(ValueError, match="nothing but NaN"):
        denoise(np.full((4, 4), np.nan), 14.0, nan="fill")
    with pytest.raises(ValueError, match="that the mask keeps are NaN"):
        denoise(image, 14.0, nan="fill", mask=np.arange(4) != np.ones((4, 1)))
    image[2, 2] = np.inf
    with pytest.raises(ValueError, match="1 values that are not finite"):
        denoise(image, 14.0, nan="fill")
