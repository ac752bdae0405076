"""What reads parts of a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Window = tuple[slice, slice]  # rows and columns, both with start and stop, inside the picture


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
