"""The floats of the portable maps: PFM, in grey (Pf) and in colour (PF), which Pillow does not know."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from PIL import ImageFile

from tvdenoise.errors import UnreadableImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tvdenoise.files.picture import Picture

_LONGEST_HEADER = 4096
_FIELD = rb"(?:\s|#[^\n\r]*[\n\r])+(\d{1,9})"
_HEADER = re.compile(rb"P([fF])" + _FIELD * 2 + rb"(?:\s|#[^\n\r]*[\n\r])+([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s")


@dataclass(frozen=True)
class PfmHeader:
    """scale: a factor that readers leave to people, its sign being the byte order's; offset: of the pixels."""

    channels: int
    columns: int
    rows: int
    scale: float
    is_big_endian: bool
    offset: int


@dataclass(frozen=True)
class PfmTraits:
    """The scale of the file, which the values are not multiplied by."""

    scale: float = 1.0


def pfm_header(stream: BinaryIO) -> PfmHeader | None:
    """What a PFM says of itself, or None for other files. ValueError where that is impossible."""
    stream.seek(0)
    found = _HEADER.match(stream.read(_LONGEST_HEADER))
    if found is None:
        return None
    columns, rows, scale = int(found[2]), int(found[3]), float(found[4])
    if columns < 1 or rows < 1 or not math.isfinite(scale) or scale == 0:
        raise ValueError("its header is not clear")
    return PfmHeader(3 if found[1] == b"F" else 1, columns, rows, abs(scale), scale > 0, found.end())


class ColourPfm(ImageFile.ImageFile):
    """A colour PFM of which only the header is read: Pillow has no mode for its pixels."""

    format = "PPM"
    format_description = "Portable float map"

    def _open(self) -> None:
        assert self.fp is not None
        header = pfm_header(self.fp)  # type: ignore[arg-type,unused-ignore]
        if header is None or header.channels != 3:
            raise SyntaxError("not a colour PFM")
        self._mode, self._size = "RGB", (header.columns, header.rows)


def open_pfm(stream: BinaryIO) -> ColourPfm | None:
    """A colour PFM, its header read, or None for other files."""
    stream.seek(0)
    if stream.read(2) != b"PF":
        return None
    stream.seek(0)
    try:
        return ColourPfm(stream)  # type: ignore[no-untyped-call,unused-ignore]
    except (SyntaxError, ValueError):
        return None


def decode_pfm(stream: BinaryIO, header: PfmHeader) -> NDArray[np.float32]:
    """The values, (rows, columns) or (rows, columns, 3); rows are stored from the bottom up."""
    stream.seek(header.offset)
    size = 4 * header.channels * header.columns * header.rows
    stored = stream.read(size)
    if len(stored) < size:
        raise UnreadableImageError("the file is truncated", "use a complete copy")
    values = np.frombuffer(stored, ">f4" if header.is_big_endian else "<f4")
    values = values.reshape(header.rows, header.columns, header.channels)[::-1]
    return np.ascontiguousarray(values if header.channels == 3 else values[..., 0], np.float32)


def encode_pfm(picture: Picture) -> bytes:
    """The contents of a PFM of float32 in grey or colour, in little-endian order."""
    columns, rows = picture.size
    scale = picture.traits.scale if isinstance(picture.traits, PfmTraits) else 1.0
    kind = b"PF" if picture.channels == 3 else b"Pf"
    header = kind + b"\n%d %d\n%s\n" % (columns, rows, repr(-scale).encode())
    return header + picture.intensities[::-1].astype("<f4").tobytes()
