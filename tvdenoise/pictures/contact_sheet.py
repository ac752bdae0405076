"""Contact sheets: one crop denoised with many settings, side by side, with labels and marks."""

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
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from tvdenoise.parameters import Parameters


@dataclass(frozen=True)
class CellSetting:
    """One setting of a sheet.

    name: a letter for the row and a number for the column; strength: divisor of the chosen μ, before rounding.
    options: of `tvdenoise run`, by name, that give this setting; empty for the chosen one.
    """

    name: str
    parameters: Parameters
    strength: float
    options: Mapping[str, float]

    @property
    def is_centre(self) -> bool:
        """True for the chosen setting, around which the others lie."""
        return not self.options

    @property
    def shown(self) -> dict[str, str]:
        """The parameters that the prior has and the strength, in three digits."""
        values = self.parameters.named | {"strength": self.strength}
        return {name: in_three_digits(value) for name, value in values.items()}


def in_three_digits(value: float) -> str:
    """Round to three significant digits, as shown and as passed to options."""
    return f"{float(f'{value:.3g}'):g}"


@dataclass(frozen=True)
class CellSimilarity:
    """Similarity to a clean reference; psnr: in decibels; ssim: None if there are too few pixels."""

    psnr: float
    ssim: float | None


@dataclass(frozen=True, eq=False)
class Cell:
    """The crop denoised with one setting; intensities: as `run` would store them.

    converged: True if the solve reached its tolerance; otherwise the cell says little about the setting.
    """

    setting: CellSetting
    intensities: NDArray[Any]
    converged: bool = True
    similarity: CellSimilarity | None = None


@dataclass(frozen=True, eq=False)
class Tuned:
    """The contents of a sheet.

    image: the whole image, as read; box: the crop in the image as stored; shown_box: the crop in the image as shown.
    parameters: the chosen ones, around which the settings lie; cells: in rows.
    reference: the crop of the clean image, of the same type; noisy_similarity: of the noisy crop.
    """

    image: DecodedImage
    box: Box
    shown_box: Box
    orientation: Orientation
    parameters: Parameters
    cells: tuple[tuple[Cell, ...], ...]
    reference: NDArray[Any] | None = None
    noisy_similarity: CellSimilarity | None = None

    @property
    def noisy(self) -> NDArray[Any]:
        """The noisy crop."""
        return self.image.intensities[self.box.rows, self.box.columns]

    @property
    def alpha(self) -> NDArray[Any] | None:
        alpha = self.image.alpha
        return None if alpha is None else alpha[self.box.rows, self.box.columns]

    @property
    def best(self) -> CellSetting | None:
        """The setting with the highest PSNR, if there is a reference."""
        return self._highest(lambda similarity: similarity.psnr)

    @property
    def most_similar(self) -> CellSetting | None:
        """The setting with the highest SSIM, if there is a reference."""
        return self._highest(lambda similarity: similarity.ssim)

    def marks(self, cell: Cell) -> tuple[str, ...]:
        """The labels that mark a cell."""
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
            if cell.similarity is not None and (value := measure(cell.similarity)) is not None
        ]
        return max(known, key=lambda pair: pair[0])[1] if known else None


_EXTENSION = ".png"
_TEXT, _SMALL_TEXT = 14, 13  # pixels
_LINE = 19
_MARGIN, _FRAME, _GAP = 12, 4, 8
_LEAST_WIDTH = 240  # pixels of a cell, enough for most of the text below it
_ENLARGED = 192  # pixels; smaller crops are enlarged by an integer factor up to this
_PAPER, _INK, _FAINT = (34, 34, 34), (240, 240, 240), (180, 180, 180)
#: Distinct for the colour-blind (Okabe and Ito, Color Universal Design, 2008), and in brightness.
_AUTOMATIC, _BEST = (86, 180, 233), (240, 228, 66)
_SPACES = {b"RGB ": "RGB", b"GRAY": "L"}
_SYMBOLS = {"mu": "μ", "epsilon": "ε"}


