"""``chroma_only``: the opponents are denoised for their noise, and R + G + B is kept."""

import numpy as np
import pytest

from support.samples import clean, rms
from tvdenoise import ArraySource, choose_parameters, denoise, denoise_tiled, estimate_noise
from tvdenoise.model.colour import from_opponent, to_opponent
from tvdenoise.noise.estimation import estimate_chroma
from tvdenoise.noise.evidence import ArrayEvidence
from tvdenoise.noise.model import NoiseKind
from tvdenoise.options import ContradictionError
from tvdenoise.parameters import epsilon_for
from tvdenoise.tiling.plan import INFORMATIVE, StreamedEvidence

SIGMA = 25 / 255


def opponents(image: np.ndarray) -> np.ndarray:
    """Luminance and opponents, (3, ...)."""
    return to_opponent(np.ascontiguousarray(np.moveaxis(image, -1, 0)))


def with_colour_noise(image: np.ndarray, sigma: float = SIGMA, seed: int = 0) -> np.ndarray:
    """Add noise to the opponents alone."""
    planes = opponents(image)
    planes[1:] += sigma * np.random.default_rng(seed).standard_normal(planes[1:].shape)
    return np.moveaxis(from_opponent(planes), 0, -1).astype(np.float32)


@pytest.fixture(scope="module")
def coffee() -> np.ndarray:
    return clean("coffee", colour=True)[:200, :260].astype(np.float32)


@pytest.fixture(scope="module")
def noisy(coffee: np.ndarray) -> np.ndarray:
    return with_colour_noise(coffee)


def test_the_colour_noise_goes_and_the_brightness_stays(coffee, noisy):
    solution = denoise(noisy, channel_axis=-1, chroma_only=True)
    assert solution.converged
    np.testing.assert_allclose(solution.image.sum(axis=-1), noisy.sum(axis=-1), atol=2e-6)
    before, after = (rms((opponents(image) - opponents(coffee))[1:]) for image in (noisy, solution.image))
    assert after < 0.25 * before
    assert solution.sigma == pytest.approx(SIGMA, rel=0.1)
    assert solution.noise.kind is NoiseKind.WHITE
    assert len(solution.noise.channels) == 2


def test_mu_is_near_the_best_for_the_opponents(coffee, noisy):
    mu = choose_parameters(noisy, channel_axis=-1, chroma_only=True).mu

    def error(factor: float) -> float:
        found = denoise(noisy, factor * mu, channel_axis=-1, chroma_only=True).image
        return rms((opponents(found) - opponents(coffee))[1:])

    assert error(1) < 1.03 * min(map(error, (0.5, 0.7, 0.85, 1.2, 1.4, 2)))


def test_the_noise_of_the_luminance_plays_no_part(noisy):
    """Unlike in the plain solve, whose mu follows the noise of all channels."""
    planes = opponents(noisy)
    planes[0] += 0.1 * np.random.default_rng(5).standard_normal(planes[0].shape)
    grainy = np.moveaxis(from_opponent(planes), 0, -1).astype(np.float32)
    smooth, rough = (choose_parameters(each, channel_axis=-1, chroma_only=True) for each in (noisy, grainy))
    assert rough.mu == pytest.approx(smooth.mu, rel=0.02)
    assert rough.noise.sigma == pytest.approx(smooth.noise.sigma, rel=0.02)


@pytest.mark.parametrize("equal", [0, 1])
def test_equal_neighbours_in_one_channel_alone_do_not_mean_an_image_without_noise(equal):
    """A flat brightness, or colours that are equal over 2 × 2 pixels, as some JPEG decoders leave them."""
    rng = np.random.default_rng(1)
    planes = (0.5 + 0.05 * rng.standard_normal((3, 128, 160))).astype(np.float32)
    if equal == 0:
        planes[0] = 0.5
    else:
        planes[1:] = planes[1:, ::2, ::2].repeat(2, axis=1).repeat(2, axis=2)
    flagged = np.concatenate([planes, np.full_like(planes[:1], INFORMATIVE)])
    evidence = StreamedEvidence.of(planes.shape)
    for top in range(0, 128, 16):
        evidence.add(flagged[:, top : top + 16])
    found = [estimate_chroma(each).sigma for each in (ArrayEvidence.of(planes), evidence)]
    assert found[0] == found[1]
    assert found[0] == pytest.approx(0.05, rel=0.3)
    planes = planes[:, ::4, ::4].repeat(4, axis=1).repeat(4, axis=2)
    assert estimate_chroma(ArrayEvidence.of(planes)).sigma == 0


