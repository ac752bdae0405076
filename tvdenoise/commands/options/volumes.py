"""Options: volumes."""

from __future__ import annotations

from typing import Annotated

import typer

_PANEL = "Volumes"

Volume = Annotated[
    bool,
    typer.Option(
        "--volume",
        help="Denoise the planes of a file together, as one volume for each channel and time point; pictures that "
        "follow in time alone, and the frames of animations, together too.",
        rich_help_panel=_PANEL,
    ),
]
Spacing = Annotated[
    str | None,
    typer.Option(
        "--spacing",
        metavar="Z,Y,X",
        help="With --volume: how far apart planes, rows and columns are, in any unit, or planes alone in pixels. "
        "By default what the file states, and 1 in time. Neighbours that are further apart may differ more.",
        rich_help_panel=_PANEL,
    ),
]
