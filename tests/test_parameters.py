"""The choice of μ: the estimated risk against the true one, and the loss against the best μ."""

from dataclasses import replace

import numpy as np
import pytest

from support.banks import small_prior
from support.samples import clean, correlated, photons, psnr, with_noise
from tvdenoise import denoise
from tvdenoise.images.data import data_of
from tvdenoise.noise.estimation import estimate_planes
from tvdenoise.noise.model import NoiseKind, NoiseModel
from tvdenoise.parameters import Risk, choose, choose_mu, epsilon_for, mu_for, sample
from tvdenoise.solver.descent import Method

SIGMA = 25 / 255


def _best(noisy, reference):
    axis = -1 if reference.ndim == 3 else None
    start = denoise(noisy, channel_axis=axis).mu
    return max(
        psnr(denoise(noisy, start * factor, channel_axis=axis).image, reference)
        for factor in np.geomspace(0.2, 5, 25)
    )


def test_the_estimated_risk_is_the_true_one_up_to_the_variance_of_the_noise():
    reference = clean("camera")
    noisy = with_noise(reference, SIGMA, seed=1).astype(np.float32)
    data = data_of(noisy, None, None)
    unit = data.layout.unit
    risk = Risk.of(data, NoiseModel.white(SIGMA / unit, 1), Method(), None)
    for mu in (5.0, 14.0, 40.0):
        error = np.mean((denoise(noisy, mu).image - reference) ** 2)
        assert risk(np.log(mu * unit)) * unit**2 - SIGMA**2 == pytest.approx(error, abs=0.05 * SIGMA**2)


def test_the_estimated_risk_holds_for_correlated_noise_whose_model_is_right():
    reference = clean("astronaut")
    noise = correlated(reference.shape, SIGMA, seed=2)
    noisy = (reference + noise).astype(np.float32)
    data = data_of(noisy, None, None)
    unit = data.layout.unit
    model = estimate_planes(data.planes)
    assert model.kind is NoiseKind.CORRELATED
    risk = Risk.of(data, model, Method(), None)
    estimated = [risk(log_mu) * unit**2 for log_mu in np.log([2.0 * unit, 60.0 * unit])]
    true = [np.mean((denoise(noisy, mu).image - reference) ** 2) for mu in (2.0, 60.0)]
    assert estimated[1] - estimated[0] == pytest.approx(true[1] - true[0], abs=0.25 * SIGMA**2)


@pytest.mark.slow
@pytest.mark.parametrize("level", [5, 25, 50])
@pytest.mark.parametrize("colour", [False, True], ids=["grey", "colour"])
def test_the_choice_for_white_noise_loses_a_tenth_of_a_decibel_at_most(level, colour):
    losses = []
    for seed, name in enumerate(("camera", "coffee", "astronaut")):
        reference = clean(name, colour=colour)
        noisy = with_noise(reference, level / 255, seed)
        chosen = denoise(noisy, channel_axis=-1 if colour else None)
        losses.append(_best(noisy, reference) - psnr(chosen.image, reference))
    assert np.mean(losses) <= 0.1
    assert max(losses) <= 0.3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "allowed"),
    [(lambda image: photons(image, 40), 0.3), (lambda image: image + correlated(image.shape, SIGMA), 0.5)],
    ids=["photons", "correlated"],
)
def test_the_choice_for_other_noise_comes_close_where_the_white_model_does_not(make, allowed):
    lost, lost_as_white = [], []
    for name in ("camera", "astronaut"):
        reference = clean(name)
        noisy = make(reference)
        best = _best(noisy, reference)
        lost.append(best - psnr(denoise(noisy).image, reference))
        lost_as_white.append(best - psnr(denoise(noisy, noise="white").image, reference))
    assert np.mean(lost) <= allowed
    assert np.mean(lost_as_white) > 2 * np.mean(lost)


@pytest.mark.parametrize("name", ["camera", "coffee", "cell"])
def test_clean_pictures_come_back_almost_unchanged(name):
    assert psnr(denoise(clean(name)).image, clean(name)) > 38


def test_an_image_without_noise_gets_a_mu_that_keeps_it():
    for image in (np.full((20, 20), 0.5), np.full((20, 20), 100, np.uint8)):
        data = data_of(image, None, None)
        assert choose_mu(data, NoiseModel.white(0.0, 1), Method()) == mu_for(data.layout.least_sigma)
        assert np.isfinite(mu_for(data.layout.least_sigma))


