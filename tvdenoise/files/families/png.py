"""PNG: the checks that Pillow leaves out, and chunks that come through verbatim."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from PIL import ImageFile
from PIL.PngImagePlugin import PngInfo

from tvdenoise.errors import UnreadableImageError, UnsupportedImageError
from tvdenoise.files.formats import Family, Format, Inspection
from tvdenoise.files.picture import Picture
from tvdenoise.files.record import record_in

_SIGNATURE_LENGTH = 8
_CRITICAL = {b"IHDR", b"PLTE", b"IDAT", b"IEND"}
_COLOUR_CHUNKS = {b"cHRM", b"cICP", b"gAMA", b"sRGB"}
_TEXT_CHUNKS = {b"tEXt", b"zTXt", b"iTXt"}
_KEPT = {b"IHDR"} | _COLOUR_CHUNKS | _TEXT_CHUNKS
_GREY, _GREY_ALPHA = 0, 4
_BLOCK = 1 << 20
_RECORD_KEYWORD = b"tvdenoise"


@dataclass(frozen=True)
class PngTraits:
    """Chunks (type and contents) that say how to show the picture, and its texts, as stored."""

    chunks: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True)
class _Chunk:
    kind: bytes
    contents: bytes  # empty for those that are only checked


def _inspect(opened: ImageFile.ImageFile, stream: BinaryIO) -> Inspection:
    chunks = list(_chunks(stream))
    if not chunks or chunks[-1].kind != b"IEND":
        raise UnreadableImageError("the file is truncated", "use a complete copy")
    depth, colour = chunks[0].contents[8:10]
    kinds = {chunk.kind for chunk in chunks}
    is_grey = colour == _GREY
    if depth == 16 and (not is_grey or b"tRNS" in kinds):
        what = "grey with transparency" if colour in (_GREY, _GREY_ALPHA) else "colour"
        raise UnsupportedImageError(f"16-bit {what} PNG is not carried yet", "convert it to 8 bits first")
    traits = PngTraits(
        tuple(
            (chunk.kind, chunk.contents)
            for chunk in chunks
            if chunk.kind in _KEPT - {b"IHDR"} and not _is_record(chunk)
        )
    )
    record = next((_text_of(chunk) for chunk in chunks if _is_record(chunk)), None)
    if is_grey and 1 < depth < 8:
        if "transparency" in opened.info:  # Pillow widens the pixels to 8 bits, but not this grey level
            opened.info["transparency"] = opened.info["transparency"] * 255 // (2**depth - 1)
        return Inspection((f"{depth}-bit grey is written with 8 bits",), traits, record=record)
    return Inspection(traits=traits, record=record)


def _is_record(chunk: _Chunk) -> bool:
    has_keyword = chunk.kind == b"tEXt" and chunk.contents.startswith(_RECORD_KEYWORD + b"\0")
    return has_keyword and record_in(_text_of(chunk)) is not None


def _text_of(chunk: _Chunk) -> str:
    return chunk.contents.partition(b"\0")[2].decode("latin-1")


def _chunks(stream: BinaryIO) -> Iterator[_Chunk]:
    """All complete chunks to the end of the image, their checksums compared."""
    stream.seek(_SIGNATURE_LENGTH)
    while len(header := stream.read(8)) == 8:
        length, kind = struct.unpack(">I4s", header)
        checksum, contents = zlib.crc32(kind), b""
        remaining = length
        while remaining:
            block = stream.read(min(remaining, _BLOCK))
            if not block:
                return
            checksum = zlib.crc32(block, checksum)
            contents += block if kind in _KEPT else b""
            remaining -= len(block)
        if len(stored := stream.read(4)) < 4:
            return
        if kind in _CRITICAL and int.from_bytes(stored, "big") != checksum:
            raise UnreadableImageError("the file is damaged (a checksum is wrong)", "use an undamaged copy")
        yield _Chunk(kind, contents)
        if kind == b"IEND":
            return


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
    return PngTraits(tuple(chunk for chunk in traits.chunks if chunk[0] in _COLOUR_CHUNKS))


FAMILY = Family(
    formats=(
        Format(
            "PNG",
            "PNG",
            (".png",),
            kinds=frozenset({"L", "LA", "RGB", "RGBA", "I;16"}),
            carries=frozenset({"icc", "exif", "xmp", "dpi", "text", "record"}),
        ),
    ),
    inspect=_inspect,
    options=_options,
    strip=_strip,
)
