"""From the names of inputs to the names of outputs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tvdenoise.batch.discovery import Found
from tvdenoise.batch.request import DEFAULT_SUFFIX, Request
from tvdenoise.errors import UsageError
from tvdenoise.files.families import FORMATS, has_image_extension
from tvdenoise.files.paths import printable


@dataclass(frozen=True)
class Beside:
    """Each output lies beside its input, under a name of its own."""

    suffix: str

    def target(self, found: Found) -> Path:
        return _with_suffix(found.source, self.suffix)


@dataclass(frozen=True)
class Folder:
    """The trees of the inputs are mirrored in a folder."""

    path: Path
    suffix: str

    def target(self, found: Found) -> Path:
        return _with_suffix(self.path / found.place, self.suffix)


@dataclass(frozen=True)
class SingleFile:
    """One input, one named output."""

    path: Path

    def target(self, _found: Found) -> Path:
        return self.path


@dataclass(frozen=True)
class InPlace:
    """Each output replaces its input."""

    def target(self, found: Found) -> Path:
        return found.source


Destination = Beside | Folder | SingleFile | InPlace


def destination_of(request: Request) -> Destination:
    """Where the outputs go. Raises UsageError where the output's name leaves that open."""
    if request.in_place:
        return InPlace()
    if request.output is None:
        return Beside(DEFAULT_SUFFIX if request.suffix is None else request.suffix)
    path = Path(request.output)
    if _names_folder(request.output):
        return Folder(path, request.suffix or "")
    if not has_image_extension(path):
        extensions = " ".join(form.extensions[0] for form in FORMATS if form.kinds)
        remedy = f"end it with one of {extensions}, or with / for a folder"
        raise UsageError(f"-o {printable(path)}: the extension {path.suffix} is of no known format", remedy)
    if len(request.inputs) > 1 or os.path.isdir(request.inputs[0]):
        remedy = f"name a folder: -o {printable(path.with_suffix(''))}/"
        raise UsageError(f"-o {printable(path)} names one file for several inputs", remedy)
    return SingleFile(path)


def _names_folder(output: str) -> bool:
    separators = tuple(filter(None, (os.sep, os.altsep)))
    path = Path(output)
    return output.endswith(separators) or os.path.isdir(path) or not path.suffix


def _with_suffix(path: Path, suffix: str) -> Path:
    return path.with_name(f"{path.stem}{suffix}{path.suffix}") if suffix else path
