"""How batches use a machine: throughput, cost per file, memory, and the time that a plan takes.

    python tests/benchmarks/batches.py            all of it (some minutes)
    python tests/benchmarks/batches.py throughput small memory plan

Pictures are made with a seed, in a temporary folder. Times are medians of alternating runs; what is compared is
measured in the same run of this script.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

RUNS = 3


def noisy(rows: int, columns: int, seed: int) -> Image.Image:
    """Smooth colour with edges, and noise of level 15/255."""
    generator = np.random.default_rng(seed)
    down, across = np.mgrid[0:rows, 0:columns]
    waves = [np.sin(down / (20 + 7 * k) + seed) * np.cos(across / (31 + 5 * k)) for k in range(3)]
    clean = 127 + 60 * np.dstack(waves) + 40 * ((down // 64 + across // 64) % 2)[..., None]
    return Image.fromarray(np.clip(clean + generator.normal(0, 15, clean.shape), 0, 255).astype(np.uint8))


def fill(folder: Path, count: int, rows: int, columns: int, extension: str) -> Path:
    folder.mkdir()
    for number in range(count):
        noisy(rows, columns, number % 16).save(folder / f"{number:06d}{extension}")
    return folder


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "tvdenoise", "run", *map(str, arguments), "--quiet", "--overwrite"]


def seconds(arguments: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(arguments, check=True)
    return time.perf_counter() - start


def medians(runs: dict[str, Callable[[], float]]) -> dict[str, float]:
    """The median time of each, in alternating runs."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(RUNS):
        for name, run in runs.items():
            times[name].append(run())
    return {name: statistics.median(found) for name, found in times.items()}


def throughput(folder: Path) -> None:
    source = fill(folder / "megapixels", 64, 1000, 1000, ".jpg")
    out = f"{folder / 'throughput'}/"
    found = medians(
        {
            "jobs 1, threads 1": lambda: seconds(command(source, "-o", out, "--jobs", "1", "--threads", "1")),
            "jobs 2": lambda: seconds(command(source, "-o", out, "--jobs", "2")),
            "jobs 1": lambda: seconds(command(source, "-o", out, "--jobs", "1")),
            "jobs auto": lambda: seconds(command(source, "-o", out, "--jobs", "auto")),
        }
    )
    print("64 colour pictures of one megapixel (JPEG):")
    for name, taken in found.items():
        ratio = found["jobs 1, threads 1"] / taken
        print(f"  --{name}: {taken:.1f} s, {64 / taken:.1f} files/s, {ratio:.2f} times --jobs 1 --threads 1")


def small(folder: Path) -> None:
    count = 2000
    source = fill(folder / "small", count, 128, 128, ".png")
    out = f"{folder / 'small_out'}/"
    fixed = ("--mu", "14", "--threads", "1")
    single = sorted(source.iterdir())[0]
    found = medians(
        {
            "decode, solve and encode alone": lambda: alone(source),
            "the command, --jobs 1": lambda: seconds(command(source, "-o", out, "--jobs", "1", *fixed)),
            "the command, --jobs auto": lambda: seconds(command(source, "-o", out, "--jobs", "auto", *fixed)),
            "the command on one file": lambda: seconds(command(single, "-o", out, "--jobs", "1", *fixed)),
        }
    )
    base = found["decode, solve and encode alone"]
    print(f"{count} colour pictures of 128×128 (PNG), mu given:")
    for name, taken in found.items():
        print(f"  {name}: {taken:.1f} s")
    per_file = (found["the command, --jobs 1"] - base) / count * 1000
    print(f"  on top of decode, solve and encode: {per_file:.1f} ms a file (--jobs 1, its start included)")


def alone(source: Path) -> float:
    """Nothing but Pillow's decoder, `denoise`, and Pillow's encoder, in this process and on one thread."""
    from tvdenoise import denoise

    denoise(np.zeros((8, 8, 3), np.uint8), 14.0, channel_axis=-1, threads=1)
    start = time.perf_counter()
    for path in sorted(source.iterdir()):
        with Image.open(path) as opened:
            values = np.asarray(opened)
        solution = denoise(values, 14.0, channel_axis=-1, threads=1)
        Image.fromarray(np.rint(solution.image * 255).astype(np.uint8)).save(BytesIO(), "PNG")
    return time.perf_counter() - start


def memory(folder: Path) -> None:
    source = fill(folder / "memory", 2000, 256, 256, ".png")
    twenty = folder / "twenty"
    twenty.mkdir()
    for path in sorted(source.iterdir())[:20]:
        os.link(path, twenty / path.name)
    out = f"{folder / 'memory_out'}/"
    print("peak memory, all processes together (256×256, mu given):")
    peaks = {}
    for jobs in ("1", "2"):
        for name, chosen in (("20 files", twenty), ("2,000 files", source)):
            peaks[jobs, name] = peak(command(chosen, "-o", out, "--jobs", jobs, "--mu", "14"))
        ratio = peaks[jobs, "2,000 files"] / peaks[jobs, "20 files"]
        print(
            f"  --jobs {jobs}: {peaks[jobs, '20 files'] / 1e6:.0f} MB with 20 files, {ratio:.2f} times with 2,000"
        )


def peak(arguments: list[str]) -> float:
    """The largest sum of the resident memory of a process and its children, in bytes; looked at every 20 ms."""
    largest = 0
    with subprocess.Popen(arguments) as child:
        while child.poll() is None:
            largest = max(largest, sum(map(resident, family(child.pid))))
            time.sleep(0.02)
    return largest


def family(process: int) -> Iterator[int]:
    yield process
    with suppress(OSError):
        for task in Path(f"/proc/{process}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from family(int(child))


def resident(process: int) -> int:
    with suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def plan(folder: Path) -> None:
    from tvdenoise.batch.plan import make_plan
    from tvdenoise.batch.request import Request

    contents = {}
    for extension, name in ((".png", "PNG"), (".jpg", "JPEG")):
        stream = BytesIO()
        noisy(64, 64, 1).save(stream, name)
        contents[extension] = stream.getvalue()
    for part in range(100):
        (folder / "plan" / f"{part:02d}").mkdir(parents=True)
        for number in range(500):
            for extension, data in contents.items():
                (folder / "plan" / f"{part:02d}" / f"{number:03d}{extension[1:]}{extension}").write_bytes(
                    data
                )
    request = Request((str(folder / "plan"),), f"{folder / 'plan_out'}/", recursive=True)
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        count = len(make_plan(request).jobs)
        times.append(time.perf_counter() - start)
    print(f"a plan over {count:,} PNG and JPEG files in 100 folders: {statistics.median(times):.1f} s")


PARTS = {"throughput": throughput, "small": small, "memory": memory, "plan": plan}


@contextmanager
def working_folder(given: Path | None) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=given) as name:
        yield Path(name)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    # Python 3.11 compares the default, too, with the choices.
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[], metavar="|".join(PARTS))
    parser.add_argument(
        "--folder", type=Path, help="where the pictures are made, for example on another disk"
    )
    arguments = parser.parse_args()
    for name in arguments.parts or PARTS:
        with working_folder(arguments.folder) as folder:
            PARTS[name](folder)


if __name__ == "__main__":
    main()