@dataclass(frozen=True, eq=False)
class _Tile:
    """One tile of a sheet: pixels, lines of text below, and frames that mark it.

    lines: texts with their colours; frames: colours from the outside in.
    """

    pixels: NDArray[np.uint8]
    lines: tuple[tuple[str, tuple[int, int, int]], ...]
    frames: tuple[tuple[int, int, int], ...] = ()


def require_sheet_name(path: str) -> None:
    """Raise UsageError unless the name ends with .png."""
    if Path(path).suffix.lower() != _EXTENSION:
        raise UsageError(
            f"-o {printable(path)}: contact sheets are {_EXTENSION} files", "end the name with it"
        )


def save_sheet(tuned: Tuned, title: str, path: str) -> None:
    """Draw a sheet and write it atomically. Raises UnwritableImageError."""
    sheet = draw(tuned, title)
    profile = tuned.image.metadata.icc
    if profile is not None:
        mode = _SPACES.get(profile[16:20])
        if mode == "L" and tuned.image.channels == 1:
            sheet = sheet.convert("L")  # to match the profile; the colours of marks become greys
        elif mode != "RGB":
            profile = None
    target = Path(path)
    write(
        DecodedImage(np.asarray(sheet), metadata=Metadata(icc=profile)),
        target,
        FORMAT_BY_EXTENSION[_EXTENSION],
    )


def draw(tuned: Tuned, title: str) -> Image.Image:
    """Draw the sheet: the noisy crop and the reference in the first column, the settings beside them."""
    screen = Screen.of(tuned.image)
    first, *others = _first_column(tuned, screen)
    rows = [[_tile_of(cell, tuned, screen) for cell in row] for row in tuned.cells]
    if len(rows) > 1:
        columns = [[first, *others], *map(list, zip(*rows, strict=True))]
    else:
        columns = [[tile] for tile in (first, *others, *rows[0])]
    return _laid_out(columns, [title, *_explained(tuned, screen)])


def _first_column(tuned: Tuned, screen: Screen) -> list[_Tile]:
    tiles = [
        _Tile(
            _shown(tuned, tuned.noisy, screen), (("noisy", _INK), *_similarity_lines(tuned.noisy_similarity))
        )
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
    values = "  ".join(f"{_SYMBOLS.get(name, name)} {text}" for name, text in setting.shown.items())
    lines = ((heading, colour), (values, _INK), *_similarity_lines(cell.similarity))
    return _Tile(_shown(tuned, cell.intensities, screen), lines, frames)


def _similarity_lines(similarity: CellSimilarity | None) -> tuple[tuple[str, tuple[int, int, int]], ...]:
    if similarity is None:
        return ()
    ssim = "" if similarity.ssim is None else f"  SSIM {similarity.ssim:.3f}"
    return ((f"{similarity.psnr:.2f} dB{ssim}", _FAINT),)


def _explained(tuned: Tuned, screen: Screen) -> list[str]:
    box = tuned.shown_box
    columns, rows = tuned.orientation.shown_size(tuned.image.size)
    lines = [f"{box.width} × {box.height} pixels at {box.left}, {box.top} of {columns} × {rows}"]
    if screen.is_stretched:
        lines[0] += (
            f", shown from {in_three_digits(screen.black)} (black) to {in_three_digits(screen.white)} (white)"
        )
    if tuned.image.channels == 4:
        lines[0] += ", inks mixed plainly: colours are not those of print"
    return [*lines, "smoother to the right" + (", ε larger further down" if len(tuned.cells) > 1 else "")]


def _shown(tuned: Tuned, intensities: NDArray[Any], screen: Screen) -> NDArray[np.uint8]:
    """Bytes for display: upright, and enlarged if small."""
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
    """The width in pixels of a tile's pixels and text."""
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
    """The text, truncated to a width in pixels."""
    font = _font(_TEXT)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """Matplotlib's font, which has Greek letters, as Pillow's does not."""
    import matplotlib

    contents = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf").read_bytes()
    return ImageFont.truetype(BytesIO(contents), size)
