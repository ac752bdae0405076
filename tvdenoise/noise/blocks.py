"""Variance by intensity, and the spectrum of the noise, from blocks that hold little but noise.

Blocks of 8×8 pixels are sorted into classes of intensity, and within a class by the energy of their cosine
transform, in the spirit of the Noise Clinic (Lebrun, Colom and Morel, IPOL 5, 2015). Selecting blocks of low
energy would bias the noise low; here the coefficients are split into four parts by the parity of their two indices,
and the energy of each part is measured over blocks selected by the other three parts, with which stationary noise
is not correlated.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tvdenoise.noise.evidence import WindowGrid, windows_of
from tvdenoise.noise.model import BLOCK

if TYPE_CHECKING:
    from numpy.typing import NDArray


#: The grid of blocks, spread evenly over the image.
BLOCKS = WindowGrid(BLOCK, stride=2, most=30_000)
_CLASSES = 12
#: A class of intensities holds at least this part and this number of blocks.
_LEAST_PART, _LEAST_BLOCKS = 0.03, 300
#: At least this many blocks of a class are used.
_LEAST_CHOSEN = 60
_ROUNDS = 3
_LEAST_SPECTRUM = 1e-3
#: A level (variance) so many times above those of all darker and of all brighter classes is that of edges.
_MOST_ABOVE_NEIGHBOURS = 1.5
#: A straight edge in the middle of a block has energy in one of the four parts only, which the others do not show.
#: The noise of a camera, which differs from place to place, does not exceed its median so many times.
_MOST_ABOVE_MEDIAN = 40.0
#: The energy of rounding to single precision, for intensities with a span of about 1.
_ROUNDING = 1e-14
#: Largest ratio of the mean energy to that of the high frequencies, in grey or luminance. Demosaicked, compressed or
#: resampled noise stays below; a steeper spectrum is texture. (The opponents may be steeper, with less texture.)
_LARGEST_ENERGY = 16.0

#: If the ratio of all energy to that of the high frequencies exceeds the first number, the level of a class may exceed
#: its measured energy by no more than the second.
_LEVEL_STEEPNESS, _LARGEST_EXCESS = 2.0, 2.0

_ORDER = np.add.outer(np.arange(BLOCK), np.arange(BLOCK))
_SCORED = _ORDER >= 2  # below are slopes of the image, not noise
_LOW = (_ORDER >= 1) & (_ORDER <= 4)
_HIGH = _ORDER >= 7
#: The orthonormal cosine transform of a row of a block.
_COSINES = np.cos(np.pi / BLOCK * np.outer(np.arange(BLOCK), np.arange(BLOCK) + 0.5)) * (2 / BLOCK) ** 0.5
_COSINES[0] = BLOCK**-0.5
_COSINES = _COSINES.astype(np.float32)
_PARITY = 2 * (np.arange(BLOCK)[:, np.newaxis] % 2) + np.arange(BLOCK) % 2


@dataclass(frozen=True, eq=False)
class Blocks:
    """Blocks of an image, sorted into classes of intensity.

    energies: (channels, blocks, 8, 8), squared coefficients. intensities: the means of the first channel.
    classes: the class of each block, numbered from 0 without gaps.
    """

    energies: NDArray[np.float32]
    intensities: NDArray[np.float32]
    classes: NDArray[np.intp]

    @classmethod
    def of(cls, planes: NDArray[np.floating], where: NDArray[np.bool_] | None = None) -> Blocks:
        """Select blocks from planes (channels, rows, columns) of at least 8×8 pixels; see `windows_of`."""
        return cls.of_windows(
            windows_of(planes, BLOCKS.side, stride=BLOCKS.stride, most=BLOCKS.most, where=where)
        )

    @classmethod
    def of_windows(cls, chosen: NDArray[np.floating]) -> Blocks:
        """Sort windows (channels, blocks, 8, 8) into classes."""
        # Pixel by pixel in memory: all operations are on many blocks at a time.
        pixels = np.moveaxis(chosen, (-2, -1), (1, 2)).astype(np.float32, order="C")
        intensities = pixels[0].mean(axis=(0, 1))
        energies = np.moveaxis(_cosine_energies(pixels), (1, 2), (-2, -1))
        return cls(energies, intensities, _classes(intensities))

    @property
    def members(self) -> list[NDArray[np.intp]]:
        """The indices of the blocks of each class."""
        return [np.flatnonzero(self.classes == k) for k in range(self.classes.max() + 1)]

    @property
    def counts(self) -> NDArray[np.intp]:
        """The number of blocks in each class."""
        return np.bincount(self.classes)


def _cosine_energies(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the squared coefficients (channels, 8, 8, blocks) of the orthonormal cosine transform of blocks.

    pixels: of the same shape.
    """
    means = pixels.mean(axis=(1, 2), dtype=np.float64).astype(np.float32)
    pixels = pixels - means[:, np.newaxis, np.newaxis]  # the coefficients of a constant block are exactly 0
    across = np.matmul(_COSINES, pixels)
    down = np.matmul(_COSINES, across.reshape(len(pixels), BLOCK, -1)).reshape(pixels.shape)
    down[:, 0, 0] = BLOCK * means
    energies: NDArray[np.float32] = np.square(down, out=down)
    return energies


