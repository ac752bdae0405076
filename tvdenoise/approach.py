"""How far a solve has come on its way to the tolerance."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tvdenoise.model.engines import Evaluation
    from tvdenoise.stopping import Certificate


class Approach:
    """Tells the part that is done after each evaluation, from 0 to 1 and never less than before.

    The distance bound falls about evenly on a logarithmic scale: the part is that of its way there.
    """

    def __init__(self, certificate: Certificate, tell: Callable[[float], None]) -> None:
        self._certificate = certificate
        self._tell = tell
        self._whole: float | None = None
        self._done = 0.0

    def add(self, evaluation: Evaluation) -> None:
        """The next evaluation, that of the start first."""
        left = math.log(self._certificate.excess(evaluation))
        if self._whole is None:
            self._whole = left
        part = 1 - left / self._whole if left > 0 else 1.0
        self._done = max(self._done, part)
        self._tell(self._done)
