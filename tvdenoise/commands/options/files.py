"""Options: what is read and written."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

_PANEL = "Files"


class Nan(StrEnum):
    REFUSE = "refuse"
    FILL = "fill"


Inputs = Annotated[
    list[str], typer.Argument(metavar="INPUT", help="Images, folders of images, or - for standard input.")
]
Jobs = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER|auto",
        help="How many files are worked on at the same time. By default as many as are useful; any number "
        "gives the same results.",
        rich_help_panel=_PANEL,
    ),
]
FirstFrame = Annotated[
    bool,
    typer.Option(
        "--first-frame",
        help="Of files that hold several pictures take the first alone.",
        rich_help_panel=_PANEL,
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS|local",
        help="Use the workers of the Dask scheduler at this address, which see the same files, or of one "
        "started here. Needs the extra cluster.",
        rich_help_panel=_PANEL,
    ),
]
FailFast = Annotated[
    bool, typer.Option("--fail-fast", help="End with the first file that fails.", rich_help_panel=_PANEL)
]
Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="OUTPUT",
        help="A file (by its extension), a folder, or - for standard output. "
        "By default NAME_denoised.EXT beside each input.",
        rich_help_panel=_PANEL,
    ),
]
WatchedFolder = Annotated[str, typer.Argument(metavar="FOLDER", help="The folder in which images appear.")]
OutputFolder = Annotated[
    str,
    typer.Option("--output", "-o", metavar="FOLDER", help="Where the results go.", rich_help_panel=_PANEL),
]
Settle = Annotated[
    str | None,
    typer.Option(
        metavar="SECONDS",
        help="How long a file must be unchanged before it is denoised. By default 2.",
        rich_help_panel=_PANEL,
    ),
]
Poll = Annotated[
    str | None,
    typer.Option(
        metavar="SECONDS",
        help="Look at the folder this often, for file systems that tell no changes, such as those of networks.",
        rich_help_panel=_PANEL,
    ),
]
Recursive = Annotated[
    bool, typer.Option("--recursive", "-r", help="Look into sub-folders too.", rich_help_panel=_PANEL)
]
Include = Annotated[
    list[str] | None,
    typer.Option(
        "--include",
        metavar="PATTERN",
        help="Take only such files from folders: '*.tif' by name, 'day*/*.tif' by the place below the folder. "
        "May be repeated.",
        rich_help_panel=_PANEL,
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude",
        metavar="PATTERN",
        help="Leave out such files and sub-folders of folders: 'thumb*', 'raw/old'. May be repeated.",
        rich_help_panel=_PANEL,
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace existing outputs.", rich_help_panel=_PANEL)
]
SkipExisting = Annotated[
    bool,
    typer.Option("--skip-existing", help="Keep existing outputs: continue a run.", rich_help_panel=_PANEL),
]
InPlace = Annotated[
    bool,
    typer.Option(
        "--in-place",
        help="Replace each input by its result, once: files that say they are denoised are skipped.",
        rich_help_panel=_PANEL,
    ),
]
Again = Annotated[
    bool,
    typer.Option(
        "--again", help="With --in-place: denoise also what is denoised already.", rich_help_panel=_PANEL
    ),
]
StripMetadata = Annotated[
    bool,
    typer.Option(
        "--strip-metadata",
        help="Write no metadata but the colour profile and the orientation.",
        rich_help_panel=_PANEL,
    ),
]
PreserveTimes = Annotated[
    bool,
    typer.Option("--preserve-times", help="Give outputs the times of their inputs.", rich_help_panel=_PANEL),
]
Suffix = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT",
        help="Ending of the outputs' names. By default _denoised beside the inputs, none in a folder.",
        rich_help_panel=_PANEL,
    ),
]
FormatName = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="NAME",
        help="Format of standard output. By default the input's.",
        rich_help_panel=_PANEL,
    ),
]
Quality = Annotated[
    str | None,
    typer.Option(
        metavar="1–100",
        help="Of JPEG, WebP, AVIF, HEIC and JPEG 2000. By default 95, and lossless where the input is.",
        rich_help_panel=_PANEL,
    ),
]
DataRange = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER",
        help="The value that counts as white in float files. By default 1.",
        rich_help_panel=_PANEL,
    ),
]
Mask = Annotated[
    str | None,
    typer.Option(
        "--mask",
        metavar="FILE",
        help="Denoise only where this image, of the same size, is white; where it is black, pixels are kept exactly. "
        "Both are taken as they are shown, turned by their orientation.",
        rich_help_panel=_PANEL,
    ),
]
NanName = Annotated[
    Nan,
    typer.Option(
        "--nan",
        help="Refuse float files that hold NaN, or fill such pixels from their neighbours.",
        rich_help_panel=_PANEL,
    ),
]
MaxPixels = Annotated[
    str | None,
    typer.Option(metavar="MEGAPIXELS", help="Refuse larger images. By default 500.", rich_help_panel=_PANEL),
]
Memory = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="The most memory to take, such as 1GB or 800MB, for all files that are worked on together. A TIFF that "
        "needs more is denoised in parts. By default what is free.",
        rich_help_panel=_PANEL,
    ),
]
Report = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Write what became of each file, as lines of JSON, or as CSV where the name ends in .csv; "
        "tvdenoise report shows it.",
        rich_help_panel=_PANEL,
    ),
]
Residual = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER",
        help="Write what was removed from each image there as NAME_residual.png: input less result around mid grey, "
        "amplified by a power of two that is told. Edges or texture in it were lost with the noise.",
        rich_help_panel=_PANEL,
    ),
]
Trace = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Of one image: write J and the distance bound at every evaluation, as .csv or as a plot (.png, .svg or "
        ".pdf).",
        rich_help_panel=_PANEL,
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Print the plan and write nothing: a table on a terminal, elsewhere a line a file with tabs between "
        "source, target, columns, rows, channels, action (denoise, skip, fail) and reason.",
        rich_help_panel=_PANEL,
    ),
]