def test_colour_noise_is_seen_in_rounded_values():
    base = clean("coffee", colour=True)[:128, :160]
    values = np.rint(np.clip(with_colour_noise(base, 8 / 255), 0, 1) * 255).astype(np.uint8)
    found = choose_parameters(values, channel_axis=-1, chroma_only=True).noise
    assert found.sigma * 255 == pytest.approx(8, rel=0.15)


def test_an_image_without_colour_noise_comes_back_unchanged():
    drawing = np.zeros((64, 64, 3), np.uint8)
    drawing[10:40, 20:50] = (200, 30, 90)
    solution = denoise(drawing, channel_axis=-1, chroma_only=True)
    assert solution.sigma == 0
    assert np.array_equal(np.rint(solution.image * 255), drawing)


def test_correlated_colour_noise_is_taken_for_what_it_is(coffee):
    planes = opponents(coffee)
    blots = np.random.default_rng(3).standard_normal((2, 100, 130)).repeat(2, axis=1).repeat(2, axis=2)
    planes[1:] += 0.06 * blots
    image = np.moveaxis(from_opponent(planes), 0, -1).astype(np.float32)
    solution = denoise(image, channel_axis=-1, chroma_only=True)
    assert solution.noise.kind is NoiseKind.CORRELATED
    assert rms((opponents(solution.image) - opponents(coffee))[1:]) < 0.06 * 0.6


def test_the_result_does_not_depend_on_the_weight_of_the_opponents(noisy):
    plain, heavy = (denoise(noisy, channel_axis=-1, chroma_only=True, chroma=chroma) for chroma in (3, 9))
    assert heavy.mu == pytest.approx(3 * plain.mu, rel=1e-3)
    assert heavy.epsilon == pytest.approx(3 * plain.epsilon, rel=1e-3)
    assert rms(heavy.image - plain.image) < plain.tolerance
    # A given mu is weighted against them.
    given, smoother = (denoise(noisy, 20, channel_axis=-1, chroma_only=True, chroma=c).image for c in (3, 9))
    assert rms(smoother - noisy) > 1.02 * rms(given - noisy)


def test_epsilon_scales_with_the_weight():
    assert epsilon_for(10, weighted_chroma=False, span=1.0, chroma_only=3.0) == pytest.approx(0.04 * 9 / 10)
    assert epsilon_for(30, weighted_chroma=False, span=1.0, chroma_only=9.0) == pytest.approx(
        3 * 0.04 * 9 / 10
    )


def test_the_certificate_counts_the_two_opponents(noisy):
    """The sparse engine, which is the definition, finds the same minimiser within both bounds."""
    part = noisy[:40, :50]
    fast = denoise(part, 20.0, 0.05, channel_axis=-1, chroma_only=True)
    exact = denoise(
        part.astype(float), 20.0, 0.05, channel_axis=-1, chroma_only=True, engine="sparse", tolerance=1e-6
    )
    unknowns = 2 * 40 * 50
    distance = np.sqrt(np.sum((fast.image - exact.image) ** 2) / unknowns)
    assert 0 < distance <= fast.distance_bound + exact.distance_bound


def test_the_opponents_are_solved_as_if_they_were_all(noisy):
    planes = opponents(noisy)[1:]
    pair = denoise(planes, 20.0 / 3, 0.06 / 3, channel_axis=0)
    only = denoise(noisy, 20.0, 0.06, channel_axis=-1, chroma_only=True)
    difference = opponents(only.image)[1:] - pair.image
    assert rms(difference) <= only.distance_bound + pair.distance_bound


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_kept_pixels_are_kept_bit_for_bit(coffee, dtype):
    noisy = with_colour_noise(coffee[:60, :70])
    values = np.rint(noisy.clip(0, 1) * 255).astype(dtype)
    mask = np.zeros((60, 70), bool)
    mask[10:50, 5:60] = True
    solution = denoise(values, channel_axis=-1, chroma_only=True, mask=mask, data_range=255)
    units = 255 if dtype == np.uint8 else 1
    np.testing.assert_array_equal(solution.image[~mask], values[~mask] / solution.image.dtype.type(units))
    np.testing.assert_allclose(solution.image.sum(-1) * units, values.sum(-1, dtype=float), atol=1e-3)
    assert rms(solution.image[mask] * units - values[mask].astype(float)) > 5


