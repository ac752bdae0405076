"""Options of the command line.

`takes_options` gives a command one option for each field of `FileOptions`, and `Asked` turns the typed values into the
record. The other options, about files to read and write and about messages, are defined here once for all commands.
"""

from __future__ import annotations

import functools
import inspect
import math
import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, get_type_hints

import typer

from tvdenoise.errors import UsageError
from tvdenoise.options import (
    ADVANCED_PANEL,
    FILES_PANEL,
    STRENGTH_PANEL,
    VOLUMES_PANEL,
    Choice,
    ContradictionError,
    Count,
    Distances,
    FileOptions,
    Flag,
    Kind,
    Name,
    Number,
    Size,
    Spec,
    default_of,
    flag_of,
    specs,
)

AUTO = "auto"
_MESSAGES_PANEL, _SHEET_PANEL, _LIVE_PANEL = "Messages", "The sheet", "Live"
_LARGEST_GREY_LEVEL = 255
_SIZE = re.compile(r"(\d+(?:\.\d+)?|\.\d+) ?([kmgt]?)(i?)b?", re.IGNORECASE)


class _Flags(dict[str, str]):
    """The command-line names of options, by field name."""

    def __missing__(self, name: str) -> str:
        return flag_of(name, specs(FileOptions)[name])


@dataclass(frozen=True)
class Asked:
    """The typed values of the fields of `FileOptions`, by field name."""

    texts: Mapping[str, str | bool | None]

    def options(self) -> FileOptions:
        """The parsed options. Raises UsageError."""
        values = ((name, parsed(name, text)) for name, text in self.texts.items())
        given = {name: value for name, value in values if value is not None}
        if "mask" in given:
            given["mask"] = os.path.abspath(given["mask"])
        if given.get("prior", default_of("prior")) != default_of("prior"):
            from tvdenoise.model.prior_file import prior_named

            given["prior"] = prior_named(given["prior"])  # now, so that a bad file is known before any work
        try:
            return FileOptions(**given)
        except ContradictionError as error:
            flags = _Flags()
            raise UsageError(error.reason.format_map(flags), error.remedy.format_map(flags)) from error


def takes_options(
    *, only: Collection[str] | None = None, without: Collection[str] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command that takes ``asked`` an option for each field of `FileOptions`, or for some of them."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(command, include_extras=True)
        own = {
            name: each.replace(annotation=hints[name])
            for name, each in inspect.signature(command).parameters.items()
            if name != "asked"
        }
        made = {
            name: _parameter(name, spec)
            for name, spec in specs(FileOptions).items()
            if name not in without and (only is None or name in only)
        }

        def of_panel(panel: str) -> list[inspect.Parameter]:
            return [
                made[name]
                for name, spec in specs(FileOptions).items()
                if name in made and spec.panel == panel
            ]

        last = [each for each in own.values() if _panel_of(each) == _MESSAGES_PANEL]
        arguments = [each for each in own.values() if each.default is inspect.Parameter.empty]
        middle = [each for each in own.values() if each not in last and each not in arguments]
        parameters = [
            *arguments,
            *of_panel(STRENGTH_PANEL),
            *middle,
            *of_panel(FILES_PANEL),
            *of_panel(VOLUMES_PANEL),
            *last,
            *of_panel(ADVANCED_PANEL),
        ]

        @functools.wraps(command)
        def with_options(**given: Any) -> None:
            command(asked=Asked({name: given.pop(name) for name in made}), **given)

        with_options.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters]
        )
        with_options.__annotations__ = {each.name: each.annotation for each in parameters}
        return with_options

    return decorate


def _parameter(name: str, spec: Spec) -> inspect.Parameter:
    """A field as a parameter for Typer. Typer passes values on as text, and `parsed` checks them."""
    default, kind = default_of(name), spec.kind
    metavar, kind_of_value = spec.metavar, str | None
    complete: Callable[[], list[str]] | None = None
    if isinstance(kind, Choice):
        metavar, complete = "|".join(kind.names), _completing(kind.names)
    if isinstance(kind, Flag):
        shown: Any = False
        kind_of_value = bool  # type: ignore[assignment]
    else:
        shown = None if default is None else kind.text(default)
    option = typer.Option(
        flag_of(name, spec),
        metavar=metavar,
        help=spec.help,
        rich_help_panel=spec.panel,
        autocompletion=complete,
    )
    keyword = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, keyword, default=shown, annotation=Annotated[kind_of_value, option])


