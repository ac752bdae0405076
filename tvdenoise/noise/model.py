"""The noise model of an image: level, growth with intensity, and spectrum, channel by channel."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from tvdenoise.images.windows import window_sums

if TYPE_CHECKING:
    from numpy.typing import NDArray


#: Side of the blocks whose cosine transform gives the spectrum.
BLOCK = 8
#: Intensities are averaged over this distance (rows and columns) before the variance is looked up.
_REACH = 2
#: Quadrature points for integrals over the frequencies of one axis.
_QUADRATURE = 64
#: Estimators disagree if they differ by more than this part, of a level of at least this part of a step.
_DISAGREEMENT, _RELEVANT_STEPS = 0.25, 0.4
#: Variances below this part of the largest do not count as smaller.
_LEAST_VARIANCE = 1e-12


class NoiseKind(Enum):
    """How noise departs from white noise of one level; the values appear in the output."""

    WHITE = "white"
    INTENSITY = "varies with intensity"
    CORRELATED = "correlated"


@dataclass(frozen=True, eq=False)
class ChannelNoise:
    """The noise of one channel.

    intensities: intensities of the first channel at which the variance is known, increasing, in data ranges.
    variances: the variance of a pixel's noise at each, in squared data ranges.
    spectrum: (8, 8), energies of the cosine transform relative to their mean; ones for white noise.
    sigma: the root mean square of the noise over the image, in data ranges.
    """

    intensities: NDArray[np.float64]
    variances: NDArray[np.float64]
    spectrum: NDArray[np.float64]
    sigma: float

    @classmethod
    def white(cls, sigma: float) -> ChannelNoise:
        """Return white noise of one level at all intensities."""
        return cls(np.zeros(1), np.full(1, sigma**2), np.ones((BLOCK, BLOCK)), sigma)

    @classmethod
    def of(
        cls,
        intensities: NDArray[np.float64],
        variances: NDArray[np.float64],
        spectrum: NDArray[np.float64],
        counts: NDArray[np.intp],
    ) -> ChannelNoise:
        """Return noise with these variances in classes of ``counts`` members, over which sigma is averaged."""
        sigma = float(np.sqrt(np.average(variances, weights=counts)))
        return cls(intensities, variances, spectrum / spectrum.mean(), sigma)

    def moved(self, factor: float, offset: float) -> ChannelNoise:
        """Return the noise of the image times ``factor``, plus ``offset`` in the first channel."""
        return ChannelNoise(
            self.intensities * factor + offset, self.variances * factor**2, self.spectrum, self.sigma * factor
        )

    def at_level(self, sigma: float) -> ChannelNoise:
        """Return the noise scaled to another level."""
        variances = self.variances * (sigma / self.sigma) ** 2 if self.sigma > 0 else self.variances
        return replace(self, variances=variances, sigma=sigma)

    def at_most(self, variance: float, counts: NDArray[np.intp]) -> ChannelNoise:
        """Return the noise with its variance limited."""
        return self.of(self.intensities, np.minimum(self.variances, variance), self.spectrum, counts)

    @property
    def correlation(self) -> tuple[float, float]:
        """The correlation of vertical and of horizontal neighbours."""
        frequencies = (np.arange(_QUADRATURE) + 0.5) / (2 * _QUADRATURE)
        power = self._power(frequencies, frequencies)
        cosines = np.cos(2 * np.pi * frequencies)
        return (
            float((power * cosines[:, np.newaxis]).sum() / power.sum()),
            float((power * cosines).sum() / power.sum()),
        )

    def draw(self, intensities: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.float32]:
        """Draw noise of this kind for the (smoothed) intensities of the first channel."""
        white = rng.standard_normal(intensities.shape, np.float32)
        noise = self._coloured(white) if np.ptp(self.spectrum) > 0 else white
        deviations = np.sqrt(np.interp(intensities, self.intensities, self.variances))
        scaled: NDArray[np.float32] = np.multiply(noise, deviations).astype(np.float32)
        return scaled

    def _coloured(self, white: NDArray[np.float32]) -> NDArray[np.float64]:
        """Filter white noise to the spectrum, keeping its variance."""
        power = self._power(np.fft.fftfreq(white.shape[-2]), np.fft.fftfreq(white.shape[-1]))
        response = np.sqrt(power / power.mean())
        noise: NDArray[np.float64] = np.fft.ifft2(np.fft.fft2(white) * response).real
        return noise

    def _power(self, down: NDArray[np.floating], across: NDArray[np.floating]) -> NDArray[np.float64]:
        """Interpolate the spectrum, whose points lie at k/16, at frequencies in cycles per pixel."""
        power: NDArray[np.float64] = _hats(down) @ self.spectrum @ _hats(across).T
        return power


def _hats(frequencies: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the weights (frequencies, 8) of a spectrum's points in its linear interpolation."""
    places = np.minimum(np.abs(frequencies) * 2 * BLOCK, BLOCK - 1)
    weights: NDArray[np.float64] = np.maximum(1 - np.abs(places[:, np.newaxis] - np.arange(BLOCK)), 0)
    return weights


@dataclass(frozen=True, eq=False)
class NoiseModel:
    """The noise of an image, channel by channel.

    kind: how it departs from white noise.
    channels: the noise of each channel: grey, or luminance and the two opponents for RGB.
    white_sigma: the level from a second estimator, which assumes white noise.
    step: the step of integer intensities, in data ranges; 0 for floats.
    """

    kind: NoiseKind
    channels: tuple[ChannelNoise, ...]
    white_sigma: float
    step: float = 0.0

    @classmethod
    def white(cls, sigma: float, channels: int) -> NoiseModel:
        """Return white noise of one level in every channel."""
        return cls(NoiseKind.WHITE, (ChannelNoise.white(sigma),) * channels, sigma)

    @property
    def chroma(self) -> NoiseModel:
        """The noise of the opponents alone."""
        return replace(self, channels=self.channels[1:])

    def moved(self, factor: float, offset: float) -> NoiseModel:
        """Return the noise of the image times ``factor``, plus ``offset`` in the first channel."""
        channels = tuple(channel.moved(factor, offset) for channel in self.channels)
        return NoiseModel(self.kind, channels, self.white_sigma * factor, self.step * factor)

    @cached_property
    def sigma(self) -> float:
        """The level: the root mean square over pixels and channels, in data ranges."""
        return float(np.sqrt(np.mean([channel.sigma**2 for channel in self.channels])))

    @property
    def estimators_agree(self) -> bool:
        """True if the level is close to the white-noise estimate.

        That estimator is blind to correlation and growth with intensity, and too low if there is any.
        """
        largest = max(self.sigma, self.white_sigma, _RELEVANT_STEPS * self.step)
        return abs(self.sigma - self.white_sigma) <= _DISAGREEMENT * largest

    @property
    def growth(self) -> float:
        """The ratio of the largest to the smallest standard deviation of the noise, in the first channel."""
        variances = self.channels[0].variances
        largest = float(variances.max())
        least = max(float(variances.min()), _LEAST_VARIANCE * largest)
        return float(np.sqrt(largest / least)) if least > 0 else 1.0

    def draw(self, planes: NDArray[np.floating], seed: int) -> NDArray[np.float32]:
        """Draw noise of this kind for planes (channels, rows, columns), or plane by plane for a volume."""
        rng = np.random.default_rng(seed)
        intensities = planes[0]
        if any(np.ptp(channel.variances) > 0 for channel in self.channels):
            side = 2 * _REACH + 1
            intensities = window_sums(planes[0], _REACH, "edge", np.float64) / side**2
        return np.stack([channel.draw(intensities, rng) for channel in self.channels])
