"""Changes to the whole process while image libraries are at work."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from threading import Lock

from PIL import Image, ImageFile

_STANDARD_ERROR = 2


class ProcessWide:
    """A change that lasts while anyone is inside; threads may be inside at the same time.

    change: a context manager that makes it and takes it back, which is entered by the first one only.
    """

    def __init__(self, change: Callable[[], AbstractContextManager[None]]) -> None:
        self._change = change
        self._lock = Lock()
        self._inside = 0
        self._current: AbstractContextManager[None] | None = None

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._current = self._change()
                self._current.__enter__()
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0 and self._current is not None:
                self._current.__exit__(None, None, None)


@contextmanager
def _settings() -> Iterator[None]:
    limit, truncated = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about metadata that is malformed, which fails no image
        try:
            Image.MAX_IMAGE_PIXELS = None  # replaced by our limit, which says how to raise it
            ImageFile.LOAD_TRUNCATED_IMAGES = False  # whatever another library may have set
            yield
        finally:
            Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = limit, truncated


@contextmanager
def _silence() -> Iterator[None]:
    saved = None
    with suppress(OSError, ValueError):  # closed: then it is silent
        sys.stderr.flush()
        saved = os.dup(_STANDARD_ERROR)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, _STANDARD_ERROR)
        os.close(nowhere)
    try:
        yield
    finally:
        if saved is not None:
            os.dup2(saved, _STANDARD_ERROR)
            os.close(saved)


#: Inside, Pillow warns of nothing, has no limit of pixels, and refuses what is truncated.
PILLOW_SETTINGS = ProcessWide(_settings)
#: Inside, what C libraries print to standard error is lost: what goes wrong is told once, in our own words.
SILENT_LIBRARIES = ProcessWide(_silence)
