"""Functions with the signatures of scikit-image, which can take the place of its own.

`denoise_tv` solves the problem of ``skimage.restoration.denoise_tv_chambolle`` with the descent of this package. It
returns the array alone; `tvdenoise.denoise` also returns the certificate, and chooses the weight.
"""

from __future__ import annotations

import math
import operator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tvdenoise.options import Count, Number, Options
from tvdenoise.solver.descent import Method

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray


#: The kernels know planes, rows and columns; images with more axes are solved with the sparse operators.
_MOST_KERNEL_AXES = 3
#: ε is at least this part of the weight: the solve slows down with a smaller one, and gains nothing visible.
_LEAST_SMOOTHING = 1e-4
#: Small ε are reached from larger ones: the first is this part of the weight, and each next one this part of the last.
_FIRST_SMOOTHING, _LESS_SMOOTHING = 0.05, 1 / 3


def denoise_tv(
    image: ArrayLike,
    weight: float = 0.1,
    eps: float = 2e-4,
    max_num_iter: int = 200,
    *,
    channel_axis: int | None = None,
) -> NDArray[np.floating]:
    """Minimise weight Σ |∇x| + ½ ‖x − f‖² for the image f, as ``skimage.restoration.denoise_tv_chambolle`` does.

    image: one axis or more; differences are taken along all of them but ``channel_axis``. With four axes or more the
        sparse operators are used, which take about 0.2 µs for each value and evaluation, and 600 bytes for each value.
    weight: > 0, in units of the image; larger is smoother. It is 1/μ for the μ of `tvdenoise.denoise`.
    eps: ≥ 0, the accuracy. The solve ends once the energy weight Σ |∇x| + ½ ‖x − f‖², with |∇x| smoothed, is certified
        to lie at most ``eps`` times the energy of the input above its minimum. (scikit-image ends when an iteration
        changes its energy by less than that, wherever the minimum is.) The smoothing ε follows from it: half the rms
        distance to the minimiser that this allows, and at least 1e-4 times the weight.
    max_num_iter: the largest number of evaluations of the objective gradient; a result that is cut short by it comes
        without a warning, as there.
    channel_axis: the axis of the channels, each of which is denoised by itself; None if there is none.

    Returns floats in the shape of the image: float32 for float16 and float32, float64 for all other types. Booleans
    become 0 and 1, and integers are divided by the largest value of their type (the least of a signed type becomes −1,
    too), as by ``skimage.util.img_as_float``. No value lies outside those of its channel in the input.

    Raises ValueError for values that are not finite and for parameters out of range, TypeError for images that do not
    hold real numbers, and numpy's AxisError for a ``channel_axis`` that the image does not have.
    """
    weight = Number(1e-12, 1e12).check("weight", weight)
    eps = Number(0.0, math.inf, may_be_zero=True).check("eps", eps)
    options = Options(max_iterations=Count().check("max_num_iter", max_num_iter))
    if np.ma.isMaskedArray(image):
        raise TypeError("masked arrays are not supported here; fill the masked values first")
    values = _as_float(np.asarray(image))
    if channel_axis is None:
        if values.ndim == 0:
            raise ValueError("the image must have at least one axis")
        return _minimiser(values, weight, eps, options)
    channels = np.moveaxis(values, operator.index(channel_axis), 0)
    if channels.ndim == 1:
        raise ValueError("the image must have at least one axis beside channel_axis")
    result = np.empty_like(values)
    for channel, out in zip(channels, np.moveaxis(result, channel_axis, 0), strict=True):
        out[...] = _minimiser(channel, weight, eps, options)
    return result


def _as_float(image: NDArray[np.generic]) -> NDArray[np.floating]:
    """Convert to float32 or float64, integers to fractions of the largest value of their type."""
    kind = image.dtype.kind
    if kind not in "buif":
        raise TypeError(f"the image must hold integers or real floating-point numbers, not {image.dtype}")
    if kind == "f":
        values = image.astype(np.float32 if image.dtype.itemsize <= np.dtype(np.float32).itemsize else float)
        if not np.isfinite(values).all():
            raise ValueError(
                "the image holds values that are not finite (NaN or infinity); replace them first"
            )
        return values
    values = image.astype(np.float64)
    if kind in "ui":
        values /= np.iinfo(image.dtype.char).max
        np.maximum(values, -1.0, out=values)
    return values


def _minimiser(
    values: NDArray[np.floating], weight: float, eps: float, options: Options
) -> NDArray[np.floating]:
    """Solve for one channel, within the bounds of its values."""
    steepness = _mean_gradient(values)
    if steepness == 0:
        return values.copy()
    low, high = values.min(), values.max()
    # An offset changes nothing but the rounding, which is least around zero.
    centre = values.dtype.type((float(low) + float(high)) / 2)
    # J is μ-strongly convex, so a distance of this rms costs at most eps times the energy of the input.
    distance = math.sqrt(2 * eps * weight * steepness)
    epsilon = max(distance / 2, _LEAST_SMOOTHING * weight)
    if values.ndim > _MOST_KERNEL_AXES:
        options = replace(options, engine="sparse")
    x = planes = np.ascontiguousarray(values - centre).reshape(_as_planes(values.shape))
    left = options.max_iterations
    for smoothing in _falling(epsilon, weight):
        tolerance = distance if smoothing == epsilon else smoothing
        method = Method(replace(options, max_iterations=left))
        found = method.minimise(planes, 1 / weight, smoothing, tolerance=tolerance, start=x)
        x, left = found.x, left - found.iterations
        if left <= 0:
            break
    result: NDArray[np.floating] = (x + centre).astype(values.dtype).reshape(values.shape)
    # So does the exact minimiser.
    np.clip(result, low, high, out=result)
    return result


def _falling(epsilon: float, weight: float) -> Iterator[float]:
    """Yield falling values of ε, the last of which is the one to solve for."""
    larger = _FIRST_SMOOTHING * weight
    while larger * _LESS_SMOOTHING > epsilon:
        yield larger
        larger *= _LESS_SMOOTHING
    yield epsilon


def _as_planes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape with an axis for the channel, and one for the rows of a signal."""
    return (1, 1, *shape) if len(shape) == 1 else (1, *shape)


def _mean_gradient(values: NDArray[np.floating]) -> float:
    """The mean of |∇f| over all pixels; 0 without any."""
    squared = np.zeros(values.shape)
    for axis in range(values.ndim):
        inner = (slice(None),) * axis + (slice(0, -1),)
        squared[inner] += np.square(np.diff(values, axis=axis), dtype=np.float64)
    return float(np.sqrt(squared, out=squared).mean()) if squared.size else 0.0
