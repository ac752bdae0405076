"""A decoded image: its intensities, and the alpha and metadata that must be kept unchanged."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


_BAND = 1 << 17  # values rounded at a time, so that they stay in the processor's cache


def stored(denoised: NDArray[np.floating], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Convert intensities to a dtype: [0, 1] to integers, rounded half to even and clipped; floats clipped to range."""
    if dtype.kind == "f":
        limit = np.finfo(dtype).max  # half precision overflows to infinity beyond it
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
    """Return a copy in which each invisible pixel has the intensities of the nearest visible one.

    Without a visible pixel, returns the intensities themselves.
    """
    if not visible.any():
        return intensities
    from scipy.ndimage import distance_transform_edt

    nearest = np.asarray(distance_transform_edt(~visible, return_distances=False, return_indices=True))
    filled: NDArray[Any] = intensities[nearest[0], nearest[1]]
    return filled


_RECORD = re.compile(r"tvdenoise [0-9][^;\s]*; mu=[^;\s]+; epsilon=[^;\s]+(?:; [a-z_]+=[^;\s]+)*")
_SEPARATOR = " | "  # between other programs' text and the record


def record_in(text: str) -> str | None:
    """Return the record in a text, or None."""
    found = _RECORD.search(text)
    return found[0] if found else None


def without_record(text: str) -> str:
    """Return a text without the record in it."""
    return _SEPARATOR.join(part for part in text.split(_SEPARATOR) if part and not _RECORD.fullmatch(part))


def with_record(text: str, record: str) -> str:
    """Append a record to a text, in place of an earlier one."""
    return _SEPARATOR.join(filter(None, (without_record(text), record)))


# The supported kinds of pixels, named after Pillow's modes where it has one.
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

StoredTag = tuple[int, bytes]  # type of a tag, and its values in little-endian order


@dataclass(frozen=True)
class Metadata:
    """Metadata that several formats share.

    icc, exif, xmp: as stored, exif without the "Exif" prefix; dpi: horizontal and vertical dots per inch;
    text: pairs of keyword and text; tags: tags by number that only TIFF can hold.
    record: the line that says how the image was denoised (see `record_in`).
    elsewhere: notes about what only this codec keeps (in traits), shown when another format is written.
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
        """The names of the fields that are not empty."""
        return frozenset(name for name, value in vars(self).items() if value)


@dataclass(frozen=True, eq=False)
class DecodedImage:
    """A decoded image.

    intensities: (rows, columns), (rows, columns, 3) for RGB, or (rows, columns, 4) for CMYK (integers, 0 for no ink);
    uint8, uint16, float16 or float32 as stored.
    alpha: (rows, columns), of the same dtype, or None.
    codec: Pillow's name of the file's format.
    traits: codec-specific data, kept for writing the same codec.
    notes: sentences about what will not be written as it was read.
    """

    intensities: NDArray[Any]
    alpha: NDArray[Any] | None = None
    codec: str = "PNG"
    metadata: Metadata = field(default_factory=Metadata)
    traits: object = None
    notes: tuple[str, ...] = ()

    @property
    def channels(self) -> int:
        """1 for grey, 3 for RGB, 4 for CMYK; alpha is not counted."""
        return self.intensities.shape[2] if self.has_channel_axis else 1

    @property
    def has_channel_axis(self) -> bool:
        return self.intensities.ndim == 3

    @property
    def is_float(self) -> bool:
        return self.intensities.dtype.kind == "f"

    @property
    def kind(self) -> str:
        """The kind of its pixels, a key of ``PIXEL_KINDS``."""
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
        """The number of visible pixels that are NaN in any channel."""
        if not self.is_float:
            return 0
        missing = np.isnan(self.intensities)
        missing = missing.any(axis=-1) if self.has_channel_axis else missing
        return int(np.count_nonzero(missing if self.alpha is None else missing & (self.alpha > 0)))

    @property
    def visible(self) -> NDArray[np.bool_] | None:
        """Mask of the pixels with alpha above zero, or None if all are visible."""
        if self.alpha is None or (visible := self.alpha > 0).all():
            return None
        return visible

    def noisy(self) -> NDArray[Any]:
        """Return the intensities to denoise, with invisible pixels filled from the nearest visible ones."""
        return self.intensities if self.visible is None else fill_hidden(self.intensities, self.visible)

    def with_denoised(self, denoised: NDArray[np.floating]) -> DecodedImage:
        """Return the image with other intensities, in [0, 1] (float images: in their own units).

        Integers are rounded half to even and clipped. Invisible pixels keep their values.
        """
        intensities = stored(denoised, self.intensities.dtype)
        if self.visible is not None:
            hidden = ~self.visible
            intensities[hidden] = self.intensities[hidden]
        return replace(self, intensities=intensities)
