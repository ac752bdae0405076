"""The tags of a TIFF that describe its picture, as opposed to how its pixels are stored."""

from __future__ import annotations

import math
import struct
import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from io import BytesIO
from typing import Any, BinaryIO

from PIL import Image, TiffTags
from PIL.TiffImagePlugin import (
    ARTIST,
    COPYRIGHT,
    DATE_TIME,
    EXIFIFD,
    ICCPROFILE,
    IMAGEDESCRIPTION,
    PHOTOSHOP_CHUNK,
    RESOLUTION_UNIT,
    SOFTWARE,
    X_RESOLUTION,
    XMP,
    Y_RESOLUTION,
    ImageFileDirectory_v2,
)

from tvdenoise.files.decoded import StoredTag
from tvdenoise.files.pillow import SILENT_LIBRARIES
from tvdenoise.formats.tiff_appending import in_layout
from tvdenoise.formats.tiff_directories import Layout
from tvdenoise.formats.tiff_fields import DIRECTORIES, IPTC, Field
from tvdenoise.formats.tiff_stored import fields_in

ORIENTATION = 274
ON_THEIR_SIDE = (5, 6, 7, 8)  # orientations
_SIDES = 40962, 40963  # columns and rows in EXIF data
_DOCUMENT_NAME, _MAKE, _MODEL, _PAGE_NAME, _HOST = 269, 271, 272, 285, 316
_DESCRIPTIVE = (
    *(_DOCUMENT_NAME, IMAGEDESCRIPTION, _MAKE, _MODEL, ORIENTATION, X_RESOLUTION, Y_RESOLUTION, _PAGE_NAME),
    *(RESOLUTION_UNIT, SOFTWARE, DATE_TIME, ARTIST, _HOST, COPYRIGHT, PHOTOSHOP_CHUNK),
)
# How the pixels are stored (which the writer decides anew), and statistics of them.
_STRUCTURAL = frozenset(
    {
        *(*range(254, 260), *range(262, 267), 273, *range(277, 282), 284, *range(288, 294)),
        *(317, *range(320, 326), 332, *range(338, 343), 347, *range(512, 522), *range(529, 533), 559),
        *range(32995, 32999),
    }
)
# Smaller copies, layers as they were, positions in the file (also those that MetaMorph and the LSM of Zeiss have).
_STALE = frozenset({330, 37724, 40965, *range(33628, 33632), 34412})
_ASCII, _RATIONALS = 2, (5, 10)
_CARRIED_TYPES = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12})
_EXIF_PREFIX = b"Exif\0\0"
_RATIONAL_PRECISION = 1e-6  # libtiff takes them as single-precision floats
MALFORMED = (
    *(OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, OverflowError),
    *(AttributeError, RuntimeError, struct.error),
)

#: By number; those that Pillow would change are fields: EXIF and GPS data, and IPTC data, often stored as numbers.
Tags = Mapping[int, Any]


def descriptive_tags(exif: Image.Exif, stream: BinaryIO) -> dict[int, Any]:
    """What describes the picture of a TIFF, or of a block of EXIF data; what is malformed is left out."""
    tags = {tag: exif[tag] for tag in _DESCRIPTIVE if tag in exif}
    return tags | {field.tag: field for field in fields_in(stream, {IPTC, *DIRECTORIES}.__contains__)}


def tags_of_exif(contents: bytes | None) -> Tags:
    """All tags in a block of EXIF data but those of its own structure; none where it is malformed."""
    exif, stream = Image.Exif(), BytesIO(contents or b"")
    with warnings.catch_warnings(), suppress(*MALFORMED):
        warnings.simplefilter("ignore")
        exif.load(contents or b"")
        described = descriptive_tags(exif, stream)
        return described | {field.tag: field for field in fields_in(stream, _is_further)}
    return {}


def _is_further(tag: int) -> bool:
    return tag not in _STRUCTURAL | _STALE | {*_DESCRIPTIVE, *DIRECTORIES, XMP, ICCPROFILE}


def fields_among(tags: Tags) -> tuple[Field, ...]:
    """Those that are written as they are stored, without Pillow."""
    return tuple(value for value in tags.values() if isinstance(value, Field))


def orientation_of(contents: bytes | None) -> int:
    """The orientation in a block of EXIF data, from 1 (upright) to 8; 1 where there is none or it is malformed."""
    exif = Image.Exif()
    with warnings.catch_warnings(), suppress(*MALFORMED):
        warnings.simplefilter("ignore")
        exif.load(contents or b"")
        return int(exif[ORIENTATION]) if exif.get(ORIENTATION) in range(2, 9) else 1
    return 1


