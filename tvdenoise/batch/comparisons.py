"""How alike files are to one that is taken for the truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tvdenoise.batch.request import require_named
from tvdenoise.errors import TvdenoiseError, UnsupportedImageError, UsageError
from tvdenoise.files.families.tiff_tags import orientation_of
from tvdenoise.files.paths import printable
from tvdenoise.files.picture import PIXEL_KINDS
from tvdenoise.files.reading import read
from tvdenoise.metrics import WINDOW, psnr, ssim

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from tvdenoise.files.picture import Picture


_MOST_PANELS = 9


@dataclass(frozen=True, eq=False)
class Likeness:
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
    found: tuple[Likeness, Picture] | None
    error: TvdenoiseError | None = None

    @property
    def likeness(self) -> Likeness:
        """Only where there is no error."""
        assert self.found is not None
        return self.found[0]

    @property
    def picture(self) -> Picture:
        """Only where there is no error."""
        assert self.found is not None
        return self.found[1]


def read_reference(source: str, max_megapixels: float) -> Picture:
    """The picture that others are compared with. The errors of reading it name it."""
    require_named((source,))
    try:
        return read(Path(source), max_megapixels, to_denoise=False)
    except TvdenoiseError as error:
        raise type(error)(f"{printable(source)}: {error.reason}", error.remedy) from error


def comparisons(
    reference: Picture, name: str, images: tuple[str, ...], data_range: float | None, max_megapixels: float
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


def likeness_of(reference: Picture, picture: Picture, data_range: float | None = None) -> Likeness:
    """How alike two pictures are that can be compared, where they are visible."""
    white = data_range or white_of(reference)
    first, second, visible = reference.intensities, picture.intensities, reference.visible
    ratio = psnr(first, second, white, visible)
    notices: tuple[str, ...] = ()
    if picture.metadata.icc != reference.metadata.icc:
        notices = ("its colour profile is another one, and numbers are compared as they are stored",)
    try:
        return Likeness(ratio, ssim(first, second, white, visible), white, notices)
    except ValueError:
        return Likeness(ratio, None, white, (*notices, f"SSIM needs {WINDOW} × {WINDOW} visible pixels"))


def white_of(picture: Picture) -> float:
    """The value that counts as white by the type of the intensities: 255, 65535, or 1 for floats."""
    return 1.0 if picture.is_float else float(np.iinfo(picture.intensities.dtype).max)


def require_comparable(reference: Picture, name: str, picture: Picture) -> None:
    """Raise UnsupportedImageError unless a picture has the reference's size, kind, orientation and visible pixels."""
    name = printable(name)
    for ours, theirs, remedy in (
        (_size(picture), _size(reference), "crop or scale one of them first"),
        (_kind(picture), _kind(reference), "convert one of them first"),
        (_orientation(picture), _orientation(reference), "turn one of them first"),
    ):
        if ours != theirs:
            raise UnsupportedImageError(f"it has {ours}, and the reference {name} has {theirs}", remedy)
    if not _is_equal(picture.visible, reference.visible):
        reason = f"its alpha hides other pixels than that of the reference {name}"
        raise UnsupportedImageError(reason, "remove alpha from both, or give them the same")
    if reference.visible is not None and not reference.visible.any():
        raise UnsupportedImageError(f"nothing of it and of the reference {name} is visible", "remove alpha")


def _size(picture: Picture) -> str:
    columns, rows = picture.size
    return f"{columns} × {rows} pixels"


def _kind(picture: Picture) -> str:
    """Without alpha: one that hides nothing makes no difference."""
    kind = picture.kind.replace("A", "") if picture.alpha is not None else picture.kind
    return PIXEL_KINDS["I;16" if kind == "L;16" else kind] + " pixels"


def _orientation(picture: Picture) -> str:
    return f"the EXIF orientation {orientation_of(picture.metadata.exif)}"


def _is_equal(first: NDArray[np.bool_] | None, second: NDArray[np.bool_] | None) -> bool:
    if first is None or second is None:
        return first is second
    return bool(np.array_equal(first, second))


def require_panels(images: tuple[str, ...]) -> None:
    """Raise UsageError for more images than a plot shows."""
    if len(images) >= _MOST_PANELS:
        reason = f"a plot shows {_MOST_PANELS - 1} images beside the reference at most, not {len(images)}"
        raise UsageError(reason, "name fewer, or leave out --plot")
