"""Denoise an image or a volume that exceeds the memory: read, solve and write it in parts."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import numpy as np

from tvdenoise.batch.denoiser import of_type_range, require_colour_noise, with_equal_channels
from tvdenoise.batch.work import SOLVED, Before, Progress, Work, no_progress
from tvdenoise.errors import UnsupportedImageError, UnwritableImageError
from tvdenoise.files.large import LargeImage, LargeWriter, require_large_carried
from tvdenoise.files.memory import MemoryBudget
from tvdenoise.files.paths import printable, reason_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tvdenoise.batch.outcome import Figures
    from tvdenoise.batch.outputs import Job
    from tvdenoise.files.stack import VolumeFile
    from tvdenoise.formats.family import Format
    from tvdenoise.options import FileOptions, Options
    from tvdenoise.solver.descent import Solution
    from tvdenoise.tiling.passes import TiledSolution
    from tvdenoise.tiling.source import Stage, Window


REMEDY_FOR_TEMPORARIES = "free some space for temporary files, or set TMPDIR to another folder"
_SLACK = 64_000_000  # bytes for code loaded late, and for the allocator's overhead


@dataclass(frozen=True, eq=False)
class SolvedInParts:
    """The result of a solve in parts; integers are read as fractions of the largest of their type.

    windows: the number of parts.
    """

    solution: Solution
    windows: int
    _tiled: TiledSolution
    _factor: float

    def read(self, window: Window) -> NDArray[np.floating]:
        """Read the denoised values of a window, channels last if there are several."""
        values = self._tiled.read(window)
        return np.multiply(values, self._factor, out=values) if self._factor != 1 else values


@contextmanager
def solved_in_parts(
    large: LargeImage | VolumeFile,
    settings: FileOptions,
    folder: Path | None,
    threads: int | None,
    tell: Callable[[float], None],
    spacing: tuple[float, ...] | None = None,
    *,
    in_bands: bool = False,
) -> Iterator[SolvedInParts]:
    """Denoise a large image or volume; its unnamed scratch file lasts as long as the context.

    folder: of the scratch file, None for the system's; tell: called with the progress, from 0 to 1; spacing: of the
    planes, rows and columns of a volume; in_bands: its channels are bands, or it is one of them.
    Raises UnsupportedImageError, also if the memory is too small for any part, and UnwritableImageError.
    """
    from tvdenoise.api import denoise_tiled
    from tvdenoise.tiling.partition import TooLittleMemoryError

    require_colour_noise(large.channels, chroma_only=settings.chroma_only, in_bands=in_bands)
    if in_bands:
        shared = settings.shared_mu if large.band is None else ()
        settings = replace(with_equal_channels(settings), shared_mu=shared)
    options = settings.for_image(
        channels=large.channels, is_float=large.dtype.kind == "f", nodata=large.nodata
    )
    if options.threads is None and threads is not None:
        options = replace(options, threads=threads)
    budget = MemoryBudget(settings.memory)
    memory = memory_for(large, budget)
    if options.is_learned:
        memory -= _bytes_of_bank(options, large.channels)
        if memory < 1:
            raise UnsupportedImageError(budget.shortage_of_parts(1 - memory), budget.remedy)
    scratch = existing(folder)
    tiled = denoise_tiled(
        large,
        memory=memory,
        options=options,
        spacing=spacing,
        scratch=lambda: _scratch_file(scratch),
        tell=_Progress(tell),
    )
    try:
        result = tiled.__enter__()
    except TooLittleMemoryError as error:
        raise UnsupportedImageError(budget.shortage_of_parts(error.missing), budget.remedy) from error
    except ValueError as error:
        raise UnsupportedImageError(f"cannot be denoised: {error}") from error
    except OSError as error:
        where = "" if scratch is None else f" in {printable(scratch)}"
        reason = f"cannot write a scratch file{where}: {reason_of(error)}"
        remedy = "free some space there, or choose another location with -o"
        raise UnwritableImageError(reason, REMEDY_FOR_TEMPORARIES if scratch is None else remedy) from error
    try:
        factor = of_type_range(large.dtype, options.data_range)
        yield SolvedInParts(result.solution, result.windows, result, factor)
    finally:
        tiled.__exit__(None, None, None)


def memory_for(large: LargeImage | VolumeFile, budget: MemoryBudget) -> int:
    """The bytes available for solving in parts, besides loaded code and reading.

    With a given total they depend on nothing else, unless this process holds far more than usual, as they determine
    the parts, and with them the last digits of the result. Raises UnsupportedImageError if they are too few.
    """
    from tvdenoise.tiling.partition import memory_needed

    planned, left = budget.for_parts, budget.left
    assert planned is not None
    assert left is not None
    memory = min(planned - _SLACK, left)
    least = 1  # for volumes the overlap depends on the spacing, and the solver raises the error
    if isinstance(large, LargeImage):
        memory -= large.regions.memory
        least = memory_needed(large.shape, large.channels, large.dtype)
    if memory < least:
        raise UnsupportedImageError(budget.shortage_of_parts(least - memory), budget.remedy)
    return memory


def _bytes_of_bank(options: Options, channels: int) -> int:
    """The memory that learned filters take themselves, whatever the image: twice their transforms."""
    from tvdenoise.parameters import bank_of, prior_of

    prior = prior_of(options)
    try:
        return 0 if prior is None else 2 * bank_of(prior, channels).symbols.nbytes
    except ValueError as error:
        raise UnsupportedImageError(f"cannot be denoised: {error}") from error


def joined(parts: Sequence[NDArray[np.floating]]) -> NDArray[np.floating]:
    """The bands that were solved one by one, as the last axis; a single part as it is."""
    return parts[0] if len(parts) == 1 else np.stack(parts, axis=-1)


def in_parts(count: int) -> str:
    """A sentence about an image or a volume denoised in a number of parts."""
    return f"denoised in {count} part{'' if count == 1 else 's'}, because it does not fit in memory"


def existing(folder: Path | None) -> Path | None:
    """The folder, or its nearest existing parent."""
    while folder is not None and not folder.exists():
        folder = folder.parent
    return folder


def _scratch_file(folder: Path | None) -> BinaryIO:
    return cast(BinaryIO, tempfile.TemporaryFile(dir=folder, buffering=0))  # the caller's


class _Progress:
    """Converts the progress of stages, each from 0 to 1, into overall progress."""

    def __init__(self, tell: Callable[[float], None]) -> None:
        from tvdenoise.tiling.source import Stage

        self._tell = tell
        self._furthest = 0.0
        self._spans = {
            Stage.READING: (0.0, 0.05),
            Stage.SOLVING: (0.05, 0.9),
            Stage.CERTIFYING: (0.9, 1.0),
            Stage.REPAIRING: (0.9, 1.0),
        }

    def __call__(self, stage: Stage, part: float) -> None:
        start, end = self._spans[stage]
        self._furthest = max(self._furthest, start + (end - start) * part)
        self._tell(self._furthest)


class Large(Work):
    """An image denoised in parts.

    job: its extra outputs are refused; scratch: folder of the scratch file, None for the system's.
    Raises UnsupportedImageError for options that need the whole image.
    """

    is_in_parts = True

    def __init__(
        self,
        large: LargeImage,
        form: Format,
        settings: FileOptions,
        job: Job,
        scratch: Path | None,
        threads: int | None = None,
        progress: Progress = no_progress,
    ) -> None:
        super().__init__(form, settings, threads, progress)
        self._remedy = MemoryBudget(settings.memory).remedy
        require_large_carried(large, form, self._remedy)
        require_parts_possible(settings.mask, job, self._remedy, settings.impulses)
        self._large = large
        self._parts = (large,) if settings.couple_bands else large.separate()
        self._scratch = scratch

    def write_to(self, stream: BinaryIO) -> None:
        with self._denoised() as writer:
            writer.write_to(stream)

    def write(self, target: Path, before: Before | None, times: tuple[int, int] | None) -> None:
        with self._denoised() as writer:
            writer.write(target, before=before, times=times)

    @contextmanager
    def _denoised(self) -> Iterator[LargeWriter]:
        """Context manager for the writer of the result."""
        large, summary = self._large, self._summary
        settings = self._settings
        large.require_sound(self._remedy, may_hold=settings.not_finite, fills_missing=settings.fills_missing)
        with ExitStack() as stack:
            results = []
            for number, part in enumerate(self._parts):
                solved = solved_in_parts(
                    part,
                    settings,
                    self._scratch,
                    self._threads,
                    self._solved_so_far(number),
                    in_bands=large.pixel.in_bands,
                )
                results.append(stack.enter_context(solved))
                summary.add(results[-1].solution)
            summary.note((*large.pixel.notes, in_parts(sum(result.windows for result in results))))
            pixel = summary.recorded(summary.stripped(large.pixel), 0, is_whole=False)
            note_clipped = summary.note_clipped if settings.chroma_only else None

            def denoised(window: Window) -> NDArray[np.floating]:
                return joined([result.read(window) for result in results])

            yield LargeWriter(large, pixel, self._form, denoised, self._written_so_far, note_clipped)

    def _solved_so_far(self, number: int) -> Callable[[float], None]:
        """A callback for the solve of the image, or of a band."""
        count = len(self._parts)
        return lambda part: self._progress(SOLVED * (number + part) / count, 1)

    def _written_so_far(self, part: float) -> None:
        self._progress(SOLVED + (1 - SOLVED) * part, 1)

    @property
    def figures(self) -> Figures | None:
        figures = self._summary.figures(self._large.dtype, 1)
        return figures and replace(figures, bands=len(self._parts))


def require_parts_possible(mask: str | None, job: Job, remedy: str, impulses: str = "off") -> None:
    """Raise UnsupportedImageError for options that need the whole image.

    mask, impulses: the options of these names; remedy: how to make more memory available.
    """
    needed = {
        "--mask": mask is not None,
        "--residual": job.residual is not None,
        "--trace": job.trace is not None,
        f"--impulses {impulses}": impulses != "off",
    }
    for option, is_given in needed.items():
        if is_given:
            raise UnsupportedImageError(
                f"it is denoised in parts, and {option} needs the whole image in memory",
                f"leave it out, or {remedy}",
            )
