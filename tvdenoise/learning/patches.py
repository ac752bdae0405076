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


@dataclass(frozen=True, eq=False)
class Sampler:
    """Draws patches from clean images.

    images: (channels, rows, columns) each, in one unit. levels: least and largest noise level, in that unit.
    shape: rows and columns of a patch. seed: with the number of a batch it decides everything.
    """

    images: Sequence[NDArray[np.float32]]
    levels: tuple[float, float]
    shape: tuple[int, int]
    seed: int = 0

    def draw(self, batch: int, count: int, level: float | None = None) -> Patches:
        """Return a batch; levels are spread evenly over their logarithms unless one is given."""
        rng = np.random.default_rng([self.seed, batch])
        low, high = np.log(self.levels)
        rows, columns = self.shape
        pixels = np.array([image[0].size for image in self.images], float)
        clean, levels = [], []
        for index in range(count):
            image = self.images[rng.choice(len(self.images), p=pixels / pixels.sum())]
            if rng.random() < 0.5:
                image = image.transpose(0, 2, 1)
            top, left = (rng.integers(a - b + 1) for a, b in zip(image.shape[1:], self.shape, strict=True))
            position = (index + rng.random()) / count
            levels.append(np.exp(low + position * (high - low)) if level is None else level)
            clean.append(image[:, top : top + rows, left : left + columns] / levels[-1])
        stacked = np.array(clean, np.float32)
        noisy = stacked + rng.standard_normal(stacked.shape, np.float32)
        centre = stacked.mean(axis=(2, 3), keepdims=True)
        return Patches(stacked - centre, noisy - centre, np.array(levels))
