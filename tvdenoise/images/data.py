"""The image as it is solved: its planes, missing and kept pixels, and the spacing of its axes."""

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
#: How far away a pixel may be whose noise stands for that of a missing one, and how often one is looked for.
_REACH, _ATTEMPTS = 3, 6


def fill(planes: NDArray[np.floating], is_missing: NDArray[np.bool_]) -> None:
    """Replace the missing pixels of planes (channels, ...) in place, from windows that grow until they know some.

    is_missing: with the shape of one channel; not all may be. What stood there, NaN too, is not looked at.
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
    """Filled planes (channels, ...) as an estimator of noise should see them, and which pixels it may look at.

    Scattered missing pixels would leave few windows without any, and filled ones have hardly any noise. To their
    first value is added what a known pixel nearby differs by from the mean of its 3×3 pixels: this has 8/9 of the
    variance of the noise, and the first value, a mean of eight, has the rest. Holes of 3×3 pixels and more are not
    looked at.
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
    """An image as it is solved.

    planes: (channels, rows, columns) or (channels, planes, rows, columns) in data ranges, luminance and opponents
    for RGB, with first values where pixels are missing.
    fidelity: the weights of pixels, None for ones.
    axis_weights: the least distance of pixels over that along each axis, None where all are the same.
    kept: the image itself and where its pixels are kept, with its shape but for the channels; None where nowhere.
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
    """The image's planes and what is known of its pixels.

    fills: NaN stands for missing pixels.
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
    """Planes with first values for missing pixels, and the fidelity.

    owned: the planes may be written to.
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
    """The image with zeros where pixels are missing by their weights: they may hold anything at all."""
    if weights is None:
        return image
    is_missing = weights == 0 if free is None else (weights == 0) & free
    if not is_missing.any() or is_missing.all():
        return image
    where = is_missing if layout.channel_axis is None else np.expand_dims(is_missing, layout.channel_axis)
    return np.where(where, image.dtype.type(0), image)


def axis_weights_of(spacing: Sequence[float] | None, axes: int) -> tuple[float, ...] | None:
    """h_min/hᵢ for each spatial axis; None where all distances are the same."""
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


#: The least and the largest weight of a pixel in the fidelity, but for 0.
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
