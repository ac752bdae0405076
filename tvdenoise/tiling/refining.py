"""The certificate of the composite, and further passes until it is met."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from tvdenoise.model.engines import Evaluation
from tvdenoise.model.part_sums import squared_norm_of_part
from tvdenoise.solver.descent import Status
from tvdenoise.tiling.evaluation import evaluated
from tvdenoise.tiling.partition import Partition, fade_of, reach_of
from tvdenoise.tiling.source import Stage, bands, common, extended, lengths, size, within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from tvdenoise.model.objective import Minimisable
    from tvdenoise.tiling.partition import Face
    from tvdenoise.tiling.passes import Scratch, Windows
    from tvdenoise.tiling.plan import Form, TilingPlan
    from tvdenoise.tiling.source import Reader, Tell, Window


#: Pixels within this distance of a face are tested separately: an rms over the whole would hide a thin seam.
_NEAR = 8


@dataclass(eq=False)
class _Sums:
    """J and ‖∇J‖² over a band, and ‖∇J‖² near each face that it touches, by the number of the face."""

    value: float
    squared_norm: float
    near: dict[int, float]


@dataclass(eq=False)
class Audit:
    """Evaluates J and ∇J of the composite on disk, in bands.

    bands: a partition of the image. Each is read with the pixels around it, so its gradient is exact.
    """

    reader: Reader
    scratch: Scratch
    form: Form
    bands: list[Window]
    faces: list[Face]
    _sums: dict[int, _Sums] = field(default_factory=dict)

    def forget(self, changed: Window) -> None:
        """Discard the sums of the bands that a change of the composite affects."""
        touched = self._with_neighbours(changed)
        for number in [n for n in self._sums if common(self.bands[n], touched)]:
            del self._sums[number]

    def renew(self, tell: Callable[[float], None]) -> int:
        """Evaluate all bands without sums; return the number of evaluated pixels."""
        waiting = [number for number in range(len(self.bands)) if number not in self._sums]
        done = 0
        for count, number in enumerate(waiting):
            tell(count / len(waiting))
            self._sums[number] = self._evaluated(self.bands[number])
            done += size(self._with_neighbours(self.bands[number]))
        return done

    @property
    def whole(self) -> Evaluation:
        """J and ‖∇J‖² of the whole image."""
        every = [self._sums[number] for number in range(len(self.bands))]
        squared = float(np.sum([sums.squared_norm for sums in every]))
        return Evaluation(float(np.sum([sums.value for sums in every])), squared, squared)

    def rms_near_faces(self) -> NDArray[np.float64]:
        """Return rms(∇J) over the pixels near each face."""
        squared = np.zeros(len(self.faces))
        for number in range(len(self.bands)):
            for face, near in self._sums[number].near.items():
                squared[face] += near
        counts = [size(self._near(face)) for face in self.faces]
        return np.sqrt(squared / (np.array(counts, dtype=np.float64) * self.reader.solved_channels))

    def _near(self, face: Face) -> Window:
        return face.around(_NEAR, self.reader.shape)

    def _with_neighbours(self, band: Window) -> Window:
        """Return a band with the pixels on which its gradient depends."""
        shape = self.reader.shape
        return extended(band, (self.form.method.reach,) * len(shape), shape)

    def _objective(self, band: Window, window: Window) -> Minimisable:
        """Return J for a band in a window around it; the rest, where no gradient is needed, is zero."""
        gates = self.form.gates(self.reader, window)
        if self.reader.may_have_absent:
            return self.form.objective(*self.reader.noisy(window), gates)
        planes, _ = self.reader.noisy(band)
        around = np.zeros((self.reader.solved_channels, *lengths(window)), planes.dtype)
        around[:, *within(band, window)] = planes
        return self.form.objective(around, gates=gates)

    def _evaluated(self, band: Window) -> _Sums:
        window = self._with_neighbours(band)
        objective = self._objective(band, window)
        inner, threads = within(band, window), self.form.method.options.threads
        value, gradient = evaluated(objective, self.scratch.read(window), inner, threads)
        near: dict[int, float] = {}
        for number, face in enumerate(self.faces):
            if both := common(self._near(face), band):
                near[number] = squared_norm_of_part(gradient, within(both, window), threads)
        return _Sums(value, squared_norm_of_part(gradient, inner, threads), near)


_MOST_PASSES = 100
#: If a pass was not enough, the next one solves to this part of its tolerance.
_TIGHTER = 0.5
#: Refinement has stalled if this many passes do not reduce the largest excess to this part.
_PATIENCE, _BETTER = 4, 0.95
_TINY = 1e-30


@dataclass(eq=False)
class Refinement:
    """Certifies the composite after each pass, and solves again where it fails.

    seam: the largest rms(∇J) near a face. passes: the number of passes, including the first.
    """

    windows: Windows
    plan: TilingPlan
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
        """Refine until converged or stuck. The certificate is always that of the composite on disk."""
        certificate = self.plan.certificate
        largest = certificate.tolerance * certificate.objective.modulus
        # For the windows around each face, and last for all windows.
        tolerances = np.full(len(self.audit.faces) + 1, certificate.tolerance)
        can_gain = True
        excesses: list[float] = []
        while True:
            self.windows.work += self.audit.renew(partial(self.tell, Stage.CERTIFYING))
            near = self.audit.rms_near_faces()
            self.seam = float(near.max(initial=0.0))
            fails = np.append(near > largest, not certificate.is_met(self.audit.whole))
            if not fails.any():
                return Status.CONVERGED
            excesses.append(self._excess(near / max(largest, _TINY)))
            if not can_gain or _has_stalled(excesses):
                return Status.PRECISION
            if self.passes >= _MOST_PASSES or self.windows.reached_limit:
                return Status.ITERATION_LIMIT
            tolerances[fails] *= _TIGHTER
            can_gain = self._solve_again(np.flatnonzero(fails), tolerances)
            self.passes += 1

    def _excess(self, near: np.ndarray) -> float:
        """Return the largest ratio of a bound to its tolerance, near each face and of the whole; at most 1 if met."""
        certificate = self.plan.certificate
        bound = certificate.distance_bound(self.audit.whole) / max(certificate.tolerance, _TINY)
        return float(max(bound, near.max(initial=0.0)))

    def _solve_again(self, failing: np.ndarray, tolerances: np.ndarray) -> bool:
        """Solve the failing windows again; return False if none improved."""
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
        """Yield the window around a face, or all windows of the image, with the fades of their changes."""
        shape, overlap = self.plan.partition.shape, self.plan.partition.overlap
        reaches = tuple(map(reach_of, overlap))
        if number < len(self.audit.faces):
            yield _around(self.audit.faces[number], reaches, shape), tuple(map(fade_of, reaches))
            return
        partition = Partition.of_least_work(shape, overlap, self.plan.budget.fits_held)
        assert partition is not None
        for core in partition.cores():
            yield partition.window_of(core), overlap


def _has_stalled(excesses: list[float]) -> bool:
    """Return True if the last passes have not reduced the largest excess."""
    return len(excesses) > _PATIENCE and min(excesses[-_PATIENCE:]) > _BETTER * min(excesses[:-_PATIENCE])


def _around(face: Face, reaches: tuple[int, ...], shape: tuple[int, ...]) -> Window:
    """Return the window around a face."""
    margins = [reach if axis != face.axis else 0 for axis, reach in enumerate(reaches)]
    return extended(face.around(reaches[face.axis], shape), margins, shape)
