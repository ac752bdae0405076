"""Learned filters in the place of ∇: a bank of filters, its potentials, and the prior that they define.

    R(x) = s² Σᵢ Σ_p ψᵢ(|(Kᵢ x / s)_p|),    J(x) = R(x) + ½ ‖x − f‖²
    ψ(t) = a (√(t² + ε₁²) − ε₁ − c (√(t² + ε₂²) − ε₂)),    0 ≤ c < 1,    0 < ε₁ < ε₂

Kᵢ correlates each channel of the image, extended symmetrically, with the filters of group i; |·| is the norm over the
filters and the channels, as total variation takes the norm of both differences in all channels. So responses of a group
that come together cost less than apart: those of an edge, wherever it stands within the filters, and in all channels.
ψ is a hyperbola less a wider one: steep near 0 and nearly flat far out, so that edges cost little. It is concave in
places, by at most κᵢ, so J stays (1 − ρ)-strongly convex as long as ρ, a bound of the largest eigenvalue of Σ κᵢ KᵢᵀKᵢ,
is below 1.

With t = Kᵢx/s, the responses of a pixel, and q(t) = ψ'(|t|)/|t|, which falls from a/ε₁ − ac/ε₂ to 0:

    ∇R(x) = s Σᵢ Kᵢᵀ q(t) t,    ∇²R(x) d = Σᵢ Kᵢᵀ (q(t) Kᵢd + q'(|t|)/|t| ⟨t, Kᵢd⟩ t)

ψ(|t|) bends by ψ''(|t|) ≥ −κ along t and by q(t) > 0 across it, so κ and the largest curvature q(0) are those of ψ.

Each filter is even or odd along rows and along columns, so a flip of the image flips its responses, up to their sign.
So the sum over the image is a quarter of the sum over the torus of its mirror images, where Kᵢ is a multiplication in
the Fourier domain, and the maximum of the symbols bounds the eigenvalue at the border too. It also means that the
adjoint needs no special treatment of the border: it is the correlation with the flipped filters of the responses on
the extended image. And up to a common phase, the symbol of a filter is real, and even or odd along each frequency: a
quarter of the frequencies tells all.

A bank may have gates: factors of the potentials, between 0 and 1, that differ between pixels (`tvdenoise.model.gates`).
They change no bound.

This module is the definition: scipy.sparse in double precision. Tests hold `tvdenoise.model.filter_kernels` to it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from tvdenoise.model.fidelity import HELD
from tvdenoise.model.gates import GATE_REACH, ByGate
from tvdenoise.model.spectral_bound import SpectralBound
from tvdenoise.model.step_metrics import (
    PART,
    SMOOTHINGS,
    ScaledMetric,
    SpectralMetric,
    UniformMetric,
    scaling,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from scipy import sparse

    from tvdenoise.model.fidelity import Fidelity
    from tvdenoise.model.gates import Gate


#: The symmetries of a filter or of a part of it along (rows, columns): 1 for even, −1 for odd.
PARITIES = ((1, 1), (1, -1), (-1, 1), (-1, -1))
#: Frequencies of a whole circle along each axis, on which the symbols of a bank are evaluated.
_FREQUENCIES = 256
#: Those from 0 to π, which tell all of them.
_HALF = _FREQUENCIES // 2 + 1
_ANGLES = 2 * np.pi / _FREQUENCIES * np.arange(_HALF)
#: The default tolerance, in levels.
_TOLERANCE = 0.05
#: The error of a gradient's sums, in unit roundoffs of what its terms may add up to: a hundred times the largest error
#: of a pixel that was measured, since terms add up only where the curvature is largest. And that of an iterate: four
#: times what descents in single precision come down to.
_ROUNDINGS, _ITERATE_ROUNDINGS = 1, 2
#: Pixels farther away than this have no influence that counts: 0.07 grey levels at most on photographs, at any level.
MARGIN = 64
#: The smoothing before filters of scale 2.
_BINOMIAL = np.outer((1, 2, 1), (1, 2, 1)) / 16


def parity_part(filters: NDArray[np.floating], parity: tuple[int, int]) -> NDArray[np.floating]:
    """Return the part of each filter (..., n, n) that has a parity; the four parts add up to the filter."""
    rows, columns = parity
    even = (filters + rows * filters[..., ::-1, :]) / 2
    part: NDArray[np.floating] = (even + columns * even[..., ::-1]) / 2
    return part


@dataclass(frozen=True, eq=False)
class Potentials:
    """ψ of each group: a hyperbola less a wider one. Four arrays of one shape, without units.

    scale: a > 0. inner: ε₁ > 0. share: c, 0 ≤ c < 1. outer: ε₂ > ε₁.
    """

    scale: NDArray[np.float64]
    inner: NDArray[np.float64]
    share: NDArray[np.float64]
    outer: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Raise ValueError unless all values are in their ranges."""
        arrays = (self.scale, self.inner, self.share, self.outer)
        if not all(np.isfinite(array).all() for array in arrays):
            raise ValueError("the potentials hold values that are not finite")
        if not ((self.scale > 0) & (self.inner > 0) & (self.outer > self.inner)).all():
            raise ValueError("the potentials need a scale > 0 and smoothings 0 < inner < outer")
        if not ((self.share >= 0) & (self.share < 1)).all():
            raise ValueError("the share of the wider hyperbola must be at least 0 and below 1")

    def at(self, level: float) -> Potentials:
        """Return the potentials s² ψ(t/s) of a level s > 0, which are hyperbolae again."""
        return Potentials(self.scale * level, self.inner * level, self.share, self.outer * level)

    def of(self, groups: NDArray[np.intp]) -> Potentials:
        """Return the potentials of some of the groups, in their order."""
        return Potentials(self.scale[groups], self.inner[groups], self.share[groups], self.outer[groups])

    def value(self, norms: NDArray[np.float64]) -> NDArray[np.float64]:
        """ψ(t) ≥ 0, with ψ(0) = 0, for norms (groups, ...)."""
        a, inner, c, outer = self._aligned(norms)
        narrow = np.hypot(norms, inner) - inner
        return a * (narrow - c * (np.hypot(norms, outer) - outer))

    def ratio(self, norms: NDArray[np.float64]) -> NDArray[np.float64]:
        """q(t) = ψ'(t)/t."""
        a, inner, c, outer = self._aligned(norms)
        ratio: NDArray[np.float64] = a * (1 / np.hypot(norms, inner) - c / np.hypot(norms, outer))
        return ratio

    def ratio_slope(self, norms: NDArray[np.float64]) -> NDArray[np.float64]:
        """q'(t)/t."""
        a, inner, c, outer = self._aligned(norms)
        slope: NDArray[np.float64] = a * (c / np.hypot(norms, outer) ** 3 - 1 / np.hypot(norms, inner) ** 3)
        return slope

    def bend(self, norms: NDArray[np.float64]) -> NDArray[np.float64]:
        """ψ''(t) = q(t) + t q'(t)."""
        return self.ratio(norms) + norms**2 * self.ratio_slope(norms)

    @cached_property
    def curvature(self) -> NDArray[np.float64]:
        """The largest ψ'' of each, a/ε₁ − ac/ε₂, at t = 0."""
        return self.scale * (1 / self.inner - self.share / self.outer)

    @cached_property
    def turning_point(self) -> NDArray[np.float64]:
        """t² where ψ'' is least, (qε₂² − ε₁²)/(1 − q) with q = (ε₁²/(cε₂²))^(2/5); infinity if ψ is convex."""
        with np.errstate(divide="ignore", invalid="ignore"):
            q = (self.inner**2 / (self.share * self.outer**2)) ** 0.4
            squared = (q * self.outer**2 - self.inner**2) / (1 - q)
        return np.where(q < 1, np.maximum(squared, 0.0), np.inf)

    @cached_property
    def concavity(self) -> NDArray[np.float64]:
        """κ of each, the largest −ψ''(t); 0 where ψ is convex. It is at most ac/ε₂."""
        squared = self.turning_point
        least = self.bend(np.sqrt(np.where(np.isinf(squared), 0.0, squared)))
        return np.where(np.isinf(squared), 0.0, np.maximum(-least, 0.0))

    def _aligned(self, norms: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        """Return the four arrays with as many dimensions."""
        shape = self.scale.shape + (1,) * (norms.ndim - self.scale.ndim)
        return tuple(a.reshape(shape) for a in (self.scale, self.inner, self.share, self.outer))


class ByBank(NamedTuple):
    """Derivatives by the filters of a bank, by a, ε₁, c and ε₂ of each group, and by the layers of its gate, if any."""

    filters: NDArray[np.float64]
    scale: NDArray[np.float64]
    inner: NDArray[np.float64]
    share: NDArray[np.float64]
    outer: NDArray[np.float64]
    gate: ByGate | None = None

    @classmethod
    def of(cls, arrays: Sequence[NDArray[np.float64]], gate: ByGate | None = None) -> ByBank:
        """Return the derivatives by filters and potentials, in the order of the fields, and by the gate."""
        filters, scale, inner, share, outer = arrays
        return cls(filters, scale, inner, share, outer, gate)

    @property
    def arrays(self) -> tuple[NDArray[np.float64], ...]:
        """Those by filters and potentials."""
        return self.filters, self.scale, self.inner, self.share, self.outer

    def plus(self, other: ByBank, factor: float = 1.0) -> ByBank:
        """Return the sum with a multiple of other derivatives; those without a gate do not depend on it."""
        gate = self.gate
        if gate is not None and other.gate is not None:
            gate = ByGate(*(a + factor * b for a, b in zip(gate, other.gate, strict=True)))
        return ByBank.of([a + factor * b for a, b in zip(self.arrays, other.arrays, strict=True)], gate)

    def times(self, factor: float) -> ByBank:
        """Return a multiple."""
        gate = None if self.gate is None else ByGate(*(factor * one for one in self.gate))
        return ByBank.of([factor * one for one in self.arrays], gate)


@dataclass(frozen=True, eq=False)
class FilterBank:
    """Groups of filters of odd side n, each even or odd along rows and along columns, with a potential for each group.

    filters: (groups, members, channels, n, n); every filter sums to zero in each channel. It may differ between
    channels, but for its parity.
    scales: of each group, 1 or 2; None for ones. At scale 2 the taps are two pixels apart, and see the image smoothed
    by (1, 2, 1)/4 along both axes.
    gate: how strongly the potentials act in each pixel; None for fully everywhere.
    """

    filters: NDArray[np.float64]
    potentials: Potentials
    scales: tuple[int, ...] | None = None
    gate: Gate | None = None

    def __post_init__(self) -> None:
        """Raise ValueError unless the arrays fit together and the filters are what they are said to be."""
        shape = self.filters.shape
        if len(shape) != 5 or shape[3] != shape[4] or shape[3] % 2 == 0:
            raise ValueError(
                f"the filters must have the shape (groups, members, channels, side, side), side odd, not {shape}"
            )
        if self.potentials.scale.shape != shape[:1]:
            raise ValueError("each group of filters needs one potential")
        if self.scales is not None and (len(self.scales) != len(self.filters) or {*self.scales} - {1, 2}):
            raise ValueError("each group of filters needs the scale 1 or 2")
        if self.gate is not None and self.gate.outer_bias.shape != shape[:1]:
            raise ValueError("each group of filters needs one gate")
        if not np.isfinite(self.filters).all():
            raise ValueError("the filters hold values that are not finite")
        size = np.abs(self.filters).sum(axis=(-2, -1), keepdims=True)
        if (np.abs(self.filters.sum(axis=(-2, -1), keepdims=True)) > 1e-9 * size).any():
            raise ValueError("each filter must sum to zero in every channel")
        self.parities  # noqa: B018 checked here

    @property
    def channels(self) -> int:
        """The number of channels of the images."""
        return int(self.filters.shape[2])

    @property
    def members(self) -> int:
        """The number of filters in a group."""
        return int(self.filters.shape[1])

    @property
    def count(self) -> int:
        """The number of filters in all groups."""
        return len(self.filters) * self.members

    @property
    def radius(self) -> int:
        """(n − 1)/2."""
        return int(self.filters.shape[3]) // 2

    @property
    def reach(self) -> int:
        """The largest distance of a pixel that a filter sees."""
        return 2 * self.radius + 1 if self.scales and 2 in self.scales else self.radius

    @property
    def energy_factor(self) -> float:
        """What makes a mean of a sum of squares over the members and the channels of a group."""
        return 1 / (self.members * self.channels)

    @cached_property
    def squared_sizes(self) -> NDArray[np.float64]:
        """The mean over channels of Σ ‖k‖² over the members of each group."""
        sizes: NDArray[np.float64] = np.square(self.on_image).sum(axis=(1, 2, 3, 4)) / self.channels
        return sizes

    @property
    def largest_local_curvature(self) -> float:
        """The most that `FilterPrior.local_curvature` can be."""
        return float(self.squared_sizes @ self.potentials.curvature)

    @property
    def gated_groups(self) -> int:
        """The number of gates of a pixel in an image that the filters see together; 0 without gate."""
        return 0 if self.gate is None else len(self.filters)

    def images_in(self, channels: int) -> int:
        """Return the number of images that the filters see of one with so many channels: the whole, or each channel."""
        return channels if self.channels == 1 else 1

    def gates_in(self, channels: int) -> int:
        """Return the number of gates of a pixel in an image of so many channels."""
        return self.gated_groups * self.images_in(channels)

    @property
    def gate_reach(self) -> int:
        """The largest distance of a pixel of the noisy image on which a gate depends."""
        return 0 if self.gate is None else self.reach + GATE_REACH

    def scale_of(self, index: int) -> int:
        """The scale of a group."""
        return 1 if self.scales is None else self.scales[index]

    def at_scale(self, scale: int) -> tuple[FilterBank, NDArray[np.intp]]:
        """Return the groups of one scale as a bank of scale 1 without gate, and their indices."""
        own = np.array([k for k in range(len(self.filters)) if self.scale_of(k) == scale], np.intp)
        return FilterBank(self.filters[own], self.potentials.of(own)), own

    @cached_property
    def parities(self) -> NDArray[np.intp]:
        """For each filter, (groups, members), its place in `PARITIES`. Raises ValueError if it has none."""
        errors = [
            np.abs(self.filters - parity_part(self.filters, parity)).max(axis=(2, 3, 4), initial=0)
            for parity in PARITIES
        ]
        if (np.min(errors, axis=0) > 1e-9 * np.abs(self.filters).max(axis=(2, 3, 4), initial=0)).any():
            raise ValueError("a filter is neither even nor odd along an axis")
        best: NDArray[np.intp] = np.argmin(errors, axis=0)
        return best

    @cached_property
    def on_image(self) -> NDArray[np.float64]:
        """All filters as they see the image, (groups, members, channels, 2 × reach + 1, 2 × reach + 1)."""
        reach, r = self.reach, self.radius
        result = np.zeros((*self.filters.shape[:3], 2 * reach + 1, 2 * reach + 1))
        for k, group in enumerate(self.filters):
            if self.scale_of(k) == 1:
                result[k, ..., reach - r : reach + r + 1, reach - r : reach + r + 1] = group
            else:
                for (i, j), weight in np.ndenumerate(_BINOMIAL):
                    result[k, ..., i : i + 4 * r + 1 : 2, j : j + 4 * r + 1 : 2] += weight * group
        return result

    def by_filters(self, by_image: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the derivatives by the filters from those by `on_image`: the adjoint, and the part of each parity."""
        reach, r = self.reach, self.radius
        result = np.zeros_like(self.filters)
        for k, group in enumerate(by_image):
            if self.scale_of(k) == 1:
                result[k] = group[..., reach - r : reach + r + 1, reach - r : reach + r + 1]
            else:
                for (i, j), weight in np.ndenumerate(_BINOMIAL):
                    result[k] += weight * group[..., i : i + 4 * r + 1 : 2, j : j + 4 * r + 1 : 2]
        for place, parity in np.ndenumerate(self.parities):
            result[place] = parity_part(result[place], PARITIES[parity])
        return result

    @cached_property
    def symbols(self) -> NDArray[np.float64]:
        """The real symbol of each filter, (groups, members, channels, down, across), at frequencies from 0 to π.

        That is the filter's transform but for the phase of its parity, a factor ±1 or ±i.
        """
        waves = _cosines_and_sines(self.reach)
        symbols = np.empty((*self.filters.shape[:3], _HALF, _HALF))
        for place, parity in np.ndenumerate(self.parities):
            down, across = (waves[sign] for sign in PARITIES[parity])
            symbols[place] = down @ self.on_image[place] @ across.T
        return symbols

    def _squares(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the symbol of Σ wᵢ KᵢᵀKᵢ, (channels, down, across)."""
        squares: NDArray[np.float64] = np.einsum(
            "i,imchw,imchw->chw", weights, self.symbols, self.symbols, optimize=False
        )
        return squares

    @cached_property
    def lipschitz(self) -> float:
        """A Lipschitz constant of ∇R at any level."""
        return self.largest_eigenvalue(self._most_curved)

    @cached_property
    def concavity(self) -> float:
        """ρ ≥ 0: at any level, R + ρ/2 ‖x‖² is convex."""
        return self.largest_eigenvalue(self.potentials.concavity)

    @cached_property
    def largest_slope(self) -> float:
        """The largest Σ a ‖k‖₁ of a channel, a bound of the gradient of R at level 1 in each pixel: |ψ'| is below a."""
        return float((self.potentials.scale @ np.abs(self.on_image).sum(axis=(1, 3, 4))).max())

    def largest_eigenvalue(self, weights: NDArray[np.float64]) -> float:
        """Return a bound of the largest eigenvalue of Σ wᵢ KᵢᵀKᵢ on images of any shape, for one w ≥ 0 a potential.

        The symbol of a filter of side n is a trigonometric polynomial of degree n − 1 when squared, so its maximum is
        at most that on m×m frequencies over cos²(π (n − 1)/m).
        """
        return float(self._squares(weights).max()) / self._between_frequencies

    def eigenvalue_slopes(
        self, weights: NDArray[np.float64]
    ) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
        """Return `largest_eigenvalue` and its derivatives by the weights and by the filters."""
        squares = self._squares(weights)
        channel, row, column = np.unravel_index(np.argmax(squares), squares.shape)
        found = self.symbols[:, :, channel, row, column]
        waves = _cosines_and_sines(self.reach)
        by_image = np.zeros_like(self.on_image)
        for (k, member), parity in np.ndenumerate(self.parities):
            down, across = PARITIES[parity]
            wave = np.outer(waves[down][row], waves[across][column])
            by_image[k, member, channel] = 2 * weights[k] * found[k, member] * wave
        scale = 1 / self._between_frequencies
        by_weight = (found**2).sum(axis=1)
        return float(squares.max()) * scale, by_weight * scale, self.by_filters(by_image * scale)

    @property
    def _most_curved(self) -> NDArray[np.float64]:
        """The largest |ψ''| of each potential."""
        return np.maximum(self.potentials.curvature, self.potentials.concavity)

    def bounding_convolution(self, openness: NDArray[np.floating] | None = None) -> NDArray[np.float64]:
        """Return Σ wᵢ oᵢ KᵢᵀKᵢ with w the largest |ψ''| and a factor for each group, as `convolutions` are given.

        openness: o, between 0 and 1; with ones, the default, it bounds ∇²R.
        """
        weights = self._most_curved if openness is None else self._most_curved * openness
        return np.tensordot(weights, self.convolutions, 1)

    @cached_property
    def concave_convolution(self) -> NDArray[np.float64]:
        """Σ κᵢ KᵢᵀKᵢ with κ the largest −ψ'', which bounds −∇²R, as `convolutions` are given."""
        return np.tensordot(self.potentials.concavity, self.convolutions, 1)

    @cached_property
    def convolutions(self) -> NDArray[np.float64]:
        """KᵢᵀKᵢ of each group as a convolution that is even along both axes.

        (groups, channels, rows, columns), by distance up to 2 × reach; it is zero beyond.
        """
        end = 2 * self.reach + 1
        count = np.full(_HALF, 2.0)  # of the frequencies of a whole circle that each stands for
        count[[0, -1]] = 1
        back = count / _FREQUENCIES * np.cos(np.outer(np.arange(end), _ANGLES))
        found: NDArray[np.float64] = back @ np.square(self.symbols).sum(axis=1) @ back.T
        return found

    @property
    def _between_frequencies(self) -> float:
        """The part of the maximum of a squared symbol that the grid of frequencies is sure to find."""
        return float(np.cos(2 * np.pi * self.reach / _FREQUENCIES) ** 2)


def _cosines_and_sines(reach: int) -> dict[int, NDArray[np.float64]]:
    """Return the waves that stand for even (1) and odd (−1) filters, (frequencies, distances −reach to reach)."""
    angles = np.outer(_ANGLES, np.arange(-reach, reach + 1))
    return {1: np.cos(angles), -1: np.sin(angles)}


@dataclass(frozen=True, eq=False)
class FilterPrior:
    """R for a bank at a level.

    level: s > 0, in units of the intensities; about σ for white noise.
    gates: (images, groups, rows, columns), for each image that the filters see; None for ones.
    """

    bank: FilterBank
    level: float
    gates: NDArray[np.floating] | None = None
    _operators: dict[tuple[int, ...], list[sparse.csr_array]] = field(default_factory=dict, repr=False)

    @cached_property
    def potentials(self) -> Potentials:
        """s² ψ(t/s) for each group."""
        return self.bank.potentials.at(self.level)

    @property
    def lipschitz(self) -> float:
        """A Lipschitz constant of ∇R."""
        return self.bank.lipschitz

    @property
    def concavity(self) -> float:
        """ρ ≥ 0: R + ρ/2 ‖x‖² is convex."""
        return self.bank.concavity

    def operators(self, shape: Sequence[int]) -> list[sparse.csr_array]:
        """Return for each channel of the bank all filters, one below the other, for images (rows, columns)."""
        from scipy import sparse

        key = tuple(shape)
        if key not in self._operators:
            self._operators[key] = [
                sparse.vstack(filter_operators(np.concatenate(filters), key), format="csr")
                for filters in np.moveaxis(self.bank.on_image, 2, 0)
            ]
        return self._operators[key]

    def images_of(self, planes: NDArray[np.floating]) -> list[NDArray[np.floating]]:
        """Return the images (channels, rows, columns) that the filters see: the whole, or each channel by itself."""
        return [planes] if self.bank.channels == len(planes) else [plane[np.newaxis] for plane in planes]

    def gates_of(self, noisy: NDArray[np.floating]) -> NDArray[np.float64] | None:
        """Return the gates that a noisy image asks for; None if the bank has no gate."""
        if self.bank.gate is None:
            return None
        return np.stack([self.bank.gate.values(self.energies(one)) for one in self.images_of(noisy)])

    def energies(self, image: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the mean |Kᵢ f / s|² of a group, (groups, rows, columns), of what the filters see together."""
        squares = _norms(self._responses(image)) ** 2 * (self.bank.energy_factor / self.level**2)
        return squares.reshape(-1, *image.shape[1:])

    def _gates(self, image: int) -> NDArray[np.floating] | float:
        """Return the gates of one of the images that the filters see, (groups, pixels)."""
        return 1.0 if self.gates is None else self.gates[image].reshape(len(self.bank.filters), -1)

    def value(self, x: NDArray[np.floating]) -> float:
        """Return R(x)."""
        norms = [_norms(self._responses(one)) for one in self.images_of(x)]
        return float(sum((self._gates(k) * self.potentials.value(one)).sum() for k, one in enumerate(norms)))

    def gradient(self, x: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return ∇R(x), with the shape of the image."""
        return np.concatenate(
            [self._gradient(one, self._gates(k)) for k, one in enumerate(self.images_of(x))]
        )

    def _gradient(self, x: NDArray[np.floating], gates: NDArray[np.floating] | float) -> NDArray[np.float64]:
        responses = self._responses(x)
        ratios = gates * self.potentials.ratio(_norms(responses))
        return self._adjoint(ratios[:, None] * responses, x.shape)

    @cached_property
    def openness(self) -> NDArray[np.float64]:
        """The mean gate of each group over all pixels; ones without gates."""
        if self.gates is None:
            return np.ones(len(self.bank.filters))
        openness: NDArray[np.float64] = self.gates.mean(axis=(0, 2, 3), dtype=np.float64)
        return openness

    def local_curvature(self, x: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return Σᵢ gᵢ q(|Kᵢx|) ‖kᵢ‖² in each pixel, (images or 1, rows, columns), where ‖kᵢ‖² is that of a channel.

        This is about the diagonal of Σ Kᵢᵀ gᵢ q(|Kᵢx|) Kᵢ, the Hessian of the quadratic function that touches R at x
        from above (half-quadratic; Geman and Reynolds, IEEE TPAMI 14(3), 1992).
        """
        found = []
        for k, image in enumerate(self.images_of(x)):
            ratios = self._gates(k) * self.potentials.ratio(_norms(self._responses(image)))
            found.append((self.bank.squared_sizes @ ratios).reshape(image.shape[1:]))
        return np.stack(found)

    def hessian_product(
        self, x: NDArray[np.floating], direction: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        """Return ∇²R(x) d, with the shape of the image."""
        pairs = zip(self.images_of(x), self.images_of(direction), strict=True)
        return np.concatenate([self._hessian_product(*pair, self._gates(k)) for k, pair in enumerate(pairs)])

    def _hessian_product(
        self,
        x: NDArray[np.floating],
        direction: NDArray[np.floating],
        gates: NDArray[np.floating] | float,
    ) -> NDArray[np.float64]:
        responses, changes = self._responses(x), self._responses(direction)
        norms = _norms(responses)
        along = gates * self.potentials.ratio_slope(norms) * (responses * changes).sum(axis=(0, 2))
        ratios = gates * self.potentials.ratio(norms)
        return self._adjoint(ratios[:, None] * changes + along[:, None] * responses, x.shape)

    def _responses(self, x: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return Kᵢ x, (channels, groups, members, pixels)."""
        planes = x.astype(np.float64).reshape(len(x), -1)
        operators = self.operators(x.shape[1:])
        responses = [operator @ plane for operator, plane in zip(operators, planes, strict=True)]
        return np.stack(responses).reshape(len(x), *self.bank.filters.shape[:2], -1)

    def _adjoint(self, responses: NDArray[np.float64], shape: Sequence[int]) -> NDArray[np.float64]:
        """Return Σ Kᵢᵀ rᵢ."""
        operators = self.operators(shape[1:])
        planes = [operator.T @ each.ravel() for operator, each in zip(operators, responses, strict=True)]
        return np.stack(planes).reshape(shape)


def _norms(responses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the norms over channels and members, (groups, pixels)."""
    norms: NDArray[np.float64] = np.sqrt((responses**2).sum(axis=(0, 2)))
    return norms


@dataclass(frozen=True, eq=False)
class FilterObjective:
    """J(x) = R(x) + ½ ‖x − f‖² for one noisy image.

    noisy: f, (channels, rows, columns), float32 or float64. A bank of one channel acts on each channel by itself; other
    banks need an image with as many channels.
    fidelity: the held pixels, which are no unknowns; all others have the weight 1. None if all are free.

    The gates are those of the prior, and those that the noisy image asks for if it has none.
    """

    noisy: NDArray[np.floating]
    prior: FilterPrior
    fidelity: Fidelity | None = None
    iterate_roundings: ClassVar[float] = _ITERATE_ROUNDINGS

    def __post_init__(self) -> None:
        """Raise ValueError unless the filters suit the image and the weights of its pixels."""
        if self.fidelity is not None and not np.isin(self.fidelity.coded, (1, HELD)).all():
            raise ValueError(
                "learned filters know no weights of pixels; masks and weights need total variation"
            )
        if self.prior.bank.channels not in (1, len(self.noisy)):
            raise ValueError(
                f"filters for {self.prior.bank.channels} channels do not suit an image of {len(self.noisy)}"
            )

    @cached_property
    def gated(self) -> FilterPrior:
        """The prior with its gates, in double precision unless it came with them."""
        if self.prior.gates is not None or self.prior.bank.gate is None:
            return self.prior
        return replace(self.prior, gates=self.prior.gates_of(self.noisy))

    @property
    def lipschitz(self) -> float:
        """L, a Lipschitz constant of ∇J."""
        return 1 + self.prior.lipschitz

    @property
    def convexity(self) -> float:
        """1 − ρ, a lower bound of the curvature of J in every direction."""
        return 1 - self.prior.concavity

    @property
    def modulus(self) -> float:
        """1 − ρ, which the certificate divides by."""
        return self.convexity

    @property
    def is_strongly_convex(self) -> bool:
        """True, since ρ < 1."""
        return self.convexity > 0

    @property
    def typical_mu(self) -> float:
        """The weight of the fidelity, 1."""
        return 1.0

    @property
    def total_weight(self) -> float:
        """N, the number of unknowns."""
        if self.fidelity is None:
            return float(self.noisy.size)
        return float(self.fidelity.count * len(self.noisy) or 1)

    @property
    def default_tolerance(self) -> float:
        """A twentieth of the level, in intensity units."""
        return _TOLERANCE * self.prior.level

    def gradient_rounding(self, span: float) -> float:
        """Return the error of a pixel's computed gradient, in unit roundoffs, for channels of a span.

        Filters sum to zero, so kernels subtract the middle of the intensities first.
        """
        return _ROUNDINGS * (self.prior.level * self.prior.bank.largest_slope + self.lipschitz * span / 2)

    @property
    def uniform_metric(self) -> UniformMetric:
        """The metric of gradient steps if pixels are held, where the transform of `SpectralMetric` is of no use."""
        return UniformMetric(PART * self.lipschitz)

    def metric(self, x: NDArray[np.floating]) -> SpectralMetric | UniformMetric:
        """Return the metric of gradient steps, which is the same everywhere."""
        return self.whole_metric(x, None)

    def whole_metric(
        self, x: NDArray[np.floating], openness: NDArray[np.floating] | None, threads: int = 1
    ) -> SpectralMetric | UniformMetric:
        """Return a metric for images like x that is the same in all pixels.

        openness: as in `FilterBank.bounding_convolution`.
        """
        if self.fidelity is not None:
            return self.uniform_metric
        convolution = self.prior.bank.bounding_convolution(openness)
        return SpectralMetric.of(convolution, x.shape[1:], x.dtype, threads)

    def move_metric(self, x: NDArray[np.floating]) -> ScaledMetric:
        """Return the metric of moves that start at x: it takes each potential times its mean gate."""
        from scipy import ndimage

        curvature = self.gated.local_curvature(x)
        for axis in (1, 2) * SMOOTHINGS:
            curvature = ndimage.convolve1d(curvature, np.array([0.25, 0.5, 0.25]), axis, mode="reflect")
        whole = self.whole_metric(x, self.gated.openness)
        return ScaledMetric(whole, scaling(curvature, self.prior.bank.largest_local_curvature))

    def squared_dual_norm(self, gradient: NDArray[np.floating]) -> float:
        """Return the square of a norm D with ‖x − x*‖ ≤ D/(1 − ρ), see `tvdenoise.model.spectral_bound`."""
        bank = self.prior.bank
        bound = SpectralBound.of(bank.concave_convolution, self.modulus, gradient.shape[1:], gradient.dtype)
        return bound.squared_norm(gradient)

    def distance_bound(self, squared_dual_norm: float) -> float:
        """Return the certificate, in intensity units: rms(x − x*) ≤ D/((1 − ρ)√N), for D or a larger norm of ∇J(x)."""
        return float(np.sqrt(squared_dual_norm / self.total_weight) / self.convexity)

    def value(self, x: NDArray[np.floating]) -> float:
        """Return J(x)."""
        residual = x.astype(np.float64) - self.noisy
        return self.gated.value(x) + float(np.vdot(residual, residual)) / 2

    def gradient(self, x: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return ∇J(x), with the shape of the image; zero at held pixels."""
        gradient: NDArray[np.float64] = self.gated.gradient(x) + x - self.noisy
        return gradient if self.fidelity is None else np.where(self.fidelity.is_free, gradient, 0.0)

    def hessian_product(
        self, x: NDArray[np.floating], direction: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        """Return ∇²J(x) d, with the shape of the image."""
        return self.gated.hessian_product(x, direction) + direction


def mirrored(indices: NDArray[np.intp], length: int) -> NDArray[np.intp]:
    """Return the pixels that stand at indices of any value when an axis is extended symmetrically, again and again."""
    within = indices % (2 * length)
    return np.where(within < length, within, 2 * length - 1 - within)


def filter_operators(filters: NDArray[np.float64], shape: Sequence[int]) -> list[sparse.csr_array]:
    """Return for each filter (n, n) the matrix of (Kx)_p = Σ_d k[d] (Ex)[p + d].

    shape: (rows, columns). E extends the image symmetrically: the row outside the first equals the first.
    """
    from scipy import sparse

    rows, columns = shape
    side = filters.shape[-1]
    offsets = np.arange(side) - side // 2
    down, across = (mirrored(np.arange(length) + offsets[:, None], length) for length in (rows, columns))
    places = down[:, None, :, None] * columns + across[:, None, :]
    pixels = np.broadcast_to(np.arange(rows * columns).reshape(rows, columns), places.shape)
    return [
        sparse.coo_array(
            (np.broadcast_to(one[..., None, None], places.shape).ravel(), (pixels.ravel(), places.ravel())),
            shape=(rows * columns, rows * columns),
        ).tocsr()
        for one in filters
    ]


def cosine_atoms(side: int, within: int | None = None) -> NDArray[np.float64]:
    """Return the atoms of the two-dimensional cosine transform but the constant, (side² − 1, within, within).

    They are orthonormal, sum to zero, and are even or odd along each axis: atom (u, v) has the parity of u and v.
    within: the side of the array in whose middle they stand, ``side`` by default.
    """
    u, t = np.mgrid[:side, :side]
    basis = np.sqrt(np.where(u == 0, 1, 2) / side) * np.cos(np.pi * u * (2 * t + 1) / (2 * side))
    atoms = np.einsum("ut,vs->uvts", basis, basis).reshape(side**2, side, side)[1:]
    margin = ((within or side) - side) // 2
    return np.pad(atoms, ((0, 0), (margin, margin), (margin, margin)))
