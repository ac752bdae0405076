"""Noise estimates, compared with known noise."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from scipy.fft import dctn
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.special import gammaincinv
from threadpoolctl import threadpool_info

from support.measurements import scene
from support.samples import PHOTOGRAPHS, SAMPLES, clean, correlated, photons, rms, with_noise
from tvdenoise import estimate_noise
from tvdenoise.model.colour import from_opponent
from tvdenoise.noise import estimation
from tvdenoise.noise.blocks import Blocks, spectrum_of
from tvdenoise.noise.estimation import PATCHES, covariance_of_patches, sigma_of_patches
from tvdenoise.noise.evidence import (
    ArrayEvidence,
    WindowGrid,
    excluded_pixels,
    grid_windows,
    middles,
    windows_of,
)
from tvdenoise.noise.model import BLOCK, ChannelNoise, NoiseKind, NoiseModel


def as_jpeg(image, subsampling):
    """Return the image after saving it as a colour JPEG."""
    stream = BytesIO()
    pixels = np.clip(np.rint(255 * image), 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(stream, "JPEG", quality=95, subsampling=subsampling)
    with Image.open(stream) as opened:
        return np.asarray(opened)


@pytest.mark.slow
@pytest.mark.parametrize(("level", "allowed"), [(5, 0.10), (10, 0.05), (25, 0.05), (50, 0.05)])
@pytest.mark.parametrize("colour", [False, True], ids=["grey", "colour"])
def test_white_noise_is_recognised_with_its_level(level, allowed, colour):
    errors = []
    for seed, name in enumerate(PHOTOGRAPHS):
        noisy = with_noise(clean(name, colour=colour), level / 255, seed)
        model = estimate_noise(noisy, channel_axis=-1 if colour else None)
        if name not in ("retina",):  # its flat surround is clipped at white before the noise
            assert model.kind is NoiseKind.WHITE, name
        errors.append(abs(model.sigma * 255 / level - 1))
    assert np.mean(errors) <= allowed


def test_the_growth_of_photon_noise_is_found():
    image = clean("camera") * 0.9 + 0.05
    model = estimate_noise(photons(image, 50))
    assert model.kind is NoiseKind.INTENSITY
    channel = model.channels[0]
    expected = channel.intensities / 50 + 0.01**2
    assert np.allclose(channel.variances, expected, rtol=0.25)
    assert model.sigma == pytest.approx(np.sqrt(np.mean(image / 50 + 0.01**2)), rel=0.1)
    assert model.growth > 2


@pytest.mark.parametrize("name", ["camera", "astronaut", "coffee"])
def test_correlated_noise_is_recognised_with_its_level_and_correlation(name):
    image = clean(name)
    noise = correlated(image.shape, 15 / 255)
    model = estimate_noise(image + noise)
    assert model.kind is NoiseKind.CORRELATED
    assert model.sigma * 255 == pytest.approx(15, rel=0.3)
    neighbours = np.mean(noise[:, 1:] * noise[:, :-1]) / noise.var()
    assert model.channels[0].correlation == pytest.approx((neighbours, neighbours), abs=0.15)
    assert model.white_sigma < 0.5 * model.sigma
    assert not model.estimators_agree


@pytest.mark.slow
@pytest.mark.parametrize("level", [5, 25])
@pytest.mark.parametrize("subsampling", ["4:2:0", "4:2:2"])
def test_noise_of_a_jpeg_is_found_in_spite_of_smoothed_colours(level, subsampling):
    for name in ("astronaut", "coffee"):
        image = clean(name, colour=True)
        noisy, still = (as_jpeg(each, subsampling) for each in (with_noise(image, level / 255, 1), image))
        model = estimate_noise(noisy, channel_axis=-1)
        assert model.kind is NoiseKind.CORRELATED
        true = np.sqrt(np.mean((noisy / 255 - still / 255) ** 2))
        assert model.sigma == pytest.approx(true, rel=0.25 if level == 5 else 0.15)


def test_texture_is_not_mistaken_for_noise():
    model = estimate_noise(gaussian_filter(np.random.default_rng(1).random((300, 300)), 2.5, mode="wrap") * 5)
    spectrum = model.channels[0].spectrum
    high = spectrum[np.add.outer(np.arange(BLOCK), np.arange(BLOCK)) >= 7].mean()
    assert model.kind is NoiseKind.CORRELATED
    assert spectrum.mean() / high <= 16.1


def test_the_estimators_agree_on_white_noise():
    assert estimate_noise(with_noise(clean("camera"), 20 / 255, 1)).estimators_agree


def test_clipping_lowers_the_noise_at_the_ends_and_texture_does_not_raise_it_between():
    for name in ("camera", "astronaut", "coffee"):
        noisy = np.round(np.clip(with_noise(clean(name), 15 / 255, 1), 0, 1) * 255).astype(np.uint8)
        true = np.sqrt(np.mean((noisy / 255 - clean(name)) ** 2))
        assert estimate_noise(noisy).sigma == pytest.approx(true, rel=0.08)


def _textured() -> np.ndarray:
    """A colour image whose luminance is full of texture with the spectrum of correlated noise."""
    texture = gaussian_filter(np.random.default_rng(3).standard_normal((300, 300)), 1.2, mode="wrap")
    return 0.5 + 0.1 * texture[..., np.newaxis] / texture.std() * np.ones(3)


def test_luminance_texture_is_not_mistaken_for_noise_far_above_that_of_the_opponents():
    opponents = np.stack([correlated((300, 300), 0.002, seed=seed) for seed in (5, 6, 7)]).astype(np.float32)
    noise = np.moveaxis(from_opponent(opponents, out=opponents.copy()), 0, -1)
    model = estimate_noise(_textured() + noise, channel_axis=-1)
    assert model.kind is NoiseKind.CORRELATED
    luminance, *levels = (channel.sigma for channel in model.channels)
    assert luminance <= 6.001 * np.sqrt(np.mean(np.square(levels)))


@pytest.mark.parametrize("sigma", [1.5 / 255, 5 / 255])
def test_luminance_texture_is_not_mistaken_for_correlated_noise_beside_white_noise_in_the_opponents(sigma):
    model = estimate_noise(with_noise(_textured(), sigma, 3), channel_axis=-1)
    assert model.kind is NoiseKind.WHITE
    assert model.sigma == pytest.approx(sigma, rel=0.1)


def test_photon_noise_beside_luminance_texture_has_the_level_that_the_opponents_show():
    shade = np.linspace(0.2, 1, 300)[:, np.newaxis, np.newaxis]
    image = _textured() * shade
    noisy = photons(image, 400)
    true = rms(noisy - image)
    model = estimate_noise(noisy, channel_axis=-1)
    assert model.kind is NoiseKind.INTENSITY
    assert model.channels[0].sigma == pytest.approx(true, rel=0.1)
    variances = model.channels[0].variances
    assert variances[-1] > 2 * variances[0]


@pytest.mark.parametrize("ratio", [1, 3])
def test_correlated_noise_in_colour_keeps_its_luminance(ratio):
    luminance = correlated((300, 300), 12 / 255, seed=5)
    opponents = [correlated((300, 300), 12 / 255 / ratio, seed=seed) for seed in (6, 7)]
    planes = np.stack([luminance, *opponents]).astype(np.float32)
    noisy = np.moveaxis(from_opponent(planes, out=planes.copy()), 0, -1) + 0.5
    model = estimate_noise(noisy, channel_axis=-1)
    assert model.kind is NoiseKind.CORRELATED
    assert model.channels[0].sigma * 255 == pytest.approx(12, rel=0.2)
    assert model.channels[1].sigma * 255 == pytest.approx(12 / ratio, rel=0.2)


def test_high_frequencies_do_not_set_the_level_if_hardly_any_are_left():
    rng = np.random.default_rng(4)
    order = np.add.outer(np.arange(BLOCK), np.arange(BLOCK))
    energies = rng.exponential(1.0, (2, 3000, BLOCK, BLOCK)) * np.where(order <= 4, 1.0, 1e-6)
    classes = np.repeat([0, 1, 2], 1000)
    energies[:, classes == 2] *= np.where(order >= 7, 1000, 1)
    blocks = Blocks(energies.astype(np.float32), np.linspace(0, 1, 3000, dtype=np.float32), classes)
    spectrum = spectrum_of(blocks, 1, 0.1)
    assert np.all(spectrum.levels * spectrum.shape.mean() <= 2.5 * energies.mean())


def test_choosing_calm_blocks_does_not_make_the_noise_look_smaller():
    for noise in (np.random.default_rng(2).normal(0, 0.1, (300, 300)), correlated((300, 300), 0.1)):
        spectrum = spectrum_of(Blocks.of(noise[np.newaxis] + 0.5), 0, 0.1)
        measured = np.sqrt(np.mean(spectrum.levels) * spectrum.shape.mean())
        assert measured == pytest.approx(0.1, rel=0.08)


@pytest.mark.parametrize(
    "image",
    [
        np.full((64, 64), 0.4),
        np.add.outer(np.zeros(256), np.arange(256) / 255),
        np.add.outer(np.arange(200), np.arange(200)) % 2 * 1.0,
        np.kron(np.indices((20, 20)).sum(axis=0) % 2, np.ones((10, 10))),
    ],
    ids=["constant", "ramp", "checkerboard", "coarse checkerboard"],
)
@pytest.mark.filterwarnings("error")
def test_images_without_noise_have_next_to_none(image):
    assert estimate_noise(image).sigma * 255 < 0.3


@pytest.mark.parametrize(
    "shape",
    [
        (1, 1),
        (1, 9),
        (7, 1),
        (2, 3),
        (8, 8),
        (9, 40),
        (16, 16),
        (17, 23),
        (1, 500),
        (30, 30),
        (32, 32),
        (40, 200),
    ],
)
@pytest.mark.filterwarnings("error")
def test_small_images_have_a_finite_level(shape):
    model = estimate_noise(np.random.default_rng(1).normal(0.5, 0.1, shape))
    assert 0 <= model.sigma < 0.3
    if max(shape) >= 16:
        assert model.sigma == pytest.approx(0.1, rel=0.4)


def test_the_level_is_in_data_ranges():
    noisy = with_noise(clean("camera"), 20 / 255, 1)
    plain = estimate_noise(noisy)
    assert estimate_noise(noisy * 1000, data_range=1000).sigma == pytest.approx(plain.sigma, rel=1e-3)


def test_the_estimate_is_the_same_each_time():
    noisy = photons(clean("coffee", colour=True), 60)
    first, second = (estimate_noise(noisy, channel_axis=-1) for _ in range(2))
    for one, other in zip(first.channels, second.channels, strict=True):
        assert np.array_equal(one.variances, other.variances)
        assert np.array_equal(one.spectrum, other.spectrum)


def test_drawn_noise_has_the_variance_of_its_intensity_and_the_spectrum():
    order = np.add.outer(np.arange(BLOCK), np.arange(BLOCK))
    spectrum = np.exp(-order / 4)
    channel = ChannelNoise(np.array([0.0, 1.0]), np.array([0.01, 0.05]), spectrum / spectrum.mean(), 0.1)
    planes = np.repeat(np.linspace(0, 1, 3), 200)[np.newaxis, :, np.newaxis] * np.ones((1, 600, 600))
    noise = NoiseModel(NoiseKind.CORRELATED, (channel,), 0.0).draw(planes, seed=3)[0]
    for k, variance in enumerate((0.01, 0.03, 0.05)):
        part = noise[200 * k + 20 : 200 * k + 180]
        assert part.var() == pytest.approx(variance, rel=0.05)
        assert np.mean(part[:, 1:] * part[:, :-1]) / part.var() == pytest.approx(
            channel.correlation[1], abs=0.05
        )


def test_drawn_white_noise_is_white():
    noise = NoiseModel.white(0.2, 2).draw(np.zeros((2, 300, 300)), seed=1)
    assert noise.std() == pytest.approx(0.2, rel=0.01)
    assert abs(np.mean(noise[0] * noise[1])) < 1e-3
    assert abs(np.mean(noise[:, 1:] * noise[:, :-1])) < 1e-3


def test_the_weak_texture_estimate_is_right_for_pure_noise():
    noise = np.random.default_rng(1).normal(0, 0.1, (1, 200, 200))
    patches = ArrayEvidence(noise).windows(PATCHES, slice(1))
    assert sigma_of_patches(patches) == pytest.approx(0.1, rel=0.05)


def test_windows_are_thinned_evenly_and_take_every_position_in_a_grid_of_eight():
    places = np.add.outer(np.arange(700) * 1000, np.arange(900))[np.newaxis].astype(float)
    corners = windows_of(places, 8, stride=1, most=1000)[0, :, 0, 0].astype(int)
    assert 500 < corners.size <= 1000
    for along in (corners // 1000, corners % 1000):
        assert set(along % 8) == set(range(8))
        assert along.max() > 600


def test_no_window_holds_an_excluded_pixel():
    where = np.ones((60, 50), bool)
    where[20:30, 10:40] = False
    windows = windows_of(np.where(where, 0.0, 1.0)[np.newaxis], 8, stride=1, most=5000, where=where)
    assert 200 < windows.shape[1] < 53 * 43
    assert not windows.any()


@pytest.mark.parametrize("inner", [None, 5, 3])
def test_excluded_pixels_are_counted_window_by_window(inner):
    where = np.random.default_rng(3).random((70, 90)) > 0.1
    grid = WindowGrid(7, stride=2, most=300)
    middle = middles(grid_windows(where, grid), inner)
    assert np.array_equal(excluded_pixels(where, grid, inner), (~middle).sum(axis=(2, 3)).ravel())


def test_the_covariance_of_patches_is_that_of_their_values():
    patches = np.random.default_rng(4).normal(0, 0.1, (49, 20_000)) * np.linspace(0.1, 1, 49)[:, np.newaxis]
    patches = (patches + np.random.default_rng(5).normal(0.3, 0.3, 20_000)).astype(np.float32)
    means = patches.mean(axis=0)
    found = covariance_of_patches(patches - means, means - np.float32(0.3))
    np.testing.assert_allclose(found, np.cov(patches.astype(np.float64)), rtol=1e-5, atol=1e-7)


def test_the_energies_of_blocks_are_those_of_the_cosine_transform():
    planes = np.random.default_rng(6).normal(0.5, 0.1, (3, 40, 50)).astype(np.float32)
    windows = windows_of(planes, 8, stride=2, most=1000)
    expected = np.square(dctn(windows.astype(np.float64), axes=(2, 3), norm="ortho"))
    np.testing.assert_allclose(Blocks.of_windows(windows).energies, expected, rtol=1e-3, atol=1e-8)


def test_if_few_windows_are_free_of_excluded_pixels_those_with_the_fewest_are_taken():
    where = np.zeros((40, 50), bool)
    where[:, 40:] = True
    windows = windows_of(np.where(where, 0.0, 1.0)[np.newaxis], 8, stride=1, most=5000, where=where)
    assert windows.shape[1] == 200
    assert windows.mean(axis=(2, 3)).max() <= 0.5


def test_a_small_image_with_half_its_pixels_missing_has_the_noise_of_the_other_half():
    noisy = np.random.default_rng(2).normal(0.5, 0.05, (40, 50)).astype(np.float32)
    noisy[:, :25] = np.nan
    assert estimate_noise(noisy, nan="fill").sigma > 0.03


def test_filled_pixels_do_not_count_as_calm():
    noisy = with_noise(clean("camera"), 20 / 255, 1)
    where = np.hypot(*(np.indices(noisy.shape) - 160)) < 150
    noisy[~where] = 0.5
    assert estimate_noise(noisy).sigma * 255 < 18
    assert estimate_noise(noisy, where=where).sigma * 255 == pytest.approx(20, rel=0.07)
    with pytest.raises(ValueError, match="where must have the shape"):
        estimate_noise(noisy, where=where[1:])


@pytest.mark.filterwarnings("error")
def test_a_constant_channel_beside_others_has_no_growing_noise() -> None:
    with Image.open(SAMPLES / "coffee.png") as noisy:
        inks = np.asarray(noisy.convert("CMYK"))  # without black
    assert np.isfinite(estimate_noise(inks, channel_axis=-1).sigma)


def test_the_estimate_takes_one_thread_for_its_linear_algebra(monkeypatch):
    threads = []

    def looking(patches):
        threads.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
        return sigma_of_patches(patches)

    monkeypatch.setattr("tvdenoise.noise.estimation.sigma_of_patches", looking)
    estimate_noise(with_noise(clean(PHOTOGRAPHS[0]), 0.1, 0))
    assert threads
    assert set(threads) == {1}


def _chequered() -> np.ndarray:
    down, across = np.mgrid[:192, :192]
    return 0.25 + 0.5 * ((across // 24 + down // 24) % 2)


@pytest.mark.parametrize(
    ("areas", "peak"),
    [*((scene, peak) for peak in (60, 700, 3000)), *((_chequered, peak) for peak in (60, 200, 700))],
)
def test_photon_noise_is_found_on_flat_areas_with_edges_between_them(areas, peak: int) -> None:
    """Classes of intensities between those of two areas hold edges, which must not hide the growth."""
    model = estimate_noise(np.random.default_rng(0).poisson(areas() * peak) / peak)
    assert model.kind is NoiseKind.INTENSITY
    assert model.channels[0].sigma == pytest.approx(np.sqrt(areas().mean() / peak), rel=0.2)


def test_flat_blocks_have_far_less_energy_than_noise_at_any_frequency():
    energies = Blocks.of_windows(np.full((1, 400, 8, 8), 0.7, np.float32)).energies
    assert max(energies[..., 1:, :].max(), energies[..., :, 1:].max()) < 1e-20
    np.testing.assert_allclose(energies[..., 0, 0], (8 * 0.7) ** 2, rtol=1e-6)


def test_quantiles_are_those_of_the_gamma_distribution():
    for rank, quantile in estimation._QUANTILES.items():
        assert quantile == pytest.approx(gammaincinv(rank / 2, 1 - 1e-6), rel=1e-12)
    for side in (7, 5, 3):
        assert estimation._energy_threshold(side) > 0


def test_a_spectrum_is_interpolated_linearly_between_its_points():
    spectrum = np.random.default_rng(0).uniform(0.5, 2, (BLOCK, BLOCK))
    noise = ChannelNoise.of(np.zeros(1), np.ones(1), spectrum, np.ones(1, np.intp))
    down, across = np.fft.fftfreq(37), np.fft.fftfreq(50)
    places = [np.minimum(np.abs(each) * 2 * BLOCK, BLOCK - 1) for each in (down, across)]
    expected = map_coordinates(noise.spectrum, np.meshgrid(*places, indexing="ij"), order=1, mode="nearest")
    np.testing.assert_allclose(noise._power(down, across), expected, rtol=1e-12)
