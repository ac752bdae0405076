"""The time that processes take, without the time that they wait for a processor on a busy machine."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread


class OwnTime:
    """Measures a period in which processes end.

    seconds: the elapsed time, less the time that threads of these processes and of this one waited for a processor.
    Systems other than Linux, which reports the waits in /proc, give the elapsed time.
    """

    def __init__(self, processes: tuple[int, ...]) -> None:
        self.seconds = 0.0
        self._processes = processes
        self._waited: dict[Path, float] = {}
        self._start, self._is_over = time.perf_counter(), Event()
        self._look()
        self._before = dict(self._waited)
        self._watcher = Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def end(self) -> None:
        passed = time.perf_counter() - self._start
        self._is_over.set()
        self._watcher.join()
        waited = sum(total - self._before.get(path, 0.0) for path, total in self._waited.items())
        self.seconds = max(0.0, passed - waited)

    def _watch(self) -> None:
        while not self._is_over.wait(0.01):
            self._look()
        self._look()

    def _look(self) -> None:
        """Record how long each thread has waited; the last record of an ended thread stays."""
        for process in self._processes:
            tasks = Path(f"/proc/{process}/task")
            try:
                threads = os.listdir(tasks)
            except OSError:  # the process has ended, or the system has no /proc
                continue
            for thread in threads:
                path = tasks / thread / "schedstat"
                try:
                    self._waited[path] = int(path.read_text().split()[1]) / 1e9
                except (OSError, IndexError):  # the thread has just ended
                    continue


@contextmanager
def own_time(*processes: int) -> Iterator[OwnTime]:
    """Measure a block in which these processes end."""
    timer = OwnTime((os.getpid(), *processes))
    try:
        yield timer
    finally:
        timer.end()
