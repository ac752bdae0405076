"""The time that a process takes, less that for which a busy machine let it wait for a processor."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread


class OwnTime:
    """seconds: what has passed while processes ended, less what their threads and this one waited for a processor.

    On an idle machine it is what a clock shows, and so it is where the system does not tell how long threads wait
    (Linux does, in /proc).
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
        """Note how long each thread has waited: of a process that has ended, the last that was seen."""
        for process in self._processes:
            for path in Path(f"/proc/{process}/task").glob("*/schedstat"):
                try:
                    self._waited[path] = int(path.read_text().split()[1]) / 1e9
                except (OSError, IndexError):  # it has just ended
                    continue


@contextmanager
def own_time(*processes: int) -> Iterator[OwnTime]:
    """Measure a block in which these processes end."""
    taken = OwnTime((os.getpid(), *processes))
    try:
        yield taken
    finally:
        taken.end()
