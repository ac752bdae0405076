"""Options: how strong, and how exact."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

_PANEL = "Strength and accuracy"


class Noise(StrEnum):
    AUTO = "auto"
    WHITE = "white"


# Numbers are taken as text and checked by `commands.numbers`, for one clear line about what is wrong.
Mu = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER|auto",
        help="Weight of staying close to the input: larger keeps more detail and more noise. "
        "By default the one of least estimated error for the image's own noise.",
        rich_help_panel=_PANEL,
    ),
]
Sigma = Annotated[
    str | None,
    typer.Option(
        metavar="INTENSITY",
        help="Take the noise for white, with this standard deviation. By default estimated.",
        rich_help_panel=_PANEL,
    ),
]
NoiseName = Annotated[
    Noise,
    typer.Option(
        "--noise",
        help="What to estimate: its level, growth with intensity and correlation, or as for white noise "
        "its level alone.",
        rich_help_panel=_PANEL,
    ),
]
Strength = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER",
        help="Divides the chosen mu: 2 is smoother, 0.5 gentler. By default 1.",
        rich_help_panel=_PANEL,
    ),
]
Epsilon = Annotated[
    str | None,
    typer.Option(
        metavar="INTENSITY|auto",
        help="Differences below it count as noise to smooth, above it as edges to keep. "
        "By default 0.14 / mu (0.28 / mu in colour).",
        rich_help_panel=_PANEL,
    ),
]
Tolerance = Annotated[
    str | None,
    typer.Option(
        metavar="INTENSITY",
        help="Stop once the result is certain to be this close (rms) to the exact minimiser. "
        "By default 0.03 / mu.",
        rich_help_panel=_PANEL,
    ),
]
MaxIterations = Annotated[
    str | None,
    typer.Option(metavar="NUMBER", help="The most evaluations. By default 2000.", rich_help_panel=_PANEL),
]
Chroma = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER",
        help="How much more colour differences are smoothed than brightness. By default 3.",
        rich_help_panel=_PANEL,
    ),
]
Threads = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER",
        help="By default all processors; any number gives the same result.",
        rich_help_panel=_PANEL,
    ),
]
SharedParameters = Annotated[
    bool,
    typer.Option(
        "--shared-parameters",
        help="Choose mu once, on a sample of all the images, and use it for all: for a set from one camera or "
        "microscope.",
        rich_help_panel=_PANEL,
    ),
]
PerPlane = Annotated[
    bool,
    typer.Option(
        "--per-plane",
        help="Choose mu for each picture of a stack or an animation by itself. By default once for the file, and for "
        "each channel of a microscope.",
        rich_help_panel=_PANEL,
    ),
]
