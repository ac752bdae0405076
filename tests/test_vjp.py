"""Derivatives of the denoised image, against differences of solves."""

from dataclasses import replace

import numpy as np
import pytest

from support.banks import small_prior
from support.samples import clean, crop, with_noise
from tvdenoise import denoise, vjp
from tvdenoise.model.prior_file import LearnedPrior

SIGMA = 25 / 255
NOISY = with_noise(crop(clean("camera"), 20), SIGMA, seed=1)[:, :17]
COLOUR = np.stack([NOISY, NOISY[::-1], np.roll(NOISY, 3)], axis=-1)
VOLUME = np.stack([NOISY, NOISY[::-1], np.roll(NOISY, 3)])
WEIGHTS = np.random.default_rng(2).uniform(0.3, 2, NOISY.shape)
PRIOR = small_prior(hidden=4)
EXACT = {"tolerance": 1e-10, "max_iterations": 20_000}
TV = {"mu": 8.0, "epsilon": 0.03}

CASES = {
    "grey": (NOISY, TV),
    "anisotropic": (NOISY, TV | {"tv": "anisotropic"}),
    "colour": (COLOUR, TV | {"channel_axis": -1}),
    "volume": (VOLUME, TV | {"spatial_axes": (0, 1, 2), "spacing": (2.0, 1.0, 1.0)}),
    "weights": (NOISY, TV | {"weights": WEIGHTS}),
    "mask": (NOISY, TV | {"mask": WEIGHTS > 1}),
    "units": (1000 + 50 * NOISY, {"mu": 8 / 50, "epsilon": 0.03 * 50}),
    "range": (1000 + 50 * NOISY, {"mu": 8 * 3, "epsilon": 0.03 / 3, "data_range": 150.0}),
    "learned": (NOISY, {"prior": PRIOR, "level": SIGMA}),
    "learned without gate": (NOISY, {"prior": small_prior(), "level": SIGMA}),
    "learned colour": (COLOUR, {"prior": PRIOR, "level": SIGMA, "channel_axis": -1}),
    "learned over colours": (COLOUR, {"prior": small_prior(3, hidden=4), "level": SIGMA, "channel_axis": -1}),
}


def _exact(image):
    """Keywords of a solve to about ten digits of the intensities."""
    return EXACT | {"tolerance": EXACT["tolerance"] * float(np.ptp(image))}


def _solved(image, keywords):
    in_ranges = float(keywords.get("data_range", 1.0))
    exact = _exact(image)
    return denoise(image, **keywords, **(exact | {"tolerance": exact["tolerance"] / in_ranges}))


def _slope(function, step):
    return (function(step) - function(-step)) / (2 * step)


@pytest.mark.parametrize("case", CASES)
def test_the_derivatives_are_those_of_differences(case):
    image, keywords = CASES[case]
    rng = np.random.default_rng(0)
    solution = _solved(image, keywords)
    cotangent, change = rng.standard_normal(image.shape), rng.standard_normal(image.shape) * np.ptp(image)
    found = vjp(image, solution, cotangent, **keywords)

    def value(image, keywords):
        return float(np.vdot(cotangent, _solved(image, keywords).image))

    expected = _slope(lambda t: value(image + t * change, keywords), 1e-5)
    assert np.vdot(found.noisy, change) == pytest.approx(expected, rel=2e-4, abs=1e-4 * np.ptp(image))
    for name in ("mu", "epsilon", "level"):
        if name in keywords:
            size = keywords[name]
            slope = _slope(lambda t, n=name, s=size: value(image, keywords | {n: s * (1 + t)}), 1e-5)
            assert getattr(found, name) * size == pytest.approx(slope, rel=2e-3, abs=1e-4 * np.ptp(image))
        else:
            assert getattr(found, name) is None
    assert found.residual <= 1e-6
    assert (found.bank is None) == ("prior" not in keywords)


def test_the_derivatives_by_the_weights_are_those_of_differences():
    cotangent = np.random.default_rng(0).standard_normal(NOISY.shape)
    keywords = {"level": 0.7 * SIGMA}
    found = vjp(NOISY, _solved(NOISY, keywords | {"prior": PRIOR}), cotangent, prior=PRIOR, **keywords)
    bank = PRIOR.bank
    for name in ("scale", "inner", "share", "outer"):
        change = np.random.default_rng(1).standard_normal(len(bank.potentials.scale)) * 0.1
        change *= getattr(bank.potentials, name)

        def value(t, name=name, change=change):
            potentials = bank.potentials
            moved = {one: getattr(potentials, one) for one in ("scale", "inner", "share", "outer")}
            moved[name] = moved[name] + t * change
            changed = replace(bank, potentials=type(potentials)(**moved))
            prior = LearnedPrior(changed, (5, 60), (), 0, 0)
            return float(np.vdot(cotangent, _solved(NOISY, keywords | {"prior": prior}).image))

        expected = _slope(value, 1e-4)
        assert np.vdot(getattr(found.bank, name), change) == pytest.approx(expected, rel=5e-3, abs=1e-7)


def test_held_and_absent_pixels_pass_the_cotangent_on():
    mask = WEIGHTS > 1
    keywords = TV | {"mask": mask}
    cotangent = np.where(mask, 0.0, 1.0)
    found = vjp(NOISY, _solved(NOISY, keywords), cotangent, **keywords)
    np.testing.assert_array_equal(found.noisy, cotangent)
    absent = np.ma.array(NOISY, mask=~mask)
    found = vjp(absent, denoise(absent, **TV), np.where(mask, 0.0, 2.0), **TV)
    np.testing.assert_array_equal(found.noisy, np.where(mask, 0.0, 2.0))


@pytest.mark.parametrize(
    ("image", "keywords", "error"),
    [
        (NOISY, TV | {"penalty": "huber"}, ValueError),
        (NOISY, TV | {"weights": np.where(WEIGHTS > 1, 1.0, 0.0)}, ValueError),
        (NOISY, TV | {"impulses": "on"}, ValueError),
        (NOISY, {"prior": PRIOR, "mask": WEIGHTS > 1}, ValueError),
        (COLOUR, TV | {"chroma_only": True, "channel_axis": -1}, ValueError),
        (VOLUME, TV | {"spatial_axes": (1, 2)}, ValueError),
        ((255 * NOISY).clip(0, 255).astype(np.uint8), TV, TypeError),
    ],
)
def test_what_has_no_derivative_is_refused(image, keywords, error):
    with pytest.raises(error):
        vjp(image, denoise(image, **keywords), np.ones(image.shape), **keywords)


def test_a_cotangent_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="must have the shape"):
        vjp(NOISY, denoise(NOISY, **TV), np.ones(3), **TV)


@pytest.mark.parametrize(
    ("one", "other"), [(TV, {"prior": PRIOR}), ({"prior": PRIOR}, TV), ({"prior": PRIOR}, {})]
)
def test_the_solution_of_another_prior_is_refused(one, other):
    with pytest.raises(ValueError, match="another prior"):
        vjp(NOISY, denoise(NOISY, **one), np.ones(NOISY.shape), **other)


def test_the_parameters_of_the_solution_count_as_given():
    solution = denoise(NOISY)
    cotangent = np.ones(NOISY.shape)
    chosen = vjp(NOISY, solution, cotangent)
    given = vjp(NOISY, solution, cotangent, solution.mu, solution.epsilon)
    np.testing.assert_array_equal(chosen.noisy, given.noisy)
    assert chosen.noisy.sum() == pytest.approx(NOISY.size, rel=1e-4)  # the mean is kept
