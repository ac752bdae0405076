"""What reads and writes parts of a picture."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Window = tuple[slice, ...]  # rows and columns, both with start and stop, inside the picture


class Regions(Protocol):
    """Reads windows of a picture from its file, whose stream has to stay open. Threads may share it.

    shape: rows and columns; dtype: as stored, in this machine's byte order; colours: 1, 3 or 4.
    tile: rows and columns of the tiles in which the file is stored, None for strips.
    piece: how many rows can be read together at no more cost than one.
    memory: bytes, at most, that reading takes beside what is returned.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    colours: int
    has_alpha: bool
    tile: tuple[int, int] | None
    piece: int
    memory: int

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """Intensities (rows, columns) or (rows, columns, colours), and alpha or None, as the whole file would
        give them. Raises whatever a decoder may."""
        ...


class RegionWriter(Protocol):
    """Writes a picture to an empty stream, window by window; it is whole once it is closed."""

    def windows(self, most: int) -> Iterator[Window]:
        """The windows that it wants, in their order, of at most so many values each if that can be."""
        ...

    def append(self, intensities: NDArray[Any], alpha: NDArray[Any] | None) -> None:
        """The pixels in the next window, as they are stored. Raises OSError and ValueError."""
        ...

    def close(self) -> None:
        """After the last window."""
        ...
