"""Pictures that are stored turned or mirrored, and how they are looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tvdenoise.live.view import Region

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Upright:
    """What is stored becomes upright by being transposed, where it is, and then flipped.

    The solve takes the picture as it is stored, as `run` does; only what is shown is turned.
    """

    transposed: bool = False
    rows_flipped: bool = False
    columns_flipped: bool = False

    @classmethod
    def of(cls, orientation: int) -> Upright:
        """From the number that EXIF data has for it, from 1 to 8."""
        flips = {1: (0, 0), 2: (0, 1), 3: (1, 1), 4: (1, 0), 5: (0, 0), 6: (0, 1), 7: (1, 1), 8: (1, 0)}
        rows, columns = flips[orientation]
        return cls(orientation > 4, bool(rows), bool(columns))

    def size(self, rows: int, columns: int) -> tuple[int, int]:
        """The rows and columns of the upright picture, given those that are stored, and the other way round."""
        return (columns, rows) if self.transposed else (rows, columns)

    def shown(self, planes: NDArray[Any]) -> NDArray[Any]:
        """Stored planes (channels, rows, columns), upright."""
        if self.transposed:
            planes = planes.swapaxes(1, 2)
        return planes[:, :: -1 if self.rows_flipped else 1, :: -1 if self.columns_flipped else 1]

    def stored(self, region: Region, rows: int, columns: int) -> Region:
        """The stored part that a region shows of an upright reduction of so many rows and columns."""
        top = rows - region.top - region.rows if self.rows_flipped else region.top
        left = columns - region.left - region.columns if self.columns_flipped else region.left
        if self.transposed:
            return Region(region.level, left, top, region.columns, region.rows)
        return Region(region.level, top, left, region.rows, region.columns)
