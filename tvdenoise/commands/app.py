"""The command line: its entry point, its top level, and Typer's habits changed.

In the help sentences fill the lines of any terminal, and flags have no type; errors of usage are one line.
"""

from __future__ import annotations

import gc
import inspect
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

import tvdenoise
from tvdenoise.commands.compare import compare
from tvdenoise.commands.noise import noise
from tvdenoise.commands.report import report
from tvdenoise.commands.run import run
from tvdenoise.commands.tune import tune
from tvdenoise.commands.watch import watch
from tvdenoise.files.paths import printable

#: Typer's, or in older versions that of Click, from which it comes.
_UsageError: type[Any] = typer.BadParameter.__bases__[0]


class Command(TyperCommand):
    """A command."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Its parameters, those that Typer adds included."""
        return _with_bare_flags(super().get_params(ctx))


class Group(TyperGroup):
    """The top level."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Its parameters, those that Typer adds included."""
        return _with_bare_flags(super().get_params(ctx))

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """Where its own options are read."""
        with _told_in_one_line(None):
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> Any:
        """Where the command is found, and its options are read."""
        with _told_in_one_line(ctx):
            return super().invoke(ctx)


def help_of(command: Callable[..., None]) -> str:
    """A docstring whose sentences fill the lines of any terminal; lists, each below a heading, stay as they are."""
    sentences, heading, lists = inspect.cleandoc(command.__doc__ or "").partition("\n\n[bold]")
    paragraphs = (paragraph.replace("\n", " ") for paragraph in sentences.split("\n\n"))
    return "\n\n".join(paragraphs) + heading + lists


def _with_bare_flags(parameters: Iterable[Any]) -> list[Any]:
    """Flags take no value, and so need none described."""
    found = list(parameters)
    for parameter in found:
        if getattr(parameter, "is_flag", False) and parameter.metavar is None:
            parameter.metavar = ""
    return found


@contextmanager
def _told_in_one_line(ctx: Any) -> Iterator[None]:
    """Inside, an error of usage ends the program with the line that others have, too.

    ctx: that of the top level, once it is there.
    """
    try:
        yield
    except _UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # which is none
            raise
        reason = printable(error.format_message().replace("Value error, ", "").rstrip("."))
        command = None if ctx is None else ctx.invoked_subcommand
        name = f"tvdenoise {command}" if command else "tvdenoise"
        print(f"tvdenoise: {reason[:1].lower()}{reason[1:]}; see {name} --help", file=sys.stderr)
        raise typer.Exit(error.exit_code) from error


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


def main() -> None:
    """Run the command line and leave with its exit code."""
    _replace_closed_streams()
    _silence_libraries()
    try:
        app(prog_name="tvdenoise")
    except KeyboardInterrupt:  # before a command could take care of it
        sys.exit(130)
    finally:
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second Ctrl-C ends it without a traceback
        gc.freeze()  # Python would search the compiler's objects for garbage for 0.4 s before it ends


def _silence_libraries() -> None:
    """What they log is for their developers; Python would print it where no one has asked for it."""
    logging.getLogger().addHandler(logging.NullHandler())


def _replace_closed_streams() -> None:
    """Stand-ins for the standard streams that the process was started without.

    Else messages would go to standard output, and files would be opened under the streams' numbers.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)  # by worker processes, as any standard stream is
    os.close(descriptor)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115  # as long as the process
