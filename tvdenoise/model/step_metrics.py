"""Metrics of the steps: what the objective gradient is divided by, so that a step suits the curvature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import DTypeLike, NDArray


class StepMetric(Protocol):
    """A symmetric matrix M ≥ 0. Curvatures of J are at most twice M."""

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

    def divide(
        self, gradient: NDArray[np.floating], out: NDArray[np.floating] | None = None
    ) -> NDArray[np.floating]:
        """Return g/m, in ``out`` if that is given."""
        result = np.empty_like(gradient) if out is None else out
        np.multiply(gradient, gradient.dtype.type(1 / self.factor), out=result)
        return result


#: The part of the largest curvature of learned filters that their metrics hold. It must be at least 1/2.
PART = 0.5


@dataclass(frozen=True, eq=False)
class SpectralMetric:
    """M = 1 + ½ Σ wᵢ KᵢᵀKᵢ for learned filters, where wᵢ is the largest |ψᵢ''|.

    ∇²J is at most twice M. Since each filter is even or odd along rows and along columns, KᵢᵀKᵢ is a convolution of
    each channel of the symmetrically extended image with an even function, and the cosine transform (DCT-II) of the
    image makes it diagonal, for images of any shape: the extended image is even about its border.

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

        convolution: Σ wᵢ KᵢᵀKᵢ, see `tvdenoise.model.filters.FilterBank.bounding_convolution`.
        """
        down, across = (_cosines(length, convolution.shape[-1] - 1) for length in shape)
        symbol = (down @ (PART * convolution)).astype(dtype) @ across.T.astype(dtype)
        symbol += 1
        return cls(np.divide(1, symbol, out=symbol), threads)

    def times(self, direction: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return M d."""
        return self._applied(1 / self.inverse, direction)

    def divide(
        self, gradient: NDArray[np.floating], out: NDArray[np.floating] | None = None
    ) -> NDArray[np.floating]:
        """Return M⁻¹ g, in ``out`` if that is given."""
        return self._applied(self.inverse, gradient, out)

    def _applied(
        self,
        factors: NDArray[np.floating],
        image: NDArray[np.floating],
        out: NDArray[np.floating] | None = None,
    ) -> NDArray[np.floating]:
        """Return the image whose transform is the factors times that of an image."""
        from scipy.fft import dctn, idctn

        result = np.empty_like(image) if out is None else out
        for first in range(0, len(image), len(factors)):
            together = slice(first, first + len(factors))
            transformed = dctn(image[together], axes=(1, 2), norm="ortho", workers=self.threads)
            transformed *= factors
            result[together] = idctn(
                transformed, axes=(1, 2), norm="ortho", workers=self.threads, overwrite_x=True
            )
        return result


def _cosines(length: int, reach: int) -> NDArray[np.float64]:
    """Return the factors of distances 0 to reach at each frequency of a transform, (length, reach + 1)."""
    frequency = np.pi / length * np.arange(length)
    factors: NDArray[np.float64] = 2 * np.cos(np.multiply.outer(frequency, np.arange(reach + 1)))
    factors[:, 0] = 1
    return factors
