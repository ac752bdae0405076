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
from tvdenoise.files.decoded import NODATA_TAG
from tvdenoise.formats.tiff.colour_maps import is_ramp
from tvdenoise.formats.tiff.directories import MALFORMED, ORIENTATION

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray


WHITE_IS_ZERO, BLACK_IS_ZERO, _RGB, PALETTE, SEPARATED = 0, 1, 2, 3, 5  # photometric interpretations
SEPARATE_PLANES = 2
#: Meanings of extra samples: a band, and alpha of two kinds.
BAND, PREMULTIPLIED_ALPHA, STRAIGHT_ALPHA = 0, 1, 2
ALPHAS = (PREMULTIPLIED_ALPHA, STRAIGHT_ALPHA)
#: Photometric interpretations to write, by the number of colours.
PHOTOMETRICS = {1: BLACK_IS_ZERO, 3: _RGB, 4: SEPARATED}
#: Pillow's names of the lossless compressions, and their numbers.
COMPRESSIONS = {
    "raw": 1, "tiff_lzw": 5, "tiff_adobe_deflate": 8, "packbits": 32773, "lzma": 34925, "zstd": 50000,
}  # fmt: skip
#: As `COMPRESSIONS`, those of 1-bit images alone.
FAX_COMPRESSIONS = {"tiff_ccitt": 2, "group3": 3, "group4": 4}
SAME_AS_DEFLATE = 32946  # its older number
_COLOURS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, _RGB: 3, PALETTE: 1, SEPARATED: 4}
_INK_SET, _CMYK = 332, 1
_NEW_SUBFILE_TYPE, _DNG_VERSION = 254, 50706
_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3  # sample formats
_TYPES = {
    (8, _UNSIGNED): "u1",
    (16, _UNSIGNED): "u2",
    (32, _UNSIGNED): "u4",
    (8, _SIGNED): "i1",
    (16, _SIGNED): "i2",
    (32, _SIGNED): "i4",
    (16, _FLOAT): "f2",
    (32, _FLOAT): "f4",
    (64, _FLOAT): "f8",
    **{(bits, _UNSIGNED): "u2" for bits in range(9, 16)},  # packed
}  # by bits and sample format
_PILLOWS = ("u1", "u2")  # types that Pillow decodes, at least some of their kinds
_OF_INKS = ("u1", "u2")
_SAMPLE_NAMES = {1: "integer", 2: "signed", 3: "float", 5: "complex", 6: "complex"}
_JPEGS = (6, 7)
_NO_PREDICTOR = 1


