"""Learned filters beside total variation and BM3D, on pictures whose clean version is known.

    python tests/benchmarks/learned_filters.py white FOLDER [--colour]     # white noise, added to clean pictures
    python tests/benchmarks/learned_filters.py pairs NOISY CLEAN           # two folders, matched in sorted order
    python tests/benchmarks/learned_filters.py harm FOLDER...              # pictures without noise to remove
    python tests/benchmarks/learned_filters.py harm CLEAN NOISY --shots N  # means of N shots like the noisy ones
    python tests/benchmarks/learned_filters.py faint FOLDER [--colour]     # noise that rounding to 8 bits nearly hides
    python tests/benchmarks/learned_filters.py speed [--colour]            # seconds at one megapixel
    python tests/benchmarks/learned_filters.py kernel                      # one evaluation, and a matrix product

All columns have the mean PSNR in dB of the same noisy pictures:

noisy     the input
tv        total variation with the best μ for each picture, or with the chosen one for pairs
given     learned filters at the level of the noise
chosen    learned filters, the level chosen for the noise that is found
bm3d      BM3D or CBM3D, told the noise level (with --bm3d; pip install bm3d, whose licence is not free for all uses)

--prior takes the files of other priors, one column each. Processor seconds are those of one picture.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import minimize_scalar
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))
from parameter_choice import axis_of, pictures

from support.samples import PHOTOGRAPHS, clean, psnr, rms, with_noise
from tvdenoise import denoise
from tvdenoise.machine import available_threads
from tvdenoise.model.colour import RGB_CHANNELS
from tvdenoise.model.filter_engine import FilterEngine, Kernels
from tvdenoise.model.filter_kernels import line_pitch
from tvdenoise.model.filters import FilterObjective, FilterPrior
from tvdenoise.model.kernels import kernel
from tvdenoise.model.prior_file import prior_named
from tvdenoise.model.products import PITCH, WIDTH, multiply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tvdenoise.model.filters import FilterBank

SIDE = 500
MEGAPIXEL = (1000, 1000)
#: The standard deviation of rounding to 8 bits.
ROUNDING = 1 / 255 / np.sqrt(12)


def best_total_variation(noisy: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The result with the μ of the highest PSNR."""
    axis = axis_of(truth)
    centre = np.log(denoise(noisy, channel_axis=axis).mu)

    def loss(log_mu: float) -> float:
        return -psnr(denoise(noisy, float(np.exp(log_mu)), channel_axis=axis).image, truth)

    found = minimize_scalar(loss, bounds=(centre - 0.7, centre + 0.7), options={"xatol": 0.02})
    return denoise(noisy, float(np.exp(found.x)), channel_axis=axis).image


def bm3d(noisy: np.ndarray, sigma: float) -> np.ndarray:
    """The result of the reference implementation."""
    import bm3d

    if noisy.ndim == 3:
        return np.asarray(bm3d.bm3d_rgb(noisy.astype(float), sigma))
    return np.asarray(bm3d.bm3d(noisy.astype(float), sigma))


def methods_of(
    given: argparse.Namespace, sigma: float | None
) -> dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]]:
    """The methods by the name of their column: functions of the noisy and the clean picture."""
    methods: dict[str, Any] = {"noisy": lambda noisy, _: noisy}
    if sigma is None:
        methods["tv"] = lambda noisy, _: denoise(noisy, channel_axis=axis_of(noisy)).image
    else:
        methods["tv"] = best_total_variation
    for prior in given.prior:
        name = "" if prior == "learned" else f" {Path(prior).stem}"
        if sigma is not None:
            methods[f"given{name}"] = lambda noisy, _, prior=prior: (
                denoise(noisy, prior=prior, level=sigma, channel_axis=axis_of(noisy)).image
            )
        methods[f"chosen{name}"] = lambda noisy, _, prior=prior: (
            denoise(noisy, prior=prior, channel_axis=axis_of(noisy)).image
        )
    if given.bm3d and sigma is not None:
        methods["bm3d"] = lambda noisy, _: bm3d(noisy, sigma)
    return methods


