"""The boxes of a JP2 file around its codestream: colours, alpha, resolution and metadata (ISO/IEC 15444-1, annex I)."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from fractions import Fraction
from typing import BinaryIO

from tvdenoise.errors import UnsupportedImageError
from tvdenoise.files.families.boxes import Box, boxes, packed
from tvdenoise.files.picture import Picture

_XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_EXIF = b"JpgTiffExif->JP2"
_EXIF_OF_ADOBE = bytes.fromhex("0537cdab9d0c4431a72afa561f2a113e")
_EXIF_PREFIX = b"Exif\0\0"
_STRUCTURAL = frozenset({b"jP  ", b"ftyp", b"jp2h", b"jp2c", b"rreq", b"free"})
_KEPT = frozenset({b"uuid", b"xml ", b"uinf", b"asoc", b"lbl "})
_ENUMERATED, _PROFILES = 1, (2, 3)
SRGB, GREY, SYCC = 16, 17, 18
_OPACITY, _WHOLE_PICTURE = 1, 0
_LARGEST = 65_535
_METRES_PER_INCH = Fraction(254, 10_000)

KeptBox = tuple[bytes, bytes]


@dataclass(frozen=True)
class Jp2Boxes:
    """What stands around a codestream.

    codestreams: where they begin; colour_space: by its number, or None; profile, exif, xmp: as stored.
    resolution: the contents of the box `res `; has_palette, has_alpha: whether it says so.
    kept: other boxes that come through; left_out: the kinds of those that do not.
    """

    codestreams: tuple[int, ...] = ()
    colour_space: int | None = None
    profile: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    resolution: bytes = b""
    has_palette: bool = False
    has_alpha: bool = False
    kept: tuple[KeptBox, ...] = field(default=())
    left_out: tuple[bytes, ...] = ()


def boxes_of(stream: BinaryIO) -> Jp2Boxes:
    """Raises UnsupportedImageError for colours that are not known, and UnreadableImageError for what is not whole."""
    found = list(boxes(stream))
    header = next(box for box in found if box.kind == b"jp2h")
    inner: dict[bytes, bytes] = {}
    for box in boxes(stream, header.start, header.end):
        inner.setdefault(box.kind, box.contents(stream))  # of several colour boxes, the first counts
    identified = {box: box.contents(stream)[:16] for box in found if box.kind == b"uuid"}
    kept = [
        box for box in found if box.kind in _KEPT and identified.get(box) not in (_XMP, _EXIF, _EXIF_OF_ADOBE)
    ]
    colour_space, profile = _colour(inner.get(b"colr", b""))
    return Jp2Boxes(
        codestreams=tuple(box.start for box in found if box.kind == b"jp2c"),
        colour_space=colour_space,
        profile=profile,
        exif=_first(stream, identified, _EXIF) or _first(stream, identified, _EXIF_OF_ADOBE),
        xmp=_first(stream, identified, _XMP),
        resolution=inner.get(b"res ", b""),
        has_palette=b"pclr" in inner,
        has_alpha=_has_alpha(inner.get(b"cdef", b"")),
        kept=tuple((box.kind, box.contents(stream)) for box in kept),
        left_out=tuple(sorted({box.kind for box in found} - _STRUCTURAL - _KEPT)),
    )


def without_colour_boxes(stream: BinaryIO) -> bytearray:
    """The contents of a JP2 file that no longer says anything of its colours, so that a decoder leaves them alone."""
    found = [box for box in boxes(stream) if box.kind == b"jp2h"]
    colours = [inner for box in found for inner in boxes(stream, box.start, box.end) if inner.kind == b"colr"]
    stream.seek(0)
    contents = bytearray(stream.read())
    for box in colours:
        kind = box.start - 4 if contents[box.start - 4 : box.start] == box.kind else box.start - 12
        contents[kind : kind + 4] = b"free"
    return contents


def _first(stream: BinaryIO, identified: dict[Box, bytes], identifier: bytes) -> bytes | None:
    found = next((box for box, name in identified.items() if name == identifier), None)
    return found.contents(stream)[16:].removeprefix(_EXIF_PREFIX) if found else None


def _colour(contents: bytes) -> tuple[int | None, bytes | None]:
    method = contents[0] if contents else 0
    if method in _PROFILES:
        return None, contents[3:]
    space = int.from_bytes(contents[3:7], "big") if method == _ENUMERATED else None
    if space not in (SRGB, GREY, SYCC):
        name = "unknown" if space is None else f"number {space}"
        raise UnsupportedImageError(
            f"JPEG 2000 in a colour space that is not known ({name})", "convert it to sRGB"
        )
    return space, None


def _has_alpha(definitions: bytes) -> bool:
    """Whether the last channel is defined as straight alpha. Raises UnsupportedImageError for another kind of it."""
    entries = [struct.unpack(">HHH", definitions[at : at + 6]) for at in range(2, len(definitions) - 5, 6)]
    others = [entry for entry in entries if entry[1] != 0]
    if not others:
        return False
    last = max(channel for channel, _, _ in entries)
    if others != [(last, _OPACITY, _WHOLE_PICTURE)]:
        raise UnsupportedImageError(
            "JPEG 2000 with premultiplied alpha or extra channels is not carried",
            "save it with straight alpha",
        )
    return True


def boxed(codestream: bytes, picture: Picture, resolution: bytes, kept: tuple[KeptBox, ...]) -> bytes:
    """A JP2 file.

    resolution: contents of the box `res ` to write, in place of one made from the picture's metadata.
    """
    metadata = picture.metadata
    columns, rows = picture.size
    channels = picture.channels + (picture.alpha is not None)
    bits = picture.intensities.itemsize * 8
    header = packed(b"ihdr", struct.pack(">IIHBBBB", rows, columns, channels, bits - 1, 7, 0, 0))
    if metadata.icc:
        header += packed(b"colr", b"\2\0\0" + metadata.icc)
    else:
        header += packed(
            b"colr", struct.pack(">BBBI", _ENUMERATED, 0, 0, SRGB if picture.has_channel_axis else GREY)
        )
    if picture.alpha is not None:
        header += packed(b"cdef", _definitions(channels))
    if resolution or metadata.dpi:
        header += packed(b"res ", resolution or _resolution(metadata.dpi or (1, 1)))
    parts = [(b"jP  ", b"\r\n\x87\n"), (b"ftyp", b"jp2 \0\0\0\0jp2 "), (b"jp2h", header)]
    parts += [(b"uuid", _EXIF + metadata.exif)] if metadata.exif else []
    parts += [(b"uuid", _XMP + metadata.xmp)] if metadata.xmp else []
    return b"".join(packed(*part) for part in (*parts, *kept, (b"jp2c", codestream)))


def _definitions(channels: int) -> bytes:
    entries = [(channel, 0, channel + 1) for channel in range(channels - 1)]
    entries.append((channels - 1, _OPACITY, _WHOLE_PICTURE))
    return struct.pack(">H", channels) + b"".join(struct.pack(">HHH", *entry) for entry in entries)


def _resolution(dpi: tuple[float, float]) -> bytes:
    """The resolution of the capture, in points a metre."""
    (horizontal, right), (vertical, down) = map(_scaled, dpi)
    numbers = (vertical.numerator, vertical.denominator, horizontal.numerator, horizontal.denominator)
    return packed(b"resc", struct.pack(">HHHHbb", *numbers, down, right))


def _scaled(dpi: float) -> tuple[Fraction, int]:
    """Points a metre as a fraction of 16-bit numbers and a power of ten."""
    value = Fraction(dpi).limit_denominator(1000) / _METRES_PER_INCH
    candidates = [(value / 10**exponent, exponent) for exponent in range(10)]
    for candidate, exponent in candidates:
        if max(candidate.numerator, candidate.denominator) <= _LARGEST:
            return candidate, exponent
    nearest, exponent = next((pair for pair in candidates if pair[0] <= _LARGEST), (Fraction(_LARGEST), 9))
    return nearest.limit_denominator(_LARGEST // max(1, math.ceil(nearest))), exponent
