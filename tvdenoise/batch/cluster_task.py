"""What a worker of a cluster does: one job at a time, on all of its threads."""

from __future__ import annotations

import platform
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING

from tvdenoise import __version__
from tvdenoise.batch.denoiser import Denoiser
from tvdenoise.batch.runner import Runner, failed
from tvdenoise.errors import TvdenoiseError, UnreadableImageError
from tvdenoise.files.atomic import sweep
from tvdenoise.files.paths import printable

if TYPE_CHECKING:
    from pathlib import Path

    from tvdenoise.batch.outcome import Outcome
    from tvdenoise.batch.plan import Job
    from tvdenoise.batch.request import Settings

SHARED = "all workers need the same file system under the same paths"
_one_at_a_time = Lock()  # limits of Pillow and filters of warnings are the process's, not the thread's


def attempt(settings: Settings, job: Job, version: str) -> Outcome:
    """Do a job whose paths are absolute; version: of those who ask for it."""
    with _one_at_a_time:
        host = printable(platform.node())
        if version != __version__:
            reason = f"the worker on {host} has tvdenoise {__version__}, not {version}"
            return _failed(job, TvdenoiseError(reason, "install the same version on all workers"))
        if not job.source.exists():
            return _failed(job, UnreadableImageError(f"no such file on the worker {host}", SHARED))
        for folder in job.folders:
            _sweep_once(folder)
        return _runner(settings).attempt(job, _threads())


def _failed(job: Job, error: TvdenoiseError) -> Outcome:
    return failed(str(job.source), str(job.target), error)


@cache
def _runner(settings: Settings) -> Runner:
    return Runner(settings, Denoiser(settings, lambda: None))


@cache
def _sweep_once(folder: Path) -> None:
    """Clear up after a worker that was lost on this host; this process may be the one in its place."""
    sweep(folder)


def _threads() -> int:
    from distributed import get_worker

    return int(get_worker().state.nthreads)
