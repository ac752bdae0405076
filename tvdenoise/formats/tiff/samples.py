"""Samples of a TIFF: those that tifffile decodes because Pillow truncates, misreads or does not know them, and those
that are refused; and opening the files that Pillow does not open.

tifffile alone would not do: it decodes more kinds than are supported, without warning when it reinterprets them.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    COMPRESSION,
    EXTRASAMPLES,
    FILLORDER,
    PHOTOMETRIC_INTERPRETATION,
    PLANAR_CONFIGURATION,
    SAMPLEFORMAT,
    SAMPLESPERPIXEL,
    ImageFileDirectory_v2,
    TiffImageFile,
)

from tvdenoise.errors import UnsupportedImageError
from tvdenoise.formats.tiff.directories import MALFORMED, ORIENTATION

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray


WHITE_IS_ZERO, BLACK_IS_ZERO, _RGB, SEPARATED = 0, 1, 2, 5  # photometric interpretations
SEPARATE_PLANES = 2
STRAIGHT_ALPHA = 2
#: Photometric interpretations to write, by the number of colours.
PHOTOMETRICS = {1: BLACK_IS_ZERO, 3: _RGB, 4: SEPARATED}
#: Pillow's names of the lossless compressions, and their numbers.
COMPRESSIONS = {
    "raw": 1, "tiff_lzw": 5, "tiff_adobe_deflate": 8, "packbits": 32773, "lzma": 34925, "zstd": 50000,
}  # fmt: skip
SAME_AS_DEFLATE = 32946  # its older number
_COLOURS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, _RGB: 3, SEPARATED: 4}
_TYPES = {(8, 1): "u1", (16, 1): "u2", (16, 3): "f2", (32, 3): "f4"}  # by bits and sample format
_INK_SET, _CMYK = 332, 1
_NEW_SUBFILE_TYPE, _DNG_VERSION = 254, 50706
_UNSIGNED, _FLOAT = 1, 3
_SAMPLE_NAMES = {1: "integer", 2: "signed", 3: "float", 5: "complex", 6: "complex"}
_UNKNOWN_SAMPLE, _PREMULTIPLIED = 0, 1
_JPEGS = (6, 7)


@dataclass(frozen=True)
class Samples:
    """dtype: in the file's byte order; colours: 1, 3 or 4; white_is_zero: for grey only."""

    dtype: np.dtype[Any]
    colours: int
    has_alpha: bool
    white_is_zero: bool = False

    @property
    def count(self) -> int:
        return self.colours + self.has_alpha

    def intensities(self, values: NDArray[Any]) -> NDArray[Any]:
        """Extract the intensities from values (rows, columns, samples).

        Integers are inverted if zero is white, as Pillow inverts 8 bits, and written with black as zero. Floats are
        not, since they have no fixed white level.
        """
        intensities = np.ascontiguousarray(
            values[..., 0] if self.colours == 1 else values[..., : self.colours]
        )
        if self.white_is_zero and intensities.dtype.kind == "u":
            np.invert(intensities, out=intensities)
        return intensities


def known_samples(tags: ImageFileDirectory_v2) -> Samples | None:
    """Return the samples of a TIFF that tifffile can decode, whether or not Pillow can; None for others."""
    bits, formats = tags.get(BITSPERSAMPLE, (1,)), tags.get(SAMPLEFORMAT, (1,))
    photometric = tags.get(PHOTOMETRIC_INTERPRETATION, WHITE_IS_ZERO)
    extra, colours = tags.get(EXTRASAMPLES, ()), _COLOURS.get(photometric)
    kind = _TYPES.get((bits[0], formats[0]))
    if colours is None or kind is None or extra not in ((), (STRAIGHT_ALPHA,)):
        return None
    if len(set(bits)) > 1 or len(set(formats)) > 1 or tags.get(FILLORDER, 1) != 1:
        return None
    if not tags.get(SAMPLESPERPIXEL, len(bits)) == colours + len(extra) == len(bits):
        return None
    if tags.get(COMPRESSION, 1) not in (*COMPRESSIONS.values(), SAME_AS_DEFLATE):
        return None
    if photometric == SEPARATED and (kind.startswith("f") or tags.get(_INK_SET, _CMYK) != _CMYK):
        return None
    order = "<" if tags.prefix == b"II" else ">"
    return Samples(np.dtype(order + kind), colours, bool(extra), photometric == WHITE_IS_ZERO)


