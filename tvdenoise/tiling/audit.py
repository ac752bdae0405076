"""The certificate of the whole: ∇J of the composite, band by band, and over the pixels near joins by themselves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from tvdenoise.model.engines import Evaluation
from tvdenoise.model.fused import fused_engine
from tvdenoise.model.part_sums import squared_norm_of_part, value_of_part
from tvdenoise.tiling.windows import common, extended, lengths, size, within

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from tvdenoise.tiling.form import Form
    from tvdenoise.tiling.partition import Face
    from tvdenoise.tiling.scratch import Scratch
    from tvdenoise.tiling.source import Reader, Window

#: Pixels within so many of a join are looked at by themselves: an rms over the whole proves nothing about a thin seam.
_NEAR = 8


@dataclass(eq=False)
class _Sums:
    """Of one band: J, ‖∇J‖², and ‖∇J‖² near each join that it touches, by the join's number."""

    value: float
    squared_norm: float
    near: dict[int, float]


@dataclass(eq=False)
class Audit:
    """∇J of the composite that is on disk.

    bands: they make up the image. The gradient in each is exact, as it is read with the pixels around it.
    """

    reader: Reader
    scratch: Scratch
    form: Form
    bands: list[Window]
    faces: list[Face]
    _sums: dict[int, _Sums] = field(default_factory=dict)

    def forget(self, changed: Window) -> None:
        """The composite was changed there."""
        touched = self._seen_from(changed)
        for number in [n for n in self._sums if common(self.bands[n], touched)]:
            del self._sums[number]

    def renew(self, tell: Callable[[float], None]) -> int:
        """Look at all bands that are not known, and return how many pixels were evaluated for that."""
        waiting = [number for number in range(len(self.bands)) if number not in self._sums]
        done = 0
        for count, number in enumerate(waiting):
            tell(count / len(waiting))
            self._sums[number] = self._look_at(self.bands[number])
            done += size(self._seen_from(self.bands[number]))
        return done

    @property
    def whole(self) -> Evaluation:
        """J and ‖∇J‖² of the whole."""
        every = [self._sums[number] for number in range(len(self.bands))]
        squared = float(np.sum([sums.squared_norm for sums in every]))
        return Evaluation(float(np.sum([sums.value for sums in every])), squared, squared)

    def rms_near_joins(self) -> NDArray[np.float64]:
        """rms(∇J) over the pixels near each join."""
        squared = np.zeros(len(self.faces))
        for number in range(len(self.bands)):
            for join, near in self._sums[number].near.items():
                squared[join] += near
        counts = [size(self._near(face)) for face in self.faces]
        return np.sqrt(squared / (np.array(counts, dtype=np.float64) * self.reader.channels))

    def _near(self, face: Face) -> Window:
        return face.around(_NEAR, self.reader.shape)

    def _seen_from(self, band: Window) -> Window:
        """A band with the pixels on which its gradient depends."""
        shape = self.reader.shape
        return extended(band, (1,) * len(shape), shape)

    def _noisy(self, band: Window, window: Window) -> NDArray[np.floating]:
        """The planes of a band in a window around it, where no gradient is asked for and so no noisy image."""
        planes = self.reader.planes(band)
        around = np.zeros((self.reader.channels, *lengths(window)), planes.dtype)
        around[:, *within(band, window)] = planes
        return around

    def _look_at(self, band: Window) -> _Sums:
        window = self._seen_from(band)
        objective = self.form.objective(self._noisy(band, window))
        with fused_engine(objective, self.scratch.read(window), self.form.method.threads) as engine:
            engine.advance(0.0)
            inner = within(band, window)
            near: dict[int, float] = {}
            for join, face in enumerate(self.faces):
                if both := common(self._near(face), band):
                    near[join] = squared_norm_of_part(
                        engine.gradient, within(both, window), self.form.method.threads
                    )
            return _Sums(
                value_of_part(objective, engine.iterate, inner, self.form.method.threads),
                squared_norm_of_part(engine.gradient, inner, self.form.method.threads),
                near,
            )