def with_sides_exchanged(tags: Tags) -> dict[int, Any]:
    """The tags of a picture that was turned by a quarter: what they say of columns and rows changes places."""
    exchanged = _exchanged(tags, X_RESOLUTION, Y_RESOLUTION)
    if EXIFIFD in exchanged:
        fields = {field.tag: field for field in exchanged[EXIFIFD].contents}
        fields = _exchanged(fields, *_SIDES)
        inside = tuple(replace(fields[tag], tag=tag) for tag in sorted(fields))
        exchanged[EXIFIFD] = replace(exchanged[EXIFIFD], contents=inside)
    return exchanged


def _exchanged(tags: Tags, first: int, second: int) -> dict[int, Any]:
    names = {first: second, second: first}
    return {names.get(tag, tag): value for tag, value in tags.items()}


def without_malformed(tags: Tags, compression: str) -> tuple[Tags, list[int]]:
    """Tags that Pillow can write with a compression, and the numbers of the others: numbers for texts and such."""
    if _can_be_written(tags, compression):
        return tags, []
    kept = {tag: value for tag, value in tags.items() if _can_be_written({tag: value}, compression)}
    return kept, sorted(set(tags) - set(kept))


def _can_be_written(tags: Tags, compression: str) -> bool:
    with suppress(*MALFORMED):
        _trial(writable_tags(tags, {}), compression)
        return True
    return False


def _trial(exif: Image.Exif, compression: str) -> BytesIO:
    """A TIFF of one pixel with the tags."""
    trial = BytesIO()
    with SILENT_LIBRARIES:  # libtiff prints what it does not take
        Image.new("L", (1, 1)).save(trial, "TIFF", exif=exif, compression=compression)
    return trial


def exif_of_tags(tags: Tags) -> bytes | None:
    """A block of EXIF data with the tags, or None where there are none or they cannot be written."""
    with suppress(*MALFORMED):
        if not tags:
            return None
        block = _exif(_for_pillow(tags)).tobytes().removeprefix(_EXIF_PREFIX)
        return in_layout(block, Layout("<", is_big=False), fields_among(tags))
    return None


def further_tags(stored: ImageFileDirectory_v2, compression: str) -> tuple[dict[int, StoredTag], list[int]]:
    """Tags of other programs and purposes: those that Pillow can write with a compression, and the others."""
    carried: dict[int, StoredTag] = {}
    lost = []
    for tag in sorted(set(stored) - _STRUCTURAL - {*_DESCRIPTIVE, IPTC, *DIRECTORIES, XMP, ICCPROFILE}):
        with suppress(*MALFORMED):
            kept = (stored.tagtype[tag], stored[tag])
            if tag not in _STALE and kept[0] in _CARRIED_TYPES and _comes_back(tag, kept, compression):
                carried[tag] = kept
        if tag not in carried:
            lost.append(tag)
    return carried, lost


def _comes_back(tag: int, kept: StoredTag, compression: str) -> bool:
    """Whether a tag that is written can be read again: Pillow and libtiff have their own ideas about many."""
    trial = _trial(writable_tags({}, {tag: kept}), compression)
    with Image.open(trial, formats=("TIFF",)) as opened:
        written: ImageFileDirectory_v2 = opened.tag_v2  # type: ignore[attr-defined]  # it is a TIFF
        value, kind = written.get(tag), written.tagtype.get(tag)
    return kind == kept[0] and (value == kept[1] or (kind in _RATIONALS and _are_close(value, kept[1])))


def _are_close(first: Any, second: Any) -> bool:
    firsts, seconds = (value if isinstance(value, tuple) else (value,) for value in (first, second))
    return len(firsts) == len(seconds) and all(
        math.isclose(a, b, rel_tol=_RATIONAL_PRECISION) for a, b in zip(firsts, seconds, strict=True)
    )


def notices_of_lost(tags: Iterable[int]) -> tuple[str, ...]:
    """One notice that names the tags, where there are any."""
    names = [
        f"{tag} ({name})" if (name := TiffTags.lookup(tag).name) != "unknown" else str(tag) for tag in tags
    ]
    return (f"its TIFF tags {', '.join(names)} are left out",) if names else ()


def writable_tags(tags: Tags, further: Mapping[int, StoredTag]) -> Image.Exif:
    """The tags for Pillow's TIFF writer, with texts as they were stored; not those that it would change.

    Pillow reads the bytes of a text as Latin-1, but writes ASCII only, unless it gets bytes and their type.
    """
    values = {**_for_pillow(tags), **{tag: value for tag, (_, value) in further.items()}}
    texts = {
        tag: value.encode("latin-1", "replace") for tag, value in values.items() if isinstance(value, str)
    }
    exif = _exif({**values, **texts})
    types = dict.fromkeys(texts, _ASCII) | {tag: kind for tag, (kind, _) in further.items()}
    exif.tagtype = types  # type: ignore[attr-defined]  # looked up by Pillow's writer
    return exif


def _for_pillow(tags: Tags) -> Tags:
    return {tag: value for tag, value in tags.items() if not isinstance(value, Field)}


def _exif(tags: Tags) -> Image.Exif:
    exif = Image.Exif()
    for tag, value in tags.items():
        exif[tag] = value
    return exif
