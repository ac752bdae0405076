"""What a file format can carry, as data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

from PIL import ImageFile

from tvdenoise.files.picture import Picture

METADATA_NAMES = {
    "icc": "colour profile",
    "exif": "EXIF data",
    "xmp": "XMP data",
    "dpi": "resolution",
    "text": "texts",
}


@dataclass(frozen=True)
class Format:
    """One kind of file.

    name: as users call it; codec: as Pillow calls it.
    extensions: in lower case, with the dot; the first one is the usual one.
    kinds: the kinds of pixels (see `picture.PIXEL_KINDS`) that it can be written with.
    carries: the fields of `Metadata` that it keeps.
    longest_side: the most columns or rows that it can hold, or None.
    """

    name: str
    codec: str
    extensions: tuple[str, ...]
    kinds: frozenset[str] = frozenset()
    carries: frozenset[str] = frozenset()
    longest_side: int | None = None


@dataclass(frozen=True, eq=False)
class Inspection:
    """What a family finds in a file before it is decoded.

    notices: sentences about what is not written as it was read; traits: what only this codec understands.
    exif: where the format has no block of EXIF data, one made from what it has.
    """

    notices: tuple[str, ...] = ()
    traits: object = None
    exif: bytes | None = None


@dataclass(frozen=True)
class Family:
    """The reader and writer of all formats that share a codec.

    inspect: looks at the opened but not yet decoded file (image, stream) for what the decoder would lose.
        Raises UnsupportedImageError or UnreadableImageError.
    options: the encoder's options for a picture, its metadata included, and the JPEG or WebP quality (None
        for the family's default).
    """

    formats: tuple[Format, ...]
    inspect: Callable[[ImageFile.ImageFile, BinaryIO], Inspection]
    options: Callable[[Picture, int | None], dict[str, Any]]

    @property
    def codec(self) -> str:
        return self.formats[0].codec


def inspect_nothing(_opened: ImageFile.ImageFile, _stream: BinaryIO) -> Inspection:
    """The inspection of a family whose decoder loses nothing."""
    return Inspection()
