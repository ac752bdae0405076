"""One file on its way into a format: denoised in one of three ways, written, and the summary of its solves."""

from __future__ import annotations

import math
import re
import statistics
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO

from tvdenoise.batch.in_place import record_of
from tvdenoise.batch.outcome import Figures
from tvdenoise.errors import TvdenoiseError
from tvdenoise.files.writing import lost_metadata, with_record, without_metadata

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from tvdenoise.files.decoded import DecodedImage
    from tvdenoise.formats.family import Format
    from tvdenoise.noise.model import NoiseModel
    from tvdenoise.options import FileOptions
    from tvdenoise.parameters import Parameters
    from tvdenoise.solver.descent import Solution


Before = Callable[["Path"], None]
#: Called with how many images of a file are done (of one in parts: the part that is), and how many there are.
Progress = Callable[[float, int], None]

SOLVED = 0.9  # of the work on an image; the rest is to write it


def no_progress(_done: float, _count: int) -> None:
    """Progress that nobody watches."""


class Work(ABC):
    """What one file holds, denoised as it is written: image by image, as volumes, or in parts.

    is_streamed: it is written as it is denoised, without being held; is_in_parts: the memory does not suffice for it.
    """

    is_streamed = True
    is_in_parts = False
    _solved_things = "pictures"

    def __init__(self, form: Format, settings: FileOptions, threads: int | None, progress: Progress) -> None:
        """threads: for each solve, or None for what the settings say."""
        self._form = form
        self._settings = settings
        self._threads = threads
        self._progress = progress
        self._summary = FileSummary(form, settings)

    @abstractmethod
    def write_to(self, stream: BinaryIO) -> None:
        """Denoise all, and write it to an empty stream that can be sought."""

    @abstractmethod
    def write(self, target: Path, before: Before | None, times: tuple[int, int] | None) -> None:
        """Denoise all, and put it in the target's place; see `writing.write`."""

    @property
    @abstractmethod
    def figures(self) -> Figures:
        """Of all solves, once all is denoised."""

    @property
    def notices(self) -> tuple[str, ...]:
        """What was not written as it was read, once all is denoised."""
        return self._summary.notices

    @property
    def shortfall(self) -> tuple[str | None, str | None]:
        """Why the result is less exact than asked, and the remedy."""
        return self._summary.shortfall(self._solved_things)


class FileSummary:
    """Summary of the solves of one file."""

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
        images = sum(count > 0 for count in self._missing)
        where = f" in {images} of {len(self._missing)} images" if len(self._missing) > 1 else ""
        return (*self._notices.values(), *filled(sum(self._missing), where))

    def shortfall(self, what: str) -> tuple[str | None, str | None]:
        """Why the result is less exact than asked, and the remedy; what: was solved."""
        from tvdenoise.solver.descent import Status

        short = [solution for solution in self._solutions if not solution.converged]
        if not short:
            return None, None
        limited = short[0].status is Status.ITERATION_LIMIT
        more = "--max-iterations or --tolerance" if limited else "--tolerance"
        where = f" (in {len(short)} of {self.count} {what})" if self.count > 1 else ""
        return f"{short[0].status.value}{where}", f"raise {more}"

    def figures(self, dtype: np.dtype[Any], planes: int, chosen: Sequence[Parameters] = ()) -> Figures:
        """Of all solves: the worst bound, the sum of the evaluations, and the median of mu and epsilon.

        dtype: of the intensities as stored; planes: how many images the file holds; chosen: the parameters, where they
        were chosen for all solves of some kinds and not by each of them.
        """
        solutions, noise = self._solutions, _noise(chosen or self._solutions)
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
            planes=planes,
            parameters=len({solution.mu for solution in solutions}),
            shape=self._settings.shape(only_changed=False),
        )

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
