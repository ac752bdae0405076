"""The residual of a solve as an image: input minus result around mid grey, which reveals removed structure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tvdenoise.files.decoded import DecodedImage, Metadata
from tvdenoise.files.paths import printable
from tvdenoise.files.writing import without_metadata, write
from tvdenoise.formats.registry import format_named
from tvdenoise.pictures.screen import as_light

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


_NOTHING = 128  # the grey level of no change
_DEVIATIONS = 4  # standard deviations between mid grey and white, at least
_LARGEST_GAIN = 2.0**14  # a larger gain would show single-precision rounding
_BAND = 1 << 18  # values per batch of rows


def save_residual(
    image: DecodedImage, denoised: NDArray[np.floating], white: float, name: str, target: Path
) -> float:
    """Write the residual as an 8-bit PNG and return the gain; raises as `files.writing.write`.

    denoised: the solution before rounding to the image's depth, in [0, 1] (float images: in their units).
    white: white level of float images; name: of the input, for the PNG's description.
    """
    residual, gain = residual_image(image, denoised, white)
    text = (
        f"What tvdenoise removed from {printable(name)}: input less result, before rounding, ×{gain:g}. "
        f"{_NOTHING} is nothing; a grey level is {1 / gain:g}/255 of the data range."
    )
    metadata = replace(residual.metadata, text=(("Description", text),))
    form = format_named("png")
    assert form is not None
    write(replace(residual, metadata=metadata), target, form)
    return gain


def residual_image(
    image: DecodedImage, denoised: NDArray[np.floating], white: float = 1.0
) -> tuple[DecodedImage, float]:
    """Input minus result as an 8-bit image, and its gain: the largest power of two with which 4 standard deviations
    fit between mid grey and white, at most 2¹⁴.

    All channels share the gain. Invisible pixels show no change; inks are converted to light.
    """
    squares, count = 0.0, 0
    for _, difference in _differences(image, denoised, white):
        squares += float(np.sum(np.square(difference, dtype=np.float64)))
        count += difference.size
    gain = _gain(math.sqrt(squares / count))
    rows, columns = image.intensities.shape[:2]
    shape = (rows, columns) if image.channels == 1 else (rows, columns, 3)
    shown = np.empty(shape, np.uint8)
    for band, difference in _differences(image, denoised, white):
        shown[band] = np.clip(np.rint(difference * np.float32(gain * 255) + _NOTHING), 0, 255)
    orientation = without_metadata(replace(image, traits=None)).metadata.exif
    return DecodedImage(shown, metadata=Metadata(exif=orientation)), gain


def _differences(
    image: DecodedImage, denoised: NDArray[np.floating], white: float
) -> Iterator[tuple[slice, NDArray[np.floating]]]:
    """Yield bands of rows and their residuals, in data ranges."""
    intensities, visible = image.intensities, image.visible
    whites = (white, white) if image.is_float else (float(np.iinfo(intensities.dtype).max), 1.0)
    height = max(1, _BAND * len(intensities) // intensities.size)
    for top in range(0, len(intensities), height):
        band = slice(top, min(top + height, len(intensities)))
        difference = as_light(intensities[band], whites[0]) - as_light(denoised[band], whites[1])
        if visible is not None:
            difference[~visible[band]] = 0
        yield band, difference


def _gain(deviation: float) -> float:
    """The gain for a standard deviation: a power of two."""
    if deviation == 0:
        return 1.0
    return min(2.0 ** math.floor(math.log2(0.5 / (_DEVIATIONS * deviation))), _LARGEST_GAIN)
