"""Impulses: pixels that no neighbour supports, such as salt and pepper, or the hot pixels of a sensor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tvdenoise.images.specks import NEIGHBOURS, shifted
from tvdenoise.images.validity import RangeEnds, holds_nodata

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


#: A neighbour supports a pixel if they differ by at most this many times the noise level. Where there are many impulses
#: of exactly the least or the largest value of the image, as clipped ones are, such a pixel needs a closer neighbour.
_SUPPORT, _SUPPORT_AT_END = 4.0, 1.0
#: ... or by this part of the span of nearly all intensities: less does not disturb.
_LEAST_DIFFERENCE = 0.1
_PERCENTILES = (1.0, 99.0)
#: The median of the absolute differences of two neighbours, for white noise of level one.
_MEDIAN_DIFFERENCE = 0.6744897501960817 * 2**0.5
#: In smaller planes too few neighbours can support a pixel.
_LEAST_SIDE = 3
#: Impulses are clear if this part of the values is one at an end of the range, or exceeds all neighbours by these
#: multiples of the noise level and of the span, dark and bright, with this part of them in the smaller group. Stars and
#: beads are bright, and their edges support them.
_CLEAR_PART, _CLEAR_LEVELS, _CLEAR_DIFFERENCE, _LEAST_SIDED = 1e-3, 8.0, 0.25, 0.2
#: Impulses at one end of the range are those of a sensor or a transmission if the mean of their nearest neighbours
#: differs from that of the pixels around these by less than this part of their height; optics spread stars more.
_LEAST_HALO = 0.02
#: A pixel that this many pixels around its neighbours support is a detail, such as the white inside a small letter.
_MOST_AROUND = 2
_AROUND = tuple(
    (down, across) for down in range(-2, 3) for across in range(-2, 3) if max(abs(down), abs(across)) == 2
)
_NEAREST = ((-1, 0), (1, 0), (0, -1), (0, 1))
#: The most values to take a median or a percentile of.
_MOST_VALUES = 300_000


class Impulses:
    """The impulses of planes.

    where: the shape of a plane, true for a pixel that is an impulse in any channel.
    are_clear: they cannot be anything else but impulses.
    """

    def __init__(self, planes: NDArray[np.floating], ignored: NDArray[np.bool_] | None = None) -> None:
        """Find the impulses of planes (channels, rows, columns) or volumes as stored, plane by plane.

        ignored: pixels that hold no measurement: they neither support others nor are impulses.
        """
        self.where = np.zeros(planes.shape[1:], bool)
        counts = {True: 0, False: 0}  # of clear impulses, bright and dark
        ends_found = {True: 0, False: 0}
        halos, heights = 0.0, 0.0  # sums over the impulses at an end of the range
        for channel in planes:
            known = channel.ravel() if ignored is None else channel[~ignored]
            sigma = level_of(channel)
            low, high = np.percentile(known[:: _stride(known.size)], _PERCENTILES)
            span = float(high - low)
            least = _LEAST_DIFFERENCE * span
            extremes = RangeEnds()
            extremes.add(known)
            ends = {True: _end(extremes.highest, least), False: _end(extremes.lowest, least)}
            clear = max(_CLEAR_LEVELS * sigma, _CLEAR_DIFFERENCE * span)
            for place, plane in _planes_of(channel):
                if min(plane.shape) < _LEAST_SIDE:
                    continue
                unknown = None if ignored is None else ignored[place]
                for is_bright in (True, False):
                    end = ends[is_bright]
                    is_end = np.zeros(plane.shape, bool) if end is None else plane == end
                    reach = np.full(plane.shape, max(_SUPPORT * sigma, least), plane.dtype)
                    found, excess = _unsupported(plane, reach, is_end, unknown, is_bright=is_bright)
                    at_end = np.argwhere(found & is_end)
                    ends_found[is_bright] += len(at_end)
                    halo, height = _halo(plane, at_end, unknown)
                    halos, heights = halos + abs(halo), heights + abs(height)
                    counts[is_bright] += int(np.count_nonzero(excess[found] > clear))
                    if len(at_end) >= _CLEAR_PART / 2 * plane.size:
                        reach[is_end] = max(_SUPPORT_AT_END * sigma, least)
                        found, _ = _unsupported(plane, reach, is_end, unknown, is_bright=is_bright)
                    self.where[place] |= found
        total = sum(counts.values())
        is_sided = min(counts.values()) >= _LEAST_SIDED * total
        enough = _CLEAR_PART * planes.size
        at_end_total = sum(ends_found.values())
        has_halos = min(ends_found.values()) < _LEAST_SIDED * at_end_total and halos > _LEAST_HALO * heights
        self.are_clear = (at_end_total >= enough and not has_halos) or (is_sided and total >= enough)

    @property
    def count(self) -> int:
        """The number of pixels."""
        return int(np.count_nonzero(self.where))


def level_of(channel: NDArray[np.floating]) -> float:
    """Estimate the noise level of a plane or a volume from the differences of neighbours in a row, whatever impulses
    and edges it holds."""
    rows = channel.reshape(-1, channel.shape[-1])
    differences = np.abs(np.diff(rows[:: _stride(channel.size)], axis=-1))
    return float(np.median(differences)) / _MEDIAN_DIFFERENCE if differences.size else 0.0


def _end(values: list[tuple[float, int]], apart: float) -> float | None:
    """Return the end of the range, or None if it only ends a tail of the noise.

    values: the end and the next value, with their numbers. In a tail the end is no more frequent than the next value,
    which lies within ``apart``.
    """
    (end, count), *others = values
    is_tail = any(count <= number and abs(end - value) <= apart for value, number in others)
    return None if is_tail else end


def _stride(count: int) -> int:
    """Return the step between so many values at which enough remain."""
    return max(count // _MOST_VALUES, 1)


def _planes_of(channel: NDArray[np.floating]) -> Iterator[tuple[tuple[int, ...], NDArray[np.floating]]]:
    """Yield the planes of a channel with their places."""
    if channel.ndim == 2:
        yield (), channel
        return
    for number, plane in enumerate(channel):
        yield (number,), plane


def _unsupported(
    plane: NDArray[np.floating],
    reach: NDArray[np.floating],
    is_end: NDArray[np.bool_],
    unknown: NDArray[np.bool_] | None,
    *,
    is_bright: bool,
) -> tuple[NDArray[np.bool_], NDArray[np.floating]]:
    """Return which pixels of a plane exceed all neighbours by more than their reach, and by how much.

    is_bright: look for bright pixels, otherwise for dark ones. Two neighbours at this end of the range (is_end) that
    support each other, and have no other support, count as unsupported.
    """
    values = plane if is_bright else -plane
    supporters = np.zeros(plane.shape, np.uint8)
    excess = np.full(plane.shape, np.inf, plane.dtype)
    for target, source in map(shifted, NEIGHBOURS):
        difference = values[target] - values[source]
        supports = difference <= reach[target]
        exceeds = ~supports
        if unknown is not None:
            supports &= ~unknown[source]
            exceeds &= ~unknown[source]
        supporters[target] += supports
        np.minimum(excess[target], np.where(exceeds, difference, np.inf), out=excess[target])
    found = (supporters == 0) & np.isfinite(excess)  # at least one neighbour is known
    is_single = is_end & (supporters == 1)
    for target, source in map(shifted, NEIGHBOURS):
        found[target] |= is_single[target] & is_single[source]
    if unknown is not None:
        found &= ~unknown
    places = np.argwhere(found)
    is_detail = _supporters_around(values, reach, unknown, places) > _MOST_AROUND
    found[tuple(places[is_detail].T)] = False
    return found, excess


def _halo(
    plane: NDArray[np.floating], places: NDArray[np.intp], unknown: NDArray[np.bool_] | None
) -> tuple[float, float]:
    """Return how much light surrounds impulses, and how high they are, each summed over places.

    Both are measured from the mean of the 16 pixels around the neighbours: by the mean of the four nearest neighbours,
    and by the impulse itself. Places beside unknown pixels do not count.
    """
    rings = []
    here = tuple(places.T)
    counts = np.ones(len(places), bool)
    for offsets in (_NEAREST, _AROUND):
        total = np.zeros(len(places))
        for offset in offsets:
            there = tuple(np.clip(places + offset, 0, np.array(plane.shape) - 1).T)
            total += plane[there]
            if unknown is not None:
                counts &= ~unknown[there]
        rings.append(total / len(offsets))
    nearest, around = rings
    return float((nearest - around)[counts].sum()), float((plane[here] - around)[counts].sum())


def _supporters_around(
    values: NDArray[np.floating],
    reach: NDArray[np.floating],
    unknown: NDArray[np.bool_] | None,
    places: NDArray[np.intp],
) -> NDArray[np.intp]:
    """Return how many of the 16 pixels around the neighbours of each place support it."""
    count = np.zeros(len(places), np.intp)
    here = tuple(places.T)
    for offset in _AROUND:
        other = places + offset
        inside = ((other >= 0) & (other < values.shape)).all(axis=1)
        there = tuple(np.clip(other, 0, np.array(values.shape) - 1).T)
        supports = inside & (values[here] - values[there] <= reach[here])
        if unknown is not None:
            supports &= ~unknown[there]
        count += supports
    return count


#: The sides of the part of an image to look at for a hint.
_LOOKED_AT = 256


def impulses_of(
    image: NDArray[np.generic], visible: NDArray[np.bool_] | None = None, nodata: float | None = None
) -> Impulses:
    """Return the impulses of an image (rows, columns) or (rows, columns, channels).

    visible: (rows, columns), true for pixels that count; nodata: the value of pixels that do not.
    """
    values = np.moveaxis(image.reshape(*image.shape[:2], -1), -1, 0)
    planes = values.astype(np.float64)
    is_measured = np.isfinite(planes) & ~holds_nodata(values, nodata)
    unknown = np.asarray(~is_measured.all(axis=0))
    if visible is not None:
        unknown |= ~visible
    planes[:, unknown] = 0
    return Impulses(planes, unknown if unknown.any() and not unknown.all() else None)


def suspected(image: NDArray[np.generic], visible: NDArray[np.bool_] | None, nodata: float | None) -> int:
    """Return about how many impulses an image holds if they are clear, judged by its middle; see `impulses_of`."""
    rows, columns = image.shape[:2]
    starts = (max((length - _LOOKED_AT) // 2, 0) for length in (rows, columns))
    inner = tuple(slice(start, start + _LOOKED_AT) for start in starts)
    found = impulses_of(image[inner], None if visible is None else visible[inner], nodata)
    return round(found.count * rows * columns / found.where.size) if found.are_clear else 0
