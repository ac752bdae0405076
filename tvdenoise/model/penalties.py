"""Smoothed absolute values h(z): slope 1 at infinity, curvature at most 1/ε.

A penalty is a function of s = |z|², since the isotropic total variation depends only on the length of the image
gradient; its derivative is h'(z) = weight(s)·z.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Penalty(Protocol):
    """A smoothed absolute value h."""

    name: ClassVar[str]

    @property
    def epsilon(self) -> float:
        """The smoothing ε > 0, in intensity units."""

    @property
    def curvature(self) -> float:
        """The largest second derivative, 1/ε."""

    def value(self, squared: NDArray[np.float64]) -> NDArray[np.float64]:
        """h(z) for each s = |z|²."""

    def weight(self, squared: NDArray[np.float64]) -> NDArray[np.float64]:
        """h'(z)/z for each s = |z|²."""


@dataclass(frozen=True)
class Hyperbolic:
    """h(z) = √(z² + ε²), the hyperbola (Charbonnier et al., IEEE TIP 6(2), 1997)."""

    epsilon: float
    name: ClassVar[str] = "hyperbolic"

    @property
    def curvature(self) -> float:
        """1/ε, attained at z = 0."""
        return 1.0 / self.epsilon

    def value(self, squared: NDArray[np.float64]) -> NDArray[np.float64]:
        """√(s + ε²)."""
        return np.sqrt(squared + self.epsilon**2)

    def weight(self, squared: NDArray[np.float64]) -> NDArray[np.float64]:
        """1/√(s + ε²)."""
        return 1.0 / np.sqrt(squared + self.epsilon**2)

    def weight_slope(self, squared: NDArray[np.float64]) -> NDArray[np.float64]:
        """The derivative of the weight by s, −(s + ε²)^(−3/2)/2."""
        return -0.5 * self.weight(squared) ** 3

    def weight_by_epsilon(self, squared: NDArray[np.float64]) -> NDArray[np.float64]:
        """The derivative of the weight by ε, −ε (s + ε²)^(−3/2)."""
        return -self.epsilon * self.weight(squared) ** 3


@dataclass(frozen=True)
class Huber:
    """h(z) = z²/(2ε) up to ε and |z| − ε/2 beyond (Huber, Ann. Math. Statist. 35, 1964)."""

    epsilon: float
    name: ClassVar[str] = "huber"

    @property
    def curvature(self) -> float:
        """1/ε, attained up to z = ε."""
        return 1.0 / self.epsilon

    def value(self, squared: NDArray[np.float64]) -> NDArray[np.float64]:
        """s/(2ε) where s ≤ ε², √s − ε/2 elsewhere."""
        quadratic = squared / (2 * self.epsilon)
        return np.where(squared <= self.epsilon**2, quadratic, np.sqrt(squared) - self.epsilon / 2)

    def weight(self, squared: NDArray[np.float64]) -> NDArray[np.float64]:
        """1/max(√s, ε)."""
        return 1.0 / np.sqrt(np.maximum(squared, self.epsilon**2))


PENALTIES: dict[str, type[Hyperbolic] | type[Huber]] = {
    Hyperbolic.name: Hyperbolic,
    Huber.name: Huber,
}
