"""Helper threads that stay: a team hands one piece of work to all of its threads, and waits until all are done.

Starting threads and handing out tasks through a queue costs more than a sweep of a small image. Here a hand-over is
one lock released and one queue read. Helpers that no team uses wait for the next one, for as long as the process lives.

They survive what happens to a process: a child after a fork, which has no threads, starts new ones; teams of
concurrent callers share no helper; and an interpreter that ends does not wait for helpers, which are daemons that hold
no lock. A team never returns while one of its threads is still at work.
"""

from __future__ import annotations

import os
from queue import SimpleQueue
from threading import Lock, Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class _Helper:
    """A thread that calls a piece of work each time it is told to go.

    work: what it is at; it sets this to None when it has ended, just before it says so in ``done``.
    """

    def __init__(self) -> None:
        self.work: Callable[[], None] | None = None
        self.error: BaseException | None = None
        self.go = Lock()
        self.go.acquire()
        self.done: SimpleQueue[None] = SimpleQueue()
        Thread(target=self._serve, name="tvdenoise-helper", daemon=True).start()

    def _serve(self) -> None:
        while True:
            self.go.acquire()
            try:
                assert self.work is not None
                self.work()
            except BaseException as error:  # noqa: BLE001 raised by the team
                self.error = error
            self.work = None
            self.done.put(None)


def _wait_for(helpers: list[_Helper]) -> list[BaseException]:
    """Wait until all helpers have ended, whatever interrupts the waiting; return the errors of both."""
    errors: list[BaseException] = []
    while any(helper.work is not None for helper in helpers):
        try:
            for helper in helpers:
                while helper.work is not None:
                    helper.done.get()  # perhaps of earlier work, if that waiting was interrupted
        except BaseException as error:  # noqa: BLE001 such as KeyboardInterrupt, raised by the team
            errors.append(error)
    for helper in helpers:
        if helper.error is not None:
            errors.append(helper.error)
            helper.error = None
    return errors


#: Helpers without a team.
_idle: list[_Helper] = []


def _helper() -> _Helper:
    try:
        return _idle.pop()
    except IndexError:
        return _Helper()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)


class Team:
    """The calling thread and its helpers, until it is dismissed.

    size: the number of threads, including the calling one.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._process = os.getpid()
        self._helpers = [_helper() for _ in range(size - 1)]

    def __call__(self, work: Callable[[], None]) -> None:
        """Call ``work`` in every thread of the team; return when all calls have. Raises what one of them raised."""
        if self._process != os.getpid():  # after a fork
            self.__init__(self._size)  # type: ignore[misc]
        try:
            for helper in self._helpers:
                # Nothing can interrupt these two statements: what waits looks at the first.
                helper.work = work
                helper.go.release()
            work()
        finally:
            errors = _wait_for(self._helpers)
        if errors:
            raise errors[0]

    def dismiss(self) -> None:
        """Give the helpers back."""
        if self._process == os.getpid():
            _idle.extend(helper for helper in self._helpers if helper.work is None)
        self._helpers = []
        self._size = 1
