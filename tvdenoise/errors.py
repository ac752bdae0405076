"""The package's exceptions, each with the exit code that the command line gives it."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of the command line; the page ``batches`` of the manual explains each of them."""

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
    """The request itself cannot be carried out, and nothing was done."""

    exit_code = ExitCode.USAGE


class NothingToDoError(TvdenoiseError):
    """The inputs contain no image."""

    exit_code = ExitCode.NOTHING_TO_DO


class UnreadableImageError(TvdenoiseError):
    """The file is missing, damaged, or not an image."""


class UnsupportedImageError(TvdenoiseError):
    """The file is an image that cannot be processed without loss."""


class SeveralImagesError(UnsupportedImageError):
    """The file holds several images, and only the first can be used.

    otherwise: another remedy, which also applies to commands without ``--first-frame``.
    remedy_elsewhere: the remedy for those commands.
    """

    def __init__(self, reason: str, otherwise: str | None = None) -> None:
        self.remedy_elsewhere = otherwise or "save the image you want as a file of its own"
        first = "use only the first with --first-frame"
        super().__init__(reason, f"{otherwise}, or {first}" if otherwise else first)


class UnwritableImageError(TvdenoiseError):
    """The result cannot be written."""


class PriorError(UsageError):
    """The file is not a prior that can be used."""
