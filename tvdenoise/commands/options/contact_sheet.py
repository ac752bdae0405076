"""Options: the contact sheet, and the page of sliders."""

from __future__ import annotations

from typing import Annotated

import typer

_PANEL = "The sheet"
_LIVE = "Live"

Sheet = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="The contact sheet, a PNG. By default NAME_tune.png beside the image. With --live the result's place, "
        "as that of run.",
        rich_help_panel=_PANEL,
    ),
]
Reference = Annotated[
    str | None,
    typer.Option(
        metavar="CLEAN",
        help="The same image without noise: PSNR and SSIM are shown, and the best cell is marked.",
        rich_help_panel=_PANEL,
    ),
]
GridSize = Annotated[
    str | None,
    typer.Option(
        "--grid",
        metavar="COLUMNSxROWS",
        help="How many mu, each 1.41 times smaller than the one before, and how many epsilon, each 3 times "
        "larger; odd numbers. By default 5x3.",
        rich_help_panel=_PANEL,
    ),
]
Strengths = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER,...",
        help="Instead of a grid a row of strengths, as run takes them: 0.25,0.5,1,2,4. 1 is always shown.",
        rich_help_panel=_PANEL,
    ),
]
Crop = Annotated[
    str | None,
    typer.Option(
        metavar="X,Y,WIDTH,HEIGHT",
        help="The part to show, in pixels. By default 256 by 256 where noise and structure meet.",
        rich_help_panel=_PANEL,
    ),
]
Live = Annotated[
    bool,
    typer.Option(
        "--live",
        help="Open a page of sliders on this machine instead of writing a sheet. Needs the extra live.",
        rich_help_panel=_LIVE,
    ),
]
Port = Annotated[
    str | None,
    typer.Option(metavar="NUMBER", help="Of the page. By default a free one.", rich_help_panel=_LIVE),
]
NoBrowser = Annotated[
    bool,
    typer.Option("--no-browser", help="Print the page's address, and open nothing.", rich_help_panel=_LIVE),
]