@dataclass(frozen=True)
class Samples:
    """The samples of a pixel.

    dtype: in the file's byte order; bits: of each stored sample, fewer than those of dtype if they are packed.
    colours: the number of samples but for alpha; photometric: TIFF's number; extra: meanings of the samples beyond
    those of the photometric interpretation: `BAND`, or alpha once; declares_missing: a tag gives a value for missing
    pixels.
    """

    dtype: np.dtype[Any]
    bits: int
    colours: int
    photometric: int
    extra: tuple[int, ...] = ()
    declares_missing: bool = False

    @property
    def count(self) -> int:
        return self.colours + self.has_alpha

    @property
    def has_alpha(self) -> bool:
        return self.alpha is not None

    @property
    def alpha(self) -> int | None:
        """The number of the sample that is alpha, or None."""
        return alpha_among(self.extra, _COLOURS[self.photometric])

    @property
    def is_premultiplied(self) -> bool:
        return PREMULTIPLIED_ALPHA in self.extra

    @property
    def in_bands(self) -> bool:
        """Whether the intensities are bands, not colours."""
        return BAND in self.extra

    @property
    def has_lut(self) -> bool:
        """Whether the intensities are indices of a LUT."""
        return self.photometric == PALETTE

    @property
    def is_packed(self) -> bool:
        return self.bits < 8 * self.dtype.itemsize

    @property
    def is_native(self) -> bool:
        """Whether other programs know little of these samples, so that their byte order is kept too."""
        return (
            self.in_bands
            or self.dtype.kind == "i"
            or self.dtype.itemsize >= (8 if self.dtype.kind == "f" else 4)
        )

    @property
    def white_is_zero(self) -> bool:
        """Whether zero is white, which is inverted or, by `keeps_white`, kept."""
        return self.photometric == WHITE_IS_ZERO

    @property
    def keeps_white(self) -> bool:
        """Whether zero is white and stays so: only unsigned integers that are made for display are inverted."""
        is_for_display = self.dtype.kind == "u" and not self.is_native and not self.declares_missing
        return self.white_is_zero and not is_for_display

    def row_bytes(self, columns: int, samples: int) -> int:
        """Return the bytes of a stored row of so many pixels with so many samples."""
        return -(-columns * samples * self.bits // 8)

    def intensities(self, values: NDArray[Any]) -> NDArray[Any]:
        """Extract the intensities from values (rows, columns, samples).

        Integers are inverted if zero is white, as Pillow inverts 8 bits, and written with black as zero.
        """
        colours = values if self.alpha is None else np.delete(values, self.alpha, axis=-1)
        intensities = np.ascontiguousarray(colours[..., 0] if self.colours == 1 else colours)
        if self.white_is_zero and not self.keeps_white:
            intensities = np.subtract((1 << self.bits) - 1, intensities, dtype=intensities.dtype)
        return intensities


def alpha_among(extra: tuple[int, ...], colours: int) -> int | None:
    """Return the number of the sample that is alpha, after so many colours; None if there is none."""
    return next((colours + place for place, meaning in enumerate(extra) if meaning in ALPHAS), None)


def known_samples(tags: ImageFileDirectory_v2) -> Samples | None:
    """Return the samples of a TIFF that tifffile can decode, whether or not Pillow can; None for others."""
    bits, formats = tags.get(BITSPERSAMPLE, (1,)), tags.get(SAMPLEFORMAT, (_UNSIGNED,))
    photometric = tags.get(PHOTOMETRIC_INTERPRETATION, WHITE_IS_ZERO)
    base, kind = _COLOURS.get(photometric), _TYPES.get((bits[0], formats[0]))
    if photometric == PALETTE and not is_ramp(tags):
        base = None
    if base is None or kind is None or len(set(bits)) > 1 or len(set(formats)) > 1:
        return None
    extra = _extra_of(tags, base, len(bits))
    if not tags.get(SAMPLESPERPIXEL, len(bits)) == base + len(extra) == len(bits):
        return None
    if tags.get(FILLORDER, 1) != 1 or tags.get(COMPRESSION, 1) not in _LOSSLESS:
        return None
    samples = Samples(
        np.dtype(("<" if tags.prefix == b"II" else ">") + kind),
        bits[0],
        base + extra.count(BAND),
        photometric,
        extra,
        declares_missing=NODATA_TAG in tags,
    )
    return samples if _is_supported(samples, tags) else None


def _is_supported(samples: Samples, tags: ImageFileDirectory_v2) -> bool:
    """Return whether samples of a known type are supported in this combination."""
    alphas = [meaning for meaning in samples.extra if meaning in ALPHAS]
    if len(alphas) > 1 or len(alphas) + samples.extra.count(BAND) < len(samples.extra):
        return False
    is_of_inks = samples.dtype.str[1:] in _OF_INKS and tags.get(_INK_SET, _CMYK) == _CMYK
    if samples.photometric == SEPARATED and (samples.in_bands or not is_of_inks):
        return False
    if samples.is_packed and (alphas or tags.get(_PREDICTOR, _NO_PREDICTOR) != _NO_PREDICTOR):
        return False
    return not (samples.is_premultiplied and samples.dtype.kind == "i")


_PREDICTOR = 317
_LOSSLESS = (*COMPRESSIONS.values(), SAME_AS_DEFLATE)


def _extra_of(tags: ImageFileDirectory_v2, base: int, count: int) -> tuple[int, ...]:
    """Return the meanings of extra samples; of grey, those that the file does not explain are bands."""
    extra: tuple[int, ...] = tags.get(EXTRASAMPLES, ())
    if not extra and base == 1:
        return (BAND,) * (count - base)
    return extra


def deep_samples(tags: ImageFileDirectory_v2) -> Samples | None:
    """Return samples that Pillow decodes wrongly or not at all; None for those that it decodes, or that nobody does.

    At 8 bits, Pillow does not support CMYK with alpha, or grey with alpha if zero is white, and misreads grey with
    alpha in separate planes. At 16 bits it keeps only grey, and does not invert it. It reads compressed big-endian
    floats in the wrong byte order, knows few other types, drops bands, loses precision where alpha is premultiplied,
    and reads LUTs as colours.
    """
    if (samples := known_samples(tags)) is None:
        return None
    if samples.dtype.str[1:] not in _PILLOWS or samples.is_packed:
        return samples
    if samples.in_bands or samples.is_premultiplied or samples.keeps_white or samples.has_lut:
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


_LOSSLESSLY = "save it with LZW or deflate"


def check_samples(opened: TiffImageFile) -> None:
    """Refuse samples that Pillow truncates to 8 bits, reinterprets or drops."""
    tags = opened.tag_v2
    if (refusal := _refusal(tags)) is not None:
        raise refusal
    bits, formats = tags.get(BITSPERSAMPLE, (1,)), set(tags.get(SAMPLEFORMAT, (_UNSIGNED,)))
    if formats == {_FLOAT}:
        raise UnsupportedImageError("this kind of float TIFF is not supported", "save it without compression")
    if tags.get(PLANAR_CONFIGURATION) == SEPARATE_PLANES and opened.mode == "LA":
        raise UnsupportedImageError(
            "TIFF with a separate alpha plane is not supported with this compression", _LOSSLESSLY
        )
    if formats - {_UNSIGNED} or (opened.mode in _INTEGER_MODES and bits[0] != 16):
        kind = "signed" if formats - {_UNSIGNED} else f"{bits[0]}-bit"
        raise UnsupportedImageError(f"this kind of {kind} TIFF is not supported", _LOSSLESSLY)
    if max(bits) > 8 and len(bits) > 1:
        raise UnsupportedImageError(
            f"this kind of {max(bits)}-bit colour TIFF is not supported", "convert it to plain RGB first"
        )


_INTEGER_MODES = ("I", "I;16")  # of Pillow


def _refusal(tags: Mapping[int, Any]) -> UnsupportedImageError | None:
    """Return why a TIFF with these tags is refused, whether or not Pillow opens it; else None."""
    if (found := _refusal_of_extra(tags)) is not None:
        return found
    if tags.get(_INK_SET, _CMYK) != _CMYK:
        return UnsupportedImageError("TIFF with inks other than CMYK is not supported", "convert it to CMYK")
    bits = tags.get(BITSPERSAMPLE, (1,))
    if tags.get(COMPRESSION) in _JPEGS and max(bits) > 8:
        reason = f"{max(bits)}-bit JPEG compression in TIFF is not supported"
        return UnsupportedImageError(reason, _LOSSLESSLY)
    return None


def _refusal_of_extra(tags: Mapping[int, Any]) -> UnsupportedImageError | None:
    """Return why a TIFF is refused that has extra samples of a kind that Pillow drops or converts; else None."""
    extra = tags.get(EXTRASAMPLES, ())
    if sum(meaning in ALPHAS for meaning in extra) > 1:
        return UnsupportedImageError("TIFF with several alpha channels is not supported", "save it with one")
    if BAND in extra and tags.get(PHOTOMETRIC_INTERPRETATION) == SEPARATED:
        reason = "TIFF with inks other than CMYK is not supported"
        return UnsupportedImageError(reason, "save it without them")
    for meaning, what, remedy in (
        (PREMULTIPLIED_ALPHA, "premultiplied alpha", "save it with straight alpha"),
        (BAND, "extra bands", "save all bands in one type"),
    ):
        if meaning not in extra:
            continue
        if tags.get(COMPRESSION, 1) not in _LOSSLESS:
            reason = f"TIFF with {what} is not supported with this compression"
            return UnsupportedImageError(reason, _LOSSLESSLY)
        return UnsupportedImageError(f"this kind of TIFF with {what} is not supported", remedy)
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
            compression = tags.get(COMPRESSION, 1)
            refusal = _refusal(tags)
    except MALFORMED:
        return None
    if refusal is not None:
        return refusal
    kind = _SAMPLE_NAMES.get(formats[0], "other")
    what = "colour TIFF" if len(bits) > 1 else "TIFF"
    reason = f"{max(bits)}-bit {kind} {what} is not supported"
    if (max(bits), formats[0]) not in _TYPES:
        remedies = {"integer": "32-bit integers or floats", "signed": "32-bit integers or floats"}
        return UnsupportedImageError(reason, f"save it as {remedies.get(kind, '32-bit or 64-bit floats')}")
    if compression not in _LOSSLESS:
        return UnsupportedImageError(f"{reason} with this compression", _LOSSLESSLY)
    return UnsupportedImageError(f"this kind of {reason}", "convert it to plain grey, RGB or CMYK first")


_BIG, BIG_AND_BIG_ENDIAN = b"II+\0", b"MM\0+"
_HEADERS = (b"II*\0", b"MM\0*", _BIG, BIG_AND_BIG_ENDIAN)
_HEADER_LENGTH = 16


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
    """A TIFF with any kind of samples, of which only the tags are read: Pillow is made to assume 8 bits, and grey for
    bands."""

    def _setup(self) -> None:
        tags = self.tag_v2
        pretended = _pretended(tags)
        stored = {tag: tags[tag] for tag in pretended if tag in tags}
        try:
            for tag, value in pretended.items():
                if value is None:
                    del tags[tag]
                else:
                    tags[tag] = value
            super()._setup()  # type: ignore[no-untyped-call,unused-ignore]
        finally:
            for tag in pretended:
                del tags[tag]
            for tag, value in stored.items():
                tags[tag] = value


def _pretended(tags: ImageFileDirectory_v2) -> dict[int, Any]:
    """Return the tags that make Pillow open a file, None for those to leave out."""
    photometric, extra = tags.get(PHOTOMETRIC_INTERPRETATION), tags.get(EXTRASAMPLES, ())
    count, has_alpha = len(tags.get(BITSPERSAMPLE, (1,))), any(meaning in ALPHAS for meaning in extra)
    if BAND in extra or (photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO) and count > 1 and not extra):
        photometric, count = BLACK_IS_ZERO, 1 + has_alpha
    shown: int | None = None
    if has_alpha:
        shown = BAND if photometric == SEPARATED else STRAIGHT_ALPHA
    return {
        BITSPERSAMPLE: (8,) * count,
        SAMPLESPERPIXEL: count,
        SAMPLEFORMAT: (_UNSIGNED,),
        PLANAR_CONFIGURATION: 1,
        PHOTOMETRIC_INTERPRETATION: BLACK_IS_ZERO if photometric in (WHITE_IS_ZERO, PALETTE) else photometric,
        EXTRASAMPLES: None if shown is None else (shown,),
    }


