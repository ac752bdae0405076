"""GIF and animated GIF: each denoised frame gets a new palette; transparency, timing and comments are kept."""

from __future__ import annotations

import io
import math
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL import Image, ImageFile

from tvdenoise.errors import UnreadableImageError
from tvdenoise.files.decoded import DecodedImage, record_in, with_record, without_record
from tvdenoise.files.pillow import encoded, planes_of
from tvdenoise.formats.animation import (
    Disposal,
    Placed,
    animation,
    in_units,
    plain_frame,
    whole_frames,
    without_metadata_of_all,
)
from tvdenoise.formats.family import Family, Format, Inspection, Several, chunk_limit, too_many

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tvdenoise.files.stack import Series


_HEADER_LENGTH, _IMAGE_HEADER_LENGTH = 13, 9
TRANSPARENT = 1  # flag of a graphic control extension
_DISPOSALS = {2: Disposal.CLEAR, 3: Disposal.RESTORE, 4: Disposal.RESTORE}  # 4 as in viewers
_EXTENSION, _APPLICATION, _IMAGE, _END = b"!", b"\xff", b",", b";"
_TABLE, _SIZE = 0x80, 0x07  # flags of a colour table


@dataclass(frozen=True)
class Block:
    """A block; kind: an image, an extension or the end; place: its offset.

    label, start: kind and first sub-block of an extension; box, flags: of an image, box being left, top, columns and
    rows.
    """

    kind: bytes
    place: int
    label: bytes = b""
    start: bytes = b""
    box: tuple[int, int, int, int] = (0, 0, 0, 0)
    flags: int = 0

    @property
    def is_end(self) -> bool:
        return self.kind == _END


@dataclass(frozen=True)
class Control:
    """Graphic control of a frame; delay: in hundredths of a second; transparent: index of the transparent colour."""

    delay: int = 0
    transparent: int | None = None
    disposal: Disposal = Disposal.KEEP

    @classmethod
    def of(cls, block: Block) -> Control:
        """Parse a block; a short one gives the defaults."""
        if len(block.start) < 4:
            return cls()
        flags, transparent = block.start[0], block.start[3]
        return cls(
            int.from_bytes(block.start[1:3], "little"),
            transparent if flags & TRANSPARENT else None,
            _DISPOSALS.get(flags >> 2 & 7, Disposal.KEEP),
        )


def covers(block: Block, size: tuple[int, int]) -> bool:
    """Return whether a frame covers a canvas of that size."""
    left, top, columns, rows = block.box
    return left == top == 0 and columns >= size[0] and rows >= size[1]


def screen(stream: BinaryIO) -> None:
    """Refuse millions of blocks, or of stray bytes between them."""
    most = chunk_limit(stream)
    stream.seek(0)
    header = stream.read(_HEADER_LENGTH)
    if header[:4] != b"GIF8" or len(header) < _HEADER_LENGTH:
        return
    _skip_table(header[10:11], stream)
    for number, _ in enumerate(blocks(stream)):
        if number >= most:
            raise too_many(most, "blocks")


def blocks(stream: BinaryIO) -> Iterator[Block]:
    """Yield the blocks from here to the end without decoding them; a stray byte between them counts as a block.

    Each is yielded with the stream positioned after it.
    """
    while kind := stream.read(1):
        place = stream.tell() - 1
        block = Block(kind, place)
        if kind == _IMAGE:
            header = stream.read(_IMAGE_HEADER_LENGTH)
            if len(header) < _IMAGE_HEADER_LENGTH:
                return
            *box, flags = struct.unpack("<HHHHB", header)
            block = Block(kind, place, box=(box[0], box[1], box[2], box[3]), flags=flags)
            _skip_table(header[8:9], stream)
            stream.seek(1, os.SEEK_CUR)
            _skip_contents(stream)
        elif kind == _EXTENSION:
            label = stream.read(1)
            start = stream.read(int.from_bytes(stream.read(1), "little"))
            block = Block(kind, place, label, start)
            if start:
                _skip_contents(stream)
        yield block
        if kind == _END:
            return


