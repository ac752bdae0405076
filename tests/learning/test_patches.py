"""Patches follow from the seed and the number of the batch, and their noise has the level that they name."""

import numpy as np
import pytest

from tvdenoise.learning.patches import Sampler

RAMP = np.tile(np.linspace(0, 200, 240, dtype=np.float32), (1, 200, 1))


def test_noise_that_does_not_grow_has_the_same_level_everywhere():
    patches = Sampler([RAMP], (10.0, 40.0), (180, 180), growing=0.0, correlated=0.0).draw(3, 4)
    noise = patches.noisy - patches.clean
    assert noise.shape == (4, 1, 180, 180)
    assert noise.std(axis=(1, 2, 3)) == pytest.approx(1, abs=0.02)
    assert ((patches.levels >= 10) & (patches.levels <= 40)).all()


def test_growing_noise_has_a_variance_that_is_linear_in_the_intensity():
    patches = Sampler([RAMP], (10.0, 40.0), (200, 200), seed=1, growing=1.0, correlated=0.0).draw(0, 40)
    slopes = []
    for noisy, clean, level in zip(patches.noisy, patches.clean, patches.levels, strict=True):
        squares = (noisy - clean).ravel().astype(float) ** 2
        slope, _ = np.polyfit(clean.ravel() * level / RAMP.mean(), squares, 1)
        at_mean = squares.mean() - slope * (clean.mean() * level / RAMP.mean())
        slopes.append(slope)
        assert at_mean > 0
    assert min(slopes) > -0.1
    assert max(slopes) < 1.1
    assert np.mean(slopes) == pytest.approx(0.5, abs=0.1)  # spread evenly from none to all of the variance


def test_correlated_noise_keeps_its_power_at_low_frequencies():
    patches = Sampler([RAMP], (10.0, 40.0), (200, 200), seed=1, growing=0.0, correlated=1.0).draw(0, 40)
    noise = (patches.noisy - patches.clean)[:, 0]
    blocks = noise.reshape(40, 10, 20, 10, 20).mean(axis=(2, 4)) * 20  # of white noise: standard deviation 1
    assert np.sqrt((blocks**2).mean()) == pytest.approx(1, abs=0.06)
    power = (noise**2).mean(axis=(1, 2))
    along = (noise[:, :, 1:] * noise[:, :, :-1]).mean(axis=(1, 2)) / power
    assert 0.1 < power.min() < 0.2  # at most a third for each of three pixels, along both axes
    assert 0.8 < power.max() < 1.05
    assert along.min() > -0.02
    assert 0.55 < along.max() < 0.75


def test_a_given_level_and_the_same_batch_give_the_same_patches():
    sampler = Sampler([RAMP], (10.0, 40.0), (20, 30), seed=2)
    first, second = sampler.draw(5, 3, 25.0), sampler.draw(5, 3, 25.0)
    assert (first.levels == 25).all()
    assert first.noisy.tobytes() == second.noisy.tobytes()
    assert first.noisy.tobytes() != sampler.draw(6, 3, 25.0).noisy.tobytes()


def test_a_black_image_has_noise_that_is_finite():
    black = [np.zeros((1, 30, 30), np.float32)]
    patches = Sampler(black, (10.0, 40.0), (20, 20), growing=1.0, correlated=1.0).draw(0, 3)
    assert np.isfinite(patches.noisy).all()
