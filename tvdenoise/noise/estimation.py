"""The noise model of an image, from the image alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tvdenoise.noise.blocks import BLOCKS, Blocks, Spectrum, spectrum_of
from tvdenoise.noise.evidence import ArrayEvidence, NoiseEvidence
from tvdenoise.noise.model import BLOCK, ChannelNoise, NoiseKind, NoiseModel
from tvdenoise.noise.single_threaded import single_threaded
from tvdenoise.noise.white import PATCHES, is_thin, sigma_of_patches, sigma_of_thin_plane

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: The part of a class's blocks, those of least energy, that is taken for noise.
_CALM_PART = 0.1
#: A tenth of that part, the calmest blocks, should tell the same level. Where it tells less than this part of
#: it, what was taken for correlated noise is texture: the variance is cut by a power of what is missing.
_CALMEST_PART, _AGREEMENT, _CUT_POWER = 0.01, 0.75, 4
#: White noise of one grey level leaves 28 % of neighbours equal, half a level 50 %; drawings and text have more.
_MOST_EQUAL = 0.45
#: A spectrum that falls by more than this from the middle to the high frequencies is correlated noise.
_CORRELATED_STEEPNESS = 3.0
#: White noise has nowhere much less than the level that the estimator for white noise reads ...
_WHITE_LEAST = 0.8
#: ... and a variance that follows the intensity so closely, over so large a ratio, is no accident.
_GROWING_CORRELATION, _GROWING_RATIO, _GROWING_CLASSES = 0.95, 3.0, 4
#: Smaller images hold too few blocks.
_LEAST_SIDE = 2 * BLOCK
_TINY = 1e-12


def estimate_planes(planes: NDArray[np.floating], where: NDArray[np.bool_] | None = None) -> NoiseModel:
    """The noise model of planes (channels, rows, columns): grey, or luminance and opponents.

    A volume (channels, planes, rows, columns) is looked at plane by plane, and its planes are taken together.

    where: (rows, columns) or (planes, rows, columns), false for pixels that say nothing of the noise.
    """
    return estimate(ArrayEvidence.of(planes, where))


@single_threaded()
def estimate(evidence: NoiseEvidence) -> NoiseModel:
    """The noise model of what this evidence was taken from."""
    channels, *sides = evidence.shape
    if evidence.equal_neighbours() > _MOST_EQUAL:
        return NoiseModel.white(0.0, channels)
    white = estimate_white(evidence)
    if min(sides) < _LEAST_SIDE:
        return white
    blocks = Blocks.of_windows(evidence.windows(BLOCKS, slice(channels)))
    spectra = [spectrum_of(blocks, channel, _CALM_PART) for channel in range(channels)]
    kind = _kind(spectra[0], white.sigma)
    if kind is NoiseKind.WHITE:
        return white
    cut = _doubt(spectra[0], blocks) if kind is NoiseKind.CORRELATED else 1.0
    found = [_channel(spectrum, blocks, kind, cut) for spectrum in spectra]
    if kind is NoiseKind.INTENSITY and _is_clipped(spectra[0]):
        found = [
            channel.at_most(max(_inner(spectrum).min(), white.sigma**2), blocks.counts)
            for channel, spectrum in zip(found, spectra, strict=True)
        ]
    return NoiseModel(kind, tuple(found), white.sigma)


def _doubt(spectrum: Spectrum, blocks: Blocks) -> float:
    """1 where the calmest blocks tell the level of the calm ones; the less the more they differ."""
    calmest = spectrum_of(blocks, 0, _CALMEST_PART)
    counts = blocks.counts
    calm_level, calmest_level = (
        np.average(each.levels, weights=counts) * each.shape.mean() for each in (spectrum, calmest)
    )
    agreement = np.sqrt(calmest_level / max(calm_level, _TINY))
    return float(min(1.0, agreement / _AGREEMENT) ** _CUT_POWER)


@single_threaded()
def estimate_white(evidence: NoiseEvidence) -> NoiseModel:
    """White noise at the median of the levels of the channels."""
    channels, *sides = evidence.shape
    if is_thin(*sides):
        levels = [sigma_of_thin_plane(plane) for plane in evidence.planes()]
    else:
        levels = [
            sigma_of_patches(evidence.windows(PATCHES, slice(channel, channel + 1)))
            for channel in range(channels)
        ]
    return NoiseModel.white(float(np.median(levels)), channels)


def _kind(spectrum: Spectrum, level: float) -> NoiseKind:
    """How the first channel's noise departs from white noise of the level."""
    if spectrum.steepness >= _CORRELATED_STEEPNESS:
        return NoiseKind.CORRELATED
    variances = spectrum.levels
    if np.sqrt(variances.min()) < _WHITE_LEAST * level:
        return NoiseKind.INTENSITY
    if len(variances) >= _GROWING_CLASSES and variances.max() > _GROWING_RATIO * variances.min():
        return NoiseKind.INTENSITY if _grows(spectrum) else NoiseKind.WHITE
    return NoiseKind.WHITE


def _grows(spectrum: Spectrum) -> bool:
    """True where the variance follows the intensity; clipping makes it fall at both ends instead."""
    if len(spectrum.levels) < 3:
        return False
    if not (
        np.ptp(spectrum.intensities) > 0 and np.ptp(spectrum.levels) > 0
    ):  # of a constant channel, for one
        return False
    return bool(np.corrcoef(spectrum.intensities, spectrum.levels)[0, 1] > _GROWING_CORRELATION)


def _inner(spectrum: Spectrum) -> NDArray[np.float64]:
    """The variances of all classes but the darkest and the brightest."""
    inner: NDArray[np.float64] = spectrum.levels[np.argsort(spectrum.intensities)][1:-1]
    return inner


def _is_clipped(spectrum: Spectrum) -> bool:
    """True where the variances are alike but for the darkest and the brightest class: white noise, clipped."""
    inner = _inner(spectrum)
    return len(inner) >= 2 and not _grows(spectrum) and bool(inner.max() <= _GROWING_RATIO * inner.min())


def _channel(spectrum: Spectrum, blocks: Blocks, kind: NoiseKind, cut: float) -> ChannelNoise:
    """One channel's noise, the energies at high frequencies turned into variances of a pixel, and cut."""
    intensities = np.array([blocks.intensities[member].mean(dtype=np.float64) for member in blocks.members])
    counts = blocks.counts
    shape = spectrum.shape if kind is NoiseKind.CORRELATED else np.ones_like(spectrum.shape)
    if kind is NoiseKind.INTENSITY and _grows(spectrum):
        variances = _affine(spectrum, counts, intensities)
    else:
        order = np.argsort(spectrum.intensities)
        variances = np.interp(intensities, spectrum.intensities[order], spectrum.levels[order]) * shape.mean()
    variances = variances * cut
    return ChannelNoise.of(intensities, variances, shape, counts)


def _affine(
    spectrum: Spectrum, counts: NDArray[np.intp], intensities: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The variances at some intensities on the straight line of Poisson–Gaussian noise: photons and reading."""
    weights = np.sqrt(counts) / (spectrum.levels + np.median(spectrum.levels) + _TINY)
    design = np.stack([np.ones_like(intensities), spectrum.intensities], axis=1) * weights[:, np.newaxis]
    offset, slope = np.linalg.lstsq(design, spectrum.levels * weights)[0]
    variances: NDArray[np.float64] = np.maximum(offset + slope * intensities, spectrum.levels.min())
    return variances
