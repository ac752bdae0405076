"""The command line's top level."""

from __future__ import annotations

from typing import Annotated

import typer

import tvdenoise
from tvdenoise.commands.compare import compare
from tvdenoise.commands.noise import noise
from tvdenoise.commands.report import report
from tvdenoise.commands.run import run
from tvdenoise.commands.tune import tune
from tvdenoise.commands.usage import Command, Group, help_of
from tvdenoise.commands.watch import watch

app = typer.Typer(
    name="tvdenoise",
    cls=Group,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tvdenoise {tvdenoise.__version__}")
        raise typer.Exit


@app.callback()
def top(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Remove noise from images by total variation, and say how exact the result is.

    Start with: [bold]tvdenoise run photo.png[/bold]
    """


for _command in (run, watch, tune, noise, compare, report):
    app.command(cls=Command, help=help_of(_command))(_command)
