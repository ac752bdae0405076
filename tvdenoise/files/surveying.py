"""What an opened file holds, before any pixel is decoded: its family, how many pictures, and whether they fit."""

from __future__ import annotations

from dataclasses import replace
from typing import BinaryIO

from PIL import Image, ImageFile

from tvdenoise.errors import SeveralPicturesError, UnsupportedImageError
from tvdenoise.files.families import FAMILIES
from tvdenoise.files.formats import Family
from tvdenoise.files.headers import header_from
from tvdenoise.files.large import LargePicture, large_picture
from tvdenoise.files.memory import Budget, require_memory
from tvdenoise.files.picture import Picture
from tvdenoise.files.stack import Series

MEGAPIXEL = 1_000_000
DEFAULT_MAX_MEGAPIXELS = 500.0
_FIRST_OF = {"MPO": "JPEG"}  # the codec of the first picture


def family_of(opened: ImageFile.ImageFile, *, first_frame: bool) -> Family:
    """Raises UnsupportedImageError for MPO, which hides behind JPEG, unless its first picture is asked for."""
    assert opened.format is not None
    if opened.format in FAMILIES:
        return FAMILIES[opened.format]
    if first_frame and opened.format in _FIRST_OF:
        return FAMILIES[_FIRST_OF[opened.format]]
    raise SeveralPicturesError(f"the file holds several pictures ({opened.format})")


def require_pixels_within(opened: Image.Image, max_megapixels: float) -> None:
    """Raise UnsupportedImageError for more than so many."""
    columns, rows = opened.size
    megapixels = columns * rows / MEGAPIXEL
    if megapixels > max_megapixels:
        raise UnsupportedImageError(
            f"its {columns} × {rows} pixels are more than the limit of {max_megapixels:g} megapixels",
            f"allow them with --max-pixels {int(megapixels) + 1}",
        )


def surveyed(
    opened: ImageFile.ImageFile, stream: BinaryIO, family: Family, *, first_frame: bool
) -> tuple[Series | None, int | None]:
    """Several pictures, None where there is one, and how many there are.

    first_frame: the others are not asked for, and may be such as are not carried; then nobody knows how many.
    """
    if family.several is None:
        if not first_frame:
            _require_single_picture(opened)
        return None, int(getattr(opened, "n_frames", 1))
    try:
        series = family.several.survey(opened, stream)
    except UnsupportedImageError:
        if not first_frame:
            raise
        return None, None
    return series, 1 if series is None else series.count


def _require_single_picture(opened: Image.Image) -> None:
    """Refuse several pictures in a format of which only one is carried."""
    if getattr(opened, "is_animated", False):
        raise SeveralPicturesError(f"several pictures in one {opened.format} are not carried yet")


def alone(first: Picture, family: Family, count: int | None) -> Picture:
    """The first of so many pictures, said."""
    if count == 1:
        return first
    picture = family.several.alone(first) if family.several is not None else first
    of_all = "its pictures" if count is None else f"its {count} pictures"
    return replace(picture, notices=(f"only the first of {of_all} is taken", *picture.notices))


def large_or_none(
    opened: ImageFile.ImageFile,
    stream: BinaryIO,
    family: Family,
    budget: Budget,
    count: int | None,
    *,
    is_single: bool,
) -> LargePicture | None:
    """A picture for which the memory does not suffice, left in its file; None where it does.

    count: of pictures in the file; is_single: only the first one counts. Raises UnsupportedImageError where there must
    be memory for the whole.
    """
    needed = header_from(opened, stream).bytes_needed
    if not is_single or budget.shortage(needed) is None:
        require_memory(needed, budget)
        return None
    large = large_picture(opened, stream, family, budget, needed)
    return replace(large, pixel=alone(large.pixel, family, count))
