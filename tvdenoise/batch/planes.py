"""Denoising what a file holds, picture by picture: one, or the planes of a stack with parameters chosen for all."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO

from tvdenoise.batch.companions import write_companions
from tvdenoise.batch.outcome import Figures
from tvdenoise.batch.placing import record_of
from tvdenoise.batch.solved import figures_of, shortfall_of
from tvdenoise.errors import TvdenoiseError, UnsupportedImageError
from tvdenoise.files.stack import Stack
from tvdenoise.files.stack_writing import StackWriter, require_stack_carried
from tvdenoise.files.writing import (
    encode,
    lost_metadata,
    require_carried,
    with_record,
    without_metadata,
    write,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tvdenoise.batch.denoiser import Denoiser
    from tvdenoise.batch.plan import Job
    from tvdenoise.batch.request import Settings
    from tvdenoise.files.formats import Format
    from tvdenoise.files.picture import Picture
    from tvdenoise.noise.model import NoiseModel
    from tvdenoise.parameters import Parameters
    from tvdenoise.solver import Solution

Before = Callable[["Path"], None]

_SAMPLE = 9  # planes of a channel; an odd number, so that a median is one of theirs


def ignore(_done: float, _count: int) -> None:
    """Of how far a file is, nobody wants to know."""


class Planes:
    """The pictures of one file on their way into a format.

    job: what else is to be written of a single picture. Raises UnsupportedImageError where the format cannot hold them.
    threads: for each solve, or None for what the settings say; tell: called with how many planes of how many are done.
    """

    def __init__(
        self,
        found: Picture | Stack,
        form: Format,
        denoiser: Denoiser,
        settings: Settings,
        job: Job,
        threads: int | None = None,
        tell: Callable[[float, int], None] = ignore,
    ) -> None:
        if isinstance(found, Stack):
            require_stack_carried(found, form)
            if job.companions:
                raise UnsupportedImageError(
                    "--residual and --trace are for files of one picture", "leave them out for this one"
                )
        else:
            require_carried(found, form)
        self._found = found
        self._form = form
        self._denoiser = denoiser
        self._settings = settings
        self._job = job
        self._threads = threads
        self._tell = tell
        self._solutions: list[Solution] = []  # without their images
        self._notices: dict[str, str] = {}
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

    def _denoised(self) -> Iterator[Picture]:
        """Each picture as it is to be written, decoded and denoised when it is asked for."""
        if isinstance(self._found, Stack):
            self._note(self._found.series.notices)
            self._choose(self._found)
            for number, picture in enumerate(self._found.pictures()):
                yield self._one(picture, number, self._found.axes.channel(number))
                self._tell(number + 1, self.count)
        else:
            yield self._one(self._found, 0, 0)

    def _choose(self, stack: Stack) -> None:
        """Parameters for each channel, on a sample of its planes: those of the median mu."""
        channels = range(stack.axes.channel_count)
        is_shared = len(channels) == 1 and self._settings.has_shared_mu(stack.first.channels)
        if self._settings.per_plane or self._settings.mu is not None or is_shared:
            return
        samples = {number: channel for channel in channels for number in stack.sample(channel, _SAMPLE)}
        found: dict[int, list[Parameters]] = {channel: [] for channel in channels}
        for number, picture in zip(sorted(samples), stack.read(sorted(samples)), strict=True):
            found[samples[number]].append(self._denoiser.choose(picture))
        for channel, choices in found.items():
            middle = statistics.median_low(choice.mu for choice in choices)
            self._chosen[channel] = next(choice for choice in choices if choice.mu == middle)

    def _one(self, picture: Picture, number: int, channel: int) -> Picture:
        self._note(picture.notices + _filled(picture))
        if self._settings.strip_metadata:
            picture = without_metadata(picture)
        chosen = self._chosen.get(channel)
        mu = None if chosen is None else chosen.mu
        solution = self._denoiser.solve(picture, self._threads, mu, trace=self._job.trace is not None)
        bound = solution.distance_bound
        is_unbounded = bound == math.inf and self._settings.fills_missing
        if not (math.isfinite(bound) or is_unbounded):  # then neither are the intensities to be trusted
            raise TvdenoiseError("the solve broke down", "choose another --mu or --epsilon")
        result = picture.with_denoised(solution.image)
        self._note(write_companions(self._job, picture, solution, self._settings.data_range))
        self._solutions.append(replace(solution, image=solution.image[:0].copy()))
        if number > 0:
            result = replace(result, metadata=replace(result.metadata, record=None))
        elif not self._settings.strip_metadata:
            result = with_record(result, self._form, record_of(solution))
        self._note(lost_metadata(result, self._form))
        return result

    def _note(self, notices: tuple[str, ...]) -> None:
        """Each notice once, also where the planes differ in the numbers that it names."""
        for notice in notices:
            self._notices.setdefault(re.sub(r"\d[\d,]*", "#", notice), notice)

    @property
    def notices(self) -> tuple[str, ...]:
        """What was not written as it was read, once all is denoised."""
        return tuple(self._notices.values())

    @property
    def shortfall(self) -> tuple[str | None, str | None]:
        """Why the result is less exact than asked, and the remedy."""
        return shortfall_of(self._solutions, self.count)

    @property
    def figures(self) -> Figures:
        """Of all planes."""
        first = self._found.first if isinstance(self._found, Stack) else self._found
        return figures_of(self._solutions, self._noise(), first.intensities.dtype, self.count)

    def _noise(self) -> NoiseModel | None:
        """The noise that the median mu was chosen for."""
        found = list(self._chosen.values()) or self._solutions
        middle = statistics.median_low(one.mu for one in found)
        return next(one.noise for one in found if one.mu == middle)


def _filled(picture: Picture) -> tuple[str, ...]:
    """A sentence about missing pixels, where there were any."""
    count = picture.missing
    return (f"{count} missing pixel{'' if count == 1 else 's'} (NaN) filled",) if count else ()
