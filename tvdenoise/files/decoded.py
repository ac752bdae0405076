"""A decoded image: its intensities, and the alpha and metadata that must be kept unchanged."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tvdenoise.machine import on_bands
from tvdenoise.precision import precision_of

if TYPE_CHECKING:
    from numpy.typing import NDArray


_BAND = 1 << 17  # values rounded at a time, so that they stay in the processor's cache


def stored(denoised: NDArray[np.floating], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Convert results to a dtype: fractions of the largest integer to integers, rounded half to even and clipped.

    Floats are in their own units; finite ones are clipped to the range of the type. Computed in the precision that
    suits the type.
    """
    if dtype.kind == "f":
        limit = np.finfo(dtype).max  # half precision overflows to infinity beyond it
        clipped = np.where(np.isinf(denoised), denoised, np.clip(denoised, -limit, limit))
        converted: NDArray[Any] = clipped.astype(dtype)
        return converted
    limits = np.iinfo(dtype)
    working = precision_of(dtype)
    scale = working.type(limits.max)
    result = np.empty(denoised.shape, dtype)

    def convert(rows: slice) -> None:
        scaled = denoised[rows] * scale
        np.rint(scaled, out=scaled)
        result[rows] = np.clip(scaled, limits.min, limits.max, out=scaled)

    on_bands(convert, len(result), result.size)
    return result


_HALF = 0.5  # a step
_OFF = 1e-12  # the error of a sum, as a part of the largest value


