"""AVIF: written with the input's colour subsampling at quality 95, or 100 with alpha, which stays exact."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL import Image, ImageFile, features

from tvdenoise.errors import UnsupportedImageError
from tvdenoise.files.decoded import DecodedImage
from tvdenoise.files.pillow import image_of
from tvdenoise.formats.boxes import ColourCodes, colour_codes, item_properties, notes_of_companions
from tvdenoise.formats.family import Family, Format, Inspection, split_alpha, stretched
from tvdenoise.formats.tiff.directories import ORIENTATION, orientation_of
from tvdenoise.machine import usable_threads

if TYPE_CHECKING:
    from numpy.typing import NDArray


_QUALITY, _EXACT_QUALITY = 95, 100
# Flags in the third byte of the codec configuration (av1C).
_HIGH_DEPTH, _TWELVE_BITS, _GREY, _SUBSAMPLED = 0x40, 0x20, 0x10, 0x0C
_SUBSAMPLING = {0x00: "4:4:4", 0x08: "4:2:2", 0x0C: "4:2:0"}
_MOST_PIXELS = 1 << 28  # limit of Pillow's decoder
_BRANDS = (b"avif", b"avis")
_COLOUR_BOX = b"colrnclx"
_EXIF_PREFIX = b"Exif\0\0"


@dataclass(frozen=True)
class AvifTraits:
    """subsampling: of the colours, as Pillow names it; colour: codes other than sRGB's."""

    subsampling: str = "4:4:4"
    colour: ColourCodes | None = None


@dataclass(frozen=True)
class _Coding:
    """The coding of the images in a file (including tiles, alpha and auxiliary images): a byte of flags for each."""

    flags: tuple[int, ...]

    @classmethod
    def of(cls, properties: list[tuple[bytes, bytes]]) -> _Coding:
        flags = [contents[2] for kind, contents in properties if kind == b"av1C" and len(contents) > 2]
        return cls(tuple(sorted(flags, key=lambda flag: bool(flag & _GREY))))  # colour before alpha

    @property
    def is_grey(self) -> bool:
        return bool(self.flags) and bool(self.flags[0] & _GREY)

    @property
    def subsampling(self) -> str:
        return _SUBSAMPLING[self.flags[0] & _SUBSAMPLED] if self.flags else "4:4:4"

    @property
    def bits(self) -> int:
        deep = [flag for flag in self.flags if flag & _HIGH_DEPTH]
        return (12 if deep[0] & _TWELVE_BITS else 10) if deep else 8


def _inspect(opened: ImageFile.ImageFile, stream: BinaryIO) -> Inspection:
    properties = item_properties(stream)
    coding = _Coding.of(properties)
    colour = None if "icc_profile" in opened.info else colour_codes(properties)
    if colour is not None and colour.are_usual:
        colour = None
    notes = notes_of_companions(properties)
    if any(kind == b"clap" for kind, _ in properties):
        notes += ("its crop is dropped, and the whole image is written",)
    if coding.bits > 8:
        notes += (f"{coding.bits}-bit intensities are written with 16 bits",)
    codes = f"{colour.primaries}/{colour.transfer}" if colour else ""
    return Inspection(
        notes,
        AvifTraits(coding.subsampling, colour),
        elsewhere=(f"its colour description (CICP {codes}) is dropped",) if colour else (),
    )


def _decode(opened: ImageFile.ImageFile, stream: BinaryIO) -> tuple[NDArray[Any], NDArray[Any] | None] | None:
    """Decode depths above 8 bits, which Pillow truncates, and grey with alpha, which it converts to colour."""
    coding = _Coding.of(item_properties(stream))
    if coding.bits > 8:
        import imagecodecs

        stream.seek(0)
        values = np.asarray(imagecodecs.avif_decode(stream.read()))
        if values.shape[1::-1] != opened.size:
            raise ValueError("its header is invalid")
        if values.dtype == np.uint16:  # otherwise only an auxiliary image is that deep
            return split_alpha(stretched(values, 2**coding.bits - 1))
    if coding.is_grey and opened.mode == "RGBA":
        values = np.array(opened)
        return split_alpha(values[..., ::3])
    return None


