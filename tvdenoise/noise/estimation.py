"""Estimators of the noise of an image, from the image alone.

The level of white noise follows Liu, Tanaka and Okutomi, Single-image noise level estimation for blind denoising,
IEEE TIP 22(12), 2013: the variance is the smallest eigenvalue of the covariance of patches whose gradient energy
is low enough for pure noise.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import ThreadpoolController

from tvdenoise.model.colour import RGB_CHANNELS
from tvdenoise.noise.blocks import BLOCKS, Blocks, Spectrum, spectrum_of, without_edges
from tvdenoise.noise.evidence import ArrayEvidence, NoiseEvidence, WindowGrid
from tvdenoise.noise.model import BLOCK, ChannelNoise, NoiseKind, NoiseModel

if TYPE_CHECKING:
    from numpy.typing import NDArray


@contextmanager
def single_threaded() -> Iterator[None]:
    """Limit BLAS to one thread: small covariances gain nothing from more, and idle threads that spin take cores from
    the other processes of a batch."""
    # A controller knows the libraries that are loaded when it is made, and others may follow.
    with ThreadpoolController().limit(limits=1, user_api="blas"):
        yield


_SIDE = 7
#: The grid of patches.
PATCHES = WindowGrid(_SIDE, stride=2, most=100_000)
#: If pixels are excluded, patches are made smaller until there are so many for each of their pixels; too few have too
#: small an eigenvalue, and the smallest side takes more texture for noise.
_PATCHES_PER_PIXEL, _SMALLER_SIDES = 50, (5, 3)
_ROUNDS = 3
#: Relative changes of the variance below this end the rounds.
_SETTLED = 0.005
#: The quantile of the gamma distribution that 1 − 1e-6 of pure-noise patches do not exceed, by the rank of the
#: gradient energy; for patches of 7, 5 and 3 pixels.
_QUANTILES = {45: 52.599064780726216, 21: 33.573254366197, 5: 17.94409343980521}
#: With fewer patches for each of their pixels, the smallest eigenvalue of the covariance is far too low.
_LEAST_PER_PIXEL = 4
#: The number of patches per batch, which fits the cache.
_PATCHES_AT_A_TIME = 8192
#: A plane with a shorter side counts as thin: it has too few patches.
_LEAST_SHAPE = 32
_MEDIAN_OF_ABSOLUTE_NORMAL = 0.6744897501960817
#: The part of the bias for pure noise that is corrected.
_BIAS = 0.5


def is_thin(rows: int, columns: int) -> bool:
    """Return True for planes with too few patches."""
    return min(rows, columns) < _LEAST_SHAPE


def sigma_of_patches(windows: NDArray[np.floating]) -> float:
    """Estimate the level σ of white noise from the patches (..., side, side) of a plane, in its intensity units."""
    side = windows.shape[-1]
    pixels = np.moveaxis(windows, (-2, -1), (0, 1)).reshape(side * side, -1).astype(np.float32, order="C")
    means = pixels.mean(axis=0)
    pixels -= means  # what is left is small, and its products are exact enough in single precision
    means -= means.mean(dtype=np.float64)
    energies = _gradient_energies(pixels, side)
    variance = _smallest_eigenvalue(pixels, means)
    for _ in range(_ROUNDS):
        weak = np.flatnonzero(energies < variance * _energy_threshold(side))
        if len(weak) < _LEAST_PER_PIXEL * side * side:
            break
        before, variance = variance, _smallest_eigenvalue(pixels.take(weak, axis=1), means[weak])
        if abs(variance - before) <= _SETTLED * before:
            break
    return float(np.sqrt(variance))


def _gradient_energies(pixels: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Return the gradient energies of patches (side², patches), by central differences."""
    energies = np.empty(pixels.shape[1], np.float32)
    for first in range(0, len(energies), _PATCHES_AT_A_TIME):
        part = slice(first, first + _PATCHES_AT_A_TIME)
        patches = pixels[:, part].reshape(side, side, -1)
        across, down = patches[:, 2:] - patches[:, :-2], patches[2:] - patches[:-2]
        total = np.square(across, out=across).sum(axis=(0, 1))
        total += np.square(down, out=down).sum(axis=(0, 1))
        energies[part] = total / 4
    return energies


