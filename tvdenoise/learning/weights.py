"""The numbers that are learned, the bank that they stand for, and derivatives by them.

The numbers are free: every choice of them stands for a bank whose filters sum to zero and have norm 1 on average over
the channels, whose ε₁ is above a given value, and whose ρ is at most another. The last is kept by a common factor τ on
all shares c.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tvdenoise.model.filters import PARITIES, ByBank, FilterBank, Potentials, cosine_atoms
from tvdenoise.model.gates import ByGate, Gate, open_gate, opening

if TYPE_CHECKING:
    from numpy.typing import NDArray


#: How closely τ is found: ρ lies within this part below the given value.
_SEARCH = 1e-10
#: The size of the opponents' coefficients at the start, where that of the luminance is 1.
_CHROMA = 1.5
#: How near to the ends of their ranges ε₁ and c may start.
_NEAREST = 1e-3
#: What a learned bank starts with: ε₁ above its least value, ε₂, a times the number of filters, and c.
_INNER, _OUTER, _SCALE, _SHARE = 0.11, 3.0, 1.5, 0.8
#: How open gates are at first: z, of which `opening` makes the gate.
_OPENNESS = 1.0
#: The layers of no gate.
_NONE = np.zeros(0)


class Weights(NamedTuple):
    """The numbers that are learned.

    filters: (groups, members, channels, n² − 1), their coefficients in the cosine transform without its constant.
    scale: log a. inner: log(ε₁ − least ε₁). outer: log(ε₂ − ε₁). share: logit of c before the common factor. (groups,)
    each.
    gate_inner to gate_outer_bias: the layers of the gate, see `tvdenoise.model.gates.Gate`; all are empty if there are
    no hidden values.
    """

    filters: NDArray[np.float64]
    scale: NDArray[np.float64]
    inner: NDArray[np.float64]
    outer: NDArray[np.float64]
    share: NDArray[np.float64]
    gate_inner: NDArray[np.float64] = _NONE
    gate_inner_bias: NDArray[np.float64] = _NONE
    gate_outer: NDArray[np.float64] = _NONE
    gate_outer_bias: NDArray[np.float64] = _NONE

    @property
    def layers(self) -> ByGate:
        """Those of the gate."""
        return ByGate(self.gate_inner, self.gate_inner_bias, self.gate_outer, self.gate_outer_bias)

    @property
    def gate(self) -> Gate | None:
        """The gate; None if there is none."""
        return Gate(*self.layers) if self.gate_inner_bias.size else None


@dataclass(frozen=True)
class Terms:
    """What a bank is to keep to.

    side: n. rho: the largest ρ, below 1; 0 for convex potentials. least_epsilon: ε₁ is above it;
    the number of evaluations of a solve rises with 1/ε₁. coarse: so many of the last filters are of scale 2.
    group: the number of filters that share a potential. hidden: hidden values of the gate; 0 for no gate.
    """

    side: int = 7
    rho: float = 0.95
    least_epsilon: float = 0.06
    coarse: int = 0
    group: int = 1
    hidden: int = 0

    def bank(self, weights: Weights) -> FilterBank:
        """Return the bank that the weights stand for."""
        return self._bank(weights)[0]

    def _bank(self, weights: Weights) -> tuple[FilterBank, float]:
        """Return the bank, and τ."""
        filters = _normed(weights.filters) @ cosine_atoms(self.side).reshape(-1, self.side**2)
        inner = self.least_epsilon + np.exp(weights.inner)
        share = np.zeros_like(weights.share) if self.rho == 0 else 1 / (1 + np.exp(-weights.share))
        potentials = Potentials(np.exp(weights.scale), inner, share, inner + np.exp(weights.outer))
        filters = filters.reshape(*filters.shape[:3], self.side, self.side)
        bank = FilterBank(filters, potentials, self._scales(len(inner)), weights.gate)
        return self._within(bank)

    def _scales(self, count: int) -> tuple[int, ...]:
        """Return the scales of so many groups."""
        coarse = self.coarse // self.group
        return (1,) * (count - coarse) + (2,) * coarse

    def _within(self, bank: FilterBank) -> tuple[FilterBank, float]:
        """Multiply the shares by the largest τ ≤ 1 with ρ(τ) ≤ the largest ρ."""
        start = bank.potentials

        def excess(factor: float) -> float:
            concavity = replace(start, share=factor * start.share).concavity
            return bank.largest_eigenvalue(concavity) - self.rho

        low, high = 0.0, 1.0
        at_low, at_high = -self.rho, excess(1.0)
        if at_high <= 0:
            return bank, 1.0
        while at_low < -_SEARCH * self.rho and high - low > 1e-15:  # false position, Illinois
            middle = (low * at_high - high * at_low) / (at_high - at_low)
            middle = middle if low < middle < high else (low + high) / 2
            value = excess(middle)
            if value > 0:
                high, at_high, at_low = (
                    middle,
                    value,
                    at_low / 2 if at_low < -2 * self.rho * _SEARCH else at_low,
                )
            else:
                low, at_low, at_high = middle, value, at_high / 2
        potentials = replace(start, share=low * start.share)
        scaled = replace(bank, potentials=potentials)
        scaled.__dict__["symbols"] = bank.symbols
        return scaled, low

    def by_weights(self, weights: Weights, by_bank: ByBank) -> Weights:
        """Return derivatives by the weights from those by the bank.

        Where τ < 1, a change of the weights changes τ so that ρ stays. So the derivative is that of ℓ − λρ with the λ
        for which it vanishes along τ.
        """
        bank, factor = self._bank(weights)
        potentials = bank.potentials
        if factor < 1:
            of_rho = _by_bank_of_rho(bank)
            multiplier = float(by_bank.share @ potentials.share) / float(of_rho.share @ potentials.share)
            by_bank = by_bank.plus(of_rho, -multiplier)
        by_coefficients = _coefficients(by_bank.filters)
        has_parity = np.array([_has_parity(self.side, parity) for parity in range(len(PARITIES))])[
            bank.parities
        ]
        unscaled = potentials.share / factor
        return Weights(
            _by_coefficients(weights.filters, by_coefficients) * has_parity[:, :, None],
            by_bank.scale * potentials.scale,
            (by_bank.inner + by_bank.outer) * (potentials.inner - self.least_epsilon),
            by_bank.outer * (potentials.outer - potentials.inner),
            by_bank.share * factor * unscaled * (1 - unscaled),
            *(by_bank.gate or ByGate(*(np.zeros_like(one) for one in weights.layers))),
        )


def _has_parity(side: int, parity: int) -> NDArray[np.bool_]:
    """Return which atoms have a parity."""
    u, v = np.divmod(np.arange(1, side**2), side)
    signs = np.stack([1 - 2 * (u % 2), 1 - 2 * (v % 2)])
    has: NDArray[np.bool_] = (signs == np.array(PARITIES[parity])[:, None]).all(axis=0)
    return has


def _normed(coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return coefficients whose squares have the sum 1 on average over the members and the channels of a group."""
    normed: NDArray[np.float64] = coefficients / _norms(coefficients)
    return normed


