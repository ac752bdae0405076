"""Arrays and the planes that are solved: layout, data range, missing and kept pixels, and spacing."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from scipy.ndimage import binary_opening, uniform_filter

from tvdenoise.model.colour import RGB_CHANNELS, to_opponent
from tvdenoise.model.fidelity import Fidelity
from tvdenoise.options import checked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray


#: The squares of intensities and of their differences must fit the range of single precision.
_LARGEST_INTENSITY = 1e12
Value = TypeVar("Value", bound=np.generic)


@dataclass(frozen=True)
class Layout:
    """How an image is stored, and how to convert it to (channels, rows, columns) in data ranges and back.

    A volume becomes (channels, planes, rows, columns).

    data_range: the stored value that becomes 1.
    channel_axis: the axis of the channels, from 0; None for a single channel without an axis.
    spatial_axes: the axes of rows and columns, or planes, rows and columns, from 0.
    returned_range: the value of 1 in results: the data range for floats, 1 for integers.
    """

    dtype: np.dtype[np.generic]
    channel_axis: int | None
    spatial_axes: tuple[int, ...]
    data_range: float
    returned_range: float

    @classmethod
    def of(
        cls,
        image: NDArray[np.generic],
        channel_axis: int | None,
        data_range: float | None,
        spatial_axes: Sequence[int] | None = None,
    ) -> Layout:
        """Find the layout of an image. Raises ValueError or TypeError if it cannot be denoised."""
        dtype = image.dtype
        if channel_axis is not None:
            if isinstance(channel_axis, bool):
                raise TypeError("channel_axis must be a whole number, not a bool")
            channel_axis = operator.index(channel_axis)
        if dtype.kind not in "buif":
            raise TypeError(f"the image must hold integers or real floating-point numbers, not {dtype}")
        if spatial_axes is None:
            channel_axis, axes = _axes_of_image(image.shape, channel_axis)
        else:
            channel_axis, axes = _given_axes(image.shape, channel_axis, spatial_axes)
        if image.size == 0:
            raise ValueError(f"the image has no pixels: its shape is {image.shape}")
        if data_range is None:
            data_range = float(np.iinfo(dtype.char).max) if dtype.kind in "ui" else 1.0
        return cls(dtype, channel_axis, axes, data_range, data_range if dtype.kind == "f" else 1.0)

    @property
    def precision(self) -> np.dtype[np.floating]:
        """float64 for float64 images, float32 for all others."""
        return np.dtype(np.float64 if self.dtype.itemsize > 4 and self.dtype.kind == "f" else np.float32)

    @property
    def _order(self) -> tuple[int, ...]:
        """The image's axes in the order of the planes' axes."""
        return self.spatial_axes if self.channel_axis is None else (self.channel_axis, *self.spatial_axes)

    def planes(self, image: NDArray[np.generic], *, may_have_nan: bool = False) -> NDArray[np.floating]:
        """Return the intensities (channels, rows, columns) or (channels, planes, rows, columns) in data ranges.

        They may share memory with the image. Raises ValueError if a value is too large or not finite, except NaN if
        may_have_nan.
        """
        planes = self.unchecked_planes(image)
        _require_reasonable(planes, may_have_nan=may_have_nan)
        return planes

    def unchecked_planes(self, image: NDArray[np.generic]) -> NDArray[np.floating]:
        """Return the same without checking the values."""
        transposed = np.transpose(image, self._order)
        channels_first = transposed[np.newaxis] if self.channel_axis is None else transposed
        planes = np.ascontiguousarray(channels_first, dtype=self.precision)
        if self.data_range != 1.0:
            owned = None if np.shares_memory(planes, image) else planes
            planes = np.divide(planes, self.precision.type(self.data_range), out=owned)
        return planes

    def image(self, planes: NDArray[np.floating]) -> NDArray[np.floating]:
        """Convert planes in data ranges to an image in the shape and units of results."""
        if self.returned_range != 1.0:
            planes = planes * self.precision.type(self.returned_range)
        transposed = planes[0] if self.channel_axis is None else planes
        return np.ascontiguousarray(np.transpose(transposed, np.argsort(self._order)), dtype=self.precision)

    def pixel_shape(self, image: NDArray[np.generic]) -> tuple[int, ...]:
        """Return the shape of the image without its channel axis, as for masks and weights."""
        return tuple(length for axis, length in enumerate(image.shape) if axis != self.channel_axis)

    def of_pixels(self, values: NDArray[Value]) -> NDArray[Value]:
        """Transpose values of `pixel_shape` to the order of the planes."""
        return np.transpose(values, np.argsort(np.argsort(self.spatial_axes)))

    def keep(
        self, result: NDArray[np.floating], image: NDArray[np.generic], is_kept: NDArray[np.bool_]
    ) -> None:
        """Copy the image's pixels into a result where is_kept, which has the shape `pixel_shape`."""
        where = is_kept if self.channel_axis is None else np.expand_dims(is_kept, self.channel_axis)
        if self.dtype.kind == "f":
            np.copyto(result, image, where=where, casting="same_kind")
        else:
            scale = self.precision.type(self.data_range)
            np.copyto(result, image.astype(self.precision) / scale, where=where)


