"""The entry point of the command line, and its top level."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from typing import Annotated

import typer

import tvdenoise
from tvdenoise.commands.compare import compare
from tvdenoise.commands.help import show_help
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
    """Denoise images by total variation, with a bound on the error of each result.

    Start with: [bold]tvdenoise run photo.png[/bold]

    Read the manual: [bold]tvdenoise help[/bold]
    """


for _command in (run, watch, tune, noise, compare, report):
    app.command(cls=Command, help=help_of(_command))(_command)
app.command("help", cls=Command, help=help_of(show_help))(show_help)


def main() -> None:
    """Run the command line and leave with its exit code."""
    _replace_closed_streams()
    _silence_libraries()
    try:
        app(prog_name="tvdenoise")
    except KeyboardInterrupt:  # before a command could handle it
        sys.exit(130)
    finally:
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second Ctrl-C exits without a traceback
        gc.freeze()  # otherwise Python spends 0.4 s at exit collecting the compiler's objects


def _silence_libraries() -> None:
    """Discard log records of libraries, which Python would otherwise print on standard error."""
    logging.getLogger().addHandler(logging.NullHandler())


def _replace_closed_streams() -> None:
    """Open stand-ins for standard streams that were closed when the process started.

    Otherwise messages would go to standard output, and files would get the streams' descriptors.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)  # by worker processes, like any standard stream
    os.close(descriptor)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115  # as long as the process
