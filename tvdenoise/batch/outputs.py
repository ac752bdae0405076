"""Outputs: jobs, output names, extra outputs, and refusals that protect existing files."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tvdenoise.batch.request import DEFAULT_SUFFIX, Found, Request
from tvdenoise.errors import UnwritableImageError, UsageError
from tvdenoise.files.atomic import require_writable, sweep
from tvdenoise.files.opening import Header
from tvdenoise.files.paths import RealPaths, key_of, printable, reason_of
from tvdenoise.files.reading import is_whole
from tvdenoise.formats.registry import FORMATS, has_image_extension
from tvdenoise.pictures.figures import require_trace_name, save_residual, save_trace

if TYPE_CHECKING:
    from tvdenoise.files.decoded import DecodedImage
    from tvdenoise.solver.descent import Solution


@dataclass(frozen=True)
class Job:
    """One file to denoise, or one folder of slices.

    in_place: the target is the source; once: skip the file if an earlier in-place run denoised it.
    place: the real path of the target; header: of the source, or None if it was not read or says nothing.
    residual, trace: paths of extra outputs, or None.
    needed: bytes of memory, if not those of one image.
    slices: jobs of the files of a folder that are a volume together, in their order; source and target are then the
    folders, and the header is that of a stack.
    """

    source: Path
    target: Path
    in_place: bool = False
    once: bool = False
    place: str = ""
    header: Header | None = None
    residual: Path | None = None
    trace: Path | None = None
    needed: int | None = None
    slices: tuple[Job, ...] = ()

    @property
    def files(self) -> tuple[Job, ...]:
        """The job of each file: the slices, or this job."""
        return self.slices or (self,)

    @property
    def extra_outputs(self) -> tuple[Path, ...]:
        """The paths written besides the target."""
        return tuple(path for path in (self.residual, self.trace) if path is not None)

    @property
    def outputs(self) -> tuple[Path, ...]:
        """The paths of all files written."""
        return tuple(path for file in self.files for path in (file.target, *file.extra_outputs))

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders of all outputs and their temporary files."""
        if self.slices:
            return tuple(dict.fromkeys(folder for file in self.slices for folder in file.folders))
        return (self.folder, *(Path(os.path.realpath(path)).parent for path in self.extra_outputs))

    @property
    def values(self) -> int:
        """The number of values to denoise; 0 if unknown."""
        return self.header.values if self.header is not None else 0

    @property
    def memory(self) -> int:
        """The bytes of memory needed."""
        if self.needed is not None:
            return self.needed
        return self.header.bytes_needed if self.header is not None else 0

    @property
    def folder(self) -> Path:
        """The folder of the output and its temporary file."""
        if self.slices:
            return self.slices[0].folder
        return Path(self.place or os.path.realpath(self.target)).parent


@dataclass(frozen=True)
class Beside:
    """Each output goes beside its input, with a suffix."""

    suffix: str

    def target(self, found: Found) -> Path:
        return _with_suffix(found.source, self.suffix)


@dataclass(frozen=True)
class Folder:
    """Outputs mirror the input trees below a folder."""

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
    """The destination of a request. Raises UsageError if the output's name is ambiguous."""
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
        raise UsageError(
            f"-o {printable(path)}: the extension {path.suffix} belongs to no known format", remedy
        )
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


_APART = "give them different names, or run them separately"


def naming_error(path: Path) -> UnwritableImageError | None:
    """The error for a name that is too long, or None."""
    try:
        os.lstat(path)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            reason = f"cannot write {printable(path)}: {reason_of(error)}"
            return UnwritableImageError(reason, "choose a shorter name with -o or --suffix")
    return None


def refuse_collisions(outputs: Iterable[tuple[Job, Path]]) -> None:
    """Raise UsageError if two outputs are the same file, or one is a folder of another, ignoring case."""
    owners: dict[str, tuple[Job, Path]] = {}
    real = RealPaths()
    for job, path in outputs:
        place = job.place if path is job.target and job.place else real.of(path)
        other, named = owners.setdefault(key_of(place), (job, path))
        if named is not path and other is job:
            reason = f"two outputs of {printable(job.source)} would both be {printable(path)}"
            raise UsageError(reason, "give them different names")
        if other is not job:
            raise UsageError(
                f"{printable(other.source)} and {printable(job.source)} would both become {printable(path)}",
                _APART,
            )
    for folder, within in _folders_of(owners).items():
        if folder in owners:
            (job, path), (other, inner) = owners[folder], owners[within]
            raise UsageError(
                f"{printable(job.source)} would become {printable(path)}, "
                f"and {printable(other.source)} would become {printable(inner)} in a folder of that name",
                _APART,
            )


