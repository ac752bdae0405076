"""Files as cameras and their programs write them, byte by byte, since libraries do not write such files.

The value of a tag is a pair of a type and numbers or bytes, or a mapping for a nested directory.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

Tags = Mapping[int, Any]
UNDEFINED, ASCII, SHORT, LONG, RATIONAL = 7, 2, 3, 4, 5
EXIF, GPS, INTEROPERABILITY, IPTC = 34665, 34853, 40965, 33723
MAKER_NOTE, COMPONENTS, USER_COMMENT, FILE_SOURCE, LENS = 37500, 37121, 37510, 41728, 42036
_FORMS = {1: "B", 3: "H", 4: "I", 5: "I", 9: "i", 10: "i"}
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 9: 4, 10: 8}

#: EXIF data of a camera, including private data.
OF_A_CAMERA: Tags = {
    33434: (RATIONAL, (10, 500)),
    36864: (UNDEFINED, b"0230"),
    COMPONENTS: (UNDEFINED, b"\1\2\3\0"),
    37380: (10, (-1, 3)),
    MAKER_NOTE: (UNDEFINED, b"Maker\0\2MM\0*" + bytes(range(200))),
    USER_COMMENT: (UNDEFINED, b"UNICODE\0\0a\0b"),
    INTEROPERABILITY: {1: (ASCII, b"R98\0"), 2: (UNDEFINED, b"0100")},
    FILE_SOURCE: (UNDEFINED, b"\3"),
    LENS: (ASCII, "Objektiv für ƒ/2".encode() + b"\0"),
}
PLACE: Tags = {
    0: (1, b"\2\3\0\0"),
    2: (RATIONAL, (48, 1, 8, 1, 123456, 1000)),
    27: (UNDEFINED, b"ASCII\0\0\0GPS"),
}


def tiff_of(values: np.ndarray, tags: Tags, order: str = "<") -> bytes:
    """Return an uncompressed TIFF of one strip: 8-bit or 16-bit grey or RGB."""
    rows, columns = values.shape[:2]
    samples = values.size // rows // columns
    pixels = values.astype(values.dtype.newbyteorder(order)).tobytes()
    header = 8
    own: Tags = {
        256: (LONG, (columns,)),
        257: (LONG, (rows,)),
        258: (SHORT, (8 * values.itemsize,) * samples),
        259: (SHORT, (1,)),
        262: (SHORT, (1 if samples == 1 else 2,)),
        273: (LONG, (header,)),
        277: (SHORT, (samples,)),
        278: (LONG, (rows,)),
        279: (LONG, (len(pixels),)),
    }
    return _with_directory({**own, **tags}, order, pixels)


def exif_of(tags: Tags, order: str = "<") -> bytes:
    """Return a block of EXIF data, without its prefix."""
    return _with_directory(tags, order, b"")


def _with_directory(tags: Tags, order: str, contents: bytes) -> bytes:
    out = bytearray((b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 0) + contents)
    place = _directory(out, tags, order)
    out[4:8] = struct.pack(order + "I", place)
    return bytes(out)


def _directory(out: bytearray, tags: Tags, order: str) -> int:
    entries = []
    for tag in sorted(tags):
        value = tags[tag]
        if isinstance(value, Mapping):
            value = (LONG, (_directory(out, value, order),))
        kind, given = value
        packed = (
            given if isinstance(given, bytes) else struct.pack(f"{order}{len(given)}{_FORMS[kind]}", *given)
        )
        count = len(packed) // _SIZES[kind]
        if len(packed) > 4:
            out += bytes(len(out) % 2)
            out += packed
            packed = struct.pack(order + "I", len(out) - len(packed))
        entries.append(struct.pack(order + "HHI4s", tag, kind, count, packed.ljust(4, b"\0")))
    out += bytes(len(out) % 2)
    start = len(out)
    out += struct.pack(order + "H", len(entries)) + b"".join(entries) + bytes(4)
    return start


def tags_in(contents: bytes) -> Tags:
    """Parse the first directory of a little-endian TIFF or EXIF block, with nested ones, into `Tags`."""
    return _tags_at(contents, struct.unpack_from("<I", contents, 4)[0])


def _tags_at(contents: bytes, place: int) -> Tags:
    found: dict[int, Any] = {}
    for number in range(struct.unpack_from("<H", contents, place)[0]):
        tag, kind, count, inline = struct.unpack_from("<HHI4s", contents, place + 2 + 12 * number)
        length = _SIZES[kind] * count
        start = struct.unpack("<I", inline)[0] if length > 4 else place + 2 + 12 * number + 8
        packed = contents[start : start + length]
        assert len(packed) == length, tag
        if tag in (EXIF, GPS, INTEROPERABILITY):
            found[tag] = _tags_at(contents, struct.unpack("<I", packed)[0])
        elif kind in (1, ASCII, UNDEFINED):
            found[tag] = (kind, packed)
        else:
            form = _FORMS[kind]
            found[tag] = (kind, struct.unpack(f"<{length // struct.calcsize(form)}{form}", packed))
    return found
