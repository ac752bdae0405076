"""Orientation: turning and mirroring images between stored and displayed order (EXIF)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tvdenoise.formats.tiff.directories import orientation_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tvdenoise.files.decoded import DecodedImage


#: By orientation: whether to transpose, then whether to reverse rows, and whether to reverse columns.
_TURNS = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


@dataclass(frozen=True)
class Box:
    """A rectangle of whole pixels."""

    left: int
    top: int
    width: int
    height: int

    @property
    def rows(self) -> slice:
        return slice(self.top, self.top + self.height)

    @property
    def columns(self) -> slice:
        return slice(self.left, self.left + self.width)

    def lies_within(self, columns: int, rows: int) -> bool:
        """Return whether the box has pixels and lies within an image of that size."""
        is_positive = min(self.left, self.top) >= 0 and min(self.width, self.height) >= 1
        return is_positive and self.left + self.width <= columns and self.top + self.height <= rows

    def widened(self, margin: int, columns: int, rows: int) -> Box:
        """Add a margin on all sides, clipped to an image of that size."""
        left, top = max(0, self.left - margin), max(0, self.top - margin)
        right = min(columns, self.left + self.width + margin)
        bottom = min(rows, self.top + self.height + margin)
        return Box(left, top, right - left, bottom - top)

    def seen_from(self, other: Box) -> Box:
        """Return the box relative to the corner of another one."""
        return Box(self.left - other.left, self.top - other.top, self.width, self.height)


@dataclass(frozen=True)
class Orientation:
    """The mapping from stored pixels to the displayed image; number: as in EXIF data, from 1 (upright) to 8."""

    number: int = 1

    @classmethod
    def of(cls, image: DecodedImage) -> Orientation:
        return cls(orientation_of(image.metadata.exif))

    def shown(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Return stored values (rows, columns, ...) in displayed order; a view."""
        turns, reverses_rows, reverses_columns = _TURNS[self.number]
        turned = np.swapaxes(stored, 0, 1) if turns else stored
        turned = turned[::-1] if reverses_rows else turned
        return turned[:, ::-1] if reverses_columns else turned

    def stored(self, shown: NDArray[Any]) -> NDArray[Any]:
        """Return displayed values (rows, columns, ...) in stored order; a view."""
        turns, reverses_rows, reverses_columns = _TURNS[self.number]
        turned = shown[::-1] if reverses_rows else shown
        turned = turned[:, ::-1] if reverses_columns else turned
        return np.swapaxes(turned, 0, 1) if turns else turned

    def shown_size(self, stored: tuple[int, int]) -> tuple[int, int]:
        """Return the columns and rows of the displayed image."""
        return stored[::-1] if _TURNS[self.number][0] else stored

    def stored_box(self, shown: Box, size: tuple[int, int]) -> Box:
        """Convert a displayed box to stored coordinates. size: stored columns and rows."""
        turns, reverses_rows, reverses_columns = _TURNS[self.number]
        columns, rows = self.shown_size(size)
        left = columns - shown.left - shown.width if reverses_columns else shown.left
        top = rows - shown.top - shown.height if reverses_rows else shown.top
        return (
            Box(top, left, shown.height, shown.width) if turns else Box(left, top, shown.width, shown.height)
        )

    def shown_box(self, stored: Box, size: tuple[int, int]) -> Box:
        """Convert a stored box to displayed coordinates. size: stored columns and rows."""
        turns, reverses_rows, reverses_columns = _TURNS[self.number]
        box = Box(stored.top, stored.left, stored.height, stored.width) if turns else stored
        columns, rows = self.shown_size(size)
        left = columns - box.left - box.width if reverses_columns else box.left
        top = rows - box.top - box.height if reverses_rows else box.top
        return Box(left, top, box.width, box.height)
