"""Contact sheets: the same pixels with many settings, side by side, labelled and marked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tvdenoise.errors import UsageError
from tvdenoise.files.decoded import DecodedImage, Metadata
from tvdenoise.files.orientation import Box, Orientation
from tvdenoise.files.paths import printable
from tvdenoise.files.writing import write
from tvdenoise.formats.registry import FORMAT_BY_EXTENSION
from tvdenoise.pictures.screen import Screen

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from tvdenoise.parameters import Parameters


@dataclass(frozen=True)
class CellSetting:
    """One setting of a sheet.

    name: a letter for the row and a number for the column; strength: what the chosen μ is divided by, before rounding.
    asks: the options of `tvdenoise run`, and their values, that ask for it.
    """

    name: str
    mu: float
    epsilon: float
    strength: float
    asks: tuple[tuple[str, str], ...]

    @property
    def is_centre(self) -> bool:
        """True for the setting around which the others lie."""
        return not self.asks


def in_three_digits(value: float) -> str:
    """A number as it is shown and asked for."""
    return f"{float(f'{value:.3g}'):g}"


@dataclass(frozen=True)
class CellSimilarity:
    """How close pixels are to a clean reference; ssim: None where there are too few pixels."""

    psnr: float
    ssim: float | None


@dataclass(frozen=True, eq=False)
class Cell:
    """The crop with one setting: its intensities as `run` would store them.

    converged: whether the solve reached its tolerance, without which it shows little of the setting.
    """

    setting: CellSetting
    intensities: NDArray[Any]
    converged: bool = True
    likeness: CellSimilarity | None = None


@dataclass(frozen=True, eq=False)
class Tuned:
    """All that a sheet shows.

    picture: the whole, as read; box: the crop's place in the picture as it is stored, shown_box: in that as shown.
    parameters: those around which the settings lie; cells: in rows.
    reference: the crop of the clean picture, of the picture's type; noisy_likeness: that of the noisy crop.
    """

    picture: DecodedImage
    box: Box
    shown_box: Box
    orientation: Orientation
    parameters: Parameters
    cells: tuple[tuple[Cell, ...], ...]
    reference: NDArray[Any] | None = None
    noisy_likeness: CellSimilarity | None = None

    @property
    def noisy(self) -> NDArray[Any]:
        """The crop as it was."""
        return self.picture.intensities[self.box.rows, self.box.columns]

    @property
    def alpha(self) -> NDArray[Any] | None:
        alpha = self.picture.alpha
        return None if alpha is None else alpha[self.box.rows, self.box.columns]

    @property
    def best(self) -> CellSetting | None:
        """The setting of the highest PSNR, where there is a reference."""
        return self._highest(lambda likeness: likeness.psnr)

    @property
    def most_similar(self) -> CellSetting | None:
        """The setting of the highest SSIM, where there is a reference."""
        return self._highest(lambda likeness: likeness.ssim)

    def marks(self, cell: Cell) -> tuple[str, ...]:
        """What is to be said of a cell."""
        setting = cell.setting
        centre = "given" if self.parameters.noise is None else "automatic"
        marks = (
            (centre, setting.is_centre),
            ("best PSNR", setting is self.best),
            ("best SSIM", setting is self.most_similar),
            ("not converged", not cell.converged),
        )
        return tuple(mark for mark, is_true in marks if is_true)

    def _highest(self, measure: Callable[[CellSimilarity], float | None]) -> CellSetting | None:
        known = [
            (value, cell.setting)
            for row in self.cells
            for cell in row
            if cell.likeness is not None and (value := measure(cell.likeness)) is not None
        ]
        return max(known, key=lambda pair: pair[0])[1] if known else None


_EXTENSION = ".png"
_TEXT, _SMALL_TEXT = 14, 13  # pixels
_LINE = 19
_MARGIN, _FRAME, _GAP = 12, 4, 8
_LEAST_WIDTH = 240  # of a cell: most of what is written below it
_ENLARGED = 192  # pixels; smaller crops are enlarged by a whole number up to about this
_PAPER, _INK, _FAINT = (34, 34, 34), (240, 240, 240), (180, 180, 180)
#: Told apart by the colour-blind (Okabe and Ito, Color Universal Design, 2008), by their brightness, and by words.
_AUTOMATIC, _BEST = (86, 180, 233), (240, 228, 66)
_SPACES = {b"RGB ": "RGB", b"GRAY": "L"}


@dataclass(frozen=True, eq=False)
class _Tile:
    """What is shown in one place: pixels, lines below, and a frame where it is marked.

    lines: texts with their colours; frames: from the outside in.
    """

    pixels: NDArray[np.uint8]
    lines: tuple[tuple[str, tuple[int, int, int]], ...]
    frames: tuple[tuple[int, int, int], ...] = ()


def require_sheet_name(path: str) -> None:
    """Raise UsageError for a name that is not of a PNG."""
    if Path(path).suffix.lower() != _EXTENSION:
        raise UsageError(
            f"-o {printable(path)}: contact sheets are {_EXTENSION} files", "end the name with it"
        )


def save_sheet(tuned: Tuned, title: str, path: str) -> None:
    """Draw a sheet and put it in place whole. Raises UnwritableImageError."""
    sheet = draw(tuned, title)
    profile = tuned.picture.metadata.icc
    if profile is not None:
        mode = _SPACES.get(profile[16:20])
        if mode == "L" and tuned.picture.channels == 1:
            sheet = sheet.convert("L")  # for which the profile is; colours of marks become greys
        elif mode != "RGB":
            profile = None
    target = Path(path)
    write(
        DecodedImage(np.asarray(sheet), metadata=Metadata(icc=profile)),
        target,
        FORMAT_BY_EXTENSION[_EXTENSION],
    )


def draw(tuned: Tuned, title: str) -> Image.Image:
    """The sheet: the noisy crop and the reference in the first column, the settings beside them."""
    screen = Screen.of(tuned.picture)
    first, *others = _first_column(tuned, screen)
    rows = [[_tile_of(cell, tuned, screen) for cell in row] for row in tuned.cells]
    if len(rows) > 1:
        columns = [[first, *others], *map(list, zip(*rows, strict=True))]
    else:
        columns = [[tile] for tile in (first, *others, *rows[0])]
    return _laid_out(columns, [title, *_explained(tuned, screen)])


def _first_column(tuned: Tuned, screen: Screen) -> list[_Tile]:
    tiles = [
        _Tile(_shown(tuned, tuned.noisy, screen), (("noisy", _INK), *_likeness_lines(tuned.noisy_likeness)))
    ]
    if tuned.reference is not None:
        tiles.append(_Tile(_shown(tuned, tuned.reference, screen), (("reference", _INK),)))
    return tiles


def _tile_of(cell: Cell, tuned: Tuned, screen: Screen) -> _Tile:
    setting = cell.setting
    marked = ((_AUTOMATIC, setting.is_centre), (_BEST, setting is tuned.best))
    frames = tuple(colour for colour, is_marked in marked if is_marked)
    colour = frames[-1] if frames else _INK
    heading = f"{setting.name}  {', '.join(tuned.marks(cell)).upper()}"
    mu, epsilon, strength = map(in_three_digits, (setting.mu, setting.epsilon, setting.strength))
    values = f"μ {mu}  ε {epsilon}  strength {strength}"
    lines = ((heading, colour), (values, _INK), *_likeness_lines(cell.likeness))
    return _Tile(_shown(tuned, cell.intensities, screen), lines, frames)


def _likeness_lines(likeness: CellSimilarity | None) -> tuple[tuple[str, tuple[int, int, int]], ...]:
    if likeness is None:
        return ()
    similarity = "" if likeness.ssim is None else f"  SSIM {likeness.ssim:.3f}"
    return ((f"{likeness.psnr:.2f} dB{similarity}", _FAINT),)


def _explained(tuned: Tuned, screen: Screen) -> list[str]:
    box = tuned.shown_box
    columns, rows = tuned.orientation.shown_size(tuned.picture.size)
    lines = [f"{box.width} × {box.height} pixels at {box.left}, {box.top} of {columns} × {rows}"]
    if screen.is_stretched:
        lines[0] += (
            f", shown from {in_three_digits(screen.black)} (black) to {in_three_digits(screen.white)} (white)"
        )
    if tuned.picture.channels == 4:
        lines[0] += ", inks mixed plainly: colours are not those of print"
    return [*lines, "smoother to the right" + (", ε larger further down" if len(tuned.cells) > 1 else "")]


def _shown(tuned: Tuned, intensities: NDArray[Any], screen: Screen) -> NDArray[np.uint8]:
    """As it is looked at: upright, and enlarged where it is small."""
    alpha = None if tuned.alpha is None else _enlarged(tuned.orientation.shown(tuned.alpha))
    return screen.rgb(_enlarged(tuned.orientation.shown(intensities)), alpha)


def _enlarged(values: NDArray[Any]) -> NDArray[Any]:
    factor = max(1, _ENLARGED // max(values.shape[:2]))
    return np.repeat(np.repeat(values, factor, axis=0), factor, axis=1)


def _laid_out(columns: list[list[_Tile]], heading: list[str]) -> Image.Image:
    tiles = [tile for column in columns for tile in column]
    border = _FRAME * 2
    width = max(_LEAST_WIDTH, *map(_width, tiles)) + 2 * border
    tallest = max(tile.pixels.shape[0] for tile in tiles)
    height = tallest + 2 * border + _LINE * max(len(tile.lines) for tile in tiles)
    top = _MARGIN + _LINE * len(heading) + _GAP
    count = max(map(len, columns))
    size = (
        2 * _MARGIN + len(columns) * (width + _GAP) - _GAP,
        top + count * (height + _GAP) - _GAP + _MARGIN,
    )
    sheet = Image.new("RGB", size, _PAPER)
    pen = ImageDraw.Draw(sheet)
    for number, line in enumerate(heading):
        colour = _INK if number == 0 else _FAINT
        pen.text(
            (_MARGIN, _MARGIN + number * _LINE), _fitting(line, size[0] - 2 * _MARGIN), colour, _font(_TEXT)
        )
    for across, column in enumerate(columns):
        for down, tile in enumerate(column):
            _put(sheet, pen, tile, _MARGIN + across * (width + _GAP), top + down * (height + _GAP), border)
    return sheet


def _width(tile: _Tile) -> int:
    """Of its pixels and of what is written below them."""
    texts = (_line_font(number).getlength(text) for number, (text, _) in enumerate(tile.lines))
    return max(int(tile.pixels.shape[1]), *map(math.ceil, texts))


def _put(sheet: Image.Image, pen: ImageDraw.ImageDraw, tile: _Tile, left: int, top: int, border: int) -> None:
    rows, columns = tile.pixels.shape[:2]
    right, bottom = left + columns + 2 * border - 1, top + rows + 2 * border - 1
    for number, colour in enumerate(tile.frames):
        inset = number * _FRAME
        pen.rectangle(
            (left + inset, top + inset, right - inset, bottom - inset), outline=colour, width=_FRAME
        )
    sheet.paste(Image.fromarray(np.ascontiguousarray(tile.pixels)), (left + border, top + border))
    for number, (text, colour) in enumerate(tile.lines):
        pen.text((left + border, bottom + 2 + number * _LINE), text, colour, _line_font(number))


def _line_font(number: int) -> ImageFont.FreeTypeFont:
    """The first line is a heading."""
    return _font(_TEXT if number == 0 else _SMALL_TEXT)


def _fitting(text: str, width: int) -> str:
    """The text, its end left out where it is too long."""
    font = _font(_TEXT)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """One that has Greek letters, which Pillow's own has not: matplotlib's."""
    import matplotlib

    contents = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf").read_bytes()
    return ImageFont.truetype(BytesIO(contents), size)
