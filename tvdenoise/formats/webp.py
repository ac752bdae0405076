"""WebP and animated WebP: lossless input is written lossless."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL import ImageFile

from tvdenoise.errors import UnreadableImageError
from tvdenoise.files.decoded import DecodedImage
from tvdenoise.files.pillow import encoded
from tvdenoise.formats.animation import animation, in_units, plain_frame, without_metadata_of_all
from tvdenoise.formats.family import (
    Family,
    Format,
    Inspection,
    Several,
    chunk_limit,
    notes_of_trailing_data,
    too_many,
)

if TYPE_CHECKING:
    from tvdenoise.files.stack import Series


_HEADER_LENGTH = 12  # RIFF, a length, WEBP
_EXTENDED, _CONTROL, _FRAME = b"VP8X", b"ANIM", b"ANMF"
_PIXELS = (b"VP8 ", b"VP8L", b"ALPH")
_FRAME_HEADER_LENGTH = 16
_ICC, _ALPHA, _EXIF, _XMP, _ANIMATED = 0x20, 0x10, 0x08, 0x04, 0x02
_FLAGS = {b"ICCP": _ICC, b"EXIF": _EXIF, b"XMP ": _XMP}
_MILLISECOND, _LONGEST = Fraction(1, 1000), (1 << 24) - 1
_REPLACES = 2  # flag: a frame's pixels replace the canvas
_NO_BACKGROUND = bytes(4)
_MOST_PLAYS = 65_535


@dataclass(frozen=True)
class WebpTraits:
    """The kind of compression."""

    lossless: bool = True


@dataclass(frozen=True)
class WebpFrames:
    """background: of the canvas, as stored; lossless: for each frame; has_alpha: if any frame may have alpha."""

    background: bytes = _NO_BACKGROUND
    lossless: tuple[bool, ...] = ()
    has_alpha: bool = False


def chunks_of(stream: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Yield each chunk's name, and the offset and length of its contents. Raises UnreadableImageError if truncated."""
    most, end = chunk_limit(stream), stream.seek(0, os.SEEK_END)
    stream.seek(4)
    stated = int.from_bytes(stream.read(4), "little") + 8
    if stated > end:
        raise UnreadableImageError("the file is truncated", "use a complete copy")
    place, count = _HEADER_LENGTH, 0
    while place + 8 <= stated:
        stream.seek(place)
        header = stream.read(8)
        length = int.from_bytes(header[4:], "little")
        if place + 8 + length > stated:
            raise UnreadableImageError("the file is truncated", "use a complete copy")
        if (count := count + 1) > most:
            raise too_many(most, "chunks")
        yield header[:4], place + 8, length
        place += 8 + length + length % 2


def survey(opened: ImageFile.ImageFile, stream: BinaryIO) -> Series | None:
    """Return the frames of a WebP; None for a still image."""
    if not getattr(opened, "is_animated", False):
        return None
    position = stream.tell()
    durations, background, plays, lossless = [], _NO_BACKGROUND, 0, []
    for name, place, length in chunks_of(stream):
        stream.seek(place)
        if name == _CONTROL:
            contents = stream.read(6)
            background, plays = contents[:4], int.from_bytes(contents[4:], "little")
        elif name == _FRAME:
            header = stream.read(min(length, _FRAME_HEADER_LENGTH))
            durations.append(int.from_bytes(header[12:15], "little") * _MILLISECOND)
            lossless.append(b"VP8L" in _names(stream, length - _FRAME_HEADER_LENGTH))
    stream.seek(position)
    if len(durations) != getattr(opened, "n_frames", 1):
        raise UnreadableImageError("the file is damaged (frames are missing)", "use an undamaged copy")
    return animation(durations, plays, WebpFrames(background, tuple(lossless), opened.mode == "RGBA"))


def _names(stream: BinaryIO, length: int) -> set[bytes]:
    """Return the names of the chunks in the next ``length`` bytes."""
    names = set()
    while length >= 8:
        header = stream.read(8)
        names.add(header[:4])
        size = int.from_bytes(header[4:], "little")
        size += size % 2
        stream.seek(size, os.SEEK_CUR)
        length -= 8 + size
    return names


def frames(
    opened: ImageFile.ImageFile,
    _stream: BinaryIO,
    series: Series,
    first: DecodedImage,
    numbers: Iterable[int],
) -> Iterator[DecodedImage]:
    """Yield the frames as libwebp composes them."""
    traits = series.traits
    assert isinstance(traits, WebpFrames)
    for number in numbers:
        opened.seek(number)
        values = np.asarray(opened.convert("RGBA"))
        shown = plain_frame(values, first, has_alpha=traits.has_alpha, is_grey=False)
        yield replace(shown, traits=WebpTraits(traits.lossless[number]))


