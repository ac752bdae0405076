"""What is refused of outputs before the first pixel is read, so that nothing is lost to them."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from tvdenoise.errors import UnwritableImageError, UsageError
from tvdenoise.files.atomic import require_writable, sweep
from tvdenoise.files.paths import RealPaths, key_of, printable, reason_of

if TYPE_CHECKING:
    from tvdenoise.batch.plan import Job
    from tvdenoise.batch.request import Request


_APART = "give them different names, or run them separately"


def naming_error(path: Path) -> UnwritableImageError | None:
    """Why no file can have a name, where its length is to blame."""
    try:
        os.lstat(path)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            reason = f"cannot write {printable(path)}: {reason_of(error)}"
            return UnwritableImageError(reason, "choose a shorter name with -o or --suffix")
    return None


def refuse_collisions(outputs: Iterable[tuple[Job, Path]]) -> None:
    """Two outputs must not be one file, nor one the folder of another, nor where upper and lower case are the same."""
    owners: dict[str, tuple[Job, Path]] = {}
    real = RealPaths()
    for job, path in outputs:
        place = job.place if path is job.target and job.place else real.of(path)
        other, named = owners.setdefault(key_of(place), (job, path))
        if named is not path and other is job:
            reason = f"two outputs of {printable(job.source)} would be {printable(path)}"
            raise UsageError(reason, "give them different names")
        if other is not job:
            raise UsageError(
                f"{printable(other.source)} and {printable(job.source)} would both become {printable(path)}",
                _APART,
            )
    for folder, within in _folders_of(owners).items():
        if folder in owners:
            (job, path), (other, inner) = owners[folder], owners[within]
            raise UsageError(
                f"{printable(job.source)} would become {printable(path)}, "
                f"and {printable(other.source)} would become {printable(inner)} in a folder of that name",
                _APART,
            )


def _folders_of(places: Iterable[str]) -> dict[str, str]:
    """All folders in which places lie, near and far, each with one of them."""
    found: dict[str, str] = {}
    for place in places:
        folder = os.path.dirname(place)
        while folder not in found:
            found[folder] = place
            folder = os.path.dirname(folder)
    return found


def refuse_outputs_that_are_inputs(jobs: list[Job], outputs: list[tuple[Job, Path]]) -> None:
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


def refuse_existing(existing: list[Path], request: Request) -> None:
    for path in existing:
        if os.path.exists(path) and not os.path.isfile(path):
            raise UsageError(f"{printable(path)} exists and is not a file", "choose another name")
    if existing and not (request.overwrite or request.skip_existing):
        others = f" (and {len(existing) - 1} more)" if len(existing) > 1 else ""
        reason = f"the output {printable(existing[0])} exists already{others}"
        replacing = "" if request.in_place else "--overwrite to replace or "
        raise UsageError(reason, f"add {replacing}--skip-existing to keep it")


def require_folders_writable(jobs: list[Job], request: Request) -> None:
    """Probe every output folder, and clear it of what dead runs left there, unless nothing is to be changed."""
    for folder in dict.fromkeys(folder for job in jobs for folder in job.folders):
        try:
            require_writable(folder, keeps_times=request.dry_run)
        except UnwritableImageError as error:
            raise UsageError(error.reason, error.remedy) from error
        if not request.dry_run:
            sweep(folder)
