"""The bars that show how far a run has come, or a file of many pictures."""

from __future__ import annotations

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

from tvdenoise.commands.wording import duration, rate

if TYPE_CHECKING:
    from tvdenoise.batch.outcome import Outcome
    from tvdenoise.batch.pace import Pace


class Bar:
    """One bar for all files, on the terminal of the standard errors: their count, their rate and the time left."""

    def __init__(self, pace: Pace, count: int) -> None:
        self._pace = pace
        self._count = count
        self._told = 0
        columns = (
            TextColumn("denoising"),
            BarColumn(),
            TextColumn("{task.fields[files]}"),
            _PaceColumn(pace),
        )
        self._progress = Progress(*columns, console=Terminal(stderr=True), transient=True)
        self._task = self._progress.add_task("denoising", total=pace.total or 1, files=self._files)
        self._progress.start()

    def add(self, outcome: Outcome) -> None:
        """A file is over."""
        self._told += 1
        self._pace.add(outcome)
        pace = self._pace
        self._progress.update(self._task, completed=pace.done, total=pace.total or 1, files=self._files)

    def reach(self, part: float) -> None:
        """So much of the file that is at work, from 0 to 1."""
        self._pace.reach(part)
        self._progress.update(self._task, completed=self._pace.done)

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


class _PaceColumn(ProgressColumn):
    """The rate and the time left, which passes between two files, too."""

    def __init__(self, pace: Pace) -> None:
        super().__init__()
        self._pace = pace

    def render(self, task: Task) -> Text:  # noqa: ARG002  # as Rich calls it
        speed, left = self._pace.files_per_second, self._pace.seconds_left
        if speed is None or left is None:
            return Text("")
        return Text(f"{rate(speed)}, {duration(left)} left")
