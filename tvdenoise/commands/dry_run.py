"""What ``tvdenoise run --dry-run`` prints."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tvdenoise.commands.tables import new_table, print_lines, print_table
from tvdenoise.files.paths import printable

if TYPE_CHECKING:
    from rich.table import Table

    from tvdenoise.batch.prospects import Prospect

_LONGEST_TABLE = 500  # rows; a longer one takes long to lay out, and nobody reads it to its end


def print_plan(prospects: list[Prospect]) -> None:
    """A table on a terminal; elsewhere, and where it would be very long, a line a file, tabs between its parts."""
    if sys.stdout.isatty() and len(prospects) <= _LONGEST_TABLE:
        print_table(_table(prospects))
    else:
        print_lines(_lines(prospects))


def line_of_plan(prospects: list[Prospect]) -> str:
    """How many of which."""
    counts = Counter(prospect.action.value for prospect in prospects)
    files = f"{len(prospects)} file{'' if len(prospects) == 1 else 's'}"
    return (
        f"{files}: {counts['denoise']} to denoise, {counts['skip']} to skip, {counts['fail']} would fail; "
        "nothing was written"
    )


def _table(prospects: list[Prospect]) -> Table:
    table = new_table("source", "target", "pixels", "channels", "what happens")
    for prospect in prospects:
        columns, rows, channels = prospect.size or ("", "", "")
        what = f"{prospect.action.value}: {prospect.reason}" if prospect.reason else prospect.action.value
        pixels = f"{columns} × {rows}" if prospect.size else ""
        names = printable(prospect.source), printable(prospect.target or "")
        table.add_row(*names, pixels, str(channels), what)
    return table


def _lines(prospects: list[Prospect]) -> Iterator[str]:
    for prospect in prospects:
        size = map(str, prospect.size or ("", "", ""))
        parts = (prospect.source, prospect.target or "", *size, prospect.action.value, prospect.reason or "")
        yield "\t".join(map(printable, parts))
