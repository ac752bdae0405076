"""Pictures of a stack as one volume, to be denoised together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tvdenoise.files.picture import Picture
    from tvdenoise.files.stack import Stack


@dataclass(frozen=True, eq=False)
class Volume:
    """Planes of one kind.

    intensities: (planes, rows, columns), with the colours last where there are some; as stored, but that invisible
    ones are replaced by the nearest visible ones of their plane, or of the nearest plane that has some.
    visible: (planes, rows, columns), or None where every pixel is.
    channels, is_float: as in `Picture`; spacing: the distances of planes, rows and columns, in any unit.
    missing: how many visible pixels are NaN; notices: those of the pictures.
    """

    intensities: NDArray[Any]
    visible: NDArray[np.bool_] | None
    channels: int
    is_float: bool
    spacing: tuple[float, ...]
    missing: int = 0
    notices: tuple[str, ...] = ()

    def noisy(self) -> NDArray[Any]:
        """The intensities to denoise."""
        return self.intensities


def in_order(stack: Stack, numbers: Sequence[int]) -> Iterator[tuple[int, Picture]]:
    """The pictures of some numbers, read in their order in the file, each with its place among the numbers."""
    places = sorted(range(len(numbers)), key=numbers.__getitem__)
    yield from zip(places, stack.read([numbers[place] for place in places]), strict=True)


def gathered(stack: Stack, numbers: Sequence[int], spacing: tuple[float, ...]) -> Volume:
    """The volume whose planes, in this order, are the pictures of some numbers."""
    first = stack.first
    intensities = np.empty((len(numbers), *first.intensities.shape), first.intensities.dtype)
    visible: NDArray[np.bool_] | None = None
    missing = 0
    notices: dict[str, None] = {}
    for place, picture in in_order(stack, numbers):
        intensities[place] = picture.noisy()
        missing += picture.missing
        notices |= dict.fromkeys(picture.notices)
        if picture.visible is not None:
            if visible is None:
                visible = np.ones((len(numbers), *intensities.shape[1:3]), bool)
            visible[place] = picture.visible
    if visible is not None:
        _fill_hidden_planes(intensities, visible)
    return Volume(intensities, visible, first.channels, first.is_float, spacing, missing, tuple(notices))


def _fill_hidden_planes(intensities: NDArray[Any], visible: NDArray[np.bool_]) -> None:
    """Give planes of which nothing is visible the intensities of the nearest one of which something is."""
    is_seen = visible.any(axis=(1, 2))
    seen = np.flatnonzero(is_seen)
    for place in np.flatnonzero(~is_seen) if seen.size else ():
        intensities[place] = intensities[seen[np.argmin(np.abs(seen - place))]]
