"""Small arrays, and the pixels of a file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

Values = NDArray[np.generic]


def noise(*shape: int, dtype: type = np.uint8, seed: int = 0) -> Values:
    """Return random values over the whole range of an integer type, or in [0, 1) for floats."""
    generator = np.random.default_rng(seed)
    if issubclass(dtype, np.floating):
        return generator.random(shape).astype(dtype)
    return generator.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def pixels(path: Path) -> Values:
    with Image.open(path) as opened:
        return np.array(opened)


def mostly_slow(values: Iterable[object], *quick: object) -> list[object]:
    """Return values to parametrise a test with, of which all but the quick ones carry the marker `slow`."""
    return [value if value in quick else pytest.param(value, marks=pytest.mark.slow) for value in values]
