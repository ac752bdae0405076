"""Windows bitmaps."""

from __future__ import annotations

import struct
from typing import Any, BinaryIO

from PIL import ImageFile

from tvdenoise.files.decoded import DecodedImage
from tvdenoise.formats.family import Family, Format, Inspection

_HEADER = 14  # bytes before the bitmap header
_WITH_COLOURS, _WITH_PROFILE = 108, 124  # lengths of headers
_COLOURS, _PROFILE = 56, 112  # offsets in the header
_CALIBRATED, _LINKED, _EMBEDDED = 0, 0x4C494E4B, 0x4D424544
_PRIMARIES = 48  # bytes, including gammas


def _inspect(opened: ImageFile.ImageFile, stream: BinaryIO) -> Inspection:
    """Read the colour profile, which Pillow ignores."""
    stream.seek(_HEADER)
    header = stream.read(_WITH_PROFILE)
    length = int.from_bytes(header[:4], "little")
    if length < _WITH_COLOURS or len(header) < _WITH_COLOURS:
        return Inspection()
    (space,) = struct.unpack_from("<I", header, _COLOURS)
    if space == _CALIBRATED and any(header[_COLOURS + 4 : _COLOURS + 4 + _PRIMARIES]):
        return Inspection(("its calibrated colours are written as if they were sRGB",))
    if length < _WITH_PROFILE or len(header) < _WITH_PROFILE or space not in (_LINKED, _EMBEDDED):
        return Inspection()
    place, size = struct.unpack_from("<II", header, _PROFILE)
    stream.seek(_HEADER + place)
    profile = stream.read(size) if space == _EMBEDDED else b""
    if not profile or len(profile) < size:
        return Inspection(("its colour profile cannot be read, and is dropped",))
    opened.info["icc_profile"] = profile
    return Inspection()


def _options(image: DecodedImage, _quality: int | None) -> dict[str, Any]:
    return {"dpi": image.metadata.dpi} if image.metadata.dpi else {}


FAMILY = Family(
    formats=(
        Format(
            "BMP",
            "BMP",
            (".bmp",),
            kinds=frozenset({"L", "RGB"}),
            carries=frozenset({"dpi"}),
            holds_bilevel=True,
        ),
    ),
    inspect=_inspect,
    options=_options,
)
