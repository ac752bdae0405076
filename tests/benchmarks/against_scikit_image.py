"""Speed and quality beside scikit-image's Chambolle denoiser, as ratios measured in one run.

    python tests/benchmarks/against_scikit_image.py            # the sample photographs
    python tests/benchmarks/against_scikit_image.py --photographs FOLDER

Both methods get the weight 1/μ with μ = 1.4/σ and white noise of σ = 25/255, and each is timed until its
result is within half a grey level (rms) of its own exact minimiser; how many iterations that takes is found
on a crop. Runs alternate and medians are compared. Needs scikit-image (pip install -e '.[dev]').
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import tracemalloc
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from skimage.restoration import denoise_tv_chambolle

sys.path.insert(0, str(Path(__file__).parent.parent))
from support.samples import SAMPLES, psnr, rms
from tvdenoise import denoise
from tvdenoise.model.engines import FusedEngine
from tvdenoise.model.objective import Objective
from tvdenoise.model.penalties import Hyperbolic
from tvdenoise.solver.step_rules import SAFE_STEP

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SIGMA = 25 / 255
MU = 1.4 / SIGMA
HALF_A_GREY_LEVEL = 0.5 / 255
THREADS = 2
CROP = 700


def photographs(folder: Path) -> list[np.ndarray]:
    """The RGB pictures of a folder, float32 in [0, 1]."""
    pictures = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in (".png", ".jpg", ".tif", ".tiff"):
            with Image.open(path) as picture:
                if not picture.mode.startswith("I"):
                    pictures.append(np.asarray(picture.convert("RGB"), dtype=np.float32) / 255)
    return pictures


def grey(picture: np.ndarray) -> np.ndarray:
    """The luma of an RGB picture."""
    return picture @ np.array([0.299, 0.587, 0.114], dtype=np.float32)


def mosaic(pictures: Sequence[np.ndarray], rows: int, columns: int) -> np.ndarray:
    """A large picture of mirrored copies of small ones."""
    canvas = np.empty((rows, columns, *pictures[0].shape[2:]), dtype=np.float32)
    top, k = 0, 0
    while top < rows:
        left, height = 0, min(picture.shape[0] for picture in pictures)
        while left < columns:
            tile = pictures[k % len(pictures)][:height]
            tile = tile[::-1] if k % 2 else tile
            tile = tile[:, ::-1] if k % 3 else tile
            part = tile[: rows - top, : columns - left]
            canvas[top : top + part.shape[0], left : left + part.shape[1]] = part
            left += tile.shape[1]
            k += 1
        top += height
    return canvas


def with_noise(clean: np.ndarray, seed: int) -> np.ndarray:
    """White Gaussian noise of SIGMA, neither clipped nor rounded."""
    return (clean + np.random.default_rng(seed).normal(0, SIGMA, clean.shape)).astype(np.float32)


def least(passes: Callable[[int], bool], most: int) -> int:
    """The least count that passes, by bisection."""
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if passes(middle) else (middle, high)
    return high


def iterations_to_half_a_grey_level(noisy: np.ndarray, axis: int | None) -> tuple[int, int]:
    """Evaluations of tvdenoise and iterations of Chambolle until each is close to its minimiser."""
    exact = denoise(noisy.astype(np.float64), MU, tolerance=2e-5, channel_axis=axis).image
    ours = least(
        lambda n: is_close(denoise(noisy, MU, max_iterations=n, channel_axis=axis).image, exact), 200
    )
    limit = chambolle(noisy.astype(np.float64), 2000, axis)
    theirs = least(lambda n: is_close(chambolle(noisy, n, axis), limit), 400)
    return ours, theirs


def is_close(image: np.ndarray, exact: np.ndarray) -> bool:
    """True within half a grey level rms."""
    return rms(image - exact) <= HALF_A_GREY_LEVEL


def chambolle(noisy: np.ndarray, iterations: int, axis: int | None) -> np.ndarray:
    """scikit-image's result after a number of iterations."""
    return denoise_tv_chambolle(noisy, weight=1 / MU, eps=0, max_num_iter=iterations, channel_axis=axis)


