"""A bounded sample of an image or a volume, for estimates whose cost must not grow with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tvdenoise.model.fidelity import Fidelity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

#: Values (pixels times channels) of a sample.
_MOST_VALUES = 300_000
#: Tiles a side; fewer, in volumes, where they would be thinner than this: the seams would be too many.
_TILES = 4
_LEAST_RUN = 16


def sample(planes: NDArray[np.floating]) -> NDArray[np.floating]:
    """Planes (channels, rows, columns) as they are where small, else a mosaic of tiles spread evenly over them.

    The tiles lie side by side in their own order; their seams are few enough not to matter. The same for volumes.
    """
    pieces = pieces_of(planes.shape)
    return planes if pieces is None else taken(planes, pieces)


def pieces_of(shape: Sequence[int]) -> list[NDArray[np.intp]] | None:
    """The places along each spatial axis that a sample holds; None where it is the whole of a shape (channels, ...)."""
    size = int(np.prod(shape))
    if size <= _MOST_VALUES:
        return None
    spatial = shape[1:]
    scale = (_MOST_VALUES / size) ** (1 / len(spatial))
    kept = [max(8, int(length * scale)) for length in spatial]
    if len(spatial) == 2:
        return [_pieces(length, most, _TILES) for length, most in zip(spatial, kept, strict=True)]
    return [
        _pieces(length, most, min(max(most // _LEAST_RUN, 1), _TILES))
        for length, most in zip(spatial, kept, strict=True)
    ]


def taken(values: NDArray[np.floating], pieces: Sequence[NDArray[np.intp]]) -> NDArray[np.floating]:
    """The sample at these places along the last axes of an array."""
    for axis, places in enumerate(reversed(pieces), start=1):
        values = np.take(values, places, axis=-axis)
    return np.ascontiguousarray(values)


def sample_of_free(planes: NDArray[np.floating], fidelity: Fidelity) -> tuple[NDArray[np.floating], Fidelity]:
    """The same of the smallest box that holds every pixel that is sought, with the pixels' weights."""
    box = [_extent(fidelity.is_free, axis) for axis in range(fidelity.coded.ndim)]
    planes, coded = planes[:, *box], fidelity.coded[tuple(box)]
    pieces = pieces_of(planes.shape)
    if pieces is not None:
        planes, coded = taken(planes, pieces), taken(coded, pieces)
    return planes, Fidelity(np.ascontiguousarray(coded, np.float32))


def _extent(is_free: NDArray[np.bool_], axis: int) -> slice:
    """From the first to the last free pixel along an axis, and one more on both sides, which they are compared with."""
    others = tuple(other for other in range(is_free.ndim) if other != axis)
    places = np.flatnonzero(is_free.any(axis=others))
    return slice(max(places[0] - 1, 0), places[-1] + 2) if places.size else slice(None)


def _pieces(length: int, kept: int, tiles: int) -> NDArray[np.intp]:
    """The indices of about ``kept`` of ``length`` places, in equal runs at equal distances."""
    if kept >= length:
        return np.arange(length)
    run = -(-kept // tiles)
    if tiles == 1:
        return np.arange(run) + (length - run) // 2
    starts = np.linspace(0, length - run, tiles).astype(np.intp)
    return np.unique(np.add.outer(starts, np.arange(run)).ravel())
