"""The samples of a TIFF that are decoded here, as Pillow cuts them, reads them wrongly or does not know them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
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

from tvdenoise.formats.tiff_compression import DECOMPRESS

if TYPE_CHECKING:
    from numpy.typing import NDArray


WHITE_IS_ZERO, BLACK_IS_ZERO, _RGB, SEPARATED = 0, 1, 2, 5  # photometric interpretations
INK_SET, CMYK = 332, 1
STRAIGHT_ALPHA = 2
SEPARATE_PLANES = 2
_COLOURS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, _RGB: 3, SEPARATED: 4}
PHOTOMETRICS = {1: BLACK_IS_ZERO, 3: _RGB, 4: SEPARATED}  # by the number of colours, to write
_TYPES = {(8, 1): "u1", (16, 1): "u2", (16, 3): "f2", (32, 3): "f4"}  # by bits and sample format


@dataclass(frozen=True)
class Samples:
    """dtype: in the byte order of the file; colours: 1, 3 or 4; white_is_zero: of grey alone."""

    dtype: np.dtype[Any]
    colours: int
    has_alpha: bool
    white_is_zero: bool = False

    @property
    def count(self) -> int:
        return self.colours + self.has_alpha

    def intensities(self, values: NDArray[Any]) -> NDArray[Any]:
        """Those in values (rows, columns, samples).

        Integers of which zero is white are inverted, as Pillow inverts those of 8 bits, and so are written with
        zero for black. Floats have no white to be inverted at, and stay what they are.
        """
        intensities = np.ascontiguousarray(
            values[..., 0] if self.colours == 1 else values[..., : self.colours]
        )
        if self.white_is_zero and intensities.dtype.kind == "u":
            np.invert(intensities, out=intensities)
        return intensities


def deep_samples(opened: TiffImageFile) -> Samples | None:
    """The samples of a TIFF that is decoded here; None for those that Pillow decodes, or nobody."""
    samples = _samples(opened.tag_v2)
    if samples is None or _left_to_pillow(samples, opened.tag_v2):
        return None
    return samples


def known_samples(opened: TiffImageFile) -> Samples | None:
    """The samples of a TIFF that can be decoded here, whether they are left to Pillow or not; None for others."""
    return _samples(opened.tag_v2)


def _samples(tags: ImageFileDirectory_v2) -> Samples | None:
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
    if tags.get(COMPRESSION, 1) not in DECOMPRESS:
        return None
    if photometric == SEPARATED and (kind.startswith("f") or tags.get(INK_SET, CMYK) != CMYK):
        return None
    order = "<" if tags.prefix == b"II" else ">"
    return Samples(np.dtype(order + kind), colours, bool(extra), photometric == WHITE_IS_ZERO)


def _left_to_pillow(samples: Samples, tags: ImageFileDirectory_v2) -> bool:
    """Whether Pillow reads them right.

    Of 8 bits it does not know CMYK with alpha, nor grey with alpha of which zero is white, and mistakes the alpha of
    grey in planes of its own; of 16 bits it keeps only grey, and does not invert it; big-endian floats that are
    compressed it reads in the wrong byte order.
    """
    if samples.dtype.kind == "f":
        return False
    if samples.dtype.itemsize > 1:
        return samples.count == 1 and not samples.white_is_zero
    is_separate = tags.get(PLANAR_CONFIGURATION) == SEPARATE_PLANES
    return samples.count < 5 and not (samples.count == 2 and (samples.white_is_zero or is_separate))
