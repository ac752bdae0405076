"""The noise of many files, one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tvdenoise.batch.discovery import Discovery, Failure, nothing_found
from tvdenoise.batch.plots import require_plot
from tvdenoise.batch.request import DEFAULT_SUFFIX
from tvdenoise.errors import TvdenoiseError, UnsupportedImageError
from tvdenoise.files.paths import printable
from tvdenoise.files.reading import read

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tvdenoise.batch.patterns import Patterns
    from tvdenoise.noise.model import NoiseModel


@dataclass(frozen=True, eq=False)
class Estimate:
    """The noise of a file, or why there is none: exactly one of ``model`` and ``error`` is given."""

    source: str
    found: NoiseModel | None
    error: TvdenoiseError | None = None

    @property
    def model(self) -> NoiseModel:
        """The noise; only where there is no error."""
        assert self.found is not None
        return self.found


def estimates(
    inputs: tuple[str, ...],
    patterns: Patterns,
    *,
    recursive: bool,
    data_range: float | None,
    first_frame: bool = False,
    plot: str | None = None,
    overwrite: bool = False,
) -> Iterator[Estimate]:
    """The noise of each image in files and folders. Raises NothingToDoError where there is none.

    first_frame: of files of several pictures, take the first.
    plot: the file that will show them, refused before the work as `require_plot` does.
    """
    entries = list(Discovery(recursive, DEFAULT_SUFFIX, None, patterns).find(inputs))
    if not entries:
        raise nothing_found(inputs, patterns, recursive=recursive)
    if plot is not None:
        require_plot(plot, [entry.source for entry in entries], overwrite=overwrite)
    for entry in entries:
        source = printable(entry.source)
        if isinstance(entry, Failure):
            yield Estimate(source, None, entry.error)
            continue
        try:
            yield Estimate(source, _of_file(entry.source, data_range, first_frame=first_frame))
        except TvdenoiseError as error:
            yield Estimate(source, None, error)


def _of_file(path: Path, data_range: float | None, *, first_frame: bool) -> NoiseModel:
    from tvdenoise.denoising import estimate_noise

    picture = read(path, first_frame=first_frame)
    try:
        return estimate_noise(
            picture.noisy(),
            channel_axis=-1 if picture.has_channel_axis else None,
            data_range=data_range if picture.is_float else None,
            where=picture.visible,
        )
    except ValueError as error:
        raise UnsupportedImageError(f"cannot be measured: {error}") from error
