"""WebP: lossless stays lossless."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from PIL import ImageFile

from tvdenoise.files.families.webp_animation import WebpFrames, WebpTraits, frames, survey, write
from tvdenoise.files.formats import Family, Format, Inspection, Several
from tvdenoise.files.picture import Picture
from tvdenoise.files.planes import encoded

if TYPE_CHECKING:
    from tvdenoise.files.stack import Series

_QUALITY = 95
_RIFF_HEADER_LENGTH = 12


def _inspect(opened: ImageFile.ImageFile, stream: BinaryIO) -> Inspection:
    series = survey(opened, stream)
    if series is not None:
        assert isinstance(series.traits, WebpFrames)
        return Inspection(traits=WebpTraits(lossless=series.traits.lossless[0]))
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


def _write(series: Series, pictures: Iterator[Picture], stream: BinaryIO, quality: int | None) -> None:
    write(lambda picture: encoded(picture, "WEBP", _options(picture, quality)), series, pictures, stream)


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
