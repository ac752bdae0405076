"""Random banks of filters."""

from dataclasses import replace

import numpy as np

from tvdenoise.learning.weights import Terms, starting_weights
from tvdenoise.model.filters import PARITIES, FilterBank, Potentials, parity_part
from tvdenoise.model.gates import Gate
from tvdenoise.model.prior_file import LearnedPrior


def random_bank(count, channels=1, side=7, seed=0, coarse=False, members=1, hidden=0):
    """A bank of so many groups, whose filters have the four parities in turn.

    coarse: every second group is of scale 2. hidden: hidden values of the gate, 0 for no gate.
    """
    rng = np.random.default_rng([seed, count, channels, side, members])
    filters = with_parities(rng.standard_normal((count, members, channels, side, side)))
    inner = rng.uniform(0.05, 0.2, count)
    potentials = Potentials(
        scale=rng.uniform(0.5, 1, count) / side,
        inner=inner,
        share=rng.uniform(0.3, 0.99, count),
        outer=inner + rng.uniform(0.2, 3, count),
    )
    scales = tuple(1 + k % 2 for k in range(count)) if coarse else None
    return FilterBank(filters, potentials, scales, random_gate(count, hidden) if hidden else None)


def random_gate(groups, hidden, seed=0):
    """A gate whose values differ much between pixels."""
    rng = np.random.default_rng([seed, groups, hidden])
    shapes = ((hidden, 3 * groups), (hidden,), (groups, hidden), (groups,))
    return Gate(*(rng.standard_normal(shape) for shape in shapes))


def with_parities(filters):
    """Filters made to sum to zero and to have the parities of those of `random_bank`."""
    own = [parity_part(one, PARITIES[k % 4]) for k, one in enumerate(np.concatenate(filters))]
    own = np.reshape(own, filters.shape)
    return own - own.mean(axis=(-2, -1), keepdims=True)


def small_prior(channels=1, rho=0.9, hidden=0):
    """The prior before the first step of learning, whose filters already remove noise."""
    terms = Terms(5, rho, coarse=4, group=2)
    bank = terms.bank(starting_weights(terms, 12, channels))
    if hidden:
        bank = replace(bank, gate=random_gate(6, hidden))
    return LearnedPrior(bank, (5.0, 60.0), ("a.png",), 0, 0, name="small.prior")
