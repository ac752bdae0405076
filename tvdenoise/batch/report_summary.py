"""Summarise reports: counts, quantiles, and the files that need attention."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tvdenoise.batch.outcome import FileStatus
from tvdenoise.batch.report_format import Entry, layout_of
from tvdenoise.errors import TvdenoiseError
from tvdenoise.files.paths import reason_of

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
MEASURES = ("sigma", "mu", "epsilon", "iterations", "distance_bound", "seconds")
_BINS = 8
_SLOWEST = 10


@dataclass(frozen=True)
class Contents:
    """The entries of a report, and the line numbers of damaged ones."""

    entries: tuple[Entry, ...]
    damaged: tuple[int, ...]


def read_report(path: str) -> Contents:
    """Read a report; an empty file has no entries. Raises TvdenoiseError if it is unreadable or no report."""
    try:
        contents = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        reason = reason_of(error) if isinstance(error, OSError) else "not a valid file name"
        raise TvdenoiseError(reason) from error
    layout = layout_of(contents)
    if layout is None:
        if not contents:
            return Contents((), ())
        raise TvdenoiseError("not a report", "name a file written by tvdenoise run --report")
    numbered = list(layout.entries(contents))
    return Contents(
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
