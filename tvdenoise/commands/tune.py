"""``tvdenoise tune``: choose the strength by eye."""

from __future__ import annotations

from typing import Annotated

import typer

from tvdenoise.commands import options
from tvdenoise.commands.endings import exit_codes
from tvdenoise.commands.numbers import positive, whole
from tvdenoise.errors import UsageError

_LARGEST_PORT = 65535


def tune(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="The image.")],
    output: options.Output = None,
    live: Annotated[
        bool,
        typer.Option("--live", help="Open a page of sliders on this machine. Needs tvdenoise[live]."),
    ] = False,
    port: Annotated[
        str | None, typer.Option(metavar="NUMBER", help="With --live: of the page. By default a free one.")
    ] = None,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="With --live: print the address, and open nothing.")
    ] = False,
    data_range: options.DataRange = None,
    max_pixels: options.MaxPixels = None,
    debug: options.Debug = False,
) -> None:
    """Choose the strength by eye.

    [bold]Examples[/bold]

    tvdenoise tune photo.png --live
    tvdenoise tune photo.png --live -o smooth.png --port 8000
    """
    with exit_codes(debug=debug, continuation="the same command opens the page again"):
        if not live:
            raise UsageError("tune opens a page", "add --live")
        from tvdenoise.commands.tune_live import tune_live

        tune_live(
            image,
            output,
            port=whole("--port", port, _LARGEST_PORT),
            opens_browser=not no_browser,
            data_range=positive("--data-range", data_range),
            max_megapixels=positive("--max-pixels", max_pixels),
        )
