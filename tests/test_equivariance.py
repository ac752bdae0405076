"""The result follows the data: a·f + b denoised is a times f denoised, plus b, whatever a, b and the type."""

from __future__ import annotations

import numpy as np
import pytest

from support.samples import clean, crop, rms, volume, with_noise
from support.values import mostly_slow
from tvdenoise import Status, choose_parameters, denoise, estimate_noise
from tvdenoise.api import denoise_tiled
from tvdenoise.tiling.source import ArraySource

SIGMA = 25 / 255
GREY = with_noise(crop(clean("camera"), 64), SIGMA, 5)
COLOUR = with_noise(crop(clean("coffee", colour=True)), SIGMA, 6)
DEEP = with_noise(volume(8, 32, 32), SIGMA, 7)
HOLES = np.random.default_rng(8).random(GREY.shape) < 0.05
HOLES[20:30, 20:30] = True
FREE = np.ones(GREY.shape, bool)
FREE[:, :25] = False

KINDS = {
    "grey": (GREY, {}),
    "colour": (COLOUR, {"channel_axis": -1}),
    "volume": (DEEP, {"spatial_axes": (0, 1, 2)}),
    "mask": (GREY, {"mask": FREE}),
    "missing": (np.where(HOLES, np.nan, GREY), {"nan": "fill"}),
    "absent": (np.where(HOLES, np.nan, GREY), {"nan": "keep"}),
    "impulses": (np.where(HOLES & (np.arange(64) % 4 == 0), 2.0, GREY), {"impulses": "on"}),
    "anisotropic": (GREY, {"tv": "anisotropic"}),
    "chroma only": (COLOUR, {"channel_axis": -1, "chroma_only": True}),
}
SCALES = (2.0**-99, 2.0**-20, 0.125, 2.0, 2.0**20, 2.0**99)
#: 12 decades and beyond, and offsets up to a thousand times the contrast.
PLACES = ((1e-30, 0), (1e-6, 1), (1e-3, -1000), (0.7, 30), (1e3, 1000), (1e6, -3), (1e30, 100))


@pytest.mark.parametrize("dtype", mostly_slow([np.float32, np.float64], np.float32))
@pytest.mark.parametrize("kind", mostly_slow(KINDS, "grey", "absent"))
def test_a_power_of_two_changes_no_byte(kind, dtype):
    image, options = KINDS[kind]
    plain = denoise(image.astype(dtype), **options)
    assert plain.noise is not None
    for scale in SCALES:
        scaled = denoise(image.astype(dtype) * dtype(scale), **options)
        assert (scaled.image / dtype(scale)).tobytes() == plain.image.tobytes()
        assert scaled.mu * scale == plain.mu
        assert scaled.sigma == plain.sigma * scale
        assert (scaled.epsilon, scaled.distance_bound) == (
            plain.epsilon * scale,
            plain.distance_bound * scale,
        )
        assert scaled.status is plain.status


@pytest.mark.parametrize("dtype", mostly_slow([np.float32, np.float64], np.float32))
@pytest.mark.parametrize("kind", mostly_slow(KINDS, "grey", "colour"))
def test_the_result_is_scaled_and_moved_with_the_data(kind, dtype):
    image, options = KINDS[kind]
    plain = denoise(image.astype(np.float64), **options)
    assert plain.status is (Status.FILLED if kind == "missing" else Status.CONVERGED)
    for scale, offset in PLACES:
        moved = (scale * (image + offset)).astype(dtype)
        solution = denoise(moved, **options)
        assert solution.mu * scale == pytest.approx(plain.mu, rel=0.01)
        assert solution.sigma / scale == pytest.approx(plain.sigma, rel=0.01)
        assert solution.status is plain.status
        # The values that are rounded to the type are the data: they may be off by as much as the result.
        rounding = float(np.finfo(dtype).eps) * (2 + abs(offset))
        found = solution.image.astype(np.float64) / scale - offset
        known = ~np.isnan(plain.image)
        assert np.array_equal(known, ~np.isnan(found))
        bounds = solution.distance_bound / scale + plain.distance_bound
        if kind == "missing":  # no bound holds there: what ends the solve is rms(∇J)/μ
            bounds = (solution.tolerance / scale + plain.tolerance) * 10
        assert rms((found - plain.image)[known]) <= bounds + 2 * rounding


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["grey", "colour", "volume", "absent"])
def test_single_precision_is_near_double_precision_of_the_same_values(kind):
    image, options = KINDS[kind]
    for scale, offset in PLACES:
        stored = (scale * (image + offset)).astype(np.float32)
        single, double = denoise(stored, **options), denoise(stored.astype(np.float64), **options)
        assert single.mu == pytest.approx(double.mu, rel=0.01)
        known = ~np.isnan(stored)
        difference = rms((single.image.astype(np.float64) - double.image)[known] / scale)
        assert difference <= (single.distance_bound + double.distance_bound) / scale
        # The step of the stored values, not that of the solve, is what a large offset costs.
        assert difference < 0.03 * SIGMA


