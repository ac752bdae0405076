"""Specks of a black-and-white image: groups of one or two pixels that differ from everything around them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


_LEAST_SIDE = 3  # in smaller images a speck could be all there is of its colour, and so could the rest
_HALO = 2  # rows on which the pixels of a row depend
_BAND = 1 << 22  # pixels examined at a time
NEIGHBOURS = tuple((down, across) for down in (-1, 0, 1) for across in (-1, 0, 1) if (down, across) != (0, 0))


def specks_in(values: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which pixels of an image (rows, columns) belong to specks of either colour.

    A speck is a pixel with none of its up to 8 neighbours of its value, or two neighbours that have no other of their
    value. Without the specks there are no new ones: each group that remains has three pixels or more. Images of fewer
    than three rows or columns have none.
    """
    rows, columns = values.shape
    found = np.zeros((rows, columns), bool)
    if min(rows, columns) < _LEAST_SIDE:
        return found
    height = max(1, _BAND // columns)
    for top in range(0, rows, height):
        start = max(0, top - _HALO)
        bottom = min(rows, top + height)
        band = _specks_of(values[start : min(rows, bottom + _HALO)])
        found[top:bottom] = band[top - start : bottom - start]
    return found


def _specks_of(values: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """As `specks_in`, except for rows next to which rows are missing."""
    shape = values.shape
    supporters = np.zeros(shape, np.uint8)
    for target, source in map(shifted, NEIGHBOURS):
        supporters[target] += values[target] == values[source]
    is_single = supporters == 1
    is_pair = np.zeros(shape, bool)
    for target, source in map(shifted, NEIGHBOURS):
        is_pair[target] |= is_single[target] & is_single[source] & (values[target] == values[source])
    is_pair |= supporters == 0
    return is_pair


def shifted(neighbour: tuple[int, int]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return the pixels that have a neighbour in this direction, and those neighbours."""
    down, across = neighbour
    return (_part(-down), _part(-across)), (_part(down), _part(across))


def _part(shift: int) -> slice:
    return slice(max(0, shift), min(0, shift) or None)


def count_specks(specks: NDArray[np.bool_]) -> int:
    """Return the number of specks, given their pixels."""
    from scipy.ndimage import label

    return int(label(specks, np.ones((3, 3), bool))[1])
