"""The report of a run: one machine-readable line per file, written as soon as its outcome is known; and its summary."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import Any

import numpy as np

from tvdenoise.batch.outcome import FileStatus, Outcome, SharedParameters
from tvdenoise.batch.outputs import identity_of
from tvdenoise.batch.plan import Plan
from tvdenoise.batch.report_format import (
    Entry,
    JsonLines,
    ReportFormat,
    announcement_of,
    entry_of,
    entry_of_shared,
    layout_for,
    layout_of,
    shared_in,
)
from tvdenoise.batch.request import Request
from tvdenoise.errors import TvdenoiseError, UsageError
from tvdenoise.files.paths import RealPaths, key_of, printable, reason_of


def check_report(request: Request, plan: Plan) -> None:
    """Raise UsageError if the requested report cannot be written; changes nothing.

    A report must not be an input or output under any name, must not replace a file unless allowed to, and continues
    only a report of the same layout.
    """
    if request.report is None:
        return
    name = printable(request.report)
    if os.path.lexists(request.report):
        if not os.path.isfile(request.report):
            raise UsageError(f"the report {name} exists and is not a file", "choose another name")
        if not (request.overwrite or request.skip_existing):
            replacing = "" if request.in_place else "--overwrite to replace or "
            remedy = f"add {replacing}--skip-existing to extend it"
            raise UsageError(f"the report {name} already exists", remedy)
    _refuse_taken(request, plan, name)
    try:
        _require_openable(Path(request.report))
        whole_length(Path(request.report), layout_for(request.report), request)
    except OSError as error:
        remedy = (
            "create its folder first" if isinstance(error, FileNotFoundError) else "choose another location"
        )
        raise UsageError(f"cannot write {name}: {reason_of(error)}", remedy) from error


def _require_openable(path: Path) -> None:
    """Raise OSError if the file could not be written or created."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND))
    except FileNotFoundError:
        folder = Path(os.path.realpath(path)).parent
        folder.stat()
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES)) from None


def whole_length(path: Path, layout: ReportFormat, request: Request) -> int:
    """The number of bytes of a report to keep, excluding a last line cut off by a kill. Raises UsageError."""
    if not (request.skip_existing and path.exists()):
        return 0
    try:
        return layout.whole(path.read_bytes())
    except ValueError as error:
        kind = "CSV" if layout.header else "JSON lines"
        reason = f"{printable(path)} is not a report in {kind} and cannot be extended"
        raise UsageError(reason, "choose another name for --report") from error


def _refuse_taken(request: Request, plan: Plan, name: str) -> None:
    """Raise UsageError for a report that is, or would be, an input, an output, or a folder of an output."""
    assert request.report is not None
    real = RealPaths()
    jobs = plan.jobs + plan.skipped
    paths = [path for job in jobs for path in (*(file.source for file in job.files), *job.outputs)]
    paths += [failure.source for failure in plan.failures]
    places = {real.of(path) for path in paths}
    for folder in {os.path.dirname(real.of(path)) for job in jobs for path in job.outputs}:
        places.update(map(real.of, map(str, (folder, *Path(folder).parents))))
    identities = {identity_of(path) for path in paths}
    if request.reads_standard_input:
        identities.add(identity_of(0))
    if request.writes_standard_output:
        identities.add(identity_of(1))
    identity = identity_of(Path(request.report))
    # `key_of` also covers file systems that treat different names as equal.
    is_place = key_of(real.of(request.report)) in set(map(key_of, places))
    if is_place or (identity is not None and identity in identities):
        raise UsageError(f"the report {name} is an input or an output", "rename it")


