"""What is refused of TIFFs, and why."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, BinaryIO

from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    COMPRESSION,
    EXTRASAMPLES,
    PLANAR_CONFIGURATION,
    SAMPLEFORMAT,
    TiffImageFile,
)

from tvdenoise.errors import UnsupportedImageError
from tvdenoise.formats.tiff_opening import directory_of
from tvdenoise.formats.tiff_samples import CMYK, INK_SET, SEPARATE_PLANES
from tvdenoise.formats.tiff_tags import MALFORMED

_NEW_SUBFILE_TYPE, _DNG_VERSION = 254, 50706
_UNSIGNED, _FLOAT = 1, 3
_SAMPLE_NAMES = {1: "integer", 2: "signed", 3: "float", 5: "complex", 6: "complex"}
_UNKNOWN_SAMPLE, _PREMULTIPLIED = 0, 1
_JPEGS = (6, 7)


def require_no_preview(opened: TiffImageFile) -> None:
    """Raise UnsupportedImageError where the first picture is a smaller copy of one that nobody here decodes."""
    tags = opened.tag_v2
    if _DNG_VERSION in tags or tags.get(_NEW_SUBFILE_TYPE, 0) & 1:
        raise UnsupportedImageError("the TIFF holds a preview of a raw picture", "develop it to TIFF first")


def check_samples(opened: TiffImageFile) -> None:
    """Refuse samples that Pillow cuts to 8 bits, reinterprets or leaves out."""
    tags = opened.tag_v2
    if (refusal := _refusal(tags)) is not None:
        raise refusal
    bits, formats = tags.get(BITSPERSAMPLE, (1,)), set(tags.get(SAMPLEFORMAT, (_UNSIGNED,)))
    if formats == {_FLOAT}:
        raise UnsupportedImageError("this kind of float TIFF is not carried", "save it without compression")
    if formats - {_UNSIGNED}:
        raise UnsupportedImageError("TIFF with signed samples is not carried", "convert to unsigned samples")
    if tags.get(PLANAR_CONFIGURATION) == SEPARATE_PLANES and opened.mode == "LA":
        raise UnsupportedImageError(
            "TIFF with alpha in a plane of its own is not carried so compressed",
            "save it with LZW or deflate",
        )
    if opened.mode == "I;16" and bits[0] != 16:
        raise UnsupportedImageError(f"{bits[0]}-bit grey TIFF is not carried yet", "convert it to 16 bits")
    if max(bits) > 8 and len(bits) > 1:
        raise UnsupportedImageError(
            f"this kind of {max(bits)}-bit colour TIFF is not carried yet", "convert it to plain RGB first"
        )


def _refusal(tags: Mapping[int, Any]) -> UnsupportedImageError | None:
    """What is wrong with any TIFF that has these tags, however Pillow opens it."""
    extra, bits = tags.get(EXTRASAMPLES, ()), tags.get(BITSPERSAMPLE, (1,))
    if _PREMULTIPLIED in extra:
        return UnsupportedImageError(
            "TIFF with premultiplied alpha is not carried", "save it with straight alpha"
        )
    if _UNKNOWN_SAMPLE in extra or len(extra) > 1:
        return UnsupportedImageError("TIFF with extra channels is not carried", "save it without them")
    if tags.get(INK_SET, CMYK) != CMYK:
        return UnsupportedImageError("TIFF with other inks than CMYK is not carried", "convert it to CMYK")
    if tags.get(COMPRESSION) in _JPEGS and max(bits) > 8:
        return UnsupportedImageError(
            f"{max(bits)}-bit JPEG compression in TIFF is not carried", "save it with LZW or deflate"
        )
    return None


def explain(stream: BinaryIO) -> UnsupportedImageError | None:
    """Why a TIFF whose samples nobody knows is refused; None for other files."""
    stream.seek(0)
    try:
        if (tags := directory_of(stream.read(16))) is None:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            stream.seek(tags.next)
            tags.load(stream)
            bits, formats = tags[BITSPERSAMPLE], tags.get(SAMPLEFORMAT, (_UNSIGNED,))
            refusal = _refusal(tags)
    except MALFORMED:
        return None
    if refusal is not None:
        return refusal
    kind = _SAMPLE_NAMES.get(formats[0], "other")
    what = "colour TIFF" if len(bits) > 1 else "TIFF"
    if kind == "integer" and max(bits) in (8, 16):
        remedy = "convert it to plain grey, RGB or CMYK first"
        return UnsupportedImageError(f"this kind of {max(bits)}-bit {what} is not carried", remedy)
    is_float = kind == "float" and len(bits) <= 4
    remedy = "save it as 32-bit float" if is_float else "save it as 8-bit or 16-bit integers"
    return UnsupportedImageError(f"{max(bits)}-bit {kind} {what} is not carried yet", remedy)
