"""The entry of the command line."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys


def main() -> None:
    """Run the command line and leave with its exit code."""
    _replace_closed_streams()
    _silence_libraries()
    try:
        from tvdenoise.commands.app import app

        app(prog_name="tvdenoise")
    except KeyboardInterrupt:  # before a command could take care of it
        sys.exit(130)
    finally:
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second Ctrl-C ends it without a traceback
        gc.freeze()  # Python would search the compiler's objects for garbage for 0.4 s before it ends


def _silence_libraries() -> None:
    """What they log is for their developers; Python would print it where no one has asked for it."""
    logging.getLogger().addHandler(logging.NullHandler())


def _replace_closed_streams() -> None:
    """Stand-ins for the standard streams that the process was started without.

    Else messages would go to standard output, and files would be opened under the streams' numbers.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)  # by worker processes, as any standard stream is
    os.close(descriptor)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115  # as long as the process
