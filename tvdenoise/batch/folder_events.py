"""Collect the operating system's events for a folder until the next query."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from threading import Condition
from types import TracebackType
from typing import TYPE_CHECKING

from watchdog.events import FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.polling import PollingObserver

from tvdenoise.errors import UsageError
from tvdenoise.files.paths import printable, reason_of

if TYPE_CHECKING:
    from watchdog.events import FileSystemEvent


_NO_NEWS = {"opened", "closed_no_write"}  # the file was only read
_SHORTAGES = {errno.ENOSPC, errno.EMFILE}  # too many watches, on Linux


class FolderEvents(FileSystemEventHandler):
    """Context manager that watches a folder.

    recursive: include sub-folders; polling: seconds between polls, for file systems without events, or None.
    """

    def __init__(self, folder: Path, *, recursive: bool, polling: float | None) -> None:
        self._folder = folder
        self._place = os.path.realpath(folder)  # some systems report real paths only
        self._recursive = recursive
        self._observer = Observer() if polling is None else PollingObserver(timeout=polling)
        self._changed: set[Path] = set()
        self._news = Condition()

    def __enter__(self) -> FolderEvents:
        """Raise UsageError if the folder cannot be watched."""
        try:
            self._observer.schedule(self, self._place, recursive=self._recursive)
            self._observer.start()
        except OSError as error:
            reason = f"cannot watch {printable(self._folder)}: {reason_of(error)}"
            remedy = "raise fs.inotify.max_user_watches, or" if error.errno in _SHORTAGES else "try"
            raise UsageError(reason, f"{remedy} --poll SECONDS") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._observer.stop()
        self._observer.join(timeout=1)

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Called by watchdog, from its own thread."""
        if event.event_type in _NO_NEWS or (event.is_directory and event.event_type == "modified"):
            return
        with self._news:
            for name in filter(None, (event.src_path, event.dest_path)):
                path = Path(os.fsdecode(name))  # type: ignore[arg-type]  # watchdog's types are too wide
                if path.is_relative_to(self._place):  # the other end of a move may be elsewhere
                    self._changed.add(self._folder / path.relative_to(self._place))
            self._news.notify_all()

    def take(self, timeout: float) -> set[Path]:
        """Wait for changed files and folders, and return them, each once; empty after the timeout (seconds)."""
        with self._news:
            self._news.wait_for(lambda: self._changed, max(0.0, timeout))
            changed, self._changed = self._changed, set()
        return changed
