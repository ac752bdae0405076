"""What is written beside a result on request: what was removed, and the trace of the solve."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tvdenoise.errors import UsageError
from tvdenoise.files.paths import RealPaths, printable
from tvdenoise.files.reading import is_whole
from tvdenoise.residual import save_residual
from tvdenoise.traces import require_trace_name, save_trace

if TYPE_CHECKING:
    from tvdenoise.batch.plan import Job
    from tvdenoise.batch.request import Request
    from tvdenoise.files.picture import Picture
    from tvdenoise.solver import Solution

_RESIDUAL = "_residual.png"


def require_possible(request: Request) -> None:
    """Raise UsageError where what was asked for beside the results cannot be."""
    for option, name in (("--residual", request.residual), ("--trace", request.trace)):
        if name is not None and (request.reads_standard_input or request.writes_standard_output):
            raise UsageError(f"{option} is for files, not for standard streams", "leave it out")
    if request.trace is not None:
        require_trace_name(request.trace)
    if request.residual is None:
        return
    if os.path.lexists(request.residual) and not os.path.isdir(request.residual):
        raise UsageError(f"--residual {printable(request.residual)} is not a folder", "name a folder")
    real = RealPaths()
    if real.of(request.residual) in {real.of(name) for name in request.inputs}:
        raise UsageError(
            "--residual would put pictures among the inputs, where the next run would take them for inputs",
            "name a folder of their own",
        )


def residual_of(place: Path, request: Request) -> Path | None:
    """The name of the residual of the input with this place below the folder in which it was found."""
    if request.residual is None:
        return None
    return Path(request.residual) / place.with_name(place.stem + _RESIDUAL)


def with_trace(jobs: list[Job], request: Request, count: int) -> list[Job]:
    """The jobs with the trace, if one was asked for. Raises UsageError unless there is one input; count: of them."""
    if request.trace is None:
        return jobs
    if count != 1:
        raise UsageError(f"--trace follows the solve of one file, and there are {count}", "name one file")
    return [replace(job, trace=Path(request.trace)) for job in jobs]


def without_kept(job: Job) -> Job:
    """The job without what is there already, whole, and therefore not made anew."""
    residual, trace = job.residual, job.trace
    if residual is not None and os.path.lexists(residual) and is_whole(residual):
        residual = None
    if trace is not None and os.path.lexists(trace) and os.path.getsize(trace) > 0:
        trace = None
    return replace(job, residual=residual, trace=trace)


def write_companions(
    job: Job, picture: Picture, solution: Solution, data_range: float | None
) -> tuple[str, ...]:
    """Write what was asked for beside the result of a job, and say what has to be known of it.

    data_range: the value that counts as 1 in float pictures, where it is not 1.
    Raises UnwritableImageError.
    """
    if job.trace is not None:
        save_trace(solution.trace, solution.tolerance, job.trace)
    if job.residual is None:
        return ()
    gain = save_residual(picture, solution.image, data_range or 1.0, job.source.name, job.residual)
    return (f"what was removed is in {printable(job.residual.name)}, around mid grey, ×{gain:g}",)
