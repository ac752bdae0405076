"""Images too large for memory, which are read and written in parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL import ImageFile

from tvdenoise.errors import UnsupportedImageError
from tvdenoise.files.atomic import write_atomically
from tvdenoise.files.decoded import (
    DecodedImage,
    Metadata,
    nodata_in,
    stored,
    stored_with_sums,
    white_of,
)
from tvdenoise.files.memory import MemoryBudget
from tvdenoise.files.opening import decoder_errors
from tvdenoise.files.pillow import PILLOW_SETTINGS, metadata_of
from tvdenoise.files.writing import encoder_errors, require_carried, require_readable
from tvdenoise.formats.family import Family, Format, Regions, Window, nothing
from tvdenoise.formats.registry import FAMILIES

if TYPE_CHECKING:
    from numpy.typing import NDArray


_BAND = 1 << 23  # bytes checked at a time
_MOST_FOR_READING = 0.25  # of the memory available for denoising in parts


@dataclass(frozen=True, eq=False)
class LargeImage:
    """An image that stays in its file; the stream must stay open.

    pixel: a one-pixel image with the kind, metadata and notes of the whole.
    needed: bytes of memory that denoising it whole would take.
    band: the number of the only band that `read` returns, as grey; None for all.
    """

    pixel: DecodedImage
    regions: Regions
    needed: int
    band: int | None = None

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
        """1 for grey, 3 for RGB, 4 for CMYK, or the number of bands; alpha is not counted."""
        return self.regions.colours if self.band is None else 1

    def separate(self) -> tuple[LargeImage, ...]:
        """Return each band as a grey image; other images alone."""
        if not self.pixel.in_bands:
            return (self,)
        return tuple(replace(self, band=band) for band in range(self.regions.colours))

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.regions.dtype

    @property
    def chunk(self) -> tuple[int, int]:
        """Rows and columns of the smallest block that is read at once."""
        return self.regions.tile or (self.regions.block_rows, self.shape[1])

    @property
    def metadata(self) -> Metadata:
        return self.pixel.metadata

    @property
    def nodata(self) -> float | None:
        """See `DecodedImage.nodata`."""
        return self.pixel.nodata

    @property
    def bytes_stored(self) -> int:
        """Uncompressed size of all values, in bytes."""
        samples = self.regions.colours + self.regions.has_alpha
        return self.shape[0] * self.shape[1] * samples * self.dtype.itemsize

    def read(self, window: Window) -> NDArray[Any]:
        """Read the stored intensities, (rows, columns) or (rows, columns, channels), of a window.

        Raises UnreadableImageError.
        """
        intensities = self.parts(window)[0]
        return intensities if self.band is None else np.ascontiguousarray(intensities[..., self.band])

    def parts(self, window: Window) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """Read the intensities and alpha of a window. Raises UnreadableImageError."""
        with decoder_errors(), PILLOW_SETTINGS:
            return self.regions.read(window)

    def bands(self, most: int = _BAND) -> Iterator[Window]:
        """Yield consecutive full-width windows of about ``most`` bytes, aligned to the stored strips or tiles."""
        rows, columns = self.shape
        height = max(1, most * rows // self.bytes_stored)
        if height > self.regions.block_rows:
            height -= height % self.regions.block_rows
        for top in range(0, rows, height):
            yield slice(top, min(top + height, rows)), slice(0, columns)

    def middle(self, side: int) -> DecodedImage:
        """Read the central ``side`` × ``side`` pixels, or as many as there are. Raises UnreadableImageError."""
        starts = [max(0, (length - side) // 2) for length in self.shape]
        rows, columns = (
            slice(start, min(start + side, length)) for start, length in zip(starts, self.shape, strict=True)
        )
        intensities, alpha = self.parts((rows, columns))
        return replace(self.pixel, intensities=intensities, alpha=alpha)

    def require_sound(
        self, remedy: str, *, may_hold: tuple[float, ...] = (), fills_missing: bool = False
    ) -> None:
        """Read the image once; raise UnsupportedImageError for values that are not finite or need the whole image.

        remedy: how to get memory for the whole; may_hold: values to accept that are not finite; fills_missing: NaN
        stands for missing pixels.
        """
        if self.dtype.kind != "f" and not self.regions.has_alpha:
            return
        for window in self.bands():
            intensities, alpha = self.parts(window)
            require_finite(intensities, may_hold=may_hold, nodata=self.nodata)
            if fills_missing and self.dtype.kind == "f" and np.isnan(intensities).any():
                raise UnsupportedImageError("it is denoised in parts, where NaN cannot be filled", remedy)
            if alpha is None:
                continue
            require_finite_alpha(alpha)
            if self.pixel.is_premultiplied and (alpha < white_of(alpha.dtype)).any():
                raise UnsupportedImageError(
                    "it is denoised in parts, and premultiplied alpha needs the whole image",
                    f"save it with straight alpha, or {remedy}",
                )
            if not (alpha > 0).all():
                raise UnsupportedImageError(
                    "it is denoised in parts, and colours under full transparency need the whole image",
                    f"save it without full transparency, or {remedy}",
                )


def open_large(
    opened: ImageFile.ImageFile, stream: BinaryIO, family: Family, budget: MemoryBudget, needed: int
) -> LargeImage:
    """Return the image of an opened file that needs more memory than the budget.

    Raises UnsupportedImageError if it can only be decoded whole.
    """
    inspection = family.inspect(opened, stream)
    regions = family.regions(opened, stream)
    limit = budget.for_parts
    if regions is None or (limit is not None and regions.memory > _MOST_FOR_READING * limit):
        whole = "" if family.regions is nothing else "; it is not stored in small strips or tiles"
        remedy = f"save it as a tiled TIFF, which can be denoised in parts, or {budget.remedy}"
        raise UnsupportedImageError(f"{budget.shortage(needed)}{whole}", remedy)
    metadata = metadata_of(opened, inspection)
    pixel = DecodedImage(
        *_pixel_of(regions),
        family.codec,
        metadata,
        inspection.traits,
        inspection.notes,
        nodata_in(metadata.tags, regions.dtype),
        inspection.in_bands,
        inspection.is_premultiplied,
    )
    return LargeImage(pixel, regions, needed)


def _pixel_of(regions: Regions) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Return the intensities and alpha of one black pixel of the same kind."""
    colours = () if regions.colours == 1 else (regions.colours,)
    alpha = np.ones((1, 1), regions.dtype) if regions.has_alpha else None
    return np.zeros((1, 1, *colours), regions.dtype), alpha


