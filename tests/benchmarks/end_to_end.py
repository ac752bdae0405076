"""The whole command beside its parts: decoding, solving and encoding a photograph of 24 megapixels.

    python tests/benchmarks/end_to_end.py

A noisy colour JPEG is made of the sample photographs. What decoding it with Pillow, solving with a given μ and
encoding with Pillow at the same options take is added up, and the command is timed beside them: in this process, and
as a process of its own with the start of Python in it. All take turns, and medians are compared; processor times
too, which other work on the machine disturbs less. The peak memory is that of the process of its own. Needs Linux.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parent.parent))
from support.samples import PHOTOGRAPHS, clean, with_noise
from tvdenoise import denoise
from tvdenoise.commands.app import app

if TYPE_CHECKING:
    from collections.abc import Callable

SIGMA = 10 / 255
MU = 1.4 / SIGMA
QUALITY = 95
PARTS = ("decode", "solve", "encode")
#: The command, and its own peak memory: what the system tells of a child counts its parent's, too.
APART = """
import re, sys
from pathlib import Path
from tvdenoise.commands.app import main
try:
    main()
finally:
    print(1024 * int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]))
"""
Times = np.ndarray  # seconds, and seconds of processors


def write_photograph(path: Path, rows: int, columns: int) -> None:
    """A noisy colour JPEG of that size, of mirrored copies of a sample."""
    sample = clean(PHOTOGRAPHS[2], colour=True)
    whole = np.concatenate((sample, sample[::-1]))
    whole = np.concatenate((whole, whole[:, ::-1]), axis=1)
    tiles = (-(-rows // whole.shape[0]), -(-columns // whole.shape[1]), 1)
    picture = with_noise(np.tile(whole, tiles)[:rows, :columns], SIGMA, seed=0)
    values = np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
    Image.fromarray(values).save(path, quality=QUALITY, subsampling="4:2:0")


def decode(path: Path) -> np.ndarray:
    """The pixels, by Pillow."""
    with Image.open(path) as opened:
        return np.asarray(opened)


def encode(values: np.ndarray) -> None:
    """A JPEG in memory, as the command makes one, by Pillow."""
    Image.fromarray(values).save(BytesIO(), "JPEG", quality=QUALITY, subsampling="4:2:0")


def run_here(arguments: list[str]) -> None:
    """The command in this process."""
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output


def run_apart(arguments: list[str]) -> int:
    """The command in a process of its own; its peak memory in bytes."""
    finished = subprocess.run([sys.executable, "-c", APART, *arguments], capture_output=True, check=True)
    return int(finished.stdout.split()[-1])


def alternating(actions: dict[str, Callable[[], object]], runs: int) -> dict[str, Times]:
    """The median times of each action, the actions taking turns, after one round that does not count."""
    records: dict[str, list[Times]] = {name: [] for name in actions}
    for turn in range(runs + 1):
        for name, action in actions.items():
            start = now()
            action()
            if turn:
                records[name].append(now() - start)
    return {name: np.median(record, axis=0) for name, record in records.items()}


def now() -> Times:
    """The time, and the processor time of this process and its children."""
    return np.array((time.perf_counter(), sum(os.times()[:4])))


def compare(folder: Path, rows: int, columns: int, runs: int) -> None:
    """Print the times, their ratios and the peak memory."""
    source, target = folder / "photograph.jpg", folder / "denoised.jpg"
    write_photograph(source, rows, columns)
    arguments = ["run", str(source), "-o", str(target), "--mu", repr(MU), "--overwrite"]
    noisy = decode(source)
    denoised = np.rint(denoise(noisy, MU, channel_axis=-1).image.clip(0, 1) * 255).astype(np.uint8)
    peaks: list[int] = []
    medians = alternating(
        {
            "decode": lambda: decode(source),
            "solve": lambda: denoise(noisy, MU, channel_axis=-1),
            "encode": lambda: encode(denoised),
            "command": lambda: run_here(arguments),
            "process": lambda: peaks.append(run_apart(arguments)),
        },
        runs,
    )
    parts = sum(medians[name] for name in PARTS)
    shown = ", ".join(f"{name} {medians[name][0]:.2f} s" for name in PARTS)
    print(f"{rows}×{columns}, 8-bit colour JPEG, mu {MU:.3g}: {shown}: {parts[0]:.2f} s together")
    for name, what in (("command", "in this process"), ("process", "as a process, its start included")):
        ratio, processor_ratio = medians[name] / parts
        print(
            f"the command {what}: {medians[name][0]:.2f} s, {ratio:.2f} times its parts "
            f"({processor_ratio:.2f} times their processor time)"
        )
    print(f"its peak memory: {max(peaks) / 1e6:.0f} MB, {max(peaks) / (rows * columns):.0f} bytes a pixel")


def main() -> None:
    """Measure in a temporary folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5, help="counted runs of each")
    parser.add_argument("--size", type=int, nargs=2, default=(4000, 6000), metavar=("ROWS", "COLUMNS"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        compare(Path(folder), *options.size, options.runs)


if __name__ == "__main__":
    main()
