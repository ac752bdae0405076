"""One evaluation beside a C twin of the same sweep and beside the floor of memory, and short solves beside both.

    python tests/benchmarks/sweep.py                  # all, in about a minute
    python tests/benchmarks/sweep.py --only sweeps --kind grey --kind colour

The twins (sweep_twin.c) are compiled here by gcc, which must be installed, and run on one thread. They are no part of
the package. Before anything is timed, gcc's report must say that it vectorised their inner loops, and their iterates,
directions and sums must equal those of the package to rounding, borders included. The direction is the objective
gradient over the metric, as in the solver.

All take turns. A ratio is the median of the ratios of neighbouring runs; times are the least ones. With one thread
they are those of the processor, which other work on the machine disturbs less; with two they are by the clock, so two
processors should be idle.

sweeps  one evaluation on one thread, nanoseconds a value (a colour pixel has three values)
floor   one evaluation of a large grey image beside a loop that moves as many bytes: it reads x, d and f, writes x and d
solves  `denoise` of small grey images with a given mu beside as many sweeps of the twin
"""

from __future__ import annotations

import argparse
import ctypes
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
from support.samples import PHOTOGRAPHS, clean, volume, with_noise
from tvdenoise import denoise
from tvdenoise.model.colour import chroma_weights, to_opponent
from tvdenoise.model.engines import FusedEngine
from tvdenoise.model.fidelity import Fidelity
from tvdenoise.model.kernels import SUMS
from tvdenoise.model.objective import Objective
from tvdenoise.model.penalties import Hyperbolic
from tvdenoise.solver.step_rules import SAFE_STEP

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SOURCE = Path(__file__).with_name("sweep_twin.c")
FLAGS = ("-std=c11", "-O3", "-march=native", "-ffast-math", "-shared", "-fPIC")
SIGMA = 25 / 255
MU = 1.4 / SIGMA
CHROMA = 3.0
LARGE = (3000, 4000)
SMALL, SMALLEST = (512, 512), (64, 64)
IMAGES = (SMALL, (1000, 1000), LARGE)
VOLUMES = ((16, 128, 128), (16, 256, 256), (48, 500, 500))  # as many voxels
#: The least shapes have borders only; the others have several bands, and rows that no vector length divides.
CHECKED_IMAGES = ((1, 1), (1, 2), (2, 1), (3, 3), (5, 67), (301, 333))
CHECKED_VOLUMES = ((1, 4, 5), (2, 1, 1), (3, 3, 2), (4, 301, 333))
#: Single precision, and other orders of summation.
ROUNDING = 2e-6
#: Samples last about so long: shorter than what the system gives a process at a time.
SAMPLE = 1.5e-3
BYTES = 20  # that a sweep moves for each pixel
#: `tvdenoise.model.kernels.SUMS`; without weights the last two are left out.
NAMES = (
    "penalties",
    "squared residual",
    "squared gradient norm",
    "product",
    "squared length before",
    "squared length",
    "squared dual norm",
    "squared norm where missing",
)

# The twins


def compiled(folder: Path) -> ctypes.CDLL:
    """Compile the twins and load them. Exits if there is no gcc, or if it left an inner loop without vectors."""
    gcc = shutil.which("gcc")
    if gcc is None:
        sys.exit("sweep.py: gcc is not installed: the C twins are compiled with it (apt install gcc)")
    library, report = folder / "sweep_twin.so", folder / "vectors.txt"
    command = [gcc, *FLAGS, f"-fopt-info-vec={report}", "-o", str(library), str(SOURCE), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"sweep.py: gcc did not compile {SOURCE.name}:\n{done.stderr}")
    vectorised = {
        int(line) for line in re.findall(r":(\d+):\d+: optimized: loop vectorized", report.read_text())
    }
    lines = SOURCE.read_text(encoding="utf-8").splitlines()
    inner = {number for number, line in enumerate(lines, start=1) if "for (long j" in line}
    if not inner <= vectorised:
        sys.exit(
            f"sweep.py: gcc did not vectorise the loops in lines {sorted(inner - vectorised)} of {SOURCE.name}"
        )
    version = subprocess.run(
        [gcc, "-dumpfullversion"], capture_output=True, text=True, check=True
    ).stdout.strip()
    print(f"gcc {version} {' '.join(FLAGS[1:4])}: {len(inner)} inner loops, all vectorised")
    return ctypes.CDLL(str(library))


