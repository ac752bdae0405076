"""Runs the command in a separate process and measures its time and memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from support.processes import environment

#: Runs the command and prints its processor time in seconds and its peak memory in kilobytes. (`getrusage` would
#: include the memory of the parent before it started this process.)
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
    """Run ``tvdenoise run`` in a folder; return the completed process, its processor time (s) and peak memory (MiB)."""
    ended = subprocess.run(
        [sys.executable, "-c", _MEASURED, "run", *arguments],
        capture_output=True, text=True, cwd=folder, env=environment(), timeout=180, check=False,
    )  # fmt: skip
    seconds, kilobytes = ended.stdout.split()
    return ended, float(seconds), int(kilobytes) / 1024
