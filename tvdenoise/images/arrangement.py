"""Arrays that hold several images, or signals: which axes are stacked, and each image with two or three axes."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tvdenoise.options import checked

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray


_AXES_OF_IMAGE, _MOST_AXES = 2, 3
Place = tuple[int, ...]


def array_of(image: ArrayLike) -> NDArray[np.generic]:
    """The image as an array; a masked array keeps its mask."""
    return image if np.ma.isMaskedArray(image) else np.asarray(image)


@dataclass(frozen=True)
class Arrangement:
    """The axes of an array that holds several images, or signals.

    shape: of the array. channel_axis, spatial_axes: counted from 0. stacked: the other axes, in order; none for a
    single signal.
    """

    shape: tuple[int, ...]
    channel_axis: int | None
    spatial_axes: tuple[int, ...]
    stacked: tuple[int, ...]

    @classmethod
    def of(
        cls, shape: tuple[int, ...], channel_axis: int | None, spatial_axes: Sequence[int] | None
    ) -> Arrangement | None:
        """Return the arrangement; None for a single image or volume. Raises ValueError for axes that do not fit."""
        if spatial_axes is None:
            return None
        named = [operator.index(axis) for axis in spatial_axes]
        if not 1 <= len(named) <= _MOST_AXES:
            raise ValueError(f"spatial_axes must name one, two or three axes, not {len(named)}")
        every = named if channel_axis is None else [operator.index(channel_axis), *named]
        counted = [axis % len(shape) if -len(shape) <= axis < len(shape) else -1 for axis in every]
        if -1 in counted or len(set(counted)) < len(counted):
            raise ValueError(
                f"spatial_axes={tuple(named)} and channel_axis={channel_axis} must name different axes of an image of "
                f"shape {shape}"
            )
        stacked = tuple(axis for axis in range(len(shape)) if axis not in counted)
        if not stacked and len(named) > 1:
            return None
        if 0 in shape:
            raise ValueError(f"the image has no pixels: its shape is {shape}")
        channel = None if channel_axis is None else counted[0]
        return cls(shape, channel, tuple(counted[-len(named) :]), stacked)

    @property
    def is_signal(self) -> bool:
        """True if each image has one spatial axis; it is solved as an image with one row."""
        return len(self.spatial_axes) == 1

    @property
    def count(self) -> int:
        """The number of images."""
        return int(np.prod([self.shape[axis] for axis in self.stacked], dtype=int))

    def places(self) -> Iterator[Place]:
        """Yield the place of each image, its indices along the stacked axes."""
        return np.ndindex(*(self.shape[axis] for axis in self.stacked))

    def spread_places(self, most: int) -> list[Place]:
        """Return at most so many places, spread evenly."""
        numbers = np.unique(np.linspace(0, self.count - 1, min(most, self.count)).round().astype(int))
        every = list(self.places())
        return [every[number] for number in numbers]

    @property
    def axes(self) -> tuple[int | None, tuple[int, ...]]:
        """The channel axis and the spatial axes of each image."""
        left = sorted(axis for axis in range(len(self.shape)) if axis not in self.stacked)
        channel = None if self.channel_axis is None else left.index(self.channel_axis)
        spatial = tuple(left.index(axis) for axis in self.spatial_axes)
        return channel, (len(left), *spatial) if self.is_signal else spatial

    def image(self, array: NDArray[np.generic], place: Place) -> NDArray[np.generic]:
        """Return a view of one image; a signal has a last axis of length one, its rows."""
        view: NDArray[np.generic] = np.moveaxis(array, self.stacked, range(len(self.stacked)))[place]
        return view[..., np.newaxis] if self.is_signal else view

    def together(
        self, array: NDArray[np.generic], pixels: ArrayLike | None
    ) -> tuple[NDArray[np.generic], NDArray[np.generic] | None, int | None, tuple[int, ...]]:
        """Return a signal as an image, or the images of a stack as the planes of a volume.

        pixels: values in the shape without channels. Also returns the axes of the result.
        Raises ValueError for a stack of signals or of volumes.
        """
        channel_axis, spatial_axes = self.axes
        if not self.stacked:
            return self.image(array, ()), self.pixels("where", pixels, ()), channel_axis, spatial_axes
        if len(self.spatial_axes) != _AXES_OF_IMAGE:
            raise ValueError("the array is a stack of signals or of volumes; take these one by one")
        after = None if channel_axis is None else channel_axis + 1
        stack = np.ma.stack if np.ma.isMaskedArray(array) else np.stack
        planes = stack([self.image(array, place) for place in self.places()])
        parts = [self.pixels("where", pixels, place) for place in self.places()]
        where = None if pixels is None else np.stack([part for part in parts if part is not None])
        return planes, where, after, (0, *(axis + 1 for axis in spatial_axes))

    def pixels(self, name: str, values: ArrayLike | None, place: Place) -> NDArray[np.generic] | None:
        """Return a view of one image's part of weights or a mask, which have the shape without channels."""
        if values is None:
            return None
        array = np.asarray(values)
        needed = tuple(length for axis, length in enumerate(self.shape) if axis != self.channel_axis)
        if array.shape != needed:
            raise ValueError(
                f"{name} must have the shape {needed} of the image without its channels, not {array.shape}"
            )
        if self.channel_axis is not None:
            array = np.expand_dims(array, self.channel_axis)
        view = self.image(array, place)
        channel, _ = self.axes
        return view if channel is None else np.take(view, 0, axis=channel)

    def spacing(self, spacing: Sequence[float] | None) -> Sequence[float] | None:
        """Check the spacing, and return that of each image: a signal has none."""
        if spacing is not None and len(spacing) != len(self.spatial_axes):
            raise ValueError(
                f"spacing must have {len(self.spatial_axes)} numbers, one for each spatial axis, not {len(spacing)}"
            )
        checked("spacing", spacing)
        return None if self.is_signal else spacing