def application_names(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the names of the application extensions, up to a truncated block."""
    stream.seek(0)
    _skip_table(stream.read(_HEADER_LENGTH)[10:11], stream)
    for block in blocks(stream):
        if block.label == _APPLICATION:
            yield block.start


def _skip_table(flags: bytes, stream: BinaryIO) -> None:
    if flags and flags[0] & _TABLE:
        stream.seek(3 << (1 + (flags[0] & 7)), os.SEEK_CUR)


def _skip_contents(stream: BinaryIO) -> None:
    while length := int.from_bytes(stream.read(1), "little"):
        stream.seek(length, os.SEEK_CUR)


LOOPS = (b"NETSCAPE2.0", b"ANIMEXTS1.0")
_CONTROL = b"\xf9"
_HUNDREDTH, _LONGEST = Fraction(1, 100), 65_535
_KEEP, _CLEAR = 1 << 2, 2 << 2  # disposal flags
_MOST_REPEATS = 65_535


@dataclass(frozen=True)
class GifFrames:
    """screen: the header, screen descriptor and global colour table, as stored.

    is_grey: all colours are grey; has_alpha: some pixel of some frame may be transparent.
    """

    screen: bytes
    is_grey: bool
    has_alpha: bool


def survey(opened: ImageFile.ImageFile, stream: BinaryIO) -> Series | None:
    """Return the frames of a GIF; None for a still image."""
    position = stream.tell()
    screen = screen_of(stream)
    tables, plays, is_empty = [screen[13:]], 1, True
    durations: list[Fraction] = []
    has_alpha, is_whole, control = False, False, Control()
    for block in blocks(stream):
        if block.kind == _IMAGE:
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
    """Read the header, screen descriptor and global colour table, leaving the stream after them."""
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
    """Return the number of plays: the stored repeats and one, or 0 for endless."""
    position = stream.tell()
    stream.seek(block.place + 3 + len(block.start))
    contents = stream.read(4)
    stream.seek(position)
    if len(contents) < 4 or contents[:2] != b"\x03\x01":
        return before
    repeats = int.from_bytes(contents[2:], "little")
    return repeats + 1 if repeats else 0


def _write(series: Series, images: Iterator[DecodedImage], stream: BinaryIO, _quality: int | None) -> None:
    """Write frames as they come, each covering the canvas."""
    timing = series.timing
    assert timing is not None
    timed = zip(images, timing.durations, strict=True)
    control_before = 0
    for number, (image, duration) in enumerate(timed):
        delay = in_units(duration, _HUNDREDTH, _LONGEST, "GIF")
        single = _encode_whole(image if number == 0 else without_metadata_of_all(image))
        parts = _Single.of(single)
        if number == 0:
            stream.write(_screen(series, image))
            stream.write(_repeats(timing.plays))
            stream.write(parts.comments)
        elif parts.transparent is not None:  # the frame before must not show through: clear it
            end = stream.tell()
            stream.seek(control_before + 3)
            flags = stream.read(1)[0]
            stream.seek(control_before + 3)
            stream.write(bytes((flags & ~(7 << 2) | _CLEAR,)))
            stream.seek(end)
        control_before = stream.tell()
        stream.write(parts.control(delay))
        stream.write(parts.image)
    stream.write(b";")


def _screen(series: Series, image: DecodedImage) -> bytes:
    if isinstance(series.traits, GifFrames):
        return b"GIF89a" + struct.pack("<HH", *image.size) + series.traits.screen[10:]
    return b"GIF89a" + struct.pack("<HHBBB", *image.size, 0x70, 0, 0)


def _repeats(plays: int) -> bytes:
    if plays == 1:
        return b""
    count = min(max(plays - 1, 0), _MOST_REPEATS)
    return b"!\xff\x0b" + LOOPS[0] + b"\x03\x01" + count.to_bytes(2, "little") + b"\0"


@dataclass(frozen=True)
class _Single:
    """The parts of a single-image GIF, with its colour table as a local one."""

    comments: bytes
    image: bytes
    transparent: int | None

    @classmethod
    def of(cls, encoded: bytes) -> _Single:
        stream = io.BytesIO(encoded)
        header = stream.read(13)
        shared = _table(stream, header[10])
        comments, transparent, image = [], None, b""
        for block in blocks(stream):
            whole = encoded[block.place : stream.tell()]
            if block.kind == _IMAGE:
                has_own = block.flags & _TABLE
                flags = block.flags if has_own else block.flags & 0x40 | _TABLE | (header[10] & _SIZE)
                image = whole[:9] + bytes((flags,)) + (b"" if has_own else shared) + whole[10:]
            elif block.label == _CONTROL and block.start[0] & TRANSPARENT:
                transparent = block.start[3]
            elif block.label == b"\xfe":
                comments.append(whole)
        return cls(b"".join(comments), image, transparent)

    def control(self, delay: int) -> bytes:
        flags = _KEEP | (TRANSPARENT if self.transparent is not None else 0)
        return b"!\xf9\x04" + struct.pack("<BHBB", flags, delay, self.transparent or 0, 0)


_MOST_BEYOND = 4  # largest frame, relative to the canvas


def frames(
    opened: ImageFile.ImageFile, stream: BinaryIO, series: Series, first: DecodedImage, numbers: Iterable[int]
) -> Iterator[DecodedImage]:
    """Yield the frames as viewers show them, with a transparent background."""
    traits = series.traits
    assert isinstance(traits, GifFrames)
    for values in whole_frames(_singles(stream, traits.screen, opened.size), opened.size, numbers):
        yield plain_frame(values, first, has_alpha=traits.has_alpha, is_grey=traits.is_grey)


def partial_frame(opened: ImageFile.ImageFile, stream: BinaryIO) -> NDArray[np.uint8] | None:
    """Return the first frame as RGBA if it covers only a part of the canvas; else None."""
    screen = screen_of(stream)
    first = next((block for block in blocks(stream) if block.kind == _IMAGE), None)
    if first is None or covers(first, opened.size):
        return None
    return next(whole_frames(_singles(stream, screen, opened.size), opened.size, (0,)))


def _singles(
    stream: BinaryIO, screen: bytes, size: tuple[int, int]
) -> Iterator[tuple[Image.Image, Placed | None]]:
    """Yield the decoded frames and their positions; screen: see `GifFrames`."""
    stream.seek(len(screen))
    control = Control()
    for block in blocks(stream):
        if block.label == _CONTROL:
            control = Control.of(block)
        elif block.kind == _IMAGE:
            end = stream.tell()
            stream.seek(block.place)
            contents = stream.read(end - block.place)
            left, top, columns, rows = block.box
            if columns * rows > _MOST_BEYOND * math.prod(size):
                raise UnreadableImageError(
                    "the file is damaged (a frame is too large)", "use an undamaged copy"
                )
            yield (
                _decoded(block, contents, screen, control),
                Placed(left, top, control.disposal, is_over=True),
            )
            stream.seek(end)
            control = Control()


def _decoded(block: Block, contents: bytes, screen: bytes, control: Control) -> Image.Image:
    shown = b""
    if control.transparent is not None:
        shown = b"!\xf9\x04" + struct.pack("<BHBB", TRANSPARENT, 0, control.transparent, 0)
    header = screen[:6] + struct.pack("<HH", *block.box[2:]) + screen[10:]
    placed = contents[:1] + bytes(4) + contents[5:]  # at position (0, 0)
    image = Image.open(io.BytesIO(header + shown + placed + b";"), formats=("GIF",))
    image.load()
    return image


_COLOURS = 256
_SAMPLE = 20_000  # pixels from which the palette is chosen: more gain 0.1 dB, and all take minutes


@dataclass(frozen=True)
class GifTraits:
    """comment: as stored, without the record; interlace: whether the rows are stored in four passes."""

    comment: bytes = b""
    interlace: bool = False


def _inspect(opened: ImageFile.ImageFile, stream: BinaryIO) -> Inspection:
    comment = bytes(opened.info.get("comment", b"")).decode("latin-1")
    traits = GifTraits(without_record(comment).encode("latin-1"), _is_interlaced(opened))
    names = sorted({name for name in application_names(stream) if name not in LOOPS})
    left_out = ", ".join(name.decode("latin-1").rstrip() for name in names)
    palette = ["its palette is written as true colour or grey"] if opened.mode == "P" else []
    comments = ["its comments are dropped"] if traits.comment else []
    return Inspection(
        (f"its GIF extensions {left_out} are dropped",) if names else (),
        traits,
        record=record_in(comment),
        elsewhere=(*palette, *comments),
    )


def _is_interlaced(opened: ImageFile.ImageFile) -> bool:
    """Return the flag that Pillow passes to its decoder; a missing image has no tile."""
    return any(bool(tile.args[1]) for tile in opened.tile if isinstance(tile.args, tuple))


def _decode(opened: ImageFile.ImageFile, stream: BinaryIO) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Decode without Pillow's notes: a GIF is written with a palette and a transparent colour again."""
    position = stream.tell()
    partial = partial_frame(opened, stream)
    stream.seek(position)
    if partial is not None:
        colours = partial[..., :3]
        is_grey = bool((colours == colours[..., :1]).all())
        return np.ascontiguousarray(colours[..., 0] if is_grey else colours), partial[..., 3].copy()
    opened.load()
    intensities, alpha, _ = planes_of(opened)
    return intensities, alpha


def _options(image: DecodedImage, _quality: int | None) -> dict[str, Any]:
    traits = image.traits if isinstance(image.traits, GifTraits) else GifTraits()
    comment, record = traits.comment.decode("latin-1"), image.metadata.record
    if record:
        comment = with_record(comment, record)
    return {"comment": comment.encode("latin-1"), "interlace": traits.interlace}


def _encode(image: DecodedImage, options: Mapping[str, Any]) -> bytes | None:
    """Encode with a palette; 8-bit grey without alpha is left to Pillow, which writes it exactly."""
    if image.kind == "L":
        return None
    colours = np.dstack([image.intensities] * (1 if image.has_channel_axis else 3))
    visible = _visible(image)
    palette, chosen = _palette_for(colours[visible], _room(image))
    indices = np.zeros(visible.shape, np.uint8)
    indices[visible] = chosen
    if image.visible is not None:
        indices[~visible] = len(palette)
        palette = np.vstack((palette, colours[~visible][:1]))
        options = {**options, "transparency": len(palette) - 1}
    paletted = Image.frombytes("P", image.size, indices.tobytes())
    paletted.putpalette(palette.tobytes())
    contents = BytesIO()
    paletted.save(contents, "GIF", optimize=False, **options)
    return contents.getvalue()


def _visible(image: DecodedImage) -> NDArray[np.bool_]:
    return np.ones(image.intensities.shape[:2], bool) if image.visible is None else image.visible


def _room(image: DecodedImage) -> int:
    """Return the number of palette entries beside a transparent colour."""
    return _COLOURS if image.visible is None else _COLOURS - 1


def _palette_for(colours: NDArray[np.uint8], room: int) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """Return a palette (colours, 3) for pixels (pixels, 3), and the palette index of each pixel.

    Keeps the pixels' own colours if they fit; otherwise chooses colours by median cut and k-means.
    """
    codes, chosen = np.unique(_codes(colours), return_inverse=True)
    if len(codes) <= room:
        palette = np.stack((codes >> 16, codes >> 8 & 255, codes & 255), axis=-1)
        return palette.astype(np.uint8), chosen
    sample = _row_of(colours[:: -(-len(colours) // _SAMPLE)])
    palette_image = sample.quantize(room, Image.Quantize.MEDIANCUT, kmeans=1, dither=Image.Dither.NONE)
    reduced = _row_of(colours).quantize(palette=palette_image, dither=Image.Dither.NONE)
    return np.array(palette_image.getpalette(), np.uint8).reshape(-1, 3)[:room], np.asarray(reduced)[0]


def _row_of(colours: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(colours[np.newaxis]))


def _codes(colours: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Return a number for each colour along the last axis."""
    return colours.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)


def _losses(image: DecodedImage) -> tuple[str, ...]:
    if image.kind == "L":
        return ()
    colours = np.dstack([image.intensities] * (1 if image.has_channel_axis else 3))
    count = len(np.unique(_codes(colours[_visible(image)])))
    return (f"its {count:,} colours are reduced to {_room(image)}",) if count > _room(image) else ()


def _strip(traits: object) -> object:
    assert isinstance(traits, GifTraits)
    return replace(traits, comment=b"")


def _encode_whole(image: DecodedImage) -> bytes:
    options = _options(image, None)
    if (reduced := _encode(image, options)) is not None:
        return reduced
    return encoded(image, "GIF", options)


FAMILY = Family(
    formats=(
        Format(
            "GIF",
            "GIF",
            (".gif",),
            kinds=frozenset({"L"}),
            approximates=frozenset({"LA", "RGB", "RGBA"}),
            carries=frozenset({"record"}),
            longest_side=65_535,
            several="frames",
        ),
    ),
    inspect=_inspect,
    options=_options,
    screen=screen,
    strip=_strip,
    decode=_decode,
    encode=_encode,
    losses=_losses,
    several=Several(survey, _write, frames=frames),
)
