"""Run jobs on the workers of a Dask cluster, which share a file system with this process."""

from __future__ import annotations

import atexit
import logging
import os
import platform
import signal
import time
import warnings
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing import resource_tracker
from pathlib import Path
from queue import Empty, SimpleQueue
from tempfile import TemporaryDirectory
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from distributed import CancelledError, Client, KilledWorker, LocalCluster
from distributed.deploy.spec import close_clusters
from distributed.utils import LoopRunner

from tvdenoise import __version__
from tvdenoise.batch.denoiser import Denoiser
from tvdenoise.batch.runner import Runner, failed
from tvdenoise.errors import TvdenoiseError, UnreadableImageError, UsageError
from tvdenoise.files.atomic import sweep, temporary_beside
from tvdenoise.files.paths import printable

if TYPE_CHECKING:
    from distributed import Future

    from tvdenoise.batch.outcome import Outcome
    from tvdenoise.batch.outputs import Job
    from tvdenoise.batch.plan import Plan
    from tvdenoise.options import FileOptions


SHARED = "all workers need the same file system under the same paths"
_one_at_a_time = Lock()  # Pillow's limits and warning filters are global to the process


def attempt(settings: FileOptions, job: Job, version: str) -> Outcome:
    """Run a job with absolute paths on a worker; version: of tvdenoise in the requesting process."""
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


@cache
def _runner(settings: FileOptions) -> Runner:
    return Runner(settings, Denoiser(settings, lambda: None))


@cache
def _sweep_once(folder: Path) -> None:
    """Remove temporaries of a lost worker on this host, which this process may replace."""
    sweep(folder)


def _threads() -> int:
    from distributed import get_worker

    return int(get_worker().state.nthreads)


# The packages that affect the bytes of results. Sent as text, as a process without tvdenoise cannot unpickle its code.
_VERSIONS = (
    "{'tvdenoise': __import__('tvdenoise').__version__}"
    " | dict(map(lambda name: (name, __import__('importlib.metadata').metadata.version(name)),"
    " ('numpy', 'scipy', 'numba', 'pillow', 'imagecodecs')))"
)


def require_same_versions(client: Client) -> None:
    """Raise UsageError unless the scheduler and all workers have the package versions of this process."""
    ours: dict[str, str] = eval(_VERSIONS)
    try:
        scheduler = client.run_on_scheduler(eval, _VERSIONS)
    except Exception as error:  # noqa: BLE001  # any error of the scheduler is raised here
        scheduler = error
    _require_same("the scheduler", scheduler, ours)
    for address, versions in client.run(eval, _VERSIONS, on_error="return").items():
        _require_same(f"the worker {address}", versions, ours)


def _require_same(who: str, theirs: dict[str, str] | BaseException, ours: dict[str, str]) -> None:
    if isinstance(theirs, ModuleNotFoundError):
        raise UsageError(f"{who} has no {theirs.name}", f"install tvdenoise {ours['tvdenoise']} there, too")
    if isinstance(theirs, BaseException):
        raise UsageError(f"{who} does not work: {type(theirs).__name__}: {one_line(theirs)}")
    for name, version in ours.items():
        if theirs[name] != version:
            reason = f"{who} has {name} {theirs[name]}, not {version}"
            raise UsageError(reason, "install the same versions everywhere: results may differ otherwise")


def require_shared_outputs(client: Client, plan: Plan) -> None:
    """Raise UsageError unless all workers see files that this process creates in the output folders."""
    for folder in _one_on_each_device(folder for job in plan.jobs for folder in job.folders):
        probe = temporary_beside(folder / "probe")
        try:
            probe.touch()
            seen = client.run(os.path.exists, str(probe), on_error="return")
        finally:
            with suppress(OSError):
                probe.unlink()
        for address, is_seen in seen.items():
            if is_seen is not True:
                raise UsageError(f"the worker {address} cannot see {printable(folder)}", SHARED)


def _one_on_each_device(folders: Iterable[Path]) -> Iterable[Path]:
    """One of the folders (or its nearest existing parent) on each file system."""
    found: dict[int, Path] = {}
    for folder in dict.fromkeys(folders):
        existing = folder
        while not existing.exists() and existing != existing.parent:
            existing = existing.parent
        found.setdefault(os.stat(existing).st_dev, existing)
    return found.values()