def open_tiff(stream: BinaryIO) -> TiffImageFile | None:
    """Open a TIFF that Pillow does not open; None if its samples are unknown here too."""
    stream.seek(0)
    header = stream.read(_HEADER_LENGTH)
    if not header.startswith(_HEADERS):
        return None
    if header.startswith(BIG_AND_BIG_ENDIAN) and (opened := _opened(stream, BigEndianBigTiff)) is not None:
        return without_lut(opened, stream)
    opened = _opened(stream, DeepTiff)
    return opened if opened is not None and deep_samples(opened.tag_v2) is not None else None


def open_any_tiff(stream: BinaryIO) -> TiffImageFile | None:
    """Open a TIFF with any kind of samples, to read its tags; None if it is malformed."""
    return _opened(stream, DeepTiff)


def without_lut(opened: TiffImageFile, stream: BinaryIO) -> TiffImageFile:
    """Reopen a TIFF with a LUT as grey."""
    samples = known_samples(opened.tag_v2)
    if samples is None or not samples.has_lut:
        return opened
    stream.seek(0)
    return DeepTiff(stream)  # type: ignore[no-untyped-call,unused-ignore]


def _opened(stream: BinaryIO, kind: type[TiffImageFile]) -> TiffImageFile | None:
    stream.seek(0)
    try:
        return kind(stream)  # type: ignore[no-untyped-call,unused-ignore]
    except MALFORMED:
        return None
