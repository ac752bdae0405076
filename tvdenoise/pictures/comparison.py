"""A figure of images beside a reference: whole, in the crop where they differ most, and their differences."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tvdenoise.files.decoded import below_one_another
from tvdenoise.files.orientation import Orientation
from tvdenoise.files.paths import printable
from tvdenoise.pictures.figures import save_figure
from tvdenoise.pictures.screen import Screen, as_light, faint_and_bright

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage
    from numpy.typing import NDArray

    from tvdenoise.files.decoded import DecodedImage


WIDTH = 3.3  # of a column, in inches
_LABELS, _HEADS, _GAP, _BAR = 0.5, 0.5, 0.1, 0.2  # inches


@dataclass(frozen=True, eq=False)
class Sheet:
    """A figure of columns of equal width and rows of given heights (inches), with space for labels.

    Cells and labels keep their places whatever the shapes of the images.
    """

    figure: Figure
    heights: tuple[float, ...]

    @classmethod
    def of(cls, columns: int, heights: tuple[float, ...]) -> Sheet:
        from matplotlib.figure import Figure

        width = _LABELS + columns * (WIDTH + _GAP)
        return cls(Figure(figsize=(width, _HEADS + sum(heights) + _GAP * len(heights))), heights)

    def axes(self, row: int, column: int) -> Axes:
        """Add axes without ticks in a cell."""
        axes = self.figure.add_axes(self._place(_left(column), self._bottom(row), WIDTH, self.heights[row]))
        axes.set_xticks([])
        axes.set_yticks([])
        return axes

    def bar(self, row: int) -> Axes:
        """Add axes for the colour bar of a row whose first cell is free."""
        return self.figure.add_axes(
            self._place(_left(1) - 2 * _GAP - _BAR, self._bottom(row), _BAR, self.heights[row])
        )

    def head(self, column: int, text: str) -> None:
        """Write a heading over a column."""
        top = self.figure.get_figheight() - _HEADS / 2
        x, y, _, _ = self._place(_left(column) + WIDTH / 2, top, 0, 0)
        self.figure.text(x, y, text, ha="center", va="center", fontsize=9)

    def label(self, row: int, text: str) -> None:
        """Write a label to the left of a row."""
        x, y, _, _ = self._place(_LABELS / 2, self._bottom(row) + self.heights[row] / 2, 0, 0)
        self.figure.text(x, y, text, ha="center", va="center", rotation="vertical", fontsize=8)

    def _bottom(self, row: int) -> float:
        return sum(self.heights[row + 1 :]) + _GAP * (len(self.heights) - row)

    def _place(
        self, left: float, bottom: float, width: float, height: float
    ) -> tuple[float, float, float, float]:
        """Convert inches to fractions of the figure."""
        columns, rows = self.figure.get_size_inches()
        return left / columns, bottom / rows, width / columns, height / rows


def _left(column: int) -> float:
    return _LABELS + column * (WIDTH + _GAP)


_HIDDEN = 0.5  # the grey of invisible pixels
_BAND = 1 << 18  # values per batch of rows

Part = tuple[slice, slice]


@dataclass(frozen=True, eq=False)
class Upright:
    """An image in its displayed orientation, whole or in parts.

    pixels: stored values, turned upright, bands below one another; visible: boolean (rows, columns), None for all.
    white: the value shown as 1.
    """

    pixels: NDArray[Any]
    visible: NDArray[np.bool_] | None
    white: float

    @classmethod
    def of(cls, image: DecodedImage, white: float) -> Upright:
        orientation = Orientation.of(image)
        visible = None if image.visible is None else orientation.shown(image.visible)
        pixels = orientation.shown(image.intensities)
        if image.in_bands:
            pixels = below_one_another(pixels)
            visible = None if visible is None else np.tile(visible, (image.channels, 1))
        return cls(pixels, visible, white)

    def light(self, part: Part) -> NDArray[np.floating[Any]]:
        """A part as grey or RGB; invisible pixels are mid grey."""
        light = as_light(self.pixels[part], self.white)
        if self.visible is not None:
            light[~self.visible[part]] = _HIDDEN
        return light

    def overview(self, factor: int) -> NDArray[np.floating[Any]]:
        """The whole image as `light`, averaged over blocks of factor × factor pixels."""
        return self._reduced(self.light, factor)

    def squared_difference(self, other: Upright, factor: int) -> NDArray[np.floating[Any]]:
        """Squared difference in data ranges, averaged over channels and blocks; 0 where nothing is visible."""

        def squares(part: Part) -> NDArray[np.floating[Any]]:
            difference = self.pixels[part].astype(np.float32) - other.pixels[part].astype(np.float32)
            difference = np.square(difference / np.float32(self.white))
            if self.visible is not None:
                difference[~self.visible[part]] = 0
            return np.asarray(difference.mean(axis=2)) if difference.ndim == 3 else difference

        return self._reduced(squares, factor)

    def _reduced(
        self, values: Callable[[Part], NDArray[np.floating[Any]]], factor: int
    ) -> NDArray[np.floating[Any]]:
        """Average values over blocks (smaller ones at the lower and right edges), computed in bands of rows."""
        rows, columns = self.pixels.shape[:2]
        height = max(1, _BAND // (columns * factor)) * factor
        bands = []
        for top in range(0, rows, height):
            band = values((slice(top, min(top + height, rows)), slice(0, columns)))
            bands.append(_block_means(_block_means(band, factor, 0), factor, 1))
        return np.concatenate(bands)


def _block_means(values: NDArray[np.floating[Any]], factor: int, axis: int) -> NDArray[np.floating[Any]]:
    """Average blocks along an axis; the last block may be smaller."""
    starts = np.arange(0, values.shape[axis], factor)
    counts = np.minimum(factor, values.shape[axis] - starts).astype(np.float32)
    shape = [1] * values.ndim
    shape[axis] = len(counts)
    means: NDArray[np.floating[Any]] = np.add.reduceat(values, starts, axis) / counts.reshape(shape)
    return means


_OVERVIEW = 640  # maximum pixels of the longer side of a whole image
_LEAST_CROP, _LARGEST_CROP = 8, 160  # pixels
_LONGEST_NAME = 30  # characters
_FAINT = 0.5  # intensities that span a smaller part of the data range are stretched
_OUTLIERS = 0.5  # percent of the differences that may exceed the colour scale


@dataclass(frozen=True, eq=False)
class Panel:
    """An image with its own column; caption: a line below its name."""

    name: str
    image: DecodedImage
    caption: str


@dataclass(frozen=True)
class Crop:
    """Rows and columns of an image in its displayed orientation."""

    top: int
    left: int
    rows: int
    columns: int

    @property
    def part(self) -> tuple[slice, slice]:
        return slice(self.top, self.top + self.rows), slice(self.left, self.left + self.columns)


def save_side_by_side(reference: Panel, others: Sequence[Panel], white: float, path: str) -> None:
    """Draw a reference and images of the same size and kind, as a PNG, SVG or PDF file.

    Rows from the top: whole images, a crop, and differences (root mean square over channels). All images share one
    mapping to grey levels. white: the value shown as 1. Raises UnwritableImageError.
    """
    shown = [Upright.of(panel.image, white) for panel in (reference, *others)]
    rows, columns = shown[0].pixels.shape[:2]
    factor = -(-max(rows, columns) // _OVERVIEW)
    maps = [each.squared_difference(shown[0], factor) for each in shown[1:]]
    crop = crop_of(maps, factor, rows, columns)
    whole, part = (WIDTH * min(max(ratio, 0.4), 2) for ratio in (rows / columns, crop.rows / crop.columns))
    sheet = Sheet.of(len(shown), (whole, part, whole))
    for column, panel in enumerate((reference, *others)):
        sheet.head(column, f"{_elided(panel.name)}\n{panel.caption}")
    _draw_images(sheet, shown, factor, crop)
    _draw_differences(sheet, maps, factor, white)
    save_figure(sheet.figure, Path(path))


def crop_of(maps: Sequence[NDArray[np.floating[Any]]], factor: int, rows: int, columns: int) -> Crop:
    """The crop in which images of this size differ most; the middle if they are equal.

    maps: squared differences averaged over blocks of factor × factor pixels; each map gets the same weight.
    """
    from scipy.ndimage import uniform_filter

    side = min(_LARGEST_CROP, max(_LEAST_CROP, min(rows, columns) // 4))
    height, width = min(side, rows), min(side, columns)
    total = sum((each / mean for each in maps if (mean := float(each.mean())) > 0), np.zeros_like(maps[0]))
    size = [
        min(max(1, length // factor), count)
        for length, count in zip((height, width), total.shape, strict=True)
    ]
    if not total.any():
        return Crop((rows - height) // 2, (columns - width) // 2, height, width)
    # Average over the blocks around each centre; keep only centres whose blocks all lie in the image.
    inside = tuple(
        slice(each // 2, each // 2 + count - each + 1) for each, count in zip(size, total.shape, strict=True)
    )
    means = uniform_filter(total, size)[inside]
    top, left = (int(place) * factor for place in np.unravel_index(np.argmax(means), means.shape))
    return Crop(min(top, rows - height), min(left, columns - width), height, width)


def _draw_images(sheet: Sheet, shown: Sequence[Upright], factor: int, crop: Crop) -> None:
    overviews = [each.overview(factor) for each in shown]
    low, high = faint_and_bright(overviews[0])
    is_faint = 0 < high - low < _FAINT
    screen = Screen(low, high) if is_faint else Screen()
    for column, (each, overview) in enumerate(zip(shown, overviews, strict=True)):
        axes = sheet.axes(0, column)
        _show(axes, screen.fractions(overview), factor)
        _frame(axes, crop)
        _show(sheet.axes(1, column), screen.fractions(each.light(crop.part)), 1)
    sheet.label(0, "whole" + (f"\n({low:.2g} to {high:.2g} of range)" if is_faint else ""))
    sheet.label(1, f"crop of {crop.columns} × {crop.rows}\nat {crop.left}, {crop.top}")


def _draw_differences(
    sheet: Sheet, maps: Sequence[NDArray[np.floating[Any]]], factor: int, white: float
) -> None:
    """Draw differences on one colour scale, from 0 to the largest except outliers."""
    differences = [np.sqrt(each) * np.float32(white) for each in maps]
    largest = float(np.percentile(np.stack(differences), 100 - _OUTLIERS)) or white / 255
    for column, difference in enumerate(differences, 1):
        drawn = _show(sheet.axes(2, column), difference, factor)
        drawn.set(cmap="cividis", clim=(0, largest))
    bar = sheet.figure.colorbar(drawn, cax=sheet.bar(2), ticklocation="left")
    bar.set_label(f"difference (of {white:g})", fontsize=9)


def _show(axes: Axes, pixels: NDArray[np.floating[Any]], factor: int) -> AxesImage:
    """Draw grey or RGB values in [0, 1], one for each block of factor × factor pixels, on axes in pixels."""
    rows, columns = (length * factor for length in pixels.shape[:2])
    extent = (0, columns, rows, 0)
    return axes.imshow(pixels, cmap="gray", vmin=0, vmax=1, extent=extent, interpolation="antialiased")


def _frame(axes: Axes, crop: Crop) -> None:
    """Draw a frame that is visible on dark and bright backgrounds."""
    from matplotlib.patches import Rectangle

    for colour, width in (("black", 2.5), ("white", 1.0)):
        corner = (crop.left, crop.top)
        axes.add_patch(Rectangle(corner, crop.columns, crop.rows, fill=False, color=colour, linewidth=width))


def _elided(name: str) -> str:
    """The end of a name, escaped from matplotlib's mathematics."""
    shown = printable(name)
    shown = shown if len(shown) <= _LONGEST_NAME else f"…{shown[1 - _LONGEST_NAME :]}"
    return shown.replace("$", r"\$")