def seconds(*actions: Callable[[], object], runs: int) -> list[float]:
    """The median time of each action, the actions taking turns, after one round that does not count."""
    times: list[list[float]] = [[] for _ in actions]
    for turn in range(runs + 1):
        for action, record in zip(actions, times, strict=True):
            start = time.perf_counter()
            action()
            if turn:
                record.append(time.perf_counter() - start)
    return [statistics.median(record) for record in times]


def speed(pictures: Sequence[np.ndarray], runs: int, rows: int, columns: int) -> None:
    """Print the time to half a grey level, grey and colour."""
    for name, axis in (("grey", None), ("colour", -1)):
        sources = pictures if axis else [grey(picture) for picture in pictures]
        noisy = with_noise(mosaic(sources, rows, columns), seed=1)
        ours, theirs = iterations_to_half_a_grey_level(np.ascontiguousarray(noisy[:CROP, :CROP]), axis)
        mine, other = seconds(
            partial(denoise, noisy, MU, max_iterations=ours, channel_axis=axis, threads=THREADS),
            partial(chambolle, noisy, theirs, axis),
            runs=runs,
        )
        print(
            f"{name}, {rows}×{columns}, to half a grey level rms: tvdenoise {ours} evaluations {mine:.2f} s, "
            f"denoise_tv_chambolle {theirs} iterations {other:.2f} s: {other / mine:.1f} times faster"
        )


def one_evaluation(pictures: Sequence[np.ndarray], runs: int, rows: int, columns: int) -> None:
    """Print one evaluation in units of a copy of the image, and the memory that a solve takes."""
    noisy = with_noise(mosaic([grey(picture) for picture in pictures], rows, columns), seed=1)
    copy = np.empty_like(noisy)
    objective = Objective(noisy[np.newaxis], MU, Hyperbolic(0.14 / MU))
    with FusedEngine(objective, objective.noisy, THREADS, preconditioned=True) as engine:
        sweep, copying = seconds(
            partial(engine.advance, SAFE_STEP), partial(np.copyto, copy, noisy), runs=5 * runs
        )
    print(f"one evaluation, {rows}×{columns}: {sweep * 1e3:.1f} ms, {sweep / copying:.1f} times numpy.copyto")
    tracemalloc.start()
    denoise(noisy, MU, threads=THREADS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    print(f"working memory of a solve: {peak / noisy.nbytes:.2f} float32 arrays of the image's size")
    small = np.ascontiguousarray(noisy[:512, :512])
    (solve,) = seconds(partial(denoise, small, MU, threads=THREADS), runs=5 * runs)
    print(f"512×512 to the default tolerance: {solve * 1e3:.1f} ms")


def colour_quality(pictures: Sequence[np.ndarray]) -> None:
    """Print the mean PSNR of both methods on colour, each with its best weight for each picture."""
    best: list[tuple[float, float]] = []
    for seed, clean in enumerate(pictures):
        noisy = with_noise(clean, seed)
        scales = np.geomspace(0.4, 2.0, 9)
        ours = max(psnr(denoise(noisy, MU * scale, channel_axis=-1).image, clean) for scale in scales)
        theirs = max(
            psnr(denoise_tv_chambolle(noisy, weight=scale / MU, eps=1e-5, channel_axis=-1), clean)
            for scale in scales
        )
        best.append((ours, theirs))
    ours, theirs = np.mean(best, axis=0)
    print(
        f"colour, {len(pictures)} photographs, σ = 25/255, best weight for each: tvdenoise {ours:.2f} dB, "
        f"denoise_tv_chambolle {theirs:.2f} dB: {ours - theirs:+.2f} dB"
    )


def main() -> None:
    """Run all, or what the options leave."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photographs", type=Path, default=SAMPLES / "clean", help="clean photographs")
    parser.add_argument("--runs", type=int, default=5, help="counted runs of each")
    parser.add_argument("--size", type=int, nargs=2, default=(3000, 4000), metavar=("ROWS", "COLUMNS"))
    parser.add_argument("--only", choices=("speed", "evaluation", "quality"))
    options = parser.parse_args()
    pictures = photographs(options.photographs)
    if options.only in (None, "evaluation"):
        one_evaluation(pictures, options.runs, *options.size)
    if options.only in (None, "speed"):
        speed(pictures, options.runs, *options.size)
    if options.only in (None, "quality"):
        colour_quality(pictures)


if __name__ == "__main__":
    main()
