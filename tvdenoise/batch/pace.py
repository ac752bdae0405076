"""How fast a run goes, and how long the rest of it will take."""

from __future__ import annotations

import time
from collections.abc import Callable

from tvdenoise.batch.outcome import Fate, Outcome
from tvdenoise.batch.plan import Plan
from tvdenoise.batch.share import seconds_of


class Pace:
    """Measures a run against what its files ask for: large ones take longer than small ones.

    clock: the time in seconds.
    """

    def __init__(self, plan: Plan, clock: Callable[[], float] = time.monotonic) -> None:
        self._work = {(str(job.source), str(job.target)): seconds_of(job) for job in plan.jobs}
        self._clock = clock
        self._start = self._last = clock()
        self._done = 0.0
        self._begun = 0.0
        self._files = 0
        self.total = sum(self._work.values())

    def add(self, outcome: Outcome) -> None:
        """A file is over."""
        self._begun = 0.0
        work = self._work.pop((outcome.source, outcome.target or ""), 0.0)
        if outcome.fate is Fate.SKIPPED:  # took no time, so that it says nothing about the others
            self.total -= work
            return
        self._done += work
        self._files += 1
        self._last = self._clock()

    def reach(self, part: float) -> None:
        """So much of the file that is at work, from 0 to 1, where files come in the order of the plan."""
        self._begun = part * next(iter(self._work.values()), 0.0)

    @property
    def done(self) -> float:
        """The part of the work that is done, in the units of ``total``."""
        return self._done + self._begun

    @property
    def files_per_second(self) -> float | None:
        """None before there is anything to go by."""
        seconds = self._last - self._start
        return self._files / seconds if self._done and seconds > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """None before there is anything to go by."""
        seconds = self._last - self._start
        if not self._done or seconds <= 0:
            return None
        left = (self.total - self._done) * seconds / self._done
        return max(0.0, left - (self._clock() - self._last))
