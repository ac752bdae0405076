"""Reaching a Dask cluster, or starting one on this machine, without a word of Dask's own."""

from __future__ import annotations

import atexit
import logging
import os
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from queue import Empty, SimpleQueue
from tempfile import TemporaryDirectory
from threading import Thread

from distributed import Client, LocalCluster
from distributed.deploy.spec import close_clusters
from distributed.utils import LoopRunner

from tvdenoise.batch.cluster_checks import one_line
from tvdenoise.errors import UsageError
from tvdenoise.files.paths import printable

_TALKATIVE = {"distributed", "tornado", "asyncio"}
_PATIENCE = 5.0  # seconds, with whatever should answer at once


@contextmanager
def silence() -> Iterator[None]:
    """What Dask has to tell is told by us, in one line; it stays quiet, since its threads talk on after the end."""
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
    """Raises UsageError for a scheduler that does not answer, or has no workers."""
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
    """Made in a thread of its own: with what is no scheduler, Dask may talk without an end."""
    made: SimpleQueue[Client | Exception] = SimpleQueue()

    def make() -> None:
        try:
            made.put(Client(address, timeout=_PATIENCE, set_as_default=False))
        except Exception as error:  # noqa: BLE001  # told where it is waited for
            made.put(error)

    Thread(target=make, daemon=True).start()
    try:
        answer = made.get(timeout=_PATIENCE + 2)
    except Empty:
        answer = TimeoutError("what listens there is something else")
    if isinstance(answer, Exception):
        reason = f"no Dask scheduler answers at {printable(address)}: {one_line(answer)}"
        raise UsageError(reason, "name a running one, such as tcp://HOST:8786, or local") from answer
    return answer


@contextmanager
def started(workers: int) -> Iterator[LocalCluster]:
    """Worker processes of this machine, which end with it, whatever they are at."""
    atexit.unregister(close_clusters)  # which has much to say about one that was interrupted while it started
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
    """A running loop whose thread, and whatever processes it starts, do not get Ctrl-C: this process decides."""
    runner = LoopRunner()
    resource_tracker.ensure_running()  # which, started from that thread, would let them through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        runner.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return runner.loop


def _end(cluster: LocalCluster) -> None:
    """Kill the workers: what they have finished is whole on the disk."""
    for nanny in cluster.workers.values():
        nanny.auto_restart = False
        if nanny.pid:
            with suppress(ProcessLookupError):
                os.kill(nanny.pid, signal.SIGKILL)
    with suppress(OSError, TimeoutError):
        cluster.close(timeout=1)
