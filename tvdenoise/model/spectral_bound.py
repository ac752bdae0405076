"""How far the minimiser can be from an iterate, where strong convexity differs between frequencies.

With learned filters, ∇²J is at least C = 1 − Σ κᵢ KᵢᵀKᵢ, where κᵢ is the largest −ψᵢ''. So e = x − x* has

    ⟨∇J(x), e⟩ ≥ ⟨e, C e⟩.

The modulus 1 − ρ of the certificate is below the least eigenvalue of C, and most others are larger. For any λ with
λC > 1, adding λ times the difference of both sides to ‖e‖², and taking the maximum over e,

    ‖e‖² ≤ λ²/4 ⟨∇J(x), (λC − 1)⁻¹ ∇J(x)⟩.

The cosine transform makes C diagonal (see `tvdenoise.model.step_metrics.SpectralMetric`). λ is the least for which the
factors of |∇J|² at all frequencies are at most 1/(1 − ρ)²: so this bound is never above ‖∇J(x)‖/(1 − ρ), and rounding
of ∇J adds at most as much to it. On photographs it is half to a third of that. If some pixels are held, e and ∇J are 0
there, and the same holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tvdenoise.model.step_metrics import channels_together, eigenvalues_of, transform_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import DTypeLike, NDArray

#: The error of a transform, in unit roundoffs times log₂ of the number of pixels.
_ROUNDINGS = 8


@dataclass(frozen=True, eq=False)
class SpectralBound:
    """A norm D of ∇J(x) for which ‖x − x*‖ ≤ D/(1 − ρ).

    weights: (1 − ρ)² λ²/4/(λc − 1) ≤ 1 at the frequencies of the transform, (channels, rows, columns) of the bank;
    (1, ...) also for banks that act on each channel by itself.
    """

    weights: NDArray[np.floating]
    threads: int = 1

    @classmethod
    def of(
        cls,
        concave: NDArray[np.float64],
        modulus: float,
        shape: Sequence[int],
        dtype: DTypeLike,
        threads: int = 1,
    ) -> SpectralBound:
        """Return the bound for images of so many rows and columns.

        concave: Σ κᵢ KᵢᵀKᵢ, see `tvdenoise.model.filters.FilterBank.concave_convolution`. modulus: 1 − ρ.
        """
        curvatures = eigenvalues_of(-concave, shape)
        curvatures += 1
        least = max(float(curvatures.min()), modulus)  # equal but for rounding, if it is below
        ratio = (least / modulus) ** 2
        factor = 2 * (ratio - np.sqrt(ratio * (ratio - 1))) / least  # λ
        # In place: the array is as large as the image, and new memory takes longer than the arithmetic.
        weights = np.maximum(curvatures, least, out=curvatures)
        weights *= factor
        weights -= 1
        np.divide((modulus * factor / 2) ** 2, weights, out=weights)
        return cls(weights.astype(dtype), threads)

    def squared_norm(self, gradient: NDArray[np.floating]) -> float:
        """Return D² of ∇J(x), (channels, rows, columns), with the error of its transform."""
        squared = 0.0
        for together in channels_together(gradient, self.weights):
            transformed = transform_of(gradient[together], self.threads)
            rows = np.einsum("cij,cij,cij->ci", transformed, transformed, self.weights)
            squared += float(rows.sum(dtype=np.float64))
        unit = float(np.finfo(gradient.dtype).eps) / 2
        error = _ROUNDINGS * unit * np.log2(self.weights[0].size + 1)
        return float((np.sqrt(squared) + error * np.linalg.norm(gradient)) ** 2)
