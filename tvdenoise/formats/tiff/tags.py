"""Tags of a TIFF that describe the image, not the storage of its pixels; kept as stored."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from io import BytesIO
from typing import BinaryIO

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
)

from tvdenoise.files.decoded import StoredTag
from tvdenoise.formats.tiff.directories import DIRECTORIES, Directory, Field, fields_in

ORIENTATION = 274
_SIDES = 40962, 40963  # columns and rows in EXIF data
_DOCUMENT_NAME, _MAKE, _MODEL, _PAGE_NAME, _HOST, _IPTC = 269, 271, 272, 285, 316, 33723
_BYTES, _NUMBERS = frozenset({1, 2, 7}), frozenset({3, 4, 5, 8, 9, 10, 11, 12})  # types
_TEXTS = (
    *(_DOCUMENT_NAME, IMAGEDESCRIPTION, _MAKE, _MODEL, _PAGE_NAME, SOFTWARE, DATE_TIME, ARTIST, _HOST),
    *(COPYRIGHT, PHOTOSHOP_CHUNK),
)
_OF_NUMBERS = (ORIENTATION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT)
#: Tags that other formats store in EXIF data.
_DESCRIPTIVE = frozenset({*_TEXTS, *_OF_NUMBERS, _IPTC, *DIRECTORIES})
_BESIDE = frozenset({XMP, ICCPROFILE})  # read by Pillow
# Storage of the pixels (which the writer decides anew), and statistics of them.
_STRUCTURAL = frozenset(
    {
        *(*range(254, 260), *range(262, 267), 273, *range(277, 282), 284, *range(288, 294)),
        *(317, *range(320, 326), 332, *range(338, 343), 347, *range(512, 522), *range(529, 533), 559),
        *range(32995, 32999),
    }
)
# Invalid after denoising: previews, layers, and file offsets (including those of MetaMorph and Zeiss LSM).
_STALE = frozenset({330, 37724, *range(33628, 33632), 34412})
MALFORMED = (
    *(OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, OverflowError),
    *(AttributeError, RuntimeError, struct.error),
)

#: By number.
Tags = Mapping[int, Field]


def tags_in(
    stream: BinaryIO, directory: Directory
) -> tuple[dict[int, Field], dict[int, StoredTag], list[int]]:
    """Read the first directory of a TIFF: the tags that describe the image, the other tags, and the numbers of the tags
    that are left out, because their type is wrong or they would be invalid in the written file."""
    found = {field.tag: field for field in fields_in(stream, _is_kept) if _has_right_type(field)}
    described = {tag: field for tag, field in found.items() if tag in _DESCRIPTIVE}
    further = {tag: stored(field) for tag, field in found.items() if tag not in _DESCRIPTIVE}
    silent = _STRUCTURAL | _BESIDE | {*DIRECTORIES}
    present = {tag for tag, entry in directory.entries.items() if entry.count} - silent
    return described, further, sorted(present - set(found))


def tags_of_exif(contents: bytes | None) -> dict[int, Field]:
    """Read all tags of a block of EXIF data except structural ones; none if it is malformed."""
    fields = fields_in(BytesIO(contents or b""), _is_kept)
    return {field.tag: field for field in fields if _has_right_type(field)}


def _is_kept(tag: int) -> bool:
    return tag not in _STRUCTURAL | _STALE | _BESIDE


def _has_right_type(field: Field) -> bool:
    right = _BYTES if field.tag in _TEXTS else _NUMBERS if field.tag in _OF_NUMBERS else {field.kind}
    return field.kind in right and bool(field.contents)


def stored(field: Field) -> StoredTag:
    assert isinstance(field.contents, bytes)
    return field.kind, field.contents


def orientation_of(contents: bytes | None) -> int:
    """Return the orientation in a block of EXIF data, from 1 (upright) to 8; 1 if it is missing or malformed."""
    exif = Image.Exif()
    with warnings.catch_warnings(), suppress(*MALFORMED):
        warnings.simplefilter("ignore")
        exif.load(contents or b"")
        return int(exif[ORIENTATION]) if exif.get(ORIENTATION) in range(2, 9) else 1
    return 1


def with_sides_exchanged(tags: Tags) -> dict[int, Field]:
    """Return the tags of an image after a quarter turn, with the values for columns and rows swapped."""
    exchanged = _exchanged(tags, X_RESOLUTION, Y_RESOLUTION)
    if EXIFIFD in exchanged and isinstance(inside := exchanged[EXIFIFD].contents, tuple):
        fields = _exchanged({field.tag: field for field in inside}, *_SIDES)
        contents = tuple(fields[tag] for tag in sorted(fields))
        exchanged[EXIFIFD] = replace(exchanged[EXIFIFD], contents=contents)
    return exchanged


def _exchanged(tags: Tags, first: int, second: int) -> dict[int, Field]:
    names = {first: second, second: first}
    renamed = (replace(field, tag=names.get(tag, tag)) for tag, field in tags.items())
    return {field.tag: field for field in renamed}


def notes_of_lost(tags: Iterable[int]) -> tuple[str, ...]:
    """Return a note that names the tags, if there are any."""
    names = [
        f"{tag} ({name})" if (name := TiffTags.lookup(tag).name) != "unknown" else str(tag) for tag in tags
    ]
    return (f"its TIFF tags {', '.join(names)} are dropped",) if names else ()
