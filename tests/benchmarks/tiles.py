"""A solve in windows beside the same solve of the whole image in memory.

    python tests/benchmarks/tiles.py                              # 6000×6000, 16 bits, 100 MB of arrays
    python tests/benchmarks/tiles.py --colour --side 3000
    python tests/benchmarks/tiles.py --side 20000 --memory 1000 --alone

The picture is a mosaic of a sample with white noise of σ = 25/255, held as an array; μ = 1.4/σ is given. Runs
alternate and medians are compared. What reading the array and the scratch file take is told apart from solving and
certifying, as is the one pass over the image in which its extremes are found. The time of the whole image is that of
its solve alone.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
from support.samples import clean
from tvdenoise.api import denoise_tiled
from tvdenoise.images.data import Layout
from tvdenoise.model.colour import from_opponent
from tvdenoise.options import Options
from tvdenoise.parameters import problem_of
from tvdenoise.solver.descent import Minimiser
from tvdenoise.tiling.passes import TiledSolution
from tvdenoise.tiling.source import ArraySource, Stage

SIGMA = 25 / 255
MU = 1.4 / SIGMA
THREADS = 2


def noisy_mosaic(side: int, *, colour: bool) -> np.ndarray:
    """A sample picture that goes on as in a mirror, with noise, in 16 bits."""
    picture = clean("coffee", colour=colour).astype(np.float32)
    mirrored = np.concatenate([picture, picture[::-1]])
    mirrored = np.concatenate([mirrored, mirrored[:, ::-1]], axis=1)
    rng = np.random.default_rng(1)
    image = np.empty((side, side, *picture.shape[2:]), np.uint16)
    columns = np.arange(side) % mirrored.shape[1]
    for row in range(side):
        values = mirrored[row % mirrored.shape[0], columns]
        values = values + np.float32(SIGMA) * rng.standard_normal(values.shape, np.float32)
        image[row] = (values.clip(0, 1) * 65535).astype(np.uint16)
    return image


@dataclass
class Clock:
    """Seconds by what took them, by the clock and of the processors."""

    seconds: dict[str, float] = field(default_factory=dict)
    busy: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def running(self, name: str) -> Iterator[None]:
        """Count what happens within."""
        start, busy = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - start, time.process_time() - busy)

    def add(self, name: str, seconds: float, busy: float) -> None:
        """Count these too."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds
        self.busy[name] = self.busy.get(name, 0.0) + busy


class TimedFile:
    """A scratch file that counts the time of its input and output."""

    def __init__(self, file: BinaryIO, clock: Clock) -> None:
        self._file = file
        self._clock = clock
        self.truncate, self.seek = self._file.truncate, self._file.seek

    def __enter__(self) -> TimedFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def readinto(self, buffer: memoryview) -> int:
        with self._clock.running("scratch"):
            return self._file.readinto(buffer)

    def write(self, buffer: memoryview) -> int:
        with self._clock.running("scratch"):
            return self._file.write(buffer)


def whole(noisy: np.ndarray, clock: Clock) -> tuple[Minimiser, Layout]:
    """The image solved in memory, in the units of its layout."""
    options = Options(mu=MU, threads=THREADS)
    problem = problem_of(noisy, options, channel_axis=-1 if noisy.ndim == 3 else None)
    with clock.running("whole"):
        return problem.method.minimise(problem.data.planes, problem.mu, problem.epsilon), problem.data.layout


def tiled(noisy: np.ndarray, memory: int, clock: Clock, look: Callable[[TiledSolution], None]) -> None:
    """The image solved in windows, with the seconds of each part."""
    begins: dict[Stage, tuple[float, float]] = {}

    def now() -> tuple[float, float]:
        return time.perf_counter(), time.process_time()

    def tell(stage: Stage, _part: float) -> None:
        begins.setdefault(stage, now())

    def scratch() -> TimedFile:
        return TimedFile(tempfile.TemporaryFile(buffering=0), clock)

    source, start = ArraySource(noisy, noisy.ndim == 3), now()
    with denoise_tiled(source, MU, memory=memory, scratch=scratch, threads=THREADS, tell=tell) as result:
        end, begin = now(), begins[Stage.SOLVING]
        clock.add("survey", begin[0] - start[0], begin[1] - start[1])
        clock.add(
            "solve and certificate",
            end[0] - begin[0] - clock.seconds["scratch"],
            end[1] - begin[1] - clock.busy["scratch"],
        )
        look(result)


def described(result: TiledSolution) -> None:
    """Print how it went."""
    found = result.solution
    print(
        f"{result.windows} windows ({'×'.join(map(str, result.parts))}), overlap {result.overlap[0]}, "
        f"{result.passes} passes, {found.iterations} evaluations"
    )
    print(
        f"within {found.distance_bound * 255:.3f} grey levels of a tolerance of {found.tolerance * 255:.3f}, "
        f"rms near a join at most {result.seam:.4f} of {found.mu * found.tolerance:.4f} ({found.status.value})"
    )


def compared(result: TiledSolution, other: Minimiser, layout: Layout) -> None:
    """Print how far the two solutions are apart, beside their bounds."""
    image = layout.image(from_opponent(other.x) if len(other.x) == 3 else other.x.copy())
    squares = [np.square(block - image[window], dtype=np.float64).sum() for window, block in result.blocks()]
    difference = np.sqrt(sum(squares) / image.size)
    bound = other.distance_bound * layout.scale
    most = bound + result.solution.distance_bound
    print(
        f"whole: {other.iterations} evaluations, within {bound * 255:.3f} grey levels; "
        f"the two differ by {difference * 255:.3f} (rms), at most {most * 255:.3f}"
    )


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--side", type=int, default=6000)
    parser.add_argument("--memory", type=float, default=100, help="of the windows, in MB")
    parser.add_argument("--colour", action="store_true")
    parser.add_argument("--runs", type=int, default=3, help="counted runs of each")
    parser.add_argument("--alone", action="store_true", help="in windows only, for images that do not fit")
    options = parser.parse_args()
    noisy = noisy_mosaic(options.side, colour=options.colour)
    print("×".join(map(str, noisy.shape)), noisy.dtype)
    clocks = []
    for run in range(options.runs + 1):
        clock = Clock()
        other = None if options.alone else whole(noisy, clock)

        def look(
            result: TiledSolution,
            other: tuple[Minimiser, Layout] | None = other,
            is_first: bool = run == 0,
        ) -> None:
            if is_first:
                described(result)
                if other is not None:
                    compared(result, *other)

        tiled(noisy, int(options.memory * 1e6), clock, look)
        if run > 0:
            clocks.append(clock)
    medians = {name: statistics.median(clock.seconds[name] for clock in clocks) for name in clocks[0].seconds}
    print(", ".join(f"{name} {seconds:.2f} s" for name, seconds in medians.items()))
    if not options.alone:
        by_clock, by_processor = (
            statistics.median(each["solve and certificate"] / each["whole"] for each in times)
            for times in ([clock.seconds for clock in clocks], [clock.busy for clock in clocks])
        )
        print(
            f"solve and certificate in windows: {by_clock:.2f} times the solve of the whole; by processor time "
            f"{by_processor:.2f} times"
        )


if __name__ == "__main__":
    main()
