"""What a report must not be, found before anything is touched."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from tvdenoise.batch.entries import Layout, layout_for
from tvdenoise.batch.outputs import identity_of
from tvdenoise.batch.plan import Plan
from tvdenoise.batch.request import Request
from tvdenoise.errors import UsageError
from tvdenoise.files.paths import RealPaths, key_of, printable, reason_of


def check_report(request: Request, plan: Plan) -> None:
    """Raise UsageError where the report that was asked for cannot be, without touching it.

    It must not replace an input or an output by any of their names, nor a file without a word about it, and it
    continues only what is a report of its layout.
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
            raise UsageError(f"the report {name} exists already", remedy)
    _refuse_taken(request, plan, name)
    try:
        _require_openable(Path(request.report))
        whole_length(Path(request.report), layout_for(request.report), request)
    except OSError as error:
        remedy = "make its folder first" if isinstance(error, FileNotFoundError) else "choose another place"
        raise UsageError(f"cannot write {name}: {reason_of(error)}", remedy) from error


def _require_openable(path: Path) -> None:
    """Raise OSError where the file could not be written, or made."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND))
    except FileNotFoundError:
        folder = Path(os.path.realpath(path)).parent
        folder.stat()
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES)) from None


def whole_length(path: Path, layout: Layout, request: Request) -> int:
    """How many bytes of a report are kept, without what a killed run left of its last line. Raises UsageError."""
    if not (request.skip_existing and path.exists()):
        return 0
    try:
        return layout.whole(path.read_bytes())
    except ValueError as error:
        kind = "CSV" if layout.header else "JSON lines"
        reason = f"{printable(path)} is no report in {kind} that could be continued"
        raise UsageError(reason, "choose another name for --report") from error


def _refuse_taken(request: Request, plan: Plan, name: str) -> None:
    """Raise UsageError for a report that is, or would be, an input, an output, or the folder of one."""
    assert request.report is not None
    real = RealPaths()
    jobs = plan.jobs + plan.skipped
    paths = [path for job in jobs for path in (job.source, job.target, *job.companions)]
    paths += [failure.source for failure in plan.failures]
    places = {real.of(path) for path in paths}
    for folder in {os.path.dirname(real.of(path)) for job in jobs for path in (job.target, *job.companions)}:
        places.update(map(real.of, map(str, (folder, *Path(folder).parents))))
    identities = {identity_of(path) for path in paths}
    if request.reads_standard_input:
        identities.add(identity_of(0))
    if request.writes_standard_output:
        identities.add(identity_of(1))
    identity = identity_of(Path(request.report))
    # By what other file systems take for the same name, too.
    is_place = key_of(real.of(request.report)) in set(map(key_of, places))
    if is_place or (identity is not None and identity in identities):
        raise UsageError(f"the report {name} is an input or an output", "rename it")
