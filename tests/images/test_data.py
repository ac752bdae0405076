"""Pixels that are no measurement take no part in anything: absent ones, and clipped ones for the noise."""

from __future__ import annotations

import numpy as np
import pytest

from support.minimisers import independent_minimiser
from support.samples import clean, crop, rms, volume, with_noise
from support.values import mostly_slow
from tvdenoise import Status, choose_parameters, denoise, estimate_noise
from tvdenoise.images.data import Layout, data_of
from tvdenoise.images.validity import near_clipped
from tvdenoise.model.colour import to_opponent
from tvdenoise.options import Options
from tvdenoise.parameters import method_of

SIGMA = 25 / 255
GREY = with_noise(crop(clean("camera"), 64), SIGMA, 5)
COLOUR = with_noise(crop(clean("coffee", colour=True)), SIGMA, 6)
DEEP = with_noise(volume(8, 20, 24), SIGMA, 7)


def holes(shape: tuple[int, ...], seed: int = 1) -> np.ndarray:
    """Return scattered pixels, a block and a corner."""
    where = np.random.default_rng(seed).random(shape) < 0.1
    where[..., 5:9, 6:12] = True
    where[..., -3:, :4] = True
    return where


CASES = {
    "image": (GREY[:24, :20], {}),
    "colour": (COLOUR[:16, :15], {"channel_axis": -1}),
    "volume": (DEEP[:5, :12, :14], {"spatial_axes": (0, 1, 2)}),
    "unequal spacing": (DEEP[:5, :12, :14], {"spatial_axes": (0, 1, 2), "spacing": (3, 1, 1)}),
}


def with_holes(image: np.ndarray, options: dict, value: float) -> tuple[np.ndarray, np.ndarray]:
    """Return an image with a value at its absent pixels, and their mask in its shape."""
    axes = image.shape[:-1] if "channel_axis" in options else image.shape
    where = holes(axes)
    where = np.broadcast_to(where[..., np.newaxis], image.shape) if axes != image.shape else where
    return np.where(where, value, image), where


@pytest.mark.parametrize("dtype", mostly_slow([np.float32, np.float64], np.float32))
@pytest.mark.parametrize("tv", mostly_slow(["isotropic", "anisotropic"], "isotropic"))
@pytest.mark.parametrize("name", CASES)
def test_the_certificate_holds_beside_absent_pixels(name, tv, dtype):
    image, options = CASES[name]
    image, where = with_holes(image, options, np.nan)
    solution = denoise(image.astype(dtype), 14.0, nan="keep", tv=tv, tolerance=2e-3, **options)
    assert solution.status is Status.CONVERGED
    assert solution.distance_bound <= 2e-3
    data = data_of(image.astype(dtype).astype(np.float64), options.get("channel_axis"), None, nan="keep", **{
        key: value for key, value in options.items() if key != "channel_axis"
    })  # fmt: skip
    scale = data.layout.scale
    method = method_of(Options(mu=14.0, tv=tv), len(data.planes), data.axis_weights)
    objective = method.objective(data.planes, 14.0 * scale, solution.epsilon / scale, data.fidelity)
    exact, error = independent_minimiser(objective)
    x = data.layout.planes(solution.image.astype(np.float64))
    x = to_opponent(x) if len(x) == 3 else x
    known = data.layout.of_pixels(~data.layout.any_channel(where))
    assert rms((x - exact)[:, known]) <= solution.distance_bound / scale + error
    assert solution.absent == np.count_nonzero(~known)


@pytest.mark.parametrize("dtype", mostly_slow([np.float32, np.float64, np.int16, np.uint8], np.int16))
@pytest.mark.parametrize("name", CASES)
def test_absent_pixels_come_back_unchanged_and_their_values_have_no_influence(name, dtype):
    image, options = CASES[name]
    stored = image if np.dtype(dtype).kind == "f" else np.rint(image * 100 + 60)
    found = []
    values = (7, 250) if dtype is np.uint8 else (-999, 30_000)
    for value in values:
        changed, where = with_holes(stored, options, value)
        changed = changed.astype(dtype)
        solution = denoise(changed, nodata=value, **options)
        most = 1 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
        assert np.array_equal(solution.image[where], (changed[where] / most).astype(solution.image.dtype))
        there = np.count_nonzero(changed == value) - np.count_nonzero(where)
        assert there == 0 or dtype is np.uint8
        found.append(
            (solution.mu, solution.epsilon, solution.distance_bound, solution.image[~where].tobytes())
        )
    assert found[0] == found[1] or there