def one_line(error: BaseException | Any) -> str:
    return " ".join(str(error).split()) or type(error).__name__


_TALKATIVE = {"distributed", "tornado", "asyncio"}
_PATIENCE = 5.0  # seconds to wait for an immediate answer


@contextmanager
def silence() -> Iterator[None]:
    """Silence Dask's logs and warnings, for which we print one line. Its loggers stay silent after the context."""
    for name in list(logging.root.manager.loggerDict):
        if name.split(".")[0] in _TALKATIVE:
            logger = logging.getLogger(name)
            logger.handlers[:] = [logging.NullHandler()]
            logger.propagate = False
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


@contextmanager
def connection(address: str) -> Iterator[Client]:
    """Connect to a scheduler. Raises UsageError if it does not answer, or has no workers."""
    client = _client(address)
    try:
        try:
            client.wait_for_workers(1, timeout=_PATIENCE)
        except TimeoutError as error:
            reason = f"the Dask cluster at {printable(address)} has no workers"
            raise UsageError(reason, "start some with dask worker") from error
        yield client
    finally:
        with suppress(OSError, TimeoutError):
            client.close(timeout=1)


def _client(address: str) -> Client:
    """Connect in a separate thread, as Dask may hang if the peer is not a scheduler."""
    made: SimpleQueue[Client | Exception] = SimpleQueue()

    def make() -> None:
        try:
            made.put(Client(address, timeout=_PATIENCE, set_as_default=False))
        except Exception as error:  # noqa: BLE001  # raised by the caller
            made.put(error)

    Thread(target=make, daemon=True).start()
    try:
        answer = made.get(timeout=_PATIENCE + 2)
    except Empty:
        answer = TimeoutError("something else is listening there")
    if isinstance(answer, Exception):
        reason = f"no Dask scheduler answers at {printable(address)}: {one_line(answer)}"
        raise UsageError(
            reason, "give the address of a running one, such as tcp://HOST:8786, or local"
        ) from answer
    return answer


@contextmanager
def started(workers: int) -> Iterator[LocalCluster]:
    """Start worker processes on this machine, and kill them when the context ends."""
    atexit.unregister(close_clusters)  # it is noisy about a cluster interrupted during its start
    with TemporaryDirectory(prefix="tvdenoise-", ignore_cleanup_errors=True) as scratch:
        cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=None,
            silence_logs=logging.CRITICAL + 1,
            memory_limit=0,
            local_directory=scratch,
            loop=_loop_without_interrupts(),
        )
        try:
            yield cluster
        finally:
            _end(cluster)


def _loop_without_interrupts() -> object:
    """Start an event loop whose thread and child processes do not get Ctrl-C, which this process handles."""
    runner = LoopRunner()
    resource_tracker.ensure_running()  # started from that thread, it would unblock interrupts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        runner.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return runner.loop


def _end(cluster: LocalCluster) -> None:
    """Kill the workers; finished outputs are whole on the disk."""
    for nanny in cluster.workers.values():
        nanny.auto_restart = False
        if nanny.pid:
            with suppress(ProcessLookupError):
                os.kill(nanny.pid, signal.SIGKILL)
    with suppress(OSError, TimeoutError):
        cluster.close(timeout=1)


_AT_A_WORKER = 2  # jobs: one running, and one waiting
_INTERVAL = 1.0  # seconds between checks for workers
_LOSSES = 3  # lost workers until a job is suspect
_WITHOUT_WORKERS = 30.0  # seconds; time for lost workers to restart
_LOST = "the connection to the cluster was lost"
_CONTINUE = "finished files are kept; run it again with --skip-existing"


@contextmanager
def cluster_at(address: str, settings: FileOptions, plan: Plan, at_once: int | None) -> Iterator[Cluster]:
    """Use the cluster at a scheduler's address, and leave it running afterwards.

    at_once: maximum number of files in progress, or None. Raises UsageError if the cluster cannot be used.
    """
    with silence(), connection(address) as client:
        yield from _serving(client, settings, plan, at_once)


