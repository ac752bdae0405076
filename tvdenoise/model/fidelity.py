"""Pixel weights W of the fidelity μ/2 ‖x − f‖²_W.

Weight 1 is the plain fidelity. Weight 0 marks a missing pixel, which the total variation alone determines.
Held pixels keep their value: they are data, not unknowns. Absent pixels lie outside the domain: differences to them
are zero, as across the border of the image (Neumann).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


#: Codes of pixels that are no unknowns.
HELD, ABSENT = -1.0, -2.0


@dataclass(frozen=True, eq=False)
class Fidelity:
    """The weights of pixels, the same for all channels.

    coded: (rows, columns) or (planes, rows, columns), in the precision of the image: the weight w ≥ 0 of each
    unknown pixel, −1 for held pixels, −2 for absent ones.
    """

    coded: NDArray[np.floating]

    @classmethod
    def of(
        cls,
        weights: NDArray[np.floating] | None,
        free: NDArray[np.bool_] | None,
        absent: NDArray[np.bool_] | None,
        precision: np.dtype[np.floating],
    ) -> Fidelity | None:
        """Combine weights with the masks of unknown and of absent pixels; None if that is the plain fidelity."""
        has_weights = weights is not None and not (weights == 1).all()
        is_masked = free is not None and not free.all()
        if not (has_weights or is_masked or absent is not None):
            return None
        shape = next(each.shape for each in (weights, free, absent) if each is not None)
        coded = np.ones(shape, precision) if weights is None else np.array(weights, precision, order="C")
        if free is not None:
            coded[~free] = HELD
        if absent is not None:
            coded[absent] = ABSENT
        return cls(coded)

    @cached_property
    def absent(self) -> int:
        """The number of absent pixels."""
        return int(np.count_nonzero(self.coded == ABSENT))

    @cached_property
    def is_held(self) -> NDArray[np.bool_]:
        """True for held pixels."""
        held: NDArray[np.bool_] = self.coded == HELD
        return held

    @cached_property
    def is_void(self) -> NDArray[np.bool_]:
        """True for missing and absent pixels, which hold no noisy value."""
        void: NDArray[np.bool_] = (self.coded == 0) | (self.coded == ABSENT)
        return void

    def edges(self, axis: int) -> NDArray[np.bool_]:
        """True for pixels whose difference to the next one along an axis lies within the domain (the last too)."""
        inside = np.asarray(self.coded != ABSENT)
        joined: NDArray[np.bool_] = inside.copy()
        inner = [slice(None)] * inside.ndim
        following = list(inner)
        inner[axis], following[axis] = slice(None, -1), slice(1, None)
        joined[tuple(inner)] &= inside[tuple(following)]
        return joined

    @cached_property
    def is_free(self) -> NDArray[np.bool_]:
        """True for unknown pixels."""
        free: NDArray[np.bool_] = self.coded >= 0
        return free

    @cached_property
    def is_known(self) -> NDArray[np.bool_]:
        """True for unknown pixels with a noisy value (w > 0)."""
        known: NDArray[np.bool_] = self.coded > 0
        return known

    @cached_property
    def has_missing(self) -> bool:
        """True if any pixel is missing: J is then not strongly convex."""
        return self.missing > 0

    @cached_property
    def missing(self) -> int:
        """The number of missing pixels."""
        return int(np.count_nonzero(self.coded == 0))

    @cached_property
    def count(self) -> int:
        """The number of unknown pixels."""
        return int(np.count_nonzero(self.is_free))

    @cached_property
    def total(self) -> float:
        """The sum of the weights of the unknown pixels."""
        return float(self.coded.sum(dtype=np.float64, where=self.is_free))

    @cached_property
    def largest(self) -> float:
        """The largest weight."""
        return max(float(self.coded.max()), 0.0)

    @cached_property
    def least(self) -> float:
        """The least weight of an unknown pixel; 1 if there is none."""
        return float(self.coded.min(initial=np.inf, where=self.is_free)) if self.count else 1.0

    @cached_property
    def typical(self) -> float:
        """The mean weight of the known pixels; 1 if there are none."""
        known = np.count_nonzero(self.is_known)
        return self.total / int(known) if known else 1.0

    @cached_property
    def gain(self) -> float:
        """√(Σ 1/w / Σ w) over the known pixels: the growth of μ times the bound for 1 in each component of ∇J."""
        if self.least == self.largest == 1:
            return 1.0
        known = self.coded[self.is_known].astype(np.float64)
        return float(np.sqrt(np.sum(1 / known) / np.sum(known))) if known.size else 1.0

    def squared_dual_norm(self, gradient: NDArray[np.floating]) -> float:
        """Return ‖g‖²_{W⁻¹} of a gradient (channels, ...) over the known pixels."""
        known = gradient[:, self.is_known]
        return float(np.sum(np.square(known, dtype=np.float64) / self.coded[self.is_known]))

    def gradient_rms(self, squared_gradient_norm: float, squared_missing_norm: float, channels: int) -> float:
        """Return rms(∇J) over the unknowns, or over the missing pixels among them if that is larger.

        A few missing pixels in a large image hardly count in the former.
        """
        every = squared_gradient_norm / (max(self.count, 1) * channels)
        missing = squared_missing_norm / (max(self.missing, 1) * channels)
        return float(np.sqrt(max(every, missing)))

    def squared_missing_norm(self, gradient: NDArray[np.floating]) -> float:
        """Return ‖g‖² of a gradient (channels, ...) over the missing pixels."""
        return float(np.sum(np.square(gradient[:, self.coded == 0], dtype=np.float64)))