def test_a_volume_keeps_its_brightness_too(coffee):
    volume = with_colour_noise(np.stack([coffee[:60, :70]] * 6), seed=2)
    solution = denoise(volume, channel_axis=-1, spatial_axes=(0, 1, 2), chroma_only=True)
    np.testing.assert_allclose(solution.image.sum(axis=-1), volume.sum(axis=-1), atol=2e-6)
    errors = [rms((opponents(image) - opponents(np.stack([coffee[:60, :70]] * 6)))[1:]) for image in
              (volume, solution.image, denoise(volume[0], channel_axis=-1, chroma_only=True).image[None])]  # fmt: skip
    assert errors[1] < 0.25 * errors[0]
    assert errors[1] < errors[2]


@pytest.mark.parametrize("kind", ["image", "volume"])
def test_parts_give_the_same_as_the_whole(coffee, kind):
    image = with_colour_noise(np.tile(coffee, (2, 2, 1)))
    layout = {}
    if kind == "volume":
        image, layout = with_colour_noise(np.stack([coffee] * 6)), {"spatial_axes": (0, 1, 2)}
    values = np.rint(image.clip(0, 1) * 255).astype(np.uint8)
    whole = denoise(values, channel_axis=-1, chroma_only=True, **layout)
    with denoise_tiled(ArraySource(values, has_channels=True), memory=5_000_000, chroma_only=True) as tiled:
        assert tiled.windows > 1
        assert tiled.solution.converged
        found = tiled.solution
        assert (found.mu, found.epsilon, found.tolerance) == (whole.mu, whole.epsilon, whole.tolerance)
        assert found.noise.sigma == whole.noise.sigma
        result = np.concatenate([block for _, block in tiled.blocks()]).reshape(values.shape)
    np.testing.assert_allclose(result.sum(-1) * 255, values.sum(-1), atol=1e-3)
    unknown = np.sqrt(1.5) * rms(result - whole.image)  # of two channels
    assert unknown <= whole.distance_bound + found.distance_bound


def test_a_model_of_three_channels_serves_the_opponents(noisy):
    model = estimate_noise(noisy, channel_axis=-1)
    solution = denoise(noisy, channel_axis=-1, chroma_only=True, noise=model)
    for found, given in zip(solution.noise.channels, model.channels[1:], strict=True):
        assert found.sigma == pytest.approx(given.sigma)
        np.testing.assert_allclose(found.intensities, given.intensities, atol=1e-6)
    level = denoise(noisy, channel_axis=-1, chroma_only=True, sigma=SIGMA)
    assert level.mu == pytest.approx(denoise(noisy, channel_axis=-1, chroma_only=True).mu, rel=0.1)


def test_the_noise_is_stated_at_the_brightness_of_the_pixels(coffee):
    """Its intensities are those of the luminance, √3 times the mean of the channels, though only two are solved."""
    planes = opponents(coffee) + np.float32(3)
    deviations = 0.02 * (1 + 3 * (planes[0] - planes[0].min()))
    planes[1:] += deviations * np.random.default_rng(4).standard_normal(planes[1:].shape)
    image = np.moveaxis(from_opponent(planes), 0, -1).astype(np.float32)
    solution = denoise(image, channel_axis=-1, chroma_only=True)
    assert solution.noise.kind is NoiseKind.INTENSITY
    intensities = solution.noise.channels[0].intensities
    assert planes[0].min() <= intensities.min() < intensities.max() <= planes[0].max()
    with denoise_tiled(ArraySource(image, has_channels=True), memory=10**8, chroma_only=True) as tiled:
        np.testing.assert_array_equal(tiled.solution.noise.channels[0].intensities, intensities)
    again = denoise(image, channel_axis=-1, chroma_only=True, noise=estimate_noise(image, channel_axis=-1))
    assert again.noise.channels[0].intensities.min() == pytest.approx(intensities.min(), rel=0.05)


