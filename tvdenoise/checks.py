"""Checks of arguments, and the ranges of parameters."""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, SupportsFloat, SupportsIndex

if TYPE_CHECKING:
    from collections.abc import Iterable


def choice(name: str, value: object, known: Iterable[str]) -> None:
    """Raise ValueError unless the value is one of those known."""
    if not (isinstance(value, str) and value in known):
        raise ValueError(f"{name} must be one of {', '.join(known)}, not {value!r}")


def number(name: str, value: SupportsFloat, limits: tuple[float, float]) -> float:
    """A positive finite number within limits. Raises ValueError and TypeError."""
    try:
        converted = float(value)
    except OverflowError:
        converted = math.inf
    if not (math.isfinite(converted) and converted > 0):
        raise ValueError(f"{name} must be positive and finite, not {value}")
    least, largest = limits
    if not least <= converted <= largest:
        raise ValueError(f"{name} must be at least {least:g} and at most {largest:g}, not {value}")
    return converted


def optional_number(name: str, value: SupportsFloat | None, limits: tuple[float, float]) -> float | None:
    """`number`, or None where not given."""
    return None if value is None else number(name, value, limits)


def count(name: str, value: SupportsIndex) -> int:
    """A whole number, at least 1. Raises ValueError and TypeError."""
    converted = operator.index(value)
    if converted < 1:
        raise ValueError(f"{name} must be at least 1, not {value!r}")
    return converted


def tolerance(value: SupportsFloat | None) -> float | None:
    """A finite number, at least 0, or None. Raises ValueError and TypeError."""
    if value is None:
        return None
    converted = float(value)
    if not (math.isfinite(converted) and converted >= 0):
        raise ValueError(f"tolerance must be at least 0 and finite, not {value}")
    return converted


#: The least and the largest value of each.
MU = (1e-12, 1e30)
EPSILON = (1e-15, 1e6)
SIGMA = (1e-12, 1e6)
#: ε as the command line takes it: a part of the data range, so that 5 for 5/255 is noticed.
ASKED_EPSILON = (EPSILON[0], 1.0)
CHROMA = (1e-3, 1e3)
STRENGTH = (1e-6, 1e6)
DATA_RANGE = (1e-12, 1e12)
SPACING = (1e-12, 1e12)
WEIGHT = (1e-6, 1e6)
#: Bytes for a run, of which the program itself takes about 0.2 GB.
MEMORY = (300_000_000, 1_000_000_000_000_000)
