"""The options of the commands: names, explanations, and what they take."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

_STRENGTH, _FILES, _MESSAGES, _ADVANCED = "Strength and accuracy", "Files", "Messages", "Advanced"


class TotalVariation(StrEnum):
    ISOTROPIC = "isotropic"
    COMPONENTWISE = "componentwise"


class Penalty(StrEnum):
    HYPERBOLIC = "hyperbolic"
    HUBER = "huber"


class Noise(StrEnum):
    AUTO = "auto"
    WHITE = "white"


class Nan(StrEnum):
    REFUSE = "refuse"
    FILL = "fill"


class Step(StrEnum):
    BB = "bb"
    FIXED = "fixed"


class Engine(StrEnum):
    FUSED = "fused"
    SPARSE = "sparse"


Inputs = Annotated[
    list[str], typer.Argument(metavar="INPUT", help="Images, folders of images, or - for standard input.")
]

# Numbers are taken as text and checked by `commands.numbers`, for one clear line about what is wrong.
Mu = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER|auto",
        help="Weight of staying close to the input: larger keeps more detail and more noise. "
        "By default the one of least estimated error for the image's own noise.",
        rich_help_panel=_STRENGTH,
    ),
]
Sigma = Annotated[
    str | None,
    typer.Option(
        metavar="INTENSITY",
        help="Take the noise for white, with this standard deviation. By default estimated.",
        rich_help_panel=_STRENGTH,
    ),
]
NoiseName = Annotated[
    Noise,
    typer.Option(
        "--noise",
        help="What to estimate: its level, growth with intensity and correlation, or as for white noise "
        "its level alone.",
        rich_help_panel=_STRENGTH,
    ),
]
Strength = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER",
        help="Divides the chosen mu: 2 is smoother, 0.5 gentler. By default 1.",
        rich_help_panel=_STRENGTH,
    ),
]
Epsilon = Annotated[
    str | None,
    typer.Option(
        metavar="INTENSITY|auto",
        help="Differences below it count as noise to smooth, above it as edges to keep. "
        "By default 0.14 / mu (0.28 / mu in colour).",
        rich_help_panel=_STRENGTH,
    ),
]
Tolerance = Annotated[
    str | None,
    typer.Option(
        metavar="INTENSITY",
        help="Stop once the result is certain to be this close (rms) to the exact minimiser. "
        "By default 0.03 / mu.",
        rich_help_panel=_STRENGTH,
    ),
]
MaxIterations = Annotated[
    str | None,
    typer.Option(metavar="NUMBER", help="The most evaluations. By default 2000.", rich_help_panel=_STRENGTH),
]
Chroma = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER",
        help="How much more colour differences are smoothed than brightness. By default 3.",
        rich_help_panel=_STRENGTH,
    ),
]
Threads = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER",
        help="By default all processors; any number gives the same result.",
        rich_help_panel=_STRENGTH,
    ),
]

Jobs = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER|auto",
        help="How many files are worked on at the same time. By default as many as are useful; any number "
        "gives the same results.",
        rich_help_panel=_FILES,
    ),
]
SharedParameters = Annotated[
    bool,
    typer.Option(
        "--shared-parameters",
        help="Choose mu once, on a sample of all the images, and use it for all: for a set from one camera or "
        "microscope.",
        rich_help_panel=_STRENGTH,
    ),
]
PerPlane = Annotated[
    bool,
    typer.Option(
        "--per-plane",
        help="Choose mu for each picture of a stack or an animation by itself. By default once for the file, and for "
        "each channel of a microscope.",
        rich_help_panel=_STRENGTH,
    ),
]
FirstFrame = Annotated[
    bool,
    typer.Option(
        "--first-frame",
        help="Of files that hold several pictures take the first alone.",
        rich_help_panel=_FILES,
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS|local",
        help="Use the workers of the Dask scheduler at this address, which see the same files, or of one "
        "started here. Needs the extra cluster.",
        rich_help_panel=_FILES,
    ),
]
FailFast = Annotated[
    bool, typer.Option("--fail-fast", help="End with the first file that fails.", rich_help_panel=_FILES)
]
Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="OUTPUT",
        help="A file (by its extension), a folder, or - for standard output. "
        "By default NAME_denoised.EXT beside each input.",
        rich_help_panel=_FILES,
    ),
]
WatchedFolder = Annotated[str, typer.Argument(metavar="FOLDER", help="The folder in which images appear.")]
OutputFolder = Annotated[
    str,
    typer.Option("--output", "-o", metavar="FOLDER", help="Where the results go.", rich_help_panel=_FILES),
]
Settle = Annotated[
    str | None,
    typer.Option(
        metavar="SECONDS",
        help="How long a file must be unchanged before it is denoised. By default 2.",
        rich_help_panel=_FILES,
    ),
]
Poll = Annotated[
    str | None,
    typer.Option(
        metavar="SECONDS",
        help="Look at the folder this often, for file systems that tell no changes, such as those of networks.",
        rich_help_panel=_FILES,
    ),
]
Recursive = Annotated[
    bool, typer.Option("--recursive", "-r", help="Look into sub-folders too.", rich_help_panel=_FILES)
]
Include = Annotated[
    list[str] | None,
    typer.Option(
        "--include",
        metavar="PATTERN",
        help="Take only such files from folders: '*.tif' by name, 'day*/*.tif' by the place below the folder. "
        "May be repeated.",
        rich_help_panel=_FILES,
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude",
        metavar="PATTERN",
        help="Leave out such files and sub-folders of folders: 'thumb*', 'raw/old'. May be repeated.",
        rich_help_panel=_FILES,
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace existing outputs.", rich_help_panel=_FILES)
]
SkipExisting = Annotated[
    bool,
    typer.Option("--skip-existing", help="Keep existing outputs: continue a run.", rich_help_panel=_FILES),
]
InPlace = Annotated[
    bool,
    typer.Option(
        "--in-place",
        help="Replace each input by its result, once: files that say they are denoised are skipped.",
        rich_help_panel=_FILES,
    ),
]
Again = Annotated[
    bool,
    typer.Option(
        "--again", help="With --in-place: denoise also what is denoised already.", rich_help_panel=_FILES
    ),
]
StripMetadata = Annotated[
    bool,
    typer.Option(
        "--strip-metadata",
        help="Write no metadata but the colour profile and the orientation.",
        rich_help_panel=_FILES,
    ),
]
PreserveTimes = Annotated[
    bool,
    typer.Option("--preserve-times", help="Give outputs the times of their inputs.", rich_help_panel=_FILES),
]
Suffix = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT",
        help="Ending of the outputs' names. By default _denoised beside the inputs, none in a folder.",
        rich_help_panel=_FILES,
    ),
]
FormatName = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="NAME",
        help="Format of standard output. By default the input's.",
        rich_help_panel=_FILES,
    ),
]
Quality = Annotated[
    str | None,
    typer.Option(
        metavar="1–100",
        help="Of JPEG, WebP, AVIF, HEIC and JPEG 2000. By default 95, and lossless where the input is.",
        rich_help_panel=_FILES,
    ),
]
DataRange = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER",
        help="The value that counts as white in float files. By default 1.",
        rich_help_panel=_FILES,
    ),
]
Mask = Annotated[
    str | None,
    typer.Option(
        "--mask",
        metavar="FILE",
        help="Denoise only where this image, of the same size, is white; where it is black, pixels are kept exactly. "
        "Both are taken as they are shown, turned by their orientation.",
        rich_help_panel=_FILES,
    ),
]
NanName = Annotated[
    Nan,
    typer.Option(
        "--nan",
        help="Refuse float files that hold NaN, or fill such pixels from their neighbours.",
        rich_help_panel=_FILES,
    ),
]
MaxPixels = Annotated[
    str | None,
    typer.Option(metavar="MEGAPIXELS", help="Refuse larger images. By default 500.", rich_help_panel=_FILES),
]
Memory = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="The most memory to take, such as 1GB or 800MB, for all files that are worked on together. A TIFF that "
        "needs more is denoised in parts. By default what is free.",
        rich_help_panel=_FILES,
    ),
]
Report = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Write what became of each file, as lines of JSON, or as CSV where the name ends in .csv; "
        "tvdenoise report shows it.",
        rich_help_panel=_FILES,
    ),
]
Residual = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER",
        help="Write what was removed from each image there as NAME_residual.png: input less result around mid grey, "
        "amplified by a power of two that is told. Edges or texture in it were lost with the noise.",
        rich_help_panel=_FILES,
    ),
]
Trace = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Of one image: write J and the distance bound at every evaluation, as .csv or as a plot (.png, .svg or "
        ".pdf).",
        rich_help_panel=_FILES,
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Print the plan and write nothing: a table on a terminal, elsewhere a line a file with tabs between "
        "source, target, columns, rows, channels, action (denoise, skip, fail) and reason.",
        rich_help_panel=_FILES,
    ),
]

_SHEET = "The sheet"
Sheet = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="The contact sheet, a PNG. By default NAME_tune.png beside the image. With --live the result's place, "
        "as that of run.",
        rich_help_panel=_SHEET,
    ),
]
Reference = Annotated[
    str | None,
    typer.Option(
        metavar="CLEAN",
        help="The same image without noise: PSNR and SSIM are shown, and the best cell is marked.",
        rich_help_panel=_SHEET,
    ),
]
GridSize = Annotated[
    str | None,
    typer.Option(
        "--grid",
        metavar="COLUMNSxROWS",
        help="How many mu, each 1.41 times smaller than the one before, and how many epsilon, each 3 times "
        "larger; odd numbers. By default 5x3.",
        rich_help_panel=_SHEET,
    ),
]
Strengths = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER,...",
        help="Instead of a grid a row of strengths, as run takes them: 0.25,0.5,1,2,4. 1 is always shown.",
        rich_help_panel=_SHEET,
    ),
]
Crop = Annotated[
    str | None,
    typer.Option(
        metavar="X,Y,WIDTH,HEIGHT",
        help="The part to show, in pixels. By default 256 by 256 where noise and structure meet.",
        rich_help_panel=_SHEET,
    ),
]

Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet", "-q", help="Tell errors and nothing else, no summary either.", rich_help_panel=_MESSAGES
    ),
]
Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose",
        "-v",
        help="Tell more about each file, also where they are many (more than 20).",
        rich_help_panel=_MESSAGES,
    ),
]
Debug = Annotated[
    bool, typer.Option("--debug", help="Show where errors come from.", rich_help_panel=_MESSAGES)
]

TotalVariationName = Annotated[
    TotalVariation,
    typer.Option(
        "--tv", help="One root for all of a pixel's differences, or one each.", rich_help_panel=_ADVANCED
    ),
]
PenaltyName = Annotated[
    Penalty, typer.Option("--penalty", help="Of the image gradient.", rich_help_panel=_ADVANCED)
]
StepName = Annotated[
    Step,
    typer.Option("--step", help="Barzilai–Borwein step lengths, or always 1/L.", rich_help_panel=_ADVANCED),
]
EngineName = Annotated[
    Engine,
    typer.Option(
        "--engine",
        help="The fast kernel, or the sparse operators that define it.",
        rich_help_panel=_ADVANCED,
    ),
]

Live = Annotated[
    bool,
    typer.Option(
        "--live",
        help="Open a page of sliders on this machine instead of writing a sheet. Needs the extra live.",
        rich_help_panel="Live",
    ),
]
Port = Annotated[
    str | None,
    typer.Option(metavar="NUMBER", help="Of the page. By default a free one.", rich_help_panel="Live"),
]
NoBrowser = Annotated[
    bool,
    typer.Option("--no-browser", help="Print the page's address, and open nothing.", rich_help_panel="Live"),
]
