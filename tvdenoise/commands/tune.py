"""``tvdenoise tune``: a contact sheet, to choose the parameters by eye."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tvdenoise.commands.endings import exit_codes
from tvdenoise.commands.numbers import positive, whole
from tvdenoise.commands.options import accuracy, advanced, contact_sheet, files, messages
from tvdenoise.commands.settings import settings_of
from tvdenoise.commands.tuned_lines import print_cells, summary_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tvdenoise.batch.settings_grid import Grid, Strengths
    from tvdenoise.files.upright import Box

_NO_OUTPUT = {
    "strength": None,
    "quality": None,
    "strip_metadata": False,
    "preserve_times": False,
}  # what `run` has and a sheet has not

_SHEETS_ALONE = (
    *(
        "reference",
        "grid",
        "strength",
        "crop",
        "mu",
        "sigma",
        "epsilon",
        "tolerance",
        "max_iterations",
        "chroma",
    ),
    *("threads", "overwrite", "as_json"),
)
_LARGEST_PORT = 65535


def tune(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="The image to choose parameters for.")],
    output: contact_sheet.Sheet = None,
    reference: contact_sheet.Reference = None,
    grid: contact_sheet.GridSize = None,
    strength: contact_sheet.Strengths = None,
    crop: contact_sheet.Crop = None,
    mu: accuracy.Mu = None,
    sigma: accuracy.Sigma = None,
    noise: accuracy.NoiseName = accuracy.Noise.AUTO,
    epsilon: accuracy.Epsilon = None,
    tolerance: accuracy.Tolerance = None,
    max_iterations: accuracy.MaxIterations = None,
    chroma: accuracy.Chroma = None,
    threads: accuracy.Threads = None,
    data_range: files.DataRange = None,
    max_pixels: files.MaxPixels = None,
    live: contact_sheet.Live = False,
    port: contact_sheet.Port = None,
    no_browser: contact_sheet.NoBrowser = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing sheet.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
    quiet: messages.Quiet = False,
    debug: messages.Debug = False,
    tv: advanced.TotalVariationName = advanced.TotalVariation.ISOTROPIC,
    penalty: advanced.PenaltyName = advanced.Penalty.HYPERBOLIC,
    step: advanced.StepName = advanced.Step.BB,
    engine: advanced.EngineName = advanced.Engine.FUSED,
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
    tvdenoise tune photo.png --live
    """
    given = locals()
    if live:
        _open_page(given)
        return
    with exit_codes(debug=debug, continuation="no sheet was written"):
        from tvdenoise.batch.plots import refuse_existing
        from tvdenoise.batch.tuning import Tuner
        from tvdenoise.contact_sheets import require_sheet_name, save_sheet
        from tvdenoise.errors import UsageError
        from tvdenoise.files.paths import printable

        if port is not None or no_browser:
            raise UsageError("--port and --no-browser are for --live", "add --live, or leave them out")
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
            print(summary_of(image, sheet, tuned, time.perf_counter() - start), file=sys.stderr, flush=True)
        print_cells(tuned, image, sheet, given, as_json=as_json)


def _open_page(given: Mapping[str, Any]) -> None:
    """Serve the page of sliders, which has no use for the sheet's options."""
    with exit_codes(debug=given["debug"], continuation="the same command opens the page again"):
        from tvdenoise.commands.tune_live import tune_live
        from tvdenoise.errors import UsageError

        for name in _SHEETS_ALONE:
            if given[name] not in (None, False):
                option = "--json" if name == "as_json" else f"--{name.replace('_', '-')}"
                raise UsageError(f"{option} is for a contact sheet, not for --live", "leave one of them out")
        tune_live(
            given["image"],
            given["output"],
            port=whole("--port", given["port"], _LARGEST_PORT),
            opens_browser=not given["no_browser"],
            data_range=positive("--data-range", given["data_range"]),
            max_megapixels=positive("--max-pixels", given["max_pixels"]),
        )


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
