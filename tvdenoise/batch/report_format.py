"""The lines of a report, as JSON and as CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from tvdenoise.batch.outcome import FileStatus, Outcome, SharedParameters
from tvdenoise.options import SHAPING

_CHOSEN = ("mu", "epsilon", "level", "sigma", "noise", "correlation", "growth")
_FIGURES = (*_CHOSEN, "iterations", "distance_bound", "converged", "planes", "volumes", "spacing", "in_mask")
FIELDS = ("source", "target", "status", "reason", *_FIGURES, *SHAPING, "seconds", "notes")
REPLACING = "replacing"  # status of a line that announces a replacement
PARAMETERS = "parameters"  # status of a line with shared parameters
_WHOLE = ("iterations", "planes", "volumes", "in_mask")
_NUMBERS = (*_WHOLE, "mu", "epsilon", "level", "sigma", "correlation", "growth", "distance_bound", "seconds")
_COLUMNS = (*FIELDS, "sha256", "channels")  # of CSV

Entry = Mapping[str, Any]


def entry_of(outcome: Outcome) -> dict[str, Any]:
    """An outcome as a mapping of ``FIELDS``; non-finite numbers become None."""
    figures = {name: getattr(outcome.figures, name, None) for name in _FIGURES}
    if figures["level"] is not None:
        figures |= {"mu": None, "epsilon": None}
    return {
        "source": outcome.source,
        "target": outcome.target,
        "status": outcome.status.value,
        "reason": outcome.reason,
        **{name: value if _is_finite(value) else None for name, value in figures.items()},
        **{name: None if outcome.figures is None else outcome.figures.shape.get(name) for name in SHAPING},
        "seconds": round(outcome.seconds, 6),
        "notes": "; ".join(outcome.notes) or None,
    }


def announcement_of(target: str, digest: str) -> dict[str, Any]:
    """The entry that announces the replacement of a file by one with this SHA-256 digest."""
    return {"target": target, "status": REPLACING, "sha256": digest}


def entry_of_shared(shared: SharedParameters) -> dict[str, Any]:
    """The entry of shared parameters."""
    return {
        "status": PARAMETERS,
        "channels": shared.channels,
        "mu": shared.mu,
        "sigma": shared.sigma,
        "notes": "; ".join(shared.sources),
    }


def shared_in(entry: Entry) -> SharedParameters | None:
    """The shared parameters in an entry; None for other entries."""
    if entry.get("status") != PARAMETERS:
        return None
    with suppress(TypeError, ValueError, KeyError):
        mu, sigma = float(entry["mu"]), entry.get("sigma")
        if math.isfinite(mu) and mu > 0:
            sources = tuple(str(entry.get("notes") or "").split("; "))
            return SharedParameters(
                int(entry["channels"]), mu, None if sigma is None else float(sigma), sources
            )
    return None


def _is_finite(value: object) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


class ReportFormat(Protocol):
    """A format of reports."""

    header: bytes

    def line(self, entry: Entry) -> bytes:
        """Encode an entry with its final line break; there may be others inside."""
        ...

    def whole(self, contents: bytes) -> int:
        """The number of bytes in whole lines, excluding a last line cut off by a kill.

        Raises ValueError if the contents are no report of this format.
        """
        ...

    def entries(self, contents: bytes) -> Iterator[tuple[int, Entry | None]]:
        """Yield the first line number of each entry, and the entry, or None for damaged lines."""
        ...


class JsonLines:
    """One JSON object per line."""

    header = b""
    _starts = (b'{"source": ', b'{"target": ', b'{"status": ')

    def line(self, entry: Entry) -> bytes:
        return (json.dumps(entry, allow_nan=False) + "\n").encode()

    def whole(self, contents: bytes) -> int:
        end = contents.rfind(b"\n") + 1
        first, last = contents[:end].partition(b"\n")[0], contents[end:]
        entry = _object_in(last)
        is_half = entry is None and any(last.startswith(start[: len(last)]) for start in self._starts)
        if (first and not _is_entry(_object_in(first))) or not (is_half or _is_entry(entry)):
            raise ValueError("not lines of a report")
        return end if entry is None else len(contents)

    def entries(self, contents: bytes) -> Iterator[tuple[int, Entry | None]]:
        for number, line in enumerate(contents.split(b"\n"), 1):
            if line.strip():
                entry = _object_in(line)
                yield number, entry if entry is not None and _is_sound(entry) else None


class Csv:
    """Comma-separated values with a header line; unknown values are empty. File names keep their bytes.

    A report begun by another version continues with its own columns.
    """

    def __init__(self) -> None:
        self._names: Sequence[str] = _COLUMNS
        self.header = self._joined(self._names)

    def line(self, entry: Entry) -> bytes:
        return self._joined([entry.get(name) for name in self._names])

    def _joined(self, values: Any) -> bytes:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(values)
        return text.getvalue().encode("utf-8", "surrogateescape")

    def whole(self, contents: bytes) -> int:
        if not self.header.startswith(contents):
            first, ended, _ = contents.partition(b"\n")
            names = _names_in(first)
            if not (ended and {"source", "status"} <= set(names) <= set(_COLUMNS)):
                raise ValueError("the first line has other names")
            self._names, self.header = names, first + ended
        end = contents.rfind(b"\n") + 1
        while contents.count(b'"', 0, end) % 2:  # a line break inside a quoted file name
            end = contents.rfind(b"\n", 0, end - 1) + 1
        return end

    def entries(self, contents: bytes) -> Iterator[tuple[int, Entry | None]]:
        text = io.StringIO(contents.decode("utf-8", "surrogateescape"), newline="")
        reader = csv.reader(text, strict=True)
        names = next(reader)
        while True:
            number = reader.line_num + 1
            try:
                values = next(reader)
            except StopIteration:
                return
            except csv.Error:
                yield number, None
                continue
            yield number, _entry_in(names, values)


def layout_for(name: str) -> ReportFormat:
    """The layout for a report's name."""
    return Csv() if name.lower().endswith(".csv") else JsonLines()


