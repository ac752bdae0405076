"""Animated GIF: every frame is written whole, with colours of its own."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from PIL import ImageFile

from tvdenoise.errors import UnreadableImageError
from tvdenoise.files.families.animation import animation, in_units, without_metadata_of_all
from tvdenoise.files.families.canvas import Disposal
from tvdenoise.files.families.gif_blocks import TRANSPARENT, Block, Control, blocks, covers
from tvdenoise.files.picture import Picture

if TYPE_CHECKING:
    from tvdenoise.files.stack import Series

LOOPS = (b"NETSCAPE2.0", b"ANIMEXTS1.0")
_CONTROL, _APPLICATION, _PICTURE = b"\xf9", b"\xff", b","
_HUNDREDTH, _LONGEST = Fraction(1, 100), 65_535
_TABLE, _SIZE = 0x80, 0x07  # flags of a table of colours
_KEEP, _CLEAR = 1 << 2, 2 << 2  # what becomes of a frame, before the next one is drawn
_MOST_REPEATS = 65_535


@dataclass(frozen=True)
class GifFrames:
    """screen: the header of the canvas and its table of colours, with the background, as stored.

    is_grey: all colours are; has_alpha: some pixel of some frame may be transparent.
    """

    screen: bytes
    is_grey: bool
    has_alpha: bool


def survey(opened: ImageFile.ImageFile, stream: BinaryIO) -> Series | None:
    """The frames of a GIF; None for one that is still."""
    position = stream.tell()
    screen = screen_of(stream)
    tables, plays, is_empty = [screen[13:]], 1, True
    durations: list[Fraction] = []
    has_alpha, is_whole, control = False, False, Control()
    for block in blocks(stream):
        if block.kind == _PICTURE:
            has_alpha |= control.transparent is not None or (is_empty and not covers(block, opened.size))
            is_empty = control.disposal is not Disposal.KEEP
            durations.append(control.delay * _HUNDREDTH)
            tables.append(_local_table(stream, block))
            control = Control()
        elif block.label == _CONTROL:
            control = Control.of(block)
        elif block.label == _APPLICATION and block.start in LOOPS:
            plays = _plays(stream, block, plays)
        elif block.is_end:
            is_whole = True
    stream.seek(position)
    if len(durations) < 2:
        return None
    if not is_whole:
        raise UnreadableImageError("the file is truncated", "use a complete copy")
    colours = np.frombuffer(b"".join(tables), np.uint8).reshape(-1, 3)
    is_grey = bool((colours == colours[:, :1]).all())
    return animation(durations, plays, GifFrames(screen, is_grey, has_alpha))


def screen_of(stream: BinaryIO) -> bytes:
    """The header of the canvas and its table of colours, behind which the stream is then."""
    stream.seek(0)
    header = stream.read(13)
    return header + _table(stream, header[10])


def _table(stream: BinaryIO, flags: int) -> bytes:
    return stream.read(3 << (1 + (flags & _SIZE))) if flags & _TABLE else b""


def _local_table(stream: BinaryIO, block: Block) -> bytes:
    position = stream.tell()
    stream.seek(block.place + 10)
    table = _table(stream, block.flags)
    stream.seek(position)
    return table[: len(table) // 3 * 3]


def _plays(stream: BinaryIO, block: Block, before: int) -> int:
    """How often the animation is shown: once, and then as often as it says, or without end."""
    position = stream.tell()
    stream.seek(block.place + 3 + len(block.start))
    contents = stream.read(4)
    stream.seek(position)
    if len(contents) < 4 or contents[:2] != b"\x03\x01":
        return before
    repeats = int.from_bytes(contents[2:], "little")
    return repeats + 1 if repeats else 0


def write(
    encode: Callable[[Picture], bytes], series: Series, pictures: Iterator[Picture], stream: BinaryIO
) -> None:
    """Frames, as they come, each the whole picture; encode: a picture as a GIF of its own."""
    timing = series.timing
    assert timing is not None
    timed = zip(pictures, timing.durations, strict=True)
    control_before = 0
    for number, (picture, duration) in enumerate(timed):
        delay = in_units(duration, _HUNDREDTH, _LONGEST, "GIF")
        single = encode(picture if number == 0 else without_metadata_of_all(picture))
        parts = _Single.of(single)
        if number == 0:
            stream.write(_screen(series, picture))
            stream.write(_repeats(timing.plays))
            stream.write(parts.comments)
        elif parts.transparent is not None:  # what shows through must not be the frame before
            end = stream.tell()
            stream.seek(control_before + 3)
            flags = stream.read(1)[0]
            stream.seek(control_before + 3)
            stream.write(bytes((flags & ~(7 << 2) | _CLEAR,)))
            stream.seek(end)
        control_before = stream.tell()
        stream.write(parts.control(delay))
        stream.write(parts.picture)
    stream.write(b";")


def _screen(series: Series, picture: Picture) -> bytes:
    if isinstance(series.traits, GifFrames):
        return b"GIF89a" + struct.pack("<HH", *picture.size) + series.traits.screen[10:]
    return b"GIF89a" + struct.pack("<HHBBB", *picture.size, 0x70, 0, 0)


def _repeats(plays: int) -> bytes:
    if plays == 1:
        return b""
    count = min(max(plays - 1, 0), _MOST_REPEATS)
    return b"!\xff\x0b" + LOOPS[0] + b"\x03\x01" + count.to_bytes(2, "little") + b"\0"


@dataclass(frozen=True)
class _Single:
    """A GIF of one picture, taken apart: with its table of colours as one of the frame's own."""

    comments: bytes
    picture: bytes
    transparent: int | None

    @classmethod
    def of(cls, encoded: bytes) -> _Single:
        stream = io.BytesIO(encoded)
        header = stream.read(13)
        shared = _table(stream, header[10])
        comments, transparent, picture = [], None, b""
        for block in blocks(stream):
            whole = encoded[block.place : stream.tell()]
            if block.kind == _PICTURE:
                has_own = block.flags & _TABLE
                flags = block.flags if has_own else block.flags & 0x40 | _TABLE | (header[10] & _SIZE)
                picture = whole[:9] + bytes((flags,)) + (b"" if has_own else shared) + whole[10:]
            elif block.label == _CONTROL and block.start[0] & TRANSPARENT:
                transparent = block.start[3]
            elif block.label == b"\xfe":
                comments.append(whole)
        return cls(b"".join(comments), picture, transparent)

    def control(self, delay: int) -> bytes:
        flags = _KEEP | (TRANSPARENT if self.transparent is not None else 0)
        return b"!\xf9\x04" + struct.pack("<BHBB", flags, delay, self.transparent or 0, 0)
