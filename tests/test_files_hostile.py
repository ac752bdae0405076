"""Files made to exhaust memory or time are refused in one line, quickly, and in little memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import environment
from hostile import ODD, REFUSED

SECONDS, MEGABYTES = 5, 500
#: Runs the command, and prints the seconds that it kept a processor busy, and the most memory that this process has
#: held, in kilobytes. (`getrusage` would count what its parent held before it started this process.)
_MEASURED = """
import os
from tvdenoise.cli import main
try:
    main()
finally:
    with open("/proc/self/status") as status:
        print(sum(os.times()[:2]), next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="measured as Linux tells it")


def _measured(folder: Path, *arguments: str) -> tuple[subprocess.CompletedProcess[str], float, float]:
    """The command in a process of its own: how it ended, seconds, and megabytes."""
    ended = subprocess.run(
        [sys.executable, "-c", _MEASURED, "run", *arguments],
        capture_output=True, text=True, cwd=folder, env=environment(), timeout=60, check=False,
    )  # fmt: skip
    seconds, kilobytes = ended.stdout.split()
    return ended, float(seconds), int(kilobytes) / 1024


@pytest.mark.parametrize("name", REFUSED)
def test_a_hostile_file_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    contents = REFUSED[name]()
    (tmp_path / name).write_bytes(contents)
    ended, seconds, megabytes = _measured(tmp_path, name, "-o", "out.tif")
    assert ended.returncode == 1, ended.stderr
    assert ended.stderr.startswith(f"tvdenoise: {name}: ")
    assert ended.stderr.count("\n") == 1
    assert "unexpected" not in ended.stderr
    assert seconds < SECONDS
    assert megabytes < MEGABYTES
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == contents


@pytest.mark.parametrize("name", ODD)
def test_an_odd_file_is_done_within_bounds(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(ODD[name]())
    ended, seconds, megabytes = _measured(tmp_path, name, "-o", "out.png")
    assert ended.returncode == 0, ended.stderr
    assert seconds < SECONDS
    assert megabytes < MEGABYTES
