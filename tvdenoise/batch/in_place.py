"""Replacing an input by its result: once, and only if nobody else has changed it meanwhile."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tvdenoise import __version__
from tvdenoise.errors import TvdenoiseError, UnreadableImageError
from tvdenoise.files.paths import reason_of

if TYPE_CHECKING:
    from tvdenoise.batch.outputs import Job
    from tvdenoise.files.decoded import DecodedImage
    from tvdenoise.formats.family import Format
    from tvdenoise.options import FileOptions
    from tvdenoise.solver.descent import Solution


class ReplacementLog(Protocol):
    """The digests (SHA-256) of what was put in the place of inputs."""

    @property
    def replaced(self) -> frozenset[str]:
        """The digests that earlier runs have written."""
        ...

    def announce(self, target: str, digest: str) -> None:
        """Keep, safely on the disk, what is about to replace a file. Raises TvdenoiseError."""
        ...


class NoReplacementLog:
    """That of runs which keep none."""

    replaced: frozenset[str] = frozenset()

    def announce(self, target: str, digest: str) -> None:
        raise AssertionError(f"{target}: nothing keeps {digest}")  # the plan has refused this


def record_of(solution: Solution, options: FileOptions) -> str:
    """The line in a written file that says how it was denoised: μ, ε, and the options that shape the result."""
    parameters = {"mu": repr(float(solution.mu)), "epsilon": repr(float(solution.epsilon)), **options.shape()}
    return f"tvdenoise {__version__}; " + "; ".join(f"{name}={text}" for name, text in parameters.items())


@dataclass(frozen=True)
class Origin:
    """A file as it was before it was read."""

    path: Path
    status: os.stat_result

    @classmethod
    def of(cls, path: Path) -> Origin:
        try:
            return cls(path, path.stat())
        except OSError as error:
            raise UnreadableImageError(reason_of(error)) from error

    @property
    def times(self) -> tuple[int, int]:
        """Of the last access and change, in nanoseconds."""
        return self.status.st_atime_ns, self.status.st_mtime_ns

    @property
    def notices(self) -> tuple[str, ...]:
        if self.status.st_nlink < 2:
            return ()
        return ("its other hard links still hold the original image",)

    def require_unchanged(self) -> None:
        """Raise TvdenoiseError where the file is another one by now, or is no longer there."""
        try:
            now = self.path.stat()
        except OSError as error:
            raise TvdenoiseError(
                f"the file disappeared while it was being denoised: {reason_of(error)}",
                "put it back, and run it again",
            ) from error
        if _identity(now) != _identity(self.status):
            raise TvdenoiseError("the file changed while it was being denoised", "run it again")

    def require_unchanged_before(self, _written: Path) -> None:
        """As `require_unchanged`, before what was made of it takes its place."""
        self.require_unchanged()


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


@dataclass(frozen=True, eq=False)
class Replacement:
    """How a job's result takes the place of its input.

    is_recorded: the file itself will say that it is denoised; otherwise the replacement_log says so beforehand.
    """

    job: Job
    origin: Origin
    is_recorded: bool
    replacement_log: ReplacementLog

    def before(self, written: Path) -> None:
        """What has to be sure before the file is replaced. Raises TvdenoiseError where it is not."""
        self.origin.require_unchanged()
        if not self.is_recorded:
            self.replacement_log.announce(str(self.job.target), digest_of(written))


def digest_of(path: Path) -> str:
    """The SHA-256 of a file, read piece by piece."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def is_done(job: Job, image: DecodedImage, replacement_log: ReplacementLog) -> bool:
    """Whether an earlier run has denoised a file that is to be denoised once."""
    if not job.once:
        return False
    if image.metadata.record is not None:
        return True
    return bool(replacement_log.replaced) and digest_of(job.source) in replacement_log.replaced


def has_place_for_record(form: Format, *, strips_metadata: bool) -> bool:
    return "record" in form.carries and not strips_metadata
