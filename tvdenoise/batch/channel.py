"""What a run and its worker processes say to each other, over a pair of pipes."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from tvdenoise.batch.outcome import Outcome
    from tvdenoise.batch.outputs import Job
    from tvdenoise.batch.request import Settings


@dataclass(frozen=True)
class Setup:
    """To a worker, first of all: the settings, and the digests that the replacement_log holds."""

    settings: Settings
    replaced: frozenset[str]


@dataclass(frozen=True)
class Prepare:
    """To a worker: load the kernels, or compile them."""


@dataclass(frozen=True)
class Task:
    """To a worker: do a job on so many threads."""

    job: Job
    threads: int


@dataclass(frozen=True)
class Compiling:
    """From a worker: the kernels have to be compiled, which takes a while."""


@dataclass(frozen=True)
class Prepared:
    """From a worker: it is ready for tasks."""


@dataclass(frozen=True)
class Announcement:
    """From a worker: this is about to replace a file; it waits for a `Reply`."""

    target: str
    digest: str


@dataclass(frozen=True)
class Reply:
    """To a worker: the announcement is kept, or why not (reason and remedy)."""

    refusal: tuple[str, str | None] | None


@dataclass(frozen=True, eq=False)
class Finished:
    """From a worker: what became of its job."""

    outcome: Outcome


class Channel:
    """One end of the two pipes. Messages arrive whole and in order."""

    def __init__(self, incoming: BinaryIO, outgoing: BinaryIO) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._lock = Lock()

    def send(self, message: object) -> None:
        """Raises OSError where the other side is gone."""
        packed = pickle.dumps(message)
        with self._lock:
            self._outgoing.write(packed)
            self._outgoing.flush()

    def receive(self) -> Any:
        """Wait for the next message. Raises EOFError where the other side is gone."""
        try:
            return pickle.load(self._incoming)
        except (OSError, pickle.UnpicklingError) as error:  # it was killed while it wrote
            raise EOFError from error

    def close(self) -> None:
        for stream in (self._incoming, self._outgoing):
            try:
                stream.close()
            except OSError:  # what could not be flushed has no reader
                continue
