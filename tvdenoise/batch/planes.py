"""Denoising the images of a file one by one: a single image, or the planes of a stack."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from tvdenoise.batch.outputs import write_extra_outputs
from tvdenoise.batch.summary import FileSummary
from tvdenoise.errors import SeveralImagesError, UnreadableImageError, UnsupportedImageError
from tvdenoise.files.stack import Stack
from tvdenoise.files.writing import StackWriter, encode, require_carried, require_stack_carried, write

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from tvdenoise.batch.denoiser import Denoiser
    from tvdenoise.batch.outcome import Figures
    from tvdenoise.batch.outputs import Job
    from tvdenoise.files.decoded import DecodedImage
    from tvdenoise.formats.family import Format
    from tvdenoise.options import FileOptions
    from tvdenoise.parameters import Parameters


Before = Callable[["Path"], None]

_SOLVED = 0.9  # of the work on a picture; the rest is to write it
_SAMPLE = 9  # planes of a channel; an odd number, so that a median is one of theirs


def ignore(_done: float, _count: int) -> None:
    """Of how far a file is, nobody wants to know."""


class Planes:
    """The pictures of one file on their way into a format.

    job: what else is to be written of a single picture. Raises UnsupportedImageError where the format cannot hold them.
    threads: for each solve, or None for what the settings say; tell: called with how many planes of how many are done.
    """

    is_in_parts = False

    def __init__(
        self,
        found: DecodedImage | Stack,
        form: Format,
        denoiser: Denoiser,
        settings: FileOptions,
        job: Job,
        threads: int | None = None,
        tell: Callable[[float, int], None] = ignore,
    ) -> None:
        if isinstance(found, Stack):
            require_stack_possible(found, form, job)
        else:
            require_carried(found, form)
        self._found = found
        self._form = form
        self._denoiser = denoiser
        self._settings = settings
        self._job = job
        self._threads = threads
        self._tell = tell
        self._findings = FileSummary(form, settings)
        self._chosen: dict[int, Parameters] = {}

    @property
    def count(self) -> int:
        return self._found.count if isinstance(self._found, Stack) else 1

    @property
    def is_streamed(self) -> bool:
        """Whether it is written as it is denoised, without being held."""
        return isinstance(self._found, Stack)

    def write_to(self, stream: BinaryIO) -> None:
        """Denoise all, and write it to an empty stream that can be sought."""
        if isinstance(self._found, Stack):
            self._writer(self._found).write_to(stream, self._denoised())
        else:
            stream.write(encode(next(self._denoised()), self._form, self._settings.quality))

    def write(self, target: Path, before: Before | None, times: tuple[int, int] | None) -> None:
        """Denoise all, and put it in the target's place; see `writing.write`."""
        if isinstance(self._found, Stack):
            self._writer(self._found).write(target, self._denoised(), before=before, times=times)
        else:
            quality = self._settings.quality
            write(next(self._denoised()), target, self._form, quality, before=before, times=times)

    def _writer(self, stack: Stack) -> StackWriter:
        return StackWriter(stack, self._form, self._settings.quality)

    def _denoised(self) -> Iterator[DecodedImage]:
        """Each picture as it is to be written, decoded and denoised when it is asked for."""
        masks = self._denoiser.masks(self._found, range(self.count))
        if isinstance(self._found, Stack):
            self._findings.note(self._found.series.notices)
            self._choose(self._found)
            pictures = self._found.pictures()
            for number in range(self.count):
                mask, channel = next(masks), self._found.axes.channel(number)
                with self._naming(number):
                    picture = self._one(next(pictures), mask, number, channel)
                yield picture
                self._tell(number + 1, self.count)
        else:
            self._tell(0, 1)
            yield self._one(self._found, next(masks), 0, 0)

    @contextmanager
    def _naming(self, number: int) -> Iterator[None]:
        """Of several pictures, say which one it is that cannot be read or denoised."""
        try:
            yield
        except (UnreadableImageError, UnsupportedImageError) as error:
            if isinstance(error, SeveralImagesError):  # which says so
                raise
            reason = f"picture {number + 1} of {self.count}: {error.reason}"
            raise type(error)(reason, error.remedy) from error

    def _choose(self, stack: Stack) -> None:
        """Parameters for each channel, on a sample of its planes: those of the median mu.

        Planes without noise, such as those of one colour before and after the specimen, have no say if others have.
        """
        channels = range(stack.axes.channel_count)
        is_shared = len(channels) == 1 and stack.first.channels in dict(self._settings.shared_mu)
        if self._settings.per_plane or self._settings.mu is not None or is_shared:
            return
        samples = {number: channel for channel in channels for number in stack.sample(channel, _SAMPLE)}
        numbers = sorted(samples)
        found: dict[int, list[Parameters]] = {channel: [] for channel in channels}
        masks = self._denoiser.masks(stack, numbers)
        pictures = stack.read(numbers)
        for number in numbers:
            mask = next(masks)
            with self._naming(number):
                found[samples[number]].append(self._denoiser.choose(next(pictures), mask))
        for channel, all_choices in found.items():
            choices = [c for c in all_choices if c.noise is None or c.noise.sigma > 0] or all_choices
            middle = statistics.median_low(choice.mu for choice in choices)
            self._chosen[channel] = next(choice for choice in choices if choice.mu == middle)

    def _one(
        self, picture: DecodedImage, mask: NDArray[np.bool_] | None, number: int, channel: int
    ) -> DecodedImage:
        findings = self._findings
        findings.note(picture.notices)
        findings.note_missing(picture.missing)
        picture = findings.stripped(picture)
        chosen = self._chosen.get(channel)
        mu = None if chosen is None else chosen.mu
        solution = self._denoiser.solve(
            picture,
            self._threads,
            mu,
            mask,
            trace=self._job.trace is not None,
            progress=self._progress(number),
        )
        findings.add(solution)
        result = picture.with_denoised(solution.image)
        findings.note(write_extra_outputs(self._job, picture, solution, self._settings.data_range))
        return findings.recorded(result, number)

    def _progress(self, number: int) -> Callable[[float], None]:
        """Tells how far one picture is, among them all."""
        return lambda part: self._tell(number + _SOLVED * part, self.count)

    @property
    def notices(self) -> tuple[str, ...]:
        """What was not written as it was read, once all is denoised."""
        return self._findings.notices

    @property
    def shortfall(self) -> tuple[str | None, str | None]:
        """Why the result is less exact than asked, and the remedy."""
        return self._findings.shortfall("pictures")

    @property
    def figures(self) -> Figures:
        """Of all planes."""
        first = self._found.first if isinstance(self._found, Stack) else self._found
        return self._findings.figures(first.intensities.dtype, self.count, list(self._chosen.values()))


def require_stack_possible(stack: Stack, form: Format, job: Job) -> None:
    """Raise UnsupportedImageError where what is asked for cannot be done with several pictures."""
    require_stack_carried(stack, form)
    if job.extra_outputs:
        raise UnsupportedImageError(
            "--residual and --trace are for files of one picture", "leave them out for this one"
        )