def require_finite(
    intensities: NDArray[Any], *, may_hold: tuple[float, ...] = (), nodata: float | None = None
) -> None:
    """Raise UnsupportedImageError if any intensity is not finite, but for values to accept.

    may_hold: such values; nodata: the value that the file declares as missing.
    """
    if intensities.dtype.kind != "f" or np.isfinite(intensities).all():
        return
    accepted = may_hold if nodata is None else (*may_hold, nodata)
    infinite = [value for value in (np.inf, -np.inf) if value not in accepted]
    if np.isin(intensities, infinite).any():
        raise UnsupportedImageError(
            "some values are infinite",
            "replace them by numbers, or give one that means missing with --nodata",
        )
    if not any(np.isnan(value) for value in accepted) and np.isnan(intensities).any():
        raise UnsupportedImageError(
            "some values are not finite (NaN)",
            "replace them by numbers, or give --nan fill or --nan keep",
        )


def require_finite_alpha(alpha: NDArray[Any]) -> None:
    """Raise UnsupportedImageError if any alpha is infinite or NaN."""
    if alpha.dtype.kind == "f" and not np.isfinite(alpha).all():
        raise UnsupportedImageError(
            "some values of its alpha are not finite", "replace NaN and infinities by numbers first"
        )


_AT_ONCE = 1 << 22  # values rounded and written at a time

Denoised = Callable[[Window], "NDArray[np.floating]"]


def require_large_carried(large: LargeImage, form: Format, remedy: str) -> None:
    """Raise UnsupportedImageError unless the format holds this kind of image and can be written in parts.

    remedy: how to get memory for another format.
    """
    require_carried(large.pixel, form)
    if FAMILIES[form.codec].region_writer is None:
        raise UnsupportedImageError(
            f"it is denoised in parts, and {form.name} can only be written whole",
            f"write a TIFF, or {remedy}",
        )


@dataclass(frozen=True, eq=False)
class LargeWriter:
    """Writes a large image.

    pixel: a one-pixel image with the metadata to write.
    denoised: returns the intensities of a window, scaled as for `DecodedImage.with_denoised`.
    tell: called with the fraction written, from 0 to 1.
    clipped: if given, R + G + B is kept as by `DecodedImage.with_denoised_chroma`; called with the numbers of pixels
        where a channel was clipped.
    """

    large: LargeImage
    pixel: DecodedImage
    form: Format
    denoised: Denoised
    tell: Callable[[float], None]
    clipped: Callable[[int], None] | None = None

    def write_to(self, stream: BinaryIO) -> None:
        """Write to an empty seekable stream. Raises UnreadableImageError, UnwritableImageError and OSError."""
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
        """Return the intensities and alpha to store in a window."""
        denoised = self.denoised(window)
        if self.clipped is not None and self.large.dtype.kind != "f":
            original, alpha = self.large.parts(window)
            intensities, leaves = stored_with_sums(denoised, original)
            self.clipped(int(np.count_nonzero(leaves)))
            return intensities, alpha
        alpha = self.large.parts(window)[1] if self.large.regions.has_alpha else None
        return stored(denoised, self.large.dtype), alpha

    def write(
        self,
        target: Path,
        *,
        before: Callable[[Path], None] | None = None,
        times: tuple[int, int] | None = None,
    ) -> None:
        """Write a temporary file and replace the target with it; see `writing.write`."""

        def verify(written: Path) -> None:
            require_readable(written, self.pixel, self.form, size=self.large.size)
            if before is not None:
                before(written)

        write_atomically(target, self.write_to, verify, times)