def sigma_of_thin_plane(plane: NDArray[np.floating]) -> float:
    """Estimate σ for a plane (rows, columns) with too few patches; 0 below three pixels.

    From the median absolute second difference along the longer side, assuming normal noise.
    """
    if max(plane.shape) < 3:
        return 0.0
    second = np.diff(plane, 2, axis=int(np.argmax(plane.shape)))
    return float(np.median(np.abs(second)) / (_MEDIAN_OF_ABSOLUTE_NORMAL * np.sqrt(6)))


def _smallest_eigenvalue(pixels: NDArray[np.float32], means: NDArray[np.float32]) -> float:
    """Return the smallest eigenvalue of the covariance of patches, less its bias; see `covariance_of_patches`."""
    if len(means) < 2:
        return 0.0
    smallest = max(float(np.linalg.eigvalsh(covariance_of_patches(pixels, means))[0]), 0.0)
    # A sample's smallest eigenvalue is too small by (1 − √(dimensions/patches))² for pure noise (Marchenko and
    # Pastur, Math. USSR-Sb. 1(4), 1967), and by less in images, whose texture takes up some of the dimensions.
    return smallest / (1 - _BIAS * min(float(np.sqrt(len(pixels) / len(means))), 1.0)) ** 2


def covariance_of_patches(pixels: NDArray[np.float32], means: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the covariance of two patches or more: pixels (pixels, patches), less their means (patches).

    A constant may be subtracted from all means.
    """
    products = np.zeros((len(pixels), len(pixels)))
    total = np.full(len(pixels), means.sum(dtype=np.float64))
    for first in range(0, len(means), _PATCHES_AT_A_TIME):
        part = slice(first, first + _PATCHES_AT_A_TIME)
        values, levels = pixels[:, part], means[part]
        with_level = values @ levels
        products += values @ values.T
        products += np.add.outer(with_level, with_level) + np.square(levels, dtype=np.float64).sum()
        total += values.sum(axis=1)
    covariance: NDArray[np.float64] = (products - np.outer(total, total) / len(means)) / (len(means) - 1)
    return covariance


@cache
def _gradient_form(side: int) -> NDArray[np.float64]:
    """Return the quadratic form of a patch's gradient energy, by central differences."""
    inner = np.zeros((side - 2, side))
    inner[np.arange(side - 2), np.arange(side - 2)] = -0.5
    inner[np.arange(side - 2), np.arange(side - 2) + 2] = 0.5
    across, down = np.kron(np.eye(side), inner), np.kron(inner, np.eye(side))
    form: NDArray[np.float64] = across.T @ across + down.T @ down
    return form


@cache
def _energy_threshold(side: int) -> float:
    """Return the gradient energy of unit white noise (about gamma distributed) at the confidence level."""
    form = _gradient_form(side)
    trace, rank = np.trace(form), np.linalg.matrix_rank(form)
    return float(_QUANTILES[int(rank)] * 2 * trace / rank)


#: The part of a class's blocks, those of least energy, that counts as noise.
_CALM_PART = 0.1
#: The calmest tenth of those blocks should give the same level. If it gives less than this part of it, the supposed
#: correlated noise is texture, and the variance is cut by this power of the shortfall.
_CALMEST_PART, _AGREEMENT, _CUT_POWER = 0.01, 0.75, 4
#: White noise of one grey level leaves 28 % of neighbours equal, of half a level 50 %; drawings and text have more.
_MOST_EQUAL = 0.45
#: Noise is correlated if its spectrum falls by more than this from the middle to the high frequencies.
_CORRELATED_STEEPNESS = 3.0
#: If it falls by more than the first, it may still be white noise with edges: then it falls by less than the second
#: where most of the blocks are.
_DOUBTFUL_STEEPNESS, _WHITE_STEEPNESS = 1.5, 1.2
#: White noise has the same level in luminance and opponents. If the median level is less than half that of the
#: luminance, the opponents were smoothed, unless the luminance exceeds it by less than the second level (a part of the
#: span of the luminance), which may be texture.
_SMOOTH_CHROMA, _LEAST_LUMINANCE_SIGMA = 2.0, 3.0 / 255
#: The percentiles of the blocks' intensities between which the span lies: a few outliers do not count.
_SPAN = (0.5, 99.5)
#: Correlated noise of real cameras is up to four times as strong in luminance as in the opponents; texture more.
_MOST_LUMINANCE = 6.0
#: The steepest spectrum of opponents whose noise no processing has correlated, which is at least at this level (a part
#: of the span of the luminance): fainter noise may be that of rounding alone.
_FLAT_STEEPNESS, _LEAST_FLAT_SIGMA = 2.0, 0.5 / 255
#: Noise that is independent in red, green and blue is, in the luminance, not so much above that in the opponents.
_MOST_OVER_OPPONENTS = 1.3
#: No intensity of white noise has a level much below the white-noise estimate ...
_WHITE_LEAST = 0.8
#: ... and variance that follows the intensity this closely, over this ratio, is no accident.
_GROWING_CORRELATION, _GROWING_RATIO, _GROWING_CLASSES = 0.95, 3.0, 4
#: ... where classes are left out, of the others.
_GROWING_CORRELATION_BESIDE_EDGES = 0.99
#: Smaller images have too few blocks, and so have others of which so few hold no excluded pixel.
_LEAST_SIDE, _LEAST_WHOLE_BLOCKS = 2 * BLOCK, 300
#: The energy of rounding to single precision, for intensities with a span of about 1.
_TINY = 1e-14


def estimate_planes(planes: NDArray[np.floating], where: NDArray[np.bool_] | None = None) -> NoiseModel:
    """Estimate the noise model of planes (channels, rows, columns): grey, or luminance and opponents.

    For a volume (channels, planes, rows, columns), noise is estimated within planes and pooled over them.

    where: (rows, columns) or (planes, rows, columns), false for pixels without information on the noise.
    """
    return estimate(ArrayEvidence.of(planes, where))


@single_threaded()
def estimate(evidence: NoiseEvidence) -> NoiseModel:
    """Estimate the noise model from evidence."""
    channels = evidence.shape[0]
    if evidence.equal_neighbours() > _MOST_EQUAL:
        return NoiseModel.white(0.0, channels)
    levels = _white_levels(evidence)
    white = NoiseModel.white(float(np.median(levels)), channels)
    if _has_few_blocks(evidence):
        return white
    blocks = Blocks.of_windows(evidence.windows(BLOCKS, slice(channels)))
    spectra = [spectrum_of(blocks, channel, _CALM_PART) for channel in range(channels)]
    limited = _limited_at_edges(spectra, blocks)
    if _has_smooth_chroma(levels, blocks) and limited[0].steepness < _CORRELATED_STEEPNESS:
        opponents = (_channel(spectrum, blocks, NoiseKind.CORRELATED, 1.0) for spectrum in limited[1:])
        return NoiseModel(NoiseKind.CORRELATED, (ChannelNoise.white(levels[0]), *opponents), white.sigma)
    found = _of_luminance(limited, blocks, white)
    if channels == RGB_CHANNELS and _has_flat_opponents(spectra, blocks, white.sigma):
        least = _of_opponents(spectra[1:], blocks, white)
        found = least if found.channels[0].sigma > _MOST_OVER_OPPONENTS * least.channels[0].sigma else found
    return found


def _limited_at_edges(spectra: list[Spectrum], blocks: Blocks) -> list[Spectrum]:
    """Return the spectra, measured again where edges make that of the luminance steep, and without bare edges."""
    if spectra[0].steepness >= _DOUBTFUL_STEEPNESS:
        # In most classes of a drawing's intensities there are nothing but edges, whose spectrum is steep.
        others = [spectrum_of(blocks, k, _CALM_PART, by_blocks=True) for k in range(len(spectra))]
        is_steep = spectra[0].steepness >= _CORRELATED_STEEPNESS
        limit = _CORRELATED_STEEPNESS if is_steep else _WHITE_STEEPNESS
        spectra = others if others[0].steepness < limit else spectra
    if spectra[0].steepness < _CORRELATED_STEEPNESS:
        spectra = [without_edges(spectrum) for spectrum in spectra]
    return spectra


def _of_luminance(spectra: list[Spectrum], blocks: Blocks, white: NoiseModel) -> NoiseModel:
    """Return the noise model of the kind that the spectrum of the first channel shows."""
    kind = _kind(spectra[0], white.sigma)
    if kind is NoiseKind.WHITE:
        return white
    cut = _doubt(spectra[0], blocks) if kind is NoiseKind.CORRELATED else 1.0
    found = [_channel(spectrum, blocks, kind, cut) for spectrum in spectra]
    if kind is NoiseKind.CORRELATED and len(found) == RGB_CHANNELS:
        found[0] = _within_reach_of_chroma(*found)
    if kind is NoiseKind.INTENSITY and _is_clipped(spectra[0]):
        found = [
            channel.at_most(max(_inner(spectrum).min(), white.sigma**2), blocks.counts)
            for channel, spectrum in zip(found, spectra, strict=True)
        ]
    return NoiseModel(kind, tuple(found), white.sigma)


def _has_few_blocks(evidence: NoiseEvidence) -> bool:
    """Return True if the blocks are too few to tell more than the level."""
    if min(evidence.shape[1:]) < _LEAST_SIDE:
        return True
    whole = evidence.whole_windows(BLOCKS)
    return whole is not None and whole < _LEAST_WHOLE_BLOCKS


def _limited(spectrum: Spectrum) -> Spectrum:
    """Return the spectrum of uncorrelated noise without bare edges, others as they are."""
    return without_edges(spectrum) if spectrum.steepness < _CORRELATED_STEEPNESS else spectrum


def _doubt(spectrum: Spectrum, blocks: Blocks) -> float:
    """Return a factor for the variance: 1 if the calmest blocks have the level of the calm ones, less if lower."""
    calmest = spectrum_of(blocks, 0, _CALMEST_PART)
    counts = blocks.counts
    calm_level, calmest_level = (
        np.average(each.levels, weights=counts) * each.shape.mean() for each in (spectrum, calmest)
    )
    agreement = np.sqrt(calmest_level / max(calm_level, _TINY))
    return float(min(1.0, agreement / _AGREEMENT) ** _CUT_POWER)


@single_threaded()
def estimate_chroma(evidence: NoiseEvidence, *, white: bool = False) -> NoiseModel:
    """Estimate the noise model of the two opponents from evidence of luminance and opponents.

    The luminance only says how intense a block is: its own noise may have been removed. white: assume white noise.
    """
    channels = evidence.shape[0]
    if min(evidence.equal_neighbours(channel) for channel in (0, 1)) > _MOST_EQUAL:
        return NoiseModel.white(0.0, channels - 1)
    levels = _white_levels(evidence)[1:]
    level = float(np.sqrt(np.mean(np.square(levels))))
    found = NoiseModel(NoiseKind.WHITE, tuple(map(ChannelNoise.white, levels)), level)
    if white or _has_few_blocks(evidence):
        return found
    blocks = Blocks.of_windows(evidence.windows(BLOCKS, slice(channels)))
    spectra = [_limited(spectrum_of(blocks, channel, _CALM_PART)) for channel in range(1, channels)]
    kinds = {_kind(spectrum, level) for spectrum, level in zip(spectra, levels, strict=True)}
    for kind in (NoiseKind.CORRELATED, NoiseKind.INTENSITY):
        if kind in kinds:
            each = tuple(_channel(spectrum, blocks, kind, 1.0) for spectrum in spectra)
            return NoiseModel(kind, each, level)
    return found


@single_threaded()
def estimate_white(evidence: NoiseEvidence) -> NoiseModel:
    """Estimate white noise, at the median of the levels of the channels."""
    return NoiseModel.white(float(np.median(_white_levels(evidence))), evidence.shape[0])


def _white_levels(evidence: NoiseEvidence) -> list[float]:
    """Return the white-noise estimate of each channel."""
    channels, *sides = evidence.shape
    if is_thin(*sides):
        return [sigma_of_thin_plane(plane) for plane in evidence.planes()]
    side = _patch_side(evidence)
    return [
        sigma_of_patches(evidence.windows(PATCHES, slice(channel, channel + 1), side))
        for channel in range(channels)
    ]


def _patch_side(evidence: NoiseEvidence) -> int:
    """Return the side of the patches of which enough hold no excluded pixel."""
    for side in (_SIDE, *_SMALLER_SIDES):
        whole = evidence.whole_windows(PATCHES, side)
        if whole is None or whole >= _PATCHES_PER_PIXEL * side**2:
            return side
    return _SMALLER_SIDES[-1]


def _span(blocks: Blocks, channels: int) -> float:
    """Return the span of the luminance of images with so many channels, in units of one of them."""
    low, high = np.percentile(blocks.intensities, _SPAN) / np.sqrt(channels)
    return float(high - low)


def _has_smooth_chroma(levels: list[float], blocks: Blocks) -> bool:
    """Return True if the first channel has noise and the others have hardly any white noise, as after JPEG."""
    least = _LEAST_LUMINANCE_SIGMA * _span(blocks, len(levels))
    luminance, median = levels[0], float(np.median(levels))
    return luminance > _SMOOTH_CHROMA * median and luminance**2 - median**2 > least**2


def _has_flat_opponents(spectra: list[Spectrum], blocks: Blocks, level: float) -> bool:
    """Return True if the noise of both opponents is well above rounding, and uncorrelated."""
    is_flat = all(spectrum.steepness < _FLAT_STEEPNESS for spectrum in spectra[1:])
    return is_flat and level > _LEAST_FLAT_SIGMA * _span(blocks, len(spectra))


def _of_opponents(spectra: list[Spectrum], blocks: Blocks, white: NoiseModel) -> NoiseModel:
    """Return the model of noise that is uncorrelated in both opponents.

    What correlates noise, as demosaicking and compression do, acts on all channels. So the noise of red, green and blue
    is independent, and its variance in the luminance is the mean of those in the opponents: the transform is
    orthonormal, and the luminance is the sum of all three over √3.
    """
    spectra = [_limited(spectrum) for spectrum in spectra]
    if all(_kind(spectrum, white.sigma) is NoiseKind.WHITE for spectrum in spectra):
        return white
    opponents = [_channel(spectrum, blocks, NoiseKind.INTENSITY, 1.0) for spectrum in spectra]
    variances = np.mean([channel.variances for channel in opponents], axis=0)
    first = opponents[0]
    luminance = ChannelNoise.of(first.intensities, variances, np.ones_like(first.spectrum), blocks.counts)
    return NoiseModel(NoiseKind.INTENSITY, (luminance, *opponents), white.sigma)


def _kind(spectrum: Spectrum, level: float) -> NoiseKind:
    """Classify the first channel's noise, given the white-noise level."""
    if spectrum.steepness >= _CORRELATED_STEEPNESS:
        return NoiseKind.CORRELATED
    variances = spectrum.levels
    if np.sqrt(variances.min()) < _WHITE_LEAST * level:
        return NoiseKind.INTENSITY
    if len(variances) >= _GROWING_CLASSES and variances.max() > _GROWING_RATIO * variances.min():
        return NoiseKind.INTENSITY if _grows(spectrum) else NoiseKind.WHITE
    return NoiseKind.WHITE


def _grows(spectrum: Spectrum) -> bool:
    """Return True if the variance follows the intensity; clipping makes it fall at both ends instead."""
    if len(spectrum.levels) < 3:
        return False
    intensities, levels, least = spectrum.intensities, spectrum.levels, _GROWING_CORRELATION
    if spectrum.is_edge is not None:
        intensities, levels = intensities[~spectrum.is_edge], levels[~spectrum.is_edge]
        least = _GROWING_CORRELATION_BESIDE_EDGES
    if not (np.ptp(intensities) > 0 and np.ptp(levels) > 0):  # a constant channel, for example
        return False
    return bool(np.corrcoef(intensities, levels)[0, 1] > least)


def _within_reach_of_chroma(luminance: ChannelNoise, *opponents: ChannelNoise) -> ChannelNoise:
    """Limit the luminance's noise relative to that of the opponents; the excess must be texture."""
    level = np.sqrt(np.mean([opponent.sigma**2 for opponent in opponents]))
    return luminance.at_level(min(luminance.sigma, _MOST_LUMINANCE * float(level)))


def _inner(spectrum: Spectrum) -> NDArray[np.float64]:
    """Return the variances of all classes but the darkest and the brightest."""
    inner: NDArray[np.float64] = spectrum.levels[np.argsort(spectrum.intensities)][1:-1]
    return inner


def _is_clipped(spectrum: Spectrum) -> bool:
    """Return True for clipped white noise: variances are similar but for the darkest and the brightest class."""
    inner = _inner(spectrum)
    return len(inner) >= 2 and not _grows(spectrum) and bool(inner.max() <= _GROWING_RATIO * inner.min())


def _channel(spectrum: Spectrum, blocks: Blocks, kind: NoiseKind, cut: float) -> ChannelNoise:
    """Return one channel's noise, from energies at high frequencies to variances of pixels, times ``cut``."""
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
    """Fit a straight line to the variances, as for Poisson–Gaussian (photon and read) noise; return its values."""
    weights = np.sqrt(counts) / (spectrum.levels + np.median(spectrum.levels) + _TINY)
    design = np.stack([np.ones_like(intensities), spectrum.intensities], axis=1) * weights[:, np.newaxis]
    offset, slope = np.linalg.lstsq(design, spectrum.levels * weights)[0]
    variances: NDArray[np.float64] = np.maximum(offset + slope * intensities, spectrum.levels.min())
    return variances
