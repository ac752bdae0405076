"""Opening a file: its header, its family and its size, before any pixel is decoded."""

from __future__ import annotations

import logging
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from PIL import Image, ImageFile, UnidentifiedImageError
from PIL.TiffImagePlugin import BITSPERSAMPLE, SAMPLESPERPIXEL, TiffImageFile

from tvdenoise.errors import TvdenoiseError, UnreadableImageError, UnsupportedImageError
from tvdenoise.files.memory import bytes_needed, volume_bytes_needed
from tvdenoise.files.paths import open_unnoticed, printable, reason_of
from tvdenoise.files.pillow import PILLOW_SETTINGS
from tvdenoise.files.stack import Axes
from tvdenoise.formats.registry import FAMILIES, FORMATS

_PILLOWS = tuple(family.codec for family in FAMILIES.values() if family.is_pillows)
_LONGEST_REASON = 200
logging.getLogger("PIL").addHandler(logging.NullHandler())  # else it prints some of what it finds wrong


@contextmanager
def opened_image(stream: BinaryIO) -> Iterator[ImageFile.ImageFile]:
    """The image in a seekable stream, its header read.

    Whatever decoders raise inside becomes an UnreadableImageError, or an UnsupportedImageError where a family can
    say what it is that Pillow does not recognise.
    """
    if stream.seek(0, os.SEEK_END) == 0:
        raise UnreadableImageError("the file is empty")
    stream.seek(0)
    with decoder_errors(), PILLOW_SETTINGS:
        for family in FAMILIES.values():
            family.screen(stream)
        stream.seek(0)
        with _open(stream) as opened:
            yield opened


@contextmanager
def decoder_errors() -> Iterator[None]:
    """Inside, whatever decoders raise becomes an UnreadableImageError.

    Files can make them raise anything at all: six decoders have each their own exceptions, and their slips on odd
    files are ordinary Python errors.
    """
    try:
        yield
    except TvdenoiseError:
        raise
    except MemoryError as error:
        raise UnreadableImageError(
            "not enough memory to decode it", "split the picture, or free some memory"
        ) from error
    except Exception as error:  # see above
        raise UnreadableImageError(
            f"the file is damaged ({_first_line(error)})", "use an undamaged copy"
        ) from error


def _open(stream: BinaryIO) -> ImageFile.ImageFile:
    try:
        opened: ImageFile.ImageFile = Image.open(stream, formats=_PILLOWS)
        for family in FAMILIES.values():
            opened = family.plain(opened, stream)
        return opened
    except UnidentifiedImageError as error:
        for family in FAMILIES.values():
            if (found := family.open(stream)) is not None:
                return found
        raise _unrecognised(stream) from error


def _unrecognised(stream: BinaryIO) -> UnreadableImageError | UnsupportedImageError:
    for family in FAMILIES.values():
        if (explained := family.explain(stream)) is not None:
            return explained
    names = ", ".join(form.name for form in FORMATS)
    return UnreadableImageError("not an image, or damaged", f"tvdenoise reads {names}")


def _first_line(error: BaseException) -> str:
    line = next(iter(str(error).splitlines()), "") or type(error).__name__
    return printable(line[:_LONGEST_REASON])  # it may quote the file


_PNG_START = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_PNG_CHANNELS = {0: 1, 2: 3, 3: 4, 4: 2, 6: 4}  # a palette may hold alpha
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_MOST_SEGMENTS = 500
_BYTES_OF_MODES = {"I": 4, "F": 4}
_WITHOUT_ALPHA = {"CMYK"}  # of those with four channels
_INKS_AND_ALPHA = 5


@dataclass(frozen=True)
class Header:
    """codec: as Pillow calls it; channels: alpha, and the colours that a palette becomes, included; planes: how many
    pictures the file holds, volume: how many of them the largest volume has, 1 where it takes more than a look at its
    beginning to tell."""

    codec: str
    columns: int
    rows: int
    channels: int
    bytes_per_sample: int
    has_alpha: bool
    planes: int = 1
    volume: int = 1

    @property
    def values(self) -> int:
        """How many there are to denoise."""
        return self.columns * self.rows * (self.channels - self.has_alpha) * self.planes

    @property
    def bytes_needed(self) -> int:
        """See `memory.bytes_needed`."""
        return bytes_needed(
            self.columns, self.rows, self.channels, self.bytes_per_sample, has_alpha=self.has_alpha
        )

    def volume_bytes_needed(self, *, has_weights: bool) -> int:
        """See `memory.volume_bytes_needed`."""
        return volume_bytes_needed(
            self.columns,
            self.rows,
            self.volume,
            self.channels - self.has_alpha,
            self.bytes_per_sample,
            has_alpha=self.has_alpha,
            has_weights=has_weights,
        )


