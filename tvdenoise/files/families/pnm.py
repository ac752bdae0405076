"""The portable maps of Netpbm: PGM, PPM, PBM and PFM."""

from __future__ import annotations

import re
from typing import Any, BinaryIO

from PIL import ImageFile

from tvdenoise.errors import UnsupportedImageError
from tvdenoise.files.formats import Family, Format, Inspection
from tvdenoise.files.picture import Picture

_LONGEST_HEADER = 4096
_FIELD = rb"(?:\s|#[^\n\r]*[\n\r])+(\d+)"
_HEADER = re.compile(rb"P([2356])" + _FIELD * 3)
_DEPTH_LIMITS = (255, 65535)


def _inspect(_opened: ImageFile.ImageFile, stream: BinaryIO) -> Inspection:
    stream.seek(0)
    header = _HEADER.match(stream.read(_LONGEST_HEADER))
    if header is None:  # PBM and PFM have no largest value
        return Inspection()
    is_colour, largest = header[1] in b"36", int(header[4])
    if is_colour and largest > 255:
        raise UnsupportedImageError("16-bit colour PPM is not carried yet", "convert it to 8 bits first")
    if largest not in _DEPTH_LIMITS:
        written = _DEPTH_LIMITS[largest > 255]
        return Inspection((f"intensities up to {largest} are written as intensities up to {written}",))
    return Inspection()


def _options(_picture: Picture, _quality: int | None) -> dict[str, Any]:
    return {}


FAMILY = Family(
    formats=(
        Format("PNM", "PPM", (".pnm",), kinds=frozenset({"L", "RGB", "I;16", "F"})),
        Format("PGM", "PPM", (".pgm",), kinds=frozenset({"L", "I;16"})),
        Format("PPM", "PPM", (".ppm",), kinds=frozenset({"RGB"})),
        Format("PFM", "PPM", (".pfm",), kinds=frozenset({"F"})),
        Format("PBM", "PPM", (".pbm",)),
    ),
    inspect=_inspect,
    options=_options,
)
