"""Images too large for the memory, read from and written to their files in parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL import ImageFile

from tvdenoise.errors import UnsupportedImageError
from tvdenoise.files.atomic import write_atomically
from tvdenoise.files.decoded import DecodedImage, Metadata, stored
from tvdenoise.files.memory import MemoryBudget
from tvdenoise.files.opening import decoder_errors
from tvdenoise.files.pillow import PILLOW_SETTINGS, metadata_of
from tvdenoise.files.writing import encoder_errors, require_carried, require_readable
from tvdenoise.formats.family import Family, Format, Regions, Window, whole_only
from tvdenoise.formats.registry import FAMILIES

if TYPE_CHECKING:
    from numpy.typing import NDArray


_BAND = 1 << 23  # bytes that are looked through at a time
_MOST_FOR_READING = 0.25  # of the memory for a picture in parts


@dataclass(frozen=True, eq=False)
class LargeImage:
    """A picture in a file, whose stream has to stay open.

    pixel: a picture of one pixel with the kind, the metadata and the notices of the whole.
    needed: the bytes of memory that it would take to denoise it whole.
    """

    pixel: DecodedImage
    regions: Regions
    needed: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.regions.shape

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows."""
        rows, columns = self.shape
        return columns, rows

    @property
    def channels(self) -> int:
        """1 for grey, 3 for RGB, 4 for CMYK; alpha is none."""
        return self.regions.colours

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.regions.dtype

    @property
    def chunk(self) -> tuple[int, int]:
        """Rows and columns that are read together at no more cost than one of them."""
        return self.regions.tile or (self.regions.piece, self.shape[1])

    @property
    def metadata(self) -> Metadata:
        return self.pixel.metadata

    @property
    def bytes_stored(self) -> int:
        """Of all values, uncompressed."""
        samples = self.regions.colours + self.regions.has_alpha
        return self.shape[0] * self.shape[1] * samples * self.dtype.itemsize

    def read(self, window: Window) -> NDArray[Any]:
        """The intensities (rows, columns) or (rows, columns, channels) in a window, as stored.

        Raises UnreadableImageError.
        """
        return self.parts(window)[0]

    def parts(self, window: Window) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """The intensities and alpha in a window. Raises UnreadableImageError."""
        with decoder_errors(), PILLOW_SETTINGS:
            return self.regions.read(window)

    def bands(self, most: int = _BAND) -> Iterator[Window]:
        """Windows over all columns that follow each other, of whole pieces and about so many bytes."""
        rows, columns = self.shape
        height = max(1, most * rows // self.bytes_stored)
        if height > self.regions.piece:
            height -= height % self.regions.piece
        for top in range(0, rows, height):
            yield slice(top, min(top + height, rows)), slice(0, columns)

    def middle(self, side: int) -> DecodedImage:
        """A picture of its middle, of at most so many rows and columns. Raises UnreadableImageError."""
        starts = [max(0, (length - side) // 2) for length in self.shape]
        rows, columns = (
            slice(start, min(start + side, length)) for start, length in zip(starts, self.shape, strict=True)
        )
        intensities, alpha = self.parts((rows, columns))
        return replace(self.pixel, intensities=intensities, alpha=alpha)

    def require_sound(self, remedy: str, *, fills_missing: bool = False) -> None:
        """Raise UnsupportedImageError for values that are none, or need the whole picture; reads all of it, once.

        remedy: how there would be memory for the whole; fills_missing: NaN stands for missing pixels.
        """
        if self.dtype.kind != "f" and not self.regions.has_alpha:
            return
        for window in self.bands():
            intensities, alpha = self.parts(window)
            require_finite(intensities, may_have_nan=fills_missing)
            if fills_missing and self.dtype.kind == "f" and np.isnan(intensities).any():
                raise UnsupportedImageError("it is denoised in parts, where NaN cannot be filled", remedy)
            if alpha is None:
                continue
            require_finite_alpha(alpha)
            if not (alpha > 0).all():
                raise UnsupportedImageError(
                    "it is denoised in parts, and colours under full transparency need the whole image",
                    f"save it without full transparency, or {remedy}",
                )


def large_picture(
    opened: ImageFile.ImageFile, stream: BinaryIO, family: Family, budget: MemoryBudget, needed: int
) -> LargeImage:
    """The picture of an opened file, which would need more memory than a budget has.

    Raises UnsupportedImageError where it can only be decoded whole.
    """
    inspection = family.inspect(opened, stream)
    regions = family.regions(opened, stream)
    limit = budget.for_parts
    if regions is None or (limit is not None and regions.memory > _MOST_FOR_READING * limit):
        whole = "" if family.regions is whole_only else "; it is not stored in small strips or tiles"
        remedy = f"save it as a tiled TIFF, which can be denoised in parts, or {budget.remedy}"
        raise UnsupportedImageError(f"{budget.shortage(needed)}{whole}", remedy)
    metadata = metadata_of(opened, inspection)
    pixel = DecodedImage(*_pixel_of(regions), family.codec, metadata, inspection.traits, inspection.notices)
    return LargeImage(pixel, regions, needed)


def _pixel_of(regions: Regions) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Intensities and alpha of a picture of one black pixel, of the kind that the regions have."""
    colours = () if regions.colours == 1 else (regions.colours,)
    alpha = np.ones((1, 1), regions.dtype) if regions.has_alpha else None
    return np.zeros((1, 1, *colours), regions.dtype), alpha


def require_finite(intensities: NDArray[Any], *, may_have_nan: bool = False) -> None:
    """Raise UnsupportedImageError where any intensity is infinite or, unless allowed, NaN."""
    if intensities.dtype.kind != "f":
        return
    if np.isinf(intensities).any():
        raise UnsupportedImageError(
            "some values are not finite", "replace NaN and infinities by numbers first"
        )
    if not may_have_nan and np.isnan(intensities).any():
        raise UnsupportedImageError(
            "some values are not finite (NaN)", "replace them by numbers, or fill them with run --nan fill"
        )


def require_finite_alpha(alpha: NDArray[Any]) -> None:
    """The same of alpha, of which none can be filled."""
    if alpha.dtype.kind == "f" and not np.isfinite(alpha).all():
        raise UnsupportedImageError(
            "some values of its alpha are not finite", "replace NaN and infinities by numbers first"
        )


_AT_ONCE = 1 << 22  # values that are rounded and written at a time
#: Bytes, about, that writing takes for each of those: as denoised, rounded, with alpha, as differences, compressed.
_BYTES_A_VALUE = 24
MEMORY = _AT_ONCE * _BYTES_A_VALUE

Denoised = Callable[[Window], "NDArray[np.floating]"]


def require_large_carried(large: LargeImage, form: Format, remedy: str) -> None:
    """Raise UnsupportedImageError unless the format holds such pictures and is written in parts.

    remedy: how there would be memory for another one.
    """
    require_carried(large.pixel, form)
    if FAMILIES[form.codec].region_writer is None:
        raise UnsupportedImageError(
            f"it is denoised in parts, and {form.name} can only be written whole",
            f"write a TIFF, or {remedy}",
        )


@dataclass(frozen=True, eq=False)
class LargeWriter:
    """Writes a large picture in a format.

    pixel: a picture of one pixel with what is to be written beside the pixels of the large one.
    denoised: gives the intensities in a window, as `DecodedImage.with_denoised` takes them.
    tell: called with the part that is written, from 0 to 1.
    """

    large: LargeImage
    pixel: DecodedImage
    form: Format
    denoised: Denoised
    tell: Callable[[float], None]

    def write_to(self, stream: BinaryIO) -> None:
        """To an empty stream that can be sought. Raises UnreadableImageError, UnwritableImageError and OSError."""
        family = FAMILIES[self.form.codec]
        assert family.region_writer is not None
        with encoder_errors(self.form), PILLOW_SETTINGS:
            options = family.options(self.pixel, None)
            tile = self.large.regions.tile
            writer = family.region_writer(self.pixel, options, self.large.shape, tile, stream)
            for window in writer.windows(_AT_ONCE):
                writer.append(*self._written(window))
                self.tell(window[0].stop / self.large.shape[0])
            writer.close()

    def _written(self, window: Window) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """Intensities and alpha in a window, as they are stored."""
        alpha = self.large.parts(window)[1] if self.large.regions.has_alpha else None
        return stored(self.denoised(window), self.large.dtype), alpha

    def write(
        self,
        target: Path,
        *,
        before: Callable[[Path], None] | None = None,
        times: tuple[int, int] | None = None,
    ) -> None:
        """Into a target's place, once all is on the disk; see `writing.write`."""

        def verify(written: Path) -> None:
            require_readable(written, self.pixel, self.form, size=self.large.size)
            if before is not None:
                before(written)

        write_atomically(target, self.write_to, verify, times)
