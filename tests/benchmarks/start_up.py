"""What a run of one small file takes besides its solve: the command against a script of a few lines.

    python tests/benchmarks/start_up.py [--runs 15]

The yardstick imports PIL.Image and calls one Numba kernel from Numba's own cache. Runs of both alternate, with warm
caches; elapsed times depend on the other work of the machine, processor times less. The last table divides the time of
one process among its stages, each without the others that it contains: imports are those of all stages together.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[2]
SIDE, SIGMA = 512, 15

YARDSTICK = """
import numba
import numpy as np
from PIL import Image

@numba.njit(cache=True, nogil=True)
def total(values):
    found = np.float32(0)
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            found += values[i, j]
    return found

total(np.ones((4, 4), np.float32))
"""

#: A stage by the function that does it: module and name.
STAGES = {
    "kernels": ("tvdenoise.model.kernel_cache", "KernelCache.load_overload"),
    "reading": ("tvdenoise.batch.runner", "open_within"),
    "noise": ("tvdenoise.parameters", "noise_for"),
    "choice": ("tvdenoise.parameters", "choose"),
    "solve": ("tvdenoise.batch.denoiser", "Denoiser.solve"),
    "writing": ("tvdenoise.batch.planes", "Planes.write"),
}
#: Runs the command with these functions timed, and prints the seconds of each stage as JSON.
DIVIDED = """
import builtins, functools, json, sys, time

seconds, entered, last = {"everything else": 0.0}, ["everything else"], [time.perf_counter()]

def charge():
    now = time.perf_counter()
    seconds[entered[-1]] = seconds.get(entered[-1], 0.0) + now - last[0]
    last[0] = now

def timed(stage, function):
    @functools.wraps(function)
    def inside(*arguments, **options):
        charge()
        entered.append(stage)
        try:
            return function(*arguments, **options)
        finally:
            charge()
            entered.pop()
    return inside

importing = timed("imports", builtins.__import__)
waiting, words = json.loads(sys.argv[1]), sys.argv[2:]

def watched(*arguments, **options):
    found = importing(*arguments, **options)
    for stage, (module, name) in list(waiting.items()):
        owner = sys.modules.get(module)
        *owners, last_name = name.split(".")
        for each in owners:
            owner = getattr(owner, each, None)
        if hasattr(owner, last_name):
            setattr(owner, last_name, timed(stage, getattr(owner, last_name)))
            del waiting[stage]
    return found

builtins.__import__ = watched
sys.argv = ["tvdenoise", *words]
from tvdenoise.commands.app import main
try:
    main()
finally:
    charge()
    assert not waiting, waiting
    print(json.dumps(seconds))
"""


def picture() -> Image.Image:
    """A sample with noise at this size."""
    with Image.open(ROOT / "sample_images" / "clean" / "camera_clean.png") as opened:
        clean = opened.convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    noisy = np.asarray(clean) + SIGMA * np.random.default_rng(0).standard_normal((SIDE, SIDE))
    return Image.fromarray(np.clip(np.rint(noisy), 0, 255).astype(np.uint8))


def measured(words: list[str], folder: Path) -> tuple[float, float]:
    """Run a command; return its elapsed time and its processor time in seconds."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed program has its bytecode
    start, before = time.perf_counter(), os.times()
    subprocess.run(words, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    elapsed, after = time.perf_counter() - start, os.times()
    used = after.children_user - before.children_user + after.children_system - before.children_system
    return elapsed, used


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--runs", type=int, default=15)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        picture().save(folder / "a.png")
        (folder / "yardstick.py").write_text(YARDSTICK)
        command = [sys.executable, "-m", "tvdenoise"]
        run = [*command, "run", "a.png", "-o", "b.png", "--overwrite", "--quiet"]
        commands = {
            "the yardstick": [sys.executable, "yardstick.py"],
            "tvdenoise run": run,
            "tvdenoise run --mu 20": [*run, "--mu", "20"],
            "tvdenoise --version": [*command, "--version"],
            "tvdenoise run --help": [*command, "run", "--help"],
        }
        found: dict[str, list[tuple[float, float]]] = {each: [] for each in commands}
        for number in range(given.runs + 1):  # the first fills the caches
            for each, words in commands.items():
                times = measured(words, folder)
                if number:
                    found[each].append(times)
        print(f"load {os.getloadavg()[0]:.1f} on {len(os.sched_getaffinity(0))} processors; "
              f"medians of {given.runs} alternating runs, {SIDE}×{SIDE} grey PNG")  # fmt: skip
        print(f"{'':24} {'elapsed':>9} {'ratio':>6} {'processor':>10} {'ratio':>6}")
        yardstick = [statistics.median(each) for each in zip(*found["the yardstick"], strict=True)]
        for each, times in found.items():
            elapsed, used = (statistics.median(part) for part in zip(*times, strict=True))
            print(
                f"{each:24} {elapsed:7.2f} s {elapsed / yardstick[0]:6.2f} {used:8.2f} s {used / yardstick[1]:6.2f}"
            )
        divide(folder, run, given.runs)


def divide(folder: Path, run: list[str], runs: int) -> None:
    """Print how the time of a process divides."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    words = [sys.executable, "-c", DIVIDED, json.dumps(STAGES), *run[3:]]
    found = []
    for _ in range(runs):
        ended = subprocess.run(words, cwd=folder, env=environment, check=True, capture_output=True, text=True)
        found.append(json.loads(ended.stdout.splitlines()[-1]))
    print("\nmilliseconds of a process, by stage:")
    for stage in ("imports", *STAGES, "everything else"):
        print(f"  {stage:16} {1000 * statistics.median(each.get(stage, 0.0) for each in found):6.0f}")


if __name__ == "__main__":
    main()
