"""Reading image files: by content, from an allow-list, within a limit of pixels, whole or not at all."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import ImageFile

from tvdenoise.errors import SeveralPicturesError, UnreadableImageError, UnsupportedImageError
from tvdenoise.files.formats import Family
from tvdenoise.files.large import LargePicture, require_finite, require_finite_alpha
from tvdenoise.files.memory import PROCESS, Budget
from tvdenoise.files.metadata import metadata_of
from tvdenoise.files.opening import opened_image
from tvdenoise.files.paths import reason_of
from tvdenoise.files.picture import Picture
from tvdenoise.files.planes import planes_of, require_known_mode
from tvdenoise.files.stack import Series, Stack
from tvdenoise.files.surveying import (
    DEFAULT_MAX_MEGAPIXELS,
    alone,
    family_of,
    large_or_none,
    require_pixels_within,
    surveyed,
)

_LITTLE = Budget(PROCESS + (1 << 27))  # with which files are only looked at, where they can be read in parts


def read(
    source: Path,
    max_megapixels: float = DEFAULT_MAX_MEGAPIXELS,
    *,
    to_denoise: bool = True,
    may_have_nan: bool = False,
    first_frame: bool | None = None,
) -> Picture:
    """Decode a file of one picture, to denoise it or only to look at it.

    first_frame: of several, take the first; None where the user has no such choice.
    may_have_nan: take intensities that are NaN.
    Raises UnreadableImageError and UnsupportedImageError.
    """
    try:
        stream = source.open("rb")
    except OSError as error:
        raise UnreadableImageError(reason_of(error)) from error
    try:
        with stream:
            found = open_pictures(
                stream,
                max_megapixels,
                to_denoise=to_denoise,
                may_have_nan=may_have_nan,
                first_frame=bool(first_frame),
            )
        if isinstance(found, Stack):
            raise SeveralPicturesError(f"the file holds {found.count} pictures")
    except SeveralPicturesError as error:
        if first_frame is not None:
            raise
        raise UnsupportedImageError(error.reason, error.remedy_elsewhere) from error
    return found


def open_pictures(
    stream: BinaryIO,
    max_megapixels: float = DEFAULT_MAX_MEGAPIXELS,
    *,
    to_denoise: bool = True,
    may_have_nan: bool = False,
    first_frame: bool = False,
) -> Picture | Stack:
    """The picture that a seekable stream holds, decoded, or, where there are several, a stack of them.

    to_denoise: refuse, before memory is taken, what the machine has not the memory to decode, denoise and encode.
    may_have_nan: take intensities that are NaN, which stand for missing pixels.
    first_frame: of several, only the first. Raises UnreadableImageError and UnsupportedImageError.
    """
    found = open_within(
        stream,
        Budget() if to_denoise else None,
        max_megapixels,
        may_have_nan=may_have_nan,
        first_frame=first_frame,
        in_parts=False,
    )
    assert not isinstance(found, LargePicture)
    return found


def open_within(
    stream: BinaryIO,
    budget: Budget | None,
    max_megapixels: float = DEFAULT_MAX_MEGAPIXELS,
    *,
    may_have_nan: bool = False,
    first_frame: bool = False,
    in_parts: bool = True,
) -> Picture | Stack | LargePicture:
    """As `open_pictures`, within a budget of memory, or None for no limit.

    in_parts: a picture for which it does not suffice is not refused, but left in its file, if that can be read in
        parts.
    """
    with opened_image(stream) as opened:
        family = family_of(opened, first_frame=first_frame)
        require_pixels_within(opened, max_megapixels)
        series, count = surveyed(opened, stream, family, first_frame=first_frame)
        require_known_mode(opened)
        if budget is not None:
            is_single = in_parts and (series is None or first_frame)
            large = large_or_none(
                opened, stream, family, budget, count if first_frame else 1, is_single=is_single
            )
            if large is not None:
                return large
        first = _decoded(opened, stream, family, may_have_nan=may_have_nan)
        if first_frame:
            return alone(first, family, count)
    if series is None:
        return first

    def numbered(numbers: Iterable[int]) -> Iterator[Picture]:
        return _numbered(stream, family, series, first, numbers, max_megapixels, may_have_nan=may_have_nan)

    first = next(numbered((0,)))
    return Stack(first, series, numbered)


def _numbered(
    stream: BinaryIO,
    family: Family,
    series: Series,
    first: Picture,
    numbers: Iterable[int],
    max_megapixels: float,
    *,
    may_have_nan: bool,
) -> Iterator[Picture]:
    """The pictures of increasing numbers, each decoded when it is asked for."""
    several = family.several
    assert several is not None
    if several.frames is not None:
        with opened_image(stream) as opened:
            yield from several.frames(opened, stream, series, first, numbers)
        return
    assert several.page is not None
    for number in numbers:
        with several.page(stream, series, number) as page, opened_image(page) as opened:
            require_pixels_within(opened, max_megapixels)
            require_known_mode(opened)
            picture = _decoded(opened, page, family, may_have_nan=may_have_nan)
        if (picture.kind, picture.size) != (first.kind, first.size):
            raise SeveralPicturesError(
                f"its page {number + 1} differs from the first in size or kind of pixels",
                "save each as a file of its own",
            )
        yield picture


def _decoded(opened: ImageFile.ImageFile, stream: BinaryIO, family: Family, *, may_have_nan: bool) -> Picture:
    """The picture of a file, or the first one."""
    position = stream.tell()
    inspection = family.inspect(opened, stream)
    stream.seek(position)
    intensities, alpha, notices = _planes(opened, stream, family)
    metadata = metadata_of(opened, inspection)
    require_finite(intensities, may_have_nan=may_have_nan)
    if alpha is not None:
        require_finite_alpha(alpha)
    return Picture(
        intensities, alpha, family.codec, metadata, inspection.traits, inspection.notices + notices
    )


def _planes(
    opened: ImageFile.ImageFile, stream: BinaryIO, family: Family
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any] | None, tuple[str, ...]]:
    """Intensities, alpha or None, and notices."""
    if (deep := family.decode(opened, stream)) is not None:
        return *deep, ()
    opened.load()
    return planes_of(opened)


def is_whole(path: Path) -> bool:
    """Whether the file is an image, decoded to its end to be sure, in parts where it is large and can be; of pages the
    first and the last one, of an animation the first frame, as its structure says that it is whole.

    One that is recognised but not carried is someone else's, and counts as one.
    """
    try:
        with path.open("rb") as stream:
            found = _in_parts_if_large(stream)
            if isinstance(found, LargePicture):
                for window in found.bands():
                    found.parts(window)
            elif isinstance(found, Stack) and found.series.timing is None:
                list(found.read((found.count - 1,)))
    except (OSError, UnreadableImageError):
        return False
    except UnsupportedImageError:
        return True
    return True


def _in_parts_if_large(stream: BinaryIO) -> Picture | Stack | LargePicture:
    try:
        return open_within(stream, _LITTLE, math.inf)
    except UnsupportedImageError:  # or one that must be decoded whole
        return open_pictures(stream, math.inf, to_denoise=False)
