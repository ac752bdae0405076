"""How commands end: one place that turns errors and signals into messages and exit codes."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import typer

from tvdenoise.errors import ExitCode, TvdenoiseError
from tvdenoise.files.paths import printable, reason_of


class Terminated(BaseException):
    """The process was asked to end (SIGTERM)."""


@contextmanager
def exit_codes(*, debug: bool, continuation: str = "--skip-existing continues") -> Iterator[None]:
    """Inside, errors that users can act on and signals end the command with one line and their exit code.

    continuation: how to go on after a signal.
    """
    previous = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    except TvdenoiseError as error:
        if debug:
            traceback.print_exc()
        _tell(str(error))
        raise typer.Exit(error.exit_code) from error
    except BrokenPipeError:  # whoever read has what was wanted; Typer ends quietly
        raise
    except OSError as error:  # a last resort: whoever knows what was attempted says it better
        if debug:
            traceback.print_exc()
        name = (
            f"{printable(os.fsdecode(error.filename))}: " if isinstance(error.filename, str | bytes) else ""
        )
        _tell(f"{name}{reason_of(error)}")
        raise typer.Exit(ExitCode.FILE_FAILED) from error
    except KeyboardInterrupt as interrupt:
        _tell(f"interrupted; what was finished is kept, {continuation}")
        raise typer.Exit(ExitCode.INTERRUPTED) from interrupt
    except Terminated as termination:
        _tell(f"terminated; what was finished is kept, {continuation}")
        raise typer.Exit(ExitCode.TERMINATED) from termination
    finally:
        signal.signal(signal.SIGTERM, previous)


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise Terminated


def _tell(message: str) -> None:
    print(f"tvdenoise: {message}", file=sys.stderr, flush=True)
