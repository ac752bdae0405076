"""Further passes, until the certificate holds for the whole and no join shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from tvdenoise.solver import Status
from tvdenoise.tiling.audit import Audit
from tvdenoise.tiling.memory import fade_of, reach_of
from tvdenoise.tiling.partition import Partition
from tvdenoise.tiling.progress import Stage
from tvdenoise.tiling.windows import bands, extended

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tvdenoise.tiling.partition import Face
    from tvdenoise.tiling.passes import Windows
    from tvdenoise.tiling.plan import Plan
    from tvdenoise.tiling.progress import Tell
    from tvdenoise.tiling.source import Window

_MOST_PASSES = 100
#: Where a pass was not enough, the next one solves to this part of its tolerance.
_TIGHTER = 0.5
#: So many passes in a row must bring the largest excess to this part of what it was.
_PATIENCE, _BETTER = 4, 0.95
_TINY = 1e-30


@dataclass(eq=False)
class Refinement:
    """What is looked at after each pass, and solved again in the next.

    seam: the largest rms(∇J) near a join. passes: the first one included.
    """

    windows: Windows
    plan: Plan
    tell: Tell
    audit: Audit = field(init=False)
    seam: float = 0.0
    passes: int = 1

    def __post_init__(self) -> None:
        reader = self.windows.reader
        self.audit = Audit(
            reader,
            self.windows.scratch,
            self.windows.form,
            bands(reader.shape, self.plan.band, reader.source.chunk),
            self.plan.partition.faces(),
        )

    def run(self) -> Status:
        """Pass after pass: how it ended. The certificate is always that of the composite as it is written."""
        certificate = self.plan.certificate
        largest = certificate.tolerance * self.windows.form.mu
        # Of the windows around each join, and last of all windows.
        tolerances = np.full(len(self.audit.faces) + 1, certificate.tolerance)
        can_gain = True
        excesses: list[float] = []
        while True:
            self.windows.work += self.audit.renew(partial(self.tell, Stage.CERTIFYING))
            near = self.audit.rms_near_joins()
            self.seam = float(near.max(initial=0.0))
            fails = np.append(near > largest, not certificate.is_met(self.audit.whole))
            if not fails.any():
                return Status.CONVERGED
            excesses.append(self._excess(near / max(largest, _TINY)))
            if not can_gain or _stands_still(excesses):
                return Status.PRECISION
            if self.passes >= _MOST_PASSES or self.windows.are_spent:
                return Status.ITERATION_LIMIT
            tolerances[fails] *= _TIGHTER
            can_gain = self._solve_again(np.flatnonzero(fails), tolerances)
            self.passes += 1

    def _excess(self, near: np.ndarray) -> float:
        """The largest of what must not exceed 1, in its tolerances: near each join, and of the whole."""
        certificate = self.plan.certificate
        bound = certificate.distance_bound(self.audit.whole) / max(certificate.tolerance, _TINY)
        return float(max(bound, near.max(initial=0.0)))

    def _solve_again(self, failing: np.ndarray, tolerances: np.ndarray) -> bool:
        """Solve the windows that fail; False where none could be bettered."""
        waiting = [
            (window, fades, tolerances[number])
            for number in failing
            for window, fades in self._windows_of(number)
        ]
        gained = False
        for count, (window, fades, tolerance) in enumerate(waiting):
            self.tell(Stage.REPAIRING, count / len(waiting))
            gained |= self.windows.solve_again(window, fades, float(tolerance))
            self.audit.forget(window)
        return gained

    def _windows_of(self, number: int) -> Iterator[tuple[Window, tuple[int, ...]]]:
        """The windows around a join, or all of the image, with how their changes fade."""
        shape, overlap = self.plan.partition.shape, self.plan.partition.overlap
        reaches = tuple(map(reach_of, overlap))
        if number < len(self.audit.faces):
            yield _around(self.audit.faces[number], reaches, shape), tuple(map(fade_of, reaches))
            return
        partition = Partition.of_least_work(shape, overlap, self.plan.budget.fits_held)
        assert partition is not None
        for core in partition.cores():
            yield partition.solved(core), overlap


def _stands_still(excesses: list[float]) -> bool:
    """True where the last passes have not brought the largest excess down."""
    return len(excesses) > _PATIENCE and min(excesses[-_PATIENCE:]) > _BETTER * min(excesses[:-_PATIENCE])


def _around(face: Face, reaches: tuple[int, ...], shape: tuple[int, ...]) -> Window:
    """The window around a join."""
    margins = [reach if axis != face.axis else 0 for axis, reach in enumerate(reaches)]
    return extended(face.around(reaches[face.axis], shape), margins, shape)
