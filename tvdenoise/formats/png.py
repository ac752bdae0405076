"""PNG and animated PNG: checks that Pillow omits, and chunks that are copied verbatim."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO

from PIL import Image, ImageFile
from PIL.PngImagePlugin import PngImageFile, PngInfo

from tvdenoise.errors import SeveralImagesError, UnreadableImageError, UnsupportedImageError
from tvdenoise.files.decoded import DecodedImage, record_in
from tvdenoise.files.pillow import encoded
from tvdenoise.formats.animation import (
    Disposal,
    Placed,
    animation,
    palette_is_grey,
    plain_frame,
    whole_frames,
    without_metadata_of_all,
)
from tvdenoise.formats.family import (
    Family,
    Format,
    Inspection,
    Several,
    chunk_limit,
    notes_of_trailing_data,
    too_many,
)
from tvdenoise.formats.png_chunks import (
    BACKGROUND,
    COLOUR_CHUNKS,
    RESOLUTION,
    SIGNATURE,
    TEXT_CHUNKS,
    Chunk,
    chunks_of,
    is_copied,
    keeps_background,
    notes_elsewhere,
    notes_of_left_out,
    packed,
    with_new_text,
)
from tvdenoise.formats.png_pixels import decode, encode
from tvdenoise.formats.thumbnails import (
    Miniature,
    notes_of_dropped,
    renewed_exif,
    renewed_resources,
    renewed_xmp,
    without_gain_map,
)

if TYPE_CHECKING:
    from tvdenoise.files.stack import Series


_ANIMATION_CONTROL, _FRAME_CONTROL, _DATA, _PIXELS = b"acTL", b"fcTL", b"fdAT", b"IDAT"
_LENGTHS = {_ANIMATION_CONTROL: 8, _FRAME_CONTROL: 26}
_HUNDREDTHS = 100  # the denominator of a duration if it is stored as 0
_LARGEST = 65_535
_FRAME_STAYS = 0  # disposal of a frame that stays


@dataclass(frozen=True)
class PngFrames:
    """has_still: the first image is not a frame, but shown by programs without support for animations.

    leaves_gaps: the frames leave a part of the canvas transparent.
    """

    has_still: bool = False
    leaves_gaps: bool = False


def survey(_opened: ImageFile.ImageFile, stream: BinaryIO) -> Series | None:
    """Return the frames of a PNG; None for a still image."""
    position = stream.tell()
    if not _is_animated(stream):
        stream.seek(position)
        return None
    found = list(chunks_of(stream, {_ANIMATION_CONTROL, _FRAME_CONTROL, b"IHDR"}))
    stream.seek(position)
    kinds = [chunk.kind for chunk in found]
    if kinds[-1] != b"IEND":
        raise UnreadableImageError("the file is truncated", "use a complete copy")
    if any(len(chunk.contents) != _LENGTHS.get(chunk.kind, len(chunk.contents)) for chunk in found):
        raise _damaged()
    count, plays = struct.unpack(">II", found[kinds.index(_ANIMATION_CONTROL)].contents)
    durations = [_duration(chunk.contents) for chunk in found if chunk.kind == _FRAME_CONTROL]
    if count != len(durations) or not count or _PIXELS not in kinds:
        raise _damaged()
    has_still = kinds.index(_FRAME_CONTROL) > kinds.index(_PIXELS)
    if has_still:
        durations.insert(0, Fraction(0))
    if len(durations) == 1:
        return None
    if found[0].contents[8:9] == b"\x10":
        raise SeveralImagesError("animated PNG of 16 bits is not supported", "save it with 8 bits")
    controls = [chunk.contents for chunk in found if chunk.kind == _FRAME_CONTROL]
    return animation(durations, plays, PngFrames(has_still, _leave_gaps(controls, found[0].contents)))


def _leave_gaps(controls: list[bytes], header: bytes) -> bool:
    """Return whether a frame is drawn on a partly empty canvas without covering it."""
    covers = [contents[4:20] == header[:8] + bytes(8) for contents in controls]
    is_empty = [True, *(contents[24] != _FRAME_STAYS for contents in controls[:-1])]
    return any(empty and not covering for empty, covering in zip(is_empty, covers, strict=True))


def _is_animated(stream: BinaryIO) -> bool:
    """Return whether an acTL chunk precedes the pixels."""
    stream.seek(len(SIGNATURE))
    while len(header := stream.read(8)) == 8:
        length, kind = struct.unpack(">I4s", header)
        if kind in (_ANIMATION_CONTROL, _PIXELS):
            return bool(kind == _ANIMATION_CONTROL)
        stream.seek(length + 4, os.SEEK_CUR)
    return False


def _damaged() -> UnreadableImageError:
    return UnreadableImageError("the file is damaged (frames are missing)", "use an undamaged copy")


def _duration(contents: bytes) -> Fraction:
    numerator, denominator = struct.unpack(">HH", contents[20:24])
    return Fraction(numerator, denominator or _HUNDREDTHS)


def _write(series: Series, images: Iterator[DecodedImage], stream: BinaryIO, _quality: int | None) -> None:
    """Write frames as they come, each covering the canvas."""
    timing = series.timing
    assert timing is not None
    has_still = isinstance(series.traits, PngFrames) and series.traits.has_still
    timed = zip(images, timing.durations, strict=True)
    image, duration = next(timed)
    size, sequence = image.size, 0
    tail = []
    has_pixels = False
    for chunk in _parts(_encode_whole(image)):
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
            stream.write(
                packed(_ANIMATION_CONTROL, struct.pack(">II", series.count - has_still, timing.plays))
            )
    for image, duration in timed:
        stream.write(_control(sequence, size, duration))
        sequence += 1
        for chunk in _parts(_encode_whole(without_metadata_of_all(image))):
            if chunk.kind == _PIXELS:
                stream.write(packed(_DATA, struct.pack(">I", sequence) + chunk.contents))
                sequence += 1
    for chunk in tail:
        stream.write(packed(chunk.kind, chunk.contents))


def _parts(encoded: bytes) -> Iterator[Chunk]:
    """Yield the signature, as a chunk without a kind, and the chunks."""
    yield Chunk(b"", encoded[:8])
    yield from chunks_of(io.BytesIO(encoded), None)


def _control(sequence: int, size: tuple[int, int], duration: Fraction) -> bytes:
    if duration.numerator > _LARGEST or duration.denominator > _LARGEST:
        raise UnsupportedImageError(
            f"PNG cannot show a frame for {float(duration):g} s", "keep the format of the input"
        )
    times = (duration.numerator, duration.denominator)
    disposal, blending = 0, 0  # keep the frame, replace pixels
    return packed(
        _FRAME_CONTROL, struct.pack(">IIIIIHHBB", sequence, *size, 0, 0, *times, disposal, blending)
    )


_HEADER, _END = b"IHDR", b"IEND"
_COLOURS = {b"PLTE", b"tRNS"}  # shared by all frames
_DISPOSALS = (Disposal.KEEP, Disposal.CLEAR, Disposal.RESTORE)
_OVER = 1
_GREYS, _PALETTE, _ALPHAS = (0, 4), 3, (4, 6)  # colour types


@dataclass
class _Single:
    """A frame being assembled: its control chunk, empty for the still image, and its compressed pixels."""

    control: bytes = b""
    pixels: list[bytes] = field(default_factory=list)

    def decoded(self, header: bytes, colours: bytes) -> tuple[Image.Image, Placed | None]:
        size = self.control[4:12] or header[:8]
        parts = (packed(_HEADER, size + header[8:]), colours, packed(_PIXELS, b"".join(self.pixels)))
        image = Image.open(io.BytesIO(b"".join((SIGNATURE, *parts, packed(_END, b"")))), formats=("PNG",))
        image.load()
        return image, self._placed() if self.control else None

    def _placed(self) -> Placed:
        left, top = struct.unpack(">II", self.control[12:20])
        disposal, blending = self.control[24:26]
        return Placed(left, top, _DISPOSALS[disposal], is_over=blending == _OVER)


def frames(
    opened: ImageFile.ImageFile, stream: BinaryIO, series: Series, first: DecodedImage, numbers: Iterable[int]
) -> Iterator[DecodedImage]:
    """Yield the still image, if there is one, and the frames as viewers show them."""
    traits = series.traits
    assert isinstance(traits, PngFrames)
    kind = next(chunks_of(stream, {_HEADER})).contents[9]
    is_grey = kind in _GREYS or (kind == _PALETTE and palette_is_grey(opened))
    has_alpha = kind in _ALPHAS or "transparency" in opened.info or traits.leaves_gaps
    for values in whole_frames(_singles(stream), opened.size, numbers):
        yield plain_frame(values, first, has_alpha=has_alpha, is_grey=is_grey)


def _singles(stream: BinaryIO) -> Iterator[tuple[Image.Image, Placed | None]]:
    header, colours, single = b"", b"", _Single()
    for chunk in chunks_of(stream, {_HEADER, _FRAME_CONTROL, _DATA, _PIXELS, *_COLOURS}):
        if chunk.kind == _HEADER:
            header = chunk.contents
        elif chunk.kind in _COLOURS:
            colours += packed(chunk.kind, chunk.contents)
        elif chunk.kind == _PIXELS:
            single.pixels.append(chunk.contents)
        elif chunk.kind == _DATA:
            single.pixels.append(chunk.contents[4:])
        elif chunk.kind in (_FRAME_CONTROL, _END):
            if single.pixels:
                _require_inside(single.control, header)
                yield single.decoded(header, colours)
            elif single.control:
                raise _damaged()
            single = _Single(chunk.contents)


def _require_inside(control: bytes, header: bytes) -> None:
    """Raise UnreadableImageError for an invalid frame, before allocating memory for it."""
    if control:
        width, height, left, top = struct.unpack(">4I", control[4:20])
        columns, rows = struct.unpack(">2I", header[:8])
        is_inside = left + width <= columns and top + height <= rows
        if not is_inside or control[24] >= len(_DISPOSALS) or control[25] > _OVER:
            raise _damaged()


_KEPT = {BACKGROUND} | COLOUR_CHUNKS | TEXT_CHUNKS
_DESCRIPTIVE = COLOUR_CHUNKS | TEXT_CHUNKS | {b"iCCP", b"eXIf", RESOLUTION}
_NO_UNIT = 0
_GREY = 0
_SINGLE_PIXEL = struct.pack(">IIBBBBB", 1, 1, 8, _GREY, 0, 0, 0)
_RECORD_KEYWORD = b"tvdenoise"
_EXIF_PREFIX = b"Exif\0\0"


@dataclass(frozen=True)
class PngTraits:
    """Chunks (type and contents) about colour, texts, and other programs' chunks, as stored."""

    chunks: tuple[tuple[bytes, bytes], ...] = ()


