"""Solving a large picture or volume in parts, within a budget of memory, with what is solved in a scratch file."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from tvdenoise.errors import UnsupportedImageError, UnwritableImageError
from tvdenoise.files.large import LargePicture
from tvdenoise.files.paths import printable, reason_of

if TYPE_CHECKING:
    from tvdenoise.batch.request import Settings
    from tvdenoise.files.memory import Budget
    from tvdenoise.files.volume_file import VolumeFile
    from tvdenoise.tiling import Stage, TiledSolution

REMEDY_FOR_TEMPORARIES = "free some space for temporary files, or set TMPDIR to another place"
_SLACK = 64_000_000  # bytes for what is loaded late, and for what the allocator keeps


@contextmanager
def solved_in_parts(
    large: LargePicture | VolumeFile,
    settings: Settings,
    folder: Path | None,
    threads: int | None,
    tell: Callable[[float], None],
    spacing: tuple[float, ...] | None = None,
) -> Iterator[TiledSolution]:
    """A large picture, or volume, denoised; the scratch file, which has no name, lasts as long as this.

    folder: where that file lies, None for the system's; tell: called with the part that is done, from 0 to 1.
    spacing: of the planes, rows and columns of a volume.
    Raises UnsupportedImageError, also where the memory does not suffice for any part, and UnwritableImageError.
    """
    from tvdenoise.tiling import TooLittleMemoryError, denoise_tiled

    options = settings.solver_options(channels=large.channels, is_float=large.dtype.kind == "f")
    for name in ("channel_axis", "nan"):  # the picture says the one, and has nothing to do for the other
        options.pop(name, None)
    if spacing is not None:
        options["spacing"] = spacing
    if threads is not None:
        options.setdefault("threads", threads)
    scratch = existing(folder)
    tiled = denoise_tiled(
        large,
        memory=memory_for(large, settings.budget),
        scratch=lambda: _scratch_file(scratch),
        tell=_Progress(tell),
        **options,
    )
    try:
        result = tiled.__enter__()
    except TooLittleMemoryError as error:
        budget = settings.budget
        raise UnsupportedImageError(budget.shortage_of_parts(error.missing), budget.remedy) from error
    except ValueError as error:
        raise UnsupportedImageError(f"cannot be denoised: {error}") from error
    except OSError as error:
        where = "" if scratch is None else f" in {printable(scratch)}"
        reason = f"cannot write a scratch file{where}: {reason_of(error)}"
        remedy = "free some space there, or choose another place with -o"
        raise UnwritableImageError(reason, REMEDY_FOR_TEMPORARIES if scratch is None else remedy) from error
    try:
        yield result
    finally:
        tiled.__exit__(None, None, None)


def memory_for(large: LargePicture | VolumeFile, budget: Budget) -> int:
    """The bytes that solving in parts may take beside what is loaded and what reading takes.

    With a given total they depend on nothing else, unless this process holds far more than is usual: the parts, and
    with them the last digits of the result, follow from them. Raises UnsupportedImageError where they are too few.
    """
    from tvdenoise.tiling import memory_needed

    planned, left = budget.for_parts, budget.left
    assert planned is not None
    assert left is not None
    memory = min(planned - _SLACK, left)
    least = 1  # of volumes the overlap depends on the spacing, and the solver tells
    if isinstance(large, LargePicture):
        memory -= large.regions.memory
        least = memory_needed(large.shape, large.channels, large.dtype)
    if memory < least:
        raise UnsupportedImageError(budget.shortage_of_parts(least - memory), budget.remedy)
    return memory


def in_parts(count: int) -> str:
    """A sentence about a picture or a volume that was denoised in so many parts."""
    return f"denoised in {count} part{'' if count == 1 else 's'}, being too large for the memory"


def existing(folder: Path | None) -> Path | None:
    """The folder, or where it will be made the one above it."""
    while folder is not None and not folder.exists():
        folder = folder.parent
    return folder


def _scratch_file(folder: Path | None) -> BinaryIO:
    return cast(BinaryIO, tempfile.TemporaryFile(dir=folder, buffering=0))  # the caller's


class _Progress:
    """From stages, each of which runs from 0 to 1, to the part of the whole."""

    def __init__(self, tell: Callable[[float], None]) -> None:
        from tvdenoise.tiling import Stage

        self._tell = tell
        self._furthest = 0.0
        self._spans = {
            Stage.READING: (0.0, 0.05),
            Stage.SOLVING: (0.05, 0.9),
            Stage.CERTIFYING: (0.9, 1.0),
            Stage.REPAIRING: (0.9, 1.0),
        }

    def __call__(self, stage: Stage, part: float) -> None:
        start, end = self._spans[stage]
        self._furthest = max(self._furthest, start + (end - start) * part)
        self._tell(self._furthest)
