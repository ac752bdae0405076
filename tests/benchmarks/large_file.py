"""A TIFF that is larger than the memory that it may take: the command's peak, and where its time goes.

    python tests/benchmarks/large_file.py                  # 20,000×20,000 pixels of 16 bits in tiles, --memory 1GB
    python tests/benchmarks/large_file.py --stored strips
    python tests/benchmarks/large_file.py --side 6000 --memory 400MB

The picture is synthetic, with white noise of σ = 13/255, and made band by band in a temporary folder, where there must
be room for four times its bytes: itself, the result, and the scratch file. The peak is the sum of what the processes of
the command hold in memory, looked at every 20 ms, or what the system itself remembers of the first one, if it is more.
Beside it: the command's time and that of its stages, by the clock and by its processors, and how much of it went to the
scratch file.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile

ROOT = Path(__file__).parents[2]
TILE = 256
SIGMA = 0.05
#: Runs the command with a watch on its stages and on its scratch file, and prints what they took as its last line.
WATCHED = """
import io, json, os, sys, time
from tvdenoise.batch import large as parts
from tvdenoise.commands.app import main
from tvdenoise.files import large as large_writing

seconds, busy, moment = {"scratch": 0.0}, {}, [time.perf_counter(), time.process_time(), "starting"]
held = {"bytes": 0}

def reach(stage):
    now, used = time.perf_counter(), time.process_time()
    seconds[moment[2]] = seconds.get(moment[2], 0.0) + now - moment[0]
    busy[moment[2]] = busy.get(moment[2], 0.0) + used - moment[1]
    moment[:] = [now, used, stage]

class Watched(io.FileIO):
    def readinto(self, buffer):
        start = time.perf_counter()
        count = super().readinto(buffer)
        self._add(start, count)
        return count
    def read(self, size=-1):
        start = time.perf_counter()
        data = super().read(size)
        self._add(start, len(data))
        return data
    def write(self, data):
        start = time.perf_counter()
        count = super().write(data)
        self._add(start, count)
        return count
    def _add(self, start, count):
        took = time.perf_counter() - start
        seconds["scratch"] += took
        name = moment[2] + " (scratch)"
        seconds[name] = seconds.get(name, 0.0) + took
        held["bytes"] += count or 0

make, call = parts._scratch_file, parts._Progress.__call__
def scratch(folder):
    file = make(folder)
    return Watched(os.dup(file.fileno()), "r+b")
def progress(self, stage, part):
    reach(stage.name.lower())
    call(self, stage, part)
write_to = large_writing.LargeWriter.write_to
def writing(self, stream):
    reach("writing")
    write_to(self, stream)
    reach("replacement")
parts._scratch_file, parts._Progress.__call__, large_writing.LargeWriter.write_to = scratch, progress, writing
try:
    main()
finally:
    reach("end")
    with open("/proc/self/status") as status:
        peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    print(json.dumps({"stages": seconds, "busy": busy, "scratch bytes": held["bytes"], "peak": peak * 1024}))
"""


def band(rows: range, side: int) -> np.ndarray:
    """Rows of the noisy picture, 16 bits."""
    y, x = np.array(rows, np.float32)[:, None], np.arange(side, dtype=np.float32)
    clean = 0.5 + 0.25 * np.sin(x / 40) * np.cos(y / 55) + 0.1 * ((x // 100 + y // 130) % 2)
    noise = np.random.default_rng(rows.start).standard_normal((len(rows), side), np.float32)
    return np.rint(np.clip(clean + SIGMA * noise, 0, 1) * 65535).astype(np.uint16)


def make(path: Path, side: int, stored: str) -> None:
    """The picture as a TIFF, in tiles or strips."""

    def pieces() -> Iterator[np.ndarray]:
        for top in range(0, side, TILE):
            rows = band(range(top, min(top + TILE, side)), side)
            if stored == "strips":
                yield rows
                continue
            whole = np.pad(rows, ((0, TILE - len(rows)), (0, -side % TILE)))
            for left in range(0, side, TILE):
                yield np.ascontiguousarray(whole[:, left : left + TILE])

    options = {"rowsperstrip": TILE} if stored == "strips" else {"tile": (TILE, TILE)}
    tifffile.imwrite(path, pieces(), shape=(side, side), dtype=np.uint16, photometric="minisblack", **options)


def resident(process: int) -> int:
    """Bytes that a process and those that it started hold in memory."""
    total = 0
    for entry in os.scandir("/proc"):
        if not entry.name.isdecimal():
            continue
        try:
            status = dict(line.split(":", 1) for line in Path(entry.path, "status").read_text().splitlines())
        except (OSError, ValueError):
            continue
        if int(entry.name) == process or int(status["PPid"]) == process:
            total += int(status.get("VmRSS", "0").split()[0]) * 1024
    return total


def run(folder: Path, memory: str) -> dict[str, object]:
    """The command on a.tif: what it reported, its stages, and the peak."""
    start = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, "-c", WATCHED, "run", "a.tif", "--memory", memory, "--report", "r.jsonl"],
        cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    peak = 0
    while child.poll() is None:
        peak = max(peak, resident(child.pid))
        time.sleep(0.02)
    output, told = child.communicate()
    print(told.strip())
    if child.returncode:
        sys.exit(child.returncode)
    found = json.loads(output.splitlines()[-1])
    entry = json.loads((folder / "r.jsonl").read_text())
    return found | entry | {"peak": max(peak, found["peak"]), "total": time.perf_counter() - start}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--side", type=int, default=20_000)
    parser.add_argument("--memory", default="1GB")
    parser.add_argument("--stored", choices=("tiles", "strips"), default="tiles")
    parser.add_argument("--folder", help="where the temporary folder is made")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        make(folder / "a.tif", given.side, given.stored)
        found = run(folder, given.memory)
    stages, busy, pixels = found["stages"], found["busy"], given.side**2
    assert isinstance(stages, dict)
    assert isinstance(busy, dict)
    print(f"peak, all processes: {found['peak'] / 1e9:.2f} GB of --memory {given.memory}")
    print(f"certified: {found['converged']}, within {found['distance_bound'] * 65535:.1f} of 65535 (rms)")
    print(f"scratch file: {found['scratch bytes'] / 1e9:.1f} GB in and out, {stages.pop('scratch'):.1f} s")
    for stage, took in stages.items():
        processors = f"  (processors: {busy[stage] / pixels * 1e9:6.1f})" if stage in busy else ""
        print(f"{stage:24} {took:7.1f} s  {took / pixels * 1e9:6.1f} ns a pixel{processors}")
    print(f"{'all':24} {found['total']:7.1f} s; {found['iterations']} evaluations")


if __name__ == "__main__":
    main()
