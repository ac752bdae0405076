"""Denoise the images of a file one by one: a single image, or the planes of a stack."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from tvdenoise.batch.bilevel import despeckled, require_despeckled
from tvdenoise.batch.outputs import write_extra_outputs
from tvdenoise.batch.work import SOLVED, Before, Progress, Work, no_progress
from tvdenoise.errors import SeveralImagesError, UnreadableImageError, UnsupportedImageError
from tvdenoise.files.stack import Stack
from tvdenoise.files.writing import StackWriter, encode, require_carried, require_stack_carried, write

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from tvdenoise.batch.denoiser import Denoiser
    from tvdenoise.batch.outcome import Figures
    from tvdenoise.batch.outputs import Job
    from tvdenoise.files.decoded import DecodedImage
    from tvdenoise.files.stack import Axes
    from tvdenoise.formats.family import Format
    from tvdenoise.options import FileOptions
    from tvdenoise.parameters import Parameters
    from tvdenoise.solver.descent import Solution


class Planes(Work):
    """The images of one file, denoised one by one.

    job: names the extra outputs, possible for a single image only. Raises UnsupportedImageError if the format cannot
    hold the images.
    """

    def __init__(
        self,
        found: DecodedImage | Stack,
        form: Format,
        denoiser: Denoiser,
        settings: FileOptions,
        job: Job,
        threads: int | None = None,
        progress: Progress = no_progress,
    ) -> None:
        if isinstance(found, Stack):
            require_stack_possible(found, form, job)
            require_one_size(found.axes, settings.mask)
        else:
            require_carried(found, form)
        first = found.first if isinstance(found, Stack) else found
        if first.is_bilevel:
            require_despeckled(job, settings.impulses, volume=settings.volume)
        super().__init__(form, settings, threads, progress)
        self.is_streamed = isinstance(found, Stack)
        self._found = found
        self._in_bands = first_of(found).in_bands and not settings.couple_bands
        self._denoiser = denoiser.without_shared() if self._in_bands else denoiser
        self._job = job
        self._chosen: dict[tuple[int, int], Parameters] = {}  # by channel and band
        if self._in_bands:
            self._solved_things = "bands"
            require_no_trace(job)

    @property
    def count(self) -> int:
        return self._found.count if isinstance(self._found, Stack) else 1

    def write_to(self, stream: BinaryIO) -> None:
        if isinstance(self._found, Stack):
            self._writer(self._found).write_to(stream, self._denoised())
        else:
            stream.write(encode(next(self._denoised()), self._form, self._settings.quality))

    def write(self, target: Path, before: Before | None, times: tuple[int, int] | None) -> None:
        if isinstance(self._found, Stack):
            self._writer(self._found).write(target, self._denoised(), before=before, times=times)
        else:
            quality = self._settings.quality
            write(next(self._denoised()), target, self._form, quality, before=before, times=times)

    def _writer(self, stack: Stack) -> StackWriter:
        return StackWriter(stack, self._form, self._settings.quality)

    def _denoised(self) -> Iterator[DecodedImage]:
        """Yield each image ready to write; decodes and denoises on demand."""
        masks = self._denoiser.masks(self._found, range(self.count))
        if isinstance(self._found, Stack):
            self._summary.note(self._found.series.notes)
            self._choose(self._found)
            images = self._found.images()
            for number in range(self.count):
                mask, channel = next(masks), self._found.axes.channel(number)
                with self._naming(number):
                    image = self._one(next(images), mask, number, channel)
                yield image
                self._progress(number + 1, self.count)
        else:
            self._progress(0, 1)
            yield self._one(self._found, next(masks), 0, 0)

    @contextmanager
    def _naming(self, number: int) -> Iterator[None]:
        """Prefix errors with the number of the image that cannot be read or denoised."""
        try:
            yield
        except (UnreadableImageError, UnsupportedImageError) as error:
            if isinstance(error, SeveralImagesError):  # about the whole file
                raise
            reason = f"image {number + 1} of {self.count}: {error.reason}"
            raise type(error)(reason, error.remedy) from error

    def _choose(self, stack: Stack) -> None:
        """Choose parameters for each channel on a sample of its planes: those with the median mu."""
        from tvdenoise.parameters import MOST_SAMPLED_IMAGES, median_of

        channels = range(stack.axes.channel_count)
        if stack.axes.is_mixed or stack.first.is_bilevel:
            return
        is_shared = len(channels) == 1 and stack.first.channels in dict(self._settings.shared_mu)
        is_shared = is_shared and not self._in_bands
        if self._settings.per_plane or self._settings.given_mu is not None or is_shared:
            return
        samples = {
            number: channel for channel in channels for number in stack.sample(channel, MOST_SAMPLED_IMAGES)
        }
        numbers = sorted(samples)
        found: defaultdict[tuple[int, int], list[Parameters]] = defaultdict(list)
        masks = self._denoiser.masks(stack, numbers)
        images = stack.read(numbers)
        for number in numbers:
            mask = next(masks)
            with self._naming(number):
                for band, part in enumerate(self._parts(next(images))):
                    found[samples[number], band].append(self._denoiser.choose(part, mask))
        for key, all_choices in found.items():
            self._chosen[key] = median_of(all_choices)

    def _one(
        self, image: DecodedImage, mask: NDArray[np.bool_] | None, number: int, channel: int
    ) -> DecodedImage:
        summary = self._summary
        summary.note(image.notes)
        summary.note_missing(image.missing)
        summary.note_mask(mask)
        image = summary.stripped(image)
        if image.is_bilevel:
            require_despeckled(self._job, self._settings.impulses, volume=self._settings.volume)
            result, specks = despeckled(image, mask)
            summary.note_specks(specks)
            return summary.recorded(result, number)
        solution = self._solved(image, mask, number, channel)
        result = summary.denoised(image, solution.image)
        summary.note(self._denoiser.hints(image, solution.noise))
        summary.note(write_extra_outputs(self._job, image, solution, self._settings.data_range))
        return summary.recorded(result, number)

    def _parts(self, image: DecodedImage) -> tuple[DecodedImage, ...]:
        """The images to solve one by one: the bands of an image, or the image itself."""
        return image.separate() if self._in_bands else (image,)

    def _solved(
        self, image: DecodedImage, mask: NDArray[np.bool_] | None, number: int, channel: int
    ) -> Solution:
        """The solution for an image; that of the last band with the image of all, where bands are solved one by one."""
        parts = self._parts(image)
        results: NDArray[Any] | None = None
        for band, part in enumerate(parts):
            chosen = self._chosen.get((channel, band))
            solution = self._denoiser.solve(
                part,
                self._threads,
                None if chosen is None else chosen.mu,
                mask,
                trace=self._job.trace is not None,
                progress=self._progress_of(number + SOLVED * band / len(parts), SOLVED / len(parts)),
            )
            self._summary.add(solution)
            if not self._in_bands:
                return solution
            if results is None:
                results = np.empty((*solution.image.shape, len(parts)), solution.image.dtype)
            results[..., band] = solution.image
        assert results is not None
        return replace(solution, image=results)

    def _progress_of(self, start: float, share: float) -> Callable[[float], None]:
        """A callback for one solve, which reports overall progress. share: of an image."""
        return lambda part: self._progress(start + share * part, self.count)

    @property
    def figures(self) -> Figures | None:
        first = first_of(self._found)
        figures = self._summary.figures(first.intensities.dtype, self.count, list(self._chosen.values()))
        return figures and replace(figures, bands=first.channels if self._in_bands else 1)


def first_of(found: DecodedImage | Stack) -> DecodedImage:
    """The first or only image."""
    return found.first if isinstance(found, Stack) else found


def require_no_trace(job: Job) -> None:
    """Raise UnsupportedImageError if the trace of a single solve is asked for."""
    if job.trace is not None:
        raise UnsupportedImageError(
            "--trace records one solve, and its bands are denoised one by one",
            "add --couple-bands, or leave it out",
        )


def require_one_size(axes: Axes, mask: str | None) -> None:
    """Raise UnsupportedImageError for a mask with images that differ."""
    if mask is not None and axes.is_mixed:
        raise UnsupportedImageError(
            f"its {axes.count} pages differ in size or kind of pixels, and --mask needs pages of one size",
            "leave it out, or save each page as a file of its own",
        )


def require_stack_possible(stack: Stack, form: Format, job: Job) -> None:
    """Raise UnsupportedImageError if the format or the extra outputs do not allow several images."""
    require_stack_carried(stack, form)
    require_single_for_extra_outputs(job)


def require_single_for_extra_outputs(job: Job) -> None:
    """Raise UnsupportedImageError if a job whose file has several images has extra outputs."""
    if job.extra_outputs:
        raise UnsupportedImageError(
            "--residual and --trace need a file with one image", "leave them out for this one"
        )