def _completing(names: tuple[str, ...]) -> Callable[[], list[str]]:
    """The completion of a choice in a shell."""

    def complete() -> list[str]:
        return list(names)

    return complete


def _panel_of(parameter: inspect.Parameter) -> str | None:
    """The panel of the help that shows an option."""
    for each in getattr(parameter.annotation, "__metadata__", ()):
        return getattr(each, "rich_help_panel", None)
    return None


def parsed(name: str, text: str | bool | None) -> Any:
    """The typed value of a field of `FileOptions`; None for an automatic choice. Raises UsageError."""
    spec = specs(FileOptions)[name]
    if text is None or (text == AUTO and AUTO in (spec.metavar or "")):
        return None
    return _value(flag_of(name, spec), spec.kind, text)


def _value(option: str, kind: Kind, text: str | bool) -> Any:
    if isinstance(text, bool) or isinstance(kind, Name):
        return text
    if isinstance(kind, Count):
        return whole(option, text, kind.largest)
    parsers: dict[type[Kind], Callable[[str, str, Any], Any]] = {
        Number: _number,
        Distances: _distances,
        Size: _size,
    }
    if type(kind) in parsers:
        return parsers[type(kind)](option, text, kind)
    try:
        return kind.check(option, text)
    except ValueError as error:
        raise UsageError(str(error)) from error


def positive(option: str, text: str | None) -> float | None:
    """A positive number; None if it is missing or ``auto``. Raises UsageError."""
    return None if text is None or text == AUTO else _number(option, text, Number(0, math.inf))


def _number(option: str, text: str, kind: Number) -> float:
    """The value of "0.01" or "2.5/255"."""
    numerator, slash, denominator = text.partition("/")
    try:
        value = float(numerator) / float(denominator) if slash else float(numerator)
    except (ValueError, ZeroDivisionError):
        raise UsageError(f"{option} must be a number such as 0.01 or 2.5/255, not {text!r}") from None
    try:
        value = kind.check(option, value, shown=text)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if kind.asked_at_most is not None and value > kind.asked_at_most:
        is_grey_level = "/" not in text and value <= _LARGEST_GREY_LEVEL
        raise UsageError(
            f"{option} {text} is above 1, but intensities are fractions of the data range",
            f"did you mean {text}/255?" if is_grey_level else None,
        )
    return value


def whole(option: str, text: str | None, largest: int | None = None) -> int | None:
    """A whole number from 1 to the largest; None if it is missing. Raises UsageError."""
    if text is None:
        return None
    try:
        value = int(text)
    except ValueError:
        raise UsageError(f"{option} must be a whole number, not {text!r}") from None
    if value < 1 or (largest is not None and value > largest):
        bounds = "at least 1" if largest is None else f"at least 1 and at most {largest}"
        raise UsageError(f"{option} must be {bounds}, not {text}")
    return value


def count_or_auto(option: str, text: str | None) -> int | None:
    """A whole number from 1; None if it is missing or ``auto``. Raises UsageError."""
    if text is None or text == AUTO:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"{option} must be a positive whole number or {AUTO}, not {text!r}")
    return int(text)


def _distances(option: str, text: str, kind: Distances) -> tuple[float, float, float]:
    """The distances of planes, rows and columns; a single number is that of planes, in pixels."""
    parts = text.split(",")
    if len(parts) not in (1, 3):
        raise UsageError(
            f"{option} takes three distances, or only that of planes, not {text!r}", "for example 4,1,1"
        )
    number = Number(kind.least, kind.largest)
    planes, *others = (_number(option, part.strip(), number) for part in parts)
    rows, columns = others or (1.0, 1.0)
    return planes, rows, columns


