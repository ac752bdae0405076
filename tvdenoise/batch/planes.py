"""Denoising what a file holds, picture by picture: one, or the planes of a stack with parameters chosen for all."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from tvdenoise.batch.companions import write_companions
from tvdenoise.batch.outcome import Figures
from tvdenoise.batch.placing import record_of
from tvdenoise.errors import SeveralPicturesError, TvdenoiseError, UnreadableImageError, UnsupportedImageError
from tvdenoise.files.stack import Stack
from tvdenoise.files.writing import lost_metadata, with_record, without_metadata

if TYPE_CHECKING:
    from tvdenoise.batch.denoiser import Denoiser
    from tvdenoise.batch.plan import Job
    from tvdenoise.batch.request import Settings
    from tvdenoise.files.formats import Format
    from tvdenoise.files.picture import Picture
    from tvdenoise.noise.model import NoiseModel
    from tvdenoise.parameters import Parameters
    from tvdenoise.solver import Solution

_SAMPLE = 9  # planes of a channel; an odd number, so that a median is one of theirs


def ignore(_done: int, _count: int) -> None:
    """Of how far a file is, nobody wants to know."""


class Planes:
    """The pictures of one file on their way into a format.

    job: what else is to be written of a single picture.
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
        tell: Callable[[int, int], None] = ignore,
    ) -> None:
        self._found = found
        self._form = form
        self._denoiser = denoiser
        self._settings = settings
        self._job = job
        self._threads = threads
        self._tell = tell
        self._solutions: list[Solution] = []  # without their images
        self._notices: dict[str, str] = {}
        self._missing: list[int] = []  # pixels, of each picture that has any
        self._chosen: dict[int, Parameters] = {}

    @property
    def count(self) -> int:
        return self._found.count if isinstance(self._found, Stack) else 1

    def denoised(self) -> Iterator[Picture]:
        """Each picture as it is to be written, decoded and denoised when it is asked for."""
        if isinstance(self._found, Stack):
            self._note(self._found.series.notices)
            self._choose(self._found)
            pictures = self._found.pictures()
            for number in range(self.count):
                with self._naming(number):
                    picture = self._one(next(pictures), number, self._found.axes.channel(number))
                yield picture
                self._tell(number + 1, self.count)
        else:
            yield self._one(self._found, 0, 0)

    @contextmanager
    def _naming(self, number: int) -> Iterator[None]:
        """Of several pictures, say which one it is that cannot be read or denoised."""
        try:
            yield
        except (UnreadableImageError, UnsupportedImageError) as error:
            if isinstance(error, SeveralPicturesError):  # which says so
                raise
            reason = f"picture {number + 1} of {self.count}: {error.reason}"
            raise type(error)(reason, error.remedy) from error

    def _choose(self, stack: Stack) -> None:
        """Parameters for each channel, on a sample of its planes: those of the median mu.

        Planes without noise, such as those of one colour before and after the specimen, have no say if others have.
        """
        channels = range(stack.axes.channel_count)
        is_shared = len(channels) == 1 and self._settings.has_shared_mu(stack.first.channels)
        if self._settings.per_plane or self._settings.mu is not None or is_shared:
            return
        samples = {number: channel for channel in channels for number in stack.sample(channel, _SAMPLE)}
        found: dict[int, list[Parameters]] = {channel: [] for channel in channels}
        pictures = stack.read(sorted(samples))
        for number in sorted(samples):
            with self._naming(number):
                found[samples[number]].append(self._denoiser.choose(next(pictures)))
        for channel, all_choices in found.items():
            choices = [c for c in all_choices if c.noise is None or c.noise.sigma > 0] or all_choices
            middle = statistics.median_low(choice.mu for choice in choices)
            self._chosen[channel] = next(choice for choice in choices if choice.mu == middle)

    def _one(self, picture: Picture, number: int, channel: int) -> Picture:
        self._note(picture.notices)
        if missing := picture.missing:
            self._missing.append(missing)
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
        return (*self._notices.values(), *self._filled())

    def _filled(self) -> tuple[str, ...]:
        """A sentence about missing pixels, where there were any."""
        if not (count := sum(self._missing)):
            return ()
        where = f" in {len(self._missing)} of {self.count} pictures" if self.count > 1 else ""
        return (f"{count} missing pixel{'' if count == 1 else 's'} (NaN) filled{where}",)

    @property
    def shortfall(self) -> tuple[str | None, str | None]:
        """Why the result is less exact than asked, and the remedy."""
        from tvdenoise.solver import Status

        short = [solution for solution in self._solutions if not solution.converged]
        if not short:
            return None, None
        limited = short[0].status is Status.ITERATION_LIMIT
        more = "--max-iterations or --tolerance" if limited else "--tolerance"
        where = f" (in {len(short)} of {self.count} pictures)" if self.count > 1 else ""
        return f"{short[0].status.value}{where}", f"raise {more}"

    @property
    def figures(self) -> Figures:
        """Of all planes: the worst bound, the sum of the evaluations, and the median of mu and epsilon."""
        solutions = self._solutions
        worst = next((s for s in solutions if not s.converged), solutions[0])
        noise = self._noise()
        first = self._found.first if isinstance(self._found, Stack) else self._found
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
            bits=None if first.is_float else first.intensities.itemsize * 8,
            planes=self.count,
            parameters=len({solution.mu for solution in solutions}),
        )

    def _noise(self) -> NoiseModel | None:
        """The noise that the median mu was chosen for."""
        found = list(self._chosen.values()) or self._solutions
        middle = statistics.median_low(one.mu for one in found)
        return next(one.noise for one in found if one.mu == middle)
