"""Messages and progress, on standard error only: standard output is for images and for tables."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

from tvdenoise.batch.outcome import Fate, Outcome, Tally
from tvdenoise.commands.wording import details_of, line_of, line_of_tally, notes_of, warning_of

if TYPE_CHECKING:
    from tvdenoise.batch.pace import Pace
    from tvdenoise.batch.request import Settings
    from tvdenoise.commands.progress import Bar, PlaneBar

_PATIENCE = 0.5  # seconds that a single picture may take without a bar
_FEW = 20  # files; of more, only what went wrong is told one by one


class Console:
    """Tells what happens.

    quiet: errors only, and no summary; verbose: details too; debug: tracebacks too. Few files get a line each, many
    only when verbose; failures and warnings are always told. count: of files; pace: that of the run, for a bar, which
    is shown for several files on a terminal. Its tally counts what was told.
    """

    def __init__(
        self, *, quiet: bool, verbose: bool, debug: bool, count: int, pace: Pace | None = None
    ) -> None:
        self._quiet = quiet
        self._verbose = verbose
        self._debug = debug
        self._count = count
        self._pace = pace
        self._tells_each = verbose or count <= _FEW
        self.tally = Tally()
        self._untold_notes = 0
        self._bar: Bar | None = None
        self._plane_bar: PlaneBar | None = None
        self._begin: float | None = None  # of the file at work, if it told of any

    def __enter__(self) -> Console:
        if self._pace is not None and self._count > 1 and not self._quiet and sys.stderr.isatty():
            from tvdenoise.commands.progress import Bar

            self._bar = Bar(self._pace, self._count)
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
            from tvdenoise.commands.progress import PlaneBar

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
        if outcome.fate is Fate.FAILED:
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

    def tell_shared(self, settings: Settings) -> None:
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