def _classes(intensities: NDArray[np.float32]) -> NDArray[np.intp]:
    """Assign classes of equal width in the root of the intensity, merged until each holds enough blocks."""
    roots = np.sqrt(intensities - intensities.min())
    largest = roots.max() or np.float32(1)
    fine = np.minimum((roots / largest * _CLASSES).astype(np.intp), _CLASSES - 1)
    needed = max(_LEAST_BLOCKS, int(_LEAST_PART * intensities.size))
    joined = np.zeros(_CLASSES, np.intp)
    current, held = 0, 0
    for k, count in enumerate(np.bincount(fine, minlength=_CLASSES)):
        joined[k] = current
        held += int(count)
        if held >= needed:
            current, held = current + 1, 0
    if held < needed and current > 0:
        joined[joined == current] = current - 1
    classes: NDArray[np.intp] = joined[fine]
    return classes


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The spectrum of one channel's noise.

    shape: (8, 8), mean energies relative to those of the high frequencies.
    levels: the energy of the high frequencies in each class of intensities.
    intensities: the mean intensity of the calmest blocks of each class, at which the levels hold.
    is_edge: true for classes that hold nothing but edges, whose level is interpolated; None if none is known to.
    """

    shape: NDArray[np.float64]
    levels: NDArray[np.float64]
    intensities: NDArray[np.float64]
    is_edge: NDArray[np.bool_] | None = None

    @property
    def steepness(self) -> float:
        """The ratio of the mean energy at middle frequencies to that at the highest; 1 for white noise."""
        middle = (_ORDER >= 5) & (_ORDER <= 7)
        return float(self.shape[middle].mean() / self.shape[_ORDER >= 10].mean())


def spectrum_of(blocks: Blocks, channel: int, part: float, *, by_blocks: bool = False) -> Spectrum:
    """Estimate the spectrum of one channel from the given part of each class: its calmest blocks.

    by_blocks: take its shape from the calmest classes with half of the blocks, instead of half of the classes.
    """
    energies, members = blocks.energies[channel], blocks.members
    shape = np.ones((BLOCK, BLOCK))
    levels = np.zeros(len(members))
    for _ in range(_ROUNDS):
        measured = _energies_of_calm_blocks(energies, members, shape, part)
        levels = (measured / shape)[:, _HIGH].mean(axis=1)
        is_noisy = levels > _ROUNDING
        if not is_noisy.any():
            break
        counts = np.array([len(member) for member in members])
        shapes = measured[is_noisy] / levels[is_noisy, np.newaxis, np.newaxis]
        shape = _common_shape(shapes, counts[is_noisy], by_blocks=by_blocks)
        if channel == 0:
            shape = _flattened(shape)
    if shape[_SCORED].mean() > _LEVEL_STEEPNESS:
        # If a JPEG left hardly any high frequencies, they are no measure of the others.
        overall = measured[:, _SCORED].mean(axis=1) / shape[_SCORED].mean()
        levels = np.where(levels > _LARGEST_EXCESS * overall, overall, levels)
    return Spectrum(shape, levels, _intensities_of_calm_blocks(blocks, channel, shape, part))


def without_edges(spectrum: Spectrum) -> Spectrum:
    """Return the spectrum with limited levels in classes that hold nothing but edges.

    Between the intensities of two flat areas, there may be only blocks with an edge. As uncorrelated noise grows or
    falls with the intensity, its level lies below that of all brighter or all darker classes. It is then interpolated
    between the others.
    """
    order = np.argsort(spectrum.intensities)
    found, intensities = spectrum.levels[order], spectrum.intensities[order]
    limits = np.array([max(found[:k].min(), found[k + 1 :].min()) for k in range(1, len(found) - 1)])
    is_edge = np.zeros(found.shape, bool)
    is_edge[1:-1] = found[1:-1] > _MOST_ABOVE_NEIGHBOURS * limits
    limited = found.copy()
    between = np.interp(intensities[is_edge], intensities[~is_edge], found[~is_edge])
    limited[is_edge] = np.minimum(between, limits[is_edge[1:-1]])
    back = np.argsort(order)
    return replace(spectrum, levels=limited[back], is_edge=is_edge[back] if is_edge.any() else None)


def _intensities_of_calm_blocks(
    blocks: Blocks, channel: int, shape: NDArray[np.float64], part: float
) -> NDArray[np.float64]:
    """Return the mean intensity of the calmest blocks of each class, which are its darker ones."""
    scores = _scores(blocks.energies[channel], _SCORED / shape)[0]
    means = []
    for member in blocks.members:
        calmest = member[np.argpartition(scores[member], _chosen(part, member) - 1)[: _chosen(part, member)]]
        means.append(blocks.intensities[calmest].mean(dtype=np.float64))
    return np.array(means)


def _chosen(part: float, member: NDArray[np.intp]) -> int:
    """Return the number of blocks of a class to use."""
    return min(max(_LEAST_CHOSEN, int(part * len(member))), len(member))


def _energies_of_calm_blocks(
    energies: NDArray[np.float32], members: list[NDArray[np.intp]], shape: NDArray[np.float64], part: float
) -> NDArray[np.float64]:
    """Return mean energies (classes, 8, 8) over each class's calmest blocks, selected separately for each parity."""
    is_own = [parity == _PARITY for parity in range(4)]
    scores = _scores(energies, *(_SCORED / shape * own for own in is_own))
    others = scores.sum(axis=0) - scores
    by_parity = [np.moveaxis(energies, 0, -1)[own] for own in is_own]
    measured = np.empty((len(members), BLOCK, BLOCK))
    for k, member in enumerate(members):
        chosen = _chosen(part, member)
        for parity, own in enumerate(is_own):
            calmest = member[np.argpartition(others[parity, member], chosen - 1)[:chosen]]
            score = scores[parity, calmest]
            calmest = calmest[score <= _MOST_ABOVE_MEDIAN * np.median(score)]
            measured[k][own] = by_parity[parity].take(calmest, axis=1).mean(axis=1, dtype=np.float64)
    return measured


