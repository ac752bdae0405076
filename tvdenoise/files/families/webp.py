"""WebP: lossless stays lossless."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, BinaryIO

from PIL import ImageFile

from tvdenoise.files.formats import Family, Format, Inspection
from tvdenoise.files.picture import Picture

_QUALITY = 95
_RIFF_HEADER_LENGTH = 12


@dataclass(frozen=True)
class WebpTraits:
    """How the pixels were compressed."""

    lossless: bool = True


def _inspect(_opened: ImageFile.ImageFile, stream: BinaryIO) -> Inspection:
    return Inspection(traits=WebpTraits(lossless=b"VP8L" in _chunk_names(stream)))


def _chunk_names(stream: BinaryIO) -> set[bytes]:
    names = set()
    stream.seek(_RIFF_HEADER_LENGTH)
    while len(header := stream.read(8)) == 8:
        names.add(header[:4])
        length = int.from_bytes(header[4:], "little")
        stream.seek(length + length % 2, 1)
    return names


def _options(picture: Picture, quality: int | None) -> dict[str, Any]:
    traits = picture.traits if isinstance(picture.traits, WebpTraits) else WebpTraits()
    metadata = picture.metadata
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
        ),
    ),
    inspect=_inspect,
    options=_options,
)