def _size(option: str, text: str, kind: Size) -> int:
    """A number of bytes such as 1GB, 800MB or 1.5GiB."""
    found = _SIZE.fullmatch(text)
    if found is None or (found[3] and not found[2]):
        raise UsageError(f"{option} must be a size such as 1GB, 800MB or 1.5GiB, not {text!r}")
    number, prefix, binary = found.groups()
    power = " kmgt".index(prefix.lower() or " ")
    value = int(float(number) * (1024 if binary else 1000) ** power)
    if not kind.least <= value <= kind.largest:
        bounds = f"at least {kind.least // 10**6}MB and at most {kind.largest // 10**12}TB"
        raise UsageError(f"{option} must be {bounds}, not {text}", "the program itself needs about 0.2 GB")
    return value


Inputs = Annotated[
    list[str], typer.Argument(metavar="INPUT", help="Images, folders of images, or - for standard input.")
]


def _shown(panel: str, text: str, *flags: str, metavar: str | None = None) -> Any:
    """An option in a panel of the help; flags: its names, where they do not follow from the parameter's."""
    return typer.Option(*flags, metavar=metavar, help=text, rich_help_panel=panel)


Jobs = Annotated[
    str | None,
    _shown(
        FILES_PANEL,
        "Number of files to process at the same time. By default as many as are useful. Output is byte-identical "
        "for any number.",
        metavar="NUMBER|auto",
    ),
]
Cluster = Annotated[
    str | None,
    _shown(
        FILES_PANEL,
        "Use the workers of the Dask scheduler at this address, or of one started on this machine (local). "
        "Workers must see the same files. Requires the extra cluster.",
        metavar="ADDRESS|local",
    ),
]
FailFast = Annotated[bool, _shown(FILES_PANEL, "Stop at the first file that fails.", "--fail-fast")]
Output = Annotated[
    str | None,
    _shown(
        FILES_PANEL,
        "Output file (its extension sets the format), folder, or - for standard output. "
        "By default NAME_denoised.EXT beside each input.",
        "--output",
        "-o",
        metavar="OUTPUT",
    ),
]
WatchedFolder = Annotated[str, typer.Argument(metavar="FOLDER", help="Folder to watch.")]
OutputFolder = Annotated[
    str, _shown(FILES_PANEL, "Folder for the results.", "--output", "-o", metavar="FOLDER")
]
Settle = Annotated[
    str | None,
    _shown(
        FILES_PANEL, "Denoise a file once it has not changed for this long. By default 2.", metavar="SECONDS"
    ),
]
Poll = Annotated[
    str | None,
    _shown(
        FILES_PANEL,
        "Poll the folder at this interval, for file systems that report no changes, such as network file systems.",
        metavar="SECONDS",
    ),
]
Recursive = Annotated[bool, _shown(FILES_PANEL, "Include sub-folders.", "--recursive", "-r")]
Include = Annotated[
    list[str] | None,
    _shown(
        FILES_PANEL,
        "In folders, process only files that match: '*.tif' matches names, 'day*/*.tif' paths below the folder. "
        "May be repeated.",
        "--include",
        metavar="PATTERN",
    ),
]
Exclude = Annotated[
    list[str] | None,
    _shown(
        FILES_PANEL,
        "Skip files and sub-folders that match: 'thumb*', 'raw/old'. May be repeated.",
        "--exclude",
        metavar="PATTERN",
    ),
]
Overwrite = Annotated[bool, _shown(FILES_PANEL, "Replace existing outputs.", "--overwrite")]
SkipExisting = Annotated[
    bool, _shown(FILES_PANEL, "Keep existing outputs, to continue a run.", "--skip-existing")
]
InPlace = Annotated[
    bool,
    _shown(
        FILES_PANEL,
        "Replace each input by its result, once: files already recorded as denoised are skipped.",
        "--in-place",
    ),
]
Again = Annotated[
    bool, _shown(FILES_PANEL, "With --in-place: also denoise files that are already denoised.", "--again")
]
Suffix = Annotated[
    str | None,
    _shown(
        FILES_PANEL,
        "Suffix of output names. By default _denoised beside the inputs, none in an output folder.",
        metavar="TEXT",
    ),
]
FormatName = Annotated[
    str | None,
    _shown(FILES_PANEL, "Format of standard output. By default the input's.", "--format", metavar="NAME"),
]
Report = Annotated[
    str | None,
    _shown(
        FILES_PANEL,
        "Write the outcome of each file as lines of JSON, or as CSV if the name ends in .csv. "
        "tvdenoise report summarises it.",
        metavar="FILE",
    ),
]
Residual = Annotated[
    str | None,
    _shown(
        FILES_PANEL,
        "Write the residual of each image to this folder as NAME_residual.png: input minus result around mid "
        "grey, amplified by a power of two. Edges or texture in it were removed with the noise.",
        metavar="FOLDER",
    ),
]
Trace = Annotated[
    str | None,
    _shown(
        FILES_PANEL,
        "For one image: write J and the distance bound at every evaluation, as a .csv file or as a plot (.png, "
        ".svg or .pdf).",
        metavar="FILE",
    ),
]
DryRun = Annotated[
    bool,
    _shown(
        FILES_PANEL,
        "Print the plan and write nothing. The plan is a table on a terminal, otherwise one tab-separated line "
        "per file with source, target, columns, rows, channels, action (denoise, skip, fail) and reason.",
        "--dry-run",
    ),
]
SharedParameters = Annotated[
    bool,
    _shown(
        STRENGTH_PANEL,
        "Choose mu once, on a sample of the images, and use it for all of them. For sets from one camera or "
        "microscope.",
        "--shared-parameters",
    ),
]
Sheet = Annotated[
    str | None,
    _shown(
        _SHEET_PANEL,
        "Contact sheet, a PNG. By default NAME_tune.png beside the image. With --live: output for the result, as "
        "in run.",
        "--output",
        "-o",
        metavar="FILE",
    ),
]
Reference = Annotated[
    str | None,
    _shown(
        _SHEET_PANEL,
        "The same image without noise. The sheet then shows PSNR and SSIM and marks the best cell.",
        metavar="CLEAN",
    ),
]
GridSize = Annotated[
    str | None,
    _shown(
        _SHEET_PANEL,
        "Number of values of mu, each 1.41 times smaller than the one before, and of epsilon, each 3 times "
        "larger than the one before. Both numbers are odd. By default 5x3. Learned filters have one row of levels, "
        "each 1.41 times larger than the one before, by default 5x1.",
        "--grid",
        metavar="COLUMNSxROWS",
    ),
]
Strengths = Annotated[
    str | None,
    _shown(
        _SHEET_PANEL,
        "Show a row of strengths (see run --strength) instead of a grid: 0.25,0.5,1,2,4. 1 is always shown.",
        metavar="NUMBER,...",
    ),
]
Crop = Annotated[
    str | None,
    _shown(
        _SHEET_PANEL,
        "Part to show, in pixels. By default 256 by 256 pixels with both noise and structure.",
        metavar="X,Y,WIDTH,HEIGHT",
    ),
]
Live = Annotated[
    bool,
    _shown(
        _LIVE_PANEL,
        "Open a local page with sliders in the browser instead of writing a sheet. Requires the extra live.",
        "--live",
    ),
]
Port = Annotated[
    str | None, _shown(_LIVE_PANEL, "Port of the page. By default any free port.", metavar="NUMBER")
]
NoBrowser = Annotated[
    bool, _shown(_LIVE_PANEL, "Print the address of the page without opening a browser.", "--no-browser")
]
Quiet = Annotated[bool, _shown(_MESSAGES_PANEL, "Print errors only.", "--quiet", "-q")]
Verbose = Annotated[
    bool,
    _shown(_MESSAGES_PANEL, "Print details of each file, even of more than 20 files.", "--verbose", "-v"),
]
Debug = Annotated[bool, _shown(_MESSAGES_PANEL, "Print tracebacks of errors.", "--debug")]
