"""Reading image files: by content, from an allow-list, within a limit of pixels, whole or not at all."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageFile

from tvdenoise.errors import SeveralImagesError, UnreadableImageError, UnsupportedImageError
from tvdenoise.files.decoded import DecodedImage
from tvdenoise.files.large import LargeImage, large_picture, require_finite, require_finite_alpha
from tvdenoise.files.memory import PROCESS, MemoryBudget, require_memory
from tvdenoise.files.opening import header_from, opened_image
from tvdenoise.files.paths import open_unnoticed, reason_of
from tvdenoise.files.pillow import metadata_of, planes_of, require_known_mode
from tvdenoise.files.stack import Series, Stack
from tvdenoise.formats.family import Family
from tvdenoise.formats.registry import FAMILIES
from tvdenoise.options import default_of

MEGAPIXEL = 1_000_000
DEFAULT_MAX_MEGAPIXELS: float = default_of("max_megapixels")
_FIRST_OF = {"MPO": "JPEG"}  # the codec of the first picture


def family_of(opened: ImageFile.ImageFile, *, first_frame: bool) -> Family:
    """Raises UnsupportedImageError for MPO, which hides behind JPEG, unless its first picture is asked for."""
    assert opened.format is not None
    if opened.format in FAMILIES:
        return FAMILIES[opened.format]
    if first_frame and opened.format in _FIRST_OF:
        return FAMILIES[_FIRST_OF[opened.format]]
    raise SeveralImagesError(f"the file holds several pictures ({opened.format})")


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
        raise SeveralImagesError(f"several pictures in one {opened.format} are not carried yet")


def alone(first: DecodedImage, family: Family, count: int | None) -> DecodedImage:
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
    budget: MemoryBudget,
    count: int | None,
    *,
    is_single: bool,
) -> LargeImage | None:
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


def examine(
    source: Path, max_megapixels: float = DEFAULT_MAX_MEGAPIXELS, *, first_frame: bool = False
) -> str | None:
    """The record of a file that is denoised already, or None; the pixels are not decoded.

    Raises UnreadableImageError and UnsupportedImageError as `read` does for what shows before.
    """
    try:
        with open(source, "rb", opener=open_unnoticed) as stream, opened_image(stream) as opened:
            family = family_of(opened, first_frame=first_frame)
            require_pixels_within(opened, max_megapixels)
            surveyed(opened, stream, family, first_frame=first_frame)
            require_known_mode(opened)
            return family.inspect(opened, stream).record
    except OSError as error:
        raise UnreadableImageError(reason_of(error)) from error


def examine_large(
    source: Path,
    budget: MemoryBudget,
    max_megapixels: float = DEFAULT_MAX_MEGAPIXELS,
    *,
    first_frame: bool = False,
) -> LargeImage | None:
    """The picture of a file that is too large for a budget, of which no part can be read any more, or None.

    Raises UnreadableImageError and UnsupportedImageError.
    """
    try:
        with open(source, "rb", opener=open_unnoticed) as stream, opened_image(stream) as opened:
            family = family_of(opened, first_frame=first_frame)
            require_pixels_within(opened, max_megapixels)
            series, _ = surveyed(opened, stream, family, first_frame=first_frame)
            is_single = series is None or first_frame
            return large_or_none(opened, stream, family, budget, 1, is_single=is_single)
    except OSError as error:
        raise UnreadableImageError(reason_of(error)) from error


def codec_of(path: Path) -> str | None:
    """The codec that a file's header shows, or None where it shows none."""
    try:
        with open(path, "rb", opener=open_unnoticed) as stream, opened_image(stream) as opened:
            return opened.format if opened.format in FAMILIES else None
    except (OSError, UnreadableImageError, UnsupportedImageError):
        return None


_LITTLE = MemoryBudget(
    PROCESS + (1 << 27)
)  # with which files are only looked at, where they can be read in parts


def read(
    source: Path,
    max_megapixels: float = DEFAULT_MAX_MEGAPIXELS,
    *,
    to_denoise: bool = True,
    may_have_nan: bool = False,
    first_frame: bool | None = None,
) -> DecodedImage:
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
            raise SeveralImagesError(f"the file holds {found.count} pictures")
    except SeveralImagesError as error:
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
) -> DecodedImage | Stack:
    """The picture that a seekable stream holds, decoded, or, where there are several, a stack of them.

    to_denoise: refuse, before memory is taken, what the machine has not the memory to decode, denoise and encode.
    may_have_nan: take intensities that are NaN, which stand for missing pixels.
    first_frame: of several, only the first. Raises UnreadableImageError and UnsupportedImageError.
    """
    found = open_within(
        stream,
        MemoryBudget() if to_denoise else None,
        max_megapixels,
        may_have_nan=may_have_nan,
        first_frame=first_frame,
        in_parts=False,
    )
    assert not isinstance(found, LargeImage)
    return found


def open_within(
    stream: BinaryIO,
    budget: MemoryBudget | None,
    max_megapixels: float = DEFAULT_MAX_MEGAPIXELS,
    *,
    may_have_nan: bool = False,
    first_frame: bool = False,
    in_parts: bool = True,
) -> DecodedImage | Stack | LargeImage:
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

    def numbered(numbers: Iterable[int]) -> Iterator[DecodedImage]:
        return _numbered(stream, family, series, first, numbers, max_megapixels, may_have_nan=may_have_nan)

    first = next(numbered((0,)))
    return Stack(first, series, numbered)


def _numbered(
    stream: BinaryIO,
    family: Family,
    series: Series,
    first: DecodedImage,
    numbers: Iterable[int],
    max_megapixels: float,
    *,
    may_have_nan: bool,
) -> Iterator[DecodedImage]:
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
            raise SeveralImagesError(
                f"its page {number + 1} differs from the first in size or kind of pixels",
                "save each as a file of its own",
            )
        yield picture


def _decoded(
    opened: ImageFile.ImageFile, stream: BinaryIO, family: Family, *, may_have_nan: bool
) -> DecodedImage:
    """The picture of a file, or the first one."""
    position = stream.tell()
    inspection = family.inspect(opened, stream)
    stream.seek(position)
    intensities, alpha, notices = _planes(opened, stream, family)
    metadata = metadata_of(opened, inspection)
    require_finite(intensities, may_have_nan=may_have_nan)
    if alpha is not None:
        require_finite_alpha(alpha)
    return DecodedImage(
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
            if isinstance(found, LargeImage):
                for window in found.bands():
                    found.parts(window)
            elif isinstance(found, Stack) and found.series.timing is None:
                list(found.read((found.count - 1,)))
    except (OSError, UnreadableImageError):
        return False
    except UnsupportedImageError:
        return True
    return True


def _in_parts_if_large(stream: BinaryIO) -> DecodedImage | Stack | LargeImage:
    try:
        return open_within(stream, _LITTLE, math.inf)
    except UnsupportedImageError:  # or one that must be decoded whole
        return open_pictures(stream, math.inf, to_denoise=False)
