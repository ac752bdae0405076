"""``tvdenoise tune``: choose the parameters by eye, on a contact sheet or on the live page."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tvdenoise.commands import typer_options
from tvdenoise.commands.exits import exit_codes
from tvdenoise.commands.typer_options import parsed, takes_options, whole
from tvdenoise.errors import TvdenoiseError, UsageError
from tvdenoise.files.paths import printable
from tvdenoise.options import STRENGTH_PANEL, FileOptions, Options, command_line, flag_of, specs

if TYPE_CHECKING:
    from tvdenoise.batch.tuning import SettingsGrid, Strengths
    from tvdenoise.files.orientation import Box
    from tvdenoise.live.scene import Scene
    from tvdenoise.pictures.contact_sheet import Cell, Tuned


_AFTER_PARAMETERS = ("psnr", "ssim", "mark", "command")


def summary_of(image: str, sheet: str, tuned: Tuned, seconds: float) -> str:
    """A summary of the sheet, in one line."""
    from tvdenoise.files.paths import printable
    from tvdenoise.pictures.contact_sheet import in_three_digits

    parameters, box = tuned.parameters, tuned.shown_box
    origin = (
        "given" if parameters.noise is None else f"noise {parameters.noise.sigma * 255:.3g}/255, automatic"
    )
    chosen = ", ".join(f"{name} {in_three_digits(value)}" for name, value in parameters.named.items())
    count = sum(map(len, tuned.cells))
    return (
        f"{printable(image)} → {printable(sheet)}: {origin} {chosen}; "
        f"{count} settings on {box.width} × {box.height} pixels at {box.left},{box.top}, {seconds:.2f} s"
    )


def print_cells(tuned: Tuned, image: str, sheet: str, settings: FileOptions, *, as_json: bool) -> None:
    """Print one line per cell, or one line of JSON, with the commands; settings: those of this command."""
    from tvdenoise.commands.output import print_lines

    cells = [cell for row in tuned.cells for cell in row]

    def line_of(cell: Cell) -> str:
        options = cell.setting.options
        if cell.setting.is_centre:
            return command_line(image, settings)
        if "strength" in options:
            return command_line(image, replace(settings, strength=options["strength"]))
        return command_line(image, settings.with_given(options))

    if as_json:
        print_lines([json.dumps(_entry(tuned, image, sheet, line_of))])
        return
    heads = ("cell", *cells[0].setting.shown, *_AFTER_PARAMETERS)
    rows = [heads, *(_columns(tuned, cell, line_of(cell)) for cell in cells)]
    print_lines(_aligned(rows) if sys.stdout.isatty() else map("\t".join, rows))


def _columns(tuned: Tuned, cell: Cell, command: str) -> tuple[str, ...]:
    setting, similarity = cell.setting, cell.similarity
    ssim = None if similarity is None else similarity.ssim
    return (
        setting.name,
        *setting.shown.values(),
        "" if similarity is None else f"{similarity.psnr:.2f}",
        "" if ssim is None else f"{ssim:.4f}",
        ", ".join(tuned.marks(cell)),
        command,
    )


def _aligned(rows: list[tuple[str, ...]]) -> Iterator[str]:
    """The lines for a terminal, in aligned columns; empty columns are omitted."""
    kept = [column for column in zip(*rows, strict=True) if any(column[1:])]
    widths = [max(map(len, column)) for column in kept]
    for row in zip(*kept, strict=True):
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()


def _finite(value: float | None) -> float | None:
    """None in place of an infinity, which JSON cannot represent."""
    return value if value is not None and math.isfinite(value) else None


def _entry(tuned: Tuned, image: str, sheet: str, line_of: Callable[[Cell], str]) -> dict[str, Any]:
    """The sheet as JSON; intensities are fractions of the data range."""
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
                **{name: cell.setting.parameters.named.get(name) for name in ("mu", "epsilon", "level")},
                "strength": cell.setting.strength,
                "psnr": None if cell.similarity is None else _finite(cell.similarity.psnr),
                "ssim": None if cell.similarity is None else cell.similarity.ssim,
                "marks": tuned.marks(cell),
                "command": line_of(cell),
            }
            for row in tuned.cells
            for cell in row
        ],
    }


_NEEDED = ("starlette", "uvicorn", "websockets")


def tune_live(
    image: str, output: str | None, settings: FileOptions, *, port: int | None, opens_browser: bool
) -> None:
    """Serve the page until the user is done. Raises TvdenoiseError and KeyboardInterrupt."""
    if any(find_spec(name) is None for name in _NEEDED):
        raise UsageError("--live requires the extra live", "install tvdenoise[live]")
    from tvdenoise.commands.output import line_of
    from tvdenoise.live.server import listen, serve
    from tvdenoise.live.session import Saver, Studio

    source = Path(image)
    if image == "-" or source.is_dir():
        raise UsageError(f"{printable(image)} is not a file", "name an image")
    saver = Saver(source, output)
    listening = listen(port)
    try:
        saver.require_possible()
        scene = _scene_of(image, settings)
    except BaseException:
        listening.close()
        raise

    def announce(url: str) -> None:
        _tell(f"{printable(image)} is open at {url} (press Ctrl-C to stop)")
        if opens_browser and sys.stderr.isatty() and _has_screen():
            _open(url)

    serve(Studio(scene, saver, line_of), listening, announce)


def _scene_of(image: str, settings: FileOptions) -> Scene:
    """The scene of an image. Errors name the file."""
    from tvdenoise.live.scene import Scene

    try:
        return Scene.read(Path(image), settings, _announce_compilation)
    except TvdenoiseError as error:
        raise type(error)(f"{printable(image)}: {error.reason}", error.remedy) from error


def _has_screen() -> bool:
    """False on a machine without a display, where a text browser might take over the terminal."""
    return sys.platform in ("win32", "darwin") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )


def _open(url: str) -> None:
    import webbrowser

    Thread(target=webbrowser.open, args=(url,), daemon=True).start()


@cache  # once
def _announce_compilation() -> None:
    from tvdenoise.commands.console import COMPILING

    _tell(COMPILING)


def _tell(message: str) -> None:
    print(f"tvdenoise: {message}", file=sys.stderr, flush=True)


#: The parameters of this command that only a sheet uses.
_SHEET_ALONE = ("reference", "grid", "strength", "crop", "overwrite", "as_json")
#: The options of files that matter even if no file is written.
_FOR_READING = ("data_range", "max_megapixels")
_WITHOUT = {name for name in specs(FileOptions) if name not in specs(Options)} | {"strength", "nan"}
_LARGEST_PORT = 65535


@takes_options(without=_WITHOUT - set(_FOR_READING))
def tune(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="The image to choose parameters for.")],
    asked: typer_options.Asked,
    output: typer_options.Sheet = None,
    reference: typer_options.Reference = None,
    grid: typer_options.GridSize = None,
    strength: typer_options.Strengths = None,
    crop: typer_options.Crop = None,
    live: typer_options.Live = False,
    port: typer_options.Port = None,
    no_browser: typer_options.NoBrowser = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing sheet.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
    quiet: typer_options.Quiet = False,
    debug: typer_options.Debug = False,
) -> None:
    """Show part of an image with many settings side by side, to choose the parameters by eye.

    The contact sheet, a PNG, shows the noisy part first, then a grid around the automatic choice: mu decreases from
    left to right, so results get smoother; epsilon increases downwards, which leaves more grain and fewer flat
    patches. Learned filters (--prior) have one row, in which the level increases. The automatic choice is framed and
    labelled. With a clean image as --reference, the sheet also shows PSNR and SSIM on that part, and frames and labels
    the best cell.

    For each cell, the command that denoises the whole image with its settings is printed.

    [bold]Examples[/bold]

    tvdenoise tune photo.png
    tvdenoise tune photo.png --strength 0.25,0.5,1,2,4
    tvdenoise tune photo.png --mu 20 --epsilon 0.01 --grid 7x3
    tvdenoise tune photo.png --crop 1200,800,300,200 -o sheet.png
    tvdenoise tune noisy.png --reference clean.png
    tvdenoise tune photo.png --prior learned
    tvdenoise tune photo.png --live
    """
    given = locals()
    if live:
        _open_page(given)
        return
    with exit_codes(debug=debug, continuation="no sheet was written"):
        from tvdenoise.batch.measures import refuse_existing
        from tvdenoise.batch.tuning import Tuner
        from tvdenoise.commands.console import Console
        from tvdenoise.errors import UsageError
        from tvdenoise.files.paths import printable
        from tvdenoise.pictures.contact_sheet import require_sheet_name, save_sheet

        if port is not None or no_browser:
            raise UsageError("--port and --no-browser require --live", "add --live, or leave them out")
        start = time.perf_counter()
        sheet = output or _beside(image)
        settings = asked.options()
        shown = _shown_settings(grid, strength, settings)
        console = Console(quiet=quiet, verbose=False, debug=False, count=1)
        tuner = Tuner(shown, settings, _box(crop), console.tell_compilation)
        _require_file(image)
        require_sheet_name(sheet)
        _refuse_replacing(sheet, image, reference)
        refuse_existing(sheet, overwrite=overwrite)
        tuned = tuner.tune(Path(image), None if reference is None else Path(reference))
        save_sheet(tuned, printable(Path(image).name), sheet)
        if not quiet:
            print(summary_of(image, sheet, tuned, time.perf_counter() - start), file=sys.stderr, flush=True)
        print_cells(tuned, image, sheet, settings, as_json=as_json)


def _open_page(given: Mapping[str, Any]) -> None:
    """Serve the live page. Refuses options that only a sheet uses."""
    with exit_codes(debug=given["debug"], continuation="the same command opens the page again"):
        from tvdenoise.errors import UsageError

        for name in _SHEET_ALONE:
            if given[name] not in (None, False):
                option = "--json" if name == "as_json" else f"--{name.replace('_', '-')}"
                raise UsageError(f"{option} cannot be used with --live", "leave one of them out")
        settings = given["asked"].options()
        for name in settings.changed():
            spec = specs(FileOptions)[name]
            if spec.panel == STRENGTH_PANEL and name not in ("noise", "prior"):
                option = flag_of(name, spec)
                raise UsageError(f"{option} cannot be used with --live", "leave one of them out")
        tune_live(
            given["image"],
            given["output"],
            settings,
            port=whole("--port", given["port"], _LARGEST_PORT),
            opens_browser=not given["no_browser"],
        )


def _beside(image: str) -> str:
    from tvdenoise.batch.request import SHEET_ENDING

    path = Path(image)
    return str(path.with_name(path.stem + SHEET_ENDING)) if path.name else SHEET_ENDING


def _shown_settings(
    grid: str | None, strength: str | None, settings: FileOptions
) -> SettingsGrid | Strengths:
    """The settings of the cells. Raises UsageError."""
    from tvdenoise.batch.tuning import SettingsGrid, Strengths
    from tvdenoise.errors import UsageError

    if strength is not None:
        if grid is not None:
            raise UsageError("--strength and --grid contradict each other", "give only one of them")
        if settings.given_mu is not None:
            what = "--level" if settings.is_learned else "--mu"
            raise UsageError(
                f"--strength scales the automatic {what}, which is given", "give only one of them"
            )
        values = [parsed("strength", part.strip()) for part in strength.split(",")]
        return Strengths(tuple(value for value in values if value is not None))
    if grid is None:
        return SettingsGrid(rows=1) if settings.is_learned else SettingsGrid()
    columns, cross, rows = grid.lower().replace("×", "x").partition("x")
    if not (cross and columns.isdecimal() and rows.isdecimal()):
        raise UsageError(
            f"--grid must be COLUMNSxROWS, not {grid!r}",
            "for example 5x3, five values of mu and three of epsilon",
        )
    if settings.is_learned and int(rows) > 1:
        raise UsageError(
            f"--grid {grid} has several rows, for epsilon, which learned filters do not have",
            f"give --grid {columns}x1",
        )
    return SettingsGrid(int(columns), int(rows))


def _box(text: str | None) -> Box | None:
    """The part to show, None for an automatic choice. Raises UsageError."""
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
        what = f"{printable(image)} is a folder" if os.path.isdir(image) else "tune needs a file"
        raise UsageError(what, "name one image")


def _refuse_replacing(sheet: str, *inputs: str | None) -> None:
    """Raise UsageError if the sheet would replace an input."""
    from tvdenoise.errors import UsageError
    from tvdenoise.files.paths import printable

    for name in inputs:
        if name is not None and os.path.realpath(name) == os.path.realpath(sheet):
            raise UsageError(f"-o {printable(sheet)} is an input", "give the sheet another name with -o")
