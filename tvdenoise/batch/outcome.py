"""The outcome of a file and of a run, and the summary of the solves of one file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from tvdenoise.errors import ExitCode

if TYPE_CHECKING:
    pass


class FileStatus(StrEnum):
    """What became of a file."""

    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Figures:
    """How a file was denoised; intensities are fractions of the data range.

    noise: the kind that was found, a word or two, or None where mu was given; correlation: of neighbours, the
    larger of both directions; growth: the largest over the least deviation.
    bits: of an integer file's intensities, or None for floats; ending: how the solve ended, a sentence.
    planes: how many pictures the file holds: then mu, epsilon and the noise are those in the middle, iterations their
    sum, and the bound that of the worst; parameters: how many different values of mu there are.
    volumes: how many were solved, 0 where pictures were one by one; spacing: of their planes, rows and columns, as
    --spacing takes it.
    shape: the options that decide, with mu and epsilon, which minimiser is found.
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
    volumes: int = 0
    spacing: str | None = None
    shape: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SharedParameters:
    """Chosen on some pictures of a set, for all of them.

    channels: of the pictures that they are for; mu: the median of what each of the sample would get; sigma: that of
    their noise levels, None where the noise was not estimated; sources: the sample.
    """

    channels: int
    mu: float
    sigma: float | None
    sources: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Outcome:
    """source, target: as they are shown, "-" for the standard streams; target None where there is none.

    reason, remedy: why it failed, or why it is less exact than asked; notices: what was not written as read.
    trace: where an error was raised, for those who develop; seconds: spent on it, reading and writing included.
    """

    source: str
    target: str | None
    status: FileStatus
    reason: str | None = None
    remedy: str | None = None
    figures: Figures | None = None
    notices: tuple[str, ...] = ()
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
