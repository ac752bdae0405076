"""Seeded damage to files, as by disks, networks and attackers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

_HEADER = 64
_EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFE, 0xFF)


def mutants(contents: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Yield damaged versions of a file: truncated, with flipped bytes, and with edited numbers, in turn."""
    generator = np.random.default_rng(seed)
    for number in range(count):
        yield bytes(_DAMAGES[number % len(_DAMAGES)](bytearray(contents), generator))


def _cut(contents: bytearray, generator: np.random.Generator) -> bytearray:
    return contents[: generator.integers(len(contents))]


def _flip(contents: bytearray, generator: np.random.Generator) -> bytearray:
    for place in generator.integers(len(contents), size=generator.integers(1, 6)):
        contents[place] ^= 1 << generator.integers(8)
    return contents


def _edit(contents: bytearray, generator: np.random.Generator) -> bytearray:
    """Put an extreme value into one to four consecutive bytes of the header."""
    place, value = generator.integers(min(_HEADER, len(contents))), generator.choice(_EXTREMES)
    for offset in range(place, min(place + generator.choice((1, 2, 4)), len(contents))):
        contents[offset] = value
    return contents


def _edit_anywhere(contents: bytearray, generator: np.random.Generator) -> bytearray:
    start = generator.integers(len(contents))
    return contents[:start] + _edit(contents[start:], generator)


def _splice(contents: bytearray, generator: np.random.Generator) -> bytearray:
    """Repeat a piece, or remove it."""
    first, second = generator.integers(len(contents), size=2)
    return contents[:first] + contents[second:]


_DAMAGES = (_cut, _flip, _edit, _flip, _edit_anywhere, _splice)