def deep_samples(tags: ImageFileDirectory_v2) -> Samples | None:
    """Return samples that Pillow decodes wrongly or not at all; None for those that it decodes, or that nobody does.

    At 8 bits, Pillow does not support CMYK with alpha, or grey with alpha if zero is white, and misreads grey with
    alpha in separate planes. At 16 bits it keeps only grey, and does not invert it. It reads compressed big-endian
    floats in the wrong byte order.
    """
    if (samples := known_samples(tags)) is None or samples.dtype.kind == "f":
        return samples
    is_grey_with_alpha = samples.count == 2
    if samples.dtype.itemsize > 1:
        pillow_decodes = samples.count == 1 and not samples.white_is_zero
    else:
        is_separate = tags.get(PLANAR_CONFIGURATION) == SEPARATE_PLANES
        pillow_decodes = samples.count < 5 and not (
            is_grey_with_alpha and (samples.white_is_zero or is_separate)
        )
    return None if pillow_decodes else samples


def require_no_preview(tags: Mapping[int, Any]) -> None:
    """Raise UnsupportedImageError if the first image is a preview of a raw image."""
    if _DNG_VERSION in tags or tags.get(_NEW_SUBFILE_TYPE, 0) & 1:
        raise UnsupportedImageError("the TIFF holds a preview of a raw image", "develop it to TIFF first")


def check_samples(opened: TiffImageFile) -> None:
    """Refuse samples that Pillow truncates to 8 bits, reinterprets or drops."""
    tags = opened.tag_v2
    if (refusal := _refusal(tags)) is not None:
        raise refusal
    bits, formats = tags.get(BITSPERSAMPLE, (1,)), set(tags.get(SAMPLEFORMAT, (_UNSIGNED,)))
    if formats == {_FLOAT}:
        raise UnsupportedImageError("this kind of float TIFF is not supported", "save it without compression")
    if formats - {_UNSIGNED}:
        raise UnsupportedImageError(
            "TIFF with signed samples is not supported", "convert to unsigned samples"
        )
    if tags.get(PLANAR_CONFIGURATION) == SEPARATE_PLANES and opened.mode == "LA":
        raise UnsupportedImageError(
            "TIFF with a separate alpha plane is not supported with this compression",
            "save it with LZW or deflate",
        )
    if opened.mode == "I;16" and bits[0] != 16:
        raise UnsupportedImageError(f"{bits[0]}-bit grey TIFF is not supported", "convert it to 16 bits")
    if max(bits) > 8 and len(bits) > 1:
        raise UnsupportedImageError(
            f"this kind of {max(bits)}-bit colour TIFF is not supported", "convert it to plain RGB first"
        )


def _refusal(tags: Mapping[int, Any]) -> UnsupportedImageError | None:
    """Return why a TIFF with these tags is refused, whether or not Pillow opens it; else None."""
    extra, bits = tags.get(EXTRASAMPLES, ()), tags.get(BITSPERSAMPLE, (1,))
    if _PREMULTIPLIED in extra:
        return UnsupportedImageError(
            "TIFF with premultiplied alpha is not supported", "save it with straight alpha"
        )
    if _UNKNOWN_SAMPLE in extra or len(extra) > 1:
        return UnsupportedImageError("TIFF with extra channels is not supported", "save it without them")
    if tags.get(_INK_SET, _CMYK) != _CMYK:
        return UnsupportedImageError("TIFF with inks other than CMYK is not supported", "convert it to CMYK")
    if tags.get(COMPRESSION) in _JPEGS and max(bits) > 8:
        return UnsupportedImageError(
            f"{max(bits)}-bit JPEG compression in TIFF is not supported", "save it with LZW or deflate"
        )
    return None


def explain(tags: ImageFileDirectory_v2 | None, stream: BinaryIO) -> UnsupportedImageError | None:
    """Explain why a TIFF with unknown samples is refused, given its unloaded directory; None for other files."""
    if tags is None:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            stream.seek(tags.next)
            tags.load(stream)
            bits, formats = tags[BITSPERSAMPLE], tags.get(SAMPLEFORMAT, (_UNSIGNED,))
            refusal = _refusal(tags)
    except MALFORMED:
        return None
    if refusal is not None:
        return refusal
    kind = _SAMPLE_NAMES.get(formats[0], "other")
    what = "colour TIFF" if len(bits) > 1 else "TIFF"
    if kind == "integer" and max(bits) in (8, 16):
        remedy = "convert it to plain grey, RGB or CMYK first"
        return UnsupportedImageError(f"this kind of {max(bits)}-bit {what} is not supported", remedy)
    is_float = kind == "float" and len(bits) <= 4
    remedy = "save it as 32-bit float" if is_float else "save it as 8-bit or 16-bit integers"
    return UnsupportedImageError(f"{max(bits)}-bit {kind} {what} is not supported", remedy)


