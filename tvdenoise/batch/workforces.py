"""Who does the jobs of a plan: this process or several, by what there is to do and what the machine has."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from typing import TYPE_CHECKING

from tvdenoise.batch.denoiser import Denoiser
from tvdenoise.batch.planes import ignore
from tvdenoise.batch.processes import Crew
from tvdenoise.batch.run import Alone, Workforce
from tvdenoise.batch.runner import Runner
from tvdenoise.batch.share import Machine, Share, memory_of, useful_workers
from tvdenoise.errors import UsageError
from tvdenoise.model.engines import available_threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from tvdenoise.batch.ledger import Ledger
    from tvdenoise.batch.plan import Plan
    from tvdenoise.batch.request import Request, Settings
    from tvdenoise.batch.streams import Streams

LOCAL = "local"


def require_clusters_possible(request: Request) -> None:
    """Raise UsageError where Dask is not installed, or the request is none for a cluster."""
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
    tell_plane: Callable[[int, int], None] = ignore,
) -> Workforce:
    """jobs: how many files to do at the same time; None for as many as are useful; tell_plane: see `Runner`."""
    machine = Machine.here()
    workers = (
        useful_workers(plan.jobs, machine, settings.threads) if jobs is None else min(jobs, len(plan.jobs))
    )
    if workers < 2 or not streams.are_unused:
        return Alone(Runner(settings, Denoiser(settings, announce_compilation), streams, ledger, tell_plane))
    share = Share(plan.jobs, workers, machine, lambda job: memory_of(job, settings))
    return Crew(settings, workers, share, ledger, announce_compilation)
