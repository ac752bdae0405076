"""Animated PNG: every frame is written whole, in place of the one before."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, BinaryIO

from PIL import ImageFile

from tvdenoise.errors import SeveralPicturesError, UnreadableImageError, UnsupportedImageError
from tvdenoise.files.families.animation import animation, without_metadata_of_all
from tvdenoise.files.families.png_chunks import SIGNATURE, Chunk, chunks_of, packed
from tvdenoise.files.picture import Picture

if TYPE_CHECKING:
    from tvdenoise.files.stack import Series

_CONTROL, _FRAME, _DATA, _PIXELS = b"acTL", b"fcTL", b"fdAT", b"IDAT"
_LENGTHS = {_CONTROL: 8, _FRAME: 26}
_HUNDREDTHS = 100  # the denominator of a duration, where it is given as 0
_LARGEST = 65_535
_KEPT = 0  # what becomes of a frame that stays


@dataclass(frozen=True)
class PngFrames:
    """has_still: the first picture is no frame, but for programs that know no animations.

    leaves_gaps: of the canvas, which show through where nothing is drawn.
    """

    has_still: bool = False
    leaves_gaps: bool = False


def survey(_opened: ImageFile.ImageFile, stream: BinaryIO) -> Series | None:
    """The frames of a PNG; None for one that is still."""
    position = stream.tell()
    if not _is_animated(stream):
        stream.seek(position)
        return None
    found = list(chunks_of(stream, {_CONTROL, _FRAME, b"IHDR"}))
    stream.seek(position)
    kinds = [chunk.kind for chunk in found]
    if kinds[-1] != b"IEND":
        raise UnreadableImageError("the file is truncated", "use a complete copy")
    if any(len(chunk.contents) != _LENGTHS.get(chunk.kind, len(chunk.contents)) for chunk in found):
        raise _damaged()
    count, plays = struct.unpack(">II", found[kinds.index(_CONTROL)].contents)
    durations = [_duration(chunk.contents) for chunk in found if chunk.kind == _FRAME]
    if count != len(durations) or not count or _PIXELS not in kinds:
        raise _damaged()
    has_still = kinds.index(_FRAME) > kinds.index(_PIXELS)
    if has_still:
        durations.insert(0, Fraction(0))
    if len(durations) == 1:
        return None
    if found[0].contents[8:9] == b"\x10":
        raise SeveralPicturesError("animated PNG of 16 bits is not carried", "save it with 8 bits")
    controls = [chunk.contents for chunk in found if chunk.kind == _FRAME]
    return animation(durations, plays, PngFrames(has_still, _leave_gaps(controls, found[0].contents)))


def _leave_gaps(controls: list[bytes], header: bytes) -> bool:
    """Whether a frame is drawn on a canvas of which a part is empty, and does not cover it."""
    covers = [contents[4:20] == header[:8] + bytes(8) for contents in controls]
    is_empty = [True, *(contents[24] != _KEPT for contents in controls[:-1])]
    return any(empty and not covering for empty, covering in zip(is_empty, covers, strict=True))


def _is_animated(stream: BinaryIO) -> bool:
    """Whether it is announced before the pixels."""
    stream.seek(len(SIGNATURE))
    while len(header := stream.read(8)) == 8:
        length, kind = struct.unpack(">I4s", header)
        if kind in (_CONTROL, _PIXELS):
            return bool(kind == _CONTROL)
        stream.seek(length + 4, os.SEEK_CUR)
    return False


def _damaged() -> UnreadableImageError:
    return UnreadableImageError("the file is damaged (its frames are not all there)", "use an undamaged copy")


def _duration(contents: bytes) -> Fraction:
    numerator, denominator = struct.unpack(">HH", contents[20:24])
    return Fraction(numerator, denominator or _HUNDREDTHS)


def write(
    encode: Callable[[Picture], bytes], series: Series, pictures: Iterator[Picture], stream: BinaryIO
) -> None:
    """Frames, as they come, each the whole picture; encode: a picture as a PNG of its own."""
    timing = series.timing
    assert timing is not None
    has_still = isinstance(series.traits, PngFrames) and series.traits.has_still
    timed = zip(pictures, timing.durations, strict=True)
    picture, duration = next(timed)
    size, sequence = picture.size, 0
    tail = []
    has_pixels = False
    for chunk in _parts(encode(picture)):
        if chunk.kind == _PIXELS and not has_pixels:
            has_pixels = True
            if not has_still:
                stream.write(_control(sequence, size, duration))
                sequence += 1
        if has_pixels and chunk.kind != _PIXELS:
            tail.append(chunk)
            continue
        stream.write(packed(chunk.kind, chunk.contents) if chunk.kind else chunk.contents)
        if chunk.kind == b"IHDR":
            stream.write(packed(_CONTROL, struct.pack(">II", series.count - has_still, timing.plays)))
    for picture, duration in timed:
        stream.write(_control(sequence, size, duration))
        sequence += 1
        for chunk in _parts(encode(without_metadata_of_all(picture))):
            if chunk.kind == _PIXELS:
                stream.write(packed(_DATA, struct.pack(">I", sequence) + chunk.contents))
                sequence += 1
    for chunk in tail:
        stream.write(packed(chunk.kind, chunk.contents))


def _parts(encoded: bytes) -> Iterator[Chunk]:
    """The signature, as a chunk without a kind, and the chunks."""
    yield Chunk(b"", encoded[:8])
    yield from chunks_of(io.BytesIO(encoded), None)


def _control(sequence: int, size: tuple[int, int], duration: Fraction) -> bytes:
    if duration.numerator > _LARGEST or duration.denominator > _LARGEST:
        raise UnsupportedImageError(
            f"PNG cannot show a frame for {float(duration):g} s", "keep the format of the input"
        )
    times = (duration.numerator, duration.denominator)
    disposal, blending = 0, 0  # nothing is cleared, everything replaced
    return packed(_FRAME, struct.pack(">IIIIIHHBB", sequence, *size, 0, 0, *times, disposal, blending))
