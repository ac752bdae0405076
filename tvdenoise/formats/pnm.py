"""PNM, the portable maps of Netpbm: PGM, PPM, PBM and PFM."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL import ImageFile

from tvdenoise.errors import UnreadableImageError
from tvdenoise.files.decoded import DecodedImage
from tvdenoise.formats.family import (
    Family,
    Format,
    Inspection,
    chunk_limit,
    notes_of_trailing_data,
    stretched,
    too_many,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


_PFM_FIELD = rb"(?:\s|#[^\n\r]*[\n\r])+(\d{1,9})"
_PFM_HEADER = re.compile(
    rb"P([fF])" + _PFM_FIELD * 2 + rb"(?:\s|#[^\n\r]*[\n\r])+([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s"
)


@dataclass(frozen=True)
class PfmHeader:
    """Header of a PFM; scale: a positive factor that readers do not apply; offset: of the pixels in the file."""

    channels: int
    columns: int
    rows: int
    scale: float
    is_big_endian: bool
    offset: int


@dataclass(frozen=True)
class PfmTraits:
    """The scale of the file, which is not applied to the values."""

    scale: float = 1.0


def pfm_header(stream: BinaryIO) -> PfmHeader | None:
    """Read the header of a PFM; None for other files. Raises ValueError if it is invalid."""
    stream.seek(0)
    found = _PFM_HEADER.match(stream.read(_LONGEST_HEADER))
    if found is None:
        return None
    columns, rows, scale = int(found[2]), int(found[3]), float(found[4])
    if columns < 1 or rows < 1 or not math.isfinite(scale) or scale == 0:
        raise ValueError("its header is invalid")
    return PfmHeader(3 if found[1] == b"F" else 1, columns, rows, abs(scale), scale > 0, found.end())


class ColourPfm(ImageFile.ImageFile):
    """A colour PFM with only its header read: Pillow has no mode for its pixels."""

    format = "PPM"
    format_description = "Portable float map"

    def _open(self) -> None:
        assert self.fp is not None
        header = pfm_header(self.fp)  # type: ignore[arg-type,unused-ignore]
        if header is None or header.channels != 3:
            raise SyntaxError("not a colour PFM")
        self._mode, self._size = "RGB", (header.columns, header.rows)


def open_pfm(stream: BinaryIO) -> ColourPfm | None:
    """Open a colour PFM and read its header; None for other files."""
    stream.seek(0)
    if stream.read(2) != b"PF":
        return None
    stream.seek(0)
    try:
        return ColourPfm(stream)  # type: ignore[no-untyped-call,unused-ignore]
    except (SyntaxError, ValueError):
        return None


def decode_pfm(stream: BinaryIO, header: PfmHeader) -> NDArray[np.float32]:
    """Return the values, (rows, columns) or (rows, columns, 3). Raises UnreadableImageError if truncated."""
    stream.seek(header.offset)
    size = 4 * header.channels * header.columns * header.rows
    stored = stream.read(size)
    if len(stored) < size:
        raise UnreadableImageError("the file is truncated", "use a complete copy")
    values = np.frombuffer(stored, ">f4" if header.is_big_endian else "<f4")
    values = values.reshape(header.rows, header.columns, header.channels)[::-1]
    return np.ascontiguousarray(values if header.channels == 3 else values[..., 0], np.float32)


def encode_pfm(image: DecodedImage) -> bytes:
    """Encode a grey or colour image as a little-endian PFM of float32."""
    columns, rows = image.size
    scale = image.traits.scale if isinstance(image.traits, PfmTraits) else 1.0
    kind = b"PF" if image.channels == 3 else b"Pf"
    header = kind + b"\n%d %d\n%s\n" % (columns, rows, repr(-scale).encode())
    return header + image.intensities[::-1].astype("<f4").tobytes()


_LONGEST_HEADER = 4096
_FIELD = rb"(?:\s|#[^\n\r]*[\n\r])+(\d+)"
_HEADER = re.compile(rb"P([2356])" + _FIELD * 3)
_PLAIN = (b"P1", b"P2", b"P3")
_BLOCK = 1 << 20
_MAGIC = re.compile(rb"P[1-6Ff][\s#]")
_ANY_FIELD = rb"(?:\s|#[^\n\r]*[\n\r])+[^\s#]{1,32}"
_BEGINNING = re.compile(rb"P(?:[14]" + _ANY_FIELD * 2 + rb"|[2356Ff]" + _ANY_FIELD * 3 + rb")\s")
_PLAIN_DIGITS = (b"2", b"3")
_FLOAT = 4  # bytes
_LONGEST_NUMBER = 10  # digits
_COMMENT = re.compile(rb"#[^\n\r]*[\n\r]")
_DEPTH_LIMITS = (255, 65535)


def _screen(stream: BinaryIO) -> None:
    """Refuse very long comments, which Pillow reads byte by byte."""
    stream.seek(0)
    beginning = stream.read(_LONGEST_HEADER)
    if _MAGIC.match(beginning) and not _BEGINNING.match(beginning):
        raise _long_header()
    if beginning[:2] in _PLAIN:
        _require_few_comments(stream)


def _require_few_comments(stream: BinaryIO) -> None:
    """Refuse too many comments: Pillow copies a megabyte to skip each."""
    most, count = chunk_limit(stream), 0
    stream.seek(0)
    while block := stream.read(_BLOCK):
        if (count := count + block.count(b"#")) > most:
            raise too_many(most, "comments")


def _inspect(_opened: ImageFile.ImageFile, stream: BinaryIO) -> Inspection:
    if (floats := pfm_header(stream)) is not None:
        note = f"its values are not multiplied by its scale of {floats.scale:g}"
        return Inspection((note,) if floats.scale != 1 else (), PfmTraits(floats.scale))
    header = _header(stream)
    if header is None:  # PBM has no maximum value
        return Inspection()
    notes: tuple[str, ...] = ("its comments are dropped",) if b"#" in header[0] else ()
    largest = int(header[4])
    if largest not in _DEPTH_LIMITS:
        written = _DEPTH_LIMITS[largest > 255]
        notes += (f"intensities up to {largest} are written as intensities up to {written}",)
    if header[1] not in _PLAIN_DIGITS:  # a binary file, in which more images may follow
        sides = int(header[2]) * int(header[3])
        notes += notes_of_trailing_data(
            stream, header.end() + 1 + sides * (3 if header[1] == b"6" else 1) * (1 + (largest > 255))
        )
    return Inspection(notes)


def _header(stream: BinaryIO) -> re.Match[bytes] | None:
    stream.seek(0)
    beginning = stream.read(_LONGEST_HEADER)
    header = _HEADER.match(beginning)
    if header is None and beginning[:2] in (b"P2", b"P3", b"P5", b"P6"):
        raise _long_header()
    return header


def _long_header() -> UnreadableImageError:
    return UnreadableImageError("its header is damaged or too long", "save it again without comments")


def _decode(opened: ImageFile.ImageFile, stream: BinaryIO) -> tuple[NDArray[Any], NDArray[Any] | None] | None:
    """Decode floats, 16-bit colour, which Pillow truncates to 8 bits, and 16-bit grey in plain text."""
    if (floats := pfm_header(stream)) is not None:
        return decode_pfm(stream, floats), None
    header = _header(stream)
    if header is None or header[1] == b"5" or (largest := int(header[4])) <= 255:
        return None
    columns, rows = opened.size
    if (columns, rows) != (int(header[2]), int(header[3])) or largest > 65535:
        raise ValueError("its header is invalid")
    shape = (rows, columns) if header[1] == b"2" else (rows, columns, 3)
    stream.seek(header.end() + 1)  # a single whitespace byte follows
    read = _plain_values if header[1] in _PLAIN_DIGITS else _binary_values
    values = read(stream, math.prod(shape))
    if values.max() > largest:
        raise UnreadableImageError("the file is damaged (an intensity is above the stated maximum)")
    if largest < 65535:
        values = stretched(values, largest)
    return values.astype(np.uint16).reshape(shape), None


def _binary_values(stream: BinaryIO, count: int) -> NDArray[Any]:
    stored = stream.read(2 * count)
    if len(stored) < 2 * count:
        raise UnreadableImageError("the file is truncated", "use a complete copy")
    return np.frombuffer(stored, ">u2")


def _plain_values(stream: BinaryIO, count: int) -> NDArray[Any]:
    """Read ``count`` numbers from plain text with line comments."""
    start = stream.tell()
    if 2 * count - 1 > stream.seek(0, os.SEEK_END) - start:
        raise UnreadableImageError("the file is truncated", "use a complete copy")
    stream.seek(start)
    values, filled = np.empty(count, np.int64), 0
    for words in _words(stream):
        if words and not (b"".join(words).isdigit() and max(map(len, words)) <= _LONGEST_NUMBER):
            raise UnreadableImageError("the file is damaged (a number is malformed)")
        taken = words[: count - filled]
        values[filled : filled + len(taken)] = np.fromiter(map(int, taken), np.int64, len(taken))
        filled += len(taken)
        if filled == count:
            return values
    raise UnreadableImageError("the file is truncated", "use a complete copy")


def _words(stream: BinaryIO) -> Iterator[list[bytes]]:
    """Yield the words between whitespace and comments, block by block."""
    rest = b""
    while block := stream.read(_BLOCK):
        text, comment, _ = _COMMENT.sub(b" ", rest + block).partition(b"#")
        words = text.split()
        rest = b" #" if comment else b""
        if words and not comment and not text[-1:].isspace():
            rest = words.pop()
        yield words
        if len(rest) > _LONGEST_NUMBER:
            raise UnreadableImageError("the file is damaged (a number is malformed)")
    yield rest.replace(b" #", b"").split()


def _encode(image: DecodedImage, _options: Mapping[str, Any]) -> bytes | None:
    if image.is_float:
        return encode_pfm(image)
    if image.kind != "RGB;16":
        return None
    columns, rows = image.size
    return b"P6\n%d %d\n65535\n" % (columns, rows) + image.intensities.astype(">u2").tobytes()


def _options(_image: DecodedImage, _quality: int | None) -> dict[str, Any]:
    return {}


def _bytes_per_sample(opened: ImageFile.ImageFile, _stream: BinaryIO) -> int | None:
    return _FLOAT if isinstance(opened, ColourPfm) else None


FAMILY = Family(
    formats=(
        Format(
            "PNM",
            "PPM",
            (".pnm",),
            kinds=frozenset({"L", "RGB", "I;16", "RGB;16", "F", "RGBF"}),
            holds_bilevel=True,
        ),
        Format("PGM", "PPM", (".pgm",), kinds=frozenset({"L", "I;16"})),
        Format("PPM", "PPM", (".ppm",), kinds=frozenset({"RGB", "RGB;16"})),
        Format("PFM", "PPM", (".pfm",), kinds=frozenset({"F", "RGBF"})),
        Format("PBM", "PPM", (".pbm",)),
    ),
    inspect=_inspect,
    options=_options,
    screen=_screen,
    open=open_pfm,
    decode=_decode,
    encode=_encode,
    bytes_per_sample=_bytes_per_sample,
)
