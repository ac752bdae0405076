"""Replace an input by its result: once, and only if it has not changed meanwhile."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tvdenoise import __version__
from tvdenoise.errors import TvdenoiseError, UnreadableImageError
from tvdenoise.files.opening import opened_file
from tvdenoise.files.paths import printable, reason_of
from tvdenoise.files.slices import naming_slice

if TYPE_CHECKING:
    from tvdenoise.batch.outputs import Job
    from tvdenoise.files.decoded import DecodedImage
    from tvdenoise.formats.family import Format
    from tvdenoise.options import FileOptions
    from tvdenoise.solver.descent import Solution


class ReplacementLog(Protocol):
    """A log of the files that replaced inputs, by their SHA-256 digests."""

    @property
    def replaced(self) -> frozenset[str]:
        """The digests that earlier runs logged."""
        ...

    def announce(self, target: str, digest: str) -> None:
        """Log, durably on disk, the file about to replace the target. Raises TvdenoiseError."""
        ...


class NoReplacementLog:
    """The log of a run that keeps none."""

    replaced: frozenset[str] = frozenset()

    def announce(self, target: str, digest: str) -> None:
        raise AssertionError(f"{target}: nothing keeps {digest}")  # the plan has refused this


def record_of(solution: Solution | None, options: FileOptions) -> str:
    """The line stored in an output that records μ and ε, or the level, and the options that shape the result.

    solution: None for an image that was only despeckled.
    """
    if solution is None:
        return f"tvdenoise {__version__}; impulses=on"
    if solution.level is not None:
        chosen = {"level": repr(float(solution.level))}
    else:
        chosen = {"mu": repr(float(solution.mu)), "epsilon": repr(float(solution.epsilon))}
    parameters = chosen | options.shape()
    return f"tvdenoise {__version__}; " + "; ".join(f"{name}={text}" for name, text in parameters.items())


@dataclass(frozen=True)
class Origin:
    """The status of a file before it was read."""

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
        """Times of last access and modification, in nanoseconds."""
        return self.status.st_atime_ns, self.status.st_mtime_ns

    @property
    def notes(self) -> tuple[str, ...]:
        if self.status.st_nlink < 2:
            return ()
        return ("its other hard links still hold the original image",)

    def require_unchanged(self, _written: Path | None = None) -> None:
        """Raise TvdenoiseError if the file has changed or is gone; serves as the `before` of a writer."""
        try:
            now = self.path.stat()
        except OSError as error:
            raise TvdenoiseError(
                f"the file disappeared while it was being denoised: {reason_of(error)}",
                "put it back, and run it again",
            ) from error
        if _identity(now) != _identity(self.status):
            raise TvdenoiseError("the file changed while it was being denoised", "run it again")


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


@dataclass(frozen=True, eq=False)
class Replacement:
    """The replacement of a job's input by its result.

    is_recorded: the result itself records that it is denoised; otherwise the replacement log does, beforehand.
    """

    job: Job
    origin: Origin
    is_recorded: bool
    replacement_log: ReplacementLog

    def before(self, written: Path) -> None:
        """Check, and log if necessary, right before the file is replaced. Raises TvdenoiseError."""
        self.origin.require_unchanged()
        if not self.is_recorded:
            self.replacement_log.announce(str(self.job.target), digest_of(written))


def digest_of(path: Path) -> str:
    """The SHA-256 digest of a file, read in chunks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def is_done(job: Job, image: DecodedImage, replacement_log: ReplacementLog) -> bool:
    """Return True if a file to be denoised only once was denoised by an earlier run."""
    return was_denoised(job, image.metadata.record, replacement_log.replaced)


def was_denoised(job: Job, record: str | None, replaced: frozenset[str]) -> bool:
    """As `is_done`, given the record in the file, and the digests of files that earlier runs put in place."""
    return job.once and (record is not None or was_put_there(job.source, replaced))


def was_put_there(path: Path, replaced: frozenset[str]) -> bool:
    """Return True if a file is one that earlier runs put in the place of an input. Raises OSError.

    replaced: digests of these files.
    """
    return bool(replaced) and digest_of(path) in replaced


def slices_are_done(job: Job, replaced: frozenset[str]) -> bool:
    """Return True if slices to be denoised only once were denoised by an earlier run; replaced: as above.

    Raises TvdenoiseError if some were, and others not.
    """
    if not job.once:
        return False
    done = [each.source.name for each in job.slices if _slice_is_done(each.source, replaced)]
    if done and len(done) < len(job.slices):
        raise TvdenoiseError(
            f"{len(done)} of its {len(job.slices)} slices are denoised already, such as {printable(done[0])}",
            "put the originals back, or denoise all of them once more with --again",
        )
    return bool(done)


def _slice_is_done(path: Path, replaced: frozenset[str]) -> bool:
    with naming_slice(path), opened_file(path) as file:
        return file.record is not None or was_put_there(path, replaced)


def has_place_for_record(form: Format, *, strips_metadata: bool) -> bool:
    return "record" in form.carries and not strips_metadata
