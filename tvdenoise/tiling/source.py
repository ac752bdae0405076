"""A noisy image too large for memory, read window by window; arithmetic of windows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from itertools import product
from typing import TYPE_CHECKING, Protocol

import numpy as np

from tvdenoise.images.data import Layout, absent_pixels
from tvdenoise.model.colour import RGB_CHANNELS, from_opponent, require_colour, to_opponent
from tvdenoise.model.fidelity import Fidelity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tvdenoise.options import Options


class Stage(Enum):
    """A stage of the work; the values appear in the output."""

    READING = "looking at the image"
    SOLVING = "solving"
    CERTIFYING = "certifying the whole"
    REPAIRING = "solving again where it is needed"


#: Called with the stage and its completed part, from 0 to 1.
Tell = Callable[[Stage, float], None]


def tell_nobody(_stage: Stage, _part: float) -> None:
    """Do nothing."""


#: A slice with start and stop for each axis of an image (rows, columns) or a volume (planes, rows, columns).
Window = tuple[slice, ...]


class Source(Protocol):
    """A noisy image or volume.

    shape: (rows, columns) or (planes, rows, columns). channels: 1 for grey, 3 for red, green and blue. dtype: the
    stored type. chunk: the shape of the pieces that are cheap to read.
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
        """Return the values of a window, with channels last if there are several. The caller does not modify them."""


@dataclass(frozen=True, eq=False)
class ArraySource:
    """An array (or a memory map) as a source, with channels last if it has any."""

    array: NDArray[np.generic]
    has_channels: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape without channels."""
        return self.array.shape[:-1] if self.has_channels else self.array.shape

    @property
    def channels(self) -> int:
        """The number of channels; 1 without an axis for them."""
        return self.array.shape[-1] if self.has_channels else 1

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The stored type."""
        return self.array.dtype

    @property
    def chunk(self) -> tuple[int, ...]:
        """One row."""
        return (*(1,) * (len(self.shape) - 1), self.shape[-1])

    def read(self, window: Window) -> NDArray[np.generic]:
        """Return a view."""
        part = self.array[window]
        return part[..., 0] if self.has_channels and self.channels == 1 else part


@dataclass(frozen=True, eq=False)
class Reader:
    """Reads planes (channels, ...) of a source in the layout's units, as luminance and opponents for RGB.

    nodata, keeps_nan: which pixels are absent, as in `tvdenoise.Options`.
    chroma_only: only the opponents are solved, and the luminance is kept.
    """

    source: Source
    layout: Layout
    nodata: float | None = None
    keeps_nan: bool = False
    chroma_only: bool = False

    @classmethod
    def of(cls, source: Source, options: Options) -> Reader:
        """Check a source. Raises ValueError or TypeError if it cannot be denoised, as `tvdenoise.denoise` does."""
        if options.chroma_only:
            require_colour(source.channels)
        axes = tuple(range(len(source.shape)))
        has_channels = source.channels > 1
        whole = (*source.shape, source.channels) if has_channels else source.shape
        stand_in = np.broadcast_to(np.zeros((), np.dtype(source.dtype)), whole)
        layout = Layout.of(stand_in, len(axes) if has_channels else None, options.data_range, axes)
        return cls(source, layout, options.nodata, options.nan == "keep", options.chroma_only)

    @property
    def may_have_absent(self) -> bool:
        """True if pixels may be absent."""
        return self.nodata is not None or (self.keeps_nan and self.layout.dtype.kind == "f")

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the image without channels."""
        return self.source.shape

    @property
    def channels(self) -> int:
        """The number of channels; 1 for grey."""
        return self.source.channels

    @property
    def solved_channels(self) -> int:
        """The number of channels to solve."""
        return self.channels - self.chroma_only

    @property
    def stored_bytes(self) -> int:
        """The bytes of one pixel in the source."""
        return self.channels * np.dtype(self.source.dtype).itemsize

    def read(self, window: Window) -> tuple[NDArray[np.generic], NDArray[np.bool_] | None]:
        """Return the stored values of a window, and the mask of its absent pixels; None if there are none."""
        values = self.source.read(window)
        if not self.may_have_absent:
            return values, None
        return values, absent_pixels(values, self.layout, self.nodata, keeps_nan=self.keeps_nan)

    def rotated(self, planes: NDArray[np.floating]) -> NDArray[np.floating]:
        """Rotate RGB planes to luminance and opponents."""
        return to_opponent(planes) if self.channels == RGB_CHANNELS else planes

    def solved(self, planes: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return the planes to solve among rotated ones."""
        return planes[self.channels - self.solved_channels :]

    def noisy(self, window: Window) -> tuple[NDArray[np.floating], Fidelity | None]:
        """Return the planes (channels, ...) to solve, with zeros at absent pixels, and the fidelity."""
        values, absent = self.read(window)
        planes = self._rotated_planes(values, absent)
        fidelity = None if absent is None else Fidelity.of(None, None, absent, planes.dtype)
        return self.solved(planes), fidelity

    def _rotated_planes(
        self, values: NDArray[np.generic], absent: NDArray[np.bool_] | None
    ) -> NDArray[np.floating]:
        """Return the rotated planes of stored values, with zeros at absent pixels."""
        planes = self.layout.planes(values)
        if absent is not None:
            planes[:, absent] = 0
        return self.rotated(planes)

    def image(self, planes: NDArray[np.floating], window: Window) -> NDArray[np.floating]:
        """Convert solved planes of a window, which are overwritten, to an image in the units of results."""
        absent = None
        if self.may_have_absent or self.chroma_only:
            values, absent = self.read(window)
        if self.chroma_only:
            every = self._rotated_planes(values, absent)
            self.solved(every)[...] = planes
            planes = every
        turned = from_opponent(planes, out=planes) if self.channels == RGB_CHANNELS else planes
        image = self.layout.image(turned)
        if absent is not None:
            self.layout.keep(image, values, absent)
        return image


def lengths(window: Window) -> tuple[int, ...]:
    """Return the shape of a window."""
    return tuple(part.stop - part.start for part in window)


def size(window: Window) -> int:
    """Return the number of pixels in a window."""
    return math.prod(lengths(window))


def extended(window: Window, margins: Sequence[int], shape: Sequence[int]) -> Window:
    """Return a window with a margin along each axis, clipped to the image."""
    return tuple(
        slice(max(part.start - margin, 0), min(part.stop + margin, length))
        for part, margin, length in zip(window, margins, shape, strict=True)
    )


def common(one: Window, other: Window) -> Window | None:
    """Return the intersection of two windows; None if empty."""
    both = tuple(slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one, other, strict=True))
    return both if all(part.start < part.stop for part in both) else None


def within(window: Window, outer: Window) -> Window:
    """Return a window in the coordinates of another that contains it."""
    return tuple(
        slice(part.start - frame.start, part.stop - frame.start)
        for part, frame in zip(window, outer, strict=True)
    )


def bands(shape: Sequence[int], most_pixels: int, chunk: Sequence[int] | None = None) -> list[Window]:
    """Cut an image into bands of full width, in order, of at most ``most_pixels`` or one row.

    A band of a volume is several whole planes, or rows of one plane. If a chunk fits, bands start at chunk borders.
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
    """Return the step along an axis: all of the length, a multiple of the chunk, or ``most``."""
    if most >= length:
        return length
    return most // chunk * chunk if chunk is not None and most >= chunk else most
