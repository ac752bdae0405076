"""Writing a picture that is read in parts, part by part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from tvdenoise.errors import UnsupportedImageError, UnwritableImageError
from tvdenoise.files.atomic import write_atomically
from tvdenoise.files.families import FAMILIES
from tvdenoise.files.families.tiff_tags import MALFORMED
from tvdenoise.files.formats import Format
from tvdenoise.files.large import LargePicture
from tvdenoise.files.picture import Picture
from tvdenoise.files.process_wide import PILLOW_SETTINGS
from tvdenoise.files.regions import Window
from tvdenoise.files.rounding import stored
from tvdenoise.files.writing import require_carried, require_readable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_AT_ONCE = 1 << 22  # values that are rounded and written at a time
#: Bytes, about, that writing takes for each of those: as denoised, rounded, with alpha, as differences, compressed.
_BYTES_A_VALUE = 24
MEMORY = _AT_ONCE * _BYTES_A_VALUE

Denoised = Callable[[Window], "NDArray[np.floating]"]


def require_large_carried(large: LargePicture, form: Format, remedy: str) -> None:
    """Raise UnsupportedImageError unless the format holds such pictures and is written in parts.

    remedy: how there would be memory for another one.
    """
    require_carried(large.pixel, form)
    if FAMILIES[form.codec].region_writer is None:
        raise UnsupportedImageError(
            f"it is denoised in parts, and {form.name} is written from the memory",
            f"write a TIFF, or {remedy}",
        )


@dataclass(frozen=True, eq=False)
class LargeWriter:
    """Writes a large picture in a format.

    pixel: a picture of one pixel with what is to be written beside the pixels of the large one.
    denoised: gives the intensities in a window, as `Picture.with_denoised` takes them.
    tell: called with the part that is written, from 0 to 1.
    """

    large: LargePicture
    pixel: Picture
    form: Format
    denoised: Denoised
    tell: Callable[[float], None]

    def write_to(self, stream: BinaryIO) -> None:
        """To an empty stream that can be sought. Raises UnreadableImageError, UnwritableImageError and OSError."""
        family = FAMILIES[self.form.codec]
        assert family.region_writer is not None
        try:
            with PILLOW_SETTINGS:
                options = family.options(self.pixel, None)
                tile = self.large.regions.tile
                writer = family.region_writer(self.pixel, options, self.large.shape, tile, stream)
                for window in writer.windows(_AT_ONCE):
                    writer.append(*self._written(window))
                    self.tell(window[0].stop / self.large.shape[0])
                writer.close()
        except MALFORMED as error:
            if isinstance(error, OSError) and error.errno:  # of the disk
                raise
            raise UnwritableImageError(
                f"cannot encode it as {self.form.name}: {error}", "choose another format with -o"
            ) from error

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
