"""The report of a run for other programs: one line of JSON for each file, written as soon as it is known."""

from __future__ import annotations

import json
import math
import os
from types import TracebackType
from typing import Any, TextIO

from tvdenoise.batch.outcome import Outcome
from tvdenoise.batch.plan import Plan
from tvdenoise.batch.request import Request
from tvdenoise.errors import UsageError
from tvdenoise.files.paths import printable, reason_of

_FIGURES = ("mu", "epsilon", "sigma", "iterations", "distance_bound")


class Report:
    """An open report; without a path, one that keeps nothing."""

    def __init__(self, path: str | None, *, overwrite: bool, append: bool) -> None:
        """Raises UsageError where the file exists without a word about it, or cannot be written."""
        self._stream: TextIO | None = None
        if path is None:
            return
        if os.path.lexists(path) and not (overwrite or append):
            reason = f"the report {printable(path)} exists already"
            raise UsageError(reason, "add --overwrite to replace or --skip-existing to extend it")
        try:
            self._stream = open(path, "a" if append else "w", encoding="utf-8")  # noqa: SIM115  # see __exit__
        except OSError as error:
            raise UsageError(f"cannot write {printable(path)}: {reason_of(error)}") from error

    def __enter__(self) -> Report:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._stream is not None:
            self._stream.close()

    def add(self, outcome: Outcome) -> None:
        if self._stream is not None:
            self._stream.write(json.dumps(_entry(outcome), allow_nan=False) + "\n")
            self._stream.flush()


def open_report(request: Request, plan: Plan) -> Report:
    """The report that was asked for. Raises UsageError where it would replace an input or an output."""
    if request.report is not None:
        place = os.path.realpath(request.report)
        taken = (path for job in plan.jobs + plan.skipped for path in (job.source, job.target))
        if any(os.path.realpath(path) == place for path in taken):
            raise UsageError(f"the report {printable(request.report)} is an input or an output", "rename it")
    return Report(request.report, overwrite=request.overwrite, append=request.skip_existing)


def _entry(outcome: Outcome) -> dict[str, Any]:
    values = {name: getattr(outcome.figures, name, None) for name in _FIGURES}
    finite = {
        name: value if value is None or math.isfinite(value) else None for name, value in values.items()
    }
    return {
        "source": outcome.source,
        "target": outcome.target,
        "status": outcome.fate.value,
        "reason": outcome.reason,
        **finite,
        "seconds": round(outcome.seconds, 6),
    }
