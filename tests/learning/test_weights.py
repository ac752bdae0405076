"""The numbers that are learned stand for admissible banks, and derivatives pass through the constraint."""

from dataclasses import replace

import numpy as np
import pytest

from tvdenoise.learning.weights import Terms, Weights, starting_weights, weights_of
from tvdenoise.model.filters import ByBank, FilterObjective, FilterPrior
from tvdenoise.model.gates import ByGate


def _shaken(terms, filters, share=4.0, channels=1):
    """Starting weights, changed at random, with shares so large that ρ is at its limit."""
    rng = np.random.default_rng(filters)
    weights = starting_weights(terms, filters, channels)
    shaken = [one + 0.1 * rng.standard_normal(one.shape) for one in weights]
    shaken[0] = weights.filters * rng.uniform(0.5, 1.5, weights.filters.shape)
    result = Weights(*shaken)
    result = result._replace(outer=result.outer - 1)
    return result._replace(share=result.share + share)


@pytest.mark.parametrize("rho", [0, 0.5, 0.95])
@pytest.mark.parametrize("filters", [24, 8])
def test_any_weights_stand_for_an_admissible_bank(rho, filters):
    terms = Terms(rho=rho)
    bank = terms.bank(_shaken(terms, filters))
    assert FilterPrior(bank, 1.0).concavity <= rho
    assert FilterPrior(bank, 1.0).concavity == pytest.approx(rho, rel=1e-8)
    assert bank.potentials.inner.min() > terms.least_epsilon
    assert np.allclose((bank.filters**2).sum(axis=(3, 4)).mean(axis=(1, 2)), 1)


def test_shares_that_keep_to_the_limit_are_left_alone():
    terms = Terms(rho=0.95)
    weights = _shaken(terms, 24, share=-8.0)
    assert np.allclose(terms.bank(weights).potentials.share, 1 / (1 + np.exp(-weights.share)), rtol=1e-12)


@pytest.mark.parametrize("filters", [24, 48])
def test_the_start_is_a_whole_cosine_transform_which_sees_all_frequencies_alike(filters):
    terms = Terms(rho=0.95)
    bank = terms.bank(starting_weights(terms, filters))
    assert len(bank.filters) == filters
    squared = (bank.symbols[:, 0, 0] ** 2).sum(axis=0)
    assert squared.max() == pytest.approx(filters + 1, rel=1e-3)
    assert np.median(squared) == pytest.approx(filters + 1, rel=0.02)


def test_the_start_takes_any_number_of_filters_and_channels():
    terms = Terms(rho=0.95)
    for filters in (1, 5, 30, 48):
        assert len(terms.bank(starting_weights(terms, filters)).filters) == filters
    colour = terms.bank(starting_weights(terms, 24, channels=3))
    assert colour.filters.shape == (24, 1, 3, 7, 7)
    assert np.allclose((colour.filters**2).sum(axis=(1, 2, 3, 4)), 3)
    for filters in (0, 49):
        with pytest.raises(ValueError, match="1 to 48"):
            starting_weights(terms, filters)
    with pytest.raises(ValueError, match="groups of 2"):
        starting_weights(Terms(group=2), 25)


@pytest.mark.parametrize("group", [2, 4])
def test_a_group_starts_with_neighbouring_frequencies_of_different_parities(group):
    bank = Terms(side=5, group=group).bank(starting_weights(Terms(side=5, group=group), 24))
    assert (np.diff(np.sort(bank.parities, axis=1)) > 0).sum() >= bank.count // group
    peaks = [
        np.unravel_index(np.argmax(np.abs(one)), one.shape) for one in np.concatenate(bank.symbols[:, :, 0])
    ]
    norms = np.linalg.norm(peaks, axis=1).reshape(-1, group)
    assert np.ptp(norms, axis=1).mean() < np.ptp(norms) / 2


def test_the_last_filters_are_coarse():
    terms = Terms(coarse=8)
    bank = terms.bank(starting_weights(terms, 32))
    assert [bank.scale_of(k) for k in range(32)] == 24 * [1] + 8 * [2]
    assert bank.reach == 7


