"""Typer's commands, with four changes.

In the help, paragraphs wrap to the terminal's width, flags show no type, and arguments show only their names
(``INPUT...`` if there may be several). Usage errors are one line.
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

#: Typer's own class, or Click's in older versions of Typer.
_UsageError: type[Any] = typer.BadParameter.__bases__[0]
_SEVERAL = "..."  # follows the name of an argument that may be repeated


class Command(TyperCommand):
    """A command."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Its parameters, including those that Typer adds."""
        return _plainly_shown(super().get_params(ctx))

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The words after the command's name in the usage line."""
        arguments = [each for each in self.get_params(ctx) if each.param_type_name == "argument"]
        return ["[OPTIONS]", *(each.metavar if each.required else f"[{each.metavar}]" for each in arguments)]


class Group(TyperGroup):
    """The top level."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Its parameters, including those that Typer adds."""
        return _plainly_shown(super().get_params(ctx))

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
