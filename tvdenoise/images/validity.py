"""Values that are no measurements: those that stand for missing data, and those that are clipped."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tvdenoise.images.windows import box_sums

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def holds_nodata(
    values: NDArray[np.generic], nodata: float | None, *, keeps_nan: bool = False
) -> NDArray[np.bool_]:
    """Return which values mean that there are no data: ``nodata`` as stored in their type, or NaN if that is the value
    or is kept."""
    is_float = values.dtype.kind == "f"
    found = np.zeros(values.shape, bool)
    if is_float and (keeps_nan or (nodata is not None and math.isnan(nodata))):
        found |= np.isnan(values)
    if nodata is not None and not math.isnan(nodata) and (is_float or float(nodata).is_integer()):
        with np.errstate(over="ignore"):
            found |= values == (values.dtype.type(nodata) if is_float else int(nodata))
    return found


#: Values pile up at an end of the range if this part of all pixels has exactly that value ...
_CLIPPED_PART = 0.01
#: ... and so many times more than have the next value: unclipped intensities thin out towards their extremes.
_PILE = 2.0
#: A pixel lies near a clipped area if more than this part of the pixels within this distance (rows and columns) are
#: clipped: its intensity is then less than 0.5 σ from the end of the range, where much of the noise is cut away. The
#: pixel's own value would be a biased witness.
_CLIPPED_NEARBY, _CLIPPED_REACH = 0.3, 4
#: The values to examine at a time, which fit the cache.
_BAND = 1 << 16


def near_clipped(
    planes: NDArray[np.floating], ignored: NDArray[np.bool_] | None = None
) -> NDArray[np.bool_] | None:
    """Return the mask of pixels near clipped areas in half of the channels of planes (channels, ...), or None.

    A colour that is clipped in one channel of three, like a saturated red, keeps most of its noise.

    ignored: pixels that do not count. The planes are those as stored, before the rotation of colours.
    """
    levels = [clipping_levels(plane, ignored) for plane in planes]
    return near_levels(planes, levels, ignored)


def near_levels(
    planes: NDArray[np.floating],
    levels: Sequence[Sequence[float]],
    ignored: NDArray[np.bool_] | None = None,
) -> NDArray[np.bool_] | None:
    """Return the same for known levels, a sequence for each channel."""
    if not any(levels):
        return None
    clipped_channels = np.zeros(planes.shape[1:], np.uint8)
    for plane, ends in zip(planes, levels, strict=True):
        if not ends:
            continue
        at_level = plane == plane.dtype.type(ends[0])
        for end in ends[1:]:
            at_level |= plane == plane.dtype.type(end)
        if ignored is not None:
            at_level &= ~ignored
        for place in np.ndindex(plane.shape[:-2]):
            _add_crowded(at_level[place], clipped_channels[place])
    near: NDArray[np.bool_] = 2 * clipped_channels >= len(planes)
    return near if near.any() else None


def _add_crowded(flags: NDArray[np.bool_], counts: NDArray[np.uint8]) -> None:
    """Add 1 to the counts where more than `_CLIPPED_NEARBY` of the flags (rows, columns) nearby are true.

    The image is mirrored at its edges. The rows are taken in bands that fit the cache.
    """
    side = 2 * _CLIPPED_REACH + 1
    needed = math.floor(_CLIPPED_NEARBY * side**2) + 1
    rows, columns = flags.shape
    mirrored = np.pad(flags, _CLIPPED_REACH, mode="symmetric").view(np.uint8)
    height = max(1, 4 * _BAND // columns)
    for top in range(0, rows, height):
        band = mirrored[top : top + height + 2 * _CLIPPED_REACH]
        if band.any():
            counts[top : top + height] += (box_sums(band, side) >= needed).view(np.uint8)


def clipping_levels(
    plane: NDArray[np.floating], ignored: NDArray[np.bool_] | None = None
) -> tuple[float, ...]:
    """Return the ends of the range of a plane at which values pile up."""
    ends = RangeEnds()
    ends.add(plane if ignored is None else plane[~ignored])
    return ends.clipping


#: The values kept at each end of the range.
_ENDS = 2


class RangeEnds:
    """The two least and the two largest values of a plane with their numbers, gathered part by part."""

    def __init__(self) -> None:
        self._ends: tuple[dict[float, int], dict[float, int]] = ({}, {})
        self._size = 0

    def add(self, values: NDArray[np.generic]) -> None:
        """Add the values of a part."""
        if values.size == 0:
            return
        self._size += values.size
        flat = values.reshape(-1)
        for first in range(0, flat.size, _BAND):
            band = flat[first : first + _BAND]
            for known, inner, order in zip(self._ends, (np.fmin, np.fmax), (1, -1), strict=True):
                _add_end(known, band, inner, order)

    @property
    def lowest(self) -> list[tuple[float, int]]:
        """The least value and the next one, with their numbers."""
        return sorted(self._ends[0].items())

    @property
    def highest(self) -> list[tuple[float, int]]:
        """The largest value and the next one, with their numbers."""
        return sorted(self._ends[1].items(), reverse=True)

    @property
    def clipping(self) -> tuple[float, ...]:
        """The ends of the range at which values pile up."""
        found = []
        for values in (self.lowest, self.highest):
            if len(values) < 2:
                continue
            (level, count), (_, following) = values
            if count >= _CLIPPED_PART * self._size and count > _PILE * following:
                found.append(level)
        return tuple(found)


def _add_end(known: dict[float, int], values: NDArray[np.generic], inner: np.ufunc, order: int) -> None:
    """Count the two values at an end of the range, the least with ``inner`` as the minimum and order 1.

    known: the two found so far, with their numbers.
    """
    level = inner.reduce(values, axis=None)
    if len(known) == _ENDS and all(order * float(level) > order * value for value in known):
        return
    if len(known) == _ENDS:
        end, following = sorted(known, reverse=order < 0)
        number, next_number = (int(np.count_nonzero(values == value)) for value in (end, following))
        up_to = (np.less_equal if order > 0 else np.greater_equal)(values, following)
        if number + next_number == np.count_nonzero(up_to):  # no other values, as in most bands of integers
            known[end] += number
            known[following] += next_number
            return
    at_level = values == level
    count = int(np.count_nonzero(at_level))
    known[float(level)] = known.get(float(level), 0) + count
    if count < values.size:
        start = np.inf if order > 0 else -np.inf
        others = np.where(at_level, start, values) if values.dtype.kind == "f" else values[~at_level]
        following = inner.reduce(others, axis=None)
        number = int(np.count_nonzero(values == following))
        known[float(following)] = known.get(float(following), 0) + number
    for value in sorted(known, reverse=order < 0)[_ENDS:]:
        del known[value]