@pytest.mark.parametrize("channels", [1, 3])
def test_weights_of_a_bank_stand_for_it(channels):
    terms = Terms(side=5, rho=0.9, coarse=4, group=2, hidden=3)
    bank = terms.bank(_shaken(terms, 12, channels=channels))
    same = terms.bank(weights_of(bank, terms, channels))
    assert np.allclose(same.filters, bank.filters, rtol=0, atol=1e-12)
    for name in ("scale", "inner", "share", "outer"):
        assert np.allclose(getattr(same.potentials, name), getattr(bank.potentials, name), rtol=1e-6), name
    assert same.scales == bank.scales
    assert all(np.array_equal(a, b) for a, b in zip(same.gate.arrays, bank.gate.arrays, strict=True))
    with pytest.raises(ValueError, match="hidden"):
        weights_of(bank, replace(terms, hidden=4), channels)


def test_a_new_gate_leaves_the_prior_nearly_as_strong():
    ungated, gated = Terms(side=5, coarse=4), Terms(side=5, coarse=4, hidden=3)
    before = ungated.bank(starting_weights(ungated, 12))
    after = gated.bank(weights_of(before, gated, 1))
    image = np.random.default_rng(1).standard_normal((1, 20, 30))
    values = [FilterObjective(image, FilterPrior(bank, 1.0)).value(0.5 * image) for bank in (before, after)]
    assert values[1] == pytest.approx(values[0], rel=0.05)
    assert before.gate is None
    assert after.gate.hidden == 3


def test_grey_filters_start_those_of_all_channels():
    terms = Terms(side=5, rho=0.9, coarse=4)
    bank = terms.bank(_shaken(terms, 12))
    colour = terms.bank(weights_of(bank, terms, 3))
    ratios = np.einsum("kmcij,kmij->kmc", colour.filters, bank.filters[:, :, 0])
    assert np.allclose(ratios / ratios[..., :1], [1, 1.5, 1.5])
    assert np.allclose(colour.filters, ratios[..., np.newaxis, np.newaxis] * bank.filters)
    others = ({"side": 7}, {"coarse": 3}, {"group": 2})
    for other in (Terms(**{"side": 5, "rho": 0.9, "coarse": 4} | one) for one in others):
        with pytest.raises(ValueError, match=r"filters|groups"):
            weights_of(bank, other, 3)
    with pytest.raises(ValueError, match="3 channels"):
        weights_of(colour, terms, 1)


@pytest.mark.parametrize("share", [4.0, -8.0])
@pytest.mark.parametrize(
    ("filters", "coarse", "group", "channels"), [(24, 0, 1, 1), (12, 4, 2, 1), (12, 4, 1, 3), (12, 4, 4, 3)]
)
def test_derivatives_by_the_weights_are_differences(filters, coarse, group, channels, share):
    """Of a linear function of the bank."""
    terms = Terms(side=5, rho=0.9, coarse=coarse, group=group, hidden=2)
    weights = _shaken(terms, filters, share, channels)
    rng = np.random.default_rng(5)

    def parts(bank):
        p = bank.potentials
        return (bank.filters, p.scale, p.inner, p.share, p.outer, *bank.gate.arrays)

    every = [rng.standard_normal(part.shape) for part in parts(terms.bank(weights))]
    by_bank = ByBank.of(every[:5], ByGate(*every[5:]))

    def value(changed):
        return sum(np.vdot(a, b) for a, b in zip(every, parts(terms.bank(changed)), strict=True))

    slope = terms.by_weights(weights, by_bank)
    for name, one in weights._asdict().items():
        change = rng.standard_normal(one.shape)
        if name == "filters":
            change *= np.abs(one) > 1e-12  # a filter keeps its parity
        ahead, behind = (weights._replace(**{name: one + h * change}) for h in (1e-5, -1e-5))
        difference = (value(ahead) - value(behind)) / 2e-5
        assert np.vdot(getattr(slope, name), change) == pytest.approx(difference, rel=1e-4, abs=1e-6), name


def test_derivatives_leave_filters_their_parity():
    terms = Terms(side=5)
    weights = _shaken(terms, 8)
    by_filters = np.random.default_rng(0).random((8, 1, 1, 5, 5))
    slope = terms.by_weights(weights, ByBank(by_filters, *(np.ones_like(one) for one in weights[1:5])))
    moved = terms.bank(weights._replace(filters=weights.filters - 0.1 * slope.filters))
    assert np.array_equal(moved.parities, terms.bank(weights).parities)