class Report:
    """An open report, safe to share between threads; without a file descriptor it discards everything.

    A write error ends the report, not the run, and is raised on exit.
    replaced: digests of the files that earlier runs of this report put in the place of inputs.
    """

    def __init__(
        self,
        descriptor: int | None = None,
        name: str = "",
        replaced: frozenset[str] = frozenset(),
        layout: ReportFormat | None = None,
    ) -> None:
        self._descriptor = descriptor
        self._name = name
        self.replaced = replaced
        self._layout = layout or JsonLines()
        self._lock = RLock()
        self._error: OSError | None = None

    def __enter__(self) -> Report:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Raise TvdenoiseError if the report is incomplete, unless another exception is under way."""
        self._close()
        if self._error is not None and error is None:
            reason = f"the report {self._name} is incomplete: {reason_of(self._error)}"
            raise TvdenoiseError(reason, "the images are not affected") from self._error

    def add(self, outcome: Outcome) -> None:
        with self._lock:
            if self._descriptor is None:
                return
            try:
                self._append(entry_of(outcome))
            except OSError as error:
                self._error = error
                self._close()

    def keep(self, shared: Iterable[SharedParameters]) -> None:
        """Record shared parameters. Raises TvdenoiseError if that fails, as later runs would lack them."""
        try:
            with self._lock:
                for parameters in shared if self._descriptor is not None else ():
                    self._append(entry_of_shared(parameters))
        except OSError as error:
            reason = f"cannot record the parameters in the report {self._name}: {reason_of(error)}"
            raise TvdenoiseError(reason, "nothing was done") from error

    def announce(self, target: str, digest: str) -> None:
        """Record, durably on disk, the digest of the file about to replace a target. Raises TvdenoiseError.

        A run that continues this report then recognises the file, whenever this run is interrupted.
        """
        try:
            with self._lock:
                if self._descriptor is None:
                    raise self._error or OSError("it is closed")
                self._append(announcement_of(target, digest))
                os.fsync(self._descriptor)
        except OSError as error:
            reason = f"cannot record it in the report {self._name}: {reason_of(error)}"
            raise TvdenoiseError(reason, "it is left unchanged") from error

    def _append(self, entry: Entry) -> None:
        """Write a whole line or nothing."""
        assert self._descriptor is not None
        line = self._layout.line(entry)
        length = os.fstat(self._descriptor).st_size
        try:
            _write_all(self._descriptor, line)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._descriptor, length)
            raise

    def _close(self) -> None:
        with self._lock:
            descriptor, self._descriptor = self._descriptor, None
            if descriptor is None:
                return
            try:
                os.close(descriptor)
            except OSError as error:  # some file systems report a full disk only on closing
                self._error = self._error or error


def open_report(request: Request, plan: Plan) -> Report:
    """Open the requested report. Raises UsageError, before any other file is changed."""
    if request.report is None:
        return Report()
    name, layout = printable(request.report), layout_for(request.report)
    check_report(request, plan)
    try:
        replaced = replaced_before(request)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
        descriptor = os.open(request.report, flags, 0o666)
        _begin(descriptor, layout, whole=whole_length(Path(request.report), layout, request))
    except OSError as error:
        raise UsageError(f"cannot write {name}: {reason_of(error)}") from error
    return Report(descriptor, name, replaced, layout)


def shared_before(request: Request) -> tuple[SharedParameters, ...]:
    """The shared parameters recorded by the run that this one continues. Raises UsageError."""
    if request.report is None or not request.skip_existing:
        return ()
    found: dict[int, SharedParameters] = {}
    try:
        contents = Path(request.report).read_bytes()
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise UsageError(f"cannot read {printable(request.report)}: {reason_of(error)}") from error
    for _, entry in (layout_of(contents) or JsonLines()).entries(contents):
        if entry is not None and (shared := shared_in(entry)) is not None:
            found[shared.channels] = shared
    return tuple(found.values())


def _begin(descriptor: int, layout: ReportFormat, *, whole: int) -> None:
    """Truncate an open report to whole lines, or start it with its header. Raises OSError."""
    os.ftruncate(descriptor, whole)
    if whole == 0:
        _write_all(descriptor, layout.header)
        return
    os.lseek(descriptor, whole - 1, os.SEEK_SET)
    if os.read(descriptor, 1) != b"\n":
        _write_all(descriptor, b"\n")


def _write_all(descriptor: int, contents: bytes) -> None:
    while contents:
        contents = contents[os.write(descriptor, contents) :]


def replaced_before(request: Request) -> frozenset[str]:
    """The digests of files written by earlier in-place runs, from the report. Raises OSError."""
    if request.report is None or not request.in_place:
        return frozenset()
    digests = set()
    with suppress(FileNotFoundError):
        contents = Path(request.report).read_bytes()
        layout = layout_of(contents) or JsonLines()
        for _, entry in layout.entries(contents):
            if entry is not None and isinstance(digest := entry.get("sha256"), str):
                digests.add(digest)
    return frozenset(digests)


QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
MEASURES = ("sigma", "mu", "epsilon", "iterations", "distance_bound", "seconds")
_BINS = 8
_SLOWEST = 10


@dataclass(frozen=True)
class ReportContents:
    """The entries of a report, and the line numbers of damaged ones."""

    entries: tuple[Entry, ...]
    damaged: tuple[int, ...]


def read_report(path: str) -> ReportContents:
    """Read a report; an empty file has no entries. Raises TvdenoiseError if it is unreadable or no report."""
    try:
        contents = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        reason = reason_of(error) if isinstance(error, OSError) else "not a valid file name"
        raise TvdenoiseError(reason) from error
    layout = layout_of(contents)
    if layout is None:
        if not contents:
            return ReportContents((), ())
        raise TvdenoiseError("not a report", "name a file written by tvdenoise run --report")
    numbered = list(layout.entries(contents))
    return ReportContents(
        tuple(entry for _, entry in numbered if entry is not None),
        tuple(number for number, entry in numbered if entry is None),
    )


def last_of_each(entries: Iterable[Entry]) -> list[Entry]:
    """The last entry of each source, ignoring a skip after it was done."""
    last: dict[str, Entry] = {}
    for entry in entries:
        if entry["status"] not in set(FileStatus):
            continue
        source = entry["source"]
        was_done = source in last and last[source]["status"] == FileStatus.DONE
        if not (was_done and entry["status"] == FileStatus.SKIPPED):
            last[source] = entry
    return list(last.values())


@dataclass(frozen=True)
class Histogram:
    """The count of values between adjacent edges; the last bin includes its upper edge."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class ReportSummary:
    """The outcomes of all files; intensities are fractions of the data range.

    quantiles: of each of ``MEASURES`` over the files done, at ``QUANTILES``; None if no file has a value.
    noise: number of files of each kind of noise; sigma: histogram of noise levels, or None.
    slowest: sources and seconds, slowest first; failed, not_converged: sources and reasons.
    seconds: summed over files, which may have run in parallel.
    """

    done: int
    skipped: int
    seconds: float
    quantiles: dict[str, tuple[float, ...] | None]
    noise: dict[str, int]
    sigma: Histogram | None
    slowest: tuple[tuple[str, float], ...]
    failed: tuple[tuple[str, str], ...]
    not_converged: tuple[tuple[str, str], ...]

    def as_dict(self) -> dict[str, Any]:
        """Convert to a dictionary for JSON: counts first, then quantiles and files with their reasons."""
        return {
            "done": self.done,
            "not_converged": len(self.not_converged),
            "failed": len(self.failed),
            "skipped": self.skipped,
            "seconds": self.seconds,
            "quantiles": {
                name: values and {f"{part:g}": value for part, value in zip(QUANTILES, values, strict=True)}
                for name, values in self.quantiles.items()
            },
            "noise": self.noise,
            "sigma": self.sigma and asdict(self.sigma),
            "slowest": [{"source": source, "seconds": seconds} for source, seconds in self.slowest],
            "files_not_converged": [{"source": source, "reason": why} for source, why in self.not_converged],
            "files_failed": [{"source": source, "reason": why} for source, why in self.failed],
        }


