"""The composite on disk: float32, (channels, ...), in a file that has no name."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tvdenoise.tiling.windows import lengths, runs

if TYPE_CHECKING:
    from typing import BinaryIO

    from numpy.typing import NDArray

    from tvdenoise.tiling.source import Window

_FLOAT = 4


class Scratch:
    """Planes of an image in a file, zero at first. Read and written, not mapped: mapped pages count as memory held."""

    def __init__(self, file: BinaryIO, channels: int, shape: tuple[int, ...]) -> None:
        """The file is empty, and open for reading and writing without a buffer."""
        self._file = file
        self._channels = channels
        self._shape = shape
        file.truncate(channels * math.prod(shape) * _FLOAT)

    def read(self, window: Window) -> NDArray[np.float32]:
        """The values (channels, ...) of a window."""
        values = np.empty((self._channels, *lengths(window)), np.float32)
        view = values.reshape(-1).view(np.uint8).data
        done = 0
        for offset, length in self._runs(window):
            self._file.seek(offset)
            end = done + length
            while done < end:
                count = self._file.readinto(view[done:end])  # type: ignore[attr-defined]
                if not count:
                    raise OSError("the scratch file ends early")
                done += count
        return values

    def write(self, window: Window, values: NDArray[np.float32]) -> None:
        """Replace the values of a window."""
        view = np.ascontiguousarray(values, np.float32).reshape(-1).view(np.uint8).data
        done = 0
        for offset, length in self._runs(window):
            self._file.seek(offset)
            end = done + length
            while done < end:
                done += self._file.write(view[done:end])

    def _runs(self, window: Window) -> list[tuple[int, int]]:
        """Offset and length of each run of bytes, channel by channel."""
        whole = (slice(0, self._channels), *window)
        return [
            (offset * _FLOAT, length * _FLOAT)
            for offset, length in runs(whole, (self._channels, *self._shape))
        ]
