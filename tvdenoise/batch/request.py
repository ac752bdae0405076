"""The user's request: input files, streams, and destinations."""

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
SHEET_ENDING = "_tune.png"  # ends the name of a contact sheet beside its image


@dataclass(frozen=True)
class Patterns:
    """Case-sensitive shell patterns.

    A pattern without "/" matches file names, and folder names if it excludes. A pattern with "/" matches the whole
    path below the input folder; there "*" matches within one name, and "**" matches any number of folders.
    Raises UsageError for an empty pattern.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for option, patterns in (("--include", self.include), ("--exclude", self.exclude)):
            if any(not pattern.strip("/") for pattern in patterns):
                raise UsageError(f"{option} is empty", "give it a pattern such as '*.tif'")

    def takes(self, place: Path) -> bool:
        """Return True if the file at a path below the input folder is an input, given that its folders are searched."""
        is_included = not self.include or any(_matches(pattern, place) for pattern in self.include)
        return is_included and self.enters(place)

    def enters(self, place: Path) -> bool:
        """Return True if the folder at a path below the input folder is to be searched."""
        return not any(_matches(pattern, place) for pattern in self.exclude)

    def __bool__(self) -> bool:
        return bool(self.include or self.exclude)

    def __str__(self) -> str:
        """Format as command-line options."""
        given = [("--include", pattern) for pattern in self.include]
        given += [("--exclude", pattern) for pattern in self.exclude]
        return " ".join(f"{option} {shlex.quote(printable(pattern))}" for option, pattern in given)


def _matches(pattern: str, place: Path) -> bool:
    if "/" not in pattern.rstrip("/"):
        return fnmatchcase(place.name, pattern.rstrip("/"))
    return _lead_to(pattern.strip("/").split("/"), place.parts)


def _lead_to(patterns: Sequence[str], names: Sequence[str]) -> bool:
    """Return True if the patterns, of which "**" matches any number of names, match all names."""
    if not patterns:
        return not names
    if patterns[0] == _ANY_FOLDERS:
        return any(_lead_to(patterns[1:], names[start:]) for start in range(len(names) + 1))
    return bool(names) and fnmatchcase(names[0], patterns[0]) and _lead_to(patterns[1:], names[1:])


def require_named(inputs: tuple[str, ...]) -> None:
    """Raise UsageError for an empty name, which would mean the current folder."""
    if "" in inputs:
        raise UsageError("an input name is empty", "name a file, or . for the current folder")


@dataclass(frozen=True)
class Request:
    """Input files and destinations.

    inputs: files, folders, or "-" alone for standard input; output: a file, a folder, "-" or None.
    suffix: added to output names; None for the default, which applies only to outputs beside their inputs.
    format: name of the format of standard output; report: path of the report, or None.
    in_place: results replace the inputs; again: including those that an earlier in-place run denoised.
    patterns: select files within folders; dry_run: write nothing, and keep what earlier runs left behind.
    residual: folder for residual images; trace: file for the convergence trace of the only input.
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
