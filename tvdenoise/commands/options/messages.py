"""Options: what is told."""

from __future__ import annotations

from typing import Annotated

import typer

_PANEL = "Messages"

Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet", "-q", help="Tell errors and nothing else, no summary either.", rich_help_panel=_PANEL
    ),
]
Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose",
        "-v",
        help="Tell more about each file, also where they are many (more than 20).",
        rich_help_panel=_PANEL,
    ),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show where errors come from.", rich_help_panel=_PANEL)]
