"""The package's exceptions, each with the exit code that the command line gives it."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What the process tells its caller; the page ``batches`` of the manual explains every value."""

    DONE = 0
    FILE_FAILED = 1
    USAGE = 2
    NOTHING_TO_DO = 3
    INTERRUPTED = 130
    TERMINATED = 143


class TvdenoiseError(Exception):
    """An error that a user can act on: what is wrong, and the remedy.

    ``str(error)`` is one line, ``REASON; REMEDY`` (or the reason alone where no remedy exists).
    """

    exit_code = ExitCode.FILE_FAILED

    def __init__(self, reason: str, remedy: str | None = None) -> None:
        self.reason = reason
        self.remedy = remedy
        super().__init__(f"{reason}; {remedy}" if remedy else reason)


class UsageError(TvdenoiseError):
    """Nothing was done because the request itself cannot be carried out."""

    exit_code = ExitCode.USAGE


class NothingToDoError(TvdenoiseError):
    """The inputs hold no image."""

    exit_code = ExitCode.NOTHING_TO_DO


class UnreadableImageError(TvdenoiseError):
    """The file is missing, damaged, or not an image."""


class UnsupportedImageError(TvdenoiseError):
    """The file is an image that cannot be carried through without loss."""


class SeveralImagesError(UnsupportedImageError):
    """The file holds several pictures, of which only the first can be taken.

    otherwise: another remedy, which holds for commands without ``--first-frame``, too.
    remedy_elsewhere: the one to tell there.
    """

    def __init__(self, reason: str, otherwise: str | None = None) -> None:
        self.remedy_elsewhere = otherwise or "save the one that is meant as a file of its own"
        first = "take the first alone with --first-frame"
        super().__init__(reason, f"{otherwise}, or {first}" if otherwise else first)


class UnwritableImageError(TvdenoiseError):
    """The result cannot be written."""
