"""Gates from the energies of a noisy image, and their derivatives."""

from dataclasses import replace

import numpy as np
import pytest

from support.banks import random_bank, random_gate
from tvdenoise.model.filters import FilterPrior, mirrored
from tvdenoise.model.gates import BOXES, GATE_REACH, ByGate, Gate, box_mean, open_gate, opening

RNG = np.random.default_rng(1)
ENERGIES = RNG.chisquare(2, (3, 12, 17))


@pytest.mark.parametrize("side", BOXES)
@pytest.mark.parametrize("shape", [(12, 17), (1, 9), (2, 3)], ids=str)
def test_means_are_those_of_the_symmetrically_extended_image_and_their_own_adjoint(side, shape):
    image, other = np.random.default_rng(2).random((2, *shape))
    offsets = np.arange(side) - side // 2
    down, across = (mirrored(np.arange(length)[:, None] + offsets, length) for length in shape)
    expected = image[down[:, None, :, None], across[None, :, None, :]].mean(axis=(2, 3))
    assert np.allclose(box_mean(image, side), expected, rtol=0, atol=1e-14)
    assert np.vdot(box_mean(image, side), other) == pytest.approx(np.vdot(image, box_mean(other, side)))


def test_gates_lie_between_0_and_1_and_follow_the_energies():
    gate = random_gate(3, 5)
    gates = gate.values(1e6 * ENERGIES)
    assert gates.shape == ENERGIES.shape
    assert 0 <= gates.min() < 0.1
    assert 0.9 < gates.max() <= 1
    assert np.allclose(gate.values(ENERGIES[:, ::-1]), gate.values(ENERGIES)[:, ::-1], rtol=0, atol=1e-12)
    moved = ENERGIES.copy()
    moved[:, 0, 0] += 1
    changed = abs(gate.values(moved) - gate.values(ENERGIES)) > 1e-12
    assert changed[:, : GATE_REACH + 1, : GATE_REACH + 1].all(axis=0).any()
    assert not changed[:, GATE_REACH + 1 :].any()
    assert not changed[:, :, GATE_REACH + 1 :].any()


def test_the_gates_at_first_are_open_nearly_alike():
    gates = open_gate(3, 5, 1.0).values(ENERGIES)
    assert abs(gates - opening(np.array(1.0))).max() < 0.1
    assert gates.std() > 0


def test_derivatives_are_differences():
    gate = random_gate(3, 5)
    by_gates, change = RNG.standard_normal((2, *ENERGIES.shape))
    by_layers, by_energies = gate.backward(ENERGIES, by_gates)

    def slope(value):
        return (np.vdot(by_gates, value(1e-6)) - np.vdot(by_gates, value(-1e-6))) / 2e-6

    assert np.vdot(by_energies, change) == pytest.approx(slope(lambda h: gate.values(ENERGIES + h * change)))
    for name in ByGate._fields:
        own = RNG.standard_normal(getattr(gate, name).shape)
        found = slope(
            lambda h, n=name, d=own: replace(gate, **{n: getattr(gate, n) + h * d}).values(ENERGIES)
        )
        assert np.vdot(getattr(by_layers, name), own) == pytest.approx(found, rel=1e-5)


def test_a_gate_in_another_order_is_the_same_gate():
    order = np.array([2, 0, 1])
    gate = random_gate(3, 5)
    assert np.allclose(
        gate.of(order).values(ENERGIES[order]), gate.values(ENERGIES)[order], rtol=0, atol=1e-14
    )


@pytest.mark.parametrize(
    "layers",
    [
        (np.zeros((2, 8)), np.zeros(2), np.zeros((3, 2)), np.zeros(3)),
        (np.zeros((2, 9)), np.zeros(3), np.zeros((3, 2)), np.zeros(3)),
        (np.full((2, 9), np.nan), np.zeros(2), np.zeros((3, 2)), np.zeros(3)),
        (np.zeros((2, 9)), np.zeros(2), np.full((3, 2), 1e4), np.zeros(3)),
        (np.zeros((600, 9)), np.zeros(600), np.zeros((3, 600)), np.zeros(3)),
    ],
    ids=["features", "bias", "not a number", "too large", "too many"],
)
def test_layers_that_cannot_be_are_refused(layers):
    with pytest.raises(ValueError, match="gates"):
        Gate(*layers)


def test_energies_are_one_on_average_in_noise_of_the_level():
    bank = random_bank(6, members=2, side=5, coarse=True)
    filters = bank.filters / np.sqrt((bank.filters**2).sum(axis=(3, 4), keepdims=True))
    noise = 0.3 * np.random.default_rng(3).standard_normal((1, 90, 90))
    energies = FilterPrior(replace(bank, filters=filters), 0.3).energies(noise)
    fine = [k for k in range(6) if bank.scale_of(k) == 1]
    assert energies[fine].mean(axis=(1, 2)) == pytest.approx(1, rel=0.1)
