"""Parts of clean images and the noise added to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class Patches(NamedTuple):
    """A batch of patches, (images, channels, rows, columns), in units of the noise level of each, and the levels."""

    clean: NDArray[np.float32]
    noisy: NDArray[np.float32]
    levels: NDArray[np.float64]


#: The largest share of the noise that each neighbour along an axis gets in correlated noise.
_MOST_BLUR = 1 / 3


@dataclass(frozen=True, eq=False)
class Sampler:
    """Draws patches from clean images.

    images: (channels, rows, columns) each, in one unit. levels: least and largest noise level, in that unit.
    shape: rows and columns of a patch. seed: with the number of a batch it decides everything.
    growing, correlated: the shares of patches whose noise grows with the intensity, as that of photons does, and whose
    noise is correlated. The level is that of the whole image, and at low frequencies.
    """

    images: Sequence[NDArray[np.float32]]
    levels: tuple[float, float]
    shape: tuple[int, int]
    seed: int = 0
    growing: float = 0.0
    correlated: float = 0.0

    def draw(self, batch: int, count: int, level: float | None = None) -> Patches:
        """Return a batch; levels are spread evenly over their logarithms unless one is given."""
        rng = np.random.default_rng([self.seed, batch])
        low, high = np.log(self.levels)
        rows, columns = self.shape
        pixels = np.array([image[0].size for image in self.images], float)
        clean, levels, deviations, blurs = [], [], [], []
        for index in range(count):
            image = self.images[rng.choice(len(self.images), p=pixels / pixels.sum())]
            if rng.random() < 0.5:
                image = image.transpose(0, 2, 1)
            top, left = (rng.integers(a - b + 1) for a, b in zip(image.shape[1:], self.shape, strict=True))
            position = (index + rng.random()) / count
            levels.append(np.exp(low + position * (high - low)) if level is None else level)
            clean.append(image[:, top : top + rows, left : left + columns] / levels[-1])
            growth = rng.random() if self.growing and rng.random() < self.growing else 0.0
            deviations.append(_deviation(clean[-1][0] * levels[-1], image[0], growth))
            is_correlated = self.correlated and rng.random() < self.correlated
            blurs.append(rng.uniform(0, _MOST_BLUR) if is_correlated else 0.0)
        stacked = np.array(clean, np.float32)
        noise = rng.standard_normal(stacked.shape, np.float32)
        noise = _blurred(noise, np.array(blurs, np.float32)[:, None, None, None])
        noisy = stacked + np.array(deviations, np.float32)[:, None] * noise
        centre = stacked.mean(axis=(2, 3), keepdims=True)
        return Patches(stacked - centre, noisy - centre, np.array(levels))


def _deviation(
    intensity: NDArray[np.float32], image: NDArray[np.float32], growth: float
) -> NDArray[np.floating]:
    """Return the standard deviation of noise of level 1 at intensities of an image.

    growth: the part of its variance, on average over the image, that is proportional to the intensity.
    """
    mean = max(float(image.mean(dtype=np.float64)), float(np.finfo(np.float32).tiny))
    return np.sqrt(1 - growth + growth * np.maximum(intensity, 0) / mean)


def _blurred(noise: NDArray[np.float32], share: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give a share of the noise to each of the neighbours along both axes; its power at low frequencies stays."""
    for axis in (2, 3):
        beside = np.roll(noise, 1, axis) + np.roll(noise, -1, axis)
        noise = noise + share * (beside - 2 * noise)
    return noise
