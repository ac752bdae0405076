"""Run one job: read, solve, write, and return the outcome."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

from tvdenoise.batch.admission import form_of, require_admitted
from tvdenoise.batch.in_place import (
    NoReplacementLog,
    Origin,
    Replacement,
    ReplacementLog,
    has_place_for_record,
    is_done,
    slices_are_done,
    was_denoised,
)
from tvdenoise.batch.large import REMEDY_FOR_TEMPORARIES, Large
from tvdenoise.batch.outcome import FileStatus, Outcome
from tvdenoise.batch.plan import Streams
from tvdenoise.batch.planes import Planes, require_stack_possible
from tvdenoise.batch.volumes import SliceVolume, Volumes, opened_slices
from tvdenoise.batch.work import Before, Progress, Solves, Work, no_progress
from tvdenoise.errors import TvdenoiseError, UnreadableImageError, UnwritableImageError
from tvdenoise.files.decoded import DecodedImage
from tvdenoise.files.large import LargeImage
from tvdenoise.files.memory import MemoryBudget
from tvdenoise.files.paths import reason_of
from tvdenoise.files.reading import open_within
from tvdenoise.files.slices import naming_slice
from tvdenoise.files.stack import Stack
from tvdenoise.files.writing import require_carried
from tvdenoise.formats.registry import format_for
from tvdenoise.machine import limited_threads
from tvdenoise.model.preparation import clock

if TYPE_CHECKING:
    from tvdenoise.batch.denoiser import Denoiser
    from tvdenoise.batch.outputs import Job
    from tvdenoise.files.opening import OpenedFile
    from tvdenoise.formats.family import Format
    from tvdenoise.options import FileOptions


class Runner:
    """Runs jobs with the same settings.

    replacement_log: records in-place replacements by files that cannot store a record.
    """

    def __init__(
        self,
        settings: FileOptions,
        denoiser: Denoiser,
        streams: Streams | None = None,
        replacement_log: ReplacementLog | None = None,
        progress: Progress = no_progress,
    ) -> None:
        self._settings = settings
        self._denoiser = denoiser
        self._streams = streams or Streams()
        self._replacement_log = replacement_log or NoReplacementLog()
        self._progress = progress

    def attempt(self, job: Job, threads: int | None = None) -> Outcome:
        """Run a job on a number of threads (None: all). Any error becomes a failed outcome, so other jobs go on."""
        start = clock()
        try:
            with self._denoiser.announcing(), limited_threads(self._settings.threads or threads):
                return self._do(job, start, threads)
        except TvdenoiseError as error:
            failure = error
        except MemoryError as error:
            failure = TvdenoiseError("not enough memory", "split the image, or free some memory")
            failure.__cause__ = error
        except Exception as error:  # noqa: BLE001  # an unexpected error in one file must not stop the rest
            reason = " ".join(f"unexpected error: {type(error).__name__}: {error}".split())
            failure = TvdenoiseError(reason, "run it again with --debug and report it")
            failure.__cause__ = error
        return failed(str(job.source), str(job.target), failure, clock() - start)

    def _do(self, job: Job, start: float, threads: int | None) -> Outcome:
        if job.slices:
            return self._do_slices(job, start, threads)
        origin = None if self._streams.source is not None else Origin.of(job.source)
        with self._opened(job) as found:
            first = _first(found)
            if is_done(job, first, self._replacement_log):
                return _done_before(job)
            notes = origin.notes if origin is not None and job.in_place else ()
            form = self._format_of(job, first.codec)
            work = self._work(job, found, form, threads)
            if work.is_in_parts:
                self._denoiser.prepare_parts(first.channels)
            self._write(job, work, form, origin, is_read_on=not isinstance(found, DecodedImage))
        return _done(job, work, notes, start)

    def _do_slices(self, job: Job, start: float, threads: int | None) -> Outcome:
        """As `_do`, for the slices of a folder."""
        origins = []
        for each in job.slices:
            with naming_slice(each.source):
                origins.append(Origin.of(each.source))
        if slices_are_done(job, self._replacement_log.replaced):
            return _done_before(job)
        settings, progress = self._settings, self._progress
        stack = opened_slices(job, settings)
        form = self._format_of(job.slices[0], stack.first.codec)
        require_carried(stack.first, form)
        work = SliceVolume(stack, form, self._denoiser, settings, job, job.folder, threads, progress)
        if work.is_in_parts:
            self._denoiser.prepare_parts(stack.first.channels)
        before = [self._before(*pair, form) for pair in zip(job.slices, origins, strict=True)]
        work.write_slices(before, [origin.times if settings.preserve_times else None for origin in origins])
        notes = dict.fromkeys(note for origin in origins if job.in_place for note in origin.notes)
        return _done(job, work, tuple(notes), start)

    @contextmanager
    def _opened(self, job: Job) -> Iterator[DecodedImage | Stack | LargeImage]:
        """Open the source; stacks and large images are read from it until the context ends."""
        from tvdenoise.parameters import gate_values_of

        try:
            stream = job.source.open("rb") if self._streams.source is None else self._streams.contents()
        except OSError as error:
            raise UnreadableImageError(reason_of(error)) from error
        with stream:
            found = open_within(
                stream,
                MemoryBudget(self._settings.memory),
                self._settings.max_megapixels,
                may_hold=self._settings.not_finite,
                first_frame=self._settings.first_frame,
                couples_bands=self._settings.couple_bands,
                gate_values=gate_values_of(self._settings),
                admit=lambda file: self._admit(file, job),
            )
            if isinstance(found, DecodedImage):
                stream.close()
            yield found

    def _admit(self, file: OpenedFile, job: Job) -> None:
        """Refuse what the header shows to be impossible, but not what is done already and will be skipped."""
        if job.once and was_denoised(job, file.record, self._replacement_log.replaced):
            return
        form = self._format_of(job, file.contents.family.codec)
        require_admitted(file, job, form, volume=self._settings.volume, impulses=self._settings.impulses)

    def _work(
        self, job: Job, found: DecodedImage | Stack | LargeImage, form: Format, threads: int | None
    ) -> Work:
        scratch = job.folder if self._streams.target is None else None
        if isinstance(found, Stack) and self._settings.volume:
            require_stack_possible(found, form, job)
            return Volumes(found, form, self._denoiser, self._settings, job, scratch, threads, self._progress)
        if not isinstance(found, LargeImage):
            return Planes(found, form, self._denoiser, self._settings, job, threads, self._progress)
        return Large(found, form, self._settings, job, scratch, threads, self._progress)

    def _format_of(self, job: Job, codec: str) -> Format:
        """The format to write, given the codec of the source."""
        if self._streams.target is not None:
            return self._streams.form or format_for(None, codec)
        return form_of(job, codec)

    def _write(
        self,
        job: Job,
        work: Work,
        form: Format,
        origin: Origin | None,
        *,
        is_read_on: bool,
    ) -> None:
        """is_read_on: the source is read while writing, and must not change meanwhile."""
        if self._streams.target is not None:
            with TemporaryFile() if work.is_streamed else BytesIO() as held:
                try:
                    work.write_to(held)
                except OSError as error:
                    raise UnwritableImageError(
                        f"cannot write a temporary file: {reason_of(error)}", REMEDY_FOR_TEMPORARIES
                    ) from error
                if origin is not None and is_read_on:
                    origin.require_unchanged()
                self._streams.put(held)
            return
        before: Before | None = None
        if origin is not None and (job.in_place or is_read_on):
            before = self._before(job, origin, form)
        times = origin.times if origin is not None and self._settings.preserve_times else None
        work.write(job.target, before, times)

    def _before(self, job: Job, origin: Origin, form: Format) -> Before:
        """What to do just before the target is replaced: check the source, and record its replacement if needed."""
        if not job.in_place:
            return origin.require_unchanged
        is_recorded = has_place_for_record(form, strips_metadata=self._settings.strip_metadata)
        return Replacement(job, origin, is_recorded, self._replacement_log).before


def _done(job: Job, work: Solves, notes: tuple[str, ...], start: float) -> Outcome:
    return Outcome(
        str(job.source),
        str(job.target),
        FileStatus.DONE,
        *work.shortfall,
        figures=work.figures,
        notes=work.notes + notes,
        seconds=clock() - start,
    )


def _done_before(job: Job) -> Outcome:
    reason, remedy = "already denoised", "denoise it once more with --again"
    return Outcome(str(job.source), str(job.target), FileStatus.SKIPPED, reason, remedy)


def _first(found: DecodedImage | Stack | LargeImage) -> DecodedImage:
    """An image with the metadata that the file holds for all of its images."""
    if isinstance(found, LargeImage):
        return found.pixel
    return found.first if isinstance(found, Stack) else found


def failed(source: str, target: str | None, error: TvdenoiseError, seconds: float = 0.0) -> Outcome:
    """The outcome of a job that raised an error."""
    trace = "".join(traceback.format_exception(error)).rstrip()
    return Outcome(
        source, target, FileStatus.FAILED, error.reason, error.remedy, trace=trace, seconds=seconds
    )
