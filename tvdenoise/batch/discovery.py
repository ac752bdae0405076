"""Find the images among files and folders."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tvdenoise.batch.request import SHEET_ENDING, Patterns, require_named
from tvdenoise.errors import NothingToDoError, TvdenoiseError, UnreadableImageError
from tvdenoise.files.paths import printable, reason_of
from tvdenoise.formats.registry import FORMAT_BY_EXTENSION, has_image_extension


@dataclass(frozen=True)
class Found:
    """An input file, and its path relative to the searched folder (its name if the user named it)."""

    source: Path
    place: Path


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
            yield from (Found(here / name, place / name) for name in self._images(here, place, names))
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
