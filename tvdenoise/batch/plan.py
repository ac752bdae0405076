"""The plan of a run: every output's name, and every refusal, before the first pixel is read."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from tvdenoise.batch.companions import require_possible, residual_of, with_trace, without_kept
from tvdenoise.batch.destinations import Destination, Folder, destination_of
from tvdenoise.batch.discovery import Discovery, Failure, Found, nothing_found
from tvdenoise.batch.placing import has_place_for_record
from tvdenoise.batch.request import DEFAULT_SUFFIX, Request
from tvdenoise.errors import TvdenoiseError, UnwritableImageError, UsageError
from tvdenoise.files.atomic import require_writable, sweep
from tvdenoise.files.families import format_in_place
from tvdenoise.files.headers import Header, header_of
from tvdenoise.files.paths import RealPaths, printable, reason_of
from tvdenoise.files.reading import codec_of, is_whole

_NO_LEDGER = "do these files without --cluster, and with --report FILE to keep the record there"


@dataclass(frozen=True)
class Job:
    """One file to denoise.

    in_place: the target is the source; once: it is left alone where an earlier run in place has denoised it.
    place: where the target's name leads, links followed; header: what the source's header says, or None where it
    was not read or says nothing.
    residual, trace: what else is to be written (see `companions`), or None.
    needed: bytes of memory, where that is not what one of its pictures takes.
    """

    source: Path
    target: Path
    in_place: bool = False
    once: bool = False
    place: str = ""
    header: Header | None = None
    residual: Path | None = None
    trace: Path | None = None
    needed: int | None = None

    @property
    def companions(self) -> tuple[Path, ...]:
        """What is written beside the target."""
        return tuple(path for path in (self.residual, self.trace) if path is not None)

    @property
    def folders(self) -> tuple[Path, ...]:
        """Where all that is written, and before it temporaries, lies."""
        return (self.folder, *(Path(os.path.realpath(path)).parent for path in self.companions))

    @property
    def values(self) -> int:
        """How many there are to denoise; 0 where that is not known."""
        return self.header.values if self.header is not None else 0

    @property
    def memory(self) -> int:
        """Bytes that it takes to do."""
        if self.needed is not None:
            return self.needed
        return self.header.bytes_needed if self.header is not None else 0

    @property
    def folder(self) -> Path:
        """Where the output, and before it its temporary, lies."""
        return Path(self.place or os.path.realpath(self.target)).parent


@dataclass(frozen=True)
class Plan:
    """jobs: to do; skipped: done by an earlier run; failures: inputs that cannot be read."""

    jobs: tuple[Job, ...]
    skipped: tuple[Job, ...] = ()
    failures: tuple[Failure, ...] = ()

    @property
    def count(self) -> int:
        return len(self.jobs) + len(self.skipped) + len(self.failures)


def make_plan(request: Request, *, strips_metadata: bool = False, has_ledger: bool = True) -> Plan:
    """Raises UsageError and NothingToDoError; nothing has been changed then.

    has_ledger: a report, if there is one, can tell a later run in place what has been replaced.
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
    jobs, unnameable = _jobs(entries, destination, lambda entry: residual_of(entry.place, request))
    failures += unnameable
    jobs = with_trace(jobs, request, len(jobs) + len(failures))
    if request.in_place:
        if request.report is None or not has_ledger:
            remedy = "add --report FILE to keep the record there" if has_ledger else _NO_LEDGER
            _require_places_for_records(jobs, remedy, strips_metadata=strips_metadata)
        jobs = _settle_companions(jobs, request)
        _require_writable(jobs, request)
        replacing = (replace(job, in_place=True, once=not request.again) for job in jobs)
        return Plan(with_headers(replacing), failures=tuple(failures))
    return settle(jobs, request, tuple(failures))


def _require_places_for_records(jobs: list[Job], remedy: str, *, strips_metadata: bool) -> None:
    """Refuse files of which a second run could not know that they are denoised already."""
    for job in jobs:
        form = format_in_place(job.target, codec) if (codec := codec_of(job.source)) else None
        if form is None or not form.kinds or has_place_for_record(form, strips_metadata=strips_metadata):
            continue
        cause = "--strip-metadata leaves" if strips_metadata else f"{form.name} has"
        raise UsageError(
            f"{printable(job.source)}: {cause} no place to record that it is denoised, "
            "and run again, --in-place would denoise it twice",
            remedy,
        )


def settle(jobs: list[Job], request: Request, failures: tuple[Failure, ...] = ()) -> Plan:
    """The plan of some jobs, once none of their outputs does harm. Raises UsageError."""
    _refuse_collisions((job, path) for job in jobs for path in (job.target, *job.companions))
    _refuse_outputs_that_are_inputs(jobs, [(job, job.target) for job in jobs])
    existing = [job for job in jobs if os.path.lexists(job.target)]
    _refuse_existing([job.target for job in existing], request)
    skipped = {job: None for job in existing if request.skip_existing and is_whole(job.target)}
    remaining = _settle_companions([job for job in jobs if job not in skipped], request)
    _require_writable(remaining, request)
    return Plan(with_headers(remaining), tuple(skipped), failures)


