"""Carrying out a plan: in this process, or in several."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Protocol

from tvdenoise.batch.outcome import Fate, Outcome
from tvdenoise.batch.runner import failed
from tvdenoise.files.atomic import sweep

if TYPE_CHECKING:
    from collections.abc import Generator

    from tvdenoise.batch.plan import Job, Plan
    from tvdenoise.batch.runner import Runner


class Workforce(Protocol):
    """Whoever does the jobs."""

    def outcomes(self, jobs: Sequence[Job]) -> Generator[Outcome, None, None]:
        """The outcome of every job, each as soon as it is known; what is at work when it is left is given up."""
        ...


class Alone:
    """This process does them, one after the other."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def outcomes(self, jobs: Sequence[Job]) -> Generator[Outcome, None, None]:
        for job in jobs:
            yield self._runner.attempt(job)


class InTurn:
    """Several workforces, each of which begins with its own jobs when the one before has ended."""

    def __init__(self, shifts: Sequence[tuple[Workforce, Sequence[Job]]]) -> None:
        self._shifts = shifts

    def outcomes(self, jobs: Sequence[Job]) -> Generator[Outcome, None, None]:
        assert len(jobs) == sum(len(own) for _, own in self._shifts)
        for workforce, own in self._shifts:
            with closing(workforce.outcomes(own)) as found:
                yield from found


def outcomes(plan: Plan, workforce: Workforce, *, fail_fast: bool = False) -> Generator[Outcome, None, None]:
    """The outcome of every file of a plan, each as soon as it is known.

    fail_fast: end with the first file that failed.
    """
    with closing(_all_outcomes(plan, workforce)) as found:
        for outcome in found:
            yield outcome
            if fail_fast and outcome.fate is Fate.FAILED:
                return


def _all_outcomes(plan: Plan, workforce: Workforce) -> Generator[Outcome, None, None]:
    for failure in plan.failures:
        yield failed(str(failure.source), None, failure.error)
    for job in plan.skipped:
        yield Outcome(str(job.source), str(job.target), Fate.SKIPPED)
    with closing(workforce.outcomes(plan.jobs)) as found:
        yield from found
    for folder in dict.fromkeys(folder for job in plan.jobs for folder in job.folders):
        sweep(folder)  # a worker of an earlier run may have died only after this one was planned
