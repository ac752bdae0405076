"""The input of a solve: planes, missing and kept pixels, and the spacing of the axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import binary_opening, uniform_filter

from tvdenoise.images.layout import Layout
from tvdenoise.model.colour import RGB_CHANNELS, to_opponent
from tvdenoise.model.fidelity import Fidelity
from tvdenoise.options import checked

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


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
