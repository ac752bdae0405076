"""`tvdenoise.denoise` as its callers see it."""

from itertools import pairwise

import numpy as np
import pytest

import tvdenoise
from support.samples import clean, psnr, rms, with_noise
from tvdenoise import Status, denoise, estimate_noise

SIGMA = 25 / 255


@pytest.fixture(scope="module")
def noisy():
    """A grey photograph with white noise, float64."""
    return with_noise(clean("camera"), SIGMA, seed=5)


def test_denoising_brings_a_grey_photograph_closer_to_the_clean_one(noisy):
    solution = denoise(noisy)
    assert solution.status is Status.CONVERGED
    assert psnr(solution.image, clean("camera")) > psnr(noisy, clean("camera")) + 6


def test_coupled_chroma_beats_channels_denoised_alone():
    reference = clean("coffee", colour=True)
    colour = with_noise(reference, SIGMA, seed=6)
    together = denoise(colour, 14.0, channel_axis=-1).image
    alone = np.stack([denoise(colour[..., c], 14.0).image for c in range(3)], axis=-1)
    assert psnr(together, reference) > psnr(alone, reference) + 1


def test_parameters_follow_from_the_noise_where_they_are_not_given(noisy):
    solution = denoise(noisy)
    assert solution.sigma == pytest.approx(SIGMA, rel=0.05)
    assert solution.epsilon == pytest.approx(0.14 / solution.mu)
    assert estimate_noise(noisy).sigma == solution.sigma
    assert denoise(noisy, sigma=0.05).mu > 1.5 * solution.mu
    assert denoise(noisy, 20.0).noise is None


def test_given_parameters_are_kept_and_the_rest_follows_from_mu(noisy):
    solution = denoise(noisy, 20.0)
    assert (solution.mu, solution.sigma) == (20.0, None)
    assert solution.epsilon == pytest.approx(0.007)
    assert denoise(noisy, 20.0, 0.03).epsilon == 0.03
    colour = np.stack([noisy[:64, :64]] * 3)
    assert denoise(colour, 20.0, channel_axis=0).epsilon == pytest.approx(0.014)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.uint32])
def test_integers_come_back_as_fractions_of_their_type_range(dtype):
    largest = np.iinfo(dtype).max
    stored = np.round(np.clip(clean("camera")[:40, :50], 0, 1) * largest).astype(dtype)
    solution = denoise(stored, 1e9)
    assert solution.image.dtype == (np.float64 if np.dtype(dtype).itemsize > 2 else np.float32)
    assert solution.image.shape == stored.shape
    assert np.allclose(solution.image, stored / largest, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("dtype", "returned"), [(np.float16, np.float32), (np.float32, np.float32), (np.float64, np.float64)]
)
def test_floats_come_back_in_their_own_units(dtype, returned):
    stored = (clean("camera")[:40, :50] * 200 + 50).astype(dtype)
    solution = denoise(stored, 1e9, data_range=200)
    assert solution.image.dtype == returned
    assert np.allclose(solution.image, stored, rtol=0, atol=1e-4)


def test_the_data_range_only_changes_the_units(noisy):
    plain = denoise(noisy, 14.0)
    scaled = denoise(noisy * 1000, 14.0, data_range=1000)
    assert scaled.iterations == plain.iterations
    assert scaled.distance_bound == pytest.approx(plain.distance_bound, rel=1e-6)
    assert np.allclose(scaled.image, plain.image * 1000, rtol=0, atol=1e-6)


def test_the_channel_axis_may_be_anywhere():
    colour = with_noise(clean("coffee", colour=True)[:60, :50], SIGMA, seed=7)
    last = denoise(colour, 14.0, channel_axis=-1).image
    first = denoise(np.moveaxis(colour, -1, 0), 14.0, channel_axis=0).image
    middle = denoise(np.moveaxis(colour, -1, 1), 14.0, channel_axis=1).image
    assert np.array_equal(last, np.moveaxis(first, 0, -1))
    assert np.array_equal(last, np.moveaxis(middle, 1, -1))


@pytest.mark.parametrize("channels", [1, 2, 4, 5])
def test_other_channel_counts_are_coupled_with_equal_weight(channels):
    stack = with_noise(np.stack([clean("camera")[:40, :40]] * channels), SIGMA, seed=8)
    solution = denoise(stack, 14.0, channel_axis=0)
    assert solution.image.shape == stack.shape
    swapped = denoise(stack[::-1], 14.0, channel_axis=0)
    assert rms(solution.image[::-1] - swapped.image) <= solution.distance_bound + swapped.distance_bound


