"""Messages and progress bars, on standard error only."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console as Terminal
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from tvdenoise.batch.outcome import FileStatus, Outcome, Tally
from tvdenoise.commands.output import (
    details_of,
    duration,
    line_of,
    line_of_tally,
    notes_of,
    rate,
    warning_of,
)

if TYPE_CHECKING:
    from tvdenoise.batch.share import Eta
    from tvdenoise.options import FileOptions


class Bar:
    """One bar for all files, on the terminal of the standard errors: their count, their rate and the time left."""

    def __init__(self, eta: Eta, count: int) -> None:
        self._eta = eta
        self._count = count
        self._told = 0
        columns = (
            TextColumn("denoising"),
            BarColumn(),
            TextColumn("{task.fields[files]}"),
            _EtaColumn(eta),
        )
        self._progress = Progress(*columns, console=Terminal(stderr=True), transient=True)
        self._task = self._progress.add_task("denoising", total=eta.total or 1, files=self._files)
        self._progress.start()

    def add(self, outcome: Outcome) -> None:
        """A file is over."""
        self._told += 1
        self._eta.add(outcome)
        eta = self._eta
        self._progress.update(self._task, completed=eta.done, total=eta.total or 1, files=self._files)

    def reach(self, part: float) -> None:
        """So much of the file that is at work, from 0 to 1."""
        self._eta.reach(part)
        self._progress.update(self._task, completed=self._eta.done)

    def print(self, text: str) -> None:
        """A line above the bar."""
        self._progress.console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)

    def stop(self) -> None:
        """Remove the bar."""
        self._progress.stop()

    @property
    def _files(self) -> str:
        return f"{self._told}/{self._count}"


class PlaneBar:
    """A bar for the pictures of one file, or for the parts of a single one."""

    def __init__(self, count: int) -> None:
        reached = MofNCompleteColumn() if count > 1 else TaskProgressColumn()
        columns = (TextColumn("denoising"), BarColumn(), reached, TimeRemainingColumn())
        self._progress = Progress(*columns, console=Terminal(stderr=True), transient=True)
        self._task = self._progress.add_task("denoising", total=count)
        self._progress.start()

    def reach(self, done: float) -> None:
        """So many are done."""
        self._progress.update(self._task, completed=done)

    def stop(self) -> None:
        """Remove the bar."""
        self._progress.stop()


class _EtaColumn(ProgressColumn):
    """The rate and the time left, which passes between two files, too."""

    def __init__(self, eta: Eta) -> None:
        super().__init__()
        self._eta = eta

    def render(self, task: Task) -> Text:  # noqa: ARG002  # as Rich calls it
        speed, left = self._eta.files_per_second, self._eta.seconds_left
        if speed is None or left is None:
            return Text("")
        return Text(f"{rate(speed)}, {duration(left)} left")


_PATIENCE = 0.5  # seconds that a single picture may take without a bar
_FEW = 20  # files; of more, only what went wrong is told one by one


class Console:
    """Tells what happens.

    quiet: errors only, and no summary; verbose: details too; debug: tracebacks too. Few files get a line each, many
    only when verbose; failures and warnings are always told. count: of files; eta: that of the run, for a bar, which
    is shown for several files on a terminal. Its tally counts what was told.
    """

    def __init__(
        self, *, quiet: bool, verbose: bool, debug: bool, count: int, eta: Eta | None = None
    ) -> None:
        self._quiet = quiet
        self._verbose = verbose
        self._debug = debug
        self._count = count
        self._eta = eta
        self._tells_each = verbose or count <= _FEW
        self.tally = Tally()
        self._untold_notes = 0
        self._bar: Bar | None = None
        self._plane_bar: PlaneBar | None = None
        self._begin: float | None = None  # of the file at work, if it told of any

    def __enter__(self) -> Console:
        if self._eta is not None and self._count > 1 and not self._quiet and sys.stderr.isatty():
            self._bar = Bar(self._eta, self._count)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with _heard_or_not():
            if self._bar is not None:
                self._bar.stop()
        self._bar = None
        self._stop_plane_bar()
        if self._count > 1:  # said after an interruption, too
            self.tell_message(line_of_tally(self.tally, self._count, untold_notes=self._untold_notes))

    def tell_plane(self, done: float, count: int) -> None:
        """How many pictures of the file at work are done, or the part of a single one: shown by a bar on a terminal."""
        if self._bar is not None:
            self._bar.reach(done / count)
            return
        now = time.monotonic()
        if self._begin is None:
            self._begin = now
        is_due = count > 1 or now - self._begin >= _PATIENCE
        if self._plane_bar is None and done < count and is_due and self._has_plane_bar:
            self._plane_bar = PlaneBar(count)
        if self._plane_bar is not None:
            self._plane_bar.reach(done)

    @property
    def _has_plane_bar(self) -> bool:
        return self._count == 1 and not self._quiet and sys.stderr.isatty()

    def _stop_plane_bar(self) -> None:
        self._begin = None
        with _heard_or_not():
            if self._plane_bar is not None:
                self._plane_bar.stop()
        self._plane_bar = None

    def tell(self, outcome: Outcome) -> None:
        """What became of a file."""
        self._stop_plane_bar()
        self.tally.add(outcome)
        for line in self._lines(outcome):
            self._print(line)
        if not self._tells_each:
            self._untold_notes += len(outcome.notices)
        if self._bar is not None:
            self._bar.add(outcome)

    def _lines(self, outcome: Outcome) -> Iterator[str]:
        if outcome.status is FileStatus.FAILED:
            yield line_of(outcome)
            if self._debug and outcome.trace is not None:
                yield outcome.trace
            return
        if self._quiet:
            return
        if self._tells_each:
            yield line_of(outcome)
        if (warning := warning_of(outcome)) is not None:
            yield warning
        if self._tells_each:
            yield from notes_of(outcome)
        if self._verbose and (details := details_of(outcome)):
            yield details

    def tell_compilation(self) -> None:
        """Why the first run on a machine takes longer."""
        self.tell_message("preparing the fast kernel for this machine (once; a few seconds)")

    def tell_shared(self, settings: FileOptions) -> None:
        """The parameters that all files get."""
        for channels, mu in settings.shared_mu:
            kind = {1: "grey", 3: "colour", 4: "CMYK"}.get(channels, f"{channels}-channel")
            self.tell_message(f"for all {kind} pictures: mu {mu:.3g}")

    def tell_message(self, message: str) -> None:
        if not self._quiet:
            self._print(message)

    def _print(self, text: str) -> None:
        with _heard_or_not():
            if self._bar is None:
                print(text, file=sys.stderr, flush=True)
            else:
                self._bar.print(text)


@contextmanager
def _heard_or_not() -> Iterator[None]:
    """A log on a full disk, or a terminal that has gone away, stops no run; a closed pipe ends it."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError:
        return