_BIG, BIG_AND_BIG_ENDIAN = b"II+\0", b"MM\0+"
_HEADERS = (b"II*\0", b"MM\0*", _BIG, BIG_AND_BIG_ENDIAN)
_HEADER_LENGTH = 16
_UNKNOWN_SAMPLE = 0


def directory_of(header: bytes) -> ImageFileDirectory_v2 | None:
    """Return an unloaded directory for a file that begins with these 16 bytes; None if it is not a TIFF."""
    if not header.startswith(_HEADERS):
        return None
    if header.startswith(BIG_AND_BIG_ENDIAN):  # Pillow would take it for a classic TIFF
        return ImageFileDirectory_v2(_BIG + header[4:], prefix=b"MM")
    return ImageFileDirectory_v2(header if header.startswith(_BIG) else header[:8])


class BigEndianBigTiff(TiffImageFile):
    """A TIFF of any kind, including big-endian BigTIFF: replaces the directory that Pillow makes from the header."""

    @property
    def tag_v2(self) -> ImageFileDirectory_v2:  # type: ignore[override,unused-ignore]
        return self._directory

    @tag_v2.setter
    def tag_v2(self, _made: ImageFileDirectory_v2) -> None:
        assert self.fp is not None
        self.fp.seek(0)
        directory = directory_of(self.fp.read(_HEADER_LENGTH))
        if directory is None:
            raise SyntaxError("not a TIFF")
        self._directory = directory

    def getexif(self) -> Image.Exif:
        """Return only the orientation, which Pillow applies: it would read other tags as in a classic TIFF."""
        if self._exif is None:
            self._exif = Image.Exif()
            if ORIENTATION in self.tag_v2:
                self._exif[ORIENTATION] = self.tag_v2[ORIENTATION]
            self._exif._loaded = True
        return self._exif


class DeepTiff(BigEndianBigTiff):
    """A TIFF with any kind of samples, of which only the tags are read: Pillow is made to assume 8 bits."""

    def _setup(self) -> None:
        tags = self.tag_v2
        bits = (8,) * len(tags.get(BITSPERSAMPLE, (1,)))
        pretended: dict[int, Any] = {BITSPERSAMPLE: bits, SAMPLEFORMAT: (1,), PLANAR_CONFIGURATION: 1}
        if tags.get(PHOTOMETRIC_INTERPRETATION) == WHITE_IS_ZERO:
            pretended[PHOTOMETRIC_INTERPRETATION] = BLACK_IS_ZERO
        if tags.get(PHOTOMETRIC_INTERPRETATION) == SEPARATED and EXTRASAMPLES in tags:
            pretended[EXTRASAMPLES] = (_UNKNOWN_SAMPLE,)
        stored = {tag: tags[tag] for tag in pretended if tag in tags}
        try:
            for tag, value in pretended.items():
                tags[tag] = value
            super()._setup()  # type: ignore[no-untyped-call,unused-ignore]
        finally:
            for tag in pretended:
                del tags[tag]
            for tag, value in stored.items():
                tags[tag] = value


def open_tiff(stream: BinaryIO) -> TiffImageFile | None:
    """Open a TIFF that Pillow does not open; None if its samples are unknown here too."""
    stream.seek(0)
    header = stream.read(_HEADER_LENGTH)
    if not header.startswith(_HEADERS):
        return None
    if header.startswith(BIG_AND_BIG_ENDIAN) and (opened := _opened(stream, BigEndianBigTiff)) is not None:
        return opened
    opened = _opened(stream, DeepTiff)
    return opened if opened is not None and deep_samples(opened.tag_v2) is not None else None


def _opened(stream: BinaryIO, kind: type[TiffImageFile]) -> TiffImageFile | None:
    stream.seek(0)
    try:
        return kind(stream)  # type: ignore[no-untyped-call,unused-ignore]
    except MALFORMED:
        return None
