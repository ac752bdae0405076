"""Learned filters in the place of total variation: what they do, what follows from the image, what is refused."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

from support.banks import small_prior
from support.samples import clean, crop, psnr, rms, with_noise
from tvdenoise import choose_parameters, denoise, read_prior
from tvdenoise.errors import PriorError
from tvdenoise.model.colour import to_opponent
from tvdenoise.model.filters import FilterObjective, FilterPrior
from tvdenoise.options import ContradictionError, FileOptions, Options

PRIOR = small_prior()
SIGMA = 25 / 255
TRUTH = crop(clean("camera"), 64)
NOISY = with_noise(TRUTH, SIGMA, seed=1).astype(np.float32)
COLOUR = np.stack([NOISY, NOISY[::-1], NOISY.T], axis=-1)


def test_the_result_is_the_certified_minimiser_and_cleaner_than_the_input():
    solution = denoise(NOISY, prior=PRIOR, level=SIGMA)
    objective = FilterObjective(NOISY[np.newaxis].astype(float), FilterPrior(PRIOR.bank, SIGMA))
    gradient = objective.gradient(solution.image[np.newaxis].astype(float))
    bound = objective.distance_bound(float(np.vdot(gradient, gradient)))
    assert solution.converged
    assert bound <= solution.distance_bound <= solution.tolerance == pytest.approx(0.05 * SIGMA)
    assert solution.distance_bound == pytest.approx(bound, rel=0.05)
    assert solution.value == pytest.approx(objective.value(solution.image[np.newaxis]), rel=1e-4)
    assert (solution.level, solution.mu, solution.epsilon) == pytest.approx((SIGMA, 1 / SIGMA, 0))
    assert psnr(solution.image, TRUTH) > psnr(NOISY, TRUTH) + 3


def test_the_definition_the_kernel_and_both_steps_reach_the_same_minimiser():
    fast = denoise(NOISY[:24, :21], prior=PRIOR, level=SIGMA)
    for keywords in ({"engine": "sparse"}, {"step": "fixed"}, {"engine": "sparse", "step": "fixed"}):
        other = denoise(NOISY[:24, :21], prior=PRIOR, level=SIGMA, **keywords)
        assert rms(other.image - fast.image) <= other.distance_bound + fast.distance_bound


def test_the_number_of_threads_never_changes_the_result():
    tall = np.tile(NOISY, (5, 1))
    one, two = (denoise(tall, prior=PRIOR, level=SIGMA, threads=threads) for threads in (1, 2))
    assert one.image.tobytes() == two.image.tobytes()


def test_filters_of_one_channel_denoise_each_opponent_by_itself():
    found = denoise(COLOUR, prior=PRIOR, level=SIGMA, channel_axis=-1, tolerance=1e-4)
    planes = to_opponent(np.ascontiguousarray(np.moveaxis(COLOUR, -1, 0)))
    opponents = to_opponent(np.ascontiguousarray(np.moveaxis(found.image, -1, 0)))
    for plane, opponent in zip(planes, opponents, strict=True):
        alone = denoise(plane, prior=PRIOR, level=SIGMA, tolerance=1e-4)
        assert rms(alone.image - opponent) < 3e-4


def test_filters_over_three_channels_denoise_colour_images_alone():
    colour = small_prior(channels=3)
    solution = denoise(COLOUR, prior=colour, level=SIGMA, channel_axis=-1)
    assert solution.converged
    assert rms(solution.image - COLOUR) > 0.3 * SIGMA
    with pytest.raises(ValueError, match="images of 3 channels, and this one has 1; use learned, or"):
        denoise(NOISY, prior=colour, level=SIGMA)


def test_the_level_is_chosen_for_the_noise():
    assert choose_parameters(NOISY, prior=PRIOR, sigma=SIGMA).level == pytest.approx(SIGMA)
    found = denoise(NOISY, prior=PRIOR)
    assert found.noise is not None
    assert found.level == pytest.approx(found.sigma)
    assert denoise(NOISY, prior=PRIOR, strength=1.5).level == pytest.approx(1.5 * found.level)


@pytest.mark.slow
def test_the_level_for_correlated_noise_has_about_the_least_error():
    rng = np.random.default_rng(0)
    truth = crop(clean("camera"), 200)
    white = rng.standard_normal((201, 201))
    smooth = (white[1:, 1:] + white[:-1, 1:] + white[1:, :-1] + white[:-1, :-1]) / 2
    noisy = (truth + 0.08 * smooth).astype(np.float32)
    found = denoise(noisy, prior=PRIOR)
    assert found.noise.kind.value == "correlated"
    levels = found.level * np.exp(np.linspace(-1, 1, 9))
    best = max(psnr(denoise(noisy, prior=PRIOR, level=level).image, truth) for level in levels)
    assert psnr(found.image, truth) > best - 0.35


@pytest.mark.parametrize(("factor", "offset"), [(1e-6, 0.0), (1e6, 0.0), (1.0, 1000.0)])
def test_the_result_follows_the_data(factor, offset):
    image = NOISY.astype(float)
    plain = denoise(image, prior=PRIOR, tolerance=1e-4)
    found = denoise(factor * image + offset, prior=PRIOR, tolerance=factor * 1e-4)
    assert found.level == pytest.approx(factor * plain.level, rel=1e-3)
    assert rms((found.image - offset) / factor - plain.image) < 4e-4


def test_an_image_without_noise_comes_back():
    steps = np.kron(np.arange(12).reshape(3, 4) * 20, np.ones((16, 16))).astype(np.uint8)
    found = denoise(steps, prior=PRIOR)
    assert np.array_equal(np.rint(found.image * 255), steps)


@pytest.mark.parametrize(
    "keywords",
    [
        {"mu": 10.0},
        {"epsilon": 0.01},
        {"tv": "anisotropic"},
        {"penalty": "huber"},
        {"chroma": 2.0},
        {"chroma_only": True},
        {"level": 0.1, "sigma": 0.1},
        {"level": 0.1, "strength": 2.0},
    ],
)
def test_options_of_total_variation_contradict_learned_filters(keywords):
    with pytest.raises(ContradictionError):
        Options(prior=PRIOR, **keywords)
    Options(prior=PRIOR, level=0.1)


def test_a_level_needs_learned_filters():
    with pytest.raises(ContradictionError, match="level is that of learned filters"):
        Options(level=0.1)


@pytest.mark.parametrize(
    ("image", "keywords"),
    [
        (np.stack([NOISY] * 4), {"spatial_axes": (0, 1, 2)}),
        (np.stack([NOISY] * 4), {"spatial_axes": (0, 1, 2), "spacing": (2.0, 1.0, 1.0)}),
        (NOISY, {"weights": np.where(NOISY > 0.3, 1.0, 2.0)}),
        (NOISY, {"spacing": (1.0, 3.0)}),
    ],
)
def test_volumes_unequal_weights_and_pixels_that_are_not_square_are_refused(image, keywords):
    with pytest.raises(ValueError, match="use total variation"):
        denoise(image, prior=PRIOR, **keywords)


def test_square_pixels_of_any_size_are_square():
    alike, plain = (denoise(NOISY, prior=PRIOR, level=SIGMA, **one) for one in ({"spacing": (3.0, 3.0)}, {}))
    assert np.array_equal(alike.image, plain.image)


MASK = np.indices(NOISY.shape).sum(axis=0) % 64 > 20


def test_a_mask_keeps_pixels_bit_for_bit_and_the_bound_is_that_of_the_others():
    found = denoise(NOISY, prior=PRIOR, level=SIGMA, mask=MASK)
    whole = denoise(NOISY, prior=PRIOR, level=SIGMA, tolerance=1e-5)
    assert found.image[~MASK].tobytes() == NOISY[~MASK].tobytes()
    assert found.converged
    assert found.distance_bound <= found.tolerance == pytest.approx(0.05 * SIGMA)
    assert rms((found.image - whole.image)[MASK]) <= found.distance_bound + 1e-4
    traced = denoise(NOISY, prior=PRIOR, level=SIGMA, mask=MASK, trace=True)
    assert traced.trace[-1].distance_bound == traced.distance_bound


@pytest.mark.parametrize(
    ("spoilt", "keywords"),
    [
        (np.nan, {"nan": "fill"}),
        (np.nan, {"nan": "keep"}),
        (-7.0, {"nodata": -7.0}),
        (40.0, {"impulses": "on"}),
    ],
)
def test_pixels_without_a_value_are_filled_and_hardly_change_the_others(spoilt, keywords):
    is_spoilt = np.random.default_rng(0).random(NOISY.shape) < 0.02
    image = np.where(is_spoilt, np.float32(spoilt), NOISY)
    found = denoise(image, prior=PRIOR, level=SIGMA, **keywords)
    plain = denoise(NOISY, prior=PRIOR, level=SIGMA)
    assert found.converged
    assert np.isfinite(found.distance_bound)
    assert rms((found.image - plain.image)[~is_spoilt]) < 0.2 * SIGMA
    if keywords in ({"nan": "keep"}, {"nodata": -7.0}):
        np.testing.assert_array_equal(found.image[is_spoilt], image[is_spoilt])
        assert found.absent == np.count_nonzero(is_spoilt)
    else:
        assert rms((found.image - TRUTH)[is_spoilt]) < 2 * SIGMA
    chosen = denoise(image, prior=PRIOR, **keywords)
    assert chosen.level == pytest.approx(denoise(NOISY, prior=PRIOR).level, rel=0.15)


def test_what_missing_pixels_hold_does_not_matter():
    weights = np.where(MASK, 1.0, 0.0)
    found = denoise(NOISY, prior=PRIOR, level=SIGMA, weights=weights)
    other = denoise(np.where(MASK, NOISY, 0.3), prior=PRIOR, level=SIGMA, weights=weights)
    np.testing.assert_array_equal(found.image, other.image)


def test_names_of_files_are_read_and_bad_ones_refused(tmp_path):
    path = tmp_path / "a.prior"
    path.write_bytes(PRIOR.to_bytes())
    by_name = denoise(NOISY, prior=str(path), level=SIGMA)
    assert by_name.image.tobytes() == denoise(NOISY, prior=read_prior(path), level=SIGMA).image.tobytes()
    stronger = replace(PRIOR.bank, potentials=PRIOR.bank.potentials.at(1.5))
    path.write_bytes(replace(PRIOR, bank=stronger).to_bytes())  # another file of that name
    assert denoise(NOISY, prior=str(path), level=SIGMA).image.tobytes() != by_name.image.tobytes()
    with pytest.raises(PriorError, match="cannot be read"):
        denoise(NOISY, prior=str(tmp_path / "none.prior"))


def test_options_with_a_prior_travel_to_other_processes_and_name_it_by_its_weights():
    options = FileOptions(prior=PRIOR, level=0.1)
    received = pickle.loads(pickle.dumps(options))
    assert received == options
    assert received.shape() == {"prior": f"learned-{PRIOR.digest}"}
    assert options.words() == ["--prior", "small.prior", "--level", "0.1"]
    assert options.with_choice(4.0).level == 0.25
