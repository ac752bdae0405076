"""The report of a run for other programs: one line of JSON for each file, written as soon as it is known."""

from __future__ import annotations

import json
import math
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from tvdenoise.batch.outcome import Outcome
from tvdenoise.batch.plan import Plan, identity_of
from tvdenoise.batch.request import Request
from tvdenoise.errors import TvdenoiseError, UsageError
from tvdenoise.files.paths import RealPaths, printable, reason_of

_FIGURES = ("mu", "epsilon", "sigma", "noise", "correlation", "growth", "iterations", "distance_bound")


class Report:
    """An open report; without a descriptor of a file, one that keeps nothing.

    An error of writing ends the report, not the run: it is raised at the end.
    """

    def __init__(
        self, descriptor: int | None = None, name: str = "", replaced: frozenset[str] = frozenset()
    ) -> None:
        self._descriptor = descriptor
        self._name = name
        self._replaced = replaced
        self._error: OSError | None = None

    def __enter__(self) -> Report:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Raises TvdenoiseError where the report is not whole, unless something else is raised already."""
        self._close()
        if self._error is not None and error is None:
            reason = f"the report {self._name} is incomplete: {reason_of(self._error)}"
            raise TvdenoiseError(reason, "the images are not affected") from self._error

    def add(self, outcome: Outcome) -> None:
        if self._descriptor is None:
            return
        try:
            self._append((json.dumps(_entry(outcome), allow_nan=False) + "\n").encode())
        except OSError as error:
            self._error = error
            self._close()

    @property
    def replaced(self) -> frozenset[str]:
        """The digests of what earlier runs, which this report continues, have put in the place of inputs."""
        return self._replaced

    def announce(self, target: str, digest: str) -> None:
        """Record what is about to replace a file, safely on the disk. Raises TvdenoiseError.

        So a run that continues this report knows the file again, whenever this one was interrupted.
        """
        entry = {"target": target, "status": "replacing", "sha256": digest}
        try:
            if self._descriptor is None:
                raise self._error or OSError("it is closed")
            self._append((json.dumps(entry) + "\n").encode())
            os.fsync(self._descriptor)
        except OSError as error:
            reason = f"it cannot be recorded in the report {self._name}: {reason_of(error)}"
            raise TvdenoiseError(reason, "it is left as it was") from error

    def _append(self, line: bytes) -> None:
        """Write a line whole, or nothing of it."""
        assert self._descriptor is not None
        length = os.fstat(self._descriptor).st_size
        try:
            while line:
                line = line[os.write(self._descriptor, line) :]
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._descriptor, length)
            raise

    def _close(self) -> None:
        if self._descriptor is None:
            return
        try:
            os.close(self._descriptor)
        except OSError as error:  # some file systems tell only then that there was no space
            self._error = self._error or error
        self._descriptor = None


def open_report(request: Request, plan: Plan) -> Report:
    """The report that was asked for. Raises UsageError; no other file has been touched then.

    It must not replace an input or an output by any of their names, nor a file without a word about it.
    """
    if request.report is None:
        return Report()
    name = printable(request.report)
    if os.path.lexists(request.report):
        if not os.path.isfile(request.report):
            raise UsageError(f"the report {name} exists and is not a file", "choose another name")
        if not (request.overwrite or request.skip_existing):
            replacing = "" if request.in_place else "--overwrite to replace or "
            remedy = f"add {replacing}--skip-existing to extend it"
            raise UsageError(f"the report {name} exists already", remedy)
    _refuse_taken(request, plan, name)
    try:
        replaced = _replaced_before(Path(request.report)) if request.in_place else frozenset()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
        descriptor = os.open(request.report, flags, 0o666)
    except OSError as error:
        raise UsageError(f"cannot write {name}: {reason_of(error)}") from error
    if not request.skip_existing:
        os.ftruncate(descriptor, 0)
    elif not _ends_a_line(Path(request.report)):  # a run was killed while it wrote
        os.write(descriptor, b"\n")
    return Report(descriptor, name, replaced)


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as stream:
        if stream.seek(0, os.SEEK_END) == 0:
            return True
        stream.seek(-1, os.SEEK_END)
        return stream.read() == b"\n"


def _replaced_before(path: Path) -> frozenset[str]:
    """The digests of what earlier runs in place have written; lines that are no such record say nothing."""
    digests = set()
    with suppress(FileNotFoundError):
        for line in path.read_bytes().splitlines():
            with suppress(ValueError, TypeError, KeyError):
                digests.add(str(json.loads(line)["sha256"]))
    return frozenset(digests)


def _refuse_taken(request: Request, plan: Plan, name: str) -> None:
    """Raise UsageError for a report that is, or would be, an input, an output, or the folder of one."""
    assert request.report is not None
    real = RealPaths()
    jobs = plan.jobs + plan.skipped
    paths = [path for job in jobs for path in (job.source, job.target)]
    paths += [failure.source for failure in plan.failures]
    places = {real.of(path) for path in paths}
    for folder in {os.path.dirname(real.of(job.target)) for job in jobs}:
        places.update(map(real.of, map(str, (folder, *Path(folder).parents))))
    identities = {identity_of(path) for path in paths}
    if request.reads_standard_input:
        identities.add(identity_of(0))
    if request.writes_standard_output:
        identities.add(identity_of(1))
    identity = identity_of(Path(request.report))
    # Without regard to case: names may be one where upper and lower case are the same.
    is_place = real.of(request.report).casefold() in {place.casefold() for place in places}
    if is_place or (identity is not None and identity in identities):
        raise UsageError(f"the report {name} is an input or an output", "rename it")


def _entry(outcome: Outcome) -> dict[str, Any]:
    values = {name: getattr(outcome.figures, name, None) for name in _FIGURES}
    finite = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }
    return {
        "source": outcome.source,
        "target": outcome.target,
        "status": outcome.fate.value,
        "reason": outcome.reason,
        **finite,
        "seconds": round(outcome.seconds, 6),
    }
