"""Pictures as they are shown: turned and mirrored as their EXIF orientation says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tvdenoise.formats.tiff.tags import orientation_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tvdenoise.files.decoded import DecodedImage


#: By the orientation: whether rows and columns change places, and whether rows and columns are reversed after that.
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
        """Whether a picture of that size has all its pixels, and it has one."""
        is_positive = min(self.left, self.top) >= 0 and min(self.width, self.height) >= 1
        return is_positive and self.left + self.width <= columns and self.top + self.height <= rows

    def widened(self, margin: int, columns: int, rows: int) -> Box:
        """With a margin on all sides, as far as a picture of that size has one."""
        left, top = max(0, self.left - margin), max(0, self.top - margin)
        right = min(columns, self.left + self.width + margin)
        bottom = min(rows, self.top + self.height + margin)
        return Box(left, top, right - left, bottom - top)

    def seen_from(self, other: Box) -> Box:
        """The same pixels, counted from the corner of another box."""
        return Box(self.left - other.left, self.top - other.top, self.width, self.height)


@dataclass(frozen=True)
class Orientation:
    """How stored pixels become the picture that is shown; number: as in EXIF data, from 1 (upright) to 8."""

    number: int = 1

    @classmethod
    def of(cls, image: DecodedImage) -> Orientation:
        return cls(orientation_of(image.metadata.exif))

    def shown(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Values (rows, columns, ...) as they are shown; a view."""
        turns, reverses_rows, reverses_columns = _TURNS[self.number]
        turned = np.swapaxes(stored, 0, 1) if turns else stored
        turned = turned[::-1] if reverses_rows else turned
        return turned[:, ::-1] if reverses_columns else turned

    def stored(self, shown: NDArray[Any]) -> NDArray[Any]:
        """Values (rows, columns, ...) of the picture that is shown as they are stored; a view."""
        turns, reverses_rows, reverses_columns = _TURNS[self.number]
        turned = shown[::-1] if reverses_rows else shown
        turned = turned[:, ::-1] if reverses_columns else turned
        return np.swapaxes(turned, 0, 1) if turns else turned

    def shown_size(self, stored: tuple[int, int]) -> tuple[int, int]:
        """Columns and rows of the picture that is shown."""
        return stored[::-1] if _TURNS[self.number][0] else stored

    def stored_box(self, shown: Box, size: tuple[int, int]) -> Box:
        """Where the pixels of a shown box are stored. size: columns and rows as stored."""
        turns, reverses_rows, reverses_columns = _TURNS[self.number]
        columns, rows = self.shown_size(size)
        left = columns - shown.left - shown.width if reverses_columns else shown.left
        top = rows - shown.top - shown.height if reverses_rows else shown.top
        return (
            Box(top, left, shown.height, shown.width) if turns else Box(left, top, shown.width, shown.height)
        )

    def shown_box(self, stored: Box, size: tuple[int, int]) -> Box:
        """Where the pixels of a stored box are shown. size: columns and rows as stored."""
        turns, reverses_rows, reverses_columns = _TURNS[self.number]
        box = Box(stored.top, stored.left, stored.height, stored.width) if turns else stored
        columns, rows = self.shown_size(size)
        left = columns - box.left - box.width if reverses_columns else box.left
        top = rows - box.top - box.height if reverses_rows else box.top
        return Box(left, top, box.width, box.height)
