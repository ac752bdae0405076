"""Which files have arrived whole: those that have stopped changing."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Stamp:
    """What a file's change shows in."""

    identity: tuple[int, int]
    size: int
    modified: int
    mode: int

    @classmethod
    def of(cls, path: Path) -> Stamp | None:
        """None where no file is seen."""
        try:
            status = path.stat()
        except (OSError, ValueError):
            return None
        if not stat.S_ISREG(status.st_mode):
            return None
        identity = status.st_dev, status.st_ino
        return cls(identity, status.st_size, status.st_mtime_ns, status.st_mode)


@dataclass(frozen=True)
class _Look:
    """What a file was like, since when."""

    stamp: Stamp
    since: float


class Arrivals:
    """Takes note of files about which there is news, and hands each out once it is settled.

    A file is settled when it has been the same for so many seconds, and handed out again only after it has changed.
    Times are those of any clock that only goes forward. look: what a file is like now; None where there is none.
    """

    def __init__(self, settling: float, look: Callable[[Path], Stamp | None] = Stamp.of) -> None:
        self._settling = settling
        self._look = look
        self._waiting: dict[Path, _Look] = {}
        self._handed_out: dict[Path, Stamp] = {}

    def note(self, paths: Iterable[Path], now: float) -> None:
        """There is news about these: they are new, have changed, or are gone."""
        for path in paths:
            stamp = self._look(path)
            if stamp is None:
                self._waiting.pop(path, None)
                self._handed_out.pop(path, None)
            elif stamp == self._handed_out.get(path):
                self._waiting.pop(path, None)
            elif path not in self._waiting or self._waiting[path].stamp != stamp:
                self._waiting[path] = _Look(stamp, now)

    def settled(self, now: float) -> list[Path]:
        """Those that have been the same for long enough, in the order of their last change."""
        due = [path for path, look in self._waiting.items() if now - look.since >= self._settling]
        self.note(due, now)
        settled = []
        for path in due:
            look = self._waiting.get(path)
            if look is not None and now - look.since >= self._settling:
                settled.append(path)
                self._handed_out[path] = self._waiting.pop(path).stamp
        return sorted(settled, key=lambda path: (self._handed_out[path].modified, os.fspath(path)))

    @property
    def next_due(self) -> float | None:
        """When the next may be settled; None where none is waiting."""
        if not self._waiting:
            return None
        return self._settling + min(look.since for look in self._waiting.values())
