"""Arrays and the planes that are solved: layout, units, missing, absent and kept pixels, and spacing."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from tvdenoise.images.impulses import Impulses
from tvdenoise.images.validity import holds_nodata, near_clipped
from tvdenoise.machine import on_bands
from tvdenoise.model.colour import RGB_CHANNELS, to_opponent
from tvdenoise.model.fidelity import Fidelity
from tvdenoise.options import checked
from tvdenoise.precision import precision_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray


#: Integers beyond this cannot be told apart in double precision.
_LARGEST_INTEGER = 2**53
#: The square of a larger intensity, such as a variance, may be no number in double precision.
_LARGEST_INTENSITY = 1e150
#: The standard deviation of rounding to whole steps, in steps (uniform over one step).
_ROUNDING = 12**-0.5
#: Noise below this part of a step does not change a rounded value.
_LEAST_PART_OF_STEP = 0.1
Value = TypeVar("Value", bound=np.generic)


@dataclass(frozen=True)
class Layout:
    """How an image is stored, and how to convert it to (channels, rows, columns) in units of its own and back.

    A volume becomes (channels, planes, rows, columns). Planes hold (value − centre)/unit. Centre and unit follow the
    values (`placed`), so that the result follows the data whatever their scale and offset; the unit is a power of
    two, so that it rounds nothing.

    data_range: the stored value that counts as 1 in parameters and bounds, and in the results of integers.
    channel_axis: the axis of the channels, from 0; None for a single channel without an axis.
    spatial_axes: the axes of rows and columns, or planes, rows and columns, from 0.
    centre, unit: stored values; 0 and the data range until placed.
    largest: the largest magnitude of a stored value; 0 until placed.
    """

    dtype: np.dtype[np.generic]
    channel_axis: int | None
    spatial_axes: tuple[int, ...]
    data_range: float
    centre: float
    unit: float
    largest: float = 0.0

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
        return cls(dtype, channel_axis, axes, data_range, 0.0, data_range)

    def placed(self, low: np.generic | float, high: np.generic | float) -> Layout:
        """Return the layout with the centre and the unit for values from ``low`` to ``high``.

        Raises ValueError for values whose differences cannot be computed: subnormal floats, too large ones, and
        integers beyond 2⁵³.
        """
        least, most = float(low), float(high)
        largest, span = max(abs(least), abs(most)), most - least
        limits = np.finfo(self.precision)
        if self.dtype.kind == "f" and 0 < largest < float(np.finfo(self.dtype.char).tiny):
            raise ValueError(
                f"the intensities are subnormal (at most {largest:.3g}), which loses their digits; "
                "multiply them by a constant first"
            )
        if self.dtype.kind in "ui" and max(abs(int(low)), abs(int(high))) > _LARGEST_INTEGER:
            raise ValueError(f"the image holds integers beyond 2**53, such as {largest:.6g}; scale it first")
        if not largest <= _LARGEST_INTENSITY:
            raise ValueError(f"the intensities reach {largest:.3g}; divide them by a constant first")
        if self.dtype.kind == "f":
            centre = float(self.precision.type(least / 2 + most / 2))
        else:
            centre = float((int(low) + int(high)) // 2)
        exponent = int(np.frexp(span or largest or 1.0)[1])
        exponent = min(max(exponent, limits.minexp + 1), limits.maxexp - 2)
        return replace(self, centre=centre, unit=2.0**exponent, largest=largest)

    @property
    def precision(self) -> np.dtype[np.floating]:
        """See `precision_of`."""
        return precision_of(self.dtype)

    @property
    def scale(self) -> float:
        """The unit in data ranges."""
        return self.unit / self.data_range

    @property
    def step(self) -> float:
        """The step of integers in units; 0 for floats."""
        return 0.0 if self.dtype.kind == "f" else 1 / self.unit

    @property
    def least_sigma(self) -> float:
        """The least noise level to assume (units): a tenth of a step, or the rounding of the stored floats.

        It keeps μ finite; a clean image comes back as it was.
        """
        if self.dtype.kind != "f":
            return _LEAST_PART_OF_STEP * self.step
        return _ROUNDING * float(np.finfo(self.dtype.char).eps) * (self.largest / self.unit or 1.0)

    @property
    def rounding(self) -> float:
        """The error of the returned values from the conversion of solved planes, in units."""
        roundoff = float(np.finfo(self.precision).eps) / 2
        return (1 if self.dtype.kind == "f" else 2) * roundoff * self.largest / self.unit

    @property
    def _order(self) -> tuple[int, ...]:
        """The image's axes in the order of the planes' axes."""
        return self.spatial_axes if self.channel_axis is None else (self.channel_axis, *self.spatial_axes)

    def planes(self, image: NDArray[np.generic]) -> NDArray[np.floating]:
        """Return new planes, (channels, rows, columns) or (channels, planes, rows, columns), in units.

        Values are not checked; those that are not finite remain so.
        """
        transposed = np.transpose(image, self._order)
        channels_first = transposed[np.newaxis] if self.channel_axis is None else transposed
        scalar = self.precision.type
        planes = np.empty(channels_first.shape, self.precision)

        def convert(rows: slice) -> None:
            with np.errstate(over="ignore", invalid="ignore"):  # at missing pixels
                for channel, plane in zip(channels_first, planes, strict=True):
                    band = plane[rows]
                    np.subtract(channel[rows], scalar(self.centre), out=band, dtype=self.precision)
                    if self.unit != 1.0:
                        np.divide(band, scalar(self.unit), out=band)

        on_bands(convert, planes.shape[1], planes.size)
        return planes

    def image(self, planes: NDArray[np.floating]) -> NDArray[np.floating]:
        """Convert planes, which are overwritten, to an image in the shape and units of results."""
        scalar = self.precision.type
        without_axis = planes[0] if self.channel_axis is None else planes
        image = np.transpose(without_axis, np.argsort(self._order))
        result = planes  # already in the order of the image
        if not image.flags.c_contiguous or planes.dtype != self.precision:
            image = np.empty(image.shape, self.precision)
            result = np.transpose(image, self._order)
            result = result[np.newaxis] if self.channel_axis is None else result

        def convert(rows: slice) -> None:
            for plane, channel in zip(planes, result, strict=True):
                band = plane[rows]
                np.multiply(band, scalar(self.unit), out=band)
                if self.centre:
                    np.add(band, scalar(self.centre), out=band)
                if self.dtype.kind != "f" and self.data_range != 1.0:
                    np.divide(band, scalar(self.data_range), out=band)
                if result is not planes:
                    channel[rows] = band

        on_bands(convert, planes.shape[1], planes.size)
        return image

    def pixel_shape(self, image: NDArray[np.generic]) -> tuple[int, ...]:
        """Return the shape of the image without its channel axis, as for masks and weights."""
        return tuple(length for axis, length in enumerate(image.shape) if axis != self.channel_axis)

    def any_channel(self, flags: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return flags of the image's shape, joined over the channels: `pixel_shape`."""
        if self.channel_axis is None:
            return flags
        joined: NDArray[np.bool_] = np.asarray(flags.any(axis=self.channel_axis))
        return joined

    def for_channels(self, values: NDArray[Value]) -> NDArray[Value]:
        """Return values of `pixel_shape` with an axis of length one for the channels, if the image has one."""
        return values if self.channel_axis is None else np.expand_dims(values, self.channel_axis)

    def of_pixels(self, values: NDArray[Value]) -> NDArray[Value]:
        """Transpose values of `pixel_shape` to the order of the planes."""
        return np.transpose(values, np.argsort(np.argsort(self.spatial_axes)))

    def keep(
        self, result: NDArray[np.floating], image: NDArray[np.generic], is_kept: NDArray[np.bool_]
    ) -> None:
        """Copy the image's pixels into a result where is_kept, which has the shape `pixel_shape`."""
        where = self.for_channels(is_kept)
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


