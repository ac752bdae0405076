"""A figure of pictures in rows and columns, each with a text beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 3.3  # inches of a column
_LABELS, _HEADS, _GAP, _BAR = 0.5, 0.5, 0.1, 0.2  # inches of what lies beside them


@dataclass(frozen=True, eq=False)
class Sheet:
    """A figure of columns of equal width and rows of given heights (inches), with places for texts beside them.

    Whatever the shapes of the pictures in them, cells and texts keep their places.
    """

    figure: Figure
    heights: tuple[float, ...]

    @classmethod
    def of(cls, columns: int, heights: tuple[float, ...]) -> Sheet:
        from matplotlib.figure import Figure

        width = _LABELS + columns * (WIDTH + _GAP)
        return cls(Figure(figsize=(width, _HEADS + sum(heights) + _GAP * len(heights))), heights)

    def axes(self, row: int, column: int) -> Axes:
        """Without marks, in the place of a cell."""
        axes = self.figure.add_axes(self._place(_left(column), self._bottom(row), WIDTH, self.heights[row]))
        axes.set_xticks([])
        axes.set_yticks([])
        return axes

    def bar(self, row: int) -> Axes:
        """For the scale of colours of a row whose first cell is free."""
        return self.figure.add_axes(
            self._place(_left(1) - 2 * _GAP - _BAR, self._bottom(row), _BAR, self.heights[row])
        )

    def head(self, column: int, text: str) -> None:
        """Over a column."""
        top = self.figure.get_figheight() - _HEADS / 2
        x, y, _, _ = self._place(_left(column) + WIDTH / 2, top, 0, 0)
        self.figure.text(x, y, text, ha="center", va="center", fontsize=9)

    def label(self, row: int, text: str) -> None:
        """On the left of a row."""
        x, y, _, _ = self._place(_LABELS / 2, self._bottom(row) + self.heights[row] / 2, 0, 0)
        self.figure.text(x, y, text, ha="center", va="center", rotation="vertical", fontsize=8)

    def _bottom(self, row: int) -> float:
        return sum(self.heights[row + 1 :]) + _GAP * (len(self.heights) - row)

    def _place(
        self, left: float, bottom: float, width: float, height: float
    ) -> tuple[float, float, float, float]:
        """Inches in fractions of the figure."""
        columns, rows = self.figure.get_size_inches()
        return left / columns, bottom / rows, width / columns, height / rows


def _left(column: int) -> float:
    return _LABELS + column * (WIDTH + _GAP)
