"""Metrics of the steps: what the objective gradient is divided by, so that a step suits the curvature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import DTypeLike, NDArray


class StepMetric(Protocol):
    """A symmetric matrix M ≥ 0. Curvatures of J are at most twice M, or about as large as M (`ScaledMetric`)."""

    def times(self, direction: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return M d."""

    def divide(self, gradient: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return M⁻¹ g."""


@dataclass(frozen=True, eq=False)
class PixelMetric:
    """A diagonal matrix. diagonal: m, with the shape of the image; where it is 0, ``divide`` returns 0."""

    diagonal: NDArray[np.floating]

    def times(self, direction: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return m d."""
        return self.diagonal * direction

    def divide(self, gradient: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return g/m."""
        result = np.zeros_like(gradient)
        np.divide(gradient, self.diagonal, out=result, where=self.diagonal > 0)
        return result


@dataclass(frozen=True, eq=False)
class UniformMetric:
    """A multiple of the identity. factor: m > 0."""

    factor: float

    def times(self, direction: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return m d."""
        result: NDArray[np.floating] = direction * direction.dtype.type(self.factor)
        return result

    def divide(self, gradient: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return g/m."""
        result: NDArray[np.floating] = gradient * gradient.dtype.type(1 / self.factor)
        return result


#: The part of the largest curvature of learned filters that their metrics hold. It must be at least 1/2.
PART = 0.5


@dataclass(frozen=True, eq=False)
class SpectralMetric:
    """M = 1 + ½ Σ wᵢ oᵢ KᵢᵀKᵢ for learned filters, where wᵢ is the largest |ψᵢ''| and oᵢ ≤ 1.

    With oᵢ = 1, ∇²J is at most twice M. Since each filter is even or odd along rows and along columns,
    KᵢᵀKᵢ is a convolution of each channel of the symmetrically extended image with an even function, and the cosine
    transform (DCT-II) of the image makes it diagonal, for images of any shape: the extended image is even about its
    border.

    inverse: M⁻¹ at the frequencies of the transform, (channels, rows, columns) of the bank; (1, ...) also for banks
    that act on each channel by itself.
    """

    inverse: NDArray[np.floating]
    threads: int = 1

    @classmethod
    def of(
        cls, convolution: NDArray[np.float64], shape: Sequence[int], dtype: DTypeLike, threads: int = 1
    ) -> SpectralMetric:
        """Return the metric for images of so many rows and columns.

        convolution: Σ wᵢ oᵢ KᵢᵀKᵢ, see `tvdenoise.model.filters.FilterBank.bounding_convolution`.
        """
        symbol = eigenvalues_of(PART * convolution, shape).astype(dtype)
        symbol += 1
        return cls(np.divide(1, symbol, out=symbol), threads)

    def times(self, direction: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return M d."""
        return self._applied(1 / self.inverse, direction)

    def divide(self, gradient: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return M⁻¹ g."""
        return self._applied(self.inverse, gradient)

    def _applied(self, factors: NDArray[np.floating], image: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return the image whose transform is the factors times that of an image."""
        from scipy.fft import idctn

        parts = []
        for together in channels_together(image, factors):
            transformed = transform_of(image[together], self.threads)
            transformed *= factors
            parts.append(
                idctn(transformed, axes=(1, 2), norm="ortho", workers=self.threads, overwrite_x=True)
            )
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


@dataclass(frozen=True, eq=False)
class ScaledMetric:
    """P⁻¹ M P⁻¹ with a diagonal matrix P ≥ 1, so that steps are longer where the curvature is lower than M says.

    M knows how curvatures differ between frequencies, and P how they differ between pixels (see `scaling`).

    It only estimates curvatures, so it is for steps whose value is watched.

    whole: M. scaling: the diagonal of P, (1 or channels, rows, columns).
    """

    whole: SpectralMetric | UniformMetric
    scaling: NDArray[np.floating]

    def times(self, direction: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return P⁻¹ M P⁻¹ d."""
        result: NDArray[np.floating] = self.whole.times(direction / self.scaling) / self.scaling
        return result

    def divide(self, gradient: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return P M⁻¹ P g."""
        result = self.whole.divide(gradient * self.scaling)
        result *= self.scaling
        return result


#: How often (1, 2, 1)/4 smooths the pixels' curvatures, and the power of them that P takes up.
SMOOTHINGS, _EXPONENT = 4, 0.35


def scaling(curvature: NDArray[np.floating], largest: float) -> NDArray[np.floating]:
    """Return p = ((1 + largest)/(1 + curvature))^0.35, at least 1.

    curvature: of R in each pixel at the start, smoothed. largest: what it is at most. The square root would make the
    diagonal of the Hessian equal everywhere at the start. But curvatures change until the end: this power and smoothing
    needed the fewest evaluations on photographs, about four fifths of those with p = 1.
    """
    p = ((1 + largest) / (1 + np.minimum(curvature, largest))) ** _EXPONENT
    scaled: NDArray[np.floating] = p.astype(curvature.dtype, copy=False)
    return scaled


def channels_together(image: NDArray[np.floating], factors: NDArray[np.floating]) -> Iterator[slice]:
    """Yield the channels of an image that factors apply to, some at a time."""
    for first in range(0, len(image), len(factors)):
        yield slice(first, first + len(factors))


def transform_of(image: NDArray[np.floating], threads: int = 1) -> NDArray[np.floating]:
    """Return the orthonormal cosine transform of each channel of an image."""
    from scipy.fft import dctn

    transformed: NDArray[np.floating] = dctn(image, axes=(1, 2), norm="ortho", workers=threads)
    return transformed


def eigenvalues_of(convolution: NDArray[np.float64], shape: Sequence[int]) -> NDArray[np.float64]:
    """Return the eigenvalues of a convolution that is even along both axes, at the frequencies of the transform.

    convolution: (channels, distance down, distance across). shape: (rows, columns) of the image.
    """
    down, across = (_cosines(length, convolution.shape[-1] - 1) for length in shape)
    eigenvalues: NDArray[np.float64] = down @ convolution @ across.T
    return eigenvalues


def _cosines(length: int, reach: int) -> NDArray[np.float64]:
    """Return the factors of distances 0 to reach at each frequency of a transform, (length, reach + 1)."""
    frequency = np.pi / length * np.arange(length)
    factors: NDArray[np.float64] = 2 * np.cos(np.multiply.outer(frequency, np.arange(reach + 1)))
    factors[:, 0] = 1
    return factors
