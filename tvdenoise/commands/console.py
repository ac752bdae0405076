"""Messages and progress, on standard error only: standard output is for images."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING

from tvdenoise.batch.outcome import Fate, Outcome, Tally
from tvdenoise.commands.wording import details_of, line_of, line_of_tally, warnings_of

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Console:
    """Tells what happens.

    quiet: errors only; verbose: details too; debug: tracebacks too; count: of files, for the progress bar,
    which is shown for several files on a terminal. Its tally counts what was told.
    """

    def __init__(self, *, quiet: bool, verbose: bool, debug: bool, count: int) -> None:
        self._quiet = quiet
        self._verbose = verbose
        self._debug = debug
        self._count = count
        self.tally = Tally()
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Console:
        if self._count > 1 and not self._quiet and sys.stderr.isatty():
            self._show_progress()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
        if self._count > 1:  # said after an interruption, too
            self.tell_message(line_of_tally(self.tally, self._count))

    def tell(self, outcome: Outcome) -> None:
        """What became of a file."""
        self.tally.add(outcome)
        if outcome.fate is Fate.FAILED:
            self._print(line_of(outcome))
            if self._debug and outcome.trace is not None:
                self._print(outcome.trace)
        elif not self._quiet:
            self._print(line_of(outcome))
            for warning in warnings_of(outcome):
                self._print(warning)
            if self._verbose and (details := details_of(outcome)):
                self._print(details)
        if self._progress is not None and self._task is not None:
            self._progress.advance(self._task)

    def tell_compilation(self) -> None:
        """Why the first run on a machine takes longer."""
        self.tell_message("preparing the fast kernel for this machine (once; a few seconds)")

    def tell_message(self, message: str) -> None:
        if not self._quiet:
            self._print(message)

    def _show_progress(self) -> None:
        from rich.console import Console as Terminal
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("denoising"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=Terminal(stderr=True), transient=True)
        self._task = self._progress.add_task("denoising", total=self._count)
        self._progress.start()

    def _print(self, text: str) -> None:
        if self._progress is None:
            print(text, file=sys.stderr, flush=True)
        else:
            self._progress.console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)
