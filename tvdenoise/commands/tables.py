"""Data on standard output: as tables for people, and as lines for programs."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


_UNLIMITED = 10_000  # columns


def new_table(*heads: str, title: str | None = None) -> Table:
    """A table of texts; where a terminal is too narrow they are broken, not cut."""
    from rich.table import Table

    table = Table(title=title)
    for head in heads:
        table.add_column(head, overflow="fold")
    return table


def print_table(table: Table) -> None:
    """On a terminal as wide as that; elsewhere without breaking any line."""
    from rich.console import Console

    _show_what_cannot_be_encoded()
    width = None if sys.stdout.isatty() else _UNLIMITED
    Console(markup=False, emoji=False, highlight=False, width=width).print(table)


def print_lines(lines: Iterable[str]) -> None:
    """As they are."""
    _show_what_cannot_be_encoded()
    for line in lines:
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _show_what_cannot_be_encoded() -> None:
    """Names that the output's encoding does not have are shown as escapes, not as an error."""
    if (reconfigure := getattr(sys.stdout, "reconfigure", None)) is not None:
        reconfigure(errors="backslashreplace")
