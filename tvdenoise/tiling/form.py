"""What all windows of an image have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tvdenoise.model.objective import Objective
from tvdenoise.model.penalties import PENALTIES
from tvdenoise.stopping import Certificate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tvdenoise.method import Method
    from tvdenoise.tiling.source import Reader


@dataclass(frozen=True)
class Form:
    """What J is like for any window of an image, and how it is descended."""

    method: Method
    mu: float
    epsilon: float

    def objective(self, noisy: NDArray[np.floating]) -> Objective:
        """J for planes (channels, ...)."""
        method = self.method
        penalty = PENALTIES[method.penalty](self.epsilon)
        return Objective(noisy, self.mu, penalty, method.tv, method.channel_weights, method.axis_weights)

    def certificate(
        self, reader: Reader, tolerance: float | None, extremes: tuple[np.floating, np.floating]
    ) -> Certificate:
        """That of the whole image, whose least and largest values these are."""
        stand_in = np.broadcast_to(np.float32(0), (reader.channels, *reader.shape))
        return Certificate.of(self.objective(stand_in), tolerance, np.dtype(np.float32), extremes=extremes)
