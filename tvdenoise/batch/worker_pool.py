"""Worker processes: the pool in this process, and its messages to and from workers over a pair of pipes.

A killed worker costs one file. Why not a library: `WorkerPool` was built on loky 3.7 and on pebble 5.2, and failed
tests in `tests/batch/test_processes.py`.

- Loky abandons all jobs, running and waiting, when a worker dies: `test_a_killed_worker_costs_its_own_file_only`.
- Pebble does the same when a worker dies before its first job: `test_a_worker_killed_while_it_starts_costs_one_file`.
- The workers of both finish their jobs after their parent is killed: `test_long_jobs_die_with_their_parent`.
- In neither can a worker query its parent during a job, so we would need our channel beside the library's:
  `test_a_run_in_place_keeps_its_ledger_in_the_report_whatever_process_replaces`.
"""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, BinaryIO

import tvdenoise
from tvdenoise.batch.runner import failed
from tvdenoise.errors import TvdenoiseError
from tvdenoise.files.atomic import sweep

if TYPE_CHECKING:
    from collections.abc import Callable

    from tvdenoise.batch.in_place import ReplacementLog
    from tvdenoise.batch.outcome import Outcome
    from tvdenoise.batch.outputs import Job
    from tvdenoise.batch.share import Share
    from tvdenoise.options import FileOptions


@dataclass(frozen=True)
class Setup:
    """To a worker, first: load or compile the kernels; the settings, and the digests in the replacement log."""

    settings: FileOptions
    replaced: frozenset[str]


@dataclass(frozen=True)
class Task:
    """To a worker: run a job on a number of threads."""

    job: Job
    threads: int


@dataclass(frozen=True)
class Compiling:
    """From a worker: it is compiling a kernel, which takes seconds."""


@dataclass(frozen=True)
class Prepared:
    """From a worker: it is ready for tasks."""


@dataclass(frozen=True)
class Announcement:
    """From a worker: a file with this digest is about to replace the target. The worker waits for a `Reply`."""

    target: str
    digest: str


@dataclass(frozen=True)
class Reply:
    """To a worker: None if the announcement is logged, or the reason why not and the remedy."""

    refusal: tuple[str, str | None] | None


@dataclass(frozen=True, eq=False)
class Finished:
    """From a worker: the outcome of its job."""

    outcome: Outcome


class Channel:
    """One end of the two pipes. Messages arrive whole and in order."""

    def __init__(self, incoming: BinaryIO, outgoing: BinaryIO) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._lock = Lock()

    def send(self, message: object) -> None:
        """Send a message. Raises OSError if the other side is gone."""
        packed = pickle.dumps(message)
        with self._lock:
            self._outgoing.write(packed)
            self._outgoing.flush()

    def receive(self) -> Any:
        """Wait for the next message. Raises EOFError if the other side is gone."""
        try:
            return pickle.load(self._incoming)
        except (OSError, pickle.UnpicklingError) as error:  # the sender was killed while writing
            raise EOFError from error

    def close(self) -> None:
        for stream in (self._incoming, self._outgoing):
            with suppress(OSError):  # unflushed data has no reader
                stream.close()


_START = "import sys; sys.path.append(sys.argv[1]); from tvdenoise.batch.worker import main; main()"
_SIGNALS_OF_SHORTAGE = {"SIGKILL", "SIGBUS", "SIGSEGV", "SIGABRT"}


class WorkerLostError(TvdenoiseError):
    """A worker process ended before its job."""


