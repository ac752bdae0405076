"""The tags of a TIFF that describe its picture, as opposed to how its pixels are stored."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from PIL import Image
from PIL.TiffImagePlugin import (
    ARTIST,
    COPYRIGHT,
    DATE_TIME,
    EXIFIFD,
    IMAGEDESCRIPTION,
    IPTC_NAA_CHUNK,
    PHOTOSHOP_CHUNK,
    RESOLUTION_UNIT,
    SOFTWARE,
    X_RESOLUTION,
    Y_RESOLUTION,
)

ORIENTATION = 274
_DOCUMENT_NAME, _MAKE, _MODEL, _PAGE_NAME, _HOST, _GPS_IFD = 269, 271, 272, 285, 316, 34853
_DIRECTORIES = (EXIFIFD, _GPS_IFD)
_DESCRIPTIVE = (
    *(_DOCUMENT_NAME, IMAGEDESCRIPTION, _MAKE, _MODEL, ORIENTATION, X_RESOLUTION, Y_RESOLUTION, _PAGE_NAME),
    *(RESOLUTION_UNIT, SOFTWARE, DATE_TIME, ARTIST, _HOST, COPYRIGHT, IPTC_NAA_CHUNK, PHOTOSHOP_CHUNK),
)
_ASCII = 2
_MALFORMED = (
    *(OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, OverflowError),
    *(AttributeError, struct.error),
)

Tags = Mapping[int, Any]  # by number; EXIF and GPS data are mappings themselves


def descriptive_tags(exif: Image.Exif) -> Tags:
    """What describes the picture; what is malformed is left out."""
    tags = {tag: exif[tag] for tag in _DESCRIPTIVE if tag in exif}
    for directory in _DIRECTORIES:
        with suppress(*_MALFORMED):
            if contents := exif.get_ifd(directory):
                tags[directory] = dict(contents)
    return tags


def tags_of_exif(contents: bytes | None) -> Tags:
    """The tags in a block of EXIF data; none where it is malformed."""
    exif = Image.Exif()
    with warnings.catch_warnings(), suppress(*_MALFORMED):
        warnings.simplefilter("ignore")
        exif.load(contents or b"")
        return descriptive_tags(exif)
    return {}


def exif_of_tags(tags: Tags) -> bytes | None:
    """A block of EXIF data with the tags, or None where there are none or they cannot be written."""
    with suppress(*_MALFORMED):
        return _exif(tags).tobytes() if tags else None
    return None


def writable_tags(tags: Tags) -> Image.Exif:
    """The tags for Pillow's TIFF writer, with texts as they were stored.

    Pillow reads the bytes of a text as Latin-1, but writes ASCII only, unless it gets bytes and their type.
    """
    texts = {tag: value.encode("latin-1", "replace") for tag, value in tags.items() if isinstance(value, str)}
    exif = _exif({**tags, **texts})
    exif.tagtype = dict.fromkeys(texts, _ASCII)  # type: ignore[attr-defined]  # looked up by Pillow's writer
    return exif


def has_directories(tags: Tags) -> bool:
    """Whether there are EXIF or GPS data."""
    return any(directory in tags for directory in _DIRECTORIES)


def _exif(tags: Tags) -> Image.Exif:
    exif = Image.Exif()
    for tag, value in tags.items():
        if tag in _DIRECTORIES:  # before the entry itself, which Pillow would take for a position in a file
            exif.get_ifd(tag).update(value)
        exif[tag] = value
    return exif
