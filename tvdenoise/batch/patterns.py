"""Which of the files found in folders are taken, by patterns of their names."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from tvdenoise.errors import UsageError
from tvdenoise.files.paths import printable

_ANY_FOLDERS = "**"


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
                raise UsageError(f"{option} names nothing", "give it a pattern such as '*.tif'")

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
