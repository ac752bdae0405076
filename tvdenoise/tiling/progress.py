"""What is being done, for those who watch."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum


class Stage(Enum):
    """A part of the work; the value is what a user reads."""

    READING = "looking at the image"
    SOLVING = "solving"
    CERTIFYING = "certifying the whole"
    REPAIRING = "solving again where it is needed"


#: Called with the stage and how much of it is done, from 0 to 1.
Tell = Callable[[Stage, float], None]


def tell_nobody(_stage: Stage, _part: float) -> None:
    """Nothing."""
