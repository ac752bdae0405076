"""The numbers that are learned stand for admissible banks, and derivatives pass through the constraint."""

import numpy as np
import pytest

from tvdenoise.learning.weights import Terms, Weights, starting_weights
from tvdenoise.model.filters import ByBank, FilterPrior


def _shaken(terms, filters, general, share=4.0):
    """Starting weights, changed at random, with shares so large that ρ is at its limit."""
    rng = np.random.default_rng(general)
    weights = starting_weights(terms, filters, general=general)
    shaken = [one + 0.1 * rng.standard_normal(one.shape) for one in weights]
    shaken[1] = weights.symmetric * rng.uniform(0.5, 1.5, weights.symmetric.shape)
    result = Weights(*shaken)
    result = result._replace(outer=result.outer - 1)
    return result._replace(share=result.share + share)


@pytest.mark.parametrize("rho", [0, 0.5, 0.95])
@pytest.mark.parametrize(("filters", "general"), [(24, 0), (24, 2), (8, 1)])
def test_any_weights_stand_for_an_admissible_bank(rho, filters, general):
    terms = Terms(rho=rho)
    bank = terms.bank(_shaken(terms, filters, general))
    assert FilterPrior(bank, 1.0).concavity <= rho
    assert FilterPrior(bank, 1.0).concavity == pytest.approx(rho, rel=1e-8)
    assert bank.potentials.inner.min() > terms.floor
    assert np.allclose((bank.filters**2).sum(axis=(1, 2, 3)), 1)


def test_shares_that_keep_to_the_limit_are_left_alone():
    terms = Terms(rho=0.95)
    weights = _shaken(terms, 24, 2, share=-8.0)
    assert np.allclose(terms.bank(weights).potentials.share, 1 / (1 + np.exp(-weights.share)), rtol=1e-12)


@pytest.mark.parametrize(("filters", "general"), [(24, 0), (24, 4), (48, 9)])
def test_the_start_is_a_whole_cosine_transform_which_sees_all_frequencies_alike(filters, general):
    terms = Terms(rho=0.95)
    bank = terms.bank(starting_weights(terms, filters, general=general))
    assert len(bank.filters) == filters
    squared = (np.abs(bank.symbols[:, 0]) ** 2).sum(axis=0)
    assert squared.max() == pytest.approx(filters + 1, rel=1e-3)
    assert np.median(squared) == pytest.approx(filters + 1, rel=0.02)


def test_the_start_takes_any_number_of_filters_and_channels():
    terms = Terms(rho=0.95)
    for filters in (1, 5, 30, 48):
        assert len(terms.bank(starting_weights(terms, filters)).filters) == filters
    colour = terms.bank(starting_weights(terms, 72, channels=3))
    assert colour.filters.shape == (72, 3, 7, 7)
    assert FilterPrior(colour, 1.0).lipschitz == pytest.approx(
        FilterPrior(terms.bank(starting_weights(terms, 24)), 1.0).lipschitz
    )
    for filters in (0, 49):
        with pytest.raises(ValueError, match="1 to 48"):
            starting_weights(terms, filters)
    with pytest.raises(ValueError, match="shared by 3 channels"):
        starting_weights(terms, 25, channels=3)
    with pytest.raises(ValueError, match="four parities"):
        starting_weights(terms, 24, general=5)


def test_the_last_filters_are_coarse():
    terms = Terms(coarse=8)
    bank = terms.bank(starting_weights(terms, 32))
    assert [bank.scale_of(k) for k in range(32)] == 24 * [1] + 8 * [2]
    assert bank.reach == 7


@pytest.mark.parametrize("share", [4.0, -8.0])
@pytest.mark.parametrize(("filters", "general", "coarse"), [(24, 0, 0), (24, 2, 0), (12, 1, 4)])
def test_derivatives_by_the_weights_are_differences(filters, general, coarse, share):
    """Of a linear function of the bank."""
    terms = Terms(side=5, rho=0.9, coarse=coarse)
    weights = _shaken(terms, filters, general, share)
    bank = terms.bank(weights)
    rng = np.random.default_rng(5)
    p = bank.potentials
    parts = (bank.general, bank.symmetric, p.scale, p.inner, p.share, p.outer)
    by_bank = ByBank(*(rng.standard_normal(part.shape) for part in parts))

    def value(changed):
        bank = terms.bank(changed)
        p = bank.potentials
        parts = (bank.general, bank.symmetric, p.scale, p.inner, p.share, p.outer)
        return sum(np.vdot(a, b) for a, b in zip(by_bank, parts, strict=True))

    slope = terms.by_weights(weights, by_bank)
    for name, one in weights._asdict().items():
        change = rng.standard_normal(one.shape)
        if name == "symmetric":
            change *= np.abs(one) > 1e-12  # a symmetric filter keeps its parity
        ahead, behind = (weights._replace(**{name: one + h * change}) for h in (1e-5, -1e-5))
        difference = (value(ahead) - value(behind)) / 2e-5
        assert np.vdot(getattr(slope, name), change) == pytest.approx(difference, rel=1e-4, abs=1e-6), name


def test_derivatives_leave_symmetric_filters_their_parity():
    terms = Terms(side=5)
    weights = _shaken(terms, 8, 0)
    by_bank = ByBank(
        *(
            np.ones_like(one)
            for one in (
                weights.general[:0].reshape(0, 1, 5, 5),
                np.random.default_rng(0).random((len(weights.symmetric), 1, 5, 5)),
                *weights[2:],
            )
        )
    )
    slope = terms.by_weights(weights, by_bank)
    terms.bank(weights._replace(symmetric=weights.symmetric - 0.1 * slope.symmetric))