def _bytes_per_sample(_opened: ImageFile.ImageFile, stream: BinaryIO) -> int:
    return 1 + (_Coding.of(item_properties(stream)).bits > 8)


def _colours(_opened: ImageFile.ImageFile, stream: BinaryIO) -> int:
    return 1 if _Coding.of(item_properties(stream)).is_grey else 3


def _options(image: DecodedImage, quality: int | None) -> dict[str, Any]:
    if not features.check("avif"):
        raise _missing()
    traits = image.traits if isinstance(image.traits, AvifTraits) else AvifTraits()
    usual = _QUALITY if image.alpha is None else _EXACT_QUALITY
    return {
        "quality": usual if quality is None else quality,
        "subsampling": traits.subsampling if image.has_channel_axis else "4:0:0",
        "autotiling": False,  # its output depends on the number of processors
        # The output for one thread differs from that for two or more.
        "max_threads": max(2, usable_threads()),
        "speed": 8,  # three times as fast as the default 6, at a loss of 0.3 dB
        "icc_profile": image.metadata.icc,
        "xmp": image.metadata.xmp or b"",
    }


class _ExactExif(Image.Exif):
    """EXIF data that Pillow writes byte for byte; it would re-encode data with an orientation.

    Pillow removes the orientation, which AVIF stores as a property of its own, and then calls `tobytes`.
    """

    def __init__(self, contents: bytes) -> None:
        super().__init__()
        self._contents = contents
        if (orientation := orientation_of(contents)) != 1:
            self[ORIENTATION] = orientation

    def __bool__(self) -> bool:
        return True

    def tobytes(self, offset: int = 8) -> bytes:  # noqa: ARG002
        return _EXIF_PREFIX + self._contents


def _encode(image: DecodedImage, options: Mapping[str, Any]) -> bytes | None:
    """Encode with Pillow, and set the source's colour codes, for which Pillow has no option."""
    exif, contents = image.metadata.exif, BytesIO()
    image_of(image).save(contents, "AVIF", **options, exif=_ExactExif(exif) if exif else None)
    written = contents.getvalue()
    if isinstance(image.traits, AvifTraits) and (colour := image.traits.colour) and not image.metadata.icc:
        before, found, after = written.partition(_COLOUR_BOX)
        assert found
        codes = colour.primaries.to_bytes(2, "big") + colour.transfer.to_bytes(2, "big")
        written = before + found + codes + after[4:]
    return written


def _explain(stream: BinaryIO) -> UnsupportedImageError | None:
    stream.seek(4)
    header = stream.read(8)
    if header[:4] != b"ftyp" or header[4:] not in _BRANDS:
        return None
    if not features.check("avif"):
        return _missing()
    sizes = [
        contents for kind, contents in item_properties(stream) if kind == b"ispe" and len(contents) == 12
    ]
    if any(math.prod(struct.unpack(">4x2I", size)) > _MOST_PIXELS for size in sizes):
        return UnsupportedImageError(
            f"AVIF of more than {_MOST_PIXELS // 10**6} megapixels is not supported", "save it as TIFF"
        )
    return None


def _missing() -> UnsupportedImageError:
    return UnsupportedImageError("the installed Pillow was built without AVIF", "install one with AVIF")


FAMILY = Family(
    formats=(
        Format(
            "AVIF",
            "AVIF",
            (".avif",),
            kinds=frozenset({"L", "LA", "RGB", "RGBA"}),
            carries=frozenset({"icc", "exif", "xmp"}),
            longest_side=65_536,
        ),
    ),
    inspect=_inspect,
    options=_options,
    explain=_explain,
    bytes_per_sample=_bytes_per_sample,
    colours=_colours,
    decode=_decode,
    encode=_encode,
)