def _screen(stream: BinaryIO) -> None:
    """Refuse millions of chunks, and a second header, since decoders disagree about which one counts."""
    most = chunk_limit(stream)
    stream.seek(0)
    if stream.read(len(SIGNATURE)) != SIGNATURE:
        return
    count = 0
    while len(header := stream.read(8)) == 8:
        length, kind = struct.unpack(">I4s", header)
        if (kind == b"IHDR") != (count == 0):
            raise UnreadableImageError("the file is damaged (its header is invalid)", "use an undamaged copy")
        if (count := count + 1) > most:
            raise too_many(most, "chunks")
        if kind == b"IEND":
            return
        stream.seek(length + 4, os.SEEK_CUR)


def _inspect(opened: ImageFile.ImageFile, stream: BinaryIO) -> Inspection:
    chunks = list(chunks_of(stream, _KEPT | _DESCRIPTIVE | {b"IHDR"}))
    if not chunks or chunks[-1].kind != b"IEND":
        raise UnreadableImageError("the file is truncated", "use a complete copy")
    depth, colour = chunks[0].contents[8:10]
    described = _described(chunks)
    opened.info.update(described.info)
    kinds = {chunk.kind for chunk in chunks}
    keeps = keeps_background(depth, colour)
    traits = PngTraits(_kept(chunks, stream, keeps_background=keeps))
    notes = notes_of_left_out(kinds, has_aspect=_has_aspect(chunks), keeps_background=keeps)
    if b"iCCP" in kinds and not opened.info.get("icc_profile"):
        notes += ("its colour profile cannot be read, and is dropped",)
    notes += notes_of_trailing_data(stream, stream.tell())
    if colour == _GREY and 1 < depth < 8:
        if "transparency" in opened.info:  # Pillow scales the pixels to 8 bits, but not this grey level
            opened.info["transparency"] = opened.info["transparency"] * 255 // (2**depth - 1)
        notes += (f"{depth}-bit grey is written with 8 bits",)
    elif depth == 16 and b"tRNS" in kinds:
        notes += ("its transparent colour is written as alpha",)
    return Inspection(
        notes,
        traits,
        texts=tuple((keyword, str(text)) for keyword, text in described.text.items()),
        record=next((_text_of(chunk) for chunk in chunks if _is_record(chunk)), None),
        elsewhere=notes_elsewhere(dict(traits.chunks), kinds),
    )