def layout_of(contents: bytes) -> ReportFormat | None:
    """The layout of a report's contents, or None if they are no report."""
    if {"source", "status"} <= set(_names_in(contents.partition(b"\n")[0])):
        return Csv()
    lines = JsonLines()
    return lines if any(entry is not None for _, entry in lines.entries(contents)) else None


def _names_in(line: bytes) -> list[str]:
    """The column names in a CSV header; empty if the line is not valid CSV."""
    text = io.StringIO(line.decode("utf-8", "surrogateescape"), newline="")
    with suppress(csv.Error, StopIteration):
        return next(csv.reader(text, strict=True))
    return []


def _object_in(line: bytes) -> dict[str, Any] | None:
    with suppress(ValueError, RecursionError):
        if isinstance(found := json.loads(line), dict):
            return found
    return None


def _is_entry(found: dict[str, Any] | None) -> bool:
    return found is not None and ("source" in found or "status" in found)


def _entry_in(names: list[str], values: list[str]) -> Entry | None:
    """The entry in a CSV line, or None if it is damaged."""
    if len(values) != len(names):
        return None
    entry: dict[str, Any] = {name: value or None for name, value in zip(names, values, strict=True)}
    try:
        for name in _NUMBERS:
            if (text := entry.get(name)) is not None:
                entry[name] = int(text) if name in _WHOLE else float(text)
    except ValueError:
        return None
    entry["converged"] = {"True": True, "False": False}.get(entry.get("converged") or "")
    return entry if _is_sound(entry) else None


def _is_sound(entry: Entry) -> bool:
    """Return True for a valid outcome of a file, or an entry of another kind."""
    if not isinstance(entry.get("status"), str):
        return False
    if entry["status"] not in set(FileStatus):
        return True
    numbers = (entry.get(name) for name in _NUMBERS)
    return isinstance(entry.get("source"), str) and all(
        number is None or (isinstance(number, int | float) and _is_moderate(number)) for number in numbers
    )


def _is_moderate(number: float) -> bool:
    """Return True for a finite float, or an integer that converts to one."""
    try:
        return math.isfinite(number)
    except OverflowError:
        return False
