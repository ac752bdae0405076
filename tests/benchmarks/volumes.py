"""Volumes: one evaluation beside that of an image, and the time to half a grey level beside scikit-image's.

    python tests/benchmarks/volumes.py                    # 128×512×512, float32
    python tests/benchmarks/volumes.py --shape 32 256 256

The volume is synthetic, with white noise of σ = 25/255. Both methods get the weight 1/μ with μ = 1.4/σ, and each is
timed until its result is within half a grey level (rms) of its own exact minimiser; how many iterations that takes
is found on a part of the volume. Runs alternate and medians are compared. Needs scikit-image (pip install -e '.[dev]').
"""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
from against_scikit_image import HALF_A_GREY_LEVEL, MU, SIGMA, THREADS, least, seconds
from skimage.restoration import denoise_tv_chambolle

sys.path.insert(0, str(Path(__file__).parent.parent))
from support.samples import rms, volume
from tvdenoise import Solution, denoise
from tvdenoise.model.engines import FusedEngine
from tvdenoise.model.objective import Objective
from tvdenoise.model.penalties import Hyperbolic
from tvdenoise.solver.step_rules import SAFE_STEP

AXES = (0, 1, 2)
PART = (64, 96, 96)


def noisy_volume(shape: tuple[int, int, int]) -> np.ndarray:
    """The synthetic volume with white noise, float32."""
    rng = np.random.default_rng(1)
    return (volume(*shape) + SIGMA * rng.standard_normal(shape, np.float32)).astype(np.float32)


def ours(noisy: np.ndarray, most: int) -> Solution:
    """tvdenoise's result after at most so many evaluations."""
    return denoise(noisy, MU, spatial_axes=AXES, max_iterations=most, threads=THREADS)


def chambolle(noisy: np.ndarray, iterations: int) -> np.ndarray:
    """scikit-image's result after a number of iterations."""
    return denoise_tv_chambolle(noisy, weight=1 / MU, eps=0, max_num_iter=iterations)


def iterations_to_half_a_grey_level(noisy: np.ndarray) -> tuple[int, int]:
    """Evaluations of tvdenoise and iterations of Chambolle until each is close to its minimiser."""
    exact = denoise(noisy.astype(np.float64), MU, tolerance=2e-5, spatial_axes=AXES).image
    limit = chambolle(noisy.astype(np.float64), 2000)
    return (
        least(lambda n: rms(ours(noisy, n).image - exact) <= HALF_A_GREY_LEVEL, 200),
        least(lambda n: rms(chambolle(noisy, n) - limit) <= HALF_A_GREY_LEVEL, 400),
    )


def evaluations(noisy: np.ndarray, runs: int) -> None:
    """Print one evaluation of the volume and of an image of as many pixels, by the clock and by the processor."""
    image = noisy.reshape(-1, 4 * noisy.shape[-1])
    engines = [
        FusedEngine(objective, objective.noisy, THREADS, preconditioned=True)
        for objective in (
            Objective(values[np.newaxis], MU, Hyperbolic(0.14 / MU)) for values in (noisy, image)
        )
    ]
    deep, flat = seconds(*(partial(engine.advance, SAFE_STEP) for engine in engines), runs=5 * runs)
    busy_deep, busy_flat = (_least_processor_time(engine, 5 * runs) for engine in engines)
    for engine in engines:
        engine.__exit__()
    print(
        f"one evaluation: volume {deep / noisy.size * 1e9:.2f} ns, image {flat / noisy.size * 1e9:.2f} ns a pixel: "
        f"{deep / flat:.2f} times; by processor time {busy_deep / busy_flat:.2f} times"
    )


def _least_processor_time(engine: FusedEngine, runs: int) -> float:
    times = []
    for _ in range(runs):
        start = time.process_time()
        engine.advance(SAFE_STEP)
        times.append(time.process_time() - start)
    return min(times)


def speed(noisy: np.ndarray, runs: int) -> None:
    """Print the time to half a grey level of both."""
    mine, other = iterations_to_half_a_grey_level(np.ascontiguousarray(noisy[tuple(map(slice, PART))]))
    fast, slow = seconds(partial(ours, noisy, mine), partial(chambolle, noisy, other), runs=runs)
    print(
        f"to half a grey level rms: tvdenoise {mine} evaluations {fast:.2f} s, denoise_tv_chambolle {other} "
        f"iterations {slow:.2f} s: {slow / fast:.1f} times faster"
    )


def certified(noisy: np.ndarray) -> None:
    """Print a solve to the default tolerance, and one without any parameter."""
    for name, mu in (("mu given", MU), ("no parameter", None)):
        start = time.perf_counter()
        solution = denoise(noisy, mu, spatial_axes=AXES, threads=THREADS)
        print(
            f"{name}: {solution.iterations} evaluations, within {solution.distance_bound * 255:.2f} grey levels "
            f"({solution.status.value}), {time.perf_counter() - start:.2f} s"
        )


def main() -> None:
    """Run all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", type=int, nargs=3, default=(128, 512, 512), metavar="N")
    parser.add_argument("--runs", type=int, default=3, help="counted runs of each")
    options = parser.parse_args()
    noisy = noisy_volume(tuple(options.shape))
    print("×".join(map(str, noisy.shape)))
    evaluations(noisy, options.runs)
    certified(noisy)
    speed(noisy, options.runs)


if __name__ == "__main__":
    main()