class _Worker:
    """A worker process, as seen by its parent.

    on_compiling: called when the worker has to compile the kernels.
    """

    def __init__(self, replacement_log: ReplacementLog, on_compiling: Callable[[], None]) -> None:
        package = str(Path(tvdenoise.__file__).parents[1])
        # -P: do not import modules from the current folder.
        with _interrupts_blocked():
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _START, package], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._channel = Channel(self._process.stdout, self._process.stdin)  # type: ignore[arg-type]
        self._replacement_log = replacement_log
        self._on_compiling = on_compiling
        self._job: Job | None = None

    def prepare(self, setup: Setup) -> None:
        """Send the settings. Raises WorkerLostError."""
        self._ask(setup)

    def do(self, job: Job, threads: int) -> Outcome:
        """Run a job on a number of threads. Raises WorkerLostError."""
        self._job = job
        answer = self._ask(Task(job, threads))
        assert isinstance(answer, Finished)
        self._job = None
        return answer.outcome

    def _ask(self, message: Setup | Task) -> Prepared | Finished:
        """Send a message and wait for its answer, handling the worker's other messages meanwhile."""
        try:
            self._channel.send(message)
            while True:
                match answer := self._channel.receive():
                    case Compiling():
                        self._on_compiling()
                    case Announcement(target, digest):
                        self._channel.send(Reply(self._refusal(target, digest)))
                    case Prepared() | Finished():
                        return answer
        except (EOFError, OSError) as error:
            raise self._lost() from error

    def _refusal(self, target: str, digest: str) -> tuple[str, str | None] | None:
        try:
            self._replacement_log.announce(target, digest)
        except TvdenoiseError as error:
            return error.reason, error.remedy
        return None

    def _lost(self) -> WorkerLostError:
        code = self._process.wait()
        if code >= 0:
            return WorkerLostError(
                f"the worker process ended (exit code {code})", "run it again with --jobs 1"
            )
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        cause = ", probably because memory ran out" if name in _SIGNALS_OF_SHORTAGE else ""
        return WorkerLostError(f"the worker process was killed ({name}){cause}", "try fewer --jobs")

    def end(self) -> None:
        """Kill the worker and remove its temporary files; finished outputs are whole on the disk."""
        self._process.kill()
        self._process.wait()
        self._channel.close()
        if self._job is not None:
            for folder in self._job.folders:
                sweep(folder)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Block Ctrl-C for processes started in this context, which would get it before they can ignore it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class WorkerPool:
    """Worker processes that run the jobs of a share, each served by a thread of this process."""

    def __init__(
        self,
        settings: FileOptions,
        workers: int,
        share: Share,
        replacement_log: ReplacementLog,
        announce_compilation: Callable[[], None],
    ) -> None:
        self._setup = Setup(settings, replacement_log.replaced)
        self._workers = workers
        self._share = share
        self._replacement_log = replacement_log
        self._announce_compilation = announce_compilation
        self._outcomes: SimpleQueue[Outcome | BaseException] = SimpleQueue()
        self._alive: set[_Worker] = set()
        self._lock = Lock()
        self._ended = False

    def outcomes(self, jobs: Sequence[Job]) -> Generator[Outcome, None, None]:
        """Yield the outcomes of the share's jobs as they finish. Closing the generator abandons running jobs."""
        threads = [Thread(target=self._serve, daemon=True) for _ in range(self._workers)]
        for thread in threads:
            thread.start()
        try:
            for _ in jobs:
                outcome = self._outcomes.get()
                if isinstance(outcome, BaseException):
                    raise outcome
                yield outcome
        finally:
            self._end()

    def _serve(self) -> None:
        worker: _Worker | None = None
        try:
            while (taken := self._share.take()) is not None:
                job, threads = taken
                try:
                    if worker is None:
                        worker = self._new_worker()
                        worker.prepare(self._setup)
                    outcome = worker.do(job, threads)
                except WorkerLostError as error:
                    outcome = failed(str(job.source), str(job.target), error)
                    self._forget(worker)
                    worker = None
                finally:
                    self._share.give_back(job)
                self._outcomes.put(outcome)
        except BaseException as error:  # noqa: BLE001  # raised by `outcomes`
            self._outcomes.put(error)

    def _new_worker(self) -> _Worker:
        worker = _Worker(self._replacement_log, self._announce_compilation)
        with self._lock:
            if not self._ended:
                self._alive.add(worker)
                return worker
        worker.end()
        raise WorkerLostError("the run has ended")

    def _forget(self, worker: _Worker | None) -> None:
        if worker is not None:
            with self._lock:
                self._alive.discard(worker)
            worker.end()

    def _end(self) -> None:
        self._share.stop()
        with self._lock:
            self._ended = True
            alive = tuple(self._alive)
        for worker in alive:
            worker.end()