def require_finite(bad: int) -> None:
    """Raise ValueError if ``bad`` values are not finite."""
    if bad:
        raise ValueError(
            f"the image holds {bad} values that are not finite (NaN or infinity); replace them first, "
            'or nan="fill", or nan="keep"'
        )


def extremes_of(
    image: NDArray[np.generic], where: NDArray[np.bool_] | None = None
) -> tuple[np.generic, np.generic]:
    """Return the least and the largest value; where: of the image's shape, false for values to ignore.

    Raises ValueError if one is not finite, or if no value counts.
    """
    if where is None:
        low, high = image.min(), image.max()
    else:
        if not where.any():
            raise ValueError("no pixel is known: all are missing or have the weight zero")
        least, most = _limits(image.dtype)
        low = np.min(image, where=where, initial=most)
        high = np.max(image, where=where, initial=least)
    if image.dtype.kind == "f" and not (np.isfinite(low) and np.isfinite(high)):
        bad = ~np.isfinite(image)
        require_finite(int(np.count_nonzero(bad if where is None else bad & where)))
    return low, high


def _limits(dtype: np.dtype[np.generic]) -> tuple[Any, Any]:
    """Return the least and the largest value of a type."""
    if dtype.kind == "f":
        return -np.inf, np.inf
    if dtype.kind == "b":
        return False, True
    return np.iinfo(dtype.char).min, np.iinfo(dtype.char).max


