"""The weights with which the solutions of windows that overlap are joined."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tvdenoise.tiling.source import Window


def rise(places: NDArray[np.intp], border: int, reach: int) -> NDArray[np.float64]:
    """From 0 to 1 within ``reach`` places of a border, a raised cosine; a step where the reach is 0."""
    if reach == 0:
        return (places >= border).astype(np.float64)
    along = np.clip((places + 0.5 - border + reach) / (2 * reach), 0, 1)
    risen: NDArray[np.float64] = (1 - np.cos(np.pi * along)) / 2
    return risen


def joined_weights(
    core: Window, window: Window, reaches: tuple[int, ...], shape: tuple[int, ...]
) -> list[NDArray[np.float32]]:
    """By axis, the weights of a window's solution around its core: with those of its neighbours they are 1."""
    weights = []
    for part, frame, reach, length in zip(core, window, reaches, shape, strict=True):
        places = np.arange(frame.start, frame.stop)
        weight = np.ones(places.size)
        if part.start > 0:
            weight *= rise(places, part.start, reach)
        if part.stop < length:
            weight *= 1 - rise(places, part.stop, reach)
        weights.append(weight.astype(np.float32))
    return weights


def fading_weights(
    window: Window, fades: tuple[int, ...], shape: tuple[int, ...]
) -> list[NDArray[np.float32]]:
    """By axis, 1 in the middle of a window and falling to 0 towards those of its ends that are not the image's."""
    weights = []
    for frame, fade, length in zip(window, fades, shape, strict=True):
        places = np.arange(frame.start, frame.stop)
        weight = np.ones(places.size)
        half = min(fade, places.size // 2) // 2
        if frame.start > 0:
            weight *= rise(places, frame.start + half + 1, half)
        if frame.stop < length:
            weight *= 1 - rise(places, frame.stop - half - 1, half)
        weights.append(weight.astype(np.float32))
    return weights


def product_of(weights: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The weights of pixels from those by axis."""
    every = weights[0]
    for along in weights[1:]:
        every = np.multiply.outer(every, along)
    return every
