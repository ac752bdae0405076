"""Messages and progress bars on standard error. Rich is imported where a bar is shown."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

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
    from rich.progress import ProgressColumn

    from tvdenoise.batch.share import Eta
    from tvdenoise.options import FileOptions


class Bar:
    """The progress bar of a run on standard error: number of files, rate and time left."""

    def __init__(self, eta: Eta, count: int) -> None:
        from rich.console import Console as Terminal
        from rich.progress import BarColumn, Progress, TextColumn

        self._eta = eta
        self._count = count
        self._told = 0
        columns = (TextColumn("denoising"), BarColumn(), TextColumn("{task.fields[files]}"), _eta_column(eta))
        self._progress = Progress(*columns, console=Terminal(stderr=True), transient=True)
        self._task = self._progress.add_task("denoising", total=eta.total or 1, files=self._files)
        self._progress.start()

    def add(self, outcome: Outcome) -> None:
        """Count a finished file."""
        self._told += 1
        self._eta.add(outcome)
        eta = self._eta
        self._progress.update(self._task, completed=eta.done, total=eta.total or 1, files=self._files)

    def reach(self, part: float) -> None:
        """Show the progress of the current file, from 0 to 1."""
        self._eta.reach(part)
        self._progress.update(self._task, completed=self._eta.done)

    def print(self, text: str) -> None:
        """Print a line above the bar."""
        self._progress.console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)

    def stop(self) -> None:
        """Remove the bar."""
        self._progress.stop()

    @property
    def _files(self) -> str:
        return f"{self._told}/{self._count}"


class PlaneBar:
    """The progress bar of one file: its images, or the parts of its only image."""

    def __init__(self, count: int) -> None:
        from rich.console import Console as Terminal
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TaskProgressColumn,
            TextColumn,
            TimeRemainingColumn,
        )

        reached = MofNCompleteColumn() if count > 1 else TaskProgressColumn()
        columns = (TextColumn("denoising"), BarColumn(), reached, TimeRemainingColumn())
        self._progress = Progress(*columns, console=Terminal(stderr=True), transient=True)
        self._task = self._progress.add_task("denoising", total=count)
        self._progress.start()

    def reach(self, done: float) -> None:
        """Show how many are done."""
        self._progress.update(self._task, completed=done)

    def stop(self) -> None:
        """Remove the bar."""
        self._progress.stop()


def _eta_column(eta: Eta) -> ProgressColumn:
    """The rate and the time left, which keeps counting down between files."""
    from rich.progress import ProgressColumn, Task
    from rich.text import Text

    class EtaColumn(ProgressColumn):
        def render(self, task: Task) -> Text:  # noqa: ARG002  # Rich's signature
            speed, left = eta.files_per_second, eta.seconds_left
            if speed is None or left is None:
                return Text("")
            return Text(f"{rate(speed)}, {duration(left)} left")

    return EtaColumn()


_PATIENCE = 0.5  # seconds before a single image gets a bar
_FEW = 20  # files; larger runs print only warnings and failures


#: Why the first run on a machine takes longer.
COMPILING = "compiling the fast kernel for this machine (once; a few seconds)"


class Console:
    """Prints the messages of a run, and counts its outcomes in `tally`.

    quiet: print errors only; verbose: print details; debug: print tracebacks. Each of up to 20 files gets a line, and
    with verbose each of any number. Failures are always printed, warnings unless quiet.
    count: the number of files. eta: the estimate for the progress bar, shown on a terminal for several files.
    """

    def __init__(
        self, *, quiet: bool, verbose: bool, debug: bool, count: int, eta: Eta | None = None
    ) -> None:
        self._tells_compilation = True
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
        self._begin: float | None = None  # when the current file first reported progress

    def __enter__(self) -> Console:
        if self._eta is not None and self._count > 1 and not self._quiet and sys.stderr.isatty():
            with _heard_or_not():
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
        if self._count > 1:  # also after an interruption
            self.tell_message(line_of_tally(self.tally, self._count, untold_notes=self._untold_notes))

    def tell_plane(self, done: float, count: int) -> None:
        """Show, on a terminal, how many images of the current file are done, or the part of its only image."""
        if self._bar is not None:
            with _heard_or_not():
                self._bar.reach(done / count)
            return
        now = time.monotonic()
        if self._begin is None:
            self._begin = now
        is_due = count > 1 or now - self._begin >= _PATIENCE
        with _heard_or_not():
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
        """Print the outcome of a file."""
        self._stop_plane_bar()
        self.tally.add(outcome)
        for line in self._lines(outcome):
            self._print(line)
        if not self._tells_each:
            self._untold_notes += len(outcome.notes)
        with _heard_or_not():
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
        """Explain, once, why the first run on a machine takes longer; each worker may compile."""
        if self._tells_compilation:
            self._tells_compilation = False
            self.tell_message(COMPILING)

    def tell_shared(self, settings: FileOptions) -> None:
        """Print the parameters that all files share."""
        for channels, mu in settings.shared_mu:
            kind = {1: "grey", 3: "colour", 4: "CMYK"}.get(channels, f"{channels}-channel")
            self.tell_message(f"for all {kind} images: mu {mu:.3g}")

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
    """Ignore errors of standard error, such as a full disk or a lost terminal; a closed pipe still ends the run."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError:
        return
