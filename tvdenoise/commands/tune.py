"""``tvdenoise tune``: a contact sheet, to choose the parameters by eye."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tvdenoise.commands import options
from tvdenoise.commands.endings import exit_codes
from tvdenoise.commands.numbers import positive
from tvdenoise.commands.reproducing import command_line
from tvdenoise.commands.settings import settings_of

if TYPE_CHECKING:
    from tvdenoise.batch.settings_grid import Grid, Strengths
    from tvdenoise.batch.tuning import Cell, Tuned
    from tvdenoise.files.upright import Box

_COLUMNS = ("cell", "mu", "epsilon", "strength", "psnr", "ssim", "mark", "command")
_NO_OUTPUT = {
    "strength": None,
    "quality": None,
    "strip_metadata": False,
    "preserve_times": False,
}  # what `run` has and a sheet has not


def tune(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="The image to choose parameters for.")],
    output: options.Sheet = None,
    reference: options.Reference = None,
    grid: options.GridSize = None,
    strength: options.Strengths = None,
    crop: options.Crop = None,
    mu: options.Mu = None,
    sigma: options.Sigma = None,
    noise: options.NoiseName = options.Noise.AUTO,
    epsilon: options.Epsilon = None,
    tolerance: options.Tolerance = None,
    max_iterations: options.MaxIterations = None,
    chroma: options.Chroma = None,
    threads: options.Threads = None,
    data_range: options.DataRange = None,
    max_pixels: options.MaxPixels = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing sheet.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
    tv: options.TotalVariationName = options.TotalVariation.ISOTROPIC,
    penalty: options.PenaltyName = options.Penalty.HYPERBOLIC,
    step: options.StepName = options.Step.BB,
    engine: options.EngineName = options.Engine.FUSED,
) -> None:
    """Show a part of an image with many settings side by side, to choose the parameters by eye.

    The sheet, a PNG, has the noisy part first, then a grid around the automatic choice: mu falls from left to right,
    which is smoother, and epsilon grows downwards, which leaves more grain and fewer flat patches. The automatic
    choice is framed and named. With the clean image as --reference, PSNR and SSIM on that part are shown too, and
    the best is framed and named.

    Printed is, for each cell, the command that denoises the whole image so.

    [bold]Examples[/bold]

    tvdenoise tune photo.png
    tvdenoise tune photo.png --strength 0.25,0.5,1,2,4
    tvdenoise tune photo.png --mu 20 --epsilon 0.01 --grid 7x3
    tvdenoise tune photo.png --crop 1200,800,300,200 -o sheet.png
    tvdenoise tune noisy.png --reference clean.png
    """
    given = locals()
    with exit_codes(debug=debug, continuation="no sheet was written"):
        from tvdenoise.batch.estimates import refuse_existing
        from tvdenoise.batch.tuning import Tuner
        from tvdenoise.files.paths import printable
        from tvdenoise.sheets import require_sheet_name, save_sheet

        start = time.perf_counter()
        sheet = output or _beside(image)
        shown = _shown_settings(grid, strength, mu)
        settings = settings_of(given | _NO_OUTPUT)
        tuner = Tuner(shown, settings, _box(crop), lambda: _tell_compilation(quiet=quiet))
        _require_file(image)
        require_sheet_name(sheet)
        _refuse_replacing(sheet, image, reference)
        refuse_existing(sheet, overwrite=overwrite)
        tuned = tuner.tune(Path(image), None if reference is None else Path(reference))
        save_sheet(tuned, printable(Path(image).name), sheet)
        if not quiet:
            print(_summary(image, sheet, tuned, time.perf_counter() - start), file=sys.stderr, flush=True)
        _print(tuned, image, sheet, given, as_json=as_json)


def _beside(image: str) -> str:
    from tvdenoise.batch.request import SHEET_ENDING

    path = Path(image)
    return str(path.with_name(path.stem + SHEET_ENDING)) if path.name else SHEET_ENDING


def _shown_settings(grid: str | None, strength: str | None, mu: str | None) -> Grid | Strengths:
    """Raises UsageError."""
    from tvdenoise.batch.settings_grid import Grid, Strengths
    from tvdenoise.errors import UsageError

    if strength is not None:
        if grid is not None:
            raise UsageError("--strength and --grid contradict each other", "give one of them")
        if positive("--mu", mu) is not None:
            raise UsageError("--strength scales the chosen --mu, which is given", "give one of them")
        values = [positive("--strength", part.strip()) for part in strength.split(",")]
        return Strengths(tuple(value for value in values if value is not None))
    if grid is None:
        return Grid()
    columns, cross, rows = grid.lower().replace("×", "x").partition("x")
    if not (cross and columns.isdecimal() and rows.isdecimal()):
        raise UsageError(
            f"--grid must be COLUMNSxROWS, not {grid!r}", "for example 5x3: five mu, three epsilon"
        )
    return Grid(int(columns), int(rows))


def _box(text: str | None) -> Box | None:
    """Raises UsageError."""
    if text is None:
        return None
    from tvdenoise.errors import UsageError
    from tvdenoise.files.upright import Box

    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 4 or not all(part.isdecimal() for part in parts):
        raise UsageError(
            f"--crop must be X,Y,WIDTH,HEIGHT in pixels, not {text!r}", "for example 1200,800,300,200"
        )
    return Box(*map(int, parts))


def _require_file(image: str) -> None:
    from tvdenoise.errors import UsageError
    from tvdenoise.files.paths import printable

    if not image or image == "-" or os.path.isdir(image):
        what = f"{printable(image)} is a folder" if os.path.isdir(image) else "tune reads a file"
        raise UsageError(what, "name one image")


def _refuse_replacing(sheet: str, *inputs: str | None) -> None:
    """Raise UsageError for a sheet that would replace what it shows."""
    from tvdenoise.errors import UsageError
    from tvdenoise.files.paths import printable

    for name in inputs:
        if name is not None and os.path.realpath(name) == os.path.realpath(sheet):
            raise UsageError(f"-o {printable(sheet)} is an input", "give the sheet another name with -o")


def _tell_compilation(*, quiet: bool) -> None:
    if not quiet:
        print("preparing the fast kernel for this machine (once; a few seconds)", file=sys.stderr, flush=True)


def _summary(image: str, sheet: str, tuned: Tuned, seconds: float) -> str:
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


def _print(tuned: Tuned, image: str, sheet: str, given: dict[str, Any], *, as_json: bool) -> None:
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
        ", ".join(tuned.marks(setting)),
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
                "marks": tuned.marks(cell.setting),
                "command": line_of(cell),
            }
            for row in tuned.cells
            for cell in row
        ],
    }
