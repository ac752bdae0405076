"""Denoise the planes of a stack together: each volume as a whole, written plane by plane."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from tvdenoise.batch.bilevel import require_despeckled
from tvdenoise.batch.denoiser import shown, spacing_of
from tvdenoise.batch.large import existing, in_parts, joined, solved_in_parts
from tvdenoise.batch.work import SOLVED, Before, Progress, Solves, Work, filled, no_progress
from tvdenoise.errors import UnsupportedImageError
from tvdenoise.files.atomic import FileSet
from tvdenoise.files.memory import MemoryBudget, volume_bytes_needed
from tvdenoise.files.paths import printable
from tvdenoise.files.slices import naming_slice, open_slices
from tvdenoise.files.stack import Spill, gathered, gathered_on_disk
from tvdenoise.files.writing import StackWriter, encode, require_readable
from tvdenoise.pictures.figures import RESIDUAL_FORM, described_residual
from tvdenoise.precision import precision_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tvdenoise.batch.denoiser import Denoiser
    from tvdenoise.batch.outcome import Figures
    from tvdenoise.batch.outputs import Job
    from tvdenoise.files.decoded import DecodedImage
    from tvdenoise.files.stack import Stack
    from tvdenoise.formats.family import Format
    from tvdenoise.options import FileOptions


class VolumeSolves(Solves):
    """The volumes of a stack, each denoised as a whole.

    folder: for planes that wait to be written, None for the system's. Raises UnsupportedImageError if the planes form
    no volume.
    """

    _solved_things = "volumes"

    def __init__(
        self,
        stack: Stack,
        form: Format,
        denoiser: Denoiser,
        settings: FileOptions,
        job: Job,
        folder: Path | None,
        threads: int | None = None,
        progress: Progress = no_progress,
    ) -> None:
        if stack.first.is_bilevel:
            require_despeckled(job, settings.impulses, volume=True)
        super().__init__(form, settings, threads, progress)
        self._stack = stack
        self._in_bands = stack.first.in_bands and not settings.couple_bands
        self._job = job
        self._denoiser = denoiser.without_shared() if self._in_bands else denoiser
        self._folder = folder
        self._volumes = stack.axes.volumes
        self._spacing, self._assumed = spacing_of(stack.axes, settings.spacing)
        self._missing = 0
        self._done = 0  # images written
        self._reached = 0.0
        self.is_in_parts = self._is_too_large()

    def _is_too_large(self) -> bool:
        """Return True if a volume exceeds the memory. Raises UnsupportedImageError for a mask, which needs it whole."""
        first = self._stack.first
        columns, rows = first.size
        needed = volume_bytes_needed(
            columns,
            rows,
            max(map(len, self._volumes)),
            first.channels,
            first.intensities.itemsize,
            has_alpha=first.alpha is not None,
            has_weights=self._settings.has_weights,
            is_double=precision_of(first.intensities.dtype) == np.float64,
        )
        shortage = MemoryBudget(self._settings.memory).shortage(needed)
        if shortage is not None:
            settings = self._settings
            remedy = MemoryBudget(settings.memory).remedy
            require_whole_volume(settings.mask, settings.impulses, shortage, remedy)
        return shortage is not None

    def _denoised(self) -> Iterator[DecodedImage]:
        """Yield each image ready to write, in file order."""
        self._summary.note((*self._stack.series.notes, *self._stack.axes.assumption, *self._assumed))
        self._reach(0)
        with Spill(self._folder) as spill:
            for numbers in self._volumes:
                yield from self._written(self._ready(numbers, spill))

    def _ready(self, numbers: Sequence[int], spill: Spill) -> Iterator[NDArray[np.floating]]:
        """Solve a volume, and yield the planes that come next in the file; the others wait in the spill."""
        planes = self._solved_in_parts(numbers) if self.is_in_parts else self._solved(numbers)
        number = self._done
        if list(numbers) == list(range(number, number + len(numbers))):
            yield from planes
            return
        for own, plane in zip(numbers, planes, strict=True):
            spill.put(own, plane)
        while number in spill:
            yield spill.take(number, self._stack.first.intensities.shape)
            number += 1

    def _solved(self, numbers: Sequence[int]) -> Iterator[NDArray[np.floating]]:
        """Yield the denoised planes of a volume in its order."""
        volume = gathered(self._stack, numbers, self._spacing)
        self._missing += volume.missing
        self._summary.note(volume.notes)
        mask = mask_of_volume(self._denoiser, self._stack, numbers)
        self._summary.note_mask(mask)
        parts = volume.separate() if self._in_bands else iter((volume,))
        results: NDArray[Any] | None = None
        del volume
        for band, part in enumerate(parts):
            progress = self._progress_of_next(len(numbers), band)
            solution = self._denoiser.solve(part, self._threads, mask=mask, progress=progress)
            self._summary.add(solution)
            if not self._in_bands:
                results = solution.image
                break
            if results is None:
                results = np.empty((*solution.image.shape, self._bands), solution.image.dtype)
            results[..., band] = solution.image
        del parts, part, mask, solution
        assert results is not None
        yield from results

    def _solved_in_parts(self, numbers: Sequence[int]) -> Iterator[NDArray[np.floating]]:
        """As `_solved`, for a volume kept on disk."""
        folder = existing(self._folder)
        settings = self._settings
        gathering = gathered_on_disk(self._stack, numbers, folder, fills_missing=settings.fills_missing)
        with gathering as volume, ExitStack() as stack:
            results = []
            for band, part in enumerate(volume.separate() if self._in_bands else (volume,)):
                progress = self._progress_of_next(len(numbers), band)
                solved = solved_in_parts(
                    part,
                    self._settings,
                    folder,
                    self._threads,
                    progress,
                    self._spacing,
                    in_bands=volume.in_bands,
                )
                results.append(stack.enter_context(solved))
                self._summary.add(results[-1].solution)
            self._summary.note((in_parts(sum(result.windows for result in results)), *volume.notes))
            rows, columns = (slice(0, length) for length in volume.shape[1:])
            for plane in range(len(numbers)):
                window = slice(plane, plane + 1), rows, columns
                yield joined([result.read(window)[0] for result in results])

    def _written(self, planes: Iterator[NDArray[np.floating]]) -> Iterator[DecodedImage]:
        """Yield the next images with denoised planes; each is read again for its alpha and metadata."""
        start = self._done
        for plane, number, image in zip(planes, count(start), self._stack.read(count(start)), strict=False):
            result = self._summary.denoised(self._summary.stripped(image), plane)
            self._done += 1
            yield self._recorded(result, number)
            self._add_residual(image, plane, number)
            self._reach(self._done)

    @abstractmethod
    def _recorded(self, result: DecodedImage, number: int) -> DecodedImage:
        """A denoised image with the record of how it was denoised, if it takes one."""

    def _add_residual(self, image: DecodedImage, plane: NDArray[np.floating], number: int) -> None:
        """Write the residual of an image, if requested."""

    def _progress_of_next(self, count: int, band: int = 0) -> Callable[[float], None]:
        """A callback for solving a band of the next images, this many, which reports overall progress."""
        start, share = self._done, SOLVED * count / self._bands
        return lambda part: self._reach(start + share * (band + part))

    @property
    def _bands(self) -> int:
        """The number of bands that are solved one by one."""
        return self._stack.first.channels if self._in_bands else 1

    def _reach(self, done: float) -> None:
        """Report the number of images done, which never decreases."""
        self._reached = max(self._reached, done)
        self._progress(self._reached, self._stack.count)

    @property
    def notes(self) -> tuple[str, ...]:
        return self._summary.notes + filled(self._missing if self._settings.fills_missing else 0)

    @property
    def figures(self) -> Figures | None:
        figures = self._summary.figures(self._stack.first.intensities.dtype, self._stack.count)
        volumes = self._summary.count // self._bands
        return figures and replace(figures, volumes=volumes, spacing=shown(self._spacing), bands=self._bands)


class Volumes(VolumeSolves, Work):
    """The volumes of one file; extra outputs are refused."""

    def write_to(self, stream: BinaryIO) -> None:
        self._writer.write_to(stream, self._denoised())

    def write(self, target: Path, before: Before | None, times: tuple[int, int] | None) -> None:
        self._writer.write(target, self._denoised(), before=before, times=times)

    @property
    def _writer(self) -> StackWriter:
        return StackWriter(self._stack, self._form, self._settings.quality)

    def _recorded(self, result: DecodedImage, number: int) -> DecodedImage:
        return self._summary.recorded(result, number)


class SliceVolume(VolumeSolves):
    """The slices of a folder, denoised as one volume; each is written to a file of its own, all of them or none."""

    def write_slices(self, before: Sequence[Before], times: Sequence[tuple[int, int] | None]) -> None:
        """Denoise everything, and write all slices; before, times: of each slice, as for `writing.write`."""
        with FileSet() as self._files:
            written = []
            for image, job, own in zip(self._denoised(), self._job.slices, times, strict=True):
                contents = encode(image, self._form, self._settings.quality)
                written.append(self._files.add(job.target, contents, _checked(image, self._form), own))
            for job, check, path in zip(self._job.slices, before, written, strict=True):
                with naming_slice(job.source):
                    check(path)
            self._files.put_in_place()

    def _recorded(self, result: DecodedImage, _number: int) -> DecodedImage:
        return self._summary.recorded(result, 0)  # each file has one

    def _add_residual(self, image: DecodedImage, plane: NDArray[np.floating], number: int) -> None:
        job = self._job.slices[number]
        if job.residual is None:
            return
        residual, _ = described_residual(image, plane, self._settings.data_range, job.source.name)
        contents = encode(residual, RESIDUAL_FORM)
        self._files.add(job.residual, contents, _checked(residual, RESIDUAL_FORM))
        where = printable(job.residual.parent)
        self._summary.note(
            (f"the residuals are in {where}, around mid grey; their descriptions state the gains",)
        )


def opened_slices(job: Job, settings: FileOptions) -> Stack:
    """The slices of a job as a stack; see `slices.open_slices`."""
    return open_slices(
        [each.source for each in job.slices],
        MemoryBudget(settings.memory),
        settings.max_megapixels,
        may_hold=settings.not_finite,
    )


def _checked(image: DecodedImage, form: Format) -> Before:
    """A check that a written file reads as the image."""
    return lambda written: require_readable(written, image, form)


def require_whole_volume(mask: str | None, impulses: str, shortage: str, remedy: str) -> None:
    """Raise UnsupportedImageError for options that are not possible with a volume in parts.

    mask, impulses: the options; shortage: why the volume is denoised in parts; remedy: how to avoid that.
    """
    for option, is_given in {"--mask": mask is not None, f"--impulses {impulses}": impulses != "off"}.items():
        if is_given:
            raise UnsupportedImageError(
                f"{shortage}; {option} is not possible in parts", f"leave it out, or {remedy}"
            )


def mask_of_volume(denoiser: Denoiser, stack: Stack, numbers: Sequence[int]) -> NDArray[np.bool_] | None:
    """The mask (planes, rows, columns) of the volume made of the images with these numbers; None for no mask."""
    ordered = sorted(numbers)
    found = dict(zip(ordered, denoiser.masks(stack, ordered), strict=False))
    first = found[numbers[0]]
    if first is None:
        return None
    if all(mask is first for mask in found.values()):
        return np.broadcast_to(first, (len(numbers), *first.shape))
    return np.stack([mask for number in numbers if (mask := found[number]) is not None])
