"""Execute a plan: in this process, in several, or on a cluster."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

from tvdenoise.batch.denoiser import Denoiser
from tvdenoise.batch.outcome import FileStatus, Outcome
from tvdenoise.batch.runner import Runner, failed
from tvdenoise.batch.share import Machine, Share, affordable_workers, useful_workers
from tvdenoise.batch.work import Progress, no_progress
from tvdenoise.batch.worker_pool import WorkerPool
from tvdenoise.errors import UsageError
from tvdenoise.files.atomic import sweep
from tvdenoise.machine import available_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from tvdenoise.batch.in_place import ReplacementLog
    from tvdenoise.batch.outputs import Job
    from tvdenoise.batch.plan import Plan, Streams
    from tvdenoise.batch.request import Request
    from tvdenoise.files.opening import Header
    from tvdenoise.options import FileOptions


class Workforce(Protocol):
    """Anything that runs jobs."""

    def outcomes(self, jobs: Sequence[Job]) -> Generator[Outcome, None, None]:
        """Yield the outcome of each job as it finishes. Closing the generator abandons running jobs."""
        ...


class Alone:
    """Runs jobs in this process, one after the other."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def outcomes(self, jobs: Sequence[Job]) -> Generator[Outcome, None, None]:
        for job in jobs:
            yield self._runner.attempt(job)


class InTurn:
    """Runs several workforces in turn, each on its own jobs."""

    def __init__(self, shifts: Sequence[tuple[Workforce, Sequence[Job]]]) -> None:
        self._shifts = shifts

    def outcomes(self, jobs: Sequence[Job]) -> Generator[Outcome, None, None]:
        assert len(jobs) == sum(len(own) for _, own in self._shifts)
        for workforce, own in self._shifts:
            with closing(workforce.outcomes(own)) as found:
                yield from found


def outcomes(plan: Plan, workforce: Workforce, *, fail_fast: bool = False) -> Generator[Outcome, None, None]:
    """Yield the outcome of each file of a plan as soon as it is known.

    fail_fast: stop after the first failure.
    """
    with closing(_all_outcomes(plan, workforce)) as found:
        for outcome in found:
            yield outcome
            if fail_fast and outcome.status is FileStatus.FAILED:
                return


def _all_outcomes(plan: Plan, workforce: Workforce) -> Generator[Outcome, None, None]:
    for failure in plan.failures:
        yield failed(str(failure.source), None, failure.error)
    for job in plan.skipped:
        yield Outcome(str(job.source), str(job.target), FileStatus.SKIPPED)
    with closing(workforce.outcomes(plan.jobs)) as found:
        yield from found
    # A worker of an earlier run may have died after this run was planned, and its file may be done by now.
    for folder in dict.fromkeys(folder for job in (*plan.jobs, *plan.skipped) for folder in job.folders):
        sweep(folder)


LOCAL = "local"


def require_clusters_possible(request: Request, settings: FileOptions) -> None:
    """Raise UsageError if Dask is not installed, or if the request cannot run on a cluster."""
    if settings.memory is not None:
        raise UsageError(
            "--memory applies to one machine", "leave it out: set the memory of workers when you start them"
        )
    if request.reads_standard_input or request.writes_standard_output:
        raise UsageError("--cluster works on files, not on standard streams", "leave it out")
    if request.again:
        reason = "--again on a cluster could denoise a file twice, because files of lost workers are repeated"
        raise UsageError(reason, "leave out --again or --cluster")
    if find_spec("distributed") is None:
        raise UsageError("--cluster needs Dask, which is not installed", "install tvdenoise[cluster]")


def cluster_for(
    address: str | None, plan: Plan, settings: FileOptions, jobs: int | None = None
) -> AbstractContextManager[Workforce | None]:
    """Context manager for the cluster at an address ("local": on this machine); None if none is needed.

    jobs: maximum number of files in progress; None for the number of workers (local: of processors).
    Entering raises UsageError if the cluster cannot be used.
    """
    if address is None or not plan.jobs:
        return nullcontext()
    from tvdenoise.batch.cluster import cluster_at, local_cluster

    if address == LOCAL:
        return local_cluster(min(jobs or available_threads(), len(plan.jobs)), settings, plan)
    return cluster_at(address, settings, plan, jobs)


def workforce_for(
    plan: Plan,
    settings: FileOptions,
    streams: Streams,
    replacement_log: ReplacementLog,
    announce_compilation: Callable[[], None],
    jobs: int | None = None,
    tell_plane: Progress = no_progress,
) -> Workforce:
    """Choose between this process and a pool of workers.

    jobs: number of files in progress at a time; None for as many as are useful; tell_plane: progress of `Runner`.
    """
    machine, total, todo = Machine.here(), settings.memory, _with_memory(plan.jobs, settings)
    workers = useful_workers(todo, machine, settings.threads) if jobs is None else min(jobs, len(todo))
    if total is not None and todo:
        workers = affordable_workers(todo, workers, total)
    alone = Alone(
        Runner(settings, Denoiser(settings, announce_compilation), streams, replacement_log, tell_plane)
    )
    if workers < 2 or not streams.are_unused:
        return alone
    shared = machine.beside(workers + 1, total)
    # With a memory limit, a file too large to run beside other processes waits until they have ended.
    room = math.inf if total is None else shared.memory
    large = tuple(job for job in todo if job.memory > room)
    together = tuple(job for job in todo if job.memory <= room)
    pool = WorkerPool(
        settings, workers, Share(together, workers, shared), replacement_log, announce_compilation
    )
    return InTurn(((pool, together), (alone, large))) if large else pool


def _with_memory(jobs: tuple[Job, ...], settings: FileOptions) -> tuple[Job, ...]:
    """Set the memory of each job if stacks are denoised as volumes, or images by learned filters."""
    if not (settings.volume or settings.is_learned):
        return jobs
    return tuple(
        job if job.header is None else replace(job, needed=_bytes_needed(job.header, settings))
        for job in jobs
    )


def _bytes_needed(header: Header, settings: FileOptions) -> int:
    from tvdenoise.parameters import gate_values_of

    if settings.volume:
        return header.volume_bytes_needed(has_weights=settings.has_weights)
    return replace(header, gate_values=gate_values_of(settings)).bytes_needed