@pytest.mark.parametrize("kind", ["nan", "nodata", "masked"])
def test_every_way_to_declare_absent_pixels_gives_the_same_bytes(kind):
    image, where = with_holes(GREY, {}, -9999.0)
    plain = denoise(image, nodata=-9999.0)
    if kind == "nan":
        other = denoise(np.where(where, np.nan, GREY), nan="keep")
    elif kind == "masked":
        other = denoise(np.ma.array(np.where(where, 1e30, GREY), mask=where))
    else:
        other = denoise(np.where(where, np.nan, GREY), nodata=np.nan)
    assert (other.mu, other.absent, other.distance_bound) == (plain.mu, plain.absent, plain.distance_bound)
    assert np.asarray(other.image)[~where].tobytes() == plain.image[~where].tobytes()


def test_where_any_channel_is_absent_the_pixel_is():
    image = COLOUR.copy()
    where = holes(image.shape[:2])
    image[where, np.random.default_rng(2).integers(0, 3, np.count_nonzero(where))] = np.nan
    every = np.where(where[..., np.newaxis], np.nan, COLOUR)
    some, whole = (denoise(each, nan="keep", channel_axis=-1) for each in (image, every))
    assert some.absent == whole.absent == np.count_nonzero(where)
    assert some.image[~where].tobytes() == whole.image[~where].tobytes()
    assert np.array_equal(some.image[where], image[where], equal_nan=True)


@pytest.mark.parametrize("tv", ["isotropic", "anisotropic"])
@pytest.mark.parametrize("name", ["image", "colour", "volume"])
def test_an_absent_row_makes_two_images_of_one(name, tv):
    image, options = CASES[name]
    axis = 1 if name == "volume" else 0
    parts = [slice(0, 6), slice(7, None)]
    cut = image.copy()
    cut[(slice(None),) * axis + (6,)] = np.nan
    whole = denoise(cut, 14.0, nan="keep", tv=tv, **options)
    for part in parts:
        place = (slice(None),) * axis + (part,)
        alone = denoise(image[place], 14.0, whole.epsilon, tv=tv, tolerance=1e-6, **options)
        count = np.sqrt(image.size / image[place].size)
        assert rms(whole.image[place] - alone.image) <= count * whole.distance_bound + alone.distance_bound


@pytest.mark.parametrize("value", mostly_slow([-9999.0, 0.5], 0.5))
def test_neither_the_noise_nor_mu_sees_an_absent_half(value):
    scene = clean("camera")[:240, :240]
    noisy = with_noise(np.concatenate([scene, scene[:, ::-1]], axis=1), SIGMA, 4)
    half = choose_parameters(noisy[:, :240])
    noisy[:, 240:] = value
    found = choose_parameters(noisy, nodata=value)
    assert found.noise.sigma == pytest.approx(half.noise.sigma, rel=0.03)
    assert found.mu == pytest.approx(half.mu, rel=0.05)
    assert estimate_noise(noisy, nodata=value).sigma == found.noise.sigma


@pytest.mark.slow
def test_the_noise_of_what_lies_between_scattered_absent_pixels_is_read():
    noisy = with_noise(clean("camera"), SIGMA, 4)
    gone = np.random.default_rng(5).random(noisy.shape) < 0.15
    found = choose_parameters(np.where(gone, np.nan, noisy), nan="keep")
    assert found.noise.sigma == pytest.approx(SIGMA, rel=0.1)


@pytest.mark.parametrize("largest", [1e151, 1e202, 1.7e308])
def test_intensities_whose_squares_are_no_numbers_are_refused(largest):
    image = largest * np.linspace(-1, 0.5, 99).reshape(9, 11)
    with pytest.raises(ValueError, match=r"reach .*; divide them by a constant first"):
        denoise(image)
    assert denoise(image / largest * 1e149).converged


