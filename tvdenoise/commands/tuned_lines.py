"""What ``tvdenoise tune`` prints: a line for each cell of a sheet, for people and for programs."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from tvdenoise.commands.reproducing import command_line

if TYPE_CHECKING:
    from tvdenoise.batch.tuned import Cell, Tuned

_COLUMNS = ("cell", "mu", "epsilon", "strength", "psnr", "ssim", "mark", "command")


def summary_of(image: str, sheet: str, tuned: Tuned, seconds: float) -> str:
    """What was done, in one line."""
    from tvdenoise.batch.settings_grid import in_three_digits
    from tvdenoise.files.paths import printable

    parameters, box = tuned.parameters, tuned.shown_box
    origin = (
        "given" if parameters.noise is None else f"noise {parameters.noise.sigma * 255:.3g}/255, automatic"
    )
    count = sum(map(len, tuned.cells))
    return (
        f"{printable(image)} → {printable(sheet)}: {origin} mu {in_three_digits(parameters.mu)}, "
        f"epsilon {in_three_digits(parameters.epsilon)}; "
        f"{count} settings on {box.width} × {box.height} pixels at {box.left},{box.top}, {seconds:.2f} s"
    )


def print_cells(tuned: Tuned, image: str, sheet: str, given: dict[str, Any], *, as_json: bool) -> None:
    """A line for each cell, or one of JSON, with the commands; given: the parameters of this one by their names."""
    from tvdenoise.commands.tables import print_lines

    cells = [cell for row in tuned.cells for cell in row]

    def line_of(cell: Cell) -> str:
        return command_line(image, cell.setting.asks, given)

    if as_json:
        print_lines([json.dumps(_entry(tuned, image, sheet, line_of))])
        return
    rows = [_COLUMNS, *(_columns(tuned, cell, line_of(cell)) for cell in cells)]
    print_lines(_aligned(rows) if sys.stdout.isatty() else map("\t".join, rows))


def _columns(tuned: Tuned, cell: Cell, command: str) -> tuple[str, ...]:
    from tvdenoise.batch.settings_grid import in_three_digits

    setting, likeness = cell.setting, cell.likeness
    similarity = None if likeness is None else likeness.ssim
    return (
        setting.name,
        *map(in_three_digits, (setting.mu, setting.epsilon, setting.strength)),
        "" if likeness is None else f"{likeness.psnr:.2f}",
        "" if similarity is None else f"{similarity:.4f}",
        ", ".join(tuned.marks(cell)),
        command,
    )


def _aligned(rows: list[tuple[str, ...]]) -> Iterator[str]:
    """For a terminal; columns in which nothing stands are left out."""
    kept = [column for column in zip(*rows, strict=True) if any(column[1:])]
    widths = [max(map(len, column)) for column in kept]
    for row in zip(*kept, strict=True):
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()


def _finite(value: float | None) -> float | None:
    """JSON has no infinity."""
    return value if value is not None and math.isfinite(value) else None


def _entry(tuned: Tuned, image: str, sheet: str, line_of: Callable[[Cell], str]) -> dict[str, Any]:
    """A sheet as JSON; intensities are fractions of the data range."""
    box, noise = tuned.shown_box, tuned.parameters.noise
    return {
        "source": image,
        "sheet": sheet,
        "crop": [box.left, box.top, box.width, box.height],
        "sigma": None if noise is None else noise.sigma,
        "noise": None if noise is None else noise.kind.value,
        "cells": [
            {
                "cell": cell.setting.name,
                "mu": cell.setting.mu,
                "epsilon": cell.setting.epsilon,
                "strength": cell.setting.strength,
                "psnr": None if cell.likeness is None else _finite(cell.likeness.psnr),
                "ssim": None if cell.likeness is None else cell.likeness.ssim,
                "marks": tuned.marks(cell),
                "command": line_of(cell),
            }
            for row in tuned.cells
            for cell in row
        ],
    }
