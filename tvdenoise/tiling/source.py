"""A noisy image too large to hold, of which windows can be read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from tvdenoise.intensities import Layout
from tvdenoise.model.colour import RGB_CHANNELS, from_opponent, to_opponent

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: One slice for each axis of an image (rows, columns) or a volume (planes, rows, columns), its ends given.
Window = tuple[slice, ...]


class Source(Protocol):
    """A noisy image or volume.

    shape: (rows, columns) or (planes, rows, columns). channels: 1 for grey, 3 for red, green and blue. dtype: as
    stored. chunk: the shape of the pieces in which it is cheap to read.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def channels(self) -> int: ...

    @property
    def dtype(self) -> np.dtype[np.generic]: ...

    @property
    def chunk(self) -> tuple[int, ...]: ...

    def read(self, window: Window) -> NDArray[np.generic]:
        """The values of a window, with its shape and the channels last where there are several. Not modified."""


@dataclass(frozen=True, eq=False)
class ArraySource:
    """An array (or a memory map) as a source: its axes are the image's, then the channels where there are any."""

    array: NDArray[np.generic]
    has_channels: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Without the channels."""
        return self.array.shape[:-1] if self.has_channels else self.array.shape

    @property
    def channels(self) -> int:
        """1 where there is no axis for them."""
        return self.array.shape[-1] if self.has_channels else 1

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """As stored."""
        return self.array.dtype

    @property
    def chunk(self) -> tuple[int, ...]:
        """A row."""
        return (*(1,) * (len(self.shape) - 1), self.shape[-1])

    def read(self, window: Window) -> NDArray[np.generic]:
        """A view."""
        part = self.array[window]
        return part[..., 0] if self.has_channels and self.channels == 1 else part


@dataclass(frozen=True, eq=False)
class Reader:
    """A source as it is solved: planes (channels, ...) in data ranges, luminance and opponents for RGB."""

    source: Source
    layout: Layout

    @classmethod
    def of(cls, source: Source, data_range: float | None) -> Reader:
        """Raises ValueError and TypeError for what cannot be denoised, as `tvdenoise.denoise` does."""
        dtype = np.dtype(source.dtype)
        if dtype.kind == "f" and dtype.itemsize > 4:
            raise TypeError(f"images of {dtype} are denoised in double precision, and so as a whole only")
        axes = tuple(range(len(source.shape)))
        has_channels = source.channels > 1
        whole = (*source.shape, source.channels) if has_channels else source.shape
        stand_in = np.broadcast_to(np.zeros((), dtype), whole)
        return cls(source, Layout.of(stand_in, len(axes) if has_channels else None, data_range, axes))

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the image without its channels."""
        return self.source.shape

    @property
    def channels(self) -> int:
        """1 for grey."""
        return self.source.channels

    @property
    def stored_bytes(self) -> int:
        """Of one pixel in the source."""
        return self.channels * np.dtype(self.source.dtype).itemsize

    def stored_planes(self, window: Window) -> NDArray[np.floating]:
        """(channels, ...) in data ranges, not rotated and of any value."""
        planes = self.layout.unchecked_planes(self.source.read(window))
        # For the kernels arrays that cannot be written to are of another type, for which they would be compiled anew.
        return planes if planes.flags.writeable else planes.copy()

    def rotated(self, planes: NDArray[np.floating]) -> NDArray[np.floating]:
        """The same as they are solved."""
        return to_opponent(planes) if self.channels == RGB_CHANNELS else planes

    def planes(self, window: Window) -> NDArray[np.floating]:
        """(channels, ...) as they are solved."""
        return self.rotated(self.stored_planes(window))

    def image(self, planes: NDArray[np.floating]) -> NDArray[np.floating]:
        """Planes that were solved, as an image in the units that are returned. They may be changed."""
        turned = from_opponent(planes, out=planes) if self.channels == RGB_CHANNELS else planes
        return self.layout.image(turned)
