"""Sharing processors and memory among the jobs of a run, and estimating the time left."""

from __future__ import annotations

import math
import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Condition
from typing import TYPE_CHECKING

from tvdenoise.batch.outcome import FileStatus, Outcome
from tvdenoise.batch.plan import Plan
from tvdenoise.files.memory import PROCESS, available_memory
from tvdenoise.machine import available_threads

if TYPE_CHECKING:
    from tvdenoise.batch.outputs import Job


# Approximate seconds on one processor: per file, per value up to the size of the sample for choosing parameters,
# and per value.
_PER_FILE, _PER_SAMPLED_VALUE, _SAMPLE, _PER_VALUE = 0.015, 1.2e-6, 300_000, 2.5e-7
_USABLE = 0.8  # of the free memory
_WORTH_WORKERS = 3.0  # seconds of work; a worker process takes about one to start


@dataclass(frozen=True)
class Machine:
    """processors: available to this run; memory: bytes available to this run."""

    processors: int
    memory: float

    @classmethod
    def here(cls) -> Machine:
        free = available_memory()
        return cls(available_threads(), math.inf if free is None else _USABLE * free)

    def beside(self, processes: int, total: int | None) -> Machine:
        """What is left for images beside this many processes; total: limit of the memory in bytes, or None."""
        if total is None:
            return self
        return Machine(self.processors, min(self.memory, total - processes * PROCESS))


def seconds_of(job: Job) -> float:
    """Estimated time of a job on one processor."""
    return _PER_FILE + _PER_SAMPLED_VALUE * min(job.values, _SAMPLE) + _PER_VALUE * job.values


def useful_workers(jobs: Sequence[Job], machine: Machine, threads: int | None) -> int:
    """The number of processes to use; 1 if starting more would take longer than they save.

    threads: number per process, if given.
    """
    if sum(map(seconds_of, jobs)) < _WORTH_WORKERS:
        return 1
    return max(1, min(machine.processors // (threads or 1), len(jobs)))


def affordable_workers(jobs: Sequence[Job], workers: int, total: int) -> int:
    """The largest number of workers, up to the given one, that fits into a total of bytes.

    Counts this process, and a median file for each worker.
    """
    usual = statistics.median(job.memory for job in jobs)
    return max(1, min(workers, int((total - PROCESS) // (PROCESS + usual))))


class Share:
    """Hands out jobs in order, each as soon as memory allows, with its number of threads.

    Runs one job per worker, fewer if memory is short, but at least one. The running jobs divide the processors:
    many get one thread each, a single one gets all.
    """

    def __init__(self, jobs: Sequence[Job], workers: int, machine: Machine) -> None:
        self._waiting = deque(jobs)
        self._workers = workers
        self._machine = machine
        self._memory_taken = 0.0
        self._running = 0
        self._stopped = False
        self._changed = Condition()

    def take(self) -> tuple[Job, int] | None:
        """Wait for the next job and its number of threads; None if no job is left, or after `stop`."""
        with self._changed:
            self._changed.wait_for(self._may_go_on)
            if self._stopped or not self._waiting:
                return None
            job = self._waiting.popleft()
            self._running += 1
            self._memory_taken += job.memory
            return job, self._threads_for(job)

    def give_back(self, job: Job) -> None:
        """Release the memory of a job that has ended."""
        with self._changed:
            self._running -= 1
            self._memory_taken -= job.memory
            self._changed.notify_all()

    def stop(self) -> None:
        """Hand out no more jobs."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _may_go_on(self) -> bool:
        if self._stopped or not self._waiting or self._running == 0:
            return True
        return self._memory_taken + self._waiting[0].memory <= self._machine.memory

    def _threads_for(self, job: Job) -> int:
        fitting = max(1, self._machine.memory // max(job.memory, 1))
        at_once = int(min(self._workers, fitting, self._running + len(self._waiting)))
        return max(1, self._machine.processors // at_once)


class Eta:
    """Estimates the remaining time of a run, weighting files by their size.

    clock: returns the time in seconds.
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
        """Count a finished file."""
        self._begun = 0.0
        work = self._work.pop((outcome.source, outcome.target or ""), 0.0)
        if outcome.status is FileStatus.SKIPPED:  # took no time, so it does not count towards the speed
            self.total -= work
            return
        self._done += work
        self._files += 1
        self._last = self._clock()

    def reach(self, part: float) -> None:
        """Set the progress of the current file, from 0 to 1; only for files done in the order of the plan."""
        self._begun = part * next(iter(self._work.values()), 0.0)

    @property
    def done(self) -> float:
        """The work done, in the units of ``total``."""
        return self._done + self._begun

    @property
    def files_per_second(self) -> float | None:
        """The speed so far; None before the first file is done."""
        seconds = self._last - self._start
        return self._files / seconds if self._done and seconds > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """The estimated remaining time; None before the first file is done."""
        seconds = self._last - self._start
        if not self._done or seconds <= 0:
            return None
        left = (self.total - self._done) * seconds / self._done
        return max(0.0, left - (self._clock() - self._last))
