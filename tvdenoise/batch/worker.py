"""A worker process: runs the jobs that its parent sends, and exits with it."""

from __future__ import annotations

import os
import signal
from queue import SimpleQueue
from threading import Thread
from typing import Any

from tvdenoise.batch.denoiser import Denoiser
from tvdenoise.batch.runner import Runner
from tvdenoise.batch.worker_pool import (
    Announcement,
    Channel,
    Compiling,
    Finished,
    Prepared,
    Reply,
    Setup,
    Task,
)
from tvdenoise.errors import TvdenoiseError


class _Parent:
    """The parent's end of the channel. When it closes, this process exits at once."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._messages: SimpleQueue[Any] = SimpleQueue()
        Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        try:
            while True:
                self._messages.put(self._channel.receive())
        except EOFError:
            os._exit(0)  # the next run removes temporary files left half written

    def receive(self) -> Any:
        return self._messages.get()

    def send(self, message: object) -> None:
        try:
            self._channel.send(message)
        except OSError:
            os._exit(0)


class _ParentsReplacementLog:
    """The replacement log that the parent keeps for all workers."""

    def __init__(self, parent: _Parent, replaced: frozenset[str]) -> None:
        self._parent = parent
        self.replaced = replaced

    def announce(self, target: str, digest: str) -> None:
        self._parent.send(Announcement(target, digest))
        reply: Reply = self._parent.receive()
        if reply.refusal is not None:
            raise TvdenoiseError(*reply.refusal)


def main() -> None:
    """Serve jobs over standard input and output until the parent closes them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    parent = _Parent(_channel())
    setup: Setup = parent.receive()
    denoiser = Denoiser(setup.settings, lambda: parent.send(Compiling()))
    runner = Runner(setup.settings, denoiser, replacement_log=_ParentsReplacementLog(parent, setup.replaced))
    parent.send(Prepared())
    while True:
        task: Task = parent.receive()
        parent.send(Finished(runner.attempt(task.job, task.threads)))


def _channel() -> Channel:
    """A channel over the pipes of the standard streams, which are redirected so that prints cannot corrupt it."""
    incoming, outgoing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    return Channel(incoming, outgoing)