def _settle_companions(jobs: list[Job], request: Request) -> list[Job]:
    """The jobs with what is still to be written beside their targets, once that does no harm. Raises UsageError."""
    named = [(job, path) for job in jobs for path in job.companions]
    if not named:
        return jobs
    _refuse_collisions(named)
    _refuse_outputs_that_are_inputs(jobs, named)
    _refuse_existing([path for _, path in named if os.path.lexists(path)], request)
    return [without_kept(job) for job in jobs] if request.skip_existing else jobs


def plan_replacing(
    found: Iterable[Found],
    destination: Destination,
    is_done: Callable[[Job], bool],
    refusal: Callable[[Job], Failure | None],
) -> Plan:
    """The plan of files whose outputs are replaced unless they are done; a refusal is a failure of that file alone."""
    jobs, failures = _jobs(found, destination)
    remaining = []
    for job in jobs:
        if (failure := refusal(job)) is not None:
            failures.append(failure)
        elif not is_done(job):
            remaining.append(job)
    return Plan(with_headers(remaining), failures=tuple(failures))


def with_headers(jobs: Iterable[Job]) -> tuple[Job, ...]:
    """The jobs with what sharing the machine among them takes. What is wrong with a file is told when it is read."""
    known = []
    for job in jobs:
        try:
            known.append(job if job.header is not None else replace(job, header=header_of(job.source)))
        except TvdenoiseError:
            known.append(job)
    return tuple(known)


def _jobs(
    found: Iterable[Found],
    destination: Destination,
    residual: Callable[[Found], Path | None] = lambda _: None,
) -> tuple[list[Job], list[Failure]]:
    """One job for each pair of names (an input that is given twice is done once), and what has no name.

    residual: names what shows what was removed from an input.
    """
    jobs: dict[tuple[str, str], Job] = {}
    failures = []
    real = RealPaths()
    for entry in found:
        target, removed = destination.target(entry), residual(entry)
        error = _naming_error(target) or (_naming_error(removed) if removed is not None else None)
        if error is not None:
            failures.append(Failure(entry.source, error))
            continue
        place = real.of(target)
        job = Job(entry.source, target, place=place, residual=removed)
        jobs.setdefault((real.of(entry.source), place), job)
    return list(jobs.values()), failures


def _naming_error(path: Path) -> UnwritableImageError | None:
    """Why no file can have a name, where its length is to blame."""
    try:
        os.lstat(path)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            reason = f"cannot write {printable(path)}: {reason_of(error)}"
            return UnwritableImageError(reason, "choose a shorter name with -o or --suffix")
    return None


def _refuse_collisions(outputs: Iterable[tuple[Job, Path]]) -> None:
    """Two outputs must not be one file, nor have names that are one where upper and lower case are the same."""
    owners: dict[str, tuple[Job, Path]] = {}
    real = RealPaths()
    for job, path in outputs:
        place = job.place if path is job.target and job.place else real.of(path)
        other, named = owners.setdefault(place.casefold(), (job, path))
        if named is not path and other is job:
            reason = f"two outputs of {printable(job.source)} would be {printable(path)}"
            raise UsageError(reason, "give them different names")
        if other is not job:
            raise UsageError(
                f"{printable(other.source)} and {printable(job.source)} would both become {printable(path)}",
                "give them different names, or run them separately",
            )


def _refuse_outputs_that_are_inputs(jobs: list[Job], outputs: list[tuple[Job, Path]]) -> None:
    sources = {identity_of(job.source): job.source for job in jobs}
    for job, path in outputs:
        source = sources.get(identity) if (identity := identity_of(path)) else None
        if source is None:
            continue
        if source == job.source:
            reason = f"{printable(job.source)}: the output would be the input"
            raise UsageError(reason, "choose another name with -o or --suffix")
        reason = f"{printable(path)} is an input and would be the output of {printable(job.source)}"
        raise UsageError(reason, "leave out earlier results, or write into a folder with -o")


def identity_of(path: Path | int) -> tuple[int, int] | None:
    """What tells files apart, whatever their names and links; None where there is no file.

    A number stands for an open file.
    """
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def _refuse_existing(existing: list[Path], request: Request) -> None:
    for path in existing:
        if os.path.exists(path) and not os.path.isfile(path):
            raise UsageError(f"{printable(path)} exists and is not a file", "choose another name")
    if existing and not (request.overwrite or request.skip_existing):
        others = f" (and {len(existing) - 1} more)" if len(existing) > 1 else ""
        reason = f"the output {printable(existing[0])} exists already{others}"
        replacing = "" if request.in_place else "--overwrite to replace or "
        raise UsageError(reason, f"add {replacing}--skip-existing to keep it")


def _require_writable(jobs: list[Job], request: Request) -> None:
    """Probe every output folder, and clear it of what dead runs left there, unless nothing is to be changed."""
    for folder in dict.fromkeys(folder for job in jobs for folder in job.folders):
        try:
            require_writable(folder, keeps_times=request.dry_run)
        except UnwritableImageError as error:
            raise UsageError(error.reason, error.remedy) from error
        if not request.dry_run:
            sweep(folder)
