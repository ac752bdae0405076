"""Makes the manual's picture of learned filters beside total variation and BM3D.

python sample_images/readme/make_learned_picture.py

It needs scikit-image and bm3d, whose licence is not free for all uses.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "benchmarks"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
from learned_filters import best_total_variation, bm3d

from support.samples import psnr, with_noise
from tvdenoise import denoise

SAMPLES = Path(__file__).resolve().parent.parent
SIGMA = 25 / 255
SIDE, GAP, LINE = 192, 6, 18
METHODS = ("clean", "noisy", "total variation, best μ", "learned filters", "BM3D")


def main() -> None:
    """Take the sample whose gain over BM3D is the median, and the one where it is least."""
    compared = sorted((of_sample(path) for path in sorted((SAMPLES / "clean").glob("*"))), key=gain_over_bm3d)
    for results in compared:
        values = ", ".join(f"{quality(results, kind):.2f}" for kind in METHODS[1:])
        print(f"{results['name']}: {values}; over BM3D {gain_over_bm3d(results):+.2f} dB")
    shown = (compared[(len(compared) - 1) // 2], compared[0])
    canvas = Image.new(
        "L", (len(METHODS) * (SIDE + GAP) - GAP, len(shown) * (SIDE + 2 * LINE + GAP) - GAP), 255
    )
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(12)
    for row, results in enumerate(shown):
        for column, kind in enumerate(METHODS):
            left, top = column * (SIDE + GAP), row * (SIDE + 2 * LINE + GAP)
            canvas.paste(part(results[kind]), (left, top))
            text = kind.replace("μ", "mu")
            pen.text((left + 2, top + SIDE + 2), text, 0, font)
            if kind != "clean":
                pen.text((left + 2, top + SIDE + LINE), f"{quality(results, kind):.2f} dB", 96, font)
    canvas.save(SAMPLES / "readme" / "learned.png", optimize=True)


def of_sample(path: Path) -> dict[str, np.ndarray]:
    """A clean sample in grey, with noise, and denoised by each method."""
    with Image.open(path) as opened:
        if opened.mode.startswith("I"):
            clean = np.asarray(opened, np.float32) / 65535
        else:
            clean = np.asarray(opened.convert("L"), np.float32) / 255
    noisy = with_noise(clean, SIGMA, seed=0).astype(np.float32)
    results = (
        clean,
        noisy,
        best_total_variation(noisy, clean),
        denoise(noisy, prior="learned", level=SIGMA).image,
        bm3d(noisy, SIGMA),
    )
    return {"name": path.stem, **dict(zip(METHODS, results, strict=True))}


def quality(results: dict[str, np.ndarray], kind: str) -> float:
    """The PSNR of a method's result."""
    return psnr(np.clip(results[kind], 0, 1), results["clean"])


def gain_over_bm3d(results: dict[str, np.ndarray]) -> float:
    """By how much learned filters are better."""
    return quality(results, METHODS[3]) - quality(results, METHODS[4])


def part(image: np.ndarray) -> Image.Image:
    """The middle of an image, not scaled."""
    top, left = ((length - SIDE) // 2 for length in image.shape)
    inner = np.clip(image[top : top + SIDE, left : left + SIDE], 0, 1)
    return Image.fromarray(np.round(inner * 255).astype(np.uint8))


if __name__ == "__main__":
    main()
