"""Measure files: their noise, and their similarity to a reference."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tvdenoise.batch.outputs import identity_of
from tvdenoise.batch.request import DEFAULT_SUFFIX, Discovery, Failure, nothing_found, require_named
from tvdenoise.errors import TvdenoiseError, UnsupportedImageError, UsageError
from tvdenoise.files.decoded import PIXEL_KINDS, white_of
from tvdenoise.files.paths import printable
from tvdenoise.files.reading import read
from tvdenoise.formats.tiff.directories import orientation_of
from tvdenoise.images.impulses import impulses_of
from tvdenoise.images.metrics import WINDOW, psnr, ssim
from tvdenoise.pictures.figures import require_plot_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from tvdenoise.batch.request import Patterns
    from tvdenoise.files.decoded import DecodedImage
    from tvdenoise.noise.model import NoiseModel
    from tvdenoise.options import FileOptions


def refuse_existing(path: str, *, overwrite: bool) -> None:
    """Raise UsageError if the file exists, unless overwrite is set."""
    if os.path.lexists(path) and not overwrite:
        raise UsageError(f"{printable(path)} already exists", "add --overwrite to replace it")


def require_plot(plot: str, sources: Iterable[Path], *, overwrite: bool) -> None:
    """Raise UsageError if a plot of images cannot be written, or would replace one of them."""
    require_plot_name(plot)
    identity = identity_of(Path(plot))
    if identity is not None and identity in map(identity_of, sources):
        raise UsageError(f"the plot {printable(plot)} is an input", "choose another name")
    refuse_existing(plot, overwrite=overwrite)
    if os.path.isdir(plot):
        raise UsageError(f"the plot {printable(plot)} is a folder", "choose another name")


@dataclass(frozen=True, eq=False)
class Estimate:
    """The noise of a file, or of a band of it, counted from 1, or the error of estimating it: exactly one of ``found``
    and ``error`` is set. impulses: the number of pixels that no neighbour supports."""

    source: str
    found: NoiseModel | None
    error: TvdenoiseError | None = None
    band: int | None = None
    impulses: int = 0

    @property
    def name(self) -> str:
        """What it is the noise of."""
        return self.source if self.band is None else f"{self.source}, band {self.band}"

    @property
    def model(self) -> NoiseModel:
        """The noise; only if there is no error."""
        assert self.found is not None
        return self.found


def estimates(
    inputs: tuple[str, ...],
    patterns: Patterns,
    *,
    recursive: bool,
    settings: FileOptions,
    plot: str | None = None,
    overwrite: bool = False,
) -> Iterator[Estimate]:
    """Yield the noise of each image, or band of an image, in files and folders.

    Raises NothingToDoError if there are no images.
    settings: how to read the files, and the unit of levels.
    plot: file of the plot to come, checked first as by `require_plot`.
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
            image = read(
                entry.source,
                may_be_bilevel=False,
                first_frame=settings.first_frame,
                may_hold=settings.not_finite,
            )
            parts = image.separate()
            for number, part in enumerate(parts, 1):
                band = number if len(parts) > 1 else None
                impulses = impulses_of(part.intensities, part.visible, settings.nodata_of(part.nodata))
                yield Estimate(source, _noise_of(part, settings), band=band, impulses=impulses.count)
        except TvdenoiseError as error:
            yield Estimate(source, None, error)


def _noise_of(image: DecodedImage, settings: FileOptions) -> NoiseModel:
    from tvdenoise.api import estimate_noise

    options = settings.for_image(channels=image.channels, is_float=image.is_float, nodata=image.nodata)
    try:
        return estimate_noise(
            image.noisy(),
            channel_axis=-1 if image.has_channel_axis else None,
            data_range=options.data_range,
            nan=options.nan,
            nodata=options.nodata,
            where=image.telling,
        )
    except ValueError as error:
        raise UnsupportedImageError(f"cannot be measured: {error}") from error


_MOST_PANELS = 9