def _write(series: Series, images: Iterator[DecodedImage], stream: BinaryIO, quality: int | None) -> None:
    """Write frames as they come, each covering the canvas."""
    timing = series.timing
    assert timing is not None
    timed = zip(images, timing.durations, strict=True)
    described: dict[bytes, bytes] = {}
    background = series.traits.background if isinstance(series.traits, WebpFrames) else _NO_BACKGROUND
    for number, (image, duration) in enumerate(timed):
        given = image if number == 0 else without_metadata_of_all(image)
        found = list(_contents(encoded(given, "WEBP", _options(given, quality))))
        if number == 0:
            described = {name: contents for name, contents in found if name in _FLAGS}
            flags = _ANIMATED | (_ALPHA if image.alpha is not None else 0)
            flags |= sum(_FLAGS[name] for name in described)
            columns, rows = (side - 1 for side in image.size)
            stream.write(b"RIFF\0\0\0\0WEBP")
            sides = columns.to_bytes(3, "little") + rows.to_bytes(3, "little")
            stream.write(_packed(_EXTENDED, bytes((flags, 0, 0, 0)) + sides))
            if b"ICCP" in described:
                stream.write(_packed(b"ICCP", described[b"ICCP"]))
            plays = min(timing.plays, _MOST_PLAYS)
            stream.write(_packed(_CONTROL, background + plays.to_bytes(2, "little")))
        length = in_units(duration, _MILLISECOND, _LONGEST, "WebP")
        header = bytes(6) + sides + length.to_bytes(3, "little") + bytes((_REPLACES,))
        pixels = b"".join(_packed(name, contents) for name, contents in found if name in _PIXELS)
        stream.write(_packed(_FRAME, header + pixels))
    for name in (b"EXIF", b"XMP "):
        if name in described:
            stream.write(_packed(name, described[name]))
    end = stream.tell()
    stream.seek(4)
    stream.write((end - 8).to_bytes(4, "little"))
    stream.seek(end)


def _contents(encoded: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = _HEADER_LENGTH
    while place + 8 <= len(encoded):
        length = int.from_bytes(encoded[place + 4 : place + 8], "little")
        yield encoded[place : place + 4], encoded[place + 8 : place + 8 + length]
        place += 8 + length + length % 2


def _packed(name: bytes, contents: bytes) -> bytes:
    return name + len(contents).to_bytes(4, "little") + contents + bytes(len(contents) % 2)


_QUALITY = 95
_LENGTH_AT = 4  # offset of the RIFF length
_KNOWN = frozenset({b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ICCP", b"EXIF", b"XMP ", b"ANIM", b"ANMF"})


def _inspect(opened: ImageFile.ImageFile, stream: BinaryIO) -> Inspection:
    series = survey(opened, stream)
    if series is not None:
        assert isinstance(series.traits, WebpFrames)
        return Inspection(traits=WebpTraits(lossless=series.traits.lossless[0]))
    names = {name for name, _, _ in chunks_of(stream)}
    unknown = ", ".join(name.decode("latin-1").strip() for name in sorted(names - _KNOWN))
    notes: tuple[str, ...] = (f"its WebP chunks {unknown} are dropped",) if unknown else ()
    stream.seek(_LENGTH_AT)
    notes += notes_of_trailing_data(stream, _LENGTH_AT + 4 + int.from_bytes(stream.read(4), "little"))
    return Inspection(notes, WebpTraits(lossless=b"VP8L" in names))


def _options(image: DecodedImage, quality: int | None) -> dict[str, Any]:
    traits = image.traits if isinstance(image.traits, WebpTraits) else WebpTraits()
    metadata = image.metadata
    return {
        "lossless": traits.lossless and quality is None,
        "exact": True,  # keeps colours under full transparency
        "quality": _QUALITY if quality is None else quality,
        "icc_profile": metadata.icc,
        "exif": metadata.exif or b"",
        "xmp": metadata.xmp or b"",
    }


FAMILY = Family(
    formats=(
        Format(
            "WebP",
            "WEBP",
            (".webp",),
            kinds=frozenset({"L", "LA", "RGB", "RGBA"}),
            carries=frozenset({"icc", "exif", "xmp"}),
            longest_side=16_383,
            several="frames",
        ),
    ),
    inspect=_inspect,
    options=_options,
    several=Several(survey, _write, frames=frames),
)
