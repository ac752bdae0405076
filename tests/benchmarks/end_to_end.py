"""The whole command beside its parts: decoding, solving and encoding a photograph of 24 megapixels.

    python tests/benchmarks/end_to_end.py

A noisy colour JPEG is made of the sample photographs. What decoding it with Pillow, solving with a given μ and
encoding with Pillow at the same options take is added up, and the command is timed beside them: in this process, and
as a process of its own with the start of Python in it. All take turns, and medians are compared; processor times
too, which other work on the machine disturbs less. The peak memory is that of the process of its own. Needs Linux.

Then the command chooses its parameters itself, and a table shows how its time divides, for this JPEG or for the
formats named by --formats:

decode    opening the file, decoding its pixels and reading its metadata
estimate  conversion to planes, the noise, and the choice of the parameters
solve     the solve, and conversion to an image
encode    encoding, writing, and checking the written file
rest      loading the kernels, the plan, rounding, hints, and all else
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
from PIL import Image
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parent.parent))
from support.samples import PHOTOGRAPHS, clean, with_noise
from tvdenoise import api, denoise
from tvdenoise.batch import planes, runner
from tvdenoise.commands.app import app
from tvdenoise.files.decoded import DecodedImage
from tvdenoise.files.writing import encode as encoded
from tvdenoise.formats.registry import FORMAT_BY_EXTENSION

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SIGMA = 10 / 255
MU = 1.4 / SIGMA
QUALITY = 95
PARTS = ("decode", "solve", "encode")
#: The functions whose times divide that of the command; none calls another.
STAGES = {
    "decode": (runner, "open_within"),
    "estimate": (api, "problem_of"),
    "solve": (api, "_solution_of"),
    "encode": (planes, "write"),
}
FORMATS = ("jpg", "png", "png16", "webp", "avif", "tif", "tif16")
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


def photograph(rows: int, columns: int) -> np.ndarray:
    """A noisy colour image of that size in [0, 1], of mirrored copies of a sample."""
    sample = clean(PHOTOGRAPHS[2], colour=True)
    whole = np.concatenate((sample, sample[::-1]))
    whole = np.concatenate((whole, whole[:, ::-1]), axis=1)
    tiles = (-(-rows // whole.shape[0]), -(-columns // whole.shape[1]), 1)
    return np.clip(with_noise(np.tile(whole, tiles)[:rows, :columns], SIGMA, seed=0), 0, 1)


def write_photograph(path: Path, values: np.ndarray) -> None:
    """A JPEG with halved chroma."""
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


@contextmanager
def timed_stages() -> Iterator[dict[str, Times]]:
    """The times spent in each stage inside."""
    spent = {stage: np.zeros(2) for stage in STAGES}

    def timed(stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            start = now()
            try:
                return function(*arguments, **keywords)
            finally:
                spent[stage] += now() - start

        return call

    with ExitStack() as stack:
        for stage, (module, name) in STAGES.items():
            stack.enter_context(mock.patch.object(module, name, timed(stage, getattr(module, name))))
        yield spent


def divide(folder: Path, picture: np.ndarray, formats: Sequence[str], runs: int) -> None:
    """Print how the time of the command divides, for files of these formats."""
    print("\nseconds, and of processors, that `tvdenoise run` takes when it chooses the parameters")
    print("format " + "".join(f"{name:>16}" for name in (*STAGES, "rest", "together")))
    for name in formats:
        extension = name.removesuffix("16")
        source, target = folder / f"divided.{extension}", folder / f"result.{extension}"
        dtype = np.dtype(np.uint16 if name.endswith("16") else np.uint8)
        values = np.rint(picture * np.iinfo(dtype).max).astype(dtype)
        if extension == "jpg":
            write_photograph(source, values)
        else:
            source.write_bytes(encoded(DecodedImage(values), FORMAT_BY_EXTENSION[source.suffix]))
        records = []
        for _ in range(runs + 1):
            with timed_stages() as spent:
                start = now()
                run_here(["run", str(source), "-o", str(target), "--overwrite"])
                together = now() - start
            records.append([*spent.values(), together - sum(spent.values()), together])
        shown = (f"{time:.2f} ({processor:.2f})" for time, processor in np.median(records[1:], axis=0))
        print(f"{name:<7}" + "".join(f"{each:>16}" for each in shown))


def compare(folder: Path, values: np.ndarray, runs: int) -> None:
    """Print the times, their ratios and the peak memory."""
    source, target = folder / "photograph.jpg", folder / "denoised.jpg"
    rows, columns = values.shape[:2]
    write_photograph(source, values)
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
    parser.add_argument("--formats", nargs="+", default=["jpg"], choices=FORMATS, help="files to divide")
    parser.add_argument("--divide", action="store_true", help="print the division only")
    options = parser.parse_args()
    picture = photograph(*options.size).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        if not options.divide:
            compare(Path(folder), np.rint(picture * 255).astype(np.uint8), options.runs)
        divide(Path(folder), picture, options.formats, options.runs)


if __name__ == "__main__":
    main()
