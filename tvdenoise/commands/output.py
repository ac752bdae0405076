"""Output: tables and lines on standard output, and the messages about files and runs."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from tvdenoise.batch.outcome import Figures, FileStatus, Outcome, Tally
from tvdenoise.files.paths import printable

if TYPE_CHECKING:
    from rich.table import Table


_UNLIMITED = 10_000  # columns


def new_table(*heads: str, title: str | None = None) -> Table:
    """A table of texts, which are wrapped, not cut, on a narrow terminal."""
    from rich.table import Table

    table = Table(title=title)
    for head in heads:
        table.add_column(head, overflow="fold")
    return table


def print_table(table: Table) -> None:
    """Print a table: as wide as the terminal, otherwise without wrapping."""
    from rich.console import Console

    _show_what_cannot_be_encoded()
    width = None if sys.stdout.isatty() else _UNLIMITED
    Console(markup=False, emoji=False, highlight=False, width=width).print(table)


def print_lines(lines: Iterable[str]) -> None:
    """Print lines without any layout."""
    _show_what_cannot_be_encoded()
    for line in lines:
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _show_what_cannot_be_encoded() -> None:
    """Print characters that the encoding lacks as escapes instead of raising an error."""
    if (reconfigure := getattr(sys.stdout, "reconfigure", None)) is not None:
        reconfigure(errors="backslashreplace")


def line_of(outcome: Outcome) -> str:
    """The outcome of one file, on one line."""
    if outcome.status is FileStatus.FAILED:
        remedy = f"; {outcome.remedy}" if outcome.remedy else ""
        return f"tvdenoise: {printable(outcome.source)}: {outcome.reason}{remedy}"
    route = f"{printable(outcome.source)} → {printable(outcome.target or '')}"
    if outcome.figures is None and outcome.status is FileStatus.DONE:
        return f"{route}: despeckled, {outcome.seconds:.2f} s"
    if outcome.figures is None:
        remedy = f"; {outcome.remedy}" if outcome.remedy else ""
        return f"{route}: {outcome.reason or 'exists'}, skipped{remedy}"
    figures = outcome.figures
    evaluations = f"{figures.iterations} evaluation{'' if figures.iterations == 1 else 's'}"
    nothing = "" if figures.nothing_done is None else f"{figures.nothing_done}; "
    close = "missing pixels filled, no distance bound"
    if math.isfinite(figures.distance_bound):
        close = f"within {exactness(figures)} of the exact minimiser"
    return (
        f"{route}: {nothing}{_planes(figures)}{_mask(figures)}{_noise(figures)}{_parameters(figures)}, "
        f"{evaluations}, {close}, {outcome.seconds:.2f} s"
    )


def _parameters(figures: Figures) -> str:
    if figures.level is not None:
        return f"learned filters, level {figures.level * 255:.3g}/255{_spread(figures)}"
    return f"mu {figures.mu:.3g}{_spread(figures)}, epsilon {figures.epsilon:.2g}"


def details_of(outcome: Outcome) -> str | None:
    """Details of a denoised file for --verbose; None if there are none."""
    figures = outcome.figures
    if figures is None:
        return None
    bound = "no distance bound"
    if math.isfinite(figures.distance_bound):
        bound = f"distance bound {figures.distance_bound:.3g} of the data range"
    return f"  {_noise_details(figures)}; {figures.ending}; {bound}"


def _planes(figures: Figures) -> str:
    bands = f"{figures.bands} bands, " if figures.bands > 1 else ""
    if figures.planes < 2:
        return bands
    if figures.spacing is None:
        return f"{figures.planes} images, {bands}"
    volumes = "one volume" if figures.volumes == 1 else f"{figures.volumes} volumes"
    return f"{figures.planes} images in {volumes}, spacing {figures.spacing}, {bands}"


def _mask(figures: Figures) -> str:
    if figures.in_mask is None:
        return ""
    part = 100 * figures.in_mask / max(1, figures.pixels)
    return f"{figures.in_mask:,} of {figures.pixels:,} pixels in the mask ({part:.4g} %), "


def _spread(figures: Figures) -> str:
    return f" (the median of {figures.parameters})" if figures.parameters > 1 else ""


def _noise(figures: Figures) -> str:
    if figures.sigma is None:
        return ""
    what = "colour noise" if figures.shape.get("chroma_only") == "true" else "noise"
    return f"{what} {figures.sigma * 255:.3g}/255 ({figures.noise}), "


def _noise_details(figures: Figures) -> str:
    if figures.sigma is None:
        return "mu was given" if figures.level is None else "the level was given"
    return (
        f"noise level {figures.sigma * 255:.3g}/255, correlation of neighbours {figures.correlation:.2f}, "
        f"growth with intensity ×{figures.growth:.2g}"
    )


def exactness(figures: Figures) -> str:
    """The bound on the distance from the exact minimiser: 255 is the data range for unsigned integers of 8 and 16 bits,
    and 1 for other types.
    """
    if figures.bits is None:
        return f"{figures.distance_bound:.2g} of the data range (rms)"
    levels = f"{figures.distance_bound * 255:.2g}"
    return f"{levels} grey levels (rms)" if figures.bits == 8 else f"{levels} of 255 grey levels (rms)"


def warning_of(outcome: Outcome) -> str | None:
    """A warning about a result short of the tolerance; None if it converged."""
    if not outcome.is_short_of_tolerance:
        return None
    return f"tvdenoise: {printable(outcome.source)}: warning: {outcome.reason}; {outcome.remedy}"


def notes_of(outcome: Outcome) -> Iterator[str]:
    """Notes about what the written file lacks or changes."""
    for note in outcome.notes:
        yield f"tvdenoise: {printable(outcome.source)}: note: {note}"


def line_of_tally(tally: Tally, planned: int, *, untold_notes: int = 0) -> str:
    """The counts of a run, complete or interrupted."""
    short = f" ({tally.short_of_tolerance} not converged)" if tally.short_of_tolerance else ""
    counts = f"{tally.done} done{short}, {tally.failed} failed, {tally.skipped} skipped"
    files = f"{planned} file{'' if planned == 1 else 's'}"
    files = files if tally.count == planned else f"{tally.count} of {files}"
    notes = f"{untold_notes} note{'' if untold_notes == 1 else 's'}, see --verbose"
    return f"{files}: {counts}; {notes}" if untold_notes else f"{files}: {counts}"


def rate(files_per_second: float) -> str:
    """The speed of a run: "2.5 files/s"."""
    return f"{files_per_second:.3g} files/s"


def duration(seconds: float) -> str:
    """A rounded duration: "40 s", "3 min 20 s", "2 h 5 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