def _norms(coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
    norms: NDArray[np.float64] = np.sqrt(
        (coefficients**2).sum(axis=3, keepdims=True).mean(axis=(1, 2), keepdims=True)
    )
    return norms


def _by_coefficients(
    coefficients: NDArray[np.float64], by_normed: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The backward pass of `_normed`."""
    normed = _normed(coefficients)
    along = (by_normed * normed).sum(axis=3, keepdims=True).mean(axis=(1, 2), keepdims=True)
    result: NDArray[np.float64] = (by_normed - along * normed) / _norms(coefficients)
    return result


def _by_bank_of_rho(bank: FilterBank) -> ByBank:
    """Return the derivatives of ρ. A small change of t where ψ'' is least does not matter."""
    p = bank.potentials
    _, by_concavity, by_filters = bank.eigenvalue_slopes(p.concavity)
    squared = np.where(np.isinf(p.turning_point), 1.0, p.turning_point)
    by_concavity = np.where(p.concavity > 0, by_concavity, 0.0)
    u, v = np.sqrt(squared + p.inner**2), np.sqrt(squared + p.outer**2)
    return ByBank(
        by_filters,
        by_concavity * p.concavity / p.scale,
        -by_concavity * p.scale * (2 * p.inner / u**3 - 3 * p.inner**3 / u**5),
        by_concavity * p.scale * p.outer**2 / v**3,
        by_concavity * p.scale * p.share * (2 * p.outer / v**3 - 3 * p.outer**3 / v**5),
    )


def starting_weights(terms: Terms, filters: int, channels: int = 1) -> Weights:
    """Return the weights to start from: atoms of cosine transforms, in the middle of the filters.

    All atoms of one transform are a tight frame: together they see all frequencies alike. So these come first, from
    the largest transform that ``filters`` suffice for, and then the lowest of the next one. Those of neighbouring
    frequencies and different parities are grouped.

    filters: of both scales together. Raises ValueError if there cannot be so many.
    """
    side, fine = terms.side, filters - terms.coarse
    if not (1 <= fine < side**2 and terms.coarse < side**2):
        raise ValueError(
            f"of {filters} filters of side {side}, {terms.coarse} cannot be coarse: "
            f"there must be 1 to {side**2 - 1} fine and at most {side**2 - 1} coarse filters"
        )
    if fine % terms.group or terms.coarse % terms.group:
        raise ValueError(
            f"{fine} fine and {terms.coarse} coarse filters cannot be shared by groups of {terms.group}"
        )
    atoms = np.concatenate([_starting_atoms(side, count) for count in (fine, terms.coarse)])
    groups = filters // terms.group
    weights = Weights(
        _in_channels(atoms.reshape(groups, terms.group, 1, -1), channels),
        np.full(groups, np.log(_SCALE * np.sqrt(terms.group) / filters)),
        np.full(groups, np.log(_INNER)),
        np.full(groups, np.log(_OUTER - _INNER)),
        np.full(groups, np.log(_SHARE / (1 - _SHARE))),
    )
    return _gated(weights, terms)


def _gated(weights: Weights, terms: Terms, gate: Gate | None = None) -> Weights:
    """Return the weights with a gate: the given one, or if none is given and one is wanted, one that is nearly open.

    The latter lowers the potentials; log a makes up for it.
    """
    scale = weights.scale
    if gate is None:
        if not terms.hidden:
            return weights
        gate = open_gate(len(scale), terms.hidden, _OPENNESS)
        scale = scale - np.log(opening(np.array(_OPENNESS)))
    return weights._replace(
        scale=scale,
        gate_inner=gate.inner,
        gate_inner_bias=gate.inner_bias,
        gate_outer=gate.outer,
        gate_outer_bias=gate.outer_bias,
    )


def weights_of(bank: FilterBank, terms: Terms, channels: int) -> Weights:
    """Return the weights that stand for a bank, or the nearest that the terms allow.

    Filters of one channel become those of all channels. Raises ValueError if the bank has other channels, another side,
    other groups or another number of coarse filters than the terms.
    """
    if bank.channels not in (1, channels) or 2 * bank.radius + 1 != terms.side:
        raise ValueError(f"the filters have {bank.channels} channels and the side {2 * bank.radius + 1}")
    if bank.members != terms.group or bank.at_scale(2)[0].count != terms.coarse:
        raise ValueError("the groups or the numbers of coarse filters differ")
    if bank.gate is not None and bank.gate.hidden != terms.hidden:
        raise ValueError(f"the gate has {bank.gate.hidden} hidden values")
    order = np.array(sorted(range(len(bank.filters)), key=bank.scale_of), np.intp)
    p = bank.potentials.of(order)
    coefficients = _coefficients(bank.filters[order])
    share = np.clip(p.share, _NEAREST, 1 - _NEAREST)
    weights = Weights(
        _in_channels(coefficients, channels) if bank.channels == 1 else coefficients,
        np.log(p.scale),
        np.log(np.maximum(p.inner - terms.least_epsilon, _NEAREST)),
        np.log(p.outer - p.inner),
        np.log(share / (1 - share)),
    )
    return _gated(weights, terms, None if bank.gate is None else bank.gate.of(order))


def _in_channels(coefficients: NDArray[np.float64], channels: int) -> NDArray[np.float64]:
    """Return coefficients (groups, members, 1, n² − 1) in all channels, those of the opponents larger."""
    factors = np.where(np.arange(channels) > 0, _CHROMA, 1.0)
    result: NDArray[np.float64] = coefficients * factors[:, np.newaxis]
    return result


def _coefficients(filters: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the coefficients of filters (..., n, n) in the cosine transform, (..., n² − 1)."""
    side = filters.shape[-1]
    flat = filters.reshape(*filters.shape[:-2], side**2)
    coefficients: NDArray[np.float64] = flat @ cosine_atoms(side).reshape(-1, side**2).T
    return coefficients


def _starting_atoms(side: int, count: int) -> NDArray[np.float64]:
    """Return the coefficients of the first atoms, (count, n² − 1)."""
    small = max(m for m in range(1, side + 1, 2) if m**2 - 1 <= count)
    found = [cosine_atoms(small, side)[_in_groups(small)]]
    if small < side:
        wider = small + 2
        frequency = np.add(*np.divmod(np.arange(1, wider**2), wider))
        found.append(cosine_atoms(wider, side)[np.argsort(frequency, kind="stable")])
    return _coefficients(np.concatenate(found)[:count])


def _in_groups(side: int) -> list[int]:
    """Return the atoms of a transform in an order in which those of neighbouring frequencies follow each other.

    Frequencies 2k − 1 and 2k along an axis are neighbours, of which one is odd and the other even.
    """

    def place(atom: int) -> tuple[object, ...]:
        u, v = divmod(atom + 1, side)
        down, across = (u + 1) // 2, (v + 1) // 2
        return max(down, across), min(down, across), down, (u + v) % 2, u

    return sorted(range(side**2 - 1), key=place)
