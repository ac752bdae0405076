"""The composite on disk: float32, (channels, ...), in a file that has no name."""

from __future__ import annotations

import math
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from tvdenoise.tiling.windows import lengths

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from numpy.typing import NDArray

    from tvdenoise.tiling.source import Window

_FLOAT = 4
#: Values that are read or written at a time.
_VALUES = 1 << 18
#: To read and write so many more values of a row takes no longer than a further call.
_WORTH_A_CALL = 8000


class Scratch:
    """Planes of an image in a file, zero at first. Read and written, not mapped: mapped pages count as memory held.

    Rows of which most is asked for are read whole, and written whole with what was beside: a call for each would take
    longer.
    """

    def __init__(self, file: BinaryIO, channels: int, shape: tuple[int, ...], values: int = _VALUES) -> None:
        """The file is empty, and open for reading and writing without a buffer.

        values: so many are held besides, at most, or those of a row.
        """
        self._values = min(values, _VALUES)
        self._file = file
        self._channels = channels
        self._shape = shape
        file.truncate(channels * math.prod(shape) * _FLOAT)

    def read(self, window: Window) -> NDArray[np.float32]:
        """The values (channels, ...) of a window."""
        values = np.empty((self._channels, *lengths(window)), np.float32)
        for offset, part in self._parts(values, window):
            if part.shape[-1] == self._shape[-1]:
                self._read_into(offset, part)
            elif self._is_rather_whole(part):
                part[:] = self._whole_rows(offset, len(part))[:, window[-1]]
            else:
                for row, at in self._rows(part, offset, window):
                    self._read_into(at, row)
        return values

    def write(self, window: Window, values: NDArray[np.floating]) -> None:
        """Replace the values (channels, ...) of a window."""
        for offset, part in self._parts(values, window):
            if part.shape[-1] == self._shape[-1]:
                self._write(offset, part)
            elif self._is_rather_whole(part):
                rows = self._whole_rows(offset, len(part))
                rows[:, window[-1]] = part
                self._write(offset, rows)
            else:
                for row, at in self._rows(part, offset, window):
                    self._write(at, row)

    def _is_rather_whole(self, part: NDArray[np.floating]) -> bool:
        return bool(self._shape[-1] - part.shape[-1] <= _WORTH_A_CALL)

    def _rows(
        self, part: NDArray[np.floating], offset: int, window: Window
    ) -> Iterator[tuple[NDArray[np.floating], int]]:
        """Each row of a part, and where in the file it is."""
        for number, row in enumerate(part):
            yield row, offset + (number * self._shape[-1] + window[-1].start) * _FLOAT

    def _whole_rows(self, offset: int, count: int) -> NDArray[np.float32]:
        rows = np.empty((count, self._shape[-1]), np.float32)
        self._read_into(offset, rows)
        return rows

    def _parts(
        self, values: NDArray[np.floating], window: Window
    ) -> Iterator[tuple[int, NDArray[np.floating]]]:
        """Views of some rows each of the values of a window, with the offset of these rows in the file."""
        *outer, rows, _ = (slice(0, self._channels), *window)
        columns = self._shape[-1]
        step = max(self._values // columns, 1)
        strides = [math.prod(self._shape[axis:]) for axis in range(len(outer))]
        for at in product(*(range(part.start, part.stop) for part in outer)):
            first = sum(place * stride for place, stride in zip(at, strides, strict=True))
            plane = values[tuple(place - part.start for place, part in zip(at, outer, strict=True))]
            for top in range(0, rows.stop - rows.start, step):
                yield (first + (rows.start + top) * columns) * _FLOAT, plane[top : top + step]

    def _read_into(self, offset: int, values: NDArray[np.floating]) -> None:
        self._file.seek(offset)
        view, done = values.reshape(-1).view(np.uint8).data, 0
        while done < len(view):
            count = self._file.readinto(view[done:])  # type: ignore[attr-defined]
            if not count:
                raise OSError("the scratch file ends early")
            done += count

    def _write(self, offset: int, values: NDArray[np.floating]) -> None:
        self._file.seek(offset)
        view, done = np.ascontiguousarray(values, np.float32).reshape(-1).view(np.uint8).data, 0
        while done < len(view):
            done += self._file.write(view[done:])
