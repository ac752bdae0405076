"""What a user asks for: which files, which streams, and where results go."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from tvdenoise.errors import UsageError
from tvdenoise.files.paths import printable

_ANY_FOLDERS = "**"
STANDARD_STREAM = "-"
DEFAULT_SUFFIX = "_denoised"
SHEET_ENDING = "_tune.png"  # of the names of contact sheets beside their pictures


@dataclass(frozen=True)
class Patterns:
    """Shell patterns, upper and lower case told apart.

    A pattern without a "/" is one of names: of files, and where it excludes also of folders. One with a "/" is one of
    whole places below the input folder; there "*" stays within a name, and "**" stands for any folders.
    Raises UsageError for an empty pattern.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for option, patterns in (("--include", self.include), ("--exclude", self.exclude)):
            if any(not pattern.strip("/") for pattern in patterns):
                raise UsageError(f"{option} is empty", "give it a pattern such as '*.tif'")

    def takes(self, place: Path) -> bool:
        """Whether the file at a place below the input folder is taken, its folders being entered."""
        is_included = not self.include or any(_matches(pattern, place) for pattern in self.include)
        return is_included and self.enters(place)

    def enters(self, place: Path) -> bool:
        """Whether the folder at a place below the input folder is looked into."""
        return not any(_matches(pattern, place) for pattern in self.exclude)

    def __bool__(self) -> bool:
        return bool(self.include or self.exclude)

    def __str__(self) -> str:
        """As options on the command line."""
        given = [("--include", pattern) for pattern in self.include]
        given += [("--exclude", pattern) for pattern in self.exclude]
        return " ".join(f"{option} {shlex.quote(printable(pattern))}" for option, pattern in given)


def _matches(pattern: str, place: Path) -> bool:
    if "/" not in pattern.rstrip("/"):
        return fnmatchcase(place.name, pattern.rstrip("/"))
    return _lead_to(pattern.strip("/").split("/"), place.parts)


def _lead_to(patterns: Sequence[str], names: Sequence[str]) -> bool:
    """Whether patterns, one for each name or any number of them, match all of the names."""
    if not patterns:
        return not names
    if patterns[0] == _ANY_FOLDERS:
        return any(_lead_to(patterns[1:], names[start:]) for start in range(len(names) + 1))
    return bool(names) and fnmatchcase(names[0], patterns[0]) and _lead_to(patterns[1:], names[1:])


def require_named(inputs: tuple[str, ...]) -> None:
    """Raise UsageError for an empty name, which would stand for the current folder."""
    if "" in inputs:
        raise UsageError("an input name is empty", "name a file, or . for the current folder")


@dataclass(frozen=True)
class Request:
    """Which files, and where the results go.

    inputs: files, folders, or "-" alone for standard input; output: a file, a folder, "-" or None.
    suffix: of the outputs' names; None for the default, which is used only beside the inputs.
    format: of standard output, by name; report: the path of the report, or None.
    in_place: the results replace the inputs; again: also those of an earlier run in place.
    patterns: of the files that are taken from folders; dry_run: nothing is to be written, and nothing
    that earlier runs left is to be removed.
    residual: the folder for what was removed; trace: the file for how the solve of the only input went on.
    """

    inputs: tuple[str, ...]
    output: str | None = None
    suffix: str | None = None
    format: str | None = None
    report: str | None = None
    recursive: bool = False
    overwrite: bool = False
    skip_existing: bool = False
    in_place: bool = False
    again: bool = False
    patterns: Patterns = field(default_factory=Patterns)
    dry_run: bool = False
    residual: str | None = None
    trace: str | None = None

    def __post_init__(self) -> None:
        require_named(self.inputs)
        named = {
            "-o": self.output,
            "--report": self.report,
            "--residual": self.residual,
            "--trace": self.trace,
        }
        for option, name in named.items():
            if name is not None and not name:
                raise UsageError(f"{option} is empty", f"give it a name, or leave out {option}")
        if self.report == STANDARD_STREAM:
            raise UsageError("--report - is not a file name", "name a file, or ./- for one called -")
        if self.overwrite and self.skip_existing:
            raise UsageError("--overwrite and --skip-existing contradict each other", "give only one of them")
        self._refuse_contradictions_in_place()
        if self.suffix is not None and (not self.suffix or "/" in self.suffix or "\\" in self.suffix):
            raise UsageError("--suffix must be part of a file name", f"for example {DEFAULT_SUFFIX}")
        if STANDARD_STREAM in self.inputs and len(self.inputs) > 1:
            raise UsageError("standard input (-) must be the only input", "run the others separately")

    def _refuse_contradictions_in_place(self) -> None:
        if self.again and not self.in_place:
            raise UsageError(
                "--again only works with --in-place",
                "leave it out: without --in-place every input is denoised",
            )
        if not self.in_place:
            return
        for option, name in (("-o", self.output), ("--suffix", self.suffix)):
            if name is not None:
                raise UsageError(f"--in-place and {option} contradict each other", "give only one of them")
        if self.overwrite:
            remedy = "leave it out, or give --again to denoise files once more"
            raise UsageError("--in-place needs no --overwrite", remedy)
        if self.again and self.skip_existing:
            raise UsageError("--again and --skip-existing contradict each other", "give only one of them")
        if STANDARD_STREAM in self.inputs:
            raise UsageError("--in-place cannot replace standard input (-)", "name files")

    @property
    def reads_standard_input(self) -> bool:
        return self.inputs == (STANDARD_STREAM,)

    @property
    def writes_standard_output(self) -> bool:
        return self.output == STANDARD_STREAM or (self.output is None and self.reads_standard_input)