def _folders_of(places: Iterable[str]) -> dict[str, str]:
    """Map each folder above any of the places to one of these places."""
    found: dict[str, str] = {}
    for place in places:
        folder = os.path.dirname(place)
        while folder not in found:
            found[folder] = place
            folder = os.path.dirname(folder)
    return found


def refuse_outputs_that_are_inputs(jobs: list[Job], outputs: list[tuple[Job, Path]]) -> None:
    sources = {identity_of(file.source): file.source for job in jobs for file in job.files}
    for job, path in outputs:
        source = sources.get(identity) if (identity := identity_of(path)) else None
        if source is None:
            continue
        if source == job.source:
            reason = f"{printable(job.source)}: the output would replace the input"
            raise UsageError(reason, "choose another name with -o or --suffix")
        reason = (
            f"{printable(path)} is an input and would be replaced by the output of {printable(job.source)}"
        )
        raise UsageError(reason, "leave out earlier results, or write into a folder with -o")


def identity_of(path: Path | int) -> tuple[int, int] | None:
    """Device and inode, which identify a file whatever its names; None if there is no file.

    path: or the descriptor of an open file.
    """
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def refuse_existing(existing: list[Path], request: Request) -> None:
    for path in existing:
        if os.path.exists(path) and not os.path.isfile(path):
            raise UsageError(f"{printable(path)} exists and is not a file", "choose another name")
    if existing and not (request.overwrite or request.skip_existing):
        others = f" (and {len(existing) - 1} more)" if len(existing) > 1 else ""
        reason = f"the output {printable(existing[0])} already exists{others}"
        replacing = "" if request.in_place else "--overwrite to replace or "
        raise UsageError(reason, f"add {replacing}--skip-existing to keep it")


def require_folders_writable(jobs: list[Job], request: Request) -> None:
    """Probe every output folder, and remove temporaries of dead runs unless this is a dry run."""
    for folder in dict.fromkeys(folder for job in jobs for folder in job.folders):
        try:
            require_writable(folder, keeps_times=request.dry_run)
        except UnwritableImageError as error:
            raise UsageError(error.reason, error.remedy) from error
        if not request.dry_run:
            sweep(folder)


_RESIDUAL = "_residual.png"


def require_possible(request: Request) -> None:
    """Raise UsageError if the requested extra outputs are impossible."""
    for option, name in (("--residual", request.residual), ("--trace", request.trace)):
        if name is not None and (request.reads_standard_input or request.writes_standard_output):
            raise UsageError(f"{option} works on files, not on standard streams", "leave it out")
    if request.trace is not None:
        require_trace_name(request.trace)
    if request.residual is None:
        return
    if os.path.lexists(request.residual) and not os.path.isdir(request.residual):
        raise UsageError(f"--residual {printable(request.residual)} is not a folder", "name a folder")
    real = RealPaths()
    if real.of(request.residual) in {real.of(name) for name in request.inputs}:
        raise UsageError(
            "--residual would write images among the inputs, where the next run would denoise them",
            "name a separate folder",
        )


def residual_of(place: Path, request: Request) -> Path | None:
    """The path of the residual of an input at a path below its folder; None if none is requested."""
    if request.residual is None:
        return None
    return Path(request.residual) / place.with_name(place.stem + _RESIDUAL)


def with_trace(jobs: list[Job], request: Request, count: int) -> list[Job]:
    """Add the requested trace to the job. Raises UsageError unless the count of inputs is 1."""
    if request.trace is None:
        return jobs
    if count != 1:
        raise UsageError(f"--trace records the solve of one file, not of {count}", "name one file")
    if jobs and jobs[0].slices:
        raise UsageError("--trace records the solve of one file, not of a folder of slices", "leave it out")
    return [replace(job, trace=Path(request.trace)) for job in jobs]


def without_kept(job: Job) -> Job:
    """The job without extra outputs that already exist whole."""
    if job.slices:
        return replace(job, slices=tuple(map(without_kept, job.slices)))
    residual, trace = job.residual, job.trace
    if residual is not None and os.path.lexists(residual) and is_whole(residual):
        residual = None
    if trace is not None and os.path.lexists(trace) and os.path.getsize(trace) > 0:
        trace = None
    return replace(job, residual=residual, trace=trace)


def write_extra_outputs(
    job: Job, image: DecodedImage, solution: Solution, data_range: float | None
) -> tuple[str, ...]:
    """Write the extra outputs of a job, and return notes about them. Raises UnwritableImageError.

    data_range: the intensity that counts as 1; None for the default of the type.
    """
    if job.trace is not None:
        save_trace(solution.trace, solution.tolerance, job.trace)
    if job.residual is None:
        return ()
    gain = save_residual(image, solution.image, data_range, job.source.name, job.residual)
    return (f"the residual is in {printable(job.residual.name)}, around mid grey, ×{gain:g}",)
