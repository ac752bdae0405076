"""The objective J, its gradient, its Lipschitz constant and the certificate, as they are defined.

    J(x) = Σ h(K x) + μ/2 ‖x − f‖²,    ∇J(x) = Kᵀ h'(K x) + μ (x − f),    K = diag(channel weights) ∇

This module is the definition: plain scipy.sparse in double precision. The fast engine must equal it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy import sparse

    from tvdenoise.model.penalties import Penalty

TotalVariation = Literal["isotropic", "componentwise"]
TOTAL_VARIATIONS: tuple[TotalVariation, ...] = ("isotropic", "componentwise")
SPATIAL_AXES = 2


@dataclass(frozen=True, eq=False)
class Objective:
    """J for one noisy image.

    noisy: the planes f, (channels, rows, columns), float32 or float64.
    mu: weight of the fidelity, μ > 0 (1/intensity).
    penalty: h, with its ε.
    tv: "isotropic" takes |z| over both directions and all channels; "componentwise" each component alone.
    channel_weights: a factor for each channel's image gradient.
    """

    noisy: NDArray[np.floating]
    mu: float
    penalty: Penalty
    tv: TotalVariation = "isotropic"
    channel_weights: tuple[float, ...] = field(default=(1.0,))

    @property
    def lipschitz(self) -> float:
        """L = μ + 4 · 2 axes · max(channel weight)² / ε, a Lipschitz constant of ∇J."""
        squared_norm = 4.0 * SPATIAL_AXES * max(weight**2 for weight in self.channel_weights)
        return self.mu + squared_norm * self.penalty.curvature

    def distance_bound(self, squared_gradient_norm: float) -> float:
        """The certificate ‖∇J(x)‖/(μ√N), in intensity units: rms(x − x*) is never larger.

        J is μ-strongly convex, so μ‖x − x*‖ ≤ ‖∇J(x)‖.
        """
        return float(np.sqrt(squared_gradient_norm / self.noisy.size) / self.mu)

    @cached_property
    def image_gradient(self) -> sparse.csr_array:
        """K, the channel-weighted sparse ∇."""
        from tvdenoise.model.operators import image_gradient

        _, rows, columns = self.noisy.shape
        return image_gradient(rows, columns, self.channel_weights)

    def _squared_lengths(self, differences: NDArray[np.float64]) -> NDArray[np.float64]:
        """|z|² for each h: one for each pixel where isotropic, one for each component else."""
        if self.tv == "componentwise":
            return differences**2
        squared: NDArray[np.float64] = (differences**2).reshape(-1, self.noisy[0].size).sum(axis=0)
        return squared

    def value(self, x: NDArray[np.floating]) -> float:
        """J(x)."""
        flat = x.astype(np.float64).ravel()
        squared = self._squared_lengths(self.image_gradient @ flat)
        residual = flat - self.noisy.ravel()
        return float(self.penalty.value(squared).sum() + self.mu / 2 * (residual @ residual))

    def total_variation_gradient(self, x: NDArray[np.floating]) -> NDArray[np.float64]:
        """Kᵀ h'(K x), with the shape of the image."""
        differences = self.image_gradient @ x.astype(np.float64).ravel()
        weights = self.penalty.weight(self._squared_lengths(differences))
        copies = differences.size // weights.size
        gradient: NDArray[np.float64] = self.image_gradient.T @ (np.tile(weights, copies) * differences)
        return gradient.reshape(x.shape)

    def gradient(self, x: NDArray[np.floating]) -> NDArray[np.float64]:
        """∇J(x), the objective gradient, with the shape of the image."""
        residual = x.astype(np.float64) - self.noisy
        return self.total_variation_gradient(x) + self.mu * residual
