"""The definition of the objective J, its gradient, its Lipschitz constant and the certificate.

    J(x) = Σ h(K x) + μ/2 ‖x − f‖²_W,    ∇J(x) = Kᵀ h'(K x) + μ W (x − f),    K = diag(weights) ∇

W is the identity unless pixels have fidelity weights. Held pixels stay at f; ∇J is zero there. Absent pixels are
outside the domain: ∇ has no differences to them. This module is plain scipy.sparse in double precision; tests hold
the fast engines to it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np

from tvdenoise.model.penalties import Hyperbolic
from tvdenoise.model.step_metrics import PixelMetric

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from scipy import sparse

    from tvdenoise.model.fidelity import Fidelity
    from tvdenoise.model.penalties import Penalty
    from tvdenoise.model.step_metrics import StepMetric


#: The default tolerance, times μ.
_TOLERANCE = 0.03
#: The error of the two weighted differences of a pixel's gradient along one axis, in unit roundoffs.
_ROUNDINGS = 8


class Minimisable(Protocol):
    """What the solver knows of an objective: `Objective`, and `tvdenoise.model.filters.FilterObjective`.

    The properties are explained there.
    """

    @property
    def noisy(self) -> NDArray[np.floating]:
        """f, (channels, rows, columns) or (channels, planes, rows, columns)."""

    @property
    def fidelity(self) -> Fidelity | None:
        """The weights of pixels; None for ones."""

    @property
    def lipschitz(self) -> float:
        """L, a Lipschitz constant of ∇J."""

    @property
    def convexity(self) -> float:
        """A lower bound of the curvature of J in every direction; 0 if there is none."""

    @property
    def is_strongly_convex(self) -> bool:
        """True if there is a certificate."""

    @property
    def modulus(self) -> float:
        """The modulus of strong convexity in the norm that the certificate bounds."""

    @property
    def typical_mu(self) -> float:
        """The weight of the fidelity, on average."""

    @property
    def total_weight(self) -> float:
        """N, or the sum of the weights."""

    @property
    def default_tolerance(self) -> float:
        """In intensity units."""

    @property
    def iterate_roundings(self) -> float:
        """The error of the gradient once steps are below the rounding of the iterate, in unit roundoffs of L max|f|."""

    def gradient_rounding(self, span: float) -> float:
        """Return the error of a pixel's computed gradient, in unit roundoffs, for channels of a span."""

    def value(self, x: NDArray[np.floating]) -> float:
        """Return J(x)."""

    def gradient(self, x: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return ∇J(x)."""

    def squared_dual_norm(self, gradient: NDArray[np.floating]) -> float:
        """Return the square of the norm of ∇J that the certificate divides by the modulus."""

    def metric(self, x: NDArray[np.floating]) -> StepMetric:
        """Return what divides the gradient."""

    def move_metric(self, x: NDArray[np.floating]) -> StepMetric:
        """Return what divides the gradient for moves with memory that start at x."""


@dataclass(frozen=True, eq=False)
class Objective:
    """J for one noisy image.

    noisy: f, (channels, rows, columns) or (channels, planes, rows, columns), float32 or float64.
    mu: weight of the fidelity, μ > 0 (1/intensity).
    penalty: h, with its ε.
    tv: "isotropic" takes |z| over all directions and channels, "anisotropic" each component alone.
    channel_weights: a factor for each channel's image gradient.
    axis_weights: a factor h_min/hᵢ for the differences along each spatial axis with pixel distance hᵢ; None for
    ones.
    fidelity: the weights of pixels; None for ones.
    unknowns: the number of unknowns, if ``noisy`` only stands in for an image that is evaluated part by part.
    """

    noisy: NDArray[np.floating]
    mu: float
    penalty: Penalty
    tv: str = "isotropic"
    channel_weights: tuple[float, ...] = field(default=(1.0,))
    axis_weights: tuple[float, ...] | None = None
    fidelity: Fidelity | None = None
    unknowns: int | None = None

    iterate_roundings = 8.0

    @cached_property
    def squared_axis_weights(self) -> tuple[float, ...]:
        """(h_min/hᵢ)² for each spatial axis."""
        weights = self.axis_weights or (1.0,) * (self.noisy.ndim - 1)
        return tuple(weight**2 for weight in weights)

    @property
    def lipschitz(self) -> float:
        """L = μ max w + 4 Σ (h_min/hᵢ)² · max(channel weight)² / ε, a Lipschitz constant of ∇J."""
        squared_norm = (
            4.0 * sum(self.squared_axis_weights) * max(weight**2 for weight in self.channel_weights)
        )
        largest = 1.0 if self.fidelity is None else self.fidelity.largest
        return self.mu * largest + squared_norm * self.penalty.curvature

    @property
    def is_strongly_convex(self) -> bool:
        """True if no pixel is missing; only then is there a certificate."""
        return self.convexity > 0

    @property
    def convexity(self) -> float:
        """μ min w, a lower bound of the curvature of J in every direction; 0 if pixels are missing."""
        return self.mu if self.fidelity is None else self.mu * self.fidelity.least

    @property
    def modulus(self) -> float:
        """μ: J is μ-strongly convex in the norm of W, which the certificate bounds."""
        return self.mu

    @property
    def default_tolerance(self) -> float:
        """0.03/μ (μ times the mean weight), in intensity units."""
        return _TOLERANCE / self.typical_mu

    def gradient_rounding(self, span: float) -> float:  # noqa: ARG002 differences do not depend on it
        """Return the error of a pixel's computed gradient, in unit roundoffs, for channels of a span."""
        return _ROUNDINGS * (self.noisy.ndim - 1) * max(self.channel_weights)

    @property
    def typical_mu(self) -> float:
        """μ times the mean weight."""
        return self.mu if self.fidelity is None else self.mu * self.fidelity.typical

    def move_metric(self, x: NDArray[np.floating]) -> PixelMetric:
        """Return the metric at x."""
        return self.metric(x)

    def squared_dual_norm(self, gradient: NDArray[np.floating]) -> float:
        """Return ‖∇J‖²_{W⁻¹}; ‖∇J‖² if all pixels have the weight 1."""
        if self.fidelity is None:
            return float(np.vdot(gradient, gradient))
        return self.fidelity.squared_dual_norm(gradient)

    def distance_bound(self, squared_gradient_norm: float) -> float:
        """Return the certificate, in intensity units.

        Plain: rms(x − x*) ≤ ‖∇J(x)‖/(μ√N), since J is μ-strongly convex: μ‖x − x*‖ ≤ ‖∇J(x)‖.
        With weights, from ‖∇J(x)‖²_{W⁻¹}: μ‖x − x*‖_W ≤ ‖∇J(x)‖_{W⁻¹}, which bounds the weighted rms
        √(Σ w (x − x*)² / Σ w).
        """
        return float(np.sqrt(squared_gradient_norm / self.total_weight) / self.mu)

    @cached_property
    def total_weight(self) -> float:
        """N, or the sum of the weights of the unknowns."""
        if self.fidelity is None:
            return self.unknowns or self.noisy.size
        return self.fidelity.total * len(self.noisy) or 1.0

    @cached_property
    def image_gradient(self) -> sparse.csr_array:
        """K, the sparse ∇ weighted by channel and axis."""
        from scipy import sparse

        from tvdenoise.model.operators import image_gradient

        gradient = image_gradient(self.noisy.shape[1:], self.channel_weights, self.axis_weights)
        if self.fidelity is None or not self.fidelity.absent:
            return gradient
        edges = [self.fidelity.edges(axis).ravel() for axis in range(self.noisy.ndim - 1)]
        within = np.tile(np.concatenate(edges), len(self.noisy)).astype(float)
        masked: sparse.csr_array = (sparse.diags_array(within) @ gradient).tocsr()
        return masked

    @cached_property
    def absent_value(self) -> float:
        """The sum of the penalties of absent pixels, whose differences are zero; no part of J."""
        if self.fidelity is None or not self.fidelity.absent:
            return 0.0
        terms = 1 if self.tv == "isotropic" else len(self.noisy) * (self.noisy.ndim - 1)
        return self.fidelity.absent * terms * float(self.penalty.value(np.zeros(1))[0])

    def _squared_lengths(self, differences: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return |z|² for each h: one for each pixel if isotropic, one for each component if anisotropic."""
        return self._joined(differences**2)

    def _joined(self, products: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sum of the components that share one h."""
        if self.tv == "anisotropic":
            return products
        joined: NDArray[np.float64] = products.reshape(-1, self.noisy[0].size).sum(axis=0)
        return joined

    def value(self, x: NDArray[np.floating]) -> float:
        """Return J(x)."""
        flat = x.astype(np.float64).ravel()
        squared = self._squared_lengths(self.image_gradient @ flat)
        residual = flat - self.noisy.ravel()
        weighted = residual if self.fidelity is None else self._bound(residual.reshape(x.shape)).ravel()
        penalties = float(self.penalty.value(squared).sum()) - self.absent_value
        return float(penalties + self.mu / 2 * (residual @ weighted))

    def total_variation_gradient(self, x: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return Kᵀ h'(K x), with the shape of the image."""
        differences = self.image_gradient @ x.astype(np.float64).ravel()
        weights = self.penalty.weight(self._squared_lengths(differences))
        copies = differences.size // weights.size
        gradient: NDArray[np.float64] = self.image_gradient.T @ (np.tile(weights, copies) * differences)
        return gradient.reshape(x.shape)

    def gradient(self, x: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return ∇J(x), the objective gradient, with the shape of the image; zero at held pixels."""
        residual = x.astype(np.float64) - self.noisy
        if self.fidelity is None:
            return self.total_variation_gradient(x) + self.mu * residual
        gradient = self.total_variation_gradient(x) + self.mu * self._bound(residual)
        return np.where(self.fidelity.is_free, gradient, 0.0)

    def curvature(self, x: NDArray[np.floating]) -> Callable[[NDArray[np.floating]], NDArray[np.float64]]:
        """Return the function d ↦ ∇²R(x) d, with R(x) = Σ h(K x) and d of the shape of the image.

        For z = K x and y = K d it is Kᵀ (w y + 2 w' z ⟨z, y⟩), where w is the weight h'(z)/z, w' its derivative by
        |z|², and the product is taken over the components that share one h. Raises ValueError for Huber's function,
        which has no second derivative.
        """
        penalty = self._smooth_penalty
        differences = self.image_gradient @ x.astype(np.float64).ravel()
        squared = self._squared_lengths(differences)
        weight, slope = penalty.weight(squared), penalty.weight_slope(squared)
        copies = differences.size // weight.size
        every_weight, every_slope = np.tile(weight, copies), np.tile(slope, copies)

        def product(d: NDArray[np.floating]) -> NDArray[np.float64]:
            across = self.image_gradient @ d.astype(np.float64).ravel()
            along = self._joined(differences * across)
            flow = every_weight * across + 2 * every_slope * np.tile(along, copies) * differences
            flowed: NDArray[np.float64] = self.image_gradient.T @ flow
            return flowed.reshape(d.shape)

        return product

    def gradient_by_epsilon(self, x: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return ∂∇J/∂ε at x, with the shape of the image. Raises ValueError for Huber's function."""
        penalty = self._smooth_penalty
        differences = self.image_gradient @ x.astype(np.float64).ravel()
        factors = penalty.weight_by_epsilon(self._squared_lengths(differences))
        flow = np.tile(factors, differences.size // factors.size) * differences
        flowed: NDArray[np.float64] = self.image_gradient.T @ flow
        return flowed.reshape(x.shape)

    @property
    def _smooth_penalty(self) -> Hyperbolic:
        if not isinstance(self.penalty, Hyperbolic):
            raise ValueError(f"the penalty {self.penalty.name} has no second derivative; use hyperbolic")
        return self.penalty

    def metric(self, x: NDArray[np.floating]) -> PixelMetric:
        """Return m, the diagonal of μW + Kᵀ U K, where U = h'(z)/z at z = K x; it has the shape of the image.

        Since h is concave in z², J lies below the quadratic that touches it at x with the curvature μW + Kᵀ U K, and
        that curvature is at most 2 m, because no difference involves more than two pixels. So a step of −∇J/(2m)
        always descends. The metric is zero at missing pixels that touch no difference.
        """
        differences = self.image_gradient @ x.astype(np.float64).ravel()
        weights = self.penalty.weight(self._squared_lengths(differences))
        of_differences = np.tile(weights, differences.size // weights.size)
        diagonal: NDArray[np.float64] = self.image_gradient.power(2).T @ of_differences
        fidelity = 1.0 if self.fidelity is None else np.maximum(self.fidelity.coded, 0)
        return PixelMetric(np.add(diagonal.reshape(x.shape), self.mu * fidelity, dtype=np.float64))

    def _bound(self, residual: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return W (x − f), zero at held pixels."""
        assert self.fidelity is not None
        bound: NDArray[np.float64] = residual * np.maximum(self.fidelity.coded, 0)
        return bound
