"""The clean samples, crops of them, noise of known kinds, and distances between images."""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from support.processes import ROOT

SAMPLES = ROOT / "sample_images"
PHOTOGRAPHS = ("camera", "brick", "coffee", "astronaut", "chelsea", "retina")


def clean(name: str, *, colour: bool = False) -> np.ndarray:
    """Return a clean sample in [0, 1]: (H, W), or (H, W, 3) in colour."""
    with Image.open(SAMPLES / "clean" / f"{name}_clean.png") as image:
        return np.asarray(image.convert("RGB" if colour else "L"), dtype=np.float64) / 255


def with_noise(image: np.ndarray, sigma: float, seed: int) -> np.ndarray:
    """Add white Gaussian noise of level sigma, neither clipped nor rounded."""
    return image + np.random.default_rng(seed).normal(0, sigma, image.shape)


def crop(image: np.ndarray, size: int = 48) -> np.ndarray:
    """Return the central size × size pixels."""
    top, left = ((length - size) // 2 for length in image.shape[:2])
    return np.ascontiguousarray(image[top : top + size, left : left + size])


def rms(difference: np.ndarray) -> float:
    """Return the root mean square."""
    return float(np.sqrt(np.mean(np.square(difference, dtype=np.float64))))


def psnr(image: np.ndarray, reference: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio in dB, for a range of 1."""
    return -20 * np.log10(rms(np.asarray(image, dtype=np.float64) - reference))


def volume(planes: int, rows: int, columns: int, seed: int = 0) -> np.ndarray:
    """Return a synthetic volume in [0, 1]: uniform ellipsoids on a background that grows lighter."""
    rng = np.random.default_rng(seed)
    shape = (planes, rows, columns)
    places = [np.arange(length) / length for length in shape]
    image = 0.1 + 0.15 * places[0][:, np.newaxis, np.newaxis] + 0.1 * places[2] * np.ones((rows, 1))
    for _ in range(60):
        middle, radii = rng.random(3), rng.uniform(0.03, 0.15, 3)
        box = tuple(np.flatnonzero(np.abs(x - m) < r) for x, m, r in zip(places, middle, radii, strict=True))
        near = [((x[part] - m) / r) ** 2 for x, part, m, r in zip(places, box, middle, radii, strict=True)]
        inside = np.add.outer(np.add.outer(near[0], near[1]), near[2]) < 1
        brightness = rng.uniform(0.2, 0.95)
        image[np.ix_(*box)] = np.where(inside, brightness, image[np.ix_(*box)])
    return image


def photons(image: np.ndarray, peak: float, seed: int = 1) -> np.ndarray:
    """Add Poisson noise of so many photons at white, and a little read noise."""
    rng = np.random.default_rng(seed)
    return rng.poisson(image * peak) / peak + rng.normal(0, 0.01, image.shape)


def correlated(shape: tuple[int, ...], sigma: float, seed: int = 1, width: float = 0.9) -> np.ndarray:
    """Return Gaussian noise of level sigma, correlated by a Gaussian filter."""
    noise = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), width, mode="wrap")
    return noise / noise.std() * sigma
