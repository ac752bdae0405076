"""How well missing pixels are filled, on the sample photographs in grey.

    python tests/benchmarks/filling.py
    python tests/benchmarks/filling.py --sigma 25/255

5 % of single pixels scattered by seed, and holes of 16×16 pixels at ten seeded places, each time in every
photograph. Printed are the PSNR on the missing pixels against the clean photograph, beside that of the mean of the
known pixels nearby, from which a solve starts, and the evaluations.
"""

from __future__ import annotations

import argparse
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
from support.samples import PHOTOGRAPHS, clean, psnr, with_noise
from tvdenoise import denoise
from tvdenoise.images.data import fill

SIDE, HOLES = 16, 10


def scattered(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """True for 5 % of the pixels."""
    return np.random.default_rng(seed).random(shape) < 0.05


def holes(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """True in squares at seeded places."""
    missing = np.zeros(shape, bool)
    corners = np.random.default_rng(seed).integers(0, np.array(shape) - SIDE, (HOLES, 2))
    for top, left in corners:
        missing[top : top + SIDE, left : left + SIDE] = True
    return missing


def main() -> None:
    """Print a line for each photograph and kind."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sigma", type=Fraction, default=Fraction(0), help="of white noise that is added")
    sigma = float(parser.parse_args().sigma)
    for title, make in (("5 % of single pixels", scattered), ("10 holes of 16×16", holes)):
        print(f"{title}, noise {sigma * 255:g}/255")
        levels = []
        for seed, name in enumerate(PHOTOGRAPHS):
            reference = clean(name)
            missing = make(reference.shape, seed)
            image = with_noise(reference, sigma, seed).astype(np.float32)
            first = image.copy()[np.newaxis]
            fill(first, missing)
            image[missing] = np.nan
            solution = denoise(image, nan="fill")
            levels.append(psnr(solution.image[missing], reference[missing]))
            print(
                f"  {name}: {levels[-1]:.1f} dB (mean of what is near: "
                f"{psnr(first[0][missing], reference[missing]):.1f} dB), {solution.iterations} evaluations"
            )
        print(f"  mean {np.mean(levels):.1f} dB, least {min(levels):.1f} dB")


if __name__ == "__main__":
    main()