def table(
    title: str,
    pairs: Iterable[tuple[np.ndarray, np.ndarray]],
    methods: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]],
) -> None:
    """Print the mean PSNR of each method, and its processor seconds a picture."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in methods}
    for noisy, truth in pairs:
        for name, method in methods.items():
            start = time.process_time()
            result = method(noisy, truth)
            found[name].append((psnr(np.clip(result, 0, 1), truth), time.process_time() - start))
    count = len(found["noisy"])
    print(f"\n{title}, {count} pictures")
    for name, values in found.items():
        decibels, seconds = np.mean(values, axis=0)
        print(f"  {name:20} {decibels:6.2f} dB {seconds:8.2f} s", flush=True)


def white(given: argparse.Namespace) -> None:
    truths = [
        truth[:SIDE, :SIDE]
        for index, (_, truth) in enumerate(pictures(given.folders[0], grey=not given.colour))
        if index % given.stride == 0
    ]
    for level in given.levels:
        sigma = level / 255
        pairs = (
            (with_noise(truth, sigma, seed=k).astype(np.float32), truth) for k, truth in enumerate(truths)
        )
        table(f"white noise {level:g}/255", pairs, methods_of(given, sigma))


def pairs(given: argparse.Namespace) -> None:
    noisy, truth = (list(pictures(folder)) for folder in given.folders)
    both = [(a, b) for (_, a), (_, b) in zip(noisy, truth, strict=True)][:: given.stride]
    table(f"pairs in {given.folders[0]}", both, methods_of(given, None))


def at_8_bits(picture: np.ndarray) -> np.ndarray:
    """The integers that a file of 8 bits holds."""
    return np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8)


def harm(given: argparse.Namespace) -> None:
    """Files of 8 bits that should come back as they are.

    Prints the mean and the least PSNR of what comes back at 8 bits (99 dB if it is the same), and the median of the
    change before rounding over the noise that was found. With --shots, the folder is followed by one of single shots,
    of so many of which the clean pictures are means, and the change is also divided by the noise that such means keep,
    with that of their rounding to 8 bits.
    """
    folders = given.folders[:1] if given.shots else given.folders
    for folder in folders:
        truths = list(pictures(folder))[:: given.stride]
        shots = list(pictures(given.folders[1]))[:: given.stride] if given.shots else []
        print(f"\nclean pictures of {folder}, {len(truths)} pictures")
        for prior in ("tv", *given.prior):
            kept, parts, of_mean = [], [], []
            for index, (name, truth) in enumerate(truths):
                stored = at_8_bits(truth)
                solution = denoise(stored, prior=prior, channel_axis=axis_of(truth))
                result = at_8_bits(solution.image)
                same = np.array_equal(result, stored)
                kept.append((99 if same else min(psnr(result / 255, stored / 255), 99), name))
                if solution.sigma:
                    change = rms(solution.image - truth)
                    parts.append(change / solution.sigma)
                    if shots:
                        left = rms(shots[index][1] - truth) / np.sqrt(given.shots)
                        of_mean.append(change / np.hypot(left, ROUNDING))
            values = np.array([value for value, _ in kept])
            known = f", {np.median(of_mean):.2f} of that in a mean of shots" if of_mean else ""
            print(
                f"  {prior:20} {values.mean():6.2f} dB, worst {min(kept)[1]} {values.min():.1f}, "
                f"change {np.median(parts):.2f} of the noise found{known}",
                flush=True,
            )


def faint(given: argparse.Namespace) -> None:
    """Faint noise in 8-bit pictures, before and after denoising with its level given, at 8 bits.

    The pictures are reduced to half their size, which leaves them little noise of their own.
    """
    truths = [
        reduced(truth)
        for index, (_, truth) in enumerate(pictures(given.folders[0], grey=not given.colour))
        if index % given.stride == 0
    ]
    for level in given.levels:
        kept: dict[str, list[float]] = {}
        for seed, truth in enumerate(truths):
            stored = at_8_bits(with_noise(truth, level / 255, seed))
            kept.setdefault("noisy", []).append(psnr(stored / 255, truth))
            sigma = float(np.hypot(level / 255, ROUNDING))
            for prior in ("tv", *given.prior):
                result = denoise(stored, prior=prior, sigma=sigma, channel_axis=axis_of(stored)).image
                kept.setdefault(prior, []).append(psnr(at_8_bits(result) / 255, truth))
        print(f"\nnoise of {level:g}/255, rounded, {len(truths)} pictures")
        for name, values in kept.items():
            print(f"  {name:20} {np.mean(values):6.2f} dB", flush=True)


def reduced(picture: np.ndarray) -> np.ndarray:
    """The means of 2×2 pixels."""
    rows, columns = (length // 2 for length in picture.shape[:2])
    parts = picture[: 2 * rows, : 2 * columns].reshape(rows, 2, columns, 2, *picture.shape[2:])
    means: np.ndarray = parts.mean(axis=(1, 3))
    return means


def speed(given: argparse.Namespace) -> None:
    sample = clean(PHOTOGRAPHS[2], colour=given.colour)
    tiles = (
        -(-MEGAPIXEL[0] // sample.shape[0]),
        -(-MEGAPIXEL[1] // sample.shape[1]),
        *(1,) * (sample.ndim - 2),
    )
    truth = np.tile(sample, tiles)[: MEGAPIXEL[0], : MEGAPIXEL[1]].astype(np.float32)
    sigma = 25 / 255
    noisy = with_noise(truth, sigma, seed=0).astype(np.float32)
    methods = {
        f"learned {prior}": lambda prior=prior: denoise(
            noisy, prior=prior, level=sigma, channel_axis=axis_of(noisy)
        )
        for prior in given.prior
    }
    if given.bm3d:
        methods["bm3d"] = lambda: bm3d(noisy, sigma)
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    for _ in range(given.runs):
        for name, method in methods.items():
            start = time.perf_counter()
            solution = method()
            seconds[name].append(time.perf_counter() - start)
            if name != "bm3d":
                certified = solution.distance_bound / sigma
                print(f"  {name}: {solution.iterations} evaluations, certified within {certified:.3f} σ")
    for name, values in seconds.items():
        print(f"{name}: {np.median(values):.2f} s")


@kernel
def multiply_often(result, source, products, n, times):
    for _ in range(times):
        multiply(result, source, products, n)


def kernels(given: argparse.Namespace) -> None:
    """Compare an evaluation, and its products alone, with a matrix product of the same size."""
    for name in given.prior:
        bank = prior_named(name).suiting(RGB_CHANNELS if given.colour else 1).bank
        print(f"\n{name}: {bank.count} filters, {bank.channels} channels")
        works = works_of(bank)
        seconds: dict[str, list[float]] = {work: [] for work in works}
        with threadpool_limits(1):
            for _ in range(given.runs + 1):
                for work, (run, _, _) in works.items():
                    start = time.perf_counter()
                    run()
                    seconds[work].append(time.perf_counter() - start)
        for work, (_, pixels, operations) in works.items():
            nanoseconds = np.median(seconds[work][1:]) / pixels * 1e9
            rate = (
                "" if operations is None else f", {operations / nanoseconds:.0f} billion operations a second"
            )
            print(f"  {work:26} {nanoseconds:7.2f} ns a pixel{rate}")


def works_of(bank: FilterBank) -> dict[str, tuple[Callable[[], object], int, int | None]]:
    """What to measure: functions, the number of pixels that each treats, and the operations for one of them."""
    picture = np.tile(clean(PHOTOGRAPHS[0], colour=False), (3, 3))[: MEGAPIXEL[0], : MEGAPIXEL[1]]
    noisy = np.repeat(with_noise(picture, 0.1, seed=0).astype(np.float32)[np.newaxis], bank.channels, axis=0)
    objective = FilterObjective(noisy, FilterPrior(bank, 0.1))
    one, all_threads = (
        FilterEngine(objective, noisy, threads, preconditioned=False) for threads in (1, available_threads())
    )
    fine = Kernels(bank, 1.0, np.float32).fine
    products, shape, times = fine.packed.forward, fine.layout.shape, 10_000
    folds = shape.folds, line_pitch(shape.radius * shape.step)
    source = np.random.default_rng(0).random(folds, np.float32)
    responses = np.zeros((shape.responses, PITCH), np.float32)
    left, right = (
        np.ones((shape.responses, shape.folds * shape.side), np.float32),
        np.ones((shape.folds * shape.side, picture.size), np.float32),
    )
    return {
        "evaluation, 1 thread": (lambda: one.advance(0.0), picture.size, None),
        f"evaluation, {available_threads()} threads": (lambda: all_threads.advance(0.0), picture.size, None),
        "products, 1 thread": (
            lambda: multiply_often(responses, source, products, WIDTH, times),
            WIDTH * times,
            2 * len(products.weights),
        ),
        "matrix product, 1 thread": (lambda: left @ right, picture.size, 2 * left.size),
    }


COMMANDS = {"white": white, "pairs": pairs, "harm": harm, "faint": faint, "speed": speed, "kernel": kernels}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=tuple(COMMANDS))
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--prior", nargs="+", default=["learned"])
    parser.add_argument("--levels", nargs="+", type=float, default=[15.0, 25.0, 50.0], help="of 255")
    parser.add_argument("--colour", action="store_true")
    parser.add_argument("--bm3d", action="store_true")
    parser.add_argument("--stride", type=int, default=1, help="use every Nth picture")
    parser.add_argument("--shots", type=int, help="the pictures of harm are means of so many shots")
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    COMMANDS[given.what](given)


if __name__ == "__main__":
    main()
