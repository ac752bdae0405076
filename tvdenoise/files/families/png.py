"""PNG: the checks that Pillow leaves out, and chunks that come through verbatim."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO

from PIL import ImageFile
from PIL.PngImagePlugin import PngImageFile, PngInfo

from tvdenoise.errors import UnreadableImageError
from tvdenoise.files.behind import notices_behind
from tvdenoise.files.families.png_ancillary import (
    BACKGROUND,
    COLOUR_CHUNKS,
    RESOLUTION,
    TEXT_CHUNKS,
    is_copied,
    keeps_background,
    notices_elsewhere,
    notices_of_left_out,
)
from tvdenoise.files.families.png_animation import survey, write
from tvdenoise.files.families.png_chunks import SIGNATURE, Chunk, chunks_of, packed
from tvdenoise.files.families.png_composing import frames
from tvdenoise.files.families.png_deep import decode, encode
from tvdenoise.files.formats import Family, Format, Inspection, Several
from tvdenoise.files.picture import Picture
from tvdenoise.files.pieces import most_pieces, too_many
from tvdenoise.files.planes import encoded
from tvdenoise.files.record import record_in

if TYPE_CHECKING:
    from tvdenoise.files.stack import Series

_KEPT = {BACKGROUND} | COLOUR_CHUNKS | TEXT_CHUNKS
_DESCRIPTIVE = COLOUR_CHUNKS | TEXT_CHUNKS | {b"iCCP", b"eXIf", RESOLUTION}
_NO_UNIT = 0
_GREY = 0
_SINGLE_PIXEL = struct.pack(">IIBBBBB", 1, 1, 8, _GREY, 0, 0, 0)
_RECORD_KEYWORD = b"tvdenoise"


@dataclass(frozen=True)
class PngTraits:
    """Chunks (type and contents) that say how to show the picture, its texts, and other programs' own, as stored."""

    chunks: tuple[tuple[bytes, bytes], ...] = ()


def _screen(stream: BinaryIO) -> None:
    """Refuse millions of chunks, and a second header, which might tell one decoder another size than the next."""
    most = most_pieces(stream)
    stream.seek(0)
    if stream.read(len(SIGNATURE)) != SIGNATURE:
        return
    count = 0
    while len(header := stream.read(8)) == 8:
        length, kind = struct.unpack(">I4s", header)
        if (kind == b"IHDR") != (count == 0):
            raise UnreadableImageError(
                "the file is damaged (its header is not clear)", "use an undamaged copy"
            )
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
    notices = notices_of_left_out(kinds, has_aspect=_has_aspect(chunks), keeps_background=keeps)
    if b"iCCP" in kinds and not opened.info.get("icc_profile"):
        notices += ("its colour profile cannot be read, and is left out",)
    notices += notices_behind(stream, stream.tell())
    if colour == _GREY and 1 < depth < 8:
        if "transparency" in opened.info:  # Pillow widens the pixels to 8 bits, but not this grey level
            opened.info["transparency"] = opened.info["transparency"] * 255 // (2**depth - 1)
        notices += (f"{depth}-bit grey is written with 8 bits",)
    elif depth == 16 and b"tRNS" in kinds:
        notices += ("its transparent colour is written as alpha",)
    return Inspection(
        notices,
        traits,
        texts=tuple((keyword, str(text)) for keyword, text in described.text.items()),
        record=next((_text_of(chunk) for chunk in chunks if _is_record(chunk)), None),
        elsewhere=notices_elsewhere(dict(traits.chunks), kinds),
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
    """A single pixel with the metadata of a file, those behind its pixels too, which need not be decoded for it."""
    metadata = (packed(chunk.kind, chunk.contents) for chunk in chunks if chunk.kind in _DESCRIPTIVE)
    header, pixel = packed(b"IHDR", _SINGLE_PIXEL), packed(b"IDAT", zlib.compress(bytes(2)))
    return PngImageFile(BytesIO(b"".join((SIGNATURE, header, *metadata, pixel, packed(b"IEND", b"")))))


def _is_record(chunk: Chunk) -> bool:
    has_keyword = chunk.kind == b"tEXt" and chunk.contents.startswith(_RECORD_KEYWORD + b"\0")
    return has_keyword and record_in(_text_of(chunk)) is not None


def _text_of(chunk: Chunk) -> str:
    return chunk.contents.partition(b"\0")[2].decode("latin-1")


def _options(picture: Picture, _quality: int | None) -> dict[str, Any]:
    metadata = picture.metadata
    return {
        "icc_profile": metadata.icc,
        "exif": metadata.exif,
        "dpi": metadata.dpi,
        "pnginfo": _info(picture),
    }


def _info(picture: Picture) -> PngInfo:
    info = PngInfo()
    if picture.metadata.record:
        info.add_text(_RECORD_KEYWORD.decode(), picture.metadata.record)
    if isinstance(picture.traits, PngTraits):
        for kind, contents in picture.traits.chunks:
            info.add(kind, contents)
        return info
    for keyword, text in picture.metadata.text:
        info.add_itxt(keyword, text)
    if picture.metadata.xmp:
        info.add_itxt("XML:com.adobe.xmp", picture.metadata.xmp.decode("utf-8", "replace"))
    return info


def _strip(traits: object) -> object:
    assert isinstance(traits, PngTraits)
    return PngTraits(tuple(chunk for chunk in traits.chunks if chunk[0] in COLOUR_CHUNKS))


def _encode_whole(picture: Picture) -> bytes:
    """A PNG, by Pillow where it can."""
    options = _options(picture, None)
    if (deep := encode(picture, options)) is not None:
        return deep
    return encoded(picture, "PNG", options)


def _write(series: Series, pictures: Iterator[Picture], stream: BinaryIO, _quality: int | None) -> None:
    write(_encode_whole, series, pictures, stream)


FAMILY = Family(
    formats=(
        Format(
            "PNG",
            "PNG",
            (".png",),
            kinds=frozenset({"L", "LA", "RGB", "RGBA", "I;16", "LA;16", "RGB;16", "RGBA;16"}),
            carries=frozenset({"icc", "exif", "xmp", "dpi", "text", "record"}),
            several="frames",
        ),
    ),
    inspect=_inspect,
    options=_options,
    screen=_screen,
    strip=_strip,
    decode=decode,
    encode=encode,
    several=Several(survey, _write, frames=frames),
)
