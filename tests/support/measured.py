"""The command in a process of its own, with what it took."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from support.processes import environment

#: Runs the command, and prints the seconds that it kept a processor busy, and the most memory that this process has
#: held, in kilobytes. (`getrusage` would count what its parent held before it started this process.)
_MEASURED = """
import os
from tvdenoise.commands.app import main
try:
    main()
finally:
    with open("/proc/self/status") as status:
        print(sum(os.times()[:2]), next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""


def measured(folder: Path, *arguments: str) -> tuple[subprocess.CompletedProcess[str], float, float]:
    """``tvdenoise run`` in a folder: how it ended, the seconds, and the megabytes (of 2²⁰ bytes)."""
    ended = subprocess.run(
        [sys.executable, "-c", _MEASURED, "run", *arguments],
        capture_output=True, text=True, cwd=folder, env=environment(), timeout=180, check=False,
    )  # fmt: skip
    seconds, kilobytes = ended.stdout.split()
    return ended, float(seconds), int(kilobytes) / 1024
