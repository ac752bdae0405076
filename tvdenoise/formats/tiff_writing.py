"""Writing TIFF: Pillow writes the tags, around a single pixel, and the samples are put in the place of that one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import IMAGEDESCRIPTION, X_RESOLUTION, XMP

from tvdenoise.files.decoded import DecodedImage, StoredTag, with_record
from tvdenoise.files.stack import Series
from tvdenoise.formats.tiff_appending import Pages, in_layout
from tvdenoise.formats.tiff_directories import Layout
from tvdenoise.formats.tiff_encoding import LARGEST, Storage, encode_samples
from tvdenoise.formats.tiff_samples import PHOTOMETRICS, WHITE_IS_ZERO
from tvdenoise.formats.tiff_series import TiffPages
from tvdenoise.formats.tiff_tags import Tags, fields_among, tags_of_exif, without_malformed, writable_tags

DEFLATE = "tiff_adobe_deflate"
PROCESSING_SOFTWARE, ASCII = 11, 2  # "name and version of the software used to post-process the picture"
_FIELDS = "fields"  # an option of our own
_ROOM_FOR_TAGS = 1 << 26  # bytes
_ROOM_FOR_PAGE = 1 << 13  # bytes for the tags of a further page


@dataclass(frozen=True)
class TiffTraits:
    """tags: those that describe the picture; compression: a lossless one, as Pillow names it.

    white_is_zero: of floats, which are not inverted; order: of bytes, "<" unless a tag depends on it.
    descriptions: further ones than the first, as stored.
    """

    tags: Tags = field(default_factory=dict)
    compression: str = DEFLATE
    white_is_zero: bool = False
    order: str = "<"
    descriptions: tuple[bytes, ...] = ()


def options(picture: DecodedImage, _quality: int | None) -> dict[str, Any]:
    metadata, traits = picture.metadata, picture.traits
    if not isinstance(traits, TiffTraits):
        traits = TiffTraits(without_malformed(tags_of_exif(metadata.exif), "raw")[0])
    tags = writable_tags(traits.tags, _further(picture))
    if metadata.xmp:
        tags[XMP] = metadata.xmp
    given: dict[str, Any] = {"exif": tags, "icc_profile": metadata.icc, _FIELDS: fields_among(traits.tags)}
    if metadata.dpi and X_RESOLUTION not in traits.tags:
        given["dpi"] = metadata.dpi
    return given


def _further(picture: DecodedImage) -> dict[int, StoredTag]:
    """The further tags, the record among them, after what other programs wrote into the same tag."""
    tags = dict(picture.metadata.tags)
    if picture.metadata.record:
        _, text = tags.get(PROCESSING_SOFTWARE, (ASCII, ""))
        tags[PROCESSING_SOFTWARE] = (ASCII, with_record(str(text), picture.metadata.record))
    return tags


def encode(picture: DecodedImage, given: Mapping[str, Any]) -> bytes:
    """The contents of a TIFF, a BigTIFF where a classic one might grow too large."""
    return _encode(picture, given, is_big=is_too_large(_values_size(picture)))


def is_too_large(size: int) -> bool:
    """Whether values of so many bytes, uncompressed, might not fit into a classic TIFF."""
    return size + _ROOM_FOR_TAGS > LARGEST


def _encode(picture: DecodedImage, given: Mapping[str, Any], *, is_big: bool) -> bytes:
    columns, rows = picture.size
    planes = (picture.intensities, *(() if picture.alpha is None else (picture.alpha,)))
    storage = storage_of(picture, rows, columns)
    return encode_samples(frame_of(picture, given, is_big=is_big), np.dstack(planes), storage)


def frame_of(picture: DecodedImage, given: Mapping[str, Any], *, is_big: bool) -> bytes:
    """A TIFF of one pixel with the tags that the options give."""
    single = BytesIO()
    pillows = {name: value for name, value in given.items() if name != _FIELDS}
    Image.new("L", (1, 1)).save(single, "TIFF", **{**pillows, "compression": "raw", "big_tiff": is_big})
    order = traits_of(picture).order
    if order == "<" and not given[_FIELDS]:
        return single.getvalue()
    return in_layout(single.getvalue(), Layout(order, is_big), given[_FIELDS])


def storage_of(
    picture: DecodedImage, rows: int, columns: int, tile: tuple[int, int] | None = None
) -> Storage:
    """How a picture of that kind and size is stored."""
    has_alpha, traits = picture.alpha is not None, traits_of(picture)
    return Storage(
        rows,
        columns,
        picture.channels + has_alpha,
        picture.intensities.dtype,
        photometric=WHITE_IS_ZERO if traits.white_is_zero else PHOTOMETRICS[picture.channels],
        has_alpha=has_alpha,
        compression=traits.compression,
        tile=tile,
        texts=tuple((IMAGEDESCRIPTION, text) for text in traits.descriptions),
    )


def traits_of(picture: DecodedImage) -> TiffTraits:
    """Those of its own, or those that a TIFF has of itself."""
    return picture.traits if isinstance(picture.traits, TiffTraits) else TiffTraits()


def write_pages(
    series: Series, pictures: Iterator[DecodedImage], stream: BinaryIO, _quality: int | None
) -> None:
    """A TIFF of as many pages as there are pictures, of which each has its own tags."""
    pages = None
    order = "<"
    stands_for_all = isinstance(series.traits, TiffPages) and series.traits.has_one_directory
    for picture in pictures:
        if pages is None:
            stands_for_all = stands_for_all and _has_description(picture)  # which says how many there are
            order = picture.traits.order if isinstance(picture.traits, TiffTraits) else order
            count = 1 if stands_for_all else series.count
            is_big = is_too_large((_values_size(picture) + _ROOM_FOR_PAGE) * count)
            pages = Pages(stream, Layout(order, is_big), has_one_directory=stands_for_all)
        page = picture
        if isinstance(page.traits, TiffTraits) and page.traits.order != order:
            page = replace(page, traits=replace(page.traits, order=order))
        pages.append(encode(page, options(page, None)))
    assert pages is not None
    pages.close()


def _has_description(picture: DecodedImage) -> bool:
    return isinstance(picture.traits, TiffTraits) and IMAGEDESCRIPTION in picture.traits.tags


def _values_size(picture: DecodedImage) -> int:
    """Bytes, uncompressed."""
    return picture.intensities.nbytes + (0 if picture.alpha is None else picture.alpha.nbytes)