def _kept(
    chunks: list[Chunk], stream: BinaryIO, *, keeps_background: bool
) -> tuple[tuple[bytes, bytes], ...]:
    kinds = _KEPT if keeps_background else _KEPT - {BACKGROUND}
    kept = [chunk for chunk in chunks if chunk.kind in kinds and not _is_record(chunk)]
    if copied := {chunk.kind for chunk in chunks if is_copied(chunk.kind)}:
        kept += [chunk for chunk in chunks_of(stream, copied) if chunk.kind in copied]
    return tuple((chunk.kind, chunk.contents) for chunk in kept)


def _has_aspect(chunks: list[Chunk]) -> bool:
    stored = next((chunk.contents for chunk in chunks if chunk.kind == RESOLUTION), b"")
    return len(stored) == 9 and stored[8] == _NO_UNIT and stored[:4] != stored[4:8]


def _described(chunks: list[Chunk]) -> PngImageFile:
    """Build a one-pixel image with all metadata of a file, to read those after its pixels without decoding."""
    metadata = (packed(chunk.kind, chunk.contents) for chunk in chunks if chunk.kind in _DESCRIPTIVE)
    header, pixel = packed(b"IHDR", _SINGLE_PIXEL), packed(b"IDAT", zlib.compress(bytes(2)))
    return PngImageFile(BytesIO(b"".join((SIGNATURE, header, *metadata, pixel, packed(b"IEND", b"")))))