def header_of(path: Path) -> Header:
    """The header of a file, in some 20 µs for PNG and JPEG. Raises UnreadableImageError and UnsupportedImageError.

    That a header can be read does not say that the picture can.
    """
    try:
        with open(path, "rb", buffering=0, opener=open_unnoticed) as unbuffered:
            if (header := _quick(unbuffered)) is not None:
                return header
        with open(path, "rb", opener=open_unnoticed) as stream, opened_image(stream) as opened:
            axes, header = _axes(opened, stream), header_from(opened, stream)
            return header if axes is None else replace(header, planes=axes.count, volume=_largest(axes))
    except OSError as error:
        raise UnreadableImageError(reason_of(error)) from error


def axes_of(path: Path) -> Axes | None:
    """How the pictures of a file are arranged; None where there is one. Raises as `header_of`."""
    try:
        with open(path, "rb", opener=open_unnoticed) as stream, opened_image(stream) as opened:
            return _axes(opened, stream)
    except OSError as error:
        raise UnreadableImageError(reason_of(error)) from error


def _axes(opened: ImageFile.ImageFile, stream: BinaryIO) -> Axes | None:
    family = FAMILIES.get(opened.format or "")
    series = family.several.survey(opened, stream) if family is not None and family.several else None
    return None if series is None else series.axes


def _largest(axes: Axes) -> int:
    try:
        return max(map(len, axes.volumes))
    except UnsupportedImageError:
        return 1


def header_from(opened: ImageFile.ImageFile, stream: BinaryIO) -> Header:
    """The header of an opened image, and of the stream that it is read from, which stays where it is."""
    columns, rows = opened.size
    mode, bands = opened.mode, len(opened.getbands())
    has_alpha = mode not in _WITHOUT_ALPHA and (bands in (2, 4) or "transparency" in opened.info)
    if mode in ("P", "PA"):
        bands = 3
    elif has_alpha and bands in (2, 4):
        bands -= 1
    elif isinstance(opened, TiffImageFile) and opened.tag_v2.get(SAMPLESPERPIXEL, 1) == _INKS_AND_ALPHA:
        has_alpha = True
    position = stream.tell()
    family = FAMILIES.get(opened.format or "")
    told = family.bytes_per_sample(opened, stream) if family else None
    stream.seek(position)
    return Header(
        opened.format or "", columns, rows, bands + has_alpha, told or _bytes_per_sample(opened), has_alpha
    )


def _bytes_per_sample(opened: ImageFile.ImageFile) -> int:
    """Of the file, where Pillow would cut them; what it says of its decoders tells."""
    if isinstance(opened, TiffImageFile):
        bits: tuple[int, ...] = opened.tag_v2.get(BITSPERSAMPLE, (1,))
        return max(1, max(bits) // 8)
    told = {part for tile in opened.tile[:1] for part in _parts(tile[3])}
    if any(";16" in part for part in told if isinstance(part, str)):
        return 2
    if any(255 < part <= 65535 for part in told if isinstance(part, int)) and opened.format == "PPM":
        return 2
    return _BYTES_OF_MODES.get(opened.mode, 2 if opened.mode.startswith("I;16") else 1)


def _parts(arguments: object) -> tuple[object, ...]:
    return arguments if isinstance(arguments, tuple) else (arguments,)


def _quick(stream: FileIO) -> Header | None:
    """The header of a PNG or JPEG; None for others, and for what is not clear."""
    start = stream.read(64)
    if start.startswith(_PNG_START) and len(start) > 26:
        columns, rows, depth, colour = struct.unpack(">IIBB", start[16:26])
        if columns and rows and (channels := _PNG_CHANNELS.get(colour)):
            planes = int.from_bytes(start[41:45], "big") if start[37:41] == b"acTL" else 1
            planes = max(1, planes)
            return Header("PNG", columns, rows, channels, 1 + (depth > 8), channels in (2, 4), planes, planes)
    if start.startswith(b"\xff\xd8\xff"):
        return _quick_jpeg(stream, start)
    return None


def _quick_jpeg(stream: FileIO, start: bytes) -> Header | None:
    position, segment = 2, start[2:]
    for _ in range(_MOST_SEGMENTS):
        if len(segment) < 10 or segment[0] != 0xFF or segment[1] in (0, 0xFF):
            return None
        if segment[1] in _FRAMES:
            depth, rows, columns, channels = struct.unpack(">BHHB", segment[4:10])
            if not (columns and rows and channels in (1, 3, 4)):
                return None
            return Header("JPEG", columns, rows, channels, 1 + (depth > 8), has_alpha=False)
        position += 2 + int.from_bytes(segment[2:4], "big")
        if position + 10 <= len(start):
            segment = start[position:]
        else:
            stream.seek(position, os.SEEK_SET)
            segment = stream.read(10)
    return None
