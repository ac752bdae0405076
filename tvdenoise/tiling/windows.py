"""Windows of an image: their arithmetic, and the bands in which an image is streamed."""

from __future__ import annotations

import math
from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tvdenoise.tiling.source import Window


def lengths(window: Window) -> tuple[int, ...]:
    """The shape of a window."""
    return tuple(part.stop - part.start for part in window)


def size(window: Window) -> int:
    """How many pixels a window has."""
    return math.prod(lengths(window))


def size_of(shape: Sequence[int]) -> int:
    """How many pixels an image of this shape has."""
    return math.prod(shape)


def extended(window: Window, margins: Sequence[int], shape: Sequence[int]) -> Window:
    """A window with a margin along each axis, as far as the image goes."""
    return tuple(
        slice(max(part.start - margin, 0), min(part.stop + margin, length))
        for part, margin, length in zip(window, margins, shape, strict=True)
    )


def common(one: Window, other: Window) -> Window | None:
    """What two windows have in common; None for nothing."""
    both = tuple(slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one, other, strict=True))
    return both if all(part.start < part.stop for part in both) else None


def within(window: Window, outer: Window) -> Window:
    """A window in the coordinates of another that holds it."""
    return tuple(
        slice(part.start - frame.start, part.stop - frame.start)
        for part, frame in zip(window, outer, strict=True)
    )


def bands(shape: Sequence[int], most_pixels: int, chunk: Sequence[int] | None = None) -> list[Window]:
    """Bands of full width, in order, of at most so many pixels where a row has no more.

    Of a volume: several whole planes, or bands of rows of one plane. Where there is room they begin where a chunk does.
    """
    *outer, columns = shape
    rows = _step(shape[-2], max(most_pixels // columns, 1), None if chunk is None else chunk[-2])
    steps = [rows, columns]
    if outer[:-1]:
        deep = most_pixels // (shape[-2] * columns) if rows == shape[-2] else 1
        steps = [_step(shape[0], max(deep, 1), None if chunk is None else chunk[0]), *steps]
    return [
        tuple(
            slice(start, min(start + step, length))
            for start, step, length in zip(at, steps, shape, strict=True)
        )
        for at in product(*(range(0, length, step) for length, step in zip(shape, steps, strict=True)))
    ]


def _step(length: int, most: int, chunk: int | None) -> int:
    """At most so many of a length: all, a multiple of the chunk, or what fits."""
    if most >= length:
        return length
    return most // chunk * chunk if chunk is not None and most >= chunk else most
