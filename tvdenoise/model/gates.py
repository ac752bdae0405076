"""Gates: how strongly the potentials of learned filters act in each pixel, as the noisy image around it tells.

    R(x) = s² Σᵢ Σ_p gᵢ(p) ψᵢ(|(Kᵢ x / s)_p|),    0 ≤ gᵢ(p) ≤ 1

The gates are a function of the noisy image f and not of x, so J stays a sum of potentials with fixed factors. None is
above 1, so all bounds of the ungated prior hold: ρ, the Lipschitz constant and the metric of the steps. Neumayer and
Altekrüger ("Stability of data-dependent ridge-regularization for inverse problems", arXiv:2406.12289) compute such
factors from a first solution, by a network of convolutions. Here they follow from f itself:

    eᵢ = |Kᵢ f / s|² / count         the energies: means over filters and channels, about 1 in noise of level s
    φ = r(B₃ e), r(B₅ B₃ e), r(B₉ B₅ B₃ e),    r(e) = (e + δ)^¼ − (1 + δ)^¼
    g = h(b + A m(b' + A' φ)),    m(z) = ½ (z + √(η² + z²)),    h(z) = ½ + ½ z/√(1 + z²)

Bₙ is the mean over n×n pixels of the symmetrically extended image. m is a smooth maximum of 0 and z, so the gates have
derivatives everywhere; m'(z) = h(z/η). A flip of the image flips energies and gates.

This module is the definition, in double precision; `tvdenoise.model.gate_kernels` is its fast twin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


#: The sides of the means, each over that before.
BOXES = (3, 5, 9)
#: How far away energies are, at most, that a gate depends on.
GATE_REACH = sum(side // 2 for side in BOXES)
#: δ, which keeps the derivative of the root finite.
DELTA = 1 / 16
#: η, over which the maximum is smooth.
ETA = 1 / 8
#: The largest value in a layer and the most hidden values: single precision holds z² for any image.
_LARGEST, _MOST_HIDDEN = 1000, 512
#: How much z differs at first between pixels whose hidden values differ by 1.
_UNEVENNESS = 0.1


class ByGate(NamedTuple):
    """Derivatives by the four arrays of a `Gate`."""

    inner: NDArray[np.float64]
    inner_bias: NDArray[np.float64]
    outer: NDArray[np.float64]
    outer_bias: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Gate:
    """The two layers that turn features into gates.

    inner: A', (hidden, 3 × groups), of the features of the smallest means of all groups, then of the next.
    inner_bias: b', (hidden,). outer: A, (groups, hidden). outer_bias: b, (groups,).
    """

    inner: NDArray[np.float64]
    inner_bias: NDArray[np.float64]
    outer: NDArray[np.float64]
    outer_bias: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Raise ValueError unless the arrays fit together and their values are in range."""
        groups, hidden = self.outer_bias.size, self.inner_bias.size
        shapes = tuple(one.shape for one in self.arrays)
        if shapes != ((hidden, len(BOXES) * groups), (hidden,), (groups, hidden), (groups,)):
            raise ValueError(f"the layers of the gates have shapes {shapes}, which do not fit together")
        if not all((np.abs(one) <= _LARGEST).all() for one in self.arrays):  # false for NaN, too
            raise ValueError(f"the layers of the gates hold values beyond ±{_LARGEST}")
        if hidden > _MOST_HIDDEN:
            raise ValueError(f"the gates have {hidden} hidden values, more than {_MOST_HIDDEN}")

    @property
    def arrays(self) -> ByGate:
        """The four arrays."""
        return ByGate(self.inner, self.inner_bias, self.outer, self.outer_bias)

    @property
    def hidden(self) -> int:
        """The number of hidden values of a pixel."""
        return self.inner_bias.size

    def of(self, groups: NDArray[np.intp]) -> Gate:
        """Return the gate of all groups in another order."""
        features = np.concatenate([k * len(groups) + groups for k in range(len(BOXES))])
        return Gate(self.inner[:, features], self.inner_bias, self.outer[groups], self.outer_bias[groups])

    def values(self, energies: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the gates (groups, rows, columns) of energies of that shape."""
        return self._forward(energies).gates

    def backward(
        self, energies: NDArray[np.floating], by_gates: NDArray[np.floating]
    ) -> tuple[ByGate, NDArray[np.float64]]:
        """Return derivatives by the layers and by the energies from those by the gates."""
        forward = self._forward(energies)
        shape = energies.shape
        by_sums = by_gates.reshape(len(by_gates), -1) * (0.5 / (1 + forward.sums**2) ** 1.5)
        by_hidden = (self.outer.T @ by_sums) * opening(forward.inner_sums / ETA)
        by_roots = (self.inner.T @ by_hidden).reshape(len(BOXES), *shape)
        by_energies = np.zeros(shape)
        for side, mean, by_root in reversed(list(zip(BOXES, forward.means, by_roots, strict=True))):
            by_mean = by_energies + by_root * (0.25 * (mean + DELTA) ** -0.75)
            by_energies = box_mean(by_mean, side)  # which is its own adjoint
        by_layers = ByGate(
            by_hidden @ forward.features.T,
            by_hidden.sum(axis=1),
            by_sums @ forward.hidden.T,
            by_sums.sum(axis=1),
        )
        return by_layers, by_energies

    def _forward(self, energies: NDArray[np.floating]) -> _Forward:
        mean: NDArray[np.float64] = energies.astype(np.float64)
        means = []
        for side in BOXES:
            mean = box_mean(mean, side)
            means.append(mean)
        roots = (np.stack(means) + DELTA) ** 0.25 - (1 + DELTA) ** 0.25
        features = roots.reshape(-1, roots[0, 0].size)
        inner_sums = self.inner @ features + self.inner_bias[:, None]
        hidden = 0.5 * (inner_sums + np.hypot(ETA, inner_sums))
        sums = self.outer @ hidden + self.outer_bias[:, None]
        return _Forward(means, features, inner_sums, hidden, sums, opening(sums).reshape(energies.shape))


class _Forward(NamedTuple):
    """What the backward pass needs of the forward pass."""

    means: list[NDArray[np.float64]]
    features: NDArray[np.float64]
    inner_sums: NDArray[np.float64]
    hidden: NDArray[np.float64]
    sums: NDArray[np.float64]
    gates: NDArray[np.float64]


def box_mean(images: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """Return the means over side × side pixels of images (..., rows, columns), extended symmetrically."""
    from scipy import ndimage

    size = (1,) * (images.ndim - 2) + (side, side)
    mean: NDArray[np.float64] = ndimage.uniform_filter(images, size, mode="reflect")
    return mean


def opening(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return h(z) = ½ + ½ z/√(1 + z²), between 0 and 1."""
    opened: NDArray[np.float64] = 0.5 + 0.5 * z / np.sqrt(1 + z**2)
    return opened


def open_gate(groups: int, hidden: int, openness: float, seed: int = 0) -> Gate:
    """Return gates that are nearly alike in all pixels, as learning starts with them.

    openness: z of each gate.
    """
    rng = np.random.default_rng([seed, hidden])
    features = len(BOXES) * groups
    return Gate(
        rng.standard_normal((hidden, features)) / np.sqrt(features),
        np.zeros(hidden),
        rng.standard_normal((groups, hidden)) * (_UNEVENNESS / np.sqrt(max(hidden, 1))),
        np.full(groups, openness),
    )
