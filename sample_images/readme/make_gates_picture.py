"""Makes the manual's picture of gates: a noisy sample, its denoised version, and how open its gates are.

python sample_images/readme/make_gates_picture.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from support.samples import with_noise
from tvdenoise import denoise
from tvdenoise.model.filter_engine import gates_of
from tvdenoise.model.filters import FilterPrior
from tvdenoise.model.prior_file import prior_named

SAMPLES = Path(__file__).resolve().parent.parent
SIGMA = 25 / 255
GAP, LINE = 6, 18


def main() -> None:
    """Draw the sample of a photographer: smooth sky, grass, and edges between them."""
    with Image.open(SAMPLES / "clean" / "camera_clean.png") as opened:
        clean = np.asarray(opened.convert("L"), np.float32) / 255
    noisy = with_noise(clean, SIGMA, seed=0).astype(np.float32)
    bank = prior_named("gated").suiting(1).bank
    gates = gates_of(FilterPrior(bank, SIGMA), noisy[np.newaxis] - noisy.mean())[0]
    finest, coarsest = (np.argsort(_frequencies(bank.on_image))[place] for place in (-1, 0))
    panels = {
        "noisy": noisy,
        "denoised": denoise(noisy, prior="gated", level=SIGMA).image,
        "gates, mean of all": gates.mean(axis=0),
        "gate of the finest filters": gates[finest],
        "gate of the coarsest": gates[coarsest],
    }
    height, width = noisy.shape
    canvas = Image.new("L", (len(panels) * (width + GAP) - GAP, height + LINE), 255)
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(12)
    for column, (name, panel) in enumerate(panels.items()):
        shades = np.rint(np.clip(panel, 0, 1) * 255).astype(np.uint8)
        canvas.paste(Image.fromarray(shades), (column * (width + GAP), 0))
        pen.text((column * (width + GAP) + 2, height + 2), name, 0, font)
    canvas.save(SAMPLES / "readme" / "gates.png", optimize=True)


def _frequencies(filters: np.ndarray) -> np.ndarray:
    """Return the mean squared frequency of each group of filters."""
    transforms = np.abs(np.fft.fft2(filters, (64, 64))) ** 2
    down, across = np.meshgrid(np.fft.fftfreq(64), np.fft.fftfreq(64), indexing="ij")
    power = transforms.sum(axis=(1, 2))
    return (power * (down**2 + across**2)).sum(axis=(1, 2)) / power.sum(axis=(1, 2))


if __name__ == "__main__":
    main()
