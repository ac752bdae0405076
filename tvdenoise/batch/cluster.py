"""A Dask cluster as workforce: its workers do the jobs, over a file system that they share with this process."""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING
from uuid import uuid4

from distributed import CancelledError, KilledWorker

from tvdenoise import __version__
from tvdenoise.batch.cluster_checks import one_line, require_same_versions, require_shared_outputs
from tvdenoise.batch.cluster_connection import connection, silence, started
from tvdenoise.batch.cluster_task import attempt
from tvdenoise.batch.runner import failed
from tvdenoise.errors import TvdenoiseError
from tvdenoise.files.atomic import sweep

if TYPE_CHECKING:
    from distributed import Client, Future

    from tvdenoise.batch.outcome import Outcome
    from tvdenoise.batch.plan import Job, Plan
    from tvdenoise.batch.request import Settings

_AT_A_WORKER = 2  # jobs: one that is done, and one that is ready when it ends
_INTERVAL = 1.0  # seconds between looks which workers there are
_LOSSES = 3  # of workers, until what they were at is suspect
_WITHOUT_WORKERS = 30.0  # seconds; lost ones are started again meanwhile
_LOST = "the connection to the cluster was lost"
_CONTINUE = "what was finished is kept; run it again with --skip-existing"


@contextmanager
def cluster_at(address: str, settings: Settings, plan: Plan, at_once: int | None) -> Iterator[Cluster]:
    """The cluster of a scheduler's address, as long as it is needed; it goes on by itself then.

    at_once: how many files are worked on at the same time at most. Raises UsageError where it does not serve.
    """
    with silence(), connection(address) as client:
        yield from _serving(client, settings, plan, at_once)


@contextmanager
def local_cluster(workers: int, settings: Settings, plan: Plan) -> Iterator[Cluster]:
    """A cluster of so many processes on this machine, as long as it is needed."""
    folders: set[Path] = set()
    try:
        with silence(), started(workers) as here, connection(here.scheduler_address) as client:
            for cluster in _serving(client, settings, plan, None):
                try:
                    yield cluster
                finally:
                    folders.update(folder for job in cluster.given_up for folder in job.folders)
    finally:
        for folder in folders:
            sweep(folder)


def _serving(client: Client, settings: Settings, plan: Plan, at_once: int | None) -> Iterator[Cluster]:
    require_same_versions(client)
    require_shared_outputs(client, plan)
    yield Cluster(client, settings, at_once)


@dataclass(frozen=True, eq=False)
class _Place:
    """A job at a worker, which is known by its address."""

    job: Job
    worker: str
    future: Future[Outcome]


