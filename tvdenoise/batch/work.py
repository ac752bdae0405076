"""Base classes of the ways to denoise and write one file or one folder of slices, and the summary of the solves."""

from __future__ import annotations

import math
import re
import statistics
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from tvdenoise.batch.in_place import record_of
from tvdenoise.batch.outcome import Figures
from tvdenoise.errors import TvdenoiseError
from tvdenoise.files.writing import lost_metadata, with_new_copies, with_record, without_metadata

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from tvdenoise.files.decoded import DecodedImage
    from tvdenoise.formats.family import Format
    from tvdenoise.noise.model import NoiseModel
    from tvdenoise.options import FileOptions
    from tvdenoise.parameters import Parameters
    from tvdenoise.solver.descent import Solution


Before = Callable[["Path"], None]
#: Called with the number of images done (fractional for partly done ones) and their total.
Progress = Callable[[float, int], None]

SOLVED = 0.9  # share of the work on an image that is solving; writing is the rest


def no_progress(_done: float, _count: int) -> None:
    """Ignore progress."""


class Solves(ABC):
    """The solves of one job, and what is told of them; available once everything is denoised.

    is_in_parts: the contents exceed the memory.
    """

    is_in_parts = False
    _solved_things = "images"

    def __init__(self, form: Format, settings: FileOptions, threads: int | None, progress: Progress) -> None:
        """threads: for each solve; None for the settings' value."""
        self._form = form
        self._settings = settings
        self._threads = threads
        self._progress = progress
        self._summary = FileSummary(form, settings)

    @property
    @abstractmethod
    def figures(self) -> Figures | None:
        """Figures of all solves, None if there were none."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Differences between input and output besides the noise."""
        return self._summary.notes

    @property
    def shortfall(self) -> tuple[str | None, str | None]:
        """Why the result misses its tolerance, and the remedy."""
        return self._summary.shortfall(self._solved_things)


class Work(Solves):
    """The contents of one file, denoised while they are written: image by image, as volumes, or in parts.

    is_streamed: results are written as they are solved, not held.
    """

    is_streamed = True

    @abstractmethod
    def write_to(self, stream: BinaryIO) -> None:
        """Denoise everything, and write it to an empty seekable stream."""

    @abstractmethod
    def write(self, target: Path, before: Before | None, times: tuple[int, int] | None) -> None:
        """Denoise everything, and write it to the target atomically; see `writing.write`."""


class FileSummary:
    """Summary of the solves of one file."""

    def __init__(self, form: Format, settings: FileOptions) -> None:
        self._form = form
        self._settings = settings
        self._solutions: list[Solution] = []  # images dropped
        self._notes: dict[str, str] = {}
        self._missing: list[int] = []  # pixels, for each image
        self._clipped = 0  # pixels where a channel was, keeping R + G + B
        self._absent = self._impulses = 0  # pixels
        self._compared = self._changed = 0  # images
        self._masked: tuple[int, int] | None = None  # pixels in the masks so far, and all pixels
        self._specks: list[int] = []  # of each 1-bit image

    def add(self, solution: Solution) -> None:
        """Add a solve. Raises TvdenoiseError if its distance bound is not finite, unless missing pixels explain it."""
        bound = solution.distance_bound
        is_unbounded = bound == math.inf and self._settings.fills_missing
        if not (math.isfinite(bound) or is_unbounded):
            options = "--mu or --epsilon" if solution.level is None else "--level"
            raise TvdenoiseError("the solve broke down", f"choose another {options}")
        self._absent += solution.absent
        self._impulses += solution.impulses
        self._solutions.append(replace(solution, image=solution.image[:0].copy()))

    def note(self, notes: Sequence[str]) -> None:
        """Add notes, dropping those that differ from an earlier one only in their numbers."""
        for note in notes:
            self._notes.setdefault(re.sub(r"\d[\d,]*", "#", note), note)

    def note_missing(self, count: int) -> None:
        """Add the number of missing pixels that were filled in one image."""
        self._missing.append(count if self._settings.fills_missing else 0)

    def note_mask(self, mask: NDArray[np.bool_] | None) -> None:
        """Add the mask of one image or volume; None for no mask."""
        if mask is not None:
            inside, pixels = self._masked or (0, 0)
            self._masked = inside + int(np.count_nonzero(mask)), pixels + mask.size

    def note_specks(self, count: int) -> None:
        """Add the number of specks removed from one 1-bit image."""
        self._specks.append(count)

    def denoised(self, image: DecodedImage, denoised: NDArray[np.floating]) -> DecodedImage:
        """The image with denoised intensities, and with its R + G + B if only the colour noise is removed."""
        if self._settings.chroma_only:
            result, count = image.with_denoised_chroma(denoised)
            self.note_clipped(count)
        else:
            result = image.with_denoised(denoised)
        self._compared += 1
        self._changed += not np.array_equal(image.intensities, result.intensities, equal_nan=image.is_float)
        return result

    def note_clipped(self, count: int) -> None:
        """Add a number of pixels where a channel was clipped while R + G + B was kept."""
        self._clipped += count

    def stripped(self, image: DecodedImage) -> DecodedImage:
        """The image without metadata if the settings strip it."""
        return without_metadata(image) if self._settings.strip_metadata else image

    def recorded(self, image: DecodedImage, number: int, *, is_whole: bool = True) -> DecodedImage:
        """A denoised image ready to write: the first image of a file records how it was denoised.

        is_whole: it has all pixels; see `with_new_copies`.
        """
        image, notes = with_new_copies(image, self._form, is_whole=is_whole)
        self.note(notes)
        if number > 0:
            image = replace(image, metadata=replace(image.metadata, record=None))
        elif not self._settings.strip_metadata:
            solution = self._solutions[0] if self._solutions else None
            image = with_record(image, self._form, record_of(solution, self._settings))
        self.note(lost_metadata(image, self._form))
        nodata = self._settings.nodata
        return image if nodata is None else replace(image, nodata=nodata)  # for the overviews

    @property
    def notes(self) -> tuple[str, ...]:
        """See `Work.notes`."""
        images = sum(count > 0 for count in self._missing)
        where = f" in {images} of {len(self._missing)} images" if len(self._missing) > 1 else ""
        return (
            *self._notes.values(),
            *filled(sum(self._missing), where),
            *clipped(self._clipped),
            *_removed(self._specks),
            *without_data(self._absent),
            *removed_impulses(self._impulses),
        )

    def shortfall(self, what: str) -> tuple[str | None, str | None]:
        """Why the result misses its tolerance, and the remedy; what: plural noun for the things solved."""
        from tvdenoise.solver.descent import Status

        short = [solution for solution in self._solutions if not solution.converged]
        if not short:
            return None, None
        limited = short[0].status is Status.ITERATION_LIMIT
        more = "--max-iterations or --tolerance" if limited else "--tolerance"
        where = f" (in {len(short)} of {self.count} {what})" if self.count > 1 else ""
        return f"{short[0].status.value}{where}", f"raise {more}"

    def figures(self, dtype: np.dtype[Any], planes: int, chosen: Sequence[Parameters] = ()) -> Figures | None:
        """Combine all solves: worst bound, total evaluations, median mu and epsilon; None without solves.

        dtype: of the stored intensities; planes: number of images in the file; chosen: parameters chosen for groups
        of solves instead of by each solve.
        """
        if not self._solutions:
            return None
        solutions, noise = self._solutions, _noise(chosen or self._solutions)
        levels = [solution.level for solution in solutions if solution.level is not None]
        worst = next((s for s in solutions if not s.converged), solutions[0])
        return Figures(
            mu=statistics.median_low(solution.mu for solution in solutions),
            epsilon=statistics.median_low(solution.epsilon for solution in solutions),
            sigma=None if noise is None else noise.sigma,
            level=statistics.median_high(levels) if levels else None,
            iterations=sum(solution.iterations for solution in solutions),
            distance_bound=max(solution.distance_bound for solution in solutions),
            converged=worst.converged,
            ending=worst.status.value,
            noise=None if noise is None else noise.kind.value,
            correlation=None if noise is None else max(noise.channels[0].correlation),
            growth=None if noise is None else noise.growth,
            bits=dtype.itemsize * 8 if dtype in (np.uint8, np.uint16) else None,
            planes=planes,
            parameters=len({solution.mu for solution in solutions}),
            pixels=0 if self._masked is None else self._masked[1],
            in_mask=None if self._masked is None else self._masked[0],
            shape=self._settings.shape(only_changed=False),
            nothing_done=nothing_done(
                self._solutions, is_unchanged=self._compared > 0 and self._changed == 0
            ),
        )

    @property
    def count(self) -> int:
        """The number of solves."""
        return len(self._solutions)


