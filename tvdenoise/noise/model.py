"""What the noise of an image is like."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import map_coordinates, uniform_filter

if TYPE_CHECKING:
    from numpy.typing import NDArray


#: Side of the blocks whose cosine transform holds a spectrum.
BLOCK = 8
#: Side of the window over which an intensity is averaged before its variance is looked up.
_WINDOW = 5
#: Points for integrals over the frequencies of one axis.
_QUADRATURE = 64
#: Estimators disagree where they differ by more than this part; levels that differ by less than 0.1 of 255 do not.
_DISAGREEMENT, _TELLING_SIGMA = 0.25, 0.4 / 255


class NoiseKind(Enum):
    """How noise departs from white noise of one level; the value is what a user reads."""

    WHITE = "white"
    INTENSITY = "varies with intensity"
    CORRELATED = "correlated"


@dataclass(frozen=True, eq=False)
class ChannelNoise:
    """The noise of one channel.

    intensities: increasing, of the first channel, where the variance is known, in data ranges.
    variances: of one pixel's noise there, in squared data ranges.
    spectrum: (8, 8), mean energy of the cosine transform's coefficients over their mean: ones for white noise.
    sigma: the noise's root mean square over the image.
    """

    intensities: NDArray[np.float64]
    variances: NDArray[np.float64]
    spectrum: NDArray[np.float64]
    sigma: float

    @classmethod
    def white(cls, sigma: float) -> ChannelNoise:
        """White noise of one level at all intensities."""
        return cls(np.zeros(1), np.full(1, sigma**2), np.ones((BLOCK, BLOCK)), sigma)

    @classmethod
    def of(
        cls,
        intensities: NDArray[np.float64],
        variances: NDArray[np.float64],
        spectrum: NDArray[np.float64],
        counts: NDArray[np.intp],
    ) -> ChannelNoise:
        """The noise whose level is the mean over classes of intensity with so many members."""
        sigma = float(np.sqrt(np.average(variances, weights=counts)))
        return cls(intensities, variances, spectrum / spectrum.mean(), sigma)

    def at_level(self, sigma: float) -> ChannelNoise:
        """The same noise at another level."""
        variances = self.variances * (sigma / self.sigma) ** 2 if self.sigma > 0 else self.variances
        return replace(self, variances=variances, sigma=sigma)

    def at_most(self, variance: float, counts: NDArray[np.intp]) -> ChannelNoise:
        """The same noise, its variance cut at a largest one."""
        return self.of(self.intensities, np.minimum(self.variances, variance), self.spectrum, counts)

    @property
    def correlation(self) -> tuple[float, float]:
        """The correlation of neighbours, one above the other and side by side."""
        frequencies = (np.arange(_QUADRATURE) + 0.5) / (2 * _QUADRATURE)
        power = self._power(frequencies, frequencies)
        cosines = np.cos(2 * np.pi * frequencies)
        return (
            float((power * cosines[:, np.newaxis]).sum() / power.sum()),
            float((power * cosines).sum() / power.sum()),
        )

    def draw(self, intensities: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.float32]:
        """Noise like this one where the first channel has these (smoothed) intensities."""
        white = rng.standard_normal(intensities.shape, np.float32)
        noise = self._coloured(white) if np.ptp(self.spectrum) > 0 else white
        deviations = np.sqrt(np.interp(intensities, self.intensities, self.variances))
        scaled: NDArray[np.float32] = np.multiply(noise, deviations).astype(np.float32)
        return scaled

    def _coloured(self, white: NDArray[np.float32]) -> NDArray[np.float64]:
        """White noise filtered to the spectrum at the same variance."""
        power = self._power(np.fft.fftfreq(white.shape[-2]), np.fft.fftfreq(white.shape[-1]))
        response = np.sqrt(power / power.mean())
        noise: NDArray[np.float64] = np.fft.ifft2(np.fft.fft2(white) * response).real
        return noise

    def _power(self, down: NDArray[np.floating], across: NDArray[np.floating]) -> NDArray[np.float64]:
        """The spectrum at frequencies in cycles a pixel, read between its points, which lie at k/16."""
        places = (np.minimum(np.abs(frequencies) * 2 * BLOCK, BLOCK - 1) for frequencies in (down, across))
        power: NDArray[np.float64] = map_coordinates(
            self.spectrum, np.meshgrid(*places, indexing="ij"), order=1, mode="nearest"
        )
        return power


@dataclass(frozen=True, eq=False)
class NoiseModel:
    """The noise of an image, channel by channel.

    kind: how it departs from white noise.
    channels: one for each plane in which it was estimated: grey, or luminance and the two opponents for RGB.
    white_sigma: the level that a second estimator, which believes in white noise, reads.
    """

    kind: NoiseKind
    channels: tuple[ChannelNoise, ...]
    white_sigma: float

    @classmethod
    def white(cls, sigma: float, channels: int) -> NoiseModel:
        """White noise of one level in every channel."""
        return cls(NoiseKind.WHITE, (ChannelNoise.white(sigma),) * channels, sigma)

    @cached_property
    def sigma(self) -> float:
        """The level: root mean square over pixels and channels, in data ranges."""
        return float(np.sqrt(np.mean([channel.sigma**2 for channel in self.channels])))

    @property
    def estimators_agree(self) -> bool:
        """True where the level is about that which an estimator for white noise reads.

        Correlation and growth with intensity are what that one cannot see: where they are found it reads less.
        """
        largest = max(self.sigma, self.white_sigma, _TELLING_SIGMA)
        return abs(self.sigma - self.white_sigma) <= _DISAGREEMENT * largest

    @property
    def growth(self) -> float:
        """The noise's standard deviation at its largest over that at its smallest, in the first channel."""
        variances = self.channels[0].variances
        least = max(float(variances.min()), 1e-12)
        return float(np.sqrt(max(float(variances.max()), least) / least))

    def draw(self, planes: NDArray[np.floating], seed: int) -> NDArray[np.float32]:
        """Noise like this one for an image (channels, rows, columns), or plane by plane for a volume."""
        rng = np.random.default_rng(seed)
        intensities = uniform_filter(planes[0], _WINDOW, mode="nearest", axes=(-2, -1))
        return np.stack([channel.draw(intensities, rng) for channel in self.channels])
