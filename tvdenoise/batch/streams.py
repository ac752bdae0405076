"""Standard input and output as source and target."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, BinaryIO, TextIO, cast

from tvdenoise.batch.discovery import Discovery, Failure
from tvdenoise.batch.outputs import Job, SingleFile, destination_of, identity_of
from tvdenoise.batch.plan import Plan, settle
from tvdenoise.batch.request import STANDARD_STREAM, Request
from tvdenoise.errors import UnwritableImageError, UsageError
from tvdenoise.files.paths import printable, reason_of
from tvdenoise.formats.registry import FORMATS, format_named

if TYPE_CHECKING:
    from tvdenoise.formats.family import Format


_STREAM = Path(STANDARD_STREAM)
_HELD_IN_MEMORY, _BLOCK = 1 << 28, 1 << 20  # bytes
_STANDARD_INPUT, _STANDARD_OUTPUT = 0, 1  # descriptors


@dataclass(frozen=True)
class Streams:
    """The standard streams of a run; None where a file is used instead.

    form: the format of the output, or None for the input's.
    """

    source: BinaryIO | None = None
    target: BinaryIO | None = None
    form: Format | None = None

    @property
    def are_unused(self) -> bool:
        return self.source is None and self.target is None

    def contents(self) -> BinaryIO:
        """Read the whole source into a temporary file, which the caller closes."""
        assert self.source is not None
        held = SpooledTemporaryFile(_HELD_IN_MEMORY)  # noqa: SIM115  # the caller's
        shutil.copyfileobj(self.source, held, _BLOCK)
        held.seek(0)
        return cast(BinaryIO, held)

    def put(self, contents: BinaryIO) -> None:
        """Write to the target. Ignores a closed pipe, whose reader is done; raises UnwritableImageError otherwise."""
        assert self.target is not None
        contents.seek(0)
        try:
            shutil.copyfileobj(contents, self.target, _BLOCK)
            self.target.flush()
        except BrokenPipeError:
            # Otherwise Python complains on exit, when it flushes the closed pipe.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.target.fileno())
        except OSError as error:
            raise UnwritableImageError(f"cannot write standard output: {reason_of(error)}") from error


def is_terminal(stream: BinaryIO) -> bool:
    """Return True if the bytes would appear on a screen."""
    return stream.isatty()


def streams_of(request: Request) -> Streams:
    """The standard streams that a request uses; the others may be closed. Raises UsageError."""
    form = None
    if request.format is not None:
        if not request.writes_standard_output:
            raise UsageError(
                "--format applies to standard output", "choose the format by the output's extension"
            )
        form = format_named(request.format)
        if form is None or not form.kinds:
            known = ", ".join(form.name for form in FORMATS if form.kinds)
            raise UsageError(f"--format {printable(request.format)} is not known", f"choose one of {known}")
    source = target = None
    if request.reads_standard_input:
        source = _binary(sys.stdin, sys.__stdin__, "standard input")
    if request.writes_standard_output:
        target = _binary(sys.stdout, sys.__stdout__, "standard output")
    if target is not None and is_terminal(target):
        raise UsageError(
            "the image would be written to the terminal", "redirect the output, or name it with -o"
        )
    return Streams(source, target, form)


def _binary(stream: TextIO | None, original: TextIO | None, name: str) -> BinaryIO:
    """The binary stream. Raises UsageError if the process started with the stream closed (original is None)."""
    if stream is None or original is None:
        raise UsageError(f"{name} is closed", "name files instead of -")
    return stream.buffer


def plan_with_streams(request: Request) -> Plan:
    """Plan the single job of a request that uses a standard stream. Raises UsageError."""
    if request.writes_standard_output:
        if len(request.inputs) > 1 or os.path.isdir(request.inputs[0]):
            raise UsageError("standard output takes one image", "name one input file, or a folder with -o")
        if request.reads_standard_input:
            _refuse_one_file(_STANDARD_INPUT, _STANDARD_OUTPUT, _STREAM)
            return Plan((Job(_STREAM, _STREAM),))
        [entry] = Discovery(recursive=False, suffix="", left_out=None).find(request.inputs)
        if isinstance(entry, Failure):
            return Plan((), failures=(entry,))
        _refuse_one_file(entry.source, _STANDARD_OUTPUT, entry.source)
        return Plan((Job(entry.source, _STREAM),))
    destination = destination_of(request)
    if not isinstance(destination, SingleFile):
        raise UsageError(
            "standard input has no name to derive an output name from",
            "name a file with -o, such as -o x.png",
        )
    _refuse_one_file(_STANDARD_INPUT, destination.path, _STREAM)
    return settle([Job(_STREAM, destination.path)], request)


def _refuse_one_file(source: Path | int, target: Path | int, shown: Path) -> None:
    """Raise UsageError if source and target, paths or descriptors, are the same regular file."""
    identity = identity_of(source)
    if identity is not None and identity == identity_of(target) and stat.S_ISREG(os.stat(source).st_mode):
        remedy = "choose another name with -o" if isinstance(target, Path) else "redirect to another file"
        raise UsageError(f"{printable(shown)}: the output would replace the input", remedy)
