"""A writer and a reader of the boxes of JP2 files (ISO/IEC 15444-1, annex I)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any

import imagecodecs
import numpy as np

_XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_EXIF = b"JpgTiffExif->JP2"
_GREY, _SRGB = 17, 16
_INCHES_PER_METRE = 10_000 / 254


def box(kind: bytes, contents: bytes) -> bytes:
    return struct.pack(">I4s", len(contents) + 8, kind) + contents


def jp2(values: np.ndarray, metadata: Mapping[str, Any]) -> bytes:
    """Return a lossless JP2 of integers; the last of 2 or 4 channels is alpha.

    metadata: a colour profile, EXIF and XMP data as bytes, and a resolution.
    """
    rows, columns, channels = (*values.shape, 1)[:3]
    colours = channels - (channels in (2, 4))
    header = [(b"ihdr", struct.pack(">IIHBBBB", rows, columns, channels, values.itemsize * 8 - 1, 7, 1, 0))]
    if "icc" in metadata:
        header.append((b"colr", b"\2\0\0" + metadata["icc"]))
    else:
        header.append((b"colr", struct.pack(">BBBI", 1, 0, 0, _GREY if colours == 1 else _SRGB)))
    if channels > colours:
        meanings = [(number, 0, number + 1) for number in range(colours)] + [(colours, 1, 0)]
        header.append(
            (b"cdef", struct.pack(">H", channels) + b"".join(struct.pack(">3H", *m) for m in meanings))
        )
    if "dpi" in metadata:
        across, down = (round(dpi * _INCHES_PER_METRE) for dpi in metadata["dpi"])
        header.append((b"res ", box(b"resc", struct.pack(">HHHHbb", down, 1, across, 1, 0, 0))))
    parts = [(b"jP  ", b"\r\n\x87\n"), (b"ftyp", b"jp2 \0\0\0\0jp2 ")]
    parts.append((b"jp2h", b"".join(box(*part) for part in header)))
    parts += [(b"uuid", _EXIF + metadata["exif"])] if "exif" in metadata else []
    parts += [(b"uuid", _XMP + metadata["xmp"])] if "xmp" in metadata else []
    parts.append((b"jp2c", codestream(values)))
    return b"".join(box(*part) for part in parts)


def codestream(values: np.ndarray) -> bytes:
    """Return a lossless codestream, encoded by imagecodecs."""
    return bytes(imagecodecs.jpeg2k_encode(values, level=0, reversible=True, codecformat="j2k"))


def described(contents: bytes) -> dict[str, bytes]:
    """Return the colour profile, EXIF and XMP data of a JP2 file; nothing for a bare codestream."""
    found = {}
    for kind, inside in _boxes(contents):
        if kind == b"colr" and inside[0] == 2:
            found["icc"] = inside[3:]
        for name, identifier in (("exif", _EXIF), ("xmp", _XMP)):
            if kind == b"uuid" and inside[:16] == identifier:
                found[name] = inside[16:]
    return found


def _boxes(contents: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 0
    while contents[:4] == b"\0\0\0\x0c" and place < len(contents):
        length, kind = struct.unpack_from(">I4s", contents, place)
        place += 8
        if kind != b"jp2h":  # descend into this one
            yield kind, contents[place : (place := place + length - 8)]
