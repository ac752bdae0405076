"""A noisy image too large to hold, read window by window, and its solution."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from itertools import product
from typing import TYPE_CHECKING, Protocol

import numpy as np

from tvdenoise.images.layout import Layout
from tvdenoise.model.colour import RGB_CHANNELS, from_opponent, to_opponent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class Stage(Enum):
    """A part of the work; the value is what a user reads."""

    READING = "looking at the image"
    SOLVING = "solving"
    CERTIFYING = "certifying the whole"
    REPAIRING = "solving again where it is needed"


#: Called with the stage and how much of it is done, from 0 to 1.
Tell = Callable[[Stage, float], None]


def tell_nobody(_stage: Stage, _part: float) -> None:
    """Nothing."""


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


def lengths(window: Window) -> tuple[int, ...]:
    """The shape of a window."""
    return tuple(part.stop - part.start for part in window)


def size(window: Window) -> int:
    """How many pixels a window has."""
    return math.prod(lengths(window))


def size_of(shape: Sequence[int]) -> int:
    """How many pixels an image of this shape has."""
    return math.prod(shape)


def extended(window: Window, margins: Sequence[int], shape: Sequence[int]) -> Window:
    """A window with a margin along each axis, as far as the image goes."""
    return tuple(
        slice(max(part.start - margin, 0), min(part.stop + margin, length))
        for part, margin, length in zip(window, margins, shape, strict=True)
    )


def common(one: Window, other: Window) -> Window | None:
    """What two windows have in common; None for nothing."""
    both = tuple(slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one, other, strict=True))
    return both if all(part.start < part.stop for part in both) else None


def within(window: Window, outer: Window) -> Window:
    """A window in the coordinates of another that holds it."""
    return tuple(
        slice(part.start - frame.start, part.stop - frame.start)
        for part, frame in zip(window, outer, strict=True)
    )


def bands(shape: Sequence[int], most_pixels: int, chunk: Sequence[int] | None = None) -> list[Window]:
    """Bands of full width, in order, of at most so many pixels where a row has no more.

    Of a volume: several whole planes, or bands of rows of one plane. Where there is room they begin where a chunk does.
    """
    *outer, columns = shape
    rows = _step(shape[-2], max(most_pixels // columns, 1), None if chunk is None else chunk[-2])
    steps = [rows, columns]
    if outer[:-1]:
        deep = most_pixels // (shape[-2] * columns) if rows == shape[-2] else 1
        steps = [_step(shape[0], max(deep, 1), None if chunk is None else chunk[0]), *steps]
    return [
        tuple(
            slice(start, min(start + step, length))
            for start, step, length in zip(at, steps, shape, strict=True)
        )
        for at in product(*(range(0, length, step) for length, step in zip(shape, steps, strict=True)))
    ]


def _step(length: int, most: int, chunk: int | None) -> int:
    """At most so many of a length: all, a multiple of the chunk, or what fits."""
    if most >= length:
        return length
    return most // chunk * chunk if chunk is not None and most >= chunk else most