def _scores(energies: NDArray[np.float32], *weights: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the sums (weights, blocks) of energies (blocks, 8, 8) with weights (8, 8)."""
    rows = np.stack([each.ravel() for each in weights]).astype(np.float32)
    scores: NDArray[np.float32] = rows @ np.moveaxis(energies, 0, -1).reshape(BLOCK * BLOCK, -1)
    return scores


def _common_shape(
    shapes: NDArray[np.float64], counts: NDArray[np.intp], *, by_blocks: bool
) -> NDArray[np.float64]:
    """Return the mean shape over the classes with the least energy at low frequencies (texture).

    They are half of the classes, or with by_blocks hold half of the blocks.
    """
    order = np.argsort((shapes * _LOW).sum(axis=(1, 2)))
    before = np.cumsum(counts[order]) - counts[order]
    best = order[before < counts.sum() / 2] if by_blocks else order[: -(-len(shapes) // 2)]
    shape = np.maximum(np.average(shapes[best], axis=0, weights=np.sqrt(counts[best])), _LEAST_SPECTRUM)
    # The lowest frequencies still hold slopes of the image: extrapolate them from their neighbours.
    shape[0, 1] = min(shape[0, 1], shape[1, 1] * shape[0, 2] / shape[1, 2])
    shape[1, 0] = min(shape[1, 0], shape[1, 1] * shape[2, 0] / shape[2, 1])
    shape[0, 0] = max(shape[0, 1] * shape[1, 0] / shape[1, 1], min(shape[0, 1], shape[1, 0]))
    normalised: NDArray[np.float64] = np.maximum(shape / shape[_HIGH].mean(), _LEAST_SPECTRUM)
    return normalised


def _flattened(shape: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the shape, flattened by a power if it holds more energy at low frequencies than noise does."""
    power = 1.0
    while (shape**power).mean() / (shape**power)[_HIGH].mean() > _LARGEST_ENERGY:
        power *= 0.98
    flat: NDArray[np.float64] = shape**power / (shape**power)[_HIGH].mean()
    return flat
