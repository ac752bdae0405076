"""Who does the jobs of a plan: this process or several, by what there is to do and what the machine has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvdenoise.batch.denoiser import Denoiser
from tvdenoise.batch.processes import Crew
from tvdenoise.batch.run import Alone, Workforce
from tvdenoise.batch.runner import Runner
from tvdenoise.batch.share import Machine, Share, useful_workers

if TYPE_CHECKING:
    from collections.abc import Callable

    from tvdenoise.batch.ledger import Ledger
    from tvdenoise.batch.plan import Plan
    from tvdenoise.batch.request import Settings
    from tvdenoise.batch.streams import Streams


def workforce_for(
    plan: Plan,
    settings: Settings,
    streams: Streams,
    ledger: Ledger,
    announce_compilation: Callable[[], None],
    jobs: int | None = None,
) -> Workforce:
    """jobs: how many files to do at the same time; None for as many as are useful."""
    machine = Machine.here()
    workers = (
        useful_workers(plan.jobs, machine, settings.threads) if jobs is None else min(jobs, len(plan.jobs))
    )
    if workers < 2 or not streams.are_unused:
        return Alone(Runner(settings, Denoiser(settings, announce_compilation), streams, ledger))
    return Crew(settings, workers, Share(plan.jobs, workers, machine), ledger, announce_compilation)
