"""Measuring files: the noise of each, and how similar they are to a reference."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tvdenoise.batch.discovery import Discovery, Failure, nothing_found
from tvdenoise.batch.outputs import identity_of
from tvdenoise.batch.request import DEFAULT_SUFFIX, require_named
from tvdenoise.errors import TvdenoiseError, UnsupportedImageError, UsageError
from tvdenoise.files.decoded import PIXEL_KINDS
from tvdenoise.files.paths import printable
from tvdenoise.files.reading import read
from tvdenoise.formats.tiff.tags import orientation_of
from tvdenoise.images.metrics import WINDOW, psnr, ssim
from tvdenoise.pictures.figures import require_plot_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from tvdenoise.batch.request import Patterns
    from tvdenoise.files.decoded import DecodedImage
    from tvdenoise.noise.model import NoiseModel


def refuse_existing(path: str, *, overwrite: bool) -> None:
    """Raise UsageError for a file that would be replaced without being asked for."""
    if os.path.lexists(path) and not overwrite:
        raise UsageError(f"{printable(path)} already exists", "add --overwrite to replace it")


def require_plot(plot: str, sources: Iterable[Path], *, overwrite: bool) -> None:
    """Raise UsageError where a plot of images cannot be written, or would replace one of them."""
    require_plot_name(plot)
    identity = identity_of(Path(plot))
    if identity is not None and identity in map(identity_of, sources):
        raise UsageError(f"the plot {printable(plot)} is an input", "choose another name")
    refuse_existing(plot, overwrite=overwrite)
    if os.path.isdir(plot):
        raise UsageError(f"the plot {printable(plot)} is a folder", "choose another name")


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
    from tvdenoise.api import estimate_noise

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


_MOST_PANELS = 9


@dataclass(frozen=True, eq=False)
class Similarity:
    """How alike two pictures are.

    psnr: in decibels, infinite where they are equal; ssim: None where they are too small for it, or where too little
    is visible; data_range: what lies between black and white; notices: sentences about what was not compared.
    """

    psnr: float
    ssim: float | None
    data_range: float
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Comparison:
    """A file beside the reference: its likeness and its picture, or why there is none."""

    source: str
    found: tuple[Similarity, DecodedImage] | None
    error: TvdenoiseError | None = None

    @property
    def likeness(self) -> Similarity:
        """Only where there is no error."""
        assert self.found is not None
        return self.found[0]

    @property
    def picture(self) -> DecodedImage:
        """Only where there is no error."""
        assert self.found is not None
        return self.found[1]


def read_reference(source: str, max_megapixels: float) -> DecodedImage:
    """The picture that others are compared with. The errors of reading it name it."""
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
    """Each image beside the reference of this name; data_range: None for that of its type. Raises UsageError."""
    require_named(images)
    for source in images:
        try:
            picture = read(Path(source), max_megapixels, to_denoise=False)
            require_comparable(reference, name, picture)
            yield Comparison(source, (likeness_of(reference, picture, data_range), picture))
        except TvdenoiseError as error:
            yield Comparison(source, None, error)


def likeness_of(
    reference: DecodedImage, picture: DecodedImage, data_range: float | None = None
) -> Similarity:
    """How alike two pictures are that can be compared, where they are visible."""
    white = data_range or white_of(reference)
    first, second, visible = reference.intensities, picture.intensities, reference.visible
    ratio = psnr(first, second, white, visible)
    notices: tuple[str, ...] = ()
    if picture.metadata.icc != reference.metadata.icc:
        notices = ("its colour profile differs from the reference's; stored values are compared",)
    try:
        return Similarity(ratio, ssim(first, second, white, visible), white, notices)
    except ValueError:
        return Similarity(ratio, None, white, (*notices, f"SSIM needs {WINDOW} × {WINDOW} visible pixels"))


def white_of(picture: DecodedImage) -> float:
    """The value that counts as white by the type of the intensities: 255, 65535, or 1 for floats."""
    return 1.0 if picture.is_float else float(np.iinfo(picture.intensities.dtype).max)


def require_comparable(reference: DecodedImage, name: str, picture: DecodedImage) -> None:
    """Raise UnsupportedImageError unless a picture has the reference's size, kind, orientation and visible pixels."""
    name = printable(name)
    for ours, theirs, remedy in (
        (_size(picture), _size(reference), "crop or scale one of them first"),
        (_kind(picture), _kind(reference), "convert one of them first"),
        (_orientation(picture), _orientation(reference), "rotate one of them first"),
    ):
        if ours != theirs:
            raise UnsupportedImageError(f"it has {ours}, and the reference {name} has {theirs}", remedy)
    if not _is_equal(picture.visible, reference.visible):
        reason = f"its alpha hides other pixels than the alpha of the reference {name}"
        raise UnsupportedImageError(reason, "remove alpha from both, or give them the same")
    if reference.visible is not None and not reference.visible.any():
        raise UnsupportedImageError(
            f"neither it nor the reference {name} has a visible pixel", "remove alpha"
        )


def _size(picture: DecodedImage) -> str:
    columns, rows = picture.size
    return f"{columns} × {rows} pixels"


def _kind(picture: DecodedImage) -> str:
    """Without alpha: one that hides nothing makes no difference."""
    kind = picture.kind.replace("A", "") if picture.alpha is not None else picture.kind
    return PIXEL_KINDS["I;16" if kind == "L;16" else kind] + " pixels"


def _orientation(picture: DecodedImage) -> str:
    return f"the EXIF orientation {orientation_of(picture.metadata.exif)}"


def _is_equal(first: NDArray[np.bool_] | None, second: NDArray[np.bool_] | None) -> bool:
    if first is None or second is None:
        return first is second
    return bool(np.array_equal(first, second))


def require_panels(images: tuple[str, ...]) -> None:
    """Raise UsageError for more images than a plot shows."""
    if len(images) >= _MOST_PANELS:
        reason = f"a plot shows at most {_MOST_PANELS - 1} images beside the reference, not {len(images)}"
        raise UsageError(reason, "name fewer, or leave out --plot")