def tiled(image, **options):
    with denoise_tiled(ArraySource(image, image.ndim == 3), memory=400_000, overlap=16, **options) as result:
        assert result.windows > 1
        return result.solution, result.read(tuple(slice(0, length) for length in image.shape[:2]))


def wide(dtype):
    image = with_noise(np.tile(clean("camera"), (1, 1))[:200, :160], SIGMA, 3)
    image[40:60, 30:70] = np.nan
    return image.astype(dtype)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tiles_follow_the_data_too(dtype):
    image = wide(np.float64)
    plain, composite = tiled(image, nan="keep")
    exact, expected = tiled(image.astype(dtype), nan="keep")
    assert plain.absent == 800
    for scale in (2.0**-60, 2.0**60):
        solution, found = tiled(image.astype(dtype) * dtype(scale), nan="keep")
        assert solution.mu * scale == exact.mu
        assert (found / dtype(scale)).tobytes() == expected.tobytes()
    known = ~np.isnan(image)
    for scale, offset in PLACES[1::2]:
        solution, found = tiled((scale * (image + offset)).astype(dtype), nan="keep")
        assert solution.status is Status.CONVERGED
        assert solution.mu * scale == pytest.approx(plain.mu, rel=0.01)
        difference = (found.astype(np.float64) / scale - offset - composite)[known]
        rounding = 2 * float(np.finfo(dtype).eps) * (2 + abs(offset))
        assert rms(difference) <= solution.distance_bound / scale + plain.distance_bound + rounding


@pytest.mark.slow
def test_tiles_choose_the_parameters_of_the_whole_wherever_the_data_lie():
    image = np.nan_to_num(wide(np.float64), nan=0.5)
    for scale, offset in PLACES:
        moved = (scale * (image + offset)).astype(np.float32)
        solution, _ = tiled(moved)
        whole = choose_parameters(moved)
        assert (solution.mu, solution.epsilon) == (whole.mu, whole.epsilon)
        assert solution.sigma == whole.noise.sigma


COUNTS = np.rint(GREY * 100).astype(np.int64)


@pytest.mark.parametrize("colour", mostly_slow([False, True], False))
@pytest.mark.parametrize(
    ("dtype", "offset"),
    [
        (np.uint8, 80),
        (np.uint16, 100),
        (np.uint16, 65_000),
        (np.int16, 0),
        (np.int16, -32_000),
        (np.uint32, 4_000_000_000),
        (np.int32, -2_000_000_000),
        (np.int64, 2**50),
    ],
)
def test_integers_count_wherever_they_lie_in_their_type(dtype, offset, colour):
    options = {"channel_axis": -1} if colour else {}
    counts = np.rint(COLOUR * 100).astype(np.int64) if colour else COUNTS
    plain = denoise(counts.astype(np.float64), **options)
    stored = (counts + offset).astype(dtype)
    assert np.array_equal(stored.astype(np.int64) - offset, counts)
    solution = denoise(stored, **options)
    most = float(np.iinfo(dtype).max)
    assert solution.mu / most == pytest.approx(plain.mu, rel=0.01)
    assert solution.sigma * most == pytest.approx(plain.sigma, rel=0.01)
    found = solution.image.astype(np.float64) * most - offset
    rounding = 4 * float(np.finfo(solution.image.dtype).eps) * (abs(offset) + 200)
    assert rms(found - plain.image) <= solution.distance_bound * most + plain.distance_bound + rounding
    assert solution.distance_bound * most < 1


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.uint32])
def test_the_data_range_of_integers_only_changes_the_units(dtype):
    stored = (COUNTS * 20 + 1000).clip(0, 4095).astype(dtype)
    most = float(np.iinfo(dtype).max)
    whole, twelve = denoise(stored), denoise(stored, data_range=4095)
    assert twelve.mu / 4095 == pytest.approx(whole.mu / most, rel=1e-12)
    for name in ("sigma", "epsilon", "tolerance", "distance_bound"):
        assert getattr(twelve, name) * 4095 == pytest.approx(getattr(whole, name) * most, rel=1e-12)
    assert np.allclose(twelve.image * 4095, whole.image * most, rtol=1e-6, atol=0)
    assert twelve.iterations == whole.iterations
    given = denoise(stored, sigma=100 / 4095, data_range=4095)
    assert given.mu / 4095 == pytest.approx(denoise(stored, sigma=100 / most).mu / most, rel=1e-6)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_parameters_given_by_hand_are_obeyed_at_any_scale(scale):
    stored = (GREY * scale).astype(np.float32)
    plain = denoise(GREY, 5.0, 0.02, tolerance=1e-4)
    scaled = denoise(stored, 5.0 / scale, 0.02 * scale, tolerance=1e-4 * scale)
    assert (scaled.mu, scaled.epsilon) == (5.0 / scale, 0.02 * scale)
    bounds = scaled.distance_bound / scale + plain.distance_bound
    assert rms(scaled.image / scale - plain.image) <= bounds + 1e-6
    assert denoise(stored, sigma=0.3 * scale).sigma == pytest.approx(0.3 * scale, rel=1e-6)


