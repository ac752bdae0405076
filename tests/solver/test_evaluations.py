"""The number of evaluations of a solve, the part of its speed that does not depend on the machine."""

import numpy as np
import pytest

from support.samples import PHOTOGRAPHS, clean, with_noise
from tvdenoise import denoise

LEVELS = (2, 5, 10, 25, 50)


def _evaluations(*, colour):
    counts = []
    for seed, name in enumerate(PHOTOGRAPHS):
        for level in LEVELS:
            sigma = level / 255
            noisy = with_noise(clean(name, colour=colour), sigma, seed).astype(np.float32)
            solution = denoise(noisy, 1.4 / sigma, channel_axis=-1 if colour else None)
            assert solution.converged
            counts.append(solution.iterations)
    return counts


def test_grey_photographs_take_20_evaluations_on_average_and_24_at_most():
    counts = _evaluations(colour=False)
    assert np.mean(counts) <= 20
    assert max(counts) <= 24


@pytest.mark.slow
def test_colour_photographs_take_32_evaluations_on_average_and_40_at_most():
    counts = _evaluations(colour=True)
    assert np.mean(counts) <= 32
    assert max(counts) <= 40


@pytest.mark.parametrize(
    ("prior", "colour", "mean", "most"),
    [
        ("learned", False, 24, 33),
        ("gated", False, 17, 22),
        pytest.param("learned", True, 24, 33, marks=pytest.mark.slow),
        pytest.param("gated", True, 22, 33, marks=pytest.mark.slow),
    ],
)
def test_learned_filters_take_few_evaluations(prior, colour, mean, most):
    counts = []
    for seed, name in enumerate(PHOTOGRAPHS):
        for level in (10, 25, 50):
            noisy = with_noise(clean(name, colour=colour), level / 255, seed)  # in double precision
            solution = denoise(noisy, prior=prior, level=level / 255, channel_axis=-1 if colour else None)
            assert solution.converged
            counts.append(solution.iterations)
    assert np.mean(counts) <= mean
    assert max(counts) <= most