def _axes_of_image(shape: tuple[int, ...], channel_axis: int | None) -> tuple[int | None, tuple[int, ...]]:
    """Return the channel axis and the spatial axes if no spatial axes are named."""
    if channel_axis is None:
        if len(shape) != 2:
            raise ValueError(_dimensions_message(shape))
        return None, (0, 1)
    if len(shape) != 3 or not -3 <= channel_axis < 3:
        raise ValueError(
            f"with channel_axis={channel_axis} the image must have three axes, one of them the channels, "
            f"not shape {shape}; name three spatial_axes for a volume"
        )
    channel_axis %= 3
    return channel_axis, tuple(axis for axis in range(3) if axis != channel_axis)


def _given_axes(
    shape: tuple[int, ...], channel_axis: int | None, spatial_axes: Sequence[int]
) -> tuple[int | None, tuple[int, ...]]:
    """Return the same axes, counted from 0, if two or three spatial axes are named."""
    named = [operator.index(axis) for axis in spatial_axes]
    if len(named) not in (2, 3):
        raise ValueError(f"spatial_axes must name two or three axes, not {len(named)}")
    every = named if channel_axis is None else [channel_axis, *named]
    counted = [axis % len(shape) if -len(shape) <= axis < len(shape) else -1 for axis in every]
    if sorted(counted) != list(range(len(shape))):
        raise ValueError(
            f"spatial_axes={tuple(named)} and channel_axis={channel_axis} must name each axis of an image of "
            f"shape {shape} once; denoise along other axes one by one"
        )
    return (None, tuple(counted)) if channel_axis is None else (counted[0], tuple(counted[1:]))


def _require_reasonable(planes: NDArray[np.floating], *, may_have_nan: bool) -> None:
    """Raise ValueError if a value is too large or not finite, except NaN if may_have_nan."""
    # The extremes are NaN or infinite if any value is, so no array of flags is needed.
    if may_have_nan:
        largest = max(float(np.fmax.reduce(planes, axis=None)), -float(np.fmin.reduce(planes, axis=None)))
        if np.isnan(largest):
            raise ValueError("the image holds nothing but NaN")
        if np.isinf(largest):
            bad = np.count_nonzero(np.isinf(planes))
            raise ValueError(f"the image holds {bad} values that are infinite; replace them first")
        require_reasonable(largest, 0)
    else:
        largest = max(float(planes.max()), -float(planes.min()))
        require_reasonable(
            largest, 0 if np.isfinite(largest) else int(np.count_nonzero(~np.isfinite(planes)))
        )


def require_reasonable(largest: float, bad: int) -> None:
    """Raise ValueError if ``bad`` values are not finite, or if the largest (data ranges) is too large."""
    if bad:
        raise ValueError(
            f"the image holds {bad} values that are not finite (NaN or infinity); replace them first, "
            'or nan="fill"'
        )
    if largest > _LARGEST_INTENSITY:
        raise ValueError(f"the largest intensity is {largest:.3g} data ranges; give its data_range")