def _is_record(chunk: Chunk) -> bool:
    has_keyword = chunk.kind == b"tEXt" and chunk.contents.startswith(_RECORD_KEYWORD + b"\0")
    return has_keyword and record_in(_text_of(chunk)) is not None


def _text_of(chunk: Chunk) -> str:
    return chunk.contents.partition(b"\0")[2].decode("latin-1")


def _options(image: DecodedImage, _quality: int | None) -> dict[str, Any]:
    metadata = image.metadata
    return {
        "icc_profile": metadata.icc,
        "exif": metadata.exif,
        "dpi": metadata.dpi,
        "pnginfo": _info(image),
    }


def _info(image: DecodedImage) -> PngInfo:
    info = PngInfo()
    if image.metadata.record:
        info.add_text(_RECORD_KEYWORD.decode(), image.metadata.record)
    if isinstance(image.traits, PngTraits):
        for kind, contents in image.traits.chunks:
            info.add(kind, contents)
        return info
    for keyword, text in image.metadata.text:
        info.add_itxt(keyword, text)
    if image.metadata.xmp:
        info.add_itxt("XML:com.adobe.xmp", image.metadata.xmp.decode("utf-8", "replace"))
    return info


def _colours(_opened: ImageFile.ImageFile, stream: BinaryIO) -> int | None:
    colour = next(chunks_of(stream, {_HEADER})).contents[9]
    if colour == _PALETTE:
        return None
    return 1 if colour in _GREYS else 3


def _renew(image: DecodedImage, miniature: Miniature) -> tuple[object, tuple[str, ...]]:
    """Renew the thumbnails in texts: XMP data, and EXIF data and Photoshop's resources as some programs store them."""
    traits = image.traits
    if not isinstance(traits, PngTraits):
        return traits, ()
    dropped: dict[str, None] = {}

    def renewed(name: str, contents: bytes) -> bytes:
        if name == "xmp":
            found = renewed_xmp(contents, miniature)
            found = replace(found, contents=without_gain_map(found.contents))
        elif name == "exif":
            prefix = _EXIF_PREFIX if contents.startswith(_EXIF_PREFIX) else b""
            found = renewed_exif(contents.removeprefix(prefix), miniature)
            found = replace(found, contents=prefix + found.contents)
        else:
            found = renewed_resources(contents, miniature)
        dropped.update(dict.fromkeys(found.dropped))
        return found.contents

    chunks = tuple(with_new_text(chunk, renewed) for chunk in traits.chunks)
    return PngTraits(chunks), notes_of_dropped(tuple(dropped))


def _strip(traits: object) -> object:
    assert isinstance(traits, PngTraits)
    return PngTraits(tuple(chunk for chunk in traits.chunks if chunk[0] in COLOUR_CHUNKS))


def _encode_whole(image: DecodedImage) -> bytes:
    """Encode an image as a PNG, with Pillow where it can."""
    options = _options(image, None)
    if (deep := encode(image, options)) is not None:
        return deep
    return encoded(image, "PNG", options)


FAMILY = Family(
    formats=(
        Format(
            "PNG",
            "PNG",
            (".png",),
            kinds=frozenset({"L", "LA", "RGB", "RGBA", "I;16", "LA;16", "RGB;16", "RGBA;16"}),
            carries=frozenset({"icc", "exif", "xmp", "dpi", "text", "record"}),
            several="frames",
            holds_bilevel=True,
        ),
    ),
    inspect=_inspect,
    options=_options,
    screen=_screen,
    strip=_strip,
    colours=_colours,
    renew=_renew,
    decode=decode,
    encode=encode,
    several=Several(survey, _write, frames=frames),
)