@pytest.mark.parametrize("prior", ["learned", "gated"])
def test_filters_keep_integers_whose_only_noise_is_that_of_rounding(prior):
    rows, columns = np.mgrid[:120, :160]
    intensities = (
        120 + 60 * np.sin(rows / 17) * np.cos(columns / 23) + 20 * (np.hypot(rows - 50, columns - 60) < 30)
    )
    faint = np.random.default_rng(0).normal(0, 0.2, intensities.shape)
    stored = np.round(intensities + faint).astype(np.uint8)
    assert np.array_equal(np.round(denoise(stored, prior=prior).image * 255), stored)
    asked = denoise(stored, prior=prior, sigma=0.3 / 255)
    assert asked.level == pytest.approx(0.3 / 255)


def test_filters_remove_the_noise_of_counts_which_is_as_faint_as_rounding():
    counts = np.random.default_rng(1).poisson(0.08, (120, 160)).astype(np.uint8)
    solution = denoise(counts, prior="learned", noise="white")
    assert solution.sigma * 255 < 0.5
    assert solution.image.std() < 0.3 * (counts / 255).std()


def test_filters_smooth_less_if_the_level_of_the_noise_is_uncertain(monkeypatch):
    data = data_of(with_noise(clean("camera"), SIGMA, seed=1).astype(np.float32)[:40, :40], None, None)
    model = replace(NoiseModel.white(SIGMA / data.layout.unit, 1), kind=NoiseKind.CORRELATED)

    def change(method, rise):
        """By how much less an image is smoothed than least risk would, if a step of log μ raises the risk so much."""
        risk = Risk.of(data, model, method, None)
        least = -np.log(risk.level)
        monkeypatch.setattr(
            Risk, "__call__", lambda of, log_mu: rise * of.level**2 * ((log_mu - least) / 0.4) ** 2
        )
        return np.log(risk.best_mu()) - least

    filters = Method(bank=small_prior().bank)
    assert change(Method(), 0.0015) == pytest.approx(0.2)
    assert change(Method(), 0.004) == pytest.approx(0)
    assert change(filters, 0.004) == pytest.approx(0.2)
    assert change(filters, 0.01) == pytest.approx(0)


def test_what_is_given_is_kept():
    data = data_of(np.random.default_rng(1).normal(0.5, 0.1, (40, 40)), None, None)
    model = NoiseModel.white(0.1, 1)
    assert choose(data, Method(), model, 7.0, None, 1.0) == (7.0, pytest.approx(0.02))
    assert choose(data, Method(), model, None, 0.03, 1.0)[1] == 0.03
    assert choose(data, Method(), None, 7.0, 0.03, 1.0) == (7.0, 0.03)
    plain, strong = (choose(data, Method(), model, None, None, strength)[0] for strength in (1.0, 2.0))
    assert strong == pytest.approx(plain / 2)


def test_epsilon_is_a_tenth_of_the_noise_level_that_mu_stands_for_and_a_fifth_in_colour():
    assert epsilon_for(14.0, weighted_chroma=False, span=1.0) == pytest.approx(0.01)
    assert epsilon_for(14.0, weighted_chroma=True, span=1.0) == pytest.approx(0.02)
    assert epsilon_for(0.01, weighted_chroma=False, span=0.6) == pytest.approx(0.1)
    assert epsilon_for(1e30, weighted_chroma=False, span=1.0) > 0
    assert epsilon_for(14.0, weighted_chroma=False, span=0.0) == pytest.approx(0.01)


@pytest.mark.slow
def test_the_number_of_threads_never_changes_the_choice():
    noisy = with_noise(np.tile(clean("camera"), (2, 2)), SIGMA, seed=3)
    assert denoise(noisy, threads=1).mu == denoise(noisy, threads=2).mu


@pytest.mark.slow
def test_a_sample_is_bounded_spread_and_the_image_itself_where_small():
    small = np.zeros((3, 50, 60))
    assert sample(small) is small
    rows, columns = np.indices((3000, 5000), dtype=np.float32)
    part = sample(np.stack([rows, columns]))
    assert 0.8 * 300_000 < part.size <= 1.1 * 300_000
    assert part[0].min() == 0
    assert part[0].max() == 2999
    assert part[1].max() == 4999
    assert np.mean(np.diff(part[0], axis=0) == 1) > 0.98
