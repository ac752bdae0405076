"""``tvdenoise tune``: a contact sheet, or the live page, to choose the parameters by eye."""

from __future__ import annotations

import json
import math
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tvdenoise.commands.exits import exit_codes
from tvdenoise.commands.numbers import positive, whole
from tvdenoise.commands.options import accuracy, advanced, contact_sheet, files, messages
from tvdenoise.commands.settings import settings_of
from tvdenoise.errors import TvdenoiseError, UsageError
from tvdenoise.files.paths import printable

if TYPE_CHECKING:
    from tvdenoise.batch.request import Settings
    from tvdenoise.batch.tuning import SettingsGrid, Strengths
    from tvdenoise.files.orientation import Box
    from tvdenoise.live.scene import Scene
    from tvdenoise.pictures.contact_sheet import Cell, Tuned


#: Options that change a result, by the names of a command's parameters; values that are defaults are left out.
_OPTIONS = {
    "mu": "--mu",
    "epsilon": "--epsilon",
    "sigma": "--sigma",
    "noise": "--noise",
    "tolerance": "--tolerance",
    "max_iterations": "--max-iterations",
    "chroma": "--chroma",
    "data_range": "--data-range",
    "max_pixels": "--max-pixels",
    "tv": "--tv",
    "penalty": "--penalty",
    "step": "--step",
    "engine": "--engine",
}
_DEFAULTS = {"noise": "auto", "tv": "isotropic", "penalty": "hyperbolic", "step": "bb", "engine": "fused"}
_FOR_CHOOSING = ("mu", "epsilon", "sigma", "noise")


def command_line(source: str, asks: Iterable[tuple[str, str]], given: Mapping[str, Any]) -> str:
    """What to type: the options asked for, and those of another command's that matter too.

    asks: options and their values; given: the other command's parameters by their names.
    """
    asked = tuple(asks)
    superseded = _FOR_CHOOSING if any(option == "--mu" for option, _ in asked) else ()
    words = ["tvdenoise", "run", f"./{source}" if source.startswith("-") else source]
    for pair in asked:
        words += pair
    for name, option in _OPTIONS.items():
        value = given.get(name)
        text = getattr(value, "value", value)
        if text is not None and text not in (_DEFAULTS.get(name), "auto") and name not in superseded:
            words += [option, str(text)]
    return shlex.join(words)


_COLUMNS = ("cell", "mu", "epsilon", "strength", "psnr", "ssim", "mark", "command")


def summary_of(image: str, sheet: str, tuned: Tuned, seconds: float) -> str:
    """What was done, in one line."""
    from tvdenoise.files.paths import printable
    from tvdenoise.pictures.contact_sheet import in_three_digits

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
    from tvdenoise.pictures.contact_sheet import in_three_digits

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


_NEEDED = ("starlette", "uvicorn", "websockets")


def tune_live(
    image: str,
    output: str | None,
    *,
    port: int | None,
    opens_browser: bool,
    data_range: float | None,
    max_megapixels: float | None,
) -> None:
    """Serve the page until it says that it is done. Raises TvdenoiseError and KeyboardInterrupt."""
    if any(find_spec(name) is None for name in _NEEDED):
        raise UsageError("--live needs further packages", "install tvdenoise[live]")
    from tvdenoise.batch.request import Settings
    from tvdenoise.commands.wording import line_of
    from tvdenoise.files.reading import DEFAULT_MAX_MEGAPIXELS
    from tvdenoise.live.server import listen, serve
    from tvdenoise.live.session import Saver, Studio

    source = Path(image)
    if image == "-" or source.is_dir():
        raise UsageError(f"{printable(image)} is not a file", "name an image")
    saver = Saver(source, output)
    settings = Settings(data_range=data_range, max_megapixels=max_megapixels or DEFAULT_MAX_MEGAPIXELS)
    listening = listen(port)
    try:
        saver.require_possible()
        scene = _scene_of(image, settings)
    except BaseException:
        listening.close()
        raise

    def announce(url: str) -> None:
        _tell(f"{printable(image)} is at {url} until Ctrl-C")
        if opens_browser and sys.stderr.isatty() and _has_screen():
            _open(url)

    serve(Studio(scene, saver, line_of), listening, announce)


def _scene_of(image: str, settings: Settings) -> Scene:
    """The picture; errors name it."""
    from tvdenoise.live.scene import Scene

    try:
        return Scene.read(Path(image), settings, _announce_compilation)
    except TvdenoiseError as error:
        raise type(error)(f"{printable(image)}: {error.reason}", error.remedy) from error


def _has_screen() -> bool:
    """Else a browser for terminals might be started, in the place of this command."""
    return sys.platform in ("win32", "darwin") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )


def _open(url: str) -> None:
    import webbrowser

    Thread(target=webbrowser.open, args=(url,), daemon=True).start()


def _announce_compilation() -> None:
    _tell("preparing the fast kernel for this machine (once; a few seconds)")


def _tell(message: str) -> None:
    print(f"tvdenoise: {message}", file=sys.stderr, flush=True)


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
        from tvdenoise.batch.measures import refuse_existing
        from tvdenoise.batch.tuning import Tuner
        from tvdenoise.errors import UsageError
        from tvdenoise.files.paths import printable
        from tvdenoise.pictures.contact_sheet import require_sheet_name, save_sheet

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


def _shown_settings(grid: str | None, strength: str | None, mu: str | None) -> SettingsGrid | Strengths:
    """Raises UsageError."""
    from tvdenoise.batch.tuning import SettingsGrid, Strengths
    from tvdenoise.errors import UsageError

    if strength is not None:
        if grid is not None:
            raise UsageError("--strength and --grid contradict each other", "give one of them")
        if positive("--mu", mu) is not None:
            raise UsageError("--strength scales the chosen --mu, which is given", "give one of them")
        values = [positive("--strength", part.strip()) for part in strength.split(",")]
        return Strengths(tuple(value for value in values if value is not None))
    if grid is None:
        return SettingsGrid()
    columns, cross, rows = grid.lower().replace("×", "x").partition("x")
    if not (cross and columns.isdecimal() and rows.isdecimal()):
        raise UsageError(
            f"--grid must be COLUMNSxROWS, not {grid!r}", "for example 5x3: five mu, three epsilon"
        )
    return SettingsGrid(int(columns), int(rows))


def _box(text: str | None) -> Box | None:
    """Raises UsageError."""
    if text is None:
        return None
    from tvdenoise.errors import UsageError
    from tvdenoise.files.orientation import Box

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
