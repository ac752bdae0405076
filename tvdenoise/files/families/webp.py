"""WebP: lossless stays lossless."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from PIL import ImageFile

from tvdenoise.files.behind import notices_behind
from tvdenoise.files.families.webp_animation import WebpFrames, WebpTraits, chunks_of, frames, survey, write
from tvdenoise.files.formats import Family, Format, Inspection, Several
from tvdenoise.files.picture import Picture
from tvdenoise.files.planes import encoded

if TYPE_CHECKING:
    from tvdenoise.files.stack import Series

_QUALITY = 95
_LENGTH_AT = 4  # of what follows that
_KNOWN = frozenset({b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ICCP", b"EXIF", b"XMP ", b"ANIM", b"ANMF"})


def _inspect(opened: ImageFile.ImageFile, stream: BinaryIO) -> Inspection:
    series = survey(opened, stream)
    if series is not None:
        assert isinstance(series.traits, WebpFrames)
        return Inspection(traits=WebpTraits(lossless=series.traits.lossless[0]))
    names = {name for name, _, _ in chunks_of(stream)}
    unknown = ", ".join(name.decode("latin-1").strip() for name in sorted(names - _KNOWN))
    notices: tuple[str, ...] = (f"its WebP chunks {unknown} are left out",) if unknown else ()
    stream.seek(_LENGTH_AT)
    notices += notices_behind(stream, _LENGTH_AT + 4 + int.from_bytes(stream.read(4), "little"))
    return Inspection(notices, WebpTraits(lossless=b"VP8L" in names))


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
