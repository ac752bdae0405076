"""A volume that is too large for the memory: its planes, decoded once, in a file without a name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from tvdenoise.errors import UnsupportedImageError
from tvdenoise.files.volume import in_order

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tvdenoise.files.picture import Picture
    from tvdenoise.files.stack import Stack

Window = tuple[slice, ...]


@dataclass(frozen=True, eq=False)
class VolumeFile:
    """Planes as stored, one after the other.

    shape: (planes, rows, columns); channels, dtype: of what is read. It is read, not mapped: mapped pages count as
    memory.
    notices: those of the pictures.
    """

    file: BinaryIO
    shape: tuple[int, int, int]
    channels: int
    dtype: np.dtype[Any]
    notices: tuple[str, ...] = ()

    @property
    def chunk(self) -> tuple[int, int, int]:
        """Planes, rows and columns that are read together at no more cost than one of them."""
        return 1, 1, self.shape[2]

    def read(self, window: Window) -> NDArray[Any]:
        """The values (planes, rows, columns) in a window, with the colours last where there are some.

        Raises OSError.
        """
        planes, rows, columns = window
        colours = () if self.channels == 1 else (self.channels,)
        row = self.shape[2] * self.channels * self.dtype.itemsize
        height = rows.stop - rows.start
        band = np.empty((height, self.shape[2], *colours), self.dtype)
        values = np.empty((planes.stop - planes.start, *band[:, columns].shape), self.dtype)
        for place, plane in enumerate(range(planes.start, planes.stop)):
            self.file.seek((plane * self.shape[1] + rows.start) * row)
            if self.file.readinto(band.data.cast("B")) != band.nbytes:  # type: ignore[attr-defined]
                raise OSError("a temporary file was cut short")
            values[place] = band[:, columns]
        return values


@contextmanager
def gathered_on_disk(stack: Stack, numbers: Sequence[int], folder: Path | None) -> Iterator[VolumeFile]:
    """The volume whose planes, in this order, are the pictures of some numbers; it lasts as long as this.

    folder: where the file lies, None for the system's. Raises UnsupportedImageError for pixels that are missing or
    hidden, which take the whole volume at once, and OSError.
    """
    first = stack.first
    columns, rows = first.size
    notices: dict[str, None] = {}
    with TemporaryFile(dir=folder) as file:
        for place, picture in in_order(stack, numbers):
            _refuse_what_needs_all(picture)
            notices |= dict.fromkeys(picture.notices)
            file.seek(place * picture.intensities.nbytes)
            file.write(np.ascontiguousarray(picture.intensities).data)
        file.flush()
        shape = (len(numbers), rows, columns)
        yield VolumeFile(file, shape, first.channels, first.intensities.dtype, tuple(notices))


def _refuse_what_needs_all(picture: Picture) -> None:
    what = None
    if picture.visible is not None:
        what = "colours under full transparency"
    elif picture.missing:
        what = "missing pixels (NaN)"
    if what is not None:
        raise UnsupportedImageError(
            f"it is denoised in parts, and {what} need the whole volume in the memory",
            "save it without them, or allow more memory",
        )