@pytest.mark.parametrize(("factor", "offset"), [(1.0, 8.0), (2.0**-30, 2.0**-30), (2.0**20, -(2.0**24))])
def test_the_result_follows_scale_and_offset(noisy, factor, offset):
    values = noisy[:80, :90].astype(np.float64)
    plain = denoise(values, channel_axis=-1, chroma_only=True)
    moved = denoise(factor * values + offset, channel_axis=-1, chroma_only=True)
    assert moved.mu == pytest.approx(plain.mu / factor, rel=1e-6)
    assert moved.sigma == pytest.approx(factor * plain.sigma, rel=1e-6)
    np.testing.assert_allclose((moved.image - offset) / factor, plain.image, atol=1e-5)
    sums = (factor * values + offset).sum(axis=-1)
    np.testing.assert_allclose(moved.image.sum(axis=-1), sums, rtol=1e-15, atol=1e-15 * factor)


@pytest.mark.parametrize("how", ["nodata", "nan", "masked"])
def test_absent_pixels_are_kept_and_play_no_part(noisy, how):
    gone = np.zeros(noisy.shape[:2], bool)
    gone[20:40, 30:80] = gone[::9, ::7] = True
    value = np.float32({"nodata": -99, "nan": np.nan, "masked": 7}[how])
    values = np.where(gone[..., np.newaxis], value, noisy)
    options = {"nodata": {"nodata": -99.0}, "nan": {"nan": "keep"}, "masked": {}}[how]
    given = np.ma.array(values, mask=np.stack([gone] * 3, axis=-1)) if how == "masked" else values
    whole = denoise(given, channel_axis=-1, chroma_only=True, **options)
    assert whole.converged
    assert whole.absent == gone.sum()
    image = np.ma.getdata(whole.image)
    np.testing.assert_array_equal(image[gone], values[gone])
    np.testing.assert_allclose(image[~gone].sum(axis=-1), noisy[~gone].sum(axis=-1), atol=2e-6)
    assert whole.mu == pytest.approx(choose_parameters(noisy, channel_axis=-1, chroma_only=True).mu, rel=0.1)
    if how == "masked":
        assert np.array_equal(whole.image.mask[..., 0], gone)
        return
    with denoise_tiled(
        ArraySource(values, has_channels=True), memory=2_000_000, overlap=16, chroma_only=True, **options
    ) as tiled:
        assert tiled.windows > 1
        found = tiled.solution
        assert found.mu == pytest.approx(whole.mu, rel=0.02)  # absent pixels are filled from their own band
        assert found.absent == whole.absent
        result = np.concatenate([block for _, block in tiled.blocks()])
    np.testing.assert_array_equal(result[gone], values[gone])
    same = denoise(values, found.mu, found.epsilon, channel_axis=-1, chroma_only=True, **options)
    unknown = np.sqrt(1.5) * rms((result - same.image)[~gone])
    assert unknown <= same.distance_bound + found.distance_bound


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_other_images_are_refused(channels):
    image = np.zeros((9, 9, channels), np.uint8)
    with pytest.raises(ValueError, match=f"three channels, red, green and blue, and this one has {channels}"):
        denoise(image, channel_axis=-1, chroma_only=True)
    with (
        pytest.raises(ValueError, match="three channels"),
        denoise_tiled(ArraySource(image, has_channels=True), memory=10**7, chroma_only=True),
    ):
        pass


def test_impulses_are_no_matter_of_colour_alone(noisy):
    with pytest.raises(ContradictionError, match="chroma_only keeps the brightness, and impulses"):
        denoise(noisy, channel_axis=-1, chroma_only=True, impulses="on")


def test_missing_pixels_have_no_brightness_to_keep(noisy):
    with pytest.raises(ContradictionError, match="chroma_only keeps the brightness"):
        denoise(noisy, channel_axis=-1, chroma_only=True, nan="fill")
    weights = np.ones(noisy.shape[:2])
    weights[3, 4] = 0
    with pytest.raises(ValueError, match="missing pixels do not have"):
        denoise(noisy, channel_axis=-1, chroma_only=True, weights=weights)
    weights[3, 4] = 0.5
    assert denoise(noisy, 20.0, channel_axis=-1, chroma_only=True, weights=weights).converged
