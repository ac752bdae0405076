"""The outcome of a file and of a run, and the figures of one file's solves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tvdenoise.errors import ExitCode


class FileStatus(StrEnum):
    """The final state of a file."""

    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Figures:
    """How a file was denoised; intensities are fractions of the data range.

    noise: the kind found, in a word or two, or None if mu was given; correlation: of neighbouring pixels, the larger
    of both directions; growth: largest standard deviation over the smallest.
    bits: per intensity of unsigned integers of 8 or 16 bits, otherwise None; ending: how the solve ended, a sentence.
    planes: number of images in the file; with several, mu, epsilon and noise are medians, iterations a sum, and the
    bound the worst; parameters: number of different values of mu.
    bands: number of bands of an image solved one by one, otherwise 1; they count as further solves.
    volumes: number of volumes solved, 0 if images were solved one by one; spacing: of planes, rows and columns, in
    the syntax of --spacing.
    pixels: of all masks, 0 without a mask; in_mask: those of them that are denoised, None without a mask.
    shape: the options that, with mu and epsilon, define the minimiser.
    nothing_done: why the result is the input, a sentence; None if it is not.
    level: of learned filters, whose mu is its reciprocal and whose epsilon is 0; None with total variation.
    """

    mu: float
    epsilon: float
    sigma: float | None
    iterations: int
    distance_bound: float
    converged: bool
    ending: str
    noise: str | None
    correlation: float | None
    growth: float | None
    bits: int | None
    planes: int = 1
    parameters: int = 1
    bands: int = 1
    volumes: int = 0
    spacing: str | None = None
    pixels: int = 0
    in_mask: int | None = None
    shape: Mapping[str, str] = field(default_factory=dict)
    nothing_done: str | None = None
    level: float | None = None


@dataclass(frozen=True)
class SharedParameters:
    """Parameters chosen on a sample of a set, for the whole set.

    channels: of the images they apply to; mu: median over the sample; sigma: median noise level, None if the noise
    was not estimated; sources: the sample.
    """

    channels: int
    mu: float
    sigma: float | None
    sources: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Outcome:
    """The outcome of one file.

    source, target: as shown, "-" for the standard streams; target is None if there is none.
    reason, remedy: why the file failed, or missed its tolerance; notes: what was not written as read.
    figures: None for a file that is not done, and for one that was only despeckled.
    trace: traceback of an error, for developers; seconds: spent on the file, including reading and writing.
    """

    source: str
    target: str | None
    status: FileStatus
    reason: str | None = None
    remedy: str | None = None
    figures: Figures | None = None
    notes: tuple[str, ...] = ()
    trace: str | None = None
    seconds: float = 0.0

    @property
    def is_short_of_tolerance(self) -> bool:
        return self.figures is not None and not self.figures.converged


@dataclass
class Tally:
    """The counts of a run so far."""

    done: int = 0
    failed: int = 0
    skipped: int = 0
    short_of_tolerance: int = 0

    def add(self, outcome: Outcome) -> None:
        self.done += outcome.status is FileStatus.DONE
        self.failed += outcome.status is FileStatus.FAILED
        self.skipped += outcome.status is FileStatus.SKIPPED
        self.short_of_tolerance += outcome.is_short_of_tolerance

    @property
    def count(self) -> int:
        return self.done + self.failed + self.skipped

    @property
    def exit_code(self) -> ExitCode:
        return ExitCode.FILE_FAILED if self.failed else ExitCode.DONE
