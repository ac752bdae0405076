"""Learned filters in the place of ∇: a bank of filters, its potentials, and the prior that they define.

    R(x) = s² Σᵢ Σ_p ψᵢ((Kᵢ x / s)_p),    ∇R(x) = s Σᵢ Kᵢᵀ ψᵢ'(Kᵢ x / s),    J(x) = R(x) + ½ ‖x − f‖²
    ψ(t) = a (√(t² + ε₁²) − ε₁ − c (√(t² + ε₂²) − ε₂)),    0 ≤ c < 1,    0 < ε₁ < ε₂

Kᵢ correlates the image, extended symmetrically, with filter i. ψ is a hyperbola less a wider one: steep near 0 and
nearly flat far out, so that edges cost little. It is concave in places, by at most κᵢ, so J stays (1 − ρ)-strongly
convex as long as ρ, a bound of the largest eigenvalue of Σ κᵢ KᵢᵀKᵢ, is below 1.

A bank is closed under flips: with each filter, its mirror images are in the bank with the same potential. So the sum
over the image is a quarter of the sum over the torus of its mirror images, where Kᵢ is a multiplication in the
Fourier domain, and the maximum of the symbols bounds the eigenvalue at the border too. It also means that the
adjoint needs no special treatment of the border: it is the correlation with the flipped filters of the responses on
the extended image.

This module is the definition: scipy.sparse in double precision. Tests hold `tvdenoise.model.filter_kernels` to it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tvdenoise.model.fidelity import HELD
from tvdenoise.model.step_metrics import PART, SpectralMetric, UniformMetric

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from scipy import sparse

    from tvdenoise.model.fidelity import Fidelity


#: The symmetries of a filter or of a part of it along (rows, columns): 1 for even, −1 for odd.
PARITIES = ((1, 1), (1, -1), (-1, 1), (-1, -1))
#: Frequencies along each axis on which the symbols of a bank are evaluated.
_FREQUENCIES = 256
#: The default tolerance, in levels, and the error of a gradient's sums, in unit roundoffs.
_TOLERANCE, _ROUNDINGS = 0.05, 8
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
    """ψ of each filter: a hyperbola less a wider one. Four arrays of one shape, without units.

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

    def of(self, filters: NDArray[np.intp]) -> Potentials:
        """Return the potentials of some of the filters, or of the same ones several times."""
        return Potentials(self.scale[filters], self.inner[filters], self.share[filters], self.outer[filters])

    def value(self, responses: NDArray[np.float64]) -> NDArray[np.float64]:
        """ψ(t) ≥ 0, with ψ(0) = 0, for responses (filters, ...)."""
        a, inner, c, outer = self._aligned(responses)
        narrow = np.hypot(responses, inner) - inner
        return a * (narrow - c * (np.hypot(responses, outer) - outer))

    def slope(self, responses: NDArray[np.float64]) -> NDArray[np.float64]:
        """ψ'(t)."""
        a, inner, c, outer = self._aligned(responses)
        return a * responses * (1 / np.hypot(responses, inner) - c / np.hypot(responses, outer))

    def bend(self, responses: NDArray[np.float64]) -> NDArray[np.float64]:
        """ψ''(t)."""
        a, inner, c, outer = self._aligned(responses)
        narrow, wide = np.hypot(responses, inner), np.hypot(responses, outer)
        bend: NDArray[np.float64] = a * (inner**2 / narrow**3 - c * outer**2 / wide**3)
        return bend

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

    def _aligned(self, responses: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        """Return the four arrays with the dimensions of the responses."""
        shape = self.scale.shape + (1,) * (responses.ndim - self.scale.ndim)
        return tuple(a.reshape(shape) for a in (self.scale, self.inner, self.share, self.outer))


class ByBank(NamedTuple):
    """Derivatives by the general and symmetric filters of a bank, and by a, ε₁, c and ε₂ of each potential."""

    general: NDArray[np.float64]
    symmetric: NDArray[np.float64]
    scale: NDArray[np.float64]
    inner: NDArray[np.float64]
    share: NDArray[np.float64]
    outer: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FilterBank:
    """Filters of odd side n, closed under flips, with a potential each. Every filter sums to zero in each channel.

    general: (G, channels, n, n), filters that are each present with their mirror images along rows, columns and both.
    symmetric: (S, channels, n, n), filters that are even or odd along rows and along columns.
    potentials: ψ of the general filters, then of the symmetric ones.
    scales: of the general filters, then of the symmetric ones, 1 or 2; None for ones. At scale 2 the taps are two
    pixels apart, and see the image smoothed by (1, 2, 1)/4 along both axes.
    """

    general: NDArray[np.float64]
    symmetric: NDArray[np.float64]
    potentials: Potentials
    scales: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        """Raise ValueError unless the arrays fit together and the filters are what they are said to be."""
        general, symmetric = self.general, self.symmetric
        if general.ndim != 4 or symmetric.ndim != 4 or general.shape[1:] != symmetric.shape[1:]:
            raise ValueError("the filters must have the shape (filters, channels, side, side)")
        if general.shape[2] != general.shape[3] or general.shape[2] % 2 == 0:
            raise ValueError(f"the filters must be square with an odd side, not {general.shape[2:]}")
        if self.potentials.scale.shape != (len(general) + len(symmetric),):
            raise ValueError("each filter needs one potential")
        if self.scales is not None and (
            len(self.scales) != len(self.potentials.scale) or {*self.scales} - {1, 2}
        ):
            raise ValueError("each filter needs the scale 1 or 2")
        if not (np.isfinite(general).all() and np.isfinite(symmetric).all()):
            raise ValueError("the filters hold values that are not finite")
        for filters in (general, symmetric):
            size = np.abs(filters).sum(axis=(-2, -1), keepdims=True)
            if (np.abs(filters.sum(axis=(-2, -1), keepdims=True)) > 1e-9 * size).any():
                raise ValueError("each filter must sum to zero in every channel")
        self.symmetric_parities  # noqa: B018 checked here

    @property
    def channels(self) -> int:
        """The number of channels of the images."""
        return int(self.general.shape[1])

    @property
    def radius(self) -> int:
        """(n − 1)/2."""
        return int(self.general.shape[2]) // 2

    @property
    def reach(self) -> int:
        """The largest distance of a pixel that a filter sees."""
        return 2 * self.radius + 1 if self.scales and 2 in self.scales else self.radius

    def scale_of(self, potential: int) -> int:
        """The scale of a filter, by the number of its potential."""
        return 1 if self.scales is None else self.scales[potential]

    def at_scale(self, scale: int) -> tuple[FilterBank, NDArray[np.intp]]:
        """Return the filters of one scale as a bank of scale 1, and the numbers of their potentials."""
        own = np.array([k for k in range(len(self.potentials.scale)) if self.scale_of(k) == scale], np.intp)
        count = len(self.general)
        bank = FilterBank(
            self.general[own[own < count]], self.symmetric[own[own >= count] - count], self.potentials.of(own)
        )
        return bank, own

    def _spread(self, filters: NDArray[np.float64], first: int) -> NDArray[np.float64]:
        """Return filters as they see the image, with the side 2 × reach + 1; first: the number of their potential."""
        reach, r = self.reach, self.radius
        result = np.zeros((*filters.shape[:2], 2 * reach + 1, 2 * reach + 1))
        for k, one in enumerate(filters):
            if self.scale_of(first + k) == 1:
                result[k, :, reach - r : reach + r + 1, reach - r : reach + r + 1] = one
            else:
                for (i, j), weight in np.ndenumerate(_BINOMIAL):
                    result[k, :, i : i + 4 * r + 1 : 2, j : j + 4 * r + 1 : 2] += weight * one
        return result

    def _gather(self, spread: NDArray[np.float64], first: int) -> NDArray[np.float64]:
        """The adjoint of `_spread`."""
        reach, r = self.reach, self.radius
        result = np.zeros((*spread.shape[:2], 2 * r + 1, 2 * r + 1))
        for k, one in enumerate(spread):
            if self.scale_of(first + k) == 1:
                result[k] = one[:, reach - r : reach + r + 1, reach - r : reach + r + 1]
            else:
                for (i, j), weight in np.ndenumerate(_BINOMIAL):
                    result[k] += weight * one[:, i : i + 4 * r + 1 : 2, j : j + 4 * r + 1 : 2]
        return result

    @cached_property
    def symmetric_parities(self) -> tuple[int, ...]:
        """For each symmetric filter the index of its parity in `PARITIES`. Raises ValueError if it has none."""
        found = []
        for one in self.symmetric:
            error = [np.abs(one - parity_part(one, parity)).max() for parity in PARITIES]
            best = int(np.argmin(error))
            if error[best] > 1e-9 * np.abs(one).max():
                raise ValueError("a symmetric filter is neither even nor odd along an axis")
            found.append(best)
        return tuple(found)

    @cached_property
    def filters(self) -> NDArray[np.float64]:
        """All filters, (4G + S, channels, n, n): each general one followed by its mirror images, then the symmetric."""
        k = self._spread(self.general, 0)
        flips = np.stack([k, k[..., ::-1], k[..., ::-1, :], k[..., ::-1, ::-1]], axis=1)
        return np.concatenate(
            [flips.reshape(-1, *k.shape[1:]), self._spread(self.symmetric, len(self.general))]
        )

    @cached_property
    def potential_of(self) -> NDArray[np.intp]:
        """For each of `filters` the index of its potential."""
        general, symmetric = len(self.general), len(self.symmetric)
        return np.concatenate([np.repeat(np.arange(general), 4), general + np.arange(symmetric)])

    @cached_property
    def symbols(self) -> NDArray[np.complex128]:
        """The filters' transforms on a grid, (filters, channels, _FREQUENCIES, _FREQUENCIES // 2 + 1)."""
        return np.fft.rfft2(self.filters, s=(_FREQUENCIES, _FREQUENCIES))

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
        """Σ a ‖k‖₁, a bound of the gradient of R at level 1 in each pixel: |ψ'| is below a."""
        sizes = np.abs(self.filters).sum(axis=(1, 2, 3))
        return float(sizes @ self.potentials.scale[self.potential_of])

    def largest_eigenvalue(self, weights: NDArray[np.float64]) -> float:
        """Return a bound of the largest eigenvalue of Σ wᵢ KᵢᵀKᵢ on images of any shape, for one w ≥ 0 a potential.

        The symbol of a filter of side n is a trigonometric polynomial of degree n − 1 when squared, so its maximum is
        at most that on m×m frequencies over cos²(π (n − 1)/m). In several channels it is a matrix for each frequency.
        """
        return self._peak(weights)[0] / self._between_frequencies

    def eigenvalue_slopes(
        self, weights: NDArray[np.float64]
    ) -> tuple[float, NDArray[np.float64], tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Return `largest_eigenvalue` and its derivatives by the weights and by the general and symmetric filters."""
        value, (row, column), vector = self._peak(weights)
        n = 2 * self.reach + 1
        angle = -2j * np.pi / _FREQUENCIES
        wave = np.exp(angle * row * np.arange(n))[:, None] * np.exp(angle * column * np.arange(n))
        projected = np.einsum("ic,c->i", self.symbols[:, :, row, column], vector.conj())
        by_weight = np.bincount(self.potential_of, np.abs(projected) ** 2, len(weights)).astype(np.float64)
        pull = 2 * weights[self.potential_of] * projected.conj()
        by_filter = np.real(pull[:, None, None, None] * vector.conj()[:, None, None] * wave)
        scale = 1 / self._between_frequencies
        return value * scale, by_weight * scale, self.gathered(by_filter * scale)

    @property
    def _most_curved(self) -> NDArray[np.float64]:
        """The largest |ψ''| of each potential."""
        return np.maximum(self.potentials.curvature, self.potentials.concavity)

    @cached_property
    def bounding_convolution(self) -> NDArray[np.float64]:
        """Σ wᵢ KᵢᵀKᵢ with w the largest |ψ''|, which bounds ∇²R, as a convolution that is even along both axes.

        (channels, channels, rows, columns), by distance up to 2 × reach; it is zero beyond.
        """
        weights = self._most_curved[self.potential_of]
        products = np.einsum("i,ichw,idhw->cdhw", weights, self.symbols, self.symbols.conj(), optimize=True)
        found: NDArray[np.float64] = np.fft.irfft2(products, s=(_FREQUENCIES, _FREQUENCIES))
        end = 2 * self.reach + 1
        return found[..., :end, :end].copy()

    def gathered(self, by_filter: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the derivatives by the general and the symmetric filters from those by `filters`."""
        count = len(self.general)
        g = by_filter[: 4 * count].reshape(-1, 4, *by_filter.shape[1:])
        general = g[:, 0] + g[:, 1][..., ::-1] + g[:, 2][..., ::-1, :] + g[:, 3][..., ::-1, ::-1]
        parts = [
            parity_part(one, PARITIES[parity])
            for one, parity in zip(
                self._gather(by_filter[4 * count :], count), self.symmetric_parities, strict=True
            )
        ]
        return self._gather(general, 0), np.array(parts).reshape(self.symmetric.shape)

    @property
    def _between_frequencies(self) -> float:
        """The part of the maximum of a squared symbol that the grid of frequencies is sure to find."""
        return float(np.cos(2 * np.pi * self.reach / _FREQUENCIES) ** 2)

    def _peak(self, weights: NDArray[np.float64]) -> tuple[float, tuple[int, int], NDArray[np.complex128]]:
        """Return the largest eigenvalue of Σ wᵢ k̂ᵢ k̂ᵢᴴ on the grid, where it is, and its unit eigenvector."""
        weighted = weights[self.potential_of]
        if self.channels == 1:
            squared = np.einsum("i,ihw->hw", weighted, np.abs(self.symbols[:, 0]) ** 2)
            place = np.unravel_index(np.argmax(squared), squared.shape)
            return float(squared[place]), (int(place[0]), int(place[1])), np.ones(1, complex)
        matrices = np.einsum("i,ichw,idhw->hwcd", weighted, self.symbols, self.symbols.conj(), optimize=True)
        largest = np.linalg.eigvalsh(matrices)[..., -1]
        place = np.unravel_index(np.argmax(largest), largest.shape)
        return (
            float(largest[place]),
            (int(place[0]), int(place[1])),
            np.linalg.eigh(matrices[place])[1][:, -1],
        )


@dataclass(frozen=True, eq=False)
class FilterPrior:
    """R for a bank at a level.

    level: s > 0, in units of the intensities; about σ for white noise.
    """

    bank: FilterBank
    level: float
    _operators: dict[tuple[int, ...], sparse.csr_array] = field(default_factory=dict, repr=False)

    @cached_property
    def potentials(self) -> Potentials:
        """s² ψ(t/s) for each filter."""
        return self.bank.potentials.of(self.bank.potential_of).at(self.level)

    @property
    def lipschitz(self) -> float:
        """A Lipschitz constant of ∇R."""
        return self.bank.lipschitz

    @property
    def concavity(self) -> float:
        """ρ ≥ 0: R + ρ/2 ‖x‖² is convex."""
        return self.bank.concavity

    def operator(self, shape: Sequence[int]) -> sparse.csr_array:
        """Return all Kᵢ, one below the other, for images (channels, rows, columns)."""
        from scipy import sparse

        if shape not in self._operators:
            self._operators[tuple(shape)] = sparse.vstack(
                filter_operators(self.bank.filters, shape), format="csr"
            )
        return self._operators[tuple(shape)]

    def images_of(self, planes: NDArray[np.floating]) -> list[NDArray[np.floating]]:
        """Return the images (channels, rows, columns) that the filters see: the whole, or each channel by itself."""
        return [planes] if self.bank.channels == len(planes) else [plane[np.newaxis] for plane in planes]

    def value(self, x: NDArray[np.floating]) -> float:
        """Return R(x)."""
        return float(sum(self.potentials.value(self._responses(one)).sum() for one in self.images_of(x)))

    def gradient(self, x: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return ∇R(x), with the shape of the image."""
        return np.concatenate(
            [
                self._adjoint(self.potentials.slope(self._responses(one)), one.shape)
                for one in self.images_of(x)
            ]
        )

    def hessian_product(
        self, x: NDArray[np.floating], direction: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        """Return ∇²R(x) d = Σ Kᵢᵀ ψᵢ''(Kᵢ x) Kᵢ d, with the shape of the image."""
        pairs = zip(self.images_of(x), self.images_of(direction), strict=True)
        return np.concatenate([self._hessian_product(*pair) for pair in pairs])

    def _hessian_product(
        self, x: NDArray[np.floating], direction: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        bends = self.potentials.bend(self._responses(x))
        return self._adjoint(bends * self._responses(direction), x.shape)

    def _responses(self, x: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return Kᵢ x, (filters, pixels)."""
        responses = self.operator(x.shape) @ x.astype(np.float64).ravel()
        return responses.reshape(len(self.bank.filters), -1)

    def _adjoint(self, responses: NDArray[np.float64], shape: Sequence[int]) -> NDArray[np.float64]:
        """Return Σ Kᵢᵀ rᵢ."""
        image: NDArray[np.float64] = self.operator(shape).T @ responses.ravel()
        return image.reshape(shape)


@dataclass(frozen=True, eq=False)
class FilterObjective:
    """J(x) = R(x) + ½ ‖x − f‖² for one noisy image.

    noisy: f, (channels, rows, columns), float32 or float64. Filters of one channel act on each channel by itself;
    other filters need an image with as many channels.
    fidelity: the held pixels, which are no unknowns; all others have the weight 1. None if all are free.
    """

    noisy: NDArray[np.floating]
    prior: FilterPrior
    fidelity: Fidelity | None = None

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

    def gradient_rounding(self, largest: float) -> float:
        """Return the error of a pixel's computed gradient, in unit roundoffs, for intensities up to ``largest``."""
        return _ROUNDINGS * (self.prior.level * self.prior.bank.largest_slope + self.lipschitz * largest)

    @property
    def uniform_metric(self) -> UniformMetric:
        """The metric of the steps if pixels are held, where the transform of `SpectralMetric` is of no use."""
        return UniformMetric(PART * self.lipschitz)

    def metric(self, x: NDArray[np.floating]) -> SpectralMetric | UniformMetric:
        """Return the metric of the steps, which is the same everywhere."""
        if self.fidelity is not None:
            return self.uniform_metric
        return SpectralMetric.of(self.prior.bank.bounding_convolution, x.shape[1:], x.dtype)

    def distance_bound(self, squared_gradient_norm: float) -> float:
        """Return the certificate, in intensity units: rms(x − x*) ≤ ‖∇J(x)‖/((1 − ρ)√N)."""
        return float(np.sqrt(squared_gradient_norm / self.total_weight) / self.convexity)

    def value(self, x: NDArray[np.floating]) -> float:
        """Return J(x)."""
        residual = x.astype(np.float64) - self.noisy
        return self.prior.value(x) + float(np.vdot(residual, residual)) / 2

    def gradient(self, x: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return ∇J(x), with the shape of the image; zero at held pixels."""
        gradient: NDArray[np.float64] = self.prior.gradient(x) + x - self.noisy
        return gradient if self.fidelity is None else np.where(self.fidelity.is_free, gradient, 0.0)

    def hessian_product(
        self, x: NDArray[np.floating], direction: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        """Return ∇²J(x) d, with the shape of the image."""
        return self.prior.hessian_product(x, direction) + direction


def mirrored(indices: NDArray[np.intp], length: int) -> NDArray[np.intp]:
    """Return the pixels that stand at indices of any value when an axis is extended symmetrically, again and again."""
    within = indices % (2 * length)
    return np.where(within < length, within, 2 * length - 1 - within)


def filter_operators(filters: NDArray[np.float64], shape: Sequence[int]) -> list[sparse.csr_array]:
    """Return for each filter (channels, n, n) the matrix of (Kx)_p = Σ_c Σ_d k[c, d] (Ex)[c, p + d].

    shape: (channels, rows, columns). E extends the image symmetrically: the row outside the first equals the first.
    """
    from scipy import sparse

    channels, rows, columns = shape
    side = filters.shape[-1]
    offsets = np.arange(side) - side // 2
    down, across = (mirrored(np.arange(length) + offsets[:, None], length) for length in (rows, columns))
    channel = np.arange(channels)[:, None, None, None, None]
    places = (channel * rows + down[:, None, :, None]) * columns + across[:, None, :]
    pixels = np.broadcast_to(np.arange(rows * columns).reshape(rows, columns), places.shape)
    return [
        sparse.coo_array(
            (np.broadcast_to(one[..., None, None], places.shape).ravel(), (pixels.ravel(), places.ravel())),
            shape=(rows * columns, channels * rows * columns),
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
