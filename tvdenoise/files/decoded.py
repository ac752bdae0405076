"""A decoded image file: its intensities, its orientation, and everything that must come through unchanged."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


_BAND = 1 << 17  # values that are rounded at a time, so that they stay in the processor's cache


def stored(denoised: NDArray[np.floating], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Intensities in [0, 1] as integers, rounded half to even and clipped; as floats those that the type can hold."""
    if dtype.kind == "f":
        limit = np.finfo(dtype).max  # beyond which half precision knows only infinity
        clipped: NDArray[Any] = np.clip(denoised, -limit, limit).astype(dtype)
        return clipped
    largest = np.float32(np.iinfo(dtype).max)
    result = np.empty(denoised.shape, dtype)
    height = max(1, _BAND * len(result) // result.size)
    for top in range(0, len(result), height):
        scaled = denoised[top : top + height] * largest
        np.rint(scaled, out=scaled)
        result[top : top + height] = np.clip(scaled, 0, largest, out=scaled)
    return result


def fill_hidden(intensities: NDArray[Any], visible: NDArray[np.bool_]) -> NDArray[Any]:
    """A copy whose invisible pixels hold the intensities of the nearest visible pixel.

    Without a visible pixel, the intensities as they are.
    """
    if not visible.any():
        return intensities
    from scipy.ndimage import distance_transform_edt

    nearest = np.asarray(distance_transform_edt(~visible, return_distances=False, return_indices=True))
    filled: NDArray[Any] = intensities[nearest[0], nearest[1]]
    return filled


_RECORD = re.compile(r"tvdenoise [0-9][^;\s]*; mu=[^;\s]+; epsilon=[^;\s]+(?:; [a-z_]+=[^;\s]+)*")
_SEPARATOR = " | "  # between what other programs left in the same place and the record


def record_in(text: str) -> str | None:
    """The record in a text, or None."""
    found = _RECORD.search(text)
    return found[0] if found else None


def without_record(text: str) -> str:
    """What else a text says."""
    return _SEPARATOR.join(part for part in text.split(_SEPARATOR) if part and not _RECORD.fullmatch(part))


def with_record(text: str, record: str) -> str:
    """The text and, after it, the record."""
    return _SEPARATOR.join(filter(None, (without_record(text), record)))


# The kinds of pixels that are carried, by the names that Pillow gives its modes where it has one.
PIXEL_KINDS = {
    "L": "8-bit grey",
    "LA": "8-bit grey with alpha",
    "RGB": "8-bit colour",
    "RGBA": "8-bit colour with alpha",
    "I;16": "16-bit grey",
    "LA;16": "16-bit grey with alpha",
    "RGB;16": "16-bit colour",
    "RGBA;16": "16-bit colour with alpha",
    "CMYK": "8-bit CMYK",
    "CMYKA": "8-bit CMYK with alpha",
    "CMYK;16": "16-bit CMYK",
    "CMYKA;16": "16-bit CMYK with alpha",
    "F": "float grey",
    "FA": "float grey with alpha",
    "RGBF": "float colour",
    "RGBFA": "float colour with alpha",
    "F;16": "half-precision float grey",
    "FA;16": "half-precision float grey with alpha",
    "RGBF;16": "half-precision float colour",
    "RGBFA;16": "half-precision float colour with alpha",
}
_COLOURS = {1: "L", 3: "RGB", 4: "CMYK"}
_FLOAT_COLOURS = {1: "F", 3: "RGBF"}

StoredTag = tuple[int, bytes]  # type of a tag, and its value as a little-endian TIFF has it


@dataclass(frozen=True)
class Metadata:
    """What a file says about its picture, in terms that several formats share.

    icc, exif, xmp: as stored, exif without the "Exif" prefix; dpi: horizontal and vertical dots per inch;
    text: keywords and their texts; tags: those of a TIFF that no other format has, by number.
    record: how the picture was denoised, a line as in `files.record`.
    elsewhere: sentences about what its codec keeps (in traits) and no other does, said where another one writes it.
    """

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    text: tuple[tuple[str, str], ...] = ()
    tags: Mapping[int, StoredTag] = field(default_factory=dict, hash=False)
    record: str | None = None
    elsewhere: tuple[str, ...] = ()

    @property
    def present(self) -> frozenset[str]:
        """The names of the fields that hold something."""
        return frozenset(name for name, value in vars(self).items() if value)


@dataclass(frozen=True, eq=False)
class DecodedImage:
    """A decoded image.

    intensities: (rows, columns), or (rows, columns, 3) for RGB and 4 for CMYK (integers, of which 0 is no ink);
    uint8, uint16, float16 or float32 as stored.
    alpha: (rows, columns), of the same type, or None.
    codec: the name of the file's format in Pillow.
    traits: what only that codec understands, kept for the way back into it.
    notices: sentences about what is not written as it was read.
    """

    intensities: NDArray[Any]
    alpha: NDArray[Any] | None = None
    codec: str = "PNG"
    metadata: Metadata = field(default_factory=Metadata)
    traits: object = None
    notices: tuple[str, ...] = ()

    @property
    def channels(self) -> int:
        """1 for grey, 3 for RGB, 4 for CMYK; alpha is none."""
        return self.intensities.shape[2] if self.has_channel_axis else 1

    @property
    def has_channel_axis(self) -> bool:
        return self.intensities.ndim == 3

    @property
    def is_float(self) -> bool:
        return self.intensities.dtype.kind == "f"

    @property
    def kind(self) -> str:
        """The kind of its pixels, one of ``PIXEL_KINDS``."""
        name = (_FLOAT_COLOURS if self.is_float else _COLOURS)[self.channels]
        name += "A" if self.alpha is not None else ""
        if self.intensities.dtype in (np.uint16, np.float16):
            return "I;16" if name == "L" else f"{name};16"
        return name

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows."""
        rows, columns = self.intensities.shape[:2]
        return columns, rows

    @property
    def missing(self) -> int:
        """How many visible pixels are NaN in any channel."""
        if not self.is_float:
            return 0
        missing = np.isnan(self.intensities)
        missing = missing.any(axis=-1) if self.has_channel_axis else missing
        return int(np.count_nonzero(missing if self.alpha is None else missing & (self.alpha > 0)))

    @property
    def visible(self) -> NDArray[np.bool_] | None:
        """Where alpha is above zero, or None where every pixel is."""
        if self.alpha is None or (visible := self.alpha > 0).all():
            return None
        return visible

    def noisy(self) -> NDArray[Any]:
        """The intensities to denoise, invisible ones replaced by the nearest visible ones."""
        return self.intensities if self.visible is None else fill_hidden(self.intensities, self.visible)

    def with_denoised(self, denoised: NDArray[np.floating]) -> DecodedImage:
        """The same picture with other intensities, in [0, 1] (float pictures: in their own units).

        Integers are rounded half to even and clipped. Invisible pixels keep what they hold.
        """
        intensities = stored(denoised, self.intensities.dtype)
        if self.visible is not None:
            hidden = ~self.visible
            intensities[hidden] = self.intensities[hidden]
        return replace(self, intensities=intensities)
