"""Impulses: which pixels they are, what `auto` leaves alone, and what removing them promises."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter, maximum_filter, minimum_filter

from support.minimisers import independent_minimiser
from support.samples import PHOTOGRAPHS, clean, rms
from support.values import mostly_slow
from tvdenoise import Status, denoise
from tvdenoise.images.data import data_of
from tvdenoise.images.impulses import Impulses
from tvdenoise.model.fidelity import ABSENT
from tvdenoise.options import Options
from tvdenoise.parameters import method_of

ROWS, COLUMNS = np.mgrid[:192, :192]
CLEAR = 64.0 + 128 * ((ROWS // 24 + COLUMNS // 24) % 2)
RNG = np.random.default_rng(3)
UNIT, PLACE = RNG.normal(0, 1, CLEAR.shape), RNG.random(CLEAR.shape)
NOISY = np.rint(CLEAR + 10 * UNIT)
HIT = (PLACE < 0.01) | (PLACE > 0.99)
SALTED = np.where(PLACE < 0.01, 0, np.where(PLACE > 0.99, 255, NOISY)).astype(np.uint8)


def found_in(image: np.ndarray) -> Impulses:
    planes = np.moveaxis(np.atleast_3d(image), -1, 0).astype(np.float64)
    return Impulses(planes)


def test_salt_and_pepper_in_noise_is_found_and_little_else():
    found = found_in(SALTED)
    assert found.are_clear
    assert np.mean(found.where[HIT]) > 0.98
    assert np.count_nonzero(found.where & ~HIT) <= 3
    assert found.count == np.count_nonzero(found.where)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_the_same_pixels_are_found_wherever_the_intensities_lie(scale):
    moved = found_in(SALTED * scale - 300 * scale)
    assert np.array_equal(moved.where, found_in(SALTED).where)
    assert moved.are_clear


@pytest.mark.parametrize("name", PHOTOGRAPHS)
@pytest.mark.parametrize("sigma", mostly_slow([0, 10], 0))
@pytest.mark.parametrize("colour", mostly_slow([False, True], False))
def test_photographs_have_no_clear_impulses(name, sigma, colour):
    noise = np.random.default_rng(1).normal(0, sigma, clean(name, colour=colour).shape)
    image = np.clip(np.rint(clean(name, colour=colour) * 255 + noise), 0, 255)
    assert not found_in(image).are_clear


@pytest.mark.parametrize("width", [0.5, 0.7, 1.0, 2.0])
@pytest.mark.parametrize("density", mostly_slow([0.002, 0.01, 0.05], 0.01))
def test_stars_are_no_clear_impulses_even_if_saturated(density, width):
    rng = np.random.default_rng(5)
    points = np.where(rng.random((256, 256)) < density, rng.exponential(200, (256, 256)), 0)
    sky = 10 + gaussian_filter(points, width) * (2 * np.pi * width**2)
    stars = np.clip(np.rint(rng.normal(sky, 2)), 0, 255).astype(np.uint8)
    assert not found_in(stars).are_clear
    assert denoise(stars, impulses="auto", mu=10.0).impulses == 0


def test_beads_are_no_impulses():
    rng = np.random.default_rng(6)
    beads = np.full(CLEAR.shape, 20.0)
    for row, column in rng.integers(4, 188, (80, 2)):
        beads[(ROWS - row) ** 2 + (COLUMNS - column) ** 2 < 2.5] = 200
    assert found_in(np.rint(beads + rng.normal(0, 3, beads.shape))).count == 0


def page() -> np.ndarray:
    sheet = Image.new("L", (400, 200), 255)
    for line in range(8):
        text = "The quick brown fox jumps over the lazy dog; 0123456789"
        ImageDraw.Draw(sheet).text((10, 10 + 22 * line), text, fill=0)
    return np.array(sheet)


def test_text_without_specks_has_no_clear_impulses_and_specks_on_it_are_removed():
    plain, place = page(), np.random.default_rng(7).random(page().shape)
    assert not found_in(plain).are_clear
    assert not found_in(255 - plain).are_clear
    specked = np.where(place < 0.01, 0, np.where(place > 0.99, 255, plain)).astype(np.uint8)
    solution = denoise(specked, impulses="auto")
    assert solution.impulses > 0.7 * np.count_nonzero(place < 0.01)
    assert rms(solution.image * 255.0 - plain) < 0.5 * rms(specked.astype(float) - plain)


@pytest.mark.parametrize(
    ("salt", "pepper"), [(0.01, 0.01), (0.01, 0), (0, 0.01)], ids=["both", "salt alone", "pepper alone"]
)
def test_auto_acts_on_impulses_at_an_end_of_the_range(salt, pepper):
    for name in ("camera", "brick", "coffee"):
        place = np.random.default_rng(8).random(clean(name).shape)
        image = np.rint(clean(name) * 255)
        image[place < pepper] = 0
        image[place > 1 - salt] = 255
        assert found_in(image).are_clear


def test_auto_acts_on_random_impulses_on_both_sides():
    values = np.random.default_rng(9).uniform(0, 255, CLEAR.shape).round()
    image = np.where(HIT, values, np.rint(CLEAR + 3 * UNIT)).astype(np.uint8)
    solution = denoise(image, impulses="auto")
    assert solution.impulses > 0.6 * np.count_nonzero(HIT)
    assert rms(solution.image * 255.0 - CLEAR) < 0.5 * rms(denoise(image).image * 255.0 - CLEAR)


def test_hot_pixels_need_on():
    image = np.rint(20 + 3 * UNIT).astype(np.uint8)
    image[50, 60] = image[100, 20] = 255
    assert denoise(image).impulses == 0
    assert denoise(image).image[50, 60] > 0.5
    assert denoise(image, impulses="auto").impulses == 0
    solution = denoise(image, impulses="on")
    assert solution.impulses == 2
    assert np.abs(solution.image * 255 - 20).max() < 3


def test_filled_values_lie_within_the_range_of_their_neighbours():
    solution = denoise(SALTED, impulses="auto")
    plain = denoise(SALTED)
    assert solution.status is Status.CONVERGED
    where = found_in(SALTED).where
    assert solution.impulses == np.count_nonzero(where)
    rest = np.where(where, np.nan, solution.image)
    low = minimum_filter(np.where(where, np.inf, rest), 3)
    high = maximum_filter(np.where(where, -np.inf, rest), 3)
    assert np.isfinite(low[where]).all()
    slack = 0.02 * (solution.image.max() - solution.image.min())
    assert (solution.image[where] >= low[where] - slack).all()
    assert (solution.image[where] <= high[where] + slack).all()
    assert rms(solution.image * 255.0 - CLEAR) < 0.5 * rms(plain.image * 255.0 - CLEAR)


def test_the_noise_and_mu_are_those_of_the_rest():
    salted, rest = denoise(SALTED, impulses="on"), denoise(NOISY.astype(np.uint8))
    assert salted.sigma == pytest.approx(rest.sigma, rel=0.05)
    assert salted.mu == pytest.approx(rest.mu, rel=0.1)


@pytest.mark.parametrize("tv", ["isotropic", "anisotropic"])
def test_the_bound_is_that_of_the_rest(tv):
    image = SALTED[:40, :44].astype(np.float64) / 255
    solution = denoise(image, 14.0, impulses="on", tv=tv, tolerance=1e-3)
    data = data_of(image, None, None, impulses="on")
    assert data.impulses is not None
    assert data.fidelity is not None
    assert np.array_equal(data.fidelity.coded == ABSENT, data.impulses)
    scale = data.layout.scale
    method = method_of(Options(mu=14.0, tv=tv), 1)
    objective = method.objective(data.planes, 14.0 * scale, solution.epsilon / scale, data.fidelity)
    exact, error = independent_minimiser(objective)
    restored = data.layout.image(exact.copy())
    distance = rms((solution.image - restored)[~data.impulses])
    assert distance <= solution.distance_bound + error * scale
    assert solution.distance_bound <= 1e-3


def test_only_colour_noise_and_impulses_contradict_each_other():
    colour = np.dstack([SALTED] * 3)
    with pytest.raises(ValueError, match="impulses"):
        denoise(colour, channel_axis=-1, impulses="on", chroma_only=True)
