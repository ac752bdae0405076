"""The crop of a contact sheet: the window in which noise and structure meet.

Blocks of 8 × 8 pixels get two scores. Noise n: the mean over the pixels of the smaller of their second differences
down and across (an edge has only one of them large), in the calmest quarter of the block. Structure:
g²/(g² + n² + (3c)²), with g the difference between the block's mean and its neighbours', and c the lower quartile of
g, which correlated noise has too. The crop maximises the mean structure times the mean noise outside structure: part
flat and noisy, part full of detail.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import uniform_filter

from tvdenoise.files.orientation import Box

if TYPE_CHECKING:
    from numpy.typing import NDArray


#: Side of the crop in pixels, if the image is large enough.
SIDE = 256
#: The crop of a thin image is at most this many times its short side, or this many pixels, so that it can be enlarged.
_LONGEST, _SHORT = 8, 32
_BLOCK, _HALF = 8, 4
_BAND = 64  # rows of blocks per batch
_CLEAR = 3  # times the differences between blocks where the image is calm
_LEAST = 0.01  # minimum of both factors, to rank windows even without noise or without structure


def informative_box(noisy: NDArray[Any], visible: NDArray[np.bool_] | None = None) -> Box:
    """The window of an image (rows, columns) or (rows, columns, channels) in which noise and structure meet.

    visible: (rows, columns), False for invisible pixels.
    """
    rows, columns = noisy.shape[:2]
    longest = min(SIDE, max(_SHORT, _LONGEST * min(rows, columns)))
    height, width = min(rows, longest), min(columns, longest)
    if (height, width) == (rows, columns):
        return Box(0, 0, columns, rows)
    down, across = min(_BLOCK, rows), min(_BLOCK, columns)
    noise, structure, seen = _marks(noisy, visible, down, across)
    window = max(1, height // down), max(1, width // across)
    scores = (_means(structure * seen, window) + _LEAST) * _factor(
        _means(noise * (1 - structure) * seen, window)
    )
    top, left = np.unravel_index(np.argmax(scores - _distances(scores)), scores.shape)
    return Box(min(int(left) * across, columns - width), min(int(top) * down, rows - height), width, height)


def _marks(
    noisy: NDArray[Any], visible: NDArray[np.bool_] | None, down: int, across: int
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Noise, structure and visible fraction of each whole block."""
    rows, columns = (
        length // side * side for length, side in zip(noisy.shape[:2], (down, across), strict=True)
    )
    bands = []
    for top in range(0, rows, down * _BAND):
        band = noisy[top : min(rows, top + down * _BAND), :columns]
        grey = band.mean(axis=2, dtype=np.float32) if band.ndim == 3 else band.astype(np.float32)
        bands.append((_noise(grey, down, across), _blocks(grey, down, across).mean(axis=(1, 3))))
    noise, means = (np.concatenate(parts) for parts in zip(*bands, strict=True))
    steps = np.square(_step(means, 0)) + np.square(_step(means, 1))
    calm = _CLEAR**2 * float(np.percentile(steps, 25))
    least = max(calm, 1e-12 * float(np.ptp(means)) ** 2, 1e-30)
    structure = steps / (steps + np.square(noise) + least)
    seen = np.ones_like(noise)
    if visible is not None:
        seen = _blocks(visible[:rows, :columns], down, across).mean(axis=(1, 3), dtype=np.float32)
    return noise, structure, seen


def _blocks(values: NDArray[Any], down: int, across: int) -> NDArray[Any]:
    """Reshape to (rows of blocks, rows in a block, columns of blocks, columns in a block)."""
    return values.reshape(len(values) // down, down, values.shape[1] // across, across)


def _noise(grey: NDArray[np.float32], down: int, across: int) -> NDArray[np.float32]:
    curved = [np.abs(_second(grey, axis)) for axis in (0, 1) if grey.shape[axis] > 2]
    least = np.minimum(*curved) if len(curved) == 2 else curved[0] if curved else np.zeros_like(grey)
    if (down, across) != (_BLOCK, _BLOCK):
        whole: NDArray[np.float32] = _blocks(least, down, across).mean(axis=(1, 3))
        return whole
    quarters = _blocks(_blocks(least, _HALF, _HALF).mean(axis=(1, 3)), 2, 2)
    calmest: NDArray[np.float32] = quarters.min(axis=(1, 3))
    return calmest


def _second(values: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """Second differences, repeated at the border."""
    inner = np.diff(values, 2, axis=axis)
    widths = [(1, 1) if axis == other else (0, 0) for other in (0, 1)]
    return np.pad(inner, widths, mode="edge")


def _step(means: NDArray[Any], axis: int) -> NDArray[Any]:
    """The larger of the absolute differences from both neighbours."""
    steps = np.abs(np.diff(means, axis=axis))
    before = [(1, 0) if axis == other else (0, 0) for other in (0, 1)]
    after = [(0, 1) if axis == other else (0, 0) for other in (0, 1)]
    larger: NDArray[Any] = np.maximum(np.pad(steps, before), np.pad(steps, after))
    return larger


def _means(marks: NDArray[Any], window: tuple[int, int]) -> NDArray[Any]:
    """Mean over each window of blocks, indexed by its first block."""
    down, across = window
    origin = [-(side // 2) for side in window]
    means = uniform_filter(marks.astype(np.float64), window, mode="constant", origin=origin)
    inside: NDArray[Any] = means[: len(marks) - down + 1, : marks.shape[1] - across + 1]
    return inside


def _factor(noise: NDArray[Any]) -> NDArray[Any]:
    largest = float(noise.max())
    return noise / largest + _LEAST if largest > 0 else np.ones_like(noise)


def _distances(scores: NDArray[Any]) -> NDArray[Any]:
    """Distances from the middle, scaled down to serve only as a tie-breaker."""
    down, across = (
        np.abs(np.linspace(-1, 1, length)) if length > 1 else np.zeros(1) for length in scores.shape
    )
    return np.add.outer(down, across) * 1e-9 * float(scores.max())