def _noise(found: Sequence[Parameters | Solution]) -> NoiseModel | None:
    """The noise from which the median mu was chosen."""
    middle = statistics.median_low(one.mu for one in found)
    return next(one.noise for one in found if one.mu == middle)


def nothing_done(solutions: Sequence[Solution], *, is_unchanged: bool) -> str | None:
    """Why the result is the input, if it is.

    is_unchanged: the result equals the input at the depth of the file.
    """
    if any(each.impulses for each in solutions):
        return None
    if solutions and all(each.noise is not None and each.noise.sigma == 0 for each in solutions):
        return "nothing done: no noise was found"
    if not is_unchanged:
        return None
    if all(each.noise is None for each in solutions):
        what = "large a mu" if solutions[0].level is None else "small a level"
        return f"nothing done: with so {what} the result equals the input at the depth of the file"
    return "nothing done: the noise found is below the depth of the file"


def removed_impulses(count: int) -> tuple[str, ...]:
    """A sentence about removed impulses, if there are any."""
    what = "impulse removed and filled" if count == 1 else "impulses removed and filled"
    return (f"{count:,} {what}; the bound is that of the other pixels",) if count else ()


def clipped(count: int) -> tuple[str, ...]:
    """A sentence about pixels where a channel was clipped while R + G + B was kept, if there are any."""
    pixels = f"{count} pixel{'' if count == 1 else 's'}"
    sentence = (
        f"in {pixels} a channel was clipped, and the others make up for it: R + G + B is kept there, too"
    )
    return (sentence,) if count else ()


def without_data(count: int) -> tuple[str, ...]:
    """A sentence about absent pixels, if there are any."""
    return (f"{count} pixel{'' if count == 1 else 's'} without data kept",) if count else ()


def filled(count: int, where: str = "") -> tuple[str, ...]:
    """A sentence about missing pixels, if there are any."""
    return (f"{count} missing pixel{'' if count == 1 else 's'} (NaN) filled{where}",) if count else ()


def _removed(specks: Sequence[int]) -> tuple[str, ...]:
    """A sentence about the specks removed from 1-bit images, if there are such images."""
    if not specks:
        return ()
    count = sum(specks)
    where = f" in {sum(map(bool, specks))} of {len(specks)} 1-bit images" if len(specks) > 1 else ""
    if not count:
        return ("no speck of one or two pixels was found, and no pixel is changed",)
    return (f"{count:,} speck{'' if count == 1 else 's'} of one or two pixels removed{where}",)