class Twin:
    """A sweep in C with arrays of its own, which begins where an engine does."""

    def __init__(self, library: ctypes.CDLL, objective: Objective) -> None:
        noisy = objective.noisy
        self.objective = objective
        self.iterate, self.direction, self.sums = noisy.copy(), np.zeros_like(noisy), np.zeros(SUMS)
        arrays, scales = [self.iterate, self.direction, noisy], []
        if noisy.ndim == 4:
            sweep = library.sweep_volume
        elif objective.fidelity is not None:
            sweep = library.sweep_weighted
            arrays.append(objective.fidelity.coded)
        elif len(noisy) == 3:
            sweep = library.sweep_colour
            scales.append(np.square(objective.channel_weights).astype(np.float32))
        else:
            sweep = library.sweep_grey
        self._kept = (*arrays, *scales)  # C gets their addresses
        assert all(array.flags.c_contiguous and array.dtype == np.float32 for array in self._kept)
        self._sweep = partial(sweep, *map(ctypes.c_long, noisy.shape[1:]), *map(address, arrays))
        self._parameters = (
            ctypes.c_float(objective.mu),
            ctypes.c_float(objective.penalty.epsilon),
            *map(address, (*scales, self.sums)),
        )

    def advance(self, step_length: float) -> None:
        """Set x ← x − τ d and d ← ∇J(x)/m, and fill the sums."""
        self._sweep(ctypes.c_float(step_length), *self._parameters)


def address(array: np.ndarray) -> ctypes.c_void_p:
    """Where the values of a contiguous array begin."""
    return ctypes.c_void_p(array.ctypes.data)


# The same work for both


