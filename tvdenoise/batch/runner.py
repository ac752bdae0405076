"""Doing one job: read, solve, write, and say what became of it."""

from __future__ import annotations

import math
import time
import traceback
from typing import TYPE_CHECKING

from tvdenoise.batch.companions import write_companions
from tvdenoise.batch.ledger import Ledger, NoLedger
from tvdenoise.batch.outcome import Fate, Figures, Outcome
from tvdenoise.batch.placing import Origin, Placing, has_place_for_record, is_done, record_of
from tvdenoise.batch.streams import Streams
from tvdenoise.errors import TvdenoiseError
from tvdenoise.files.families import format_for, format_in_place
from tvdenoise.files.reading import read, read_stream
from tvdenoise.files.writing import (
    encode,
    lost_metadata,
    require_carried,
    with_record,
    without_metadata,
    write,
)

if TYPE_CHECKING:
    from tvdenoise.batch.denoiser import Denoiser
    from tvdenoise.batch.plan import Job
    from tvdenoise.batch.request import Settings
    from tvdenoise.files.formats import Format
    from tvdenoise.files.picture import Picture
    from tvdenoise.solver import Solution


class Runner:
    """Does jobs with the same settings.

    ledger: knows and is told what is replaced in place by files that cannot say it themselves.
    """

    def __init__(
        self,
        settings: Settings,
        denoiser: Denoiser,
        streams: Streams | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        self._settings = settings
        self._denoiser = denoiser
        self._streams = streams or Streams()
        self._ledger = ledger or NoLedger()

    def attempt(self, job: Job, threads: int | None = None) -> Outcome:
        """Do a job on so many threads (None: all). What goes wrong with one picture never stops the others."""
        start = time.perf_counter()
        try:
            return self._do(job, start, threads)
        except TvdenoiseError as error:
            failure = error
        except MemoryError as error:
            failure = TvdenoiseError("not enough memory", "split the picture, or free some memory")
            failure.__cause__ = error
        except Exception as error:  # noqa: BLE001  # a surprise in one file must not stop the rest
            reason = " ".join(f"unexpected error: {type(error).__name__}: {error}".split())
            failure = TvdenoiseError(reason, "run it again with --debug and report it")
            failure.__cause__ = error
        return failed(str(job.source), str(job.target), failure, time.perf_counter() - start)

    def _do(self, job: Job, start: float, threads: int | None) -> Outcome:
        origin = None if self._streams.source is not None else Origin.of(job.source)
        picture = self._read(job)
        if is_done(job, picture, self._ledger):
            reason, remedy = "denoised already", "--again denoises it once more"
            return Outcome(str(job.source), str(job.target), Fate.SKIPPED, reason, remedy)
        notices = origin.notices if origin is not None and job.in_place else ()
        form = self._format_of(job, picture)
        require_carried(picture, form)
        if self._settings.strip_metadata:
            picture = without_metadata(picture)
        start += self._denoiser.prepare()
        solution = self._solve(picture, threads, trace=job.trace is not None)
        result = picture.with_denoised(solution.image)
        if not self._settings.strip_metadata:
            result = with_record(result, form, record_of(solution))
        notices += write_companions(job, picture, solution, self._settings.data_range)
        self._write(job, result, form, origin)
        return Outcome(
            str(job.source),
            str(job.target),
            Fate.DONE,
            *_shortfall(solution),
            figures=_figures(solution, picture),
            notices=picture.notices + _filled(picture) + lost_metadata(result, form) + notices,
            seconds=time.perf_counter() - start,
        )

    def _read(self, job: Job) -> Picture:
        limit, fills = self._settings.max_megapixels, self._settings.fills_missing
        if self._streams.source is not None:
            return read_stream(self._streams.contents(), limit, may_have_nan=fills)
        return read(job.source, limit, may_have_nan=fills)

    def _solve(self, picture: Picture, threads: int | None, *, trace: bool) -> Solution:
        solution = self._denoiser.solve(picture, threads, trace=trace)
        bound = solution.distance_bound
        is_unbounded = bound == math.inf and self._settings.fills_missing
        if not (math.isfinite(bound) or is_unbounded):  # then neither are the intensities to be trusted
            raise TvdenoiseError("the solve broke down", "choose another --mu or --epsilon")
        return solution

    def _format_of(self, job: Job, picture: Picture) -> Format:
        if self._streams.target is not None:
            return self._streams.form or format_for(None, picture.codec)
        if job.in_place:
            return format_in_place(job.target, picture.codec)
        return format_for(job.target, picture.codec)

    def _write(self, job: Job, picture: Picture, form: Format, origin: Origin | None) -> None:
        quality = self._settings.quality
        if self._streams.target is not None:
            self._streams.put(encode(picture, form, quality))
            return
        placing = None
        if origin is not None and job.in_place:
            is_recorded = has_place_for_record(form, strips_metadata=self._settings.strip_metadata)
            placing = Placing(job, origin, is_recorded, self._ledger)
        times = origin.times if origin is not None and self._settings.preserve_times else None
        write(picture, job.target, form, quality, before=placing.before if placing else None, times=times)


def failed(source: str, target: str | None, error: TvdenoiseError, seconds: float = 0.0) -> Outcome:
    """The outcome of a job that raised an error."""
    trace = "".join(traceback.format_exception(error)).rstrip()
    return Outcome(source, target, Fate.FAILED, error.reason, error.remedy, trace=trace, seconds=seconds)


def _filled(picture: Picture) -> tuple[str, ...]:
    """A sentence about missing pixels, where there were any."""
    count = picture.missing
    return (f"{count} missing pixel{'' if count == 1 else 's'} (NaN) filled",) if count else ()


def _shortfall(solution: Solution) -> tuple[str | None, str | None]:
    """Why the result is less exact than asked, and the remedy."""
    from tvdenoise.solver import Status

    if solution.converged:
        return None, None
    more = "--max-iterations or --tolerance" if solution.status is Status.ITERATION_LIMIT else "--tolerance"
    return solution.status.value, f"raise {more}"


def _figures(solution: Solution, picture: Picture) -> Figures:
    return Figures(
        mu=solution.mu,
        epsilon=solution.epsilon,
        sigma=solution.sigma,
        iterations=solution.iterations,
        distance_bound=solution.distance_bound,
        converged=solution.converged,
        ending=solution.status.value,
        noise=None if solution.noise is None else solution.noise.kind.value,
        correlation=None if solution.noise is None else max(solution.noise.channels[0].correlation),
        growth=None if solution.noise is None else solution.noise.growth,
        bits=None if picture.is_float else picture.intensities.itemsize * 8,
    )