@contextmanager
def local_cluster(workers: int, settings: FileOptions, plan: Plan) -> Iterator[Cluster]:
    """Run a cluster of worker processes on this machine for the duration of the context."""
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


def _serving(client: Client, settings: FileOptions, plan: Plan, at_once: int | None) -> Iterator[Cluster]:
    require_same_versions(client)
    require_shared_outputs(client, plan)
    yield Cluster(client, settings, at_once)


@dataclass(frozen=True, eq=False)
class _Place:
    """A job submitted to the worker at an address."""

    job: Job
    worker: str
    future: Future[Outcome]


class Cluster:
    """Hands out jobs to the workers of a cluster, a few at a time.

    Each job goes to a given worker, which balances the load. Jobs of lost workers are handed out again. A job that
    has cost several workers is suspect: it is retried once, alone, after all others, so that it takes no other job
    with it.
    """

    def __init__(self, client: Client, settings: FileOptions, at_once: int | None) -> None:
        self._client = client
        self._settings = settings
        self._at_once = at_once
        self._ended: SimpleQueue[Future[Outcome]] = SimpleQueue()
        self._places: dict[str, _Place] = {}  # by the key of the future
        self._workers: tuple[str, ...] = ()
        self._asked = self._seen = float("-inf")  # time of the last query, and of the last worker seen
        self.given_up: tuple[Job, ...] = ()

    def outcomes(self, jobs: Sequence[Job]) -> Generator[Outcome, None, None]:
        """Yield the outcome of each job as it finishes. Raises TvdenoiseError if the cluster is lost."""
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
        """Yield each job with its outcome, or None once the job has cost this many workers."""
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
        """Wait for the next finished job and its outcome (None if Dask gave the job up); None after a second."""
        try:
            future = self._ended.get(timeout=_INTERVAL)
            place = self._places[str(future.key)]
            outcome = self._outcome(place.job, future)
        except TimeoutError:  # the worker seems lost, along with the result
            future.add_done_callback(self._ended.put)
            return None
        except (Empty, KeyError):  # no job ended, or it was taken back
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
            raise TvdenoiseError("the cluster has no workers left", _CONTINUE)

    def _taken_back(self) -> list[Job]:
        """Take back the jobs of workers that are gone."""
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
        future = self._client.submit(
            attempt,
            *(self._settings, _absolute(job), __version__),
            key=f"tvdenoise-{uuid4().hex}",
            workers=[worker],
            pure=False,
        )
        self._places[str(future.key)] = _Place(job, worker, future)
        future.add_done_callback(self._ended.put)

    def _outcome(self, job: Job, future: Future[Outcome]) -> Outcome | None:
        """The outcome of a job, None if it killed too many workers. Raises TimeoutError if it is lost."""
        try:
            outcome: Outcome = future.result(timeout=_INTERVAL)
        except KilledWorker:
            return None
        except TimeoutError:
            raise
        except CancelledError as error:
            raise TvdenoiseError(_LOST, _CONTINUE) from error
        except Exception as error:  # noqa: BLE001  # any error of Dask about one job
            reason = f"the cluster failed on it: {type(error).__name__}: {one_line(error)}"
            return _failed(job, TvdenoiseError(reason, "try it without --cluster"))
        return replace(outcome, source=str(job.source), target=str(job.target))

    def _give_up(self) -> None:
        """Take back unfinished jobs; a worker on another machine still finishes its current file."""
        self.given_up = tuple(place.job for place in self._places.values())
        self._cancel(list(self._places.values()))
        self._places.clear()


def _absolute(job: Job) -> Job:
    """The job with absolute paths, for workers that run in other folders."""
    return replace(
        job,
        source=Path(os.path.abspath(job.source)),
        target=Path(os.path.abspath(job.target)),
        residual=None if job.residual is None else Path(os.path.abspath(job.residual)),
        trace=None if job.trace is None else Path(os.path.abspath(job.trace)),
        slices=tuple(map(_absolute, job.slices)),
    )


def _failed(job: Job, error: TvdenoiseError) -> Outcome:
    return failed(str(job.source), str(job.target), error)


def _failure_of_killer(job: Job) -> Outcome:
    reason = "every worker that tried it was killed, probably because memory ran out"
    return _failed(job, TvdenoiseError(reason, "use fewer or larger workers"))
