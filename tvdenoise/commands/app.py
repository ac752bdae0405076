"""The entry point of the command line, its top level, and five changes to what Typer makes of commands.

In the help, sentences fill the lines of any terminal, flags have no type, and arguments are shown by name alone
(``INPUT...`` where there may be several). Usage errors are one line. Words reach the commands as they were typed,
without pydantic, which would check that text is text and takes 0.1 s to import.
"""

from __future__ import annotations

import functools
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
from tvdenoise.commands.help import show_help
from tvdenoise.commands.learn import learn
from tvdenoise.commands.noise import noise
from tvdenoise.commands.report import report
from tvdenoise.commands.run import run
from tvdenoise.commands.tune import tune
from tvdenoise.commands.watch import watch
from tvdenoise.files.paths import printable

#: Typer's own class, or Click's in older versions of Typer.
_UsageError: type[Any] = typer.BadParameter.__bases__[0]
_CONVERSION = "conversion_by_typer"  # the attribute that keeps a parameter's own method
_SEVERAL = "..."  # follows the name of an argument that may be repeated


class Command(TyperCommand):
    """A command."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Its parameters, including those that Typer adds."""
        return _as_typed(_plainly_shown(super().get_params(ctx)))

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The words after the command's name in the usage line."""
        arguments = [each for each in self.get_params(ctx) if each.param_type_name == "argument"]
        return ["[OPTIONS]", *(each.metavar if each.required else f"[{each.metavar}]" for each in arguments)]


class Group(TyperGroup):
    """The top level."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Its parameters, including those that Typer adds."""
        return _as_typed(_plainly_shown(super().get_params(ctx)))

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """Parse the options of the top level."""
        with _told_in_one_line(None):
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> Any:
        """Find the command, and parse its options."""
        with _told_in_one_line(ctx):
            return super().invoke(ctx)


def help_of(command: Callable[..., None]) -> str:
    """A docstring without line breaks inside paragraphs; lists, each below a heading, stay unchanged."""
    sentences, heading, lists = inspect.cleandoc(command.__doc__ or "").partition("\n\n[bold]")
    paragraphs = (paragraph.replace("\n", " ") for paragraph in sentences.split("\n\n"))
    return "\n\n".join(paragraphs) + heading + lists


def _plainly_shown(parameters: Iterable[Any]) -> list[Any]:
    """The parameters, without types in the help of flags and arguments, where they carry no information."""
    found = list(parameters)
    for parameter in found:
        if parameter.param_type_name == "argument":
            parameter.metavar = (parameter.metavar or parameter.name.upper()).removesuffix(_SEVERAL)
            parameter.metavar += _SEVERAL if parameter.nargs != 1 else ""
            parameter.display_type_rich = _no_type
        elif getattr(parameter, "is_flag", False) and parameter.metavar is None:
            parameter.metavar = ""
    return found


def _as_typed(parameters: list[Any]) -> list[Any]:
    """The parameters, all of which are flags or text, without Typer's conversion of typed words and of missing ones."""
    for parameter in parameters:
        if not hasattr(parameter, _CONVERSION):
            setattr(parameter, _CONVERSION, parameter.process_value)
            parameter.process_value = functools.partial(_processed, parameter)
    return parameters


def _processed(parameter: Any, ctx: Any, value: Any) -> Any:
    """The value of a parameter that Click has found among the words, or its default."""
    is_several = parameter.multiple or parameter.nargs == -1
    if value is None and not parameter.required:
        value = () if is_several else None
        return value if parameter.callback is None else parameter.callback(ctx, parameter, value)
    words = value if is_several else [value]
    if parameter.callback is None and words and all(isinstance(word, str) for word in words):
        return list(words) if is_several else value
    return getattr(parameter, _CONVERSION)(ctx, value)


def _no_type(ctx: Any) -> None:  # the name by which Typer passes it
    """Nothing in the column of types."""


@contextmanager
def _told_in_one_line(ctx: Any) -> Iterator[None]:
    """In this context, a usage error ends the program with one line, like any other error.

    ctx: the context of the top level, once it exists.
    """
    try:
        yield
    except _UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # which is not an error
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
    """Denoise images by total variation, with a bound on the error of each result.

    Start with: [bold]tvdenoise run photo.png[/bold]

    Read the manual: [bold]tvdenoise help[/bold]
    """


for _command in (run, watch, tune, noise, compare, learn, report):
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
