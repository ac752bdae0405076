"""Keeping C libraries from printing: what goes wrong is told once, in our own words."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Lock

_STANDARD_ERROR = 2


class _Silence:
    """Of standard error, for as long as anyone wants it; threads may want it at the same time."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._wanted = 0
        self._saved: int | None = None

    def begin(self) -> None:
        with self._lock:
            self._wanted += 1
            if self._wanted == 1:
                with suppress(OSError, ValueError):  # closed: then it is silent
                    sys.stderr.flush()
                    self._saved = os.dup(_STANDARD_ERROR)
                    nowhere = os.open(os.devnull, os.O_WRONLY)
                    os.dup2(nowhere, _STANDARD_ERROR)
                    os.close(nowhere)

    def end(self) -> None:
        with self._lock:
            self._wanted -= 1
            if self._wanted == 0 and self._saved is not None:
                os.dup2(self._saved, _STANDARD_ERROR)
                os.close(self._saved)
                self._saved = None


_SILENCE = _Silence()


@contextmanager
def silent_libraries() -> Iterator[None]:
    """Inside, whatever is printed to the process's standard error is lost."""
    _SILENCE.begin()
    try:
        yield
    finally:
        _SILENCE.end()
