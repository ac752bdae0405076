"""The user's request: input files, streams and destinations; and the images found among the inputs."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from tvdenoise.errors import NothingToDoError, TvdenoiseError, UnreadableImageError, UsageError
from tvdenoise.files.paths import printable, reason_of
from tvdenoise.formats.registry import FORMAT_BY_EXTENSION, has_image_extension

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


@dataclass(frozen=True)
class Found:
    """An input file, and its path relative to the searched folder (its name if the user named it).

    folder: the folder that was searched; None if the user named the file.
    """

    source: Path
    place: Path
    folder: Path | None = None


@dataclass(frozen=True)
class Failure:
    """An input found to be unreadable during planning."""

    source: Path
    error: TvdenoiseError


@dataclass(frozen=True)
class Discovery:
    """How to search folders.

    suffix: marks outputs beside their inputs, which are no inputs (nor are the contact sheets of `tvdenoise tune`).
    left_out, residuals: folders not to search; patterns: select files.
    """

    recursive: bool
    suffix: str
    left_out: Path | None
    patterns: Patterns = field(default_factory=Patterns)
    residuals: Path | None = None

    def find(self, inputs: tuple[str, ...]) -> Iterator[Found | Failure]:
        """Yield all images in input order, sorted within each folder. A file named by the user is never skipped.

        Raises UsageError for an empty name.
        """
        require_named(inputs)
        for path in map(Path, inputs):
            try:
                mode = path.stat().st_mode
            except (OSError, ValueError) as error:
                reason = reason_of(error) if isinstance(error, OSError) else "not a valid file name"
                yield Failure(path, UnreadableImageError(reason))
                continue
            if stat.S_ISDIR(mode):
                yield from self._inside(path)
            elif stat.S_ISREG(mode):
                yield Found(path, Path(path.name))
            else:
                yield Failure(path, UnreadableImageError("not a regular file"))

    def takes(self, path: Path, folder: Path) -> bool:
        """Return True if `find`, searching a folder above this path, would yield it."""
        if not has_image_extension(path) or not self.looks_into(path.parent, folder):
            return False
        origin = path.with_name(path.stem.removesuffix(self.suffix) + path.suffix)
        if path.name.startswith(".") or (origin != path and origin.exists()):
            return False
        return not any(path.with_name(name).exists() for name in _shown_on(path.name))

    def looks_into(self, inner: Path, folder: Path) -> bool:
        """Return True if `find`, searching a folder, would also search this inner folder."""
        names = inner.relative_to(folder).parts
        if any(name.startswith(".") for name in names) or (names and not self.recursive):
            return False
        return not any(self._is_left_out(place) for place in (inner, *inner.parents) if place != folder)

    def _inside(self, folder: Path) -> Iterator[Found | Failure]:
        errors: list[OSError] = []
        for parent, folders, names in os.walk(folder, onerror=errors.append):
            here = Path(parent)
            place = here.relative_to(folder)
            folders[:] = sorted(name for name in folders if self._is_entered(here / name, place / name))
            yield from (Found(here / name, place / name, folder) for name in self._images(here, place, names))
            if not self.recursive:
                break
        for error in errors:
            yield Failure(Path(os.fsdecode(error.filename)), UnreadableImageError(reason_of(error)))

    def _is_entered(self, folder: Path, place: Path) -> bool:
        return (
            not folder.name.startswith(".") and self.patterns.enters(place) and not self._is_left_out(folder)
        )

    def _images(self, folder: Path, place: Path, names: list[str]) -> Iterator[str]:
        """Yield selected names with an image extension that are neither hidden nor the output of another image."""
        present = set(names)
        for name in sorted(names):
            path = Path(name)
            is_candidate = has_image_extension(path) and not name.startswith(".")
            is_candidate = is_candidate and self.patterns.takes(place / name)
            if is_candidate and not self._is_output(path, present) and _may_be_file(folder / name):
                yield name

    def _is_output(self, path: Path, present: set[str]) -> bool:
        origin = path.stem.removesuffix(self.suffix)
        is_result = origin != path.stem and origin + path.suffix in present
        return is_result or not present.isdisjoint(_shown_on(path.name))

    def _is_left_out(self, folder: Path) -> bool:
        left_out = [path for path in (self.left_out, self.residuals) if path is not None]
        return bool(left_out) and os.path.realpath(folder) in map(str, left_out)


def _shown_on(name: str) -> tuple[str, ...]:
    """Possible names of the image whose contact sheet has this name."""
    if not name.endswith(SHEET_ENDING) or name == SHEET_ENDING:
        return ()
    return tuple(name.removesuffix(SHEET_ENDING) + extension for extension in FORMAT_BY_EXTENSION)


def _may_be_file(path: Path) -> bool:
    """Return True for a file, an inaccessible path or a broken link: unreadable inputs are reported, not skipped."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return True


def nothing_found(inputs: tuple[str, ...], patterns: Patterns, *, recursive: bool) -> NothingToDoError:
    """The error for inputs that contain no selected image."""
    where = ", ".join(printable(path) for path in inputs)
    remedy = "add --recursive to search sub-folders"
    if patterns:
        others = "" if recursive else f", or {remedy}"
        return NothingToDoError(f"no image in {where} matches", f"change {patterns}{others}")
    return NothingToDoError(
        f"no image in {where}", "name files that have an image extension" if recursive else remedy
    )