def _dimensions_message(shape: tuple[int, ...]) -> str:
    if len(shape) != 3:
        return (
            f"the image must have two axes (rows, columns), or three with channel_axis, not shape {shape}; "
            "name the axes of a signal, a volume or a stack with spatial_axes"
        )
    likely = 0 if shape[0] in (2, RGB_CHANNELS, 4) and shape[2] not in (2, RGB_CHANNELS, 4) else -1
    return (
        f"an image of shape {shape} has three axes; pass channel_axis={likely} if that axis holds the channels, "
        "spatial_axes=(0, 1, 2) if it is a volume, or spatial_axes=(1, 2) if it is a stack of images"
    )


_LEAST_SIDE = 3
#: The largest distance to the pixel whose noise replaces that of a missing one, and the attempts to find one.
_REACH, _ATTEMPTS = 3, 6


def fill(planes: NDArray[np.floating], is_missing: NDArray[np.bool_]) -> None:
    """Fill the missing pixels of planes (channels, ...) in place, with means over windows that grow as needed.

    is_missing: the shape of one channel; at least one pixel must be known. Missing pixels may hold anything, NaN too.
    """
    from scipy.ndimage import uniform_filter

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
    from scipy.ndimage import binary_opening, uniform_filter

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

    planes: (channels, rows, columns) or (channels, planes, rows, columns) in the layout's units, luminance and
    opponents for RGB, with missing and absent pixels filled.
    fidelity: the weights of pixels, None for ones.
    axis_weights: h_min/hᵢ for pixel distances hᵢ along each axis, None if they are equal.
    kept: the image and the mask of its kept and absent pixels, without the channel axis; None if there are none.
    clipped: true for pixels near an end of the range at which values pile up; None if there are none.
    impulses: true for pixels that no neighbour supports, which are absent from the solve and to be filled; None if
    there are none.
    opponent: luminance and opponents, where ``planes`` are only the opponents, a view of it; otherwise None.
    """

    layout: Layout
    planes: NDArray[np.floating]
    fidelity: Fidelity | None = None
    axis_weights: tuple[float, ...] | None = None
    kept: tuple[NDArray[np.generic], NDArray[np.bool_]] | None = None
    clipped: NDArray[np.bool_] | None = None
    impulses: NDArray[np.bool_] | None = None
    opponent: NDArray[np.floating] | None = None

    @property
    def channels(self) -> int:
        """The number of channels of the image."""
        return len(self.planes if self.opponent is None else self.opponent)

    def chroma(self) -> Data:
        """Return the data for solving the opponents alone. Raises ValueError if pixels are missing (weight 0)."""
        if self.fidelity is not None and self.fidelity.has_missing:
            raise ValueError(
                "chroma_only keeps the brightness, which missing pixels do not have; leave it out"
            )
        return replace(self, planes=self.planes[1:], opponent=self.planes)

    def in_double_precision(self) -> Data:
        """Return the data with its planes and weights in double precision."""
        fidelity = None if self.fidelity is None else Fidelity(self.fidelity.coded.astype(np.float64))
        if self.opponent is None:
            return replace(self, planes=self.planes.astype(np.float64), fidelity=fidelity)
        opponent = self.opponent.astype(np.float64)
        return replace(self, planes=opponent[1:], opponent=opponent, fidelity=fidelity)


def data_of(
    image: ArrayLike,
    channel_axis: int | None,
    data_range: float | None,
    *,
    spatial_axes: Sequence[int] | None = None,
    spacing: Sequence[float] | None = None,
    weights: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    nan: str = "refuse",
    nodata: float | None = None,
    impulses: str = "off",
    finds_clipped: bool = False,
) -> Data:
    """Convert an image with its weights and mask. Raises TypeError and ValueError as `tvdenoise.denoise` does.

    nan, nodata, impulses: see `tvdenoise.Options`. finds_clipped: look for clipped pixels.
    """
    array = np.asarray(image)
    known_range = checked("data_range", data_range)
    layout = Layout.of(array, channel_axis, known_range, spatial_axes)
    axis_weights = axis_weights_of(spacing, len(layout.spatial_axes))
    free = None if mask is None else _free(mask, layout.pixel_shape(array))
    given = None if weights is None else _weights(weights, layout.pixel_shape(array))
    absent = absent_pixels(array, layout, nodata, keeps_nan=nan == "keep")
    if np.ma.isMaskedArray(image) and np.ma.getmask(image) is not np.ma.nomask:
        masked = layout.any_channel(np.ma.getmaskarray(image))
        absent = masked if absent is None else absent | masked
    given = _with_missing(given, array, layout, absent, free) if nan == "fill" else given
    void = _void(given, free, absent)
    known = None if void is None else layout.for_channels(~void)
    layout = layout.placed(
        *extremes_of(array, None if known is None else np.broadcast_to(known, array.shape))
    )
    planes = layout.planes(array)
    is_void = None if void is None else layout.of_pixels(void)
    is_free = None if free is None else layout.of_pixels(free)
    is_absent = None if absent is None else layout.of_pixels(absent)
    if is_void is not None:
        fill(planes, is_void)
    removed = None if impulses == "off" else _impulses(planes, impulses, is_void, is_free)
    if removed is not None:
        is_absent = removed if is_absent is None else is_absent | removed
        is_void = removed if is_void is None else is_void | removed
        fill(planes, is_void)
    weights_of_planes = None if given is None else layout.of_pixels(given)
    fidelity = Fidelity.of(weights_of_planes, is_free, is_absent, planes.dtype)
    clipped = near_clipped(planes, is_void) if finds_clipped else None
    if len(planes) == RGB_CHANNELS:
        planes = to_opponent(planes, out=planes)
    is_kept = None if free is None or free.all() else ~free
    if absent is not None:
        is_kept = absent if is_kept is None else is_kept | absent
    kept = None if is_kept is None else (array, is_kept)
    return Data(layout, planes, fidelity, axis_weights, kept, clipped, removed)


def _impulses(
    planes: NDArray[np.floating],
    choice: str,
    ignored: NDArray[np.bool_] | None,
    free: NDArray[np.bool_] | None,
) -> NDArray[np.bool_] | None:
    """Return the mask of the impulses to remove from planes as stored; None if there are none.

    choice: "on", or "auto" for clear ones. ignored: missing and absent pixels. free: pixels that may change.
    """
    found = Impulses(planes, ignored)
    where = found.where if free is None else found.where & free
    return where if where.any() and (choice == "on" or found.are_clear) else None


def absent_pixels(
    image: NDArray[np.generic], layout: Layout, nodata: float | None, *, keeps_nan: bool = False
) -> NDArray[np.bool_] | None:
    """Return the mask of the pixels that are no measurement in any channel, without its axis; None if there are none.

    They hold the value ``nodata`` as stored in the image's type, or NaN if that is the value or is kept.
    """
    if nodata is None and not keeps_nan:
        return None
    found = holds_nodata(image, nodata, keeps_nan=keeps_nan)
    return layout.any_channel(found) if found.any() else None


def _with_missing(
    weights: NDArray[np.floating] | None,
    image: NDArray[np.generic],
    layout: Layout,
    absent: NDArray[np.bool_] | None,
    free: NDArray[np.bool_] | None,
) -> NDArray[np.floating] | None:
    """Return the weights with zeros where any channel is NaN, but for absent pixels."""
    if image.dtype.kind != "f":
        return weights
    has_nan = layout.any_channel(np.isnan(image))
    if absent is not None:
        has_nan &= ~absent
    if not has_nan.any():
        return weights
    if free is not None and (has_nan & ~free).any():
        raise ValueError("pixels that the mask keeps are NaN; they must be known, or filled")
    if has_nan.all():
        raise ValueError("the image holds nothing but NaN")
    filled: NDArray[np.floating] = np.where(has_nan, 0, 1 if weights is None else weights)
    return filled


def _void(
    weights: NDArray[np.floating] | None, free: NDArray[np.bool_] | None, absent: NDArray[np.bool_] | None
) -> NDArray[np.bool_] | None:
    """Return the mask of the missing and absent pixels, which may hold anything; None if there are none."""
    void = absent
    if weights is not None:
        missing = weights == 0 if free is None else (weights == 0) & free
        void = missing if void is None else void | missing
    return void if void is not None and void.any() else None


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
