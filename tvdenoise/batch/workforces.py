"""Who does the jobs of a plan: this process or several, by what there is to do and what the machine has."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

from tvdenoise.batch.denoiser import Denoiser
from tvdenoise.batch.planes import ignore
from tvdenoise.batch.processes import Crew
from tvdenoise.batch.run import Alone, InTurn, Workforce
from tvdenoise.batch.runner import Runner
from tvdenoise.batch.share import Machine, Share, affordable_workers, useful_workers
from tvdenoise.errors import UsageError
from tvdenoise.model.engines import available_threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from tvdenoise.batch.ledger import Ledger
    from tvdenoise.batch.plan import Job, Plan
    from tvdenoise.batch.request import Request, Settings
    from tvdenoise.batch.streams import Streams

LOCAL = "local"


def require_clusters_possible(request: Request, settings: Settings) -> None:
    """Raise UsageError where Dask is not installed, or what is asked for is nothing for a cluster."""
    if settings.memory is not None:
        raise UsageError("--memory is for one machine", "leave it out: workers take what you give them")
    if request.reads_standard_input or request.writes_standard_output:
        raise UsageError("--cluster is for files, not for standard streams", "leave it out")
    if request.again:
        reason = "--again on a cluster could denoise a file twice, as lost workers' files are done again"
        raise UsageError(reason, "leave out --again or --cluster")
    if find_spec("distributed") is None:
        raise UsageError("--cluster needs Dask, which is not installed", "install tvdenoise[cluster]")


def cluster_for(
    address: str | None, plan: Plan, settings: Settings, jobs: int | None = None
) -> AbstractContextManager[Workforce | None]:
    """The workforce of the cluster at an address, "local" for one of this machine; None without a need for it.

    jobs: how many files to do at the same time; None for as many as there are workers, or here processors.
    Entering raises UsageError where the cluster does not serve.
    """
    if address is None or not plan.jobs:
        return nullcontext()
    from tvdenoise.batch.cluster import cluster_at, local_cluster

    if address == LOCAL:
        return local_cluster(min(jobs or available_threads(), len(plan.jobs)), settings, plan)
    return cluster_at(address, settings, plan, jobs)


def workforce_for(
    plan: Plan,
    settings: Settings,
    streams: Streams,
    ledger: Ledger,
    announce_compilation: Callable[[], None],
    jobs: int | None = None,
    tell_plane: Callable[[float, int], None] = ignore,
) -> Workforce:
    """jobs: how many files to do at the same time; None for as many as are useful; tell_plane: see `Runner`."""
    machine, total, todo = Machine.here(), settings.memory, _with_memory(plan.jobs, settings)
    workers = useful_workers(todo, machine, settings.threads) if jobs is None else min(jobs, len(todo))
    if total is not None and todo:
        workers = affordable_workers(todo, workers, total)
    alone = Alone(Runner(settings, Denoiser(settings, announce_compilation), streams, ledger, tell_plane))
    if workers < 2 or not streams.are_unused:
        return alone
    shared = machine.beside(workers + 1, total)
    # With a given total, a file for which there is no room beside other processes waits until these have ended.
    room = math.inf if total is None else shared.memory
    large = tuple(job for job in todo if job.memory > room)
    together = tuple(job for job in todo if job.memory <= room)
    crew = Crew(settings, workers, Share(together, workers, shared), ledger, announce_compilation)
    return InTurn(((crew, together), (alone, large))) if large else crew


def _with_memory(jobs: tuple[Job, ...], settings: Settings) -> tuple[Job, ...]:
    """The jobs with the memory that volumes take, where pictures are denoised together."""
    if not settings.volume:
        return jobs
    return tuple(
        job
        if (header := job.header) is None
        else replace(job, needed=header.volume_bytes_needed(has_weights=settings.has_weights))
        for job in jobs
    )