PLACED = np.mgrid[:192, :192]


def _voronoi() -> np.ndarray:
    rng = np.random.default_rng(4)
    sites, levels = rng.random((30, 2, 1, 1)) * 192, rng.random(30)
    cells = levels[np.argmin(np.square(PLACED - sites).sum(axis=1), axis=0)]
    return (cells - cells.min()) / np.ptp(cells)


PHANTOMS = {
    "checkerboard": ((PLACED[0] // 24 + PLACED[1] // 24) % 2).astype(float),
    "disk": (np.square(PLACED - 90).sum(axis=0) < 3600).astype(float),
    "voronoi": _voronoi(),
}


@pytest.mark.parametrize("contrast", mostly_slow([1, 10, 100, 250], 100))
@pytest.mark.parametrize("phantom", PHANTOMS)
def test_white_noise_of_a_phantom_is_read_within_15_per_cent(phantom, contrast):
    clear, unit = PHANTOMS[phantom], np.random.default_rng(contrast).normal(0, 1, (192, 192))
    counts = clear * contrast + unit
    assert estimate_noise((counts * 1e-7).astype(np.float32)).sigma == pytest.approx(1e-7, rel=0.15)
    stepped = (1 + 1 / 12) ** 0.5  # with the rounding to counts
    read = estimate_noise(np.rint(counts + 300).astype(np.uint16)).sigma
    assert read * 65535 == pytest.approx(stepped, rel=0.15)
    if contrast < 200:
        read = estimate_noise(np.rint(counts + 10).astype(np.uint8)).sigma
        assert read * 255 == pytest.approx(stepped, rel=0.15)


@pytest.mark.parametrize("photons", mostly_slow([(100, 1000), (5, 400), (10, 10_000)], (100, 1000)))
@pytest.mark.parametrize("phantom", PHANTOMS)
def test_photon_noise_of_a_phantom_is_read_within_15_per_cent(phantom, photons):
    dark, bright = photons
    photons = dark + (bright - dark) * PHANTOMS[phantom]
    counts = np.random.default_rng(0).poisson(photons)
    level = np.sqrt(photons.mean())
    assert estimate_noise(counts.astype(np.uint16)).sigma * 65535 == pytest.approx(level, rel=0.15)
    found = estimate_noise((counts * 1e-4 + 3).astype(np.float64))
    assert found.sigma == pytest.approx(level * 1e-4, rel=0.15)
    assert found.growth > 2.5


def _flat(channels: int) -> np.ndarray:
    """Return a clean image in [0, 1] with large flat and clipped areas and steps of all sizes."""
    clear = np.clip(1.6 * PHANTOMS["voronoi"] - 0.3, 0, 1)
    clear[100:140, 20:120] = np.linspace(0.2, 0.4, 100)
    if channels == 1:
        return clear
    return np.stack([clear, np.roll(clear, 30, 0), 1 - clear], axis=-1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.int32])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("span", mostly_slow([3, 40, 255], 40))
def test_clean_integers_come_back_bit_for_bit(dtype, channels, span):
    stored = np.rint(_flat(channels) * span).astype(dtype)
    options = {} if channels == 1 else {"channel_axis": -1}
    denoised = denoise(stored, **options).image
    most = float(np.iinfo(dtype).max)
    assert np.array_equal(np.rint(denoised.astype(np.float64) * most), stored)


@pytest.mark.parametrize("name", ["clipped", "cartoon", "photograph"])
def test_a_clean_photograph_of_large_flat_areas_is_not_blurred(name):
    clear = {
        "clipped": np.clip(clean("camera")[:200, :200] * 2, 0, 1),
        "cartoon": np.rint(clean("coffee") * 5) / 5,
        "photograph": np.where(clean("camera")[:200, :200] > 0.5, 1, 0.2),
    }[name]
    stored = np.rint(clear * 255).astype(np.uint8)
    if name == "clipped":
        assert rms(denoise(stored).image * 255 - stored) < 1
    else:
        assert np.array_equal(np.rint(denoise(stored).image * 255), stored)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_clean_floats_come_back_to_their_rounding(scale):
    stored = (_flat(1) * scale + 5 * scale).astype(np.float32)
    assert np.allclose(denoise(stored).image, stored, rtol=4 * np.finfo(np.float32).eps, atol=0)
