"""Denoising a picture that is too large for the memory: read, solved and written in parts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from tvdenoise.batch.parts import in_parts, solved_in_parts
from tvdenoise.batch.placing import record_of
from tvdenoise.batch.planes import Before, ignore
from tvdenoise.batch.solved import figures_of, shortfall_of
from tvdenoise.errors import TvdenoiseError, UnsupportedImageError
from tvdenoise.files.large_writing import LargeWriter, require_large_carried
from tvdenoise.files.writing import lost_metadata, with_record, without_metadata

if TYPE_CHECKING:
    from pathlib import Path

    from tvdenoise.batch.outcome import Figures
    from tvdenoise.batch.plan import Job
    from tvdenoise.batch.request import Settings
    from tvdenoise.files.formats import Format
    from tvdenoise.files.large import LargePicture
    from tvdenoise.solver import Solution

_SOLVED = 0.9  # the part of the work after which there is only to be written


class Large:
    """A picture on its way into a format, in parts.

    scratch: the folder for what is solved, None for the system's; tell: called with the part that is done, and 1.
    Raises UnsupportedImageError for what needs the whole picture.
    """

    is_streamed = is_in_parts = True

    def __init__(
        self,
        large: LargePicture,
        form: Format,
        settings: Settings,
        job: Job,
        scratch: Path | None,
        threads: int | None = None,
        tell: Callable[[float, int], None] = ignore,
    ) -> None:
        require_large_carried(large, form, settings.budget.remedy)
        require_parts_possible(settings.mask, job, settings.budget.remedy)
        self._large = large
        self._form = form
        self._settings = settings
        self._scratch = scratch
        self._threads = threads
        self._tell = tell
        self._solution: Solution | None = None
        self._told: tuple[str, ...] = ()

    def write_to(self, stream: BinaryIO) -> None:
        """Denoise it, and write it to an empty stream that can be sought."""
        with self._denoised() as writer:
            writer.write_to(stream)

    def write(self, target: Path, before: Before | None, times: tuple[int, int] | None) -> None:
        """Denoise it, and put it in the target's place; see `writing.write`."""
        with self._denoised() as writer:
            writer.write(target, before=before, times=times)

    @contextmanager
    def _denoised(self) -> Iterator[LargeWriter]:
        """What writes the result, as long as that lasts."""
        large = self._large
        large.require_sound(self._settings.budget.remedy, fills_missing=self._settings.fills_missing)
        with solved_in_parts(
            large, self._settings, self._scratch, self._threads, self._tell_solved
        ) as result:
            self._solution = solution = result.solution
            if not math.isfinite(solution.distance_bound):
                raise TvdenoiseError("the solve broke down", "choose another --mu or --epsilon")
            pixel = large.pixel
            if self._settings.strip_metadata:
                pixel = without_metadata(pixel)
            else:
                pixel = with_record(pixel, self._form, record_of(solution))
            lost = lost_metadata(pixel, self._form)
            self._told = (in_parts(result.windows), *lost)
            yield LargeWriter(large, pixel, self._form, result.read, self._tell_written)

    def _tell_solved(self, part: float) -> None:
        self._tell(_SOLVED * part, 1)

    def _tell_written(self, part: float) -> None:
        self._tell(_SOLVED + (1 - _SOLVED) * part, 1)

    @property
    def notices(self) -> tuple[str, ...]:
        """That it was denoised in parts, and what was not written as it was read, once all is denoised."""
        return (*self._large.pixel.notices, *self._told)

    @property
    def shortfall(self) -> tuple[str | None, str | None]:
        """Why the result is less exact than asked, and the remedy."""
        assert self._solution is not None
        return shortfall_of([self._solution])

    @property
    def figures(self) -> Figures:
        assert self._solution is not None
        return figures_of([self._solution], self._solution.noise, self._large.dtype)


def require_parts_possible(mask: str | None, job: Job, remedy: str) -> None:
    """Raise UnsupportedImageError where what is asked for takes a whole picture. remedy: how there would be memory."""
    for option, value in {"--mask": mask, "--residual": job.residual, "--trace": job.trace}.items():
        if value is not None:
            raise UnsupportedImageError(
                f"it is denoised in parts, and {option} needs the whole picture in the memory",
                f"leave it out, or {remedy}",
            )
