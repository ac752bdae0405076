"""What is told of the solutions for a file."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tvdenoise.batch.in_place import record_of
from tvdenoise.batch.outcome import Figures
from tvdenoise.errors import TvdenoiseError
from tvdenoise.files.writing import lost_metadata, with_record, without_metadata

if TYPE_CHECKING:
    import numpy as np

    from tvdenoise.files.decoded import DecodedImage
    from tvdenoise.formats.family import Format
    from tvdenoise.noise.model import NoiseModel
    from tvdenoise.options import FileOptions
    from tvdenoise.parameters import Parameters
    from tvdenoise.solver.descent import Solution


def shortfall_of(solutions: Sequence[Solution], what: str = "pictures") -> tuple[str | None, str | None]:
    """Why the result for what was solved is less exact than asked, and the remedy."""
    from tvdenoise.solver.descent import Status

    short = [solution for solution in solutions if not solution.converged]
    if not short:
        return None, None
    limited = short[0].status is Status.ITERATION_LIMIT
    more = "--max-iterations or --tolerance" if limited else "--tolerance"
    count = len(solutions)
    where = f" (in {len(short)} of {count} {what})" if count > 1 else ""
    return f"{short[0].status.value}{where}", f"raise {more}"


def figures_of(
    solutions: Sequence[Solution],
    noise: NoiseModel | None,
    dtype: np.dtype,
    options: FileOptions,
    count: int = 1,
) -> Figures:
    """Of all pictures: the worst bound, the sum of the evaluations, and the median of mu and epsilon.

    noise: what mu was chosen for; dtype: of the intensities as stored.
    """
    worst = next((s for s in solutions if not s.converged), solutions[0])
    return Figures(
        mu=statistics.median_low(solution.mu for solution in solutions),
        epsilon=statistics.median_low(solution.epsilon for solution in solutions),
        sigma=None if noise is None else noise.sigma,
        iterations=sum(solution.iterations for solution in solutions),
        distance_bound=max(solution.distance_bound for solution in solutions),
        converged=worst.converged,
        ending=worst.status.value,
        noise=None if noise is None else noise.kind.value,
        correlation=None if noise is None else max(noise.channels[0].correlation),
        growth=None if noise is None else noise.growth,
        bits=None if dtype.kind == "f" else dtype.itemsize * 8,
        planes=count,
        parameters=len({solution.mu for solution in solutions}),
        shape=options.shape(only_changed=False),
    )


class FileSummary:
    """Gathers what is told of a file on its way into a format."""

    def __init__(self, form: Format, settings: FileOptions) -> None:
        self._form = form
        self._settings = settings
        self._solutions: list[Solution] = []  # without their images
        self._notices: dict[str, str] = {}
        self._missing: list[int] = []  # pixels of each picture

    def add(self, solution: Solution) -> None:
        """One more solve. Raises TvdenoiseError where neither its bound nor its intensities are to be trusted."""
        bound = solution.distance_bound
        is_unbounded = bound == math.inf and self._settings.fills_missing
        if not (math.isfinite(bound) or is_unbounded):
            raise TvdenoiseError("the solve broke down", "choose another --mu or --epsilon")
        self._solutions.append(replace(solution, image=solution.image[:0].copy()))

    def note(self, notices: Sequence[str]) -> None:
        """Each notice once, also where the pictures differ in the numbers that it names."""
        for notice in notices:
            self._notices.setdefault(re.sub(r"\d[\d,]*", "#", notice), notice)

    def note_missing(self, count: int) -> None:
        """So many pixels of one more picture were missing, and are filled."""
        self._missing.append(count)

    def stripped(self, picture: DecodedImage) -> DecodedImage:
        """The picture with what of its metadata is to be written."""
        return without_metadata(picture) if self._settings.strip_metadata else picture

    def recorded(self, picture: DecodedImage, number: int) -> DecodedImage:
        """A denoised picture as it is written: the first one of a file records how it was denoised."""
        if number > 0:
            picture = replace(picture, metadata=replace(picture.metadata, record=None))
        elif not self._settings.strip_metadata:
            picture = with_record(picture, self._form, record_of(self._solutions[0], self._settings))
        self.note(lost_metadata(picture, self._form))
        return picture

    @property
    def notices(self) -> tuple[str, ...]:
        """What was not written as it was read, once all is denoised."""
        pictures = sum(count > 0 for count in self._missing)
        where = f" in {pictures} of {len(self._missing)} pictures" if len(self._missing) > 1 else ""
        return (*self._notices.values(), *filled(sum(self._missing), where))

    def shortfall(self, what: str) -> tuple[str | None, str | None]:
        """Why the result is less exact than asked, and the remedy; what: was solved."""
        return shortfall_of(self._solutions, what)

    def figures(self, dtype: np.dtype[Any], planes: int, chosen: Sequence[Parameters] = ()) -> Figures:
        """Of all solves; dtype: as stored; chosen: for all solves of some kinds, instead of by each of them."""
        return figures_of(self._solutions, _noise(chosen or self._solutions), dtype, self._settings, planes)

    @property
    def count(self) -> int:
        """How many solves there were."""
        return len(self._solutions)


def _noise(found: Sequence[Parameters | Solution]) -> NoiseModel | None:
    """The noise that the median mu was chosen for."""
    middle = statistics.median_low(one.mu for one in found)
    return next(one.noise for one in found if one.mu == middle)


def filled(count: int, where: str = "") -> tuple[str, ...]:
    """A sentence about missing pixels, where there were any."""
    return (f"{count} missing pixel{'' if count == 1 else 's'} (NaN) filled{where}",) if count else ()
