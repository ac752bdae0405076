"""``tvdenoise report``: summarise reports."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from tvdenoise.commands import typer_options
from tvdenoise.commands.exits import exit_codes
from tvdenoise.commands.output import new_table, print_table

if TYPE_CHECKING:
    from rich.table import Table

    from tvdenoise.batch.report import ReportSummary
    from tvdenoise.batch.report_format import Entry


_SHOWN = 20  # files of a table; --json lists all
_BAR = 40  # characters of the longest bar
_GREY_LEVELS = {"sigma": "noise level (of 255)", "distance_bound": "distance bound (of 255)"}
_NAMES = _GREY_LEVELS | {"iterations": "evaluations"}


def report(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE", help="Reports, as lines of JSON or as CSV, oldest first.")
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the summary as JSON, with every file.")
    ] = False,
    debug: typer_options.Debug = False,
) -> None:
    """Summarise what --report has written: counts, slowest and failed files, noise levels, parameters.

    If a file has several lines, in one report or in several, the last one counts; a file that was done stays done
    if a later run skips it. Damaged lines are skipped with a warning; the exit code is then 1.

    [bold]Examples[/bold]

    tvdenoise report report.jsonl
    tvdenoise report monday.csv tuesday.csv --json > both.json
    """
    with exit_codes(debug=debug):
        from tvdenoise.batch.report import summary_of_report

        entries, is_whole = _read_all(files)
        if entries is not None:
            account = summary_of_report(entries)
            if as_json:
                print(json.dumps(account.as_dict(), indent=2))
            else:
                _print_tables(account)
    raise typer.Exit(0 if is_whole else 1)


def _read_all(files: Sequence[str]) -> tuple[list[Entry] | None, bool]:
    """The entries of all reports, None if no report can be read; and whether they are complete."""
    from tvdenoise.batch.report import read_report
    from tvdenoise.errors import TvdenoiseError

    entries: list[Entry] | None = None
    is_whole = True
    for name in files:
        try:
            contents = read_report(name)
        except TvdenoiseError as error:
            _tell(name, str(error))
            is_whole = False
            continue
        entries = (entries or []) + list(contents.entries)
        if contents.damaged:
            lines = (
                "skipped 1 damaged line"
                if len(contents.damaged) == 1
                else f"skipped {len(contents.damaged)} damaged lines"
            )
            numbers = ", ".join(map(str, contents.damaged[:_SHOWN]))
            more = ", …" if len(contents.damaged) > _SHOWN else ""
            _tell(name, f"warning: {lines} ({numbers}{more})")
            is_whole = False
    return entries, is_whole


def _tell(name: str, message: str) -> None:
    from tvdenoise.files.paths import printable

    print(f"tvdenoise: {printable(name)}: {message}", file=sys.stderr)


def _print_tables(account: ReportSummary) -> None:
    for table in (
        _counts(account),
        _quantiles(account),
        _noise(account),
        _histogram(account),
        _files("slowest", "seconds", [(name, f"{seconds:.2f}") for name, seconds in account.slowest]),
        _files("not converged", "reason", account.not_converged),
        _files("failed", "reason", account.failed),
    ):
        if table is not None:
            print_table(table)


def _counts(account: ReportSummary) -> Table:
    table = new_table("done", "not converged", "failed", "skipped", "seconds, all files", title="files")
    counts = (account.done, len(account.not_converged), len(account.failed), account.skipped)
    table.add_row(*map(str, counts), f"{account.seconds:.1f}")
    return table


def _quantiles(account: ReportSummary) -> Table | None:
    from tvdenoise.batch.report import QUANTILES

    heads = {0.0: "least", 0.5: "median", 1.0: "most"}
    table = new_table("", *(heads.get(part, f"{part:.0%}") for part in QUANTILES), title="files done")
    for name, values in account.quantiles.items():
        if values is not None:
            scale = 255 if name in _GREY_LEVELS else 1
            table.add_row(_NAMES.get(name, name), *(f"{value * scale:.3g}" for value in values))
    return table if table.row_count else None


def _noise(account: ReportSummary) -> Table | None:
    table = new_table("noise", "files", title="kinds of noise")
    for kind, count in account.noise.items():
        table.add_row(kind, str(count))
    return table if table.row_count else None


def _histogram(account: ReportSummary) -> Table | None:
    if account.sigma is None:
        return None
    table = new_table("noise level (of 255)", "files", "", title="noise levels")
    edges, counts = account.sigma.edges, account.sigma.counts
    for low, high, count in zip(edges, edges[1:], counts, strict=False):
        bar = "█" * -(-count * _BAR // max(counts))
        table.add_row(f"{low * 255:.1f} to {high * 255:.1f}", str(count), bar)
    return table


def _files(title: str, head: str, rows: Sequence[tuple[str, str]]) -> Table | None:
    """The first files of one kind, and how many more there are."""
    from tvdenoise.files.paths import printable

    if not rows:
        return None
    table = new_table("file", head, title=title)
    for name, what in rows[:_SHOWN]:
        table.add_row(printable(name), printable(what))
    if len(rows) > _SHOWN:
        table.add_row(f"… and {len(rows) - _SHOWN} more", "--json lists all")
    return table
