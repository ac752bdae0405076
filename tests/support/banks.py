"""Random banks of filters."""

import numpy as np

from tvdenoise.learning.weights import Terms, starting_weights
from tvdenoise.model.filters import PARITIES, FilterBank, Potentials, parity_part
from tvdenoise.model.prior_file import LearnedPrior


def random_bank(general, symmetric, channels=1, side=7, seed=0, coarse=False):
    """A bank of so many general and symmetric filters, which have the four parities in turn.

    coarse: every second filter is of scale 2.
    """
    rng = np.random.default_rng([seed, general, symmetric, channels, side])
    filters = rng.standard_normal((general + symmetric, channels, side, side))
    for k in range(symmetric):
        filters[general + k] = parity_part(filters[general + k], PARITIES[k % 4])
    filters -= filters.mean(axis=(-2, -1), keepdims=True)
    inner = rng.uniform(0.05, 0.2, len(filters))
    potentials = Potentials(
        scale=rng.uniform(0.5, 1, len(filters)) / side,
        inner=inner,
        share=rng.uniform(0.3, 0.99, len(filters)),
        outer=inner + rng.uniform(0.2, 3, len(filters)),
    )
    scales = tuple(1 + k % 2 for k in range(len(filters))) if coarse else None
    return FilterBank(filters[:general], filters[general:], potentials, scales)


def zero_sum(shape, seed=0):
    """Random changes of filters that leave their sums zero."""
    change = np.random.default_rng(seed).standard_normal(shape)
    return change - change.mean(axis=(-2, -1), keepdims=True)


def small_prior(channels=1, rho=0.9):
    """The prior before the first step of learning, whose filters already remove noise."""
    terms = Terms(5, rho, coarse=4 * channels)
    bank = terms.bank(starting_weights(terms, 12 * channels, channels))
    return LearnedPrior(bank, (5.0, 60.0), ("a.png",), 0, 0, name="small.prior")