@dataclass(frozen=True, eq=False)
class Similarity:
    """Similarity of two images.

    psnr: in decibels, infinite for equal images; ssim: None if too few pixels are visible; data_range: difference
    between white and black; notes: sentences about what was not compared.
    """

    psnr: float
    ssim: float | None
    data_range: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Comparison:
    """A file compared with the reference: its similarity and its image, or the error."""

    source: str
    found: tuple[Similarity, DecodedImage] | None
    error: TvdenoiseError | None = None

    @property
    def similarity(self) -> Similarity:
        """Available only if there is no error."""
        assert self.found is not None
        return self.found[0]

    @property
    def image(self) -> DecodedImage:
        """Available only if there is no error."""
        assert self.found is not None
        return self.found[1]


def read_reference(source: str, max_megapixels: float) -> DecodedImage:
    """Read the reference image; errors name its file."""
    require_named((source,))
    try:
        return read(Path(source), max_megapixels, to_denoise=False)
    except TvdenoiseError as error:
        raise type(error)(f"{printable(source)}: {error.reason}", error.remedy) from error


def comparisons(
    reference: DecodedImage,
    name: str,
    images: tuple[str, ...],
    data_range: float | None,
    max_megapixels: float,
) -> Iterator[Comparison]:
    """Yield each image compared with the reference of this name. Raises UsageError for an empty name.

    data_range: None for that of the reference's type.
    """
    require_named(images)
    for source in images:
        try:
            image = read(Path(source), max_megapixels, to_denoise=False)
            require_comparable(reference, name, image)
            yield Comparison(source, (similarity_of(reference, image, data_range), image))
        except TvdenoiseError as error:
            yield Comparison(source, None, error)


def similarity_of(
    reference: DecodedImage, image: DecodedImage, data_range: float | None = None
) -> Similarity:
    """Similarity of two comparable images over their visible pixels."""
    white = data_range or white_of(reference.intensities.dtype)
    first, second, visible = reference.intensities, image.intensities, reference.visible
    ratio = psnr(first, second, white, visible)
    notes: tuple[str, ...] = ()
    if image.metadata.icc != reference.metadata.icc:
        notes = ("its colour profile differs from the reference's; stored values are compared",)
    try:
        return Similarity(ratio, ssim(first, second, white, visible), white, notes)
    except ValueError:
        return Similarity(ratio, None, white, (*notes, f"SSIM needs {WINDOW} × {WINDOW} visible pixels"))


def require_comparable(reference: DecodedImage, name: str, image: DecodedImage) -> None:
    """Raise UnsupportedImageError unless an image has the reference's size, kind, orientation and visible pixels."""
    name = printable(name)
    for ours, theirs, remedy in (
        (_size(image), _size(reference), "crop or scale one of them first"),
        (_kind(image), _kind(reference), "convert one of them first"),
        (_orientation(image), _orientation(reference), "rotate one of them first"),
    ):
        if ours != theirs:
            raise UnsupportedImageError(f"it has {ours}, and the reference {name} has {theirs}", remedy)
    if not _is_equal(image.visible, reference.visible):
        reason = f"its alpha hides other pixels than the alpha of the reference {name}"
        raise UnsupportedImageError(reason, "remove alpha from both, or give them the same")
    if reference.visible is not None and not reference.visible.any():
        raise UnsupportedImageError(
            f"neither it nor the reference {name} has a visible pixel", "remove alpha"
        )


def _size(image: DecodedImage) -> str:
    columns, rows = image.size
    return f"{columns} × {rows} pixels"


def _kind(image: DecodedImage) -> str:
    """The kind of pixels without alpha, as an opaque alpha channel makes no difference."""
    kind = image.kind.replace("A", "") if image.alpha is not None else image.kind
    number = f"{image.channels} " if image.in_bands else ""
    return number + PIXEL_KINDS["I;16" if kind == "L;16" else kind] + " pixels"


def _orientation(image: DecodedImage) -> str:
    return f"the EXIF orientation {orientation_of(image.metadata.exif)}"


def _is_equal(first: NDArray[np.bool_] | None, second: NDArray[np.bool_] | None) -> bool:
    if first is None or second is None:
        return first is second
    return bool(np.array_equal(first, second))


def require_panels(images: tuple[str, ...]) -> None:
    """Raise UsageError for more images than a plot can show."""
    if len(images) >= _MOST_PANELS:
        reason = f"a plot shows at most {_MOST_PANELS - 1} images beside the reference, not {len(images)}"
        raise UsageError(reason, "name fewer, or leave out --plot")