def _dimensions_message(shape: tuple[int, ...]) -> str:
    if len(shape) != 3:
        return f"the image must have two axes (rows, columns), or three with channel_axis, not shape {shape}"
    likely = 0 if shape[0] in (2, RGB_CHANNELS, 4) and shape[2] not in (2, RGB_CHANNELS, 4) else -1
    return (
        f"an image of shape {shape} has three axes; pass channel_axis={likely} if that axis holds the channels, "
        "spatial_axes=(0, 1, 2) if it is a volume, or denoise each plane alone"
    )


_LEAST_SIDE = 3
#: The largest distance to the pixel whose noise replaces that of a missing one, and the attempts to find one.
_REACH, _ATTEMPTS = 3, 6


def fill(planes: NDArray[np.floating], is_missing: NDArray[np.bool_]) -> None:
    """Fill the missing pixels of planes (channels, ...) in place, with means over windows that grow as needed.

    is_missing: the shape of one channel; at least one pixel must be known. Missing pixels may hold anything, NaN too.
    """
    is_known = ~is_missing
    known = is_known.astype(np.float32)
    waiting, side = is_missing.copy(), _LEAST_SIDE
    planes[:, is_missing] = 0
    while waiting.any():
        part = uniform_filter(known, side, mode="constant")
        ready = waiting & (part > 0.5 / side**part.ndim)
        for plane in planes:
            total = uniform_filter(np.where(is_known, plane, 0), side, mode="constant")
            plane[ready] = total[ready] / part[ready]
        waiting &= ~ready
        side = 2 * side - 1


def with_noise_where_missing(
    planes: NDArray[np.floating], is_missing: NDArray[np.bool_]
) -> tuple[NDArray[np.floating], NDArray[np.bool_]]:
    """Add noise to filled planes (channels, ...) for the noise estimate; return them and the mask of pixels to use.

    Scattered missing pixels leave few windows without any, and filled pixels have hardly any noise. Each therefore
    gets the deviation of a known pixel nearby from its 3×3 mean: it has 8/9 of the variance of the noise, and the
    filled value, a mean of eight, has the rest. Holes of 3×3 pixels and more are masked out.
    """
    noisy = planes.copy()
    rng = np.random.default_rng(0)
    window = (1,) * (is_missing.ndim - 2) + (3, 3)
    places = np.argwhere(is_missing)
    means = uniform_filter(planes, (1, *window))
    for _ in range(_ATTEMPTS):
        near = places.copy()
        near[:, -2:] += rng.integers(-_REACH, _REACH, near[:, -2:].shape, endpoint=True)
        near = np.clip(near, 0, np.array(is_missing.shape) - 1)
        is_known = ~is_missing[tuple(near.T)]
        to, source = tuple(places[is_known].T), tuple(near[is_known].T)
        for plane, result, mean in zip(planes, noisy, means, strict=True):
            result[to] = plane[to] + (plane[source] - mean[source])
        places = places[~is_known]
    is_hole = binary_opening(is_missing, np.ones(window, bool))
    return noisy, ~is_hole


@dataclass(frozen=True, eq=False)
class Data:
    """The input of a solve.

    planes: (channels, rows, columns) or (channels, planes, rows, columns) in data ranges, luminance and opponents
    for RGB, with missing pixels filled.
    fidelity: the weights of pixels, None for ones.
    axis_weights: h_min/hᵢ for pixel distances hᵢ along each axis, None if they are equal.
    kept: the image and the mask of its kept pixels, without the channel axis; None if no pixel is kept.
    """

    layout: Layout
    planes: NDArray[np.floating]
    fidelity: Fidelity | None = None
    axis_weights: tuple[float, ...] | None = None
    kept: tuple[NDArray[np.generic], NDArray[np.bool_]] | None = None


