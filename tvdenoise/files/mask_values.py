"""The values of a file that serves as a mask: as stored, of any type, whatever colours they stand for.

Images are read as they look; masks are data. The photometric interpretation of a TIFF does not turn them round, and
types that no image has (booleans, labels of 32 bits) are read with tifffile.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from tvdenoise.errors import UnsupportedImageError
from tvdenoise.files.opening import OpenedFile, decoder_errors, opened_image, require_size_within
from tvdenoise.files.orientation import Orientation
from tvdenoise.files.pillow import PILLOW_SETTINGS, SILENT_LIBRARIES
from tvdenoise.files.reading import open_images
from tvdenoise.files.stack import Stack
from tvdenoise.formats.family import split_alpha
from tvdenoise.formats.registry import FAMILIES
from tvdenoise.formats.tiff.directories import ORIENTATION, layout_of, truncated
from tvdenoise.formats.tiff.pages import page_of, survey
from tvdenoise.formats.tiff.samples import open_any_tiff

if TYPE_CHECKING:
    import tifffile
    from numpy.typing import NDArray
    from PIL import Image

    from tvdenoise.files.decoded import DecodedImage

#: TIFF's numbers of compressions that keep every value; others may not.
_LOSSLESS = frozenset({1, 2, 3, 4, 5, 8, 32773, 32946, 34925, 50000})
_RGB, _PALETTE, _SEPARATED = 2, 3, 5  # photometric interpretations
_ALPHAS = (1, 2)  # kinds of extra samples
_LOSSY_CODECS = frozenset({"JPEG", "AVIF", "HEIF"})


@dataclass(frozen=True, eq=False)
class MaskValues:
    """The values of one image, oriented as displayed.

    values: (rows, columns), boolean, integer or float, or (rows, columns, 3) for colours.
    bits: of a stored value, where they are fewer than those of the type.
    is_lossy: the values may differ a little from those that were saved; is_palette: they are indices.
    has_transparency: some pixels are fully transparent.
    """

    values: NDArray[Any]
    bits: int | None = None
    is_lossy: bool = False
    is_palette: bool = False
    has_transparency: bool = False

    @property
    def largest(self) -> int:
        """The largest value of the type, which is white."""
        dtype = self.values.dtype
        if dtype.kind not in "iu":
            return 1
        return int(np.iinfo(dtype).max) if self.bits is None else (1 << self.bits) - 1


@dataclass(frozen=True, eq=False)
class MaskSource:
    """The images of an opened file, whose stream must stay open.

    is_single: the file holds one image; read: yields those with the given increasing numbers.
    """

    count: int
    is_single: bool
    read: Callable[[Iterable[int]], Iterator[MaskValues]]


@contextmanager
def mask_source(stream: BinaryIO, max_megapixels: float) -> Iterator[MaskSource]:
    """Open a seekable stream. Raises UnreadableImageError and UnsupportedImageError, also while reading."""
    with decoder_errors(), PILLOW_SETTINGS:
        for family in FAMILIES.values():
            family.screen(stream)
        if layout_of(stream) is not None:
            yield _tiff(stream, max_megapixels)
        elif (indices := _indices(stream, max_megapixels)) is not None:
            yield MaskSource(1, is_single=True, read=_once(indices))
        else:
            yield _of_images(stream, max_megapixels)


def _once(values: MaskValues) -> Callable[[Iterable[int]], Iterator[MaskValues]]:
    return lambda numbers: (values for _ in numbers)


def _of_images(stream: BinaryIO, max_megapixels: float) -> MaskSource:
    """Read any format but TIFF as images are read."""
    found = open_images(stream, max_megapixels, to_denoise=False, may_hold=(math.nan,))
    if isinstance(found, Stack):
        read = found.read
        return MaskSource(found.count, is_single=False, read=lambda numbers: map(_of_image, read(numbers)))
    return MaskSource(1, is_single=True, read=_once(_of_image(found)))


def _of_image(image: DecodedImage) -> MaskValues:
    if image.channels == 4:
        raise _in_inks()
    is_lossy = not getattr(image.traits, "lossless", image.codec not in _LOSSY_CODECS)
    values = Orientation.of(image).shown(image.intensities)
    return MaskValues(values, is_lossy=is_lossy, has_transparency=image.visible is not None)


def _indices(stream: BinaryIO, max_megapixels: float) -> MaskValues | None:
    """Read the indices of a PNG whose first colour is black, such as labels with a colour for each; else None."""
    with opened_image(stream) as opened:
        if opened.format != "PNG" or opened.mode != "P" or "transparency" in opened.info:
            return None
        colours = opened.getpalette("RGB") or [1]
        if any(colours[:3]) or OpenedFile(opened, stream, max_megapixels).contents.series is not None:
            return None
        FAMILIES["PNG"].inspect(opened, stream)
        orientation = _orientation_of(opened)
        opened.load()
        return MaskValues(orientation.shown(np.asarray(opened)), is_palette=True)


def _orientation_of(opened: Image.Image) -> Orientation:
    number = opened.getexif().get(ORIENTATION, 1)
    return Orientation(number if number in range(2, 9) else 1)


def _in_inks() -> UnsupportedImageError:
    return UnsupportedImageError("it is in CMYK", "save it in grey, as PNG")


def _tiff(stream: BinaryIO, max_megapixels: float) -> MaskSource:
    """Read the pages of a TIFF, each by itself."""
    opened = open_any_tiff(stream)
    if opened is None:
        raise UnsupportedImageError("this kind of TIFF is not known", "save it in grey, as PNG")
    require_size_within(*opened.size, max_megapixels)
    series = survey(opened, stream)
    if series is None:
        return MaskSource(1, is_single=True, read=_once(_page(stream, max_megapixels)))

    def read(numbers: Iterable[int]) -> Iterator[MaskValues]:
        for number in numbers:
            with page_of(stream, series, number) as page:
                yield _page(page, max_megapixels)

    return MaskSource(series.count, is_single=False, read=read)


def _page(stream: BinaryIO, max_megapixels: float) -> MaskValues:
    """Read the first page of a TIFF."""
    import tifffile

    stream.seek(0)
    # The name of a temporary file may be a number, which tifffile would take for a path.
    with tifffile.TiffFile(
        stream, name="TIFF", offset=0, is_lsm=False, is_ndpi=False, is_scanimage=False
    ) as file:
        page = file.pages.first
        require_size_within(page.imagewidth, page.imagelength, max_megapixels)
        _require_segments(page, stream)
        with SILENT_LIBRARIES:
            values = page.asarray(maxworkers=1)
        values, has_transparency = _without_alpha(values, page)
        tag = page.tags.get(ORIENTATION)
        number = 1 if tag is None else tag.value
        orientation = Orientation(number if number in range(2, 9) else 1)
        return MaskValues(
            orientation.shown(values),
            page.bitspersample if page.bitspersample % 8 else None,
            is_lossy=int(page.compression) not in _LOSSLESS,
            is_palette=page.photometric == _PALETTE,
            has_transparency=has_transparency,
        )


def _require_segments(page: tifffile.TiffPage, stream: BinaryIO) -> None:
    """Raise UnreadableImageError if the file does not hold all strips or tiles: tifffile fills them with zeros."""
    end = stream.seek(0, os.SEEK_END)
    count = math.prod(page.chunked)
    places = list(zip(page.dataoffsets, page.databytecounts, strict=False))[:count]
    if not places or any(min(place) <= 0 or sum(place) > end for place in places):
        raise truncated()


def _without_alpha(values: NDArray[Any], page: tifffile.TiffPage) -> tuple[NDArray[Any], bool]:
    """Return grey values or colours, and whether some pixels are fully transparent."""
    if page.photometric == _SEPARATED:
        raise _in_inks()
    if page.axes.startswith("S"):
        values = np.moveaxis(values, 0, -1)
    extra = page.extrasamples
    samples = 3 if page.photometric == _RGB else 1
    channels = values.shape[2] if values.ndim == 3 else 1
    if values.ndim > 3 or channels - samples not in (0, 1) or (extra and extra[0] not in _ALPHAS):
        raise UnsupportedImageError("it has further channels", "save it in grey, as PNG")
    if channels == samples:
        return (values if values.ndim == 2 or channels > 1 else values[..., 0]), False
    intensities, alpha = split_alpha(values)
    return intensities, alpha is not None and not (alpha > 0).all()