def objective_of(kind: str, shape: Sequence[int]) -> Objective:
    """J of a noisy sample of that shape."""
    epsilon = 0.28 / MU if kind == "colour" else 0.14 / MU
    if kind == "volume":
        noisy = with_noise(volume(*shape), SIGMA, seed=1)[np.newaxis]
        return Objective(noisy.astype(np.float32), MU, Hyperbolic(epsilon))
    sample = clean(PHOTOGRAPHS[2], colour=kind == "colour")
    tiles = [-(-wanted // given) for wanted, given in zip(shape, sample.shape, strict=False)]
    whole = np.tile(sample, tiles + [1] * (sample.ndim - 2))[: shape[0], : shape[1]]
    noisy = with_noise(whole, SIGMA, seed=1).astype(np.float32)
    if kind == "colour":
        planes = to_opponent(np.ascontiguousarray(np.moveaxis(noisy, -1, 0)))
        return Objective(planes, MU, Hyperbolic(epsilon), channel_weights=chroma_weights(CHROMA))
    fidelity = None
    if kind == "weights":
        rng = np.random.default_rng(2)
        coded = rng.uniform(0.2, 1.0, shape).astype(np.float32)
        coded[rng.random(shape) < 0.02] = 0.0  # missing
        coded[rng.random(shape) < 0.02] = -1.0  # held
        fidelity = Fidelity(coded)
    return Objective(noisy[np.newaxis], MU, Hyperbolic(epsilon), fidelity=fidelity)


def engine_of(objective: Objective, threads: int = 1) -> FusedEngine:
    """The engine as the solver uses it, at the noisy image."""
    return FusedEngine(objective, objective.noisy, threads, preconditioned=True)


def check(library: ctypes.CDLL, kind: str, shape: Sequence[int]) -> None:
    """Exit unless three steps of the twin give the iterate, the direction and the sums of the package to rounding."""
    objective = objective_of(kind, shape)
    twin = Twin(library, objective)
    count = SUMS if objective.fidelity is not None else SUMS - 2
    with engine_of(objective) as engine:
        for step_length in (0.0, SAFE_STEP, 2 * SAFE_STEP):
            twin.advance(step_length)
            engine.advance(step_length)
            sums = engine.sums.sum(axis=0)
            # A norm may vanish where its terms do not: those of ∇J are up to 1, intensities about 0.1.
            norm = max(sums[2], 1e-2 * objective.noisy.size)
            length = max(sums[4], sums[5], 1e-2 * objective.noisy.size)
            residual = max(sums[1], 1e-2 * objective.noisy.size)
            scales = (sums[0], residual, norm, length, length, length, norm + sums[6], norm)
            compared = {
                "iterate": (twin.iterate, engine.iterate, 1.0),
                "direction": (twin.direction, engine.direction, 1.0),
                **dict(zip(NAMES[:count], zip(twin.sums, sums, scales, strict=True), strict=False)),
            }
            for name, (ours, theirs, scale) in compared.items():
                error = np.abs(np.subtract(ours, theirs)).max() / scale
                if not error <= ROUNDING:
                    at = "×".join(map(str, shape))
                    sys.exit(f"sweep.py: {kind} {at}: the {name} of the C twin is off by {error:.1e}")


# Times


def seconds(
    actions: Sequence[Callable[[], object]], pairs: int, clock: Callable[[], float] = time.perf_counter
) -> np.ndarray:
    """Time the actions in turns, after one round that does not count: (pairs, actions).

    Each counted time is that of one call out of as many as fill a sample.
    """
    calls = []
    for action in actions:
        start = time.perf_counter()
        action()
        calls.append(max(1, round(SAMPLE / (time.perf_counter() - start))))
    times = np.empty((pairs, len(actions)))
    for record in times:
        for k, action in enumerate(actions):
            start = clock()
            for _ in range(calls[k]):
                action()
            record[k] = (clock() - start) / calls[k]
    return times


def clock_for(threads: int) -> Callable[[], float]:
    """The processor's time for one thread, which other work disturbs less; else the time that passes."""
    return time.process_time if threads == 1 else time.perf_counter


def ratio(times: np.ndarray, one: int = 0, other: int = 1) -> float:
    """The median of the ratios of neighbouring runs."""
    return float(np.median(times[:, one] / times[:, other]))


def fitting(pairs: int, size: int) -> int:
    """Fewer pairs for larger arrays, and never fewer than five."""
    return max(5, min(pairs, pairs * 10 * prod(SMALL) // size))


def sweeps(library: ctypes.CDLL, kinds: Sequence[str], pairs: int) -> None:
    """Print one evaluation of the package and of the twin on one thread, at three sizes."""
    print("\nOne evaluation on one thread: ns a value")
    print("| kind | size | tvdenoise | C twin | ratio |")
    print("|---|---|---|---|---|")
    for kind in kinds:
        for shape in CHECKED_VOLUMES if kind == "volume" else CHECKED_IMAGES:
            check(library, kind, shape)
        for shape in VOLUMES if kind == "volume" else IMAGES:
            objective = objective_of(kind, shape)
            twin = Twin(library, objective)
            size = objective.noisy.size
            with engine_of(objective) as engine:
                actions = (partial(engine.advance, SAFE_STEP), partial(twin.advance, SAFE_STEP))
                times = seconds(actions, fitting(pairs, size), clock_for(1))
            ours, theirs = times.min(axis=0) / size * 1e9
            print(
                f"| {kind} | {'×'.join(map(str, shape))} | {ours:.2f} | {theirs:.2f} | {ratio(times):.2f} |",
                flush=True,
            )


def floor(library: ctypes.CDLL, pairs: int) -> None:
    """Print the sweep of a large grey image beside the least time in which as many bytes can be moved."""
    objective = objective_of("grey", LARGE)
    size = objective.noisy.size
    print(f"\nOne evaluation of a grey image of {'×'.join(map(str, LARGE))}: ns a pixel ({BYTES} bytes)")
    print(
        "| threads | floor of memory | C twin | tvdenoise | over the floor, least times | ratio of neighbours |"
    )
    print("|---|---|---|---|---|---|")
    for threads in (1, 2):
        # Each thread has an image of its own: a part of the whole.
        part = objective_of("grey", (LARGE[0] // threads, LARGE[1]))
        twins = [Twin(library, part) for _ in range(threads)]

        def move(twin: Twin) -> None:
            arrays = map(address, (twin.iterate, twin.direction, twin.objective.noisy))
            library.stream(ctypes.c_long(twin.iterate.size), *arrays, ctypes.c_float(0.5))

        def sweep(twin: Twin) -> None:
            twin.advance(SAFE_STEP)

        with ThreadPoolExecutor(threads) as pool, engine_of(objective, threads) as engine:
            actions = [
                lambda pool=pool, move=move, twins=twins: list(pool.map(move, twins)),
                lambda pool=pool, sweep=sweep, twins=twins: list(pool.map(sweep, twins)),
                partial(engine.advance, SAFE_STEP),
            ]
            times = seconds(actions, pairs, clock_for(threads))
        least = times.min(axis=0) / size * 1e9
        print(
            f"| {threads} | {' | '.join(f'{each:.2f}' for each in least)} | {least[2] / least[0]:.2f} "
            f"| {ratio(times, 2, 0):.2f} |",
            flush=True,
        )


def solves(library: ctypes.CDLL, pairs: int) -> None:
    """Print whole solves of small images, and as many sweeps of the twin, which runs on one thread."""
    print("\nWhole solves of a grey image with a given mu: ms")
    print("| size | threads | evaluations | `denoise` | its median | sweeps of the C twin | ratio |")
    print("|---|---|---|---|---|---|---|")
    for shape, threads in ((SMALL, 1), (SMALL, 2), (SMALLEST, 1)):
        objective = objective_of("grey", shape)
        noisy = objective.noisy[0]
        twin = Twin(library, objective)
        solve = partial(denoise, noisy, mu=MU, threads=threads)
        evaluations = solve().iterations

        def sweep(twin: Twin = twin, evaluations: int = evaluations) -> None:
            for _ in range(evaluations):
                twin.advance(SAFE_STEP)

        times = seconds((solve, sweep), pairs, clock_for(threads))
        ours, theirs = times.min(axis=0) * 1e3
        print(
            f"| {'×'.join(map(str, shape))} | {threads} | {evaluations} | {ours:.2f} "
            f"| {np.median(times[:, 0]) * 1e3:.2f} | {theirs:.2f} | {ratio(times):.2f} |",
            flush=True,
        )


def main() -> None:
    """Run all, or what the options leave."""
    kinds = ("grey", "colour", "volume", "weights")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", choices=("sweeps", "floor", "solves"), help="these parts")
    parser.add_argument("--kind", action="append", choices=kinds, help="sweeps of these kinds")
    parser.add_argument("--pairs", type=int, default=60, help="pairs of runs, fewer for large images")
    options = parser.parse_args()
    chosen = options.only or ("sweeps", "floor", "solves")
    with tempfile.TemporaryDirectory() as folder:
        library = compiled(Path(folder))
        check(library, "grey", CHECKED_IMAGES[-1])
        if "sweeps" in chosen:
            sweeps(library, options.kind or kinds, options.pairs)
        if "floor" in chosen:
            floor(library, options.pairs // 3)
        if "solves" in chosen:
            solves(library, options.pairs)


if __name__ == "__main__":
    main()