def test_a_single_channel_is_the_grey_picture(noisy):
    assert np.array_equal(
        denoise(noisy[..., None], 14.0, channel_axis=2).image[..., 0], denoise(noisy, 14.0).image
    )


@pytest.mark.parametrize("image", [np.zeros((1, 1)), np.full((5, 7), 0.3), np.ones((1, 9)), np.zeros((9, 1))])
def test_constant_and_one_pixel_images_come_back_unchanged(image):
    solution = denoise(image)
    assert solution.converged
    assert np.array_equal(solution.image, image)


def test_a_large_mu_returns_the_input(noisy):
    assert np.allclose(denoise(noisy, 1e12).image, noisy, rtol=0, atol=1e-11)
    assert np.allclose(denoise(noisy.astype(np.float32), 1e30).image, noisy, rtol=0, atol=1e-6)


def test_a_smaller_mu_smooths_more_however_small_it_is(noisy):
    changes = [rms(denoise(noisy, mu).image - noisy) for mu in (100, 20, 5, 1, 0.3, 0.1, 0.03, 0.01, 0.003)]
    assert all(after > before for before, after in pairwise(changes))
    assert changes[-1] > 1.5 * changes[2]


def test_the_range_of_the_image_is_kept(noisy):
    result = denoise(noisy, 5.0).image
    assert noisy.min() <= result.min()
    assert result.max() <= noisy.max()


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_the_input_is_never_modified_and_may_be_read_only(dtype, order):
    image = np.asarray(
        clean("coffee", colour=True)[:40, :30] * (255 if dtype == np.uint8 else 1), dtype, order=order
    )
    image.flags.writeable = False
    kept = image.copy()
    solution = denoise(image, 14.0, channel_axis=-1)
    assert not np.shares_memory(solution.image, image)
    assert np.array_equal(image, kept)


def test_a_large_mu_still_gives_an_array_of_its_own():
    image = np.random.default_rng(1).random((8, 8))
    assert not np.shares_memory(denoise(image, 1e12).image, image)


def test_the_number_of_threads_never_changes_the_result(noisy):
    tall = np.tile(noisy, (2, 2)).astype(np.float32)
    one, many = (denoise(tall, 14.0, threads=threads) for threads in (1, 4))
    assert one.image.tobytes() == many.image.tobytes()
    assert one.distance_bound == many.distance_bound


@pytest.mark.parametrize("name", ["mu", "epsilon", "sigma", "chroma", "data_range"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_parameters_that_are_not_positive_and_finite_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} must be positive and finite"):
        denoise(np.zeros((4, 4)), **{name: value})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tolerance": -1}, "tolerance must be at least 0"),
        ({"tolerance": float("nan")}, "tolerance must be at least 0"),
        ({"epsilon": 1e-70}, "epsilon must be at least"),
        ({"mu": 10**400}, "mu must be positive and finite"),
        ({"mu": 1e69}, "mu must be at least"),
        ({"chroma": 1e19}, "chroma must be at least"),
        ({"data_range": 1e300}, "data_range must be at least"),
        ({"mu": 5.0, "sigma": 0.1}, "give only one of them"),
        ({"mu": 5.0, "strength": 2.0}, "strength scales the automatic mu"),
        ({"noise": "pink"}, "noise must be one of auto, white"),
        ({"penalty": ["huber"]}, "penalty must be one of"),
        ({"max_iterations": 0}, "max_iterations must be at least 1"),
        ({"threads": 0}, "threads must be at least 1"),
        ({"tv": "sideways"}, "tv must be one of isotropic, anisotropic"),
        ({"penalty": "l2"}, "penalty must be one of hyperbolic, huber"),
        ({"step": "newton"}, "step must be one of bb, fixed"),
        ({"engine": "gpu"}, "engine must be one of fused, sparse"),
    ],
)
def test_options_outside_their_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        denoise(np.zeros((4, 4)), **options)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((4,), {}, "two axes"),
        ((2, 3, 4, 5), {}, "two axes"),
        ((4, 4, 3), {}, "pass channel_axis=-1"),
        ((3, 40, 40), {}, "pass channel_axis=0"),
        ((4, 4), {"channel_axis": -1}, "three axes"),
        ((4, 4, 3), {"channel_axis": 3}, "three axes"),
        ((0, 4), {}, "no pixels"),
    ],
)
def test_images_of_other_shapes_are_refused_with_the_remedy(shape, options, message):
    with pytest.raises(ValueError, match=message):
        denoise(np.zeros(shape), **options)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_counted_and_refused(bad):
    image = np.zeros((4, 4))
    image[1, 2] = image[3, 3] = bad
    with pytest.raises(ValueError, match="2 values that are not finite"):
        denoise(image)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.full((4, 4), 1e-40, np.float32), "subnormal.*multiply them"),
        (np.array([[-1.7e308, 1.7e308]]), "divide them"),
        (np.array([[0, 2**53 + 1]]), r"beyond 2\*\*53.*scale it"),
        (np.array([[0, 2**63]], np.uint64), r"beyond 2\*\*53.*scale it"),
    ],
)
def test_values_that_lose_their_digits_are_refused_with_the_remedy(image, message):
    with pytest.raises(ValueError, match=message):
        denoise(image)


