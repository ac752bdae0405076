"""The entry of the command line."""

from __future__ import annotations

import gc
import sys


def main() -> None:
    """Run the command line and leave with its exit code."""
    try:
        from tvdenoise.commands.app import app

        app(prog_name="tvdenoise")
    except KeyboardInterrupt:  # before a command could take care of it
        sys.exit(130)
    finally:
        gc.freeze()  # Python would search the compiler's objects for garbage for 0.4 s before it ends
