"""Reading image files: recognised by content, from an allow-list, up to a pixel limit, whole or not at all."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import ImageFile

from tvdenoise.errors import SeveralImagesError, UnreadableImageError, UnsupportedImageError
from tvdenoise.files.decoded import DecodedImage, nodata_in
from tvdenoise.files.large import LargeImage, open_large, require_finite, require_finite_alpha
from tvdenoise.files.memory import PROCESS, MemoryBudget, require_memory
from tvdenoise.files.opening import (
    Contents,
    OpenedFile,
    opened_image,
    require_pixels_within,
    require_supported,
)
from tvdenoise.files.paths import reason_of
from tvdenoise.files.pillow import is_bilevel, metadata_of, planes_of
from tvdenoise.files.stack import Series, Stack
from tvdenoise.formats.family import Family
from tvdenoise.options import default_of

#: Why an image of two levels is not denoised.
BILEVEL = "1-bit image"
DEFAULT_MAX_MEGAPIXELS: float = default_of("max_megapixels")


def alone(first: DecodedImage, contents: Contents) -> DecodedImage:
    """Return the first image of a file as if it were the only one, with a note about the others."""
    if contents.count == 1:
        return first
    several = contents.family.several
    image = first if several is None else several.alone(first)
    of_all = "its images" if contents.count is None else f"its {contents.count} images"
    return replace(image, notes=(f"only the first of {of_all} is used", *image.notes))


def large_image(file: OpenedFile, budget: MemoryBudget) -> LargeImage | None:
    """Return the image of a file, if it is too large for the budget, without decoding it; else None.

    The file holds a single image, or only its first one is used. Its stream must stay open. Raises
    UnreadableImageError, and UnsupportedImageError if the whole must fit into memory.
    """
    contents, needed = file.contents, file.bytes_needed
    is_whole = is_bilevel(file.opened) or (contents.series is not None and not file.first_frame)
    if is_whole or budget.shortage(needed) is None:
        require_memory(needed, budget)
        return None
    large = open_large(file.opened, file.stream, contents.family, budget, needed)
    return replace(large, pixel=alone(large.pixel, contents))


_LITTLE = MemoryBudget(PROCESS + (1 << 27))  # for files that are only checked, in parts if possible


def read(
    source: Path,
    max_megapixels: float = DEFAULT_MAX_MEGAPIXELS,
    *,
    to_denoise: bool = True,
    may_hold: tuple[float, ...] = (),
    may_be_bilevel: bool = True,
    first_frame: bool | None = None,
) -> DecodedImage:
    """Decode a file of one image.

    to_denoise: refuse images for which there is too little memory to denoise them.
    first_frame: take the first of several images; None if the user has no such option.
    may_hold: values to accept that are not finite; may_be_bilevel: accept 1-bit images.
    Raises UnreadableImageError and UnsupportedImageError.
    """
    try:
        stream = source.open("rb")
    except OSError as error:
        raise UnreadableImageError(reason_of(error)) from error
    try:
        with stream:
            found = open_images(
                stream,
                max_megapixels,
                to_denoise=to_denoise,
                may_hold=may_hold,
                first_frame=bool(first_frame),
            )
        if isinstance(found, Stack):
            raise SeveralImagesError(f"the file holds {found.count} images")
        if found.is_bilevel and not may_be_bilevel:
            raise UnsupportedImageError(BILEVEL, "tvdenoise run --impulses on removes speckle")
    except SeveralImagesError as error:
        if first_frame is not None:
            raise
        raise UnsupportedImageError(error.reason, error.remedy_elsewhere) from error
    return found


def open_images(
    stream: BinaryIO,
    max_megapixels: float = DEFAULT_MAX_MEGAPIXELS,
    *,
    to_denoise: bool = True,
    may_hold: tuple[float, ...] = (),
    first_frame: bool = False,
) -> DecodedImage | Stack:
    """Decode the image in a seekable stream, or return a stack if there are several.

    to_denoise: refuse, before allocating, images for which there is too little memory to denoise them.
    may_hold: values to accept that are not finite, which stand for pixels without a measurement.
    first_frame: take only the first of several images.
    Raises UnreadableImageError and UnsupportedImageError.
    """
    found = open_within(
        stream,
        MemoryBudget() if to_denoise else None,
        max_megapixels,
        may_hold=may_hold,
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
    may_hold: tuple[float, ...] = (),
    first_frame: bool = False,
    in_parts: bool = True,
    couples_bands: bool = False,
    gate_values: Callable[[int], int] | None = None,
    admit: Callable[[OpenedFile], None] | None = None,
) -> DecodedImage | Stack | LargeImage:
    """Like `open_images`, within a memory budget, or None for no limit.

    in_parts: return an image that exceeds the budget undecoded, if its file can be read in parts.
    couples_bands: bands will be denoised together, which needs more memory; gate_values: by learned filters.
    admit: called with the opened file before anything is decoded; may raise TvdenoiseError.
    """
    with opened_image(stream) as opened:
        file = OpenedFile(
            opened,
            stream,
            max_megapixels,
            first_frame=first_frame,
            couples_bands=couples_bands,
            gate_values=gate_values,
        )
        family, series = file.contents.family, file.contents.series
        if admit is not None:
            admit(file)
        if budget is not None and not in_parts:
            require_memory(file.bytes_needed, budget)
        elif budget is not None and (large := large_image(file, budget)) is not None:
            return large
        first = _decoded(opened, stream, family, may_hold=may_hold)
        if first_frame:
            return alone(first, file.contents)
    if series is None:
        return first

    def numbered(numbers: Iterable[int]) -> Iterator[DecodedImage]:
        return _numbered(stream, family, series, first, numbers, max_megapixels, may_hold=may_hold)

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
    may_hold: tuple[float, ...],
) -> Iterator[DecodedImage]:
    """Yield the images with the given increasing numbers, decoding each on demand."""
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
            require_supported(opened, page, family)
            image = _decoded(opened, page, family, may_hold=may_hold)
        if not series.axes.is_mixed and (image.kind, image.size) != (first.kind, first.size):
            raise SeveralImagesError(
                f"its page {number + 1} differs from the first in size or kind of pixels",
                "save each as a file of its own",
            )
        yield image


def _decoded(
    opened: ImageFile.ImageFile, stream: BinaryIO, family: Family, *, may_hold: tuple[float, ...]
) -> DecodedImage:
    """Decode the first image of a file."""
    position = stream.tell()
    inspection = family.inspect(opened, stream)
    stream.seek(position)
    intensities, alpha, notes = _planes(opened, stream, family)
    metadata = metadata_of(opened, inspection)
    nodata = nodata_in(metadata.tags, intensities.dtype)
    require_finite(intensities, may_hold=may_hold, nodata=nodata)
    if alpha is not None:
        require_finite_alpha(alpha)
    return DecodedImage(
        intensities,
        alpha,
        family.codec,
        metadata,
        inspection.traits,
        inspection.notes + notes,
        nodata_in(metadata.tags, intensities.dtype),
        inspection.in_bands,
        inspection.is_premultiplied,
        is_bilevel=is_bilevel(opened),
    )


def _planes(
    opened: ImageFile.ImageFile, stream: BinaryIO, family: Family
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any] | None, tuple[str, ...]]:
    """Return intensities, alpha or None, and notes."""
    if (deep := family.decode(opened, stream)) is not None:
        return *deep, ()
    opened.load()
    return planes_of(opened)


def is_whole(path: Path) -> bool:
    """Return whether the file is an intact image, decoded to its end, in parts if it is large.

    Of several pages, decodes the first and the last; of an animation the first frame, since its structure shows
    whether it is complete. An image that is recognised but not supported counts as intact.
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
    except UnsupportedImageError:  # perhaps because it must be decoded whole
        return open_images(stream, math.inf, to_denoise=False)