def summary_of_report(entries: Iterable[Entry]) -> ReportSummary:
    """Summarise the entries of one report, or of several in sequence."""
    files = last_of_each(entries)
    done = [entry for entry in files if entry["status"] == FileStatus.DONE]
    failed = _reasons(entry for entry in files if entry["status"] == FileStatus.FAILED)
    short = _reasons(entry for entry in done if entry.get("converged") is False)
    kinds = [str(entry["noise"]) for entry in done if entry.get("noise")]
    timed = [(entry["source"], float(entry["seconds"])) for entry in files if entry.get("seconds")]
    return ReportSummary(
        done=len(done),
        skipped=len(files) - len(done) - len(failed),
        seconds=sum(seconds for _, seconds in timed),
        quantiles={name: _quantiles(_values(done, name)) for name in MEASURES},
        noise={kind: kinds.count(kind) for kind in sorted(set(kinds))},
        sigma=_histogram(_values(done, "sigma")),
        slowest=tuple(sorted(timed, key=lambda pair: -pair[1])[:_SLOWEST]),
        failed=failed,
        not_converged=short,
    )


def _reasons(entries: Iterable[Entry]) -> tuple[tuple[str, str], ...]:
    return tuple((entry["source"], str(entry.get("reason") or "")) for entry in entries)


def _values(entries: Iterable[Entry], name: str) -> list[float]:
    return [float(entry[name]) for entry in entries if entry.get(name) is not None]


def _quantiles(values: Sequence[float]) -> tuple[float, ...] | None:
    return tuple(np.quantile(values, QUANTILES).tolist()) if values else None


def _histogram(values: Sequence[float]) -> Histogram | None:
    if not values or min(values) == max(values):  # a single bin adds nothing to the quantiles
        return None
    counts, edges = np.histogram(values, _BINS)
    return Histogram(tuple(edges.tolist()), tuple(counts.tolist()))