def data_of(
    image: ArrayLike,
    channel_axis: int | None,
    data_range: float | None,
    *,
    spatial_axes: Sequence[int] | None = None,
    spacing: Sequence[float] | None = None,
    weights: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    fills: bool = False,
) -> Data:
    """Convert an image with its weights and mask. Raises TypeError and ValueError as `tvdenoise.denoise` does.

    fills: NaN marks missing pixels.
    """
    if np.ma.isMaskedArray(image):
        raise TypeError("masked arrays are not supported; fill the masked values first, or give a mask")
    array = np.asarray(image)
    known_range = checked("data_range", data_range)
    layout = Layout.of(array, channel_axis, known_range, spatial_axes)
    axis_weights = axis_weights_of(spacing, len(layout.spatial_axes))
    free = None if mask is None else _free(mask, layout.pixel_shape(array))
    given = None if weights is None else _weights(weights, layout.pixel_shape(array))
    planes = layout.planes(_without_missing(array, given, free, layout), may_have_nan=fills)
    planes, fidelity = _completed(
        planes,
        None if given is None else layout.of_pixels(given),
        None if free is None else layout.of_pixels(free),
        fills=fills,
        owned=not np.shares_memory(planes, array),
    )
    if len(planes) == RGB_CHANNELS:
        planes = to_opponent(planes)
    kept = None if free is None or free.all() else (array, ~free)
    return Data(layout, planes, fidelity, axis_weights, kept)


def _completed(
    planes: NDArray[np.floating],
    weights: NDArray[np.floating] | None,
    free: NDArray[np.bool_] | None,
    *,
    fills: bool,
    owned: bool,
) -> tuple[NDArray[np.floating], Fidelity | None]:
    """Fill missing pixels; return the planes and the fidelity.

    owned: the planes may be modified.
    """
    has_nan = np.isnan(planes).any(axis=0) if fills else None
    if has_nan is not None and has_nan.any():
        if free is not None and (has_nan & ~free).any():
            raise ValueError("pixels that the mask keeps are NaN; they must be known, or filled")
        weights = np.where(has_nan, 0, 1 if weights is None else weights).astype(planes.dtype)
    fidelity = Fidelity.of(weights, free, planes.dtype)
    if fidelity is None or not fidelity.has_missing:
        return planes, fidelity
    is_missing = fidelity.coded == 0
    if is_missing.all():
        raise ValueError("no pixel is known: all are missing or have the weight zero")
    completed = planes if owned else planes.copy()
    fill(completed, is_missing)
    return completed, fidelity


def _without_missing(
    image: NDArray[np.generic],
    weights: NDArray[np.floating] | None,
    free: NDArray[np.bool_] | None,
    layout: Layout,
) -> NDArray[np.generic]:
    """Set pixels of weight 0, which may hold anything, to zero."""
    if weights is None:
        return image
    is_missing = weights == 0 if free is None else (weights == 0) & free
    if not is_missing.any() or is_missing.all():
        return image
    where = is_missing if layout.channel_axis is None else np.expand_dims(is_missing, layout.channel_axis)
    return np.where(where, image.dtype.type(0), image)


def axis_weights_of(spacing: Sequence[float] | None, axes: int) -> tuple[float, ...] | None:
    """Return h_min/hᵢ for each spatial axis; None if all distances are equal. Raises ValueError for other counts."""
    if spacing is None:
        return None
    if len(spacing) != axes:
        raise ValueError(f"spacing must have {axes} numbers, one for each spatial axis, not {len(spacing)}")
    distances = checked("spacing", spacing)
    if len(set(distances)) == 1:
        return None
    return tuple(min(distances) / distance for distance in distances)


def _free(mask: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    free = np.asarray(mask)
    if free.dtype != np.bool_:
        raise TypeError(f"the mask must hold booleans, true for pixels to denoise, not {free.dtype}")
    _require_shape("mask", free.shape, shape)
    return free


#: The least and the largest weight of a pixel, apart from 0.
_WEIGHTS = (1e-6, 1e6)


def _weights(weights: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.floating]:
    given = np.asarray(weights)
    if given.dtype.kind not in "buif":
        raise TypeError(f"weights must be real numbers, not {given.dtype}")
    _require_shape("weights", given.shape, shape)
    positive = given[given != 0]
    least, largest = _WEIGHTS
    if positive.size and not (least <= float(positive.min()) and float(positive.max()) <= largest):
        raise ValueError(f"weights must be zero, or at least {least:g} and at most {largest:g}")
    return given.astype(np.float64)


def _require_shape(name: str, shape: tuple[int, ...], needed: tuple[int, ...]) -> None:
    if shape != needed:
        raise ValueError(
            f"{name} must have the shape {needed} of the image without its channels, not {shape}"
        )
