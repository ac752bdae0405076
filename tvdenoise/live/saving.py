"""Saving: the whole picture solved afresh and written, by the code that `run` uses."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from tvdenoise.batch.denoiser import Denoiser
from tvdenoise.batch.destinations import destination_of
from tvdenoise.batch.discovery import Found
from tvdenoise.batch.plan import make_plan
from tvdenoise.batch.request import Request
from tvdenoise.batch.runner import Runner, failed
from tvdenoise.errors import TvdenoiseError, UsageError
from tvdenoise.files.paths import printable

if TYPE_CHECKING:
    from tvdenoise.batch.outcome import Outcome
    from tvdenoise.batch.request import Settings


class TargetExistsError(TvdenoiseError):
    """There is a file already, and nobody has said that it may be replaced."""


@dataclass(frozen=True)
class Saver:
    """Writes results to the one place that was named, or that follows from the source's name.

    output: as of `run -o`, a file, a folder or None.
    """

    source: Path
    output: str | None
    _one_at_a_time: Lock = field(default_factory=Lock, compare=False)

    @property
    def target(self) -> Path:
        """Raises UsageError where the output's name leaves the format open."""
        return destination_of(self._request(overwrite=True)).target(
            Found(self.source, Path(self.source.name))
        )

    def save(self, settings: Settings, *, overwrite: bool) -> Outcome:
        """Solve and write. Raises TargetExistsError unless an existing file may be replaced."""
        with self._one_at_a_time:
            if not overwrite and os.path.lexists(self.target):
                raise TargetExistsError(f"{printable(self.target)} exists already")
            try:
                plan = make_plan(self._request(overwrite=overwrite))
            except TvdenoiseError as error:
                return failed(str(self.source), str(self.target), error)
            if plan.failures:
                return failed(str(self.source), str(self.target), plan.failures[0].error)
            runner = Runner(settings, Denoiser(settings, _say_nothing))
            return runner.attempt(plan.jobs[0])

    def require_possible(self) -> None:
        """Raise UsageError for what could never be saved, such as a folder that cannot be written.

        What is wrong with the source itself is raised as it is, and names it.
        """
        plan = make_plan(self._request(overwrite=True))
        if plan.failures:
            error = plan.failures[0].error
            raise type(error)(f"{printable(self.source)}: {error.reason}", error.remedy)
        if not plan.jobs:
            raise UsageError("nothing to denoise")

    def _request(self, *, overwrite: bool) -> Request:
        return Request((str(self.source),), self.output, overwrite=overwrite)


def _say_nothing() -> None:
    """The kernels are compiled by the time at which something is saved."""
