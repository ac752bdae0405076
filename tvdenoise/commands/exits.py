"""Exits: an error that ends a command, or a signal, becomes one line on standard error and an exit code.

The outcome of a single file is printed by `tvdenoise.commands.output`.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from types import FrameType

import typer

from tvdenoise.errors import ExitCode, TvdenoiseError
from tvdenoise.files.paths import printable, reason_of

_PATIENCE = 1.5  # seconds; a long computation in a library handles no signal before it ends


class Terminated(BaseException):
    """The process received SIGTERM."""


@contextmanager
def exit_codes(
    *, debug: bool, continuation: str = "finished files are kept, --skip-existing continues"
) -> Iterator[None]:
    """In this context, an error that users can act on, or a signal, ends the command with one line and an exit code.

    continuation: what is left after a signal, and how to continue.
    """
    previous = signal.signal(signal.SIGTERM, _terminate)
    try:
        with _in_time(continuation):
            yield
    except TvdenoiseError as error:
        if debug:
            traceback.print_exc()
        _tell(str(error))
        raise typer.Exit(error.exit_code) from error
    except BrokenPipeError:  # the reader has what it wanted; Typer exits quietly
        raise
    except OSError as error:  # a last resort: callers that know what failed give a better message
        if debug:
            traceback.print_exc()
        name = (
            f"{printable(os.fsdecode(error.filename))}: " if isinstance(error.filename, str | bytes) else ""
        )
        _tell(f"{name}{reason_of(error)}")
        raise typer.Exit(ExitCode.FILE_FAILED) from error
    except KeyboardInterrupt as interrupt:
        _tell(f"interrupted; {continuation}")
        raise typer.Exit(ExitCode.INTERRUPTED) from interrupt
    except Terminated as termination:
        _tell(f"terminated; {continuation}")
        raise typer.Exit(ExitCode.TERMINATED) from termination
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextmanager
def _in_time(continuation: str) -> Iterator[None]:
    """In this context, a signal ends the process even if Python cannot handle it in time. Removes temporary files."""
    heard, woken = os.pipe()
    os.set_blocking(woken, False)
    is_over = Event()
    previous = signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    Thread(target=_enforce, args=(heard, is_over, continuation), daemon=True).start()
    try:
        yield
    finally:
        is_over.set()
        signal.set_wakeup_fd(previous)
        os.close(woken)  # which ends the thread


def _enforce(heard: int, is_over: Event, continuation: str) -> None:
    """Wait for a signal, give the command time to end, then end the process."""
    with os.fdopen(heard, "rb", buffering=0) as signals:
        while number := signals.read(1):
            codes = {
                bytes([signal.SIGINT]): (ExitCode.INTERRUPTED, "interrupted"),
                bytes([signal.SIGTERM]): (ExitCode.TERMINATED, "terminated"),
            }
            if number in codes and not is_over.wait(_PATIENCE):
                code, word = codes[number]
                from tvdenoise.files.atomic import remove_unfinished

                remove_unfinished()
                _tell(f"{word}; {continuation}")
                os._exit(code)


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise Terminated


def _tell(message: str) -> None:
    with suppress(OSError):  # the exit code still tells
        print(f"tvdenoise: {message}", file=sys.stderr, flush=True)