def stored_with_sums(
    denoised: NDArray[np.floating], original: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Convert red, green and blue to the integer type of the original, keeping R + G + B of every pixel of it.

    denoised: (rows, columns, 3), in fractions of the largest value of the type. Its sums are those of the original but
        for rounding errors.
    The result has the integers that are nearest among those with the sum. Where a channel leaves the range of the type,
    it is clipped, and the others make up for it.
    Also returns where that happened, (rows, columns).
    """
    limits = np.iinfo(original.dtype)
    least, largest = float(limits.min), float(limits.max)
    result = np.empty(original.shape, original.dtype)
    leaves = np.empty(original.shape[:2], bool)
    height = max(1, _BAND * len(result) // result.size)
    for top in range(0, len(result), height):
        band = slice(top, top + height)
        values = np.multiply(np.moveaxis(denoised[band], -1, 0), largest, dtype=np.float64, order="C")
        sums = original[band].sum(axis=-1, dtype=np.int64)
        values += (sums - values.sum(axis=0)) / len(values)
        low, high = values.min(axis=0), values.max(axis=0)
        leaves[band] = (low < least - _HALF) | (high > largest + _HALF)
        is_out = (low < least) | (high > largest)
        values[:, is_out] = _within(values[:, is_out], sums[is_out], least, largest)
        result[band] = np.moveaxis(_rounded_with_sums(values, sums), 0, -1)
    return result, leaves


def _within(
    values: NDArray[np.float64], sums: NDArray[np.int64], least: float, largest: float
) -> NDArray[np.float64]:
    """Clip values (channels, pixels) to a range, and share what that changed in their sums among those with room."""
    values = np.clip(values, least, largest)
    for _ in values:
        lacking = sums - values.sum(axis=0)
        has_room = np.where(lacking > 0, values < largest, values > least)
        share = lacking / np.maximum(np.count_nonzero(has_room, axis=0), 1)
        values = np.where(np.abs(lacking) > _OFF * largest, values + share * has_room, values)
        values = np.clip(values, least, largest)
    return values


def _rounded_with_sums(values: NDArray[np.float64], sums: NDArray[np.int64]) -> NDArray[np.float64]:
    """Round values (channels, ...) to integers with these sums: where rounding misses one, change the least certain."""
    rounded = np.rint(values)
    lacking = sums - rounded.sum(axis=0)
    while (places := lacking.nonzero())[0].size:
        step = np.sign(lacking[places])
        nearest = np.argmax(step * (values[:, *places] - rounded[:, *places]), axis=0)
        rounded[nearest, *places] += step
        lacking[places] -= step
    return rounded


def white_of(dtype: np.dtype[Any]) -> float:
    """Return the white level of a type: 1 for floats, and the largest value of integers."""
    return 1.0 if dtype.kind == "f" else float(np.iinfo(dtype).max)


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


_RECORD = re.compile(
    r"tvdenoise [0-9][^;\s]*; (?:mu=[^;\s]+; epsilon=[^;\s]+|level=[^;\s]+|impulses=on)(?:; [a-z_]+=[^;\s]+)*"
)
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


_COLOURS = {1: "L", 3: "RGB", 4: "CMYK"}
_FLOAT_COLOURS = {1: "F", 3: "RGBF"}
_BANDS, _FLOAT_BANDS = "MULTI", "MULTIF"
_NAMES = {"L": "grey", "RGB": "colour", "CMYK": "CMYK", "F": "grey", "RGBF": "colour"}
_NAMES |= {_BANDS: "bands", _FLOAT_BANDS: "bands"}
#: The supported types of intensities: the end of the kind, and what users call it.
_TYPES = {
    "uint8": ("", "8-bit"),
    "uint16": (";16", "16-bit"),
    "int8": (";8S", "signed 8-bit"),
    "int16": (";16S", "signed 16-bit"),
    "uint32": (";32", "32-bit"),
    "int32": (";32S", "signed 32-bit"),
    "float16": (";16", "half-precision float"),
    "float32": ("", "float"),
    "float64": (";64", "double-precision float"),
}
_OF_INKS = ("uint8", "uint16")


def _pixel_kinds() -> dict[str, str]:
    """Return the supported kinds of pixels, named after Pillow's modes where it has one, and what users call them."""
    kinds = {}
    for dtype, (end, depth) in _TYPES.items():
        is_float = dtype.startswith("float")
        colours = _FLOAT_COLOURS.values() if is_float else _COLOURS.values()
        for name in (*colours, _FLOAT_BANDS if is_float else _BANDS):
            if name == "CMYK" and dtype not in _OF_INKS:
                continue
            kinds["I;16" if name + end == "L;16" else name + end] = f"{depth} {_NAMES[name]}"
            kinds[f"{name}A{end}"] = f"{depth} {_NAMES[name]} with alpha"
    return kinds


PIXEL_KINDS = _pixel_kinds()
#: GDAL's tag of TIFF for the value of missing pixels, a number as text.
NODATA_TAG = 42113
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


def nodata_in(tags: Mapping[int, StoredTag], dtype: np.dtype[Any]) -> float | None:
    """Return the value that TIFF tags declare as missing in intensities of a dtype; None if they declare no number."""
    _, contents = tags.get(NODATA_TAG, (0, b""))
    try:
        value = float(contents.rstrip(b"\0 ").decode("ascii"))
    except ValueError:
        return None
    if dtype.kind != "f":
        return value
    with np.errstate(over="ignore"):  # programs also write the lowest double in files of single precision
        return float(dtype.type(value))


def kind_of(dtype: np.dtype[Any], channels: int, *, has_alpha: bool, in_bands: bool = False) -> str:
    """Return the kind of pixels of a type, with 1, 3 or 4 colours or any number of bands, a key of ``PIXEL_KINDS``."""
    bands, colours = (_FLOAT_BANDS, _FLOAT_COLOURS) if dtype.kind == "f" else (_BANDS, _COLOURS)
    name = bands if in_bands else colours[channels]
    name += "A" if has_alpha else ""
    end, _ = _TYPES[dtype.name]
    return "I;16" if name + end == "L;16" else name + end


@dataclass(frozen=True, eq=False)
class DecodedImage:
    """A decoded image.

    intensities: (rows, columns), (rows, columns, 3) for RGB, or (rows, columns, 4) for CMYK (8 or 16 bits, 0 for no
    ink), or (rows, columns, bands) if in_bands; integers of 8 to 32 bits, or floats of 16 to 64, as stored.
    alpha: (rows, columns), of the same dtype, or None.
    codec: Pillow's name of the file's format.
    traits: codec-specific data, kept for writing the same codec.
    notes: sentences about what will not be written as it was read.
    in_bands: the last axis of intensities holds bands, each denoised by itself.
    is_premultiplied: intensities are multiplied by alpha, as they are stored.
    nodata: the value that the file declares as missing, rounded to the type of float intensities; NaN is possible,
        and so is a value that no pixel can have; None without a declaration.
    is_bilevel: its file has 1 bit per pixel; intensities are 0 and 255.
    """

    intensities: NDArray[Any]
    alpha: NDArray[Any] | None = None
    codec: str = "PNG"
    metadata: Metadata = field(default_factory=Metadata)
    traits: object = None
    notes: tuple[str, ...] = ()
    nodata: float | None = None
    in_bands: bool = False
    is_premultiplied: bool = False
    is_bilevel: bool = False

    @property
    def channels(self) -> int:
        """1 for grey, 3 for RGB, 4 for CMYK, or the number of bands; alpha is not counted."""
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
        has_alpha = self.alpha is not None
        return kind_of(self.intensities.dtype, self.channels, has_alpha=has_alpha, in_bands=self.in_bands)

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
        """Mask of the pixels with alpha above zero, or None if all are visible.

        Integers that exceed their alpha, although they are multiplied by it, do not count either.
        """
        if self.alpha is None:
            return None
        visible: NDArray[np.bool_] = self.alpha > 0
        if self.is_premultiplied and not self.is_float:
            exceeds = self.intensities > self._for_channels(self.alpha)
            visible &= ~(exceeds.any(axis=-1) if self.has_channel_axis else exceeds)
        return None if visible.all() else visible

    @property
    def opaque(self) -> NDArray[np.bool_] | None:
        """Mask of the pixels with full alpha, or None if all have it."""
        if self.alpha is None or (opaque := self.alpha >= white_of(self.alpha.dtype)).all():
            return None
        return opaque

    @property
    def weights(self) -> NDArray[np.floating] | None:
        """The weights of pixels whose noise grew as they were divided by alpha; None for equal weights.

        Invisible pixels have the weight 1, as they are filled.
        """
        if not self.is_premultiplied or self.opaque is None:
            return None
        weights: NDArray[np.floating] = np.square(self._cover)
        if self.visible is not None:
            weights[~self.visible] = 1
        return weights

    @property
    def telling(self) -> NDArray[np.bool_] | None:
        """Mask of the visible pixels that show the noise as it was recorded, or None for all."""
        opaque = self.opaque if self.is_premultiplied else None
        return opaque if opaque is not None and opaque.any() else self.visible

    @property
    def _cover(self) -> NDArray[np.floating]:
        """Alpha, from 0 to 1."""
        assert self.alpha is not None
        kind = precision_of(self.alpha.dtype).type
        cover: NDArray[np.floating] = np.clip(
            self.alpha.astype(kind) / kind(white_of(self.alpha.dtype)), 0, 1
        )
        return cover

    def _for_channels(self, values: NDArray[Any]) -> NDArray[Any]:
        return values[..., np.newaxis] if self.has_channel_axis else values

    def noisy(self) -> NDArray[Any]:
        """Return the intensities to denoise: divided by alpha if they are multiplied by it, and invisible pixels filled
        from the nearest visible ones."""
        values = self._divided() if self.is_premultiplied and self.opaque is not None else self.intensities
        return values if self.visible is None else fill_hidden(values, self.visible)

    def _divided(self) -> NDArray[Any]:
        """Return the visible intensities divided by alpha, in their type. Multiplied again, they are as stored."""
        dtype, cover = self.intensities.dtype, self._for_channels(self._cover)
        quotients = np.zeros(self.intensities.shape, cover.dtype)
        np.divide(self.intensities, cover, out=quotients, where=cover > 0)
        if not self.is_float:
            limits = np.iinfo(dtype)
            quotients = np.clip(np.rint(quotients), limits.min, limits.max)
        divided: NDArray[Any] = quotients.astype(dtype)
        return divided

    def straight(self) -> DecodedImage:
        """Return the image with intensities that are not multiplied by alpha; 0 where it is invisible."""
        if not self.is_premultiplied:
            return self
        values = self.intensities if self.opaque is None else self._divided()
        return replace(self, intensities=values, is_premultiplied=False)

    def separate(self) -> tuple[DecodedImage, ...]:
        """Return each band as a grey image with the alpha of all; other images alone."""
        if not self.in_bands:
            return (self,)
        return tuple(
            replace(self, intensities=np.ascontiguousarray(self.intensities[..., band]), in_bands=False)
            for band in range(self.channels)
        )

    def with_denoised(self, denoised: NDArray[np.floating]) -> DecodedImage:
        """Return the image with other intensities, as `stored` converts them. Invisible pixels keep their values.

        denoised: the result for `noisy`.
        """
        return self._with_visible(stored(self._covered(denoised), self.intensities.dtype))

    def with_denoised_chroma(self, denoised: NDArray[np.floating]) -> tuple[DecodedImage, int]:
        """The same for an RGB image whose R + G + B is kept; see `stored_with_sums`.

        Also returns the number of visible pixels where a channel was clipped.
        """
        if self.is_float:
            return self.with_denoised(denoised), 0
        intensities, leaves = stored_with_sums(self._covered(denoised), self.intensities)
        visible = self.visible
        count = np.count_nonzero(leaves if visible is None else leaves & visible)
        return self._with_visible(intensities), int(count)

    def _covered(self, denoised: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return the result for `noisy`, multiplied by alpha if the image is."""
        if self.is_premultiplied and self.opaque is not None:
            covered: NDArray[np.floating] = denoised * self._for_channels(self._cover)
            return covered
        return denoised

    def _with_visible(self, intensities: NDArray[Any]) -> DecodedImage:
        """Return the image with other intensities where it is visible."""
        if self.visible is not None:
            hidden = ~self.visible
            intensities[hidden] = self.intensities[hidden]
        return replace(self, intensities=intensities)


def below_one_another(values: NDArray[Any]) -> NDArray[Any]:
    """Return bands (rows, columns, bands), for display, as one grey image (bands × rows, columns)."""
    return np.concatenate(np.moveaxis(values, -1, 0))