class Cluster:
    """Hands out jobs to the workers of a cluster, a few at a time, however many there are.

    Each job is for one worker, so that none has many while others have none. A lost worker's jobs are handed out
    again. What has cost several workers is suspect: it is tried once more when all else is done, alone, so that no
    other job is lost with it.
    """

    def __init__(self, client: Client, settings: Settings, at_once: int | None) -> None:
        self._client = client
        self._settings = settings
        self._at_once = at_once
        self._ended: SimpleQueue[Future[Outcome]] = SimpleQueue()
        self._places: dict[str, _Place] = {}  # by the key of the future
        self._workers: tuple[str, ...] = ()
        self._asked = self._seen = float("-inf")  # for workers; one of them
        self.given_up: tuple[Job, ...] = ()

    def outcomes(self, jobs: Sequence[Job]) -> Generator[Outcome, None, None]:
        """The outcome of every job, as it comes. Raises TvdenoiseError where the cluster is gone."""
        suspects = []
        self._seen = time.monotonic()
        try:
            for job, outcome in self._attempts(jobs, self._at_once, _LOSSES):
                if outcome is None:
                    suspects.append(job)
                else:
                    yield outcome
            for job, outcome in self._attempts(suspects, 1, 1):
                yield outcome or _failure_of_killer(job)
        finally:
            self._give_up()

    def _attempts(
        self, jobs: Iterable[Job], at_once: int | None, losses: int
    ) -> Generator[tuple[Job, Outcome | None], None, None]:
        """Each job with its outcome, None where it has cost so many workers."""
        waiting = deque(jobs)
        lost: Counter[Job] = Counter()
        while waiting or self._places:
            self._look_for_workers()
            for job in self._taken_back():
                lost[job] += 1
                if lost[job] < losses:
                    waiting.appendleft(job)
                else:
                    yield job, None
            self._fill(waiting, at_once)
            if (ended := self._next_ended()) is not None:
                yield ended

    def _next_ended(self) -> tuple[Job, Outcome | None] | None:
        """A job that has ended with its outcome, None where it has cost too many workers; None after a while."""
        try:
            future = self._ended.get(timeout=_INTERVAL)
            place = self._places[str(future.key)]
            outcome = self._outcome(place.job, future)
        except TimeoutError:  # its worker seems to be lost, and the result with it
            future.add_done_callback(self._ended.put)
            return None
        except (Empty, KeyError):  # nothing, or one that was taken back
            return None
        del self._places[str(future.key)]
        future.release()
        return place.job, outcome

    def _look_for_workers(self) -> None:
        now = time.monotonic()
        if now - self._asked < _INTERVAL:
            return
        try:
            self._workers = tuple(self._client.nthreads())
        except (OSError, TimeoutError, RuntimeError) as error:
            raise TvdenoiseError(_LOST, _CONTINUE) from error
        self._asked = now
        if self._workers:
            self._seen = now
        elif now - self._seen > _WITHOUT_WORKERS:
            raise TvdenoiseError("the cluster has no workers any more", _CONTINUE)

    def _taken_back(self) -> list[Job]:
        """The jobs of workers that are gone."""
        gone = [place for place in self._places.values() if place.worker not in self._workers]
        if gone:
            self._cancel(gone)
        for place in gone:
            del self._places[str(place.future.key)]
        return [place.job for place in gone]

    def _cancel(self, places: list[_Place]) -> None:
        with suppress(OSError, TimeoutError, RuntimeError):
            self._client.cancel([place.future for place in places], force=True)

    def _fill(self, waiting: deque[Job], at_once: int | None) -> None:
        loads = Counter(place.worker for place in self._places.values())
        while waiting and self._workers and (at_once is None or len(self._places) < at_once):
            worker = min(self._workers, key=lambda address: loads[address])
            if loads[worker] >= _AT_A_WORKER:
                return
            loads[worker] += 1
            self._submit(waiting.popleft(), worker)

    def _submit(self, job: Job, worker: str) -> None:
        absolute = replace(
            job,
            source=Path(os.path.abspath(job.source)),
            target=Path(os.path.abspath(job.target)),
            residual=None if job.residual is None else Path(os.path.abspath(job.residual)),
            trace=None if job.trace is None else Path(os.path.abspath(job.trace)),
        )
        future = self._client.submit(
            attempt,
            *(self._settings, absolute, __version__),
            key=f"tvdenoise-{uuid4().hex}",
            workers=[worker],
            pure=False,
        )
        self._places[str(future.key)] = _Place(job, worker, future)
        future.add_done_callback(self._ended.put)

    def _outcome(self, job: Job, future: Future[Outcome]) -> Outcome | None:
        """Raises TimeoutError where it is not known any more."""
        try:
            outcome: Outcome = future.result(timeout=_INTERVAL)
        except KilledWorker:
            return None
        except TimeoutError:
            raise
        except CancelledError as error:
            raise TvdenoiseError(_LOST, _CONTINUE) from error
        except Exception as error:  # noqa: BLE001  # whatever Dask says of one job
            reason = f"the cluster could not do it: {type(error).__name__}: {one_line(error)}"
            return _failed(job, TvdenoiseError(reason, "try it without --cluster"))
        return replace(outcome, source=str(job.source), target=str(job.target))

    def _give_up(self) -> None:
        """Take back what is not done; a worker of another machine ends the file that it is at."""
        self.given_up = tuple(place.job for place in self._places.values())
        self._cancel(list(self._places.values()))
        self._places.clear()


def _failed(job: Job, error: TvdenoiseError) -> Outcome:
    return failed(str(job.source), str(job.target), error)


def _failure_of_killer(job: Job) -> Outcome:
    reason = "every worker that tried it was killed, as happens when memory runs out"
    return _failed(job, TvdenoiseError(reason, "use fewer or larger workers"))