@pytest.mark.parametrize(
    "options", [{"mu": 1e-50}, {"mu": 1e50}, {"sigma": 1e-30}, {"mu": 5, "tolerance": 1e-40}]
)
def test_parameters_out_of_all_proportion_are_refused(options):
    with pytest.raises(ValueError, match="does not suit intensities that differ by less than 2"):
        denoise(np.eye(4), **options)


@pytest.mark.parametrize("image", [np.zeros((4, 4), complex), np.array([["a", "b"]]), np.array([[None]])])
def test_images_that_are_not_real_numbers_are_refused(image):
    with pytest.raises(TypeError, match="integers or real floating-point numbers"):
        denoise(image)


@pytest.mark.parametrize(
    "options",
    [{"channel_axis": True}, {"channel_axis": 1.0}, {"max_iterations": 1.5}, {"threads": "2"}, {"mu": 5j}],
)
def test_arguments_of_the_wrong_type_are_refused(options):
    with pytest.raises(TypeError):
        denoise(np.zeros((4, 4, 3)), **({"channel_axis": -1} | options))


def test_masked_pixels_are_absent_and_the_result_is_masked_alike(noisy):
    gone = np.random.default_rng(3).random(noisy.shape) < 0.1
    wild = np.where(gone, 1e6, noisy)
    masked = denoise(np.ma.array(wild, mask=gone))
    assert np.array_equal(masked.image.mask, gone)
    assert np.array_equal(masked.image.data[gone], wild[gone])
    absent = denoise(np.where(gone, np.nan, noisy), nan="keep")
    assert masked.mu == absent.mu
    assert np.array_equal(masked.image.data[~gone], absent.image[~gone])
    plain = np.ma.array(noisy)
    assert np.array_equal(denoise(plain, 14.0).image, denoise(noisy, 14.0).image)


def test_the_impulses_of_a_stack_are_those_of_all_its_images():
    images = np.random.default_rng(4).normal(0.5, 0.02, (2, 32, 40)).astype(np.float32)
    images[0, 4::9, 4::9] = 1
    images[1, 20, 20] = 1
    solution = denoise(images, 20, spatial_axes=(1, 2), impulses="on")
    assert solution.impulses == sum(denoise(image, 20, impulses="on").impulses for image in images) > 12
    assert solution.image.max() < 0.6


@pytest.mark.slow
def test_a_larger_strength_is_smoother(noisy):
    plain, strong = denoise(noisy), denoise(noisy, strength=2.0)
    assert strong.mu == pytest.approx(plain.mu / 2)
    assert rms(strong.image - noisy) > rms(plain.image - noisy)


@pytest.mark.slow
def test_a_given_epsilon_is_kept_and_mu_chosen_for_it(noisy):
    solution = denoise(noisy, epsilon=0.05)
    assert solution.epsilon == 0.05
    assert solution.mu != denoise(noisy).mu
    best = max(psnr(denoise(noisy, mu, 0.05).image, clean("camera")) for mu in np.geomspace(4, 40, 12))
    assert psnr(solution.image, clean("camera")) > best - 0.2


@pytest.mark.parametrize("engine", ["fused", "sparse"])
def test_the_trace_tells_what_every_evaluation_told_and_changes_nothing_else(noisy, engine):
    plain = denoise(noisy, 14, engine=engine)
    traced = denoise(noisy, 14, engine=engine, trace=True)
    assert plain.trace == ()
    assert traced.image.tobytes() == plain.image.tobytes()
    assert len(traced.trace) == traced.iterations
    assert traced.trace[-1] == (traced.value, traced.distance_bound)
    for iterations in (1, 2, 5):
        cut_short = denoise(noisy, 14, engine=engine, max_iterations=iterations)
        assert traced.trace[iterations - 1] == (cut_short.value, cut_short.distance_bound)


def test_the_package_offers_what_it_lists():
    for name in tvdenoise.__all__:
        assert getattr(tvdenoise, name) is not None
    assert set(tvdenoise.__all__) <= set(dir(tvdenoise))
    with pytest.raises(AttributeError, match="no attribute 'denoize'"):
        tvdenoise.denoize  # noqa: B018
