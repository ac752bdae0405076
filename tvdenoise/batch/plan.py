"""The plan of a run: every output's name, and every refusal, before the first pixel is read."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

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
    """

    source: Path
    target: Path
    in_place: bool = False
    once: bool = False
    place: str = ""
    header: Header | None = None

    @property
    def values(self) -> int:
        """How many there are to denoise; 0 where that is not known."""
        return self.header.values if self.header is not None else 0

    @property
    def memory(self) -> int:
        """Bytes that it takes to do."""
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
    left_out = Path(os.path.realpath(destination.path)) if isinstance(destination, Folder) else None
    discovery = Discovery(request.recursive, request.suffix or DEFAULT_SUFFIX, left_out, request.patterns)
    found = list(discovery.find(request.inputs))
    failures = [entry for entry in found if isinstance(entry, Failure)]
    if not found:
        raise nothing_found(request.inputs, request.patterns, recursive=request.recursive)
    jobs, unnameable = _jobs((entry for entry in found if isinstance(entry, Found)), destination)
    if request.in_place:
        if request.report is None or not has_ledger:
            remedy = "add --report FILE to keep the record there" if has_ledger else _NO_LEDGER
            _require_places_for_records(jobs, remedy, strips_metadata=strips_metadata)
        _require_writable(jobs, request)
        replacing = (replace(job, in_place=True, once=not request.again) for job in jobs)
        return Plan(with_headers(replacing), failures=(*failures, *unnameable))
    return settle(jobs, request, (*failures, *unnameable))


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
    _refuse_collisions(jobs)
    _refuse_outputs_that_are_inputs(jobs)
    existing = [job for job in jobs if os.path.lexists(job.target)]
    _refuse_existing(existing, request)
    skipped = {job: None for job in existing if request.skip_existing and is_whole(job.target)}
    remaining = [job for job in jobs if job not in skipped]
    _require_writable(remaining, request)
    return Plan(with_headers(remaining), tuple(skipped), failures)


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


def _jobs(found: Iterable[Found], destination: Destination) -> tuple[list[Job], list[Failure]]:
    """One job for each pair of names (an input that is given twice is done once), and what has no name."""
    jobs: dict[tuple[str, str], Job] = {}
    failures = []
    real = RealPaths()
    for entry in found:
        target = destination.target(entry)
        try:
            os.lstat(target)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                reason = f"cannot write {printable(target)}: {reason_of(error)}"
                remedy = "choose a shorter name with -o or --suffix"
                failures.append(Failure(entry.source, UnwritableImageError(reason, remedy)))
                continue
        place = real.of(target)
        jobs.setdefault((real.of(entry.source), place), Job(entry.source, target, place=place))
    return list(jobs.values()), failures


def _refuse_collisions(jobs: list[Job]) -> None:
    """Two inputs must not have one output, nor names that are one where upper and lower case are the same."""
    owners: dict[str, Job] = {}
    for job in jobs:
        other = owners.setdefault((job.place or os.path.realpath(job.target)).casefold(), job)
        if other is not job:
            raise UsageError(
                f"{printable(other.source)} and {printable(job.source)} would both become "
                f"{printable(job.target)}",
                "give them different names, or run them separately",
            )


def _refuse_outputs_that_are_inputs(jobs: list[Job]) -> None:
    sources = {identity_of(job.source): job.source for job in jobs}
    for job in jobs:
        source = sources.get(identity) if (identity := identity_of(job.target)) else None
        if source is None:
            continue
        if source == job.source:
            reason = f"{printable(job.source)}: the output would be the input"
            raise UsageError(reason, "choose another name with -o or --suffix")
        reason = f"{printable(job.target)} is an input and would be the output of {printable(job.source)}"
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


def _refuse_existing(existing: list[Job], request: Request) -> None:
    for job in existing:
        if os.path.exists(job.target) and not os.path.isfile(job.target):
            reason = f"{printable(job.target)} exists and is not a file"
            raise UsageError(reason, "choose another name with -o")
    if existing and not (request.overwrite or request.skip_existing):
        others = f" (and {len(existing) - 1} more)" if len(existing) > 1 else ""
        reason = f"the output {printable(existing[0].target)} exists already{others}"
        raise UsageError(reason, "add --overwrite to replace or --skip-existing to keep it")


def _require_writable(jobs: list[Job], request: Request) -> None:
    """Probe every output folder, and clear it of what dead runs left there, unless nothing is to be changed."""
    for folder in dict.fromkeys(job.folder for job in jobs):
        try:
            require_writable(folder, keeps_times=request.dry_run)
        except UnwritableImageError as error:
            raise UsageError(error.reason, error.remedy) from error
        if not request.dry_run:
            sweep(folder)
