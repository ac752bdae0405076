"""Doing jobs in worker processes: what kills one of them costs its own file only."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING

import tvdenoise
from tvdenoise.batch.channel import (
    Announcement,
    Channel,
    Compiling,
    Finished,
    Prepare,
    Prepared,
    Reply,
    Setup,
    Task,
)
from tvdenoise.batch.runner import failed
from tvdenoise.errors import TvdenoiseError
from tvdenoise.files.atomic import sweep

if TYPE_CHECKING:
    from collections.abc import Callable

    from tvdenoise.batch.in_place import ReplacementLog
    from tvdenoise.batch.outcome import Outcome
    from tvdenoise.batch.outputs import Job
    from tvdenoise.batch.request import Settings
    from tvdenoise.batch.share import Share


_START = "import sys; sys.path.append(sys.argv[1]); from tvdenoise.batch.worker import main; main()"
_SIGNALS_OF_SHORTAGE = {"SIGKILL", "SIGBUS", "SIGSEGV", "SIGABRT"}


class WorkerLostError(TvdenoiseError):
    """A worker process ended before its job did."""


class _Worker:
    """A worker process, seen from its parent."""

    def __init__(self, setup: Setup) -> None:
        package = str(Path(tvdenoise.__file__).parents[1])
        # -P: nothing that lies in the current folder is taken for a module.
        with _interrupts_blocked():
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _START, package], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._channel = Channel(self._process.stdout, self._process.stdin)  # type: ignore[arg-type]
        self._setup: Setup | None = setup

    def ask(
        self, message: Prepare | Task, replacement_log: ReplacementLog, on_compiling: Callable[[], None]
    ) -> Prepared | Finished:
        """Send a message and wait for its answer, serving the worker meanwhile. Raises WorkerLostError."""
        try:
            if self._setup is not None:
                self._channel.send(self._setup)
                self._setup = None
            self._channel.send(message)
            while True:
                match answer := self._channel.receive():
                    case Compiling():
                        on_compiling()
                    case Announcement(target, digest):
                        self._channel.send(Reply(_refusal(replacement_log, target, digest)))
                    case Prepared() | Finished():
                        return answer
        except (EOFError, OSError) as error:
            raise self._lost() from error

    def _lost(self) -> WorkerLostError:
        code = self._process.wait()
        if code >= 0:
            return WorkerLostError(
                f"the worker process ended (exit code {code})", "run it again with --jobs 1"
            )
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        cause = ", as happens when memory runs out" if name in _SIGNALS_OF_SHORTAGE else ""
        return WorkerLostError(f"the worker process was killed ({name}){cause}", "try fewer --jobs")

    def end(self) -> None:
        """Kill it; what it has finished is whole on the disk."""
        self._process.kill()
        self._process.wait()
        self._channel.close()


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """What this thread starts meanwhile never gets Ctrl-C, not even before it can ignore it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _refusal(replacement_log: ReplacementLog, target: str, digest: str) -> tuple[str, str | None] | None:
    try:
        replacement_log.announce(target, digest)
    except TvdenoiseError as error:
        return error.reason, error.remedy
    return None


class Crew:
    """Worker processes that do the jobs of a share, each served by a thread of this process."""

    def __init__(
        self,
        settings: Settings,
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
        self._alive: dict[_Worker, Job | None] = {}
        self._lock = Lock()
        self._first = Lock()  # held for good by a thread that has a job, so that no memory keeps it waiting
        self._is_compiled = Event()
        self._ended = False

    def outcomes(self, jobs: Sequence[Job]) -> Generator[Outcome, None, None]:
        """The outcomes of the jobs of the share, as they come. When left early, the jobs at work are given up."""
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
        try:
            worker: _Worker | None = None
            while (taken := self._share.take()) is not None:
                job, threads = taken
                is_first = self._first.acquire(blocking=False)
                try:
                    worker = worker or self._ready_worker(is_first=is_first)
                    outcome = self._do(worker, job, threads)
                except WorkerLostError as error:
                    outcome = failed(str(job.source), str(job.target), error)
                    self._forget(worker, job)
                    worker = None
                finally:
                    self._share.give_back(job)
                self._outcomes.put(outcome)
        except BaseException as error:  # noqa: BLE001  # told where the outcomes are waited for
            self._outcomes.put(error)
        finally:
            self._is_compiled.set()

    def _ready_worker(self, *, is_first: bool) -> _Worker:
        """A worker that has loaded the kernels; the first one compiles them where they are missing."""
        worker = _Worker(self._setup)
        with self._lock:
            if self._ended:
                worker.end()
                raise WorkerLostError("the run has ended")
            self._alive[worker] = None
        try:
            if not is_first:
                self._is_compiled.wait()
            worker.ask(Prepare(), self._replacement_log, self._announce_compilation)
        except WorkerLostError:
            self._forget(worker, None)
            raise
        finally:
            if is_first:
                self._is_compiled.set()
        return worker

    def _do(self, worker: _Worker, job: Job, threads: int) -> Outcome:
        with self._lock:
            self._alive[worker] = job
        answer = worker.ask(Task(job, threads), self._replacement_log, self._announce_compilation)
        with self._lock:
            self._alive[worker] = None
        assert isinstance(answer, Finished)
        return answer.outcome

    def _forget(self, worker: _Worker | None, job: Job | None) -> None:
        """Clear up after a worker that is gone."""
        if worker is None:
            return
        with self._lock:
            was_alive = self._alive.pop(worker, None)
        worker.end()
        if (lost := job or was_alive) is not None:
            for folder in lost.folders:
                sweep(folder)

    def _end(self) -> None:
        self._share.stop()
        with self._lock:
            self._ended = True
            alive = dict(self._alive)
        for worker in alive:
            worker.end()
        for job in filter(None, alive.values()):
            for folder in job.folders:
                with suppress(OSError):
                    sweep(folder)