def test_the_centre_and_the_unit_follow_the_values_and_planes_come_back():
    layout = Layout.of(np.zeros((2, 2), np.float32), None, None).placed(np.float32(1000), np.float32(1003))
    assert layout.centre == 1001.5
    assert layout.unit == 4
    values = np.array([[1000, 1003], [1001, 1002]], np.float32)
    planes = layout.planes(values)
    assert (planes.min(), planes.max()) == (-0.375, 0.375)
    assert np.array_equal(layout.image(planes), values)


ROWS, COLUMNS = np.mgrid[:192, :192]
CHECKED = 0.25 + 0.5 * ((ROWS // 24 + COLUMNS // 24) % 2)
#: The part of a clean photograph or phantom that is clipped, and which end.
SCENES = {"checkerboard": CHECKED, **{name: clean(name) for name in ("camera", "coffee", "chelsea")}}


def _clipped(scene: str, part: float, end: str, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Return a noisy image in units of its range and its truth, with so large a part beyond an end of the range."""
    clear = SCENES[scene]
    if end == "bright":
        clear = clear / (0.62 if scene == "checkerboard" else np.quantile(clear, 1 - part))
        noisy = np.minimum(with_noise(clear, noise, 3), 1)
        return noisy, np.minimum(clear, 1)
    clear = clear - (0.38 if scene == "checkerboard" else np.quantile(clear, part))
    return np.maximum(with_noise(clear, noise, 3), 0), np.maximum(clear, 0)


STORED = {
    "8 bits": (255, np.uint8, 255),
    "12 bits in 16": (4095, np.uint16, 65535),
    "float": (7e-4, np.float32, 1),
}


@pytest.mark.parametrize("store", STORED)
@pytest.mark.parametrize("end", ["bright", "dark"])
@pytest.mark.parametrize("part", mostly_slow([1 / 3, 2 / 3], 1 / 3))
@pytest.mark.parametrize("scene", mostly_slow(SCENES, "checkerboard"))
def test_clipped_pixels_say_nothing_of_the_noise(scene, part, end, store):
    factor, dtype, most = STORED[store]
    noise = 12 / 255
    noisy, truth = _clipped(scene, part, end, noise)
    stored = noisy * factor
    stored = np.rint(stored).clip(0, factor) if np.dtype(dtype).kind == "u" else stored
    stored = stored.astype(dtype)
    solution = denoise(stored)
    assert solution.sigma * most / factor == pytest.approx(noise, rel=0.15)
    before = rms(stored.astype(np.float64) / factor - truth)
    after = rms(solution.image.astype(np.float64) * most / factor - truth)
    assert after < before * (0.6 if scene == "checkerboard" else 0.85)


@pytest.mark.slow
@pytest.mark.parametrize("end", ["bright", "dark"])
def test_a_result_beside_clipped_pixels_is_as_good_as_with_the_true_noise(end):
    noisy, truth = _clipped("camera", 1 / 3, end, 20 / 255)
    found, told = denoise(noisy), denoise(noisy, sigma=20 / 255)
    assert rms(found.image - truth) < 1.05 * rms(told.image - truth)


def test_one_clipped_channel_does_not_count_and_two_do():
    clear = clean("coffee", colour=True)
    clear = with_noise(clear, 10 / 255, 2)
    planes = np.moveaxis(clear, -1, 0).copy()
    planes[0] = np.minimum(planes[0], np.quantile(planes[0], 0.4))
    assert near_clipped(planes) is None
    planes[1] = np.minimum(planes[1], np.quantile(planes[1], 0.4))
    near = near_clipped(planes)
    assert near is not None
    assert 0.2 < near.mean() < 0.8


def test_values_that_pile_up_within_the_range_are_not_clipped():
    flat = np.where(CHECKED > 0.5, 0.75, with_noise(CHECKED, 0.2, 1))
    assert flat.min() < 0.75 < flat.max()
    assert near_clipped(flat[np.newaxis]) is None
