"""From an array as people have it to planes of intensities, and back."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: The squares of intensities and of their differences must fit the range of single precision.
_LARGEST_INTENSITY = 1e12
_RGB_CHANNELS = 3


@dataclass(frozen=True)
class Layout:
    """How an image is stored: what it takes to go to (channels, rows, columns) in data ranges, and back.

    data_range: the stored value that counts as 1.
    channel_axis: where the channels are; None for a single channel without an axis.
    returned_range: what 1 becomes on the way back: the data range for floats, 1 for integers.
    """

    dtype: np.dtype[np.generic]
    channel_axis: int | None
    data_range: float
    returned_range: float

    @classmethod
    def of(cls, image: NDArray[np.generic], channel_axis: int | None, data_range: float | None) -> Layout:
        """The layout of an image; ValueError or TypeError where it is not one that can be denoised."""
        dtype = image.dtype
        if channel_axis is not None:
            if isinstance(channel_axis, bool):
                raise TypeError("channel_axis must be a whole number, not a bool")
            channel_axis = operator.index(channel_axis)
        if dtype.kind not in "buif":
            raise TypeError(f"the image must hold integers or real floating-point numbers, not {dtype}")
        if channel_axis is None and image.ndim != 2:
            raise ValueError(_dimensions_message(image.shape))
        if channel_axis is not None and (image.ndim != 3 or not -3 <= channel_axis < 3):
            raise ValueError(
                f"with channel_axis={channel_axis} the image must have three axes, one of them the channels, "
                f"not shape {image.shape}"
            )
        if image.size == 0:
            raise ValueError(f"the image has no pixels: its shape is {image.shape}")
        if data_range is None:
            data_range = float(np.iinfo(dtype.char).max) if dtype.kind in "ui" else 1.0
        return cls(dtype, channel_axis, data_range, data_range if dtype.kind == "f" else 1.0)

    @property
    def precision(self) -> np.dtype[np.floating]:
        """float64 for float64 images, float32 for all others."""
        return np.dtype(np.float64 if self.dtype.itemsize > 4 and self.dtype.kind == "f" else np.float32)

    def planes(self, image: NDArray[np.generic]) -> NDArray[np.floating]:
        """The intensities (channels, rows, columns) in data ranges.

        May share memory with the image. ValueError where a value is not finite or too large.
        """
        channels_first = (
            image[np.newaxis] if self.channel_axis is None else np.moveaxis(image, self.channel_axis, 0)
        )
        planes = np.ascontiguousarray(channels_first, dtype=self.precision)
        if self.data_range != 1.0:
            owned = None if np.shares_memory(planes, image) else planes
            planes = np.divide(planes, self.precision.type(self.data_range), out=owned)
        # The extremes are NaN or infinite if any value is: no array of flags is needed.
        largest = max(float(planes.max()), -float(planes.min()))
        if not np.isfinite(largest):
            raise ValueError(
                f"the image holds {np.count_nonzero(~np.isfinite(planes))} values that are not finite "
                "(NaN or infinity); replace them first"
            )
        if largest > _LARGEST_INTENSITY:
            raise ValueError(f"the largest intensity is {largest:.3g} data ranges; give its data_range")
        return planes

    def image(self, planes: NDArray[np.floating]) -> NDArray[np.floating]:
        """Planes in data ranges as an image with the shape and the units that are returned."""
        if self.returned_range != 1.0:
            planes = planes * self.precision.type(self.returned_range)
        image = planes[0] if self.channel_axis is None else np.moveaxis(planes, 0, self.channel_axis)
        return np.ascontiguousarray(image, dtype=self.precision)


def _dimensions_message(shape: tuple[int, ...]) -> str:
    if len(shape) != 3:
        return f"the image must have two axes (rows, columns), or three with channel_axis, not shape {shape}"
    likely = 0 if shape[0] in (2, _RGB_CHANNELS, 4) and shape[2] not in (2, _RGB_CHANNELS, 4) else -1
    return (
        f"an image of shape {shape} has three axes; "
        f"pass channel_axis={likely} if that axis holds the channels, or denoise each plane alone"
    )
