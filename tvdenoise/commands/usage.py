"""Commands as Typer makes them, but for three habits.

In the help sentences fill the lines of any terminal, and flags have no type; errors of usage are one line.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

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
