"""The plan of a run, of files or standard streams: all output names and refusals, before the first pixel is read."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, BinaryIO, TextIO, cast

from tvdenoise.batch.in_place import has_place_for_record
from tvdenoise.batch.outputs import (
    Destination,
    Folder,
    Job,
    SingleFile,
    destination_of,
    identity_of,
    naming_error,
    refuse_collisions,
    refuse_existing,
    refuse_outputs_that_are_inputs,
    require_folders_writable,
    require_possible,
    residual_of,
    with_trace,
    without_kept,
)
from tvdenoise.batch.request import (
    DEFAULT_SUFFIX,
    STANDARD_STREAM,
    Discovery,
    Failure,
    Found,
    Request,
    nothing_found,
)
from tvdenoise.batch.slices import FoundSlices, with_volumes
from tvdenoise.errors import TvdenoiseError, UnwritableImageError, UsageError
from tvdenoise.files.opening import codec_of, header_of
from tvdenoise.files.paths import RealPaths, printable, reason_of
from tvdenoise.files.reading import is_whole
from tvdenoise.formats.registry import FORMATS, format_in_place, format_named

if TYPE_CHECKING:
    from tvdenoise.formats.family import Format


_NO_REPLACEMENT_LOG = "process these files without --cluster, and with --report FILE to keep the record there"


@dataclass(frozen=True)
class Plan:
    """jobs: to run; skipped: done by an earlier run; failures: unreadable inputs."""

    jobs: tuple[Job, ...]
    skipped: tuple[Job, ...] = ()
    failures: tuple[Failure, ...] = ()

    @property
    def count(self) -> int:
        return len(self.jobs) + len(self.skipped) + len(self.failures)


def make_plan(
    request: Request, *, strips_metadata: bool = False, has_replacement_log: bool = True, volume: bool = False
) -> Plan:
    """Plan a request. Raises UsageError and NothingToDoError before anything is changed.

    has_replacement_log: the report, if any, records replaced files for later in-place runs; volume: folders of slices
    are volumes.
    """
    destination = destination_of(request)
    require_possible(request)
    left_out = Path(os.path.realpath(destination.path)) if isinstance(destination, Folder) else None
    residuals = Path(os.path.realpath(request.residual)) if request.residual is not None else None
    suffix = request.suffix or DEFAULT_SUFFIX
    discovery = Discovery(request.recursive, suffix, left_out, request.patterns, residuals)
    found = list(discovery.find(request.inputs))
    failures = [entry for entry in found if isinstance(entry, Failure)]
    if not found:
        raise nothing_found(request.inputs, request.patterns, recursive=request.recursive)
    entries = [entry for entry in found if isinstance(entry, Found)]
    items = with_volumes(entries) if volume else entries
    jobs, unnameable = _jobs(items, destination, lambda entry: residual_of(entry.place, request))
    failures += unnameable
    jobs = with_trace(jobs, request, len(jobs) + len(failures))
    if request.in_place:
        if request.report is None or not has_replacement_log:
            remedy = (
                "add --report FILE to keep the record there" if has_replacement_log else _NO_REPLACEMENT_LOG
            )
            _require_places_for_records(jobs, remedy, strips_metadata=strips_metadata)
        jobs = _settle_extra_outputs(jobs, request)
        require_folders_writable(jobs, request)
        replacing = (_replacing(job, once=not request.again) for job in jobs)
        return Plan(with_headers(replacing), failures=tuple(failures))
    return settle(jobs, request, tuple(failures))


def _replacing(job: Job, *, once: bool) -> Job:
    slices = tuple(_replacing(each, once=once) for each in job.slices)
    return replace(job, in_place=True, once=once, slices=slices)


def _require_places_for_records(jobs: list[Job], remedy: str, *, strips_metadata: bool) -> None:
    """Raise UsageError for files that a second run could not recognise as denoised."""
    for job in (job.files[0] for job in jobs):  # slices have one format
        form = format_in_place(job.target, codec) if (codec := codec_of(job.source)) else None
        if form is None or not form.kinds or has_place_for_record(form, strips_metadata=strips_metadata):
            continue
        cause = "--strip-metadata leaves" if strips_metadata else f"{form.name} has"
        raise UsageError(
            f"{printable(job.source)}: {cause} no place to record that it is denoised, "
            "so a second --in-place would denoise it again",
            remedy,
        )


def settle(jobs: list[Job], request: Request, failures: tuple[Failure, ...] = ()) -> Plan:
    """Plan jobs after checking that their outputs overwrite nothing. Raises UsageError."""
    files = [file for job in jobs for file in job.files]
    refuse_collisions((file, path) for file in files for path in (file.target, *file.extra_outputs))
    refuse_outputs_that_are_inputs(jobs, [(file, file.target) for file in files])
    existing = [file for file in files if os.path.lexists(file.target)]
    refuse_existing([file.target for file in existing], request)
    whole = {file for file in existing if request.skip_existing and is_whole(file.target)}
    skipped = {job: None for job in jobs if whole.issuperset(job.files)}
    remaining = _settle_extra_outputs([job for job in jobs if job not in skipped], request)
    require_folders_writable(remaining, request)
    return Plan(with_headers(remaining), tuple(skipped), failures)


def _settle_extra_outputs(jobs: list[Job], request: Request) -> list[Job]:
    """Check the extra outputs of jobs, and drop those that exist and are kept. Raises UsageError."""
    named = [(file, path) for job in jobs for file in job.files for path in file.extra_outputs]
    if not named:
        return jobs
    refuse_collisions(named)
    refuse_outputs_that_are_inputs(jobs, named)
    refuse_existing([path for _, path in named if os.path.lexists(path)], request)
    return [without_kept(job) for job in jobs] if request.skip_existing else jobs


def plan_replacing(
    found: Iterable[Found],
    destination: Destination,
    is_done: Callable[[Job], bool],
    refusal: Callable[[Job], Failure | None],
) -> Plan:
    """Plan files whose outputs are replaced unless done; a refused file fails alone."""
    jobs, failures = _jobs(found, destination)
    remaining = []
    for job in jobs:
        if (failure := refusal(job)) is not None:
            failures.append(failure)
        elif not is_done(job):
            remaining.append(job)
    return Plan(with_headers(remaining), failures=tuple(failures))


def with_headers(jobs: Iterable[Job]) -> tuple[Job, ...]:
    """Add headers to jobs, for sharing the machine. A file with a bad header fails later, when it is read."""
    known = []
    for job in jobs:
        try:
            known.append(job if job.header is not None else replace(job, header=header_of(job.source)))
        except TvdenoiseError:
            known.append(job)
    return tuple(known)


def _jobs(
    found: Iterable[Found | FoundSlices],
    destination: Destination,
    residual: Callable[[Found], Path | None] = lambda _: None,
) -> tuple[list[Job], list[Failure]]:
    """One job for each pair of input and output (duplicates count once), and failures to name an output.

    residual: returns the name of an input's residual image.
    """
    jobs: dict[tuple[str, str], Job] = {}
    failures = []
    real = RealPaths()

    def job_of(entry: Found) -> Job:
        target, removed = destination.target(entry), residual(entry)
        error = naming_error(target) or (naming_error(removed) if removed is not None else None)
        if error is not None:
            raise error
        return Job(entry.source, target, place=real.of(target), residual=removed)

    for entry in found:
        source = entry.source if isinstance(entry, Found) else entry.folder
        try:
            if isinstance(entry, Found):
                job = job_of(entry)
            else:
                slices = tuple(map(job_of, entry.slices))
                target = slices[0].target.parent
                job = Job(source, target, place=real.of(target), header=entry.header, slices=slices)
        except UnwritableImageError as error:
            failures.append(Failure(source, error))
            continue
        jobs.setdefault((real.of(source), job.place), job)
    return list(jobs.values()), failures


_STREAM = Path(STANDARD_STREAM)
_HELD_IN_MEMORY, _BLOCK = 1 << 28, 1 << 20  # bytes
_STANDARD_INPUT, _STANDARD_OUTPUT = 0, 1  # descriptors


@dataclass(frozen=True)
class Streams:
    """The standard streams of a run; None where a file is used instead.

    form: the format of the output, or None for the input's.
    """

    source: BinaryIO | None = None
    target: BinaryIO | None = None
    form: Format | None = None

    @property
    def are_unused(self) -> bool:
        return self.source is None and self.target is None

    def contents(self) -> BinaryIO:
        """Read the whole source into a temporary file, which the caller closes."""
        assert self.source is not None
        held = SpooledTemporaryFile(_HELD_IN_MEMORY)  # noqa: SIM115  # the caller's
        shutil.copyfileobj(self.source, held, _BLOCK)
        held.seek(0)
        return cast(BinaryIO, held)

    def put(self, contents: BinaryIO) -> None:
        """Write to the target. Ignores a closed pipe, whose reader is done; raises UnwritableImageError otherwise."""
        assert self.target is not None
        contents.seek(0)
        try:
            shutil.copyfileobj(contents, self.target, _BLOCK)
            self.target.flush()
        except BrokenPipeError:
            # Otherwise Python complains on exit, when it flushes the closed pipe.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.target.fileno())
        except OSError as error:
            raise UnwritableImageError(f"cannot write standard output: {reason_of(error)}") from error


def is_terminal(stream: BinaryIO) -> bool:
    """Return True if the bytes would appear on a screen."""
    return stream.isatty()


def streams_of(request: Request) -> Streams:
    """The standard streams that a request uses; the others may be closed. Raises UsageError."""
    form = None
    if request.format is not None:
        if not request.writes_standard_output:
            raise UsageError(
                "--format applies to standard output", "choose the format by the output's extension"
            )
        form = format_named(request.format)
        if form is None or not form.kinds:
            known = ", ".join(form.name for form in FORMATS if form.kinds)
            raise UsageError(f"--format {printable(request.format)} is not known", f"choose one of {known}")
    source = target = None
    if request.reads_standard_input:
        source = _binary(sys.stdin, sys.__stdin__, "standard input")
    if request.writes_standard_output:
        target = _binary(sys.stdout, sys.__stdout__, "standard output")
    if target is not None and is_terminal(target):
        raise UsageError(
            "the image would be written to the terminal", "redirect the output, or name it with -o"
        )
    return Streams(source, target, form)


def _binary(stream: TextIO | None, original: TextIO | None, name: str) -> BinaryIO:
    """The binary stream. Raises UsageError if the process started with the stream closed (original is None)."""
    if stream is None or original is None:
        raise UsageError(f"{name} is closed", "name files instead of -")
    return stream.buffer


def plan_with_streams(request: Request) -> Plan:
    """Plan the single job of a request that uses a standard stream. Raises UsageError."""
    if request.writes_standard_output:
        if len(request.inputs) > 1 or os.path.isdir(request.inputs[0]):
            raise UsageError("standard output takes one image", "name one input file, or a folder with -o")
        if request.reads_standard_input:
            _refuse_one_file(_STANDARD_INPUT, _STANDARD_OUTPUT, _STREAM)
            return Plan((Job(_STREAM, _STREAM),))
        [entry] = Discovery(recursive=False, suffix="", left_out=None).find(request.inputs)
        if isinstance(entry, Failure):
            return Plan((), failures=(entry,))
        _refuse_one_file(entry.source, _STANDARD_OUTPUT, entry.source)
        return Plan((Job(entry.source, _STREAM),))
    destination = destination_of(request)
    if not isinstance(destination, SingleFile):
        raise UsageError(
            "standard input has no name to derive an output name from",
            "name a file with -o, such as -o x.png",
        )
    _refuse_one_file(_STANDARD_INPUT, destination.path, _STREAM)
    return settle([Job(_STREAM, destination.path)], request)


def _refuse_one_file(source: Path | int, target: Path | int, shown: Path) -> None:
    """Raise UsageError if source and target, paths or descriptors, are the same regular file."""
    identity = identity_of(source)
    if identity is not None and identity == identity_of(target) and stat.S_ISREG(os.stat(source).st_mode):
        remedy = "choose another name with -o" if isinstance(target, Path) else "redirect to another file"
        raise UsageError(f"{printable(shown)}: the output would replace the input", remedy)
