"""What a page asks to see: a region of the image, and the parameters with which it is solved."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tvdenoise.model.colour import RGB_CHANNELS
from tvdenoise.options import COLOUR_ONLY, SLIDERS, FileOptions, Number, command_line, default_of

_DIGITS = 4  # significant digits of each parameter, so that the command is exactly what the page shows


def _limits(kind: object) -> tuple[float, float]:
    assert isinstance(kind, Number)
    return kind.least, kind.largest if kind.asked_at_most is None else kind.asked_at_most


#: The smallest and the largest value of each parameter that the command line accepts.
LIMITS = {name: _limits(spec.kind) for name, spec in SLIDERS.items()}


class InvalidMessageError(ValueError):
    """A message from the page is invalid."""


@dataclass(frozen=True)
class Setting:
    """Options with μ and ε, or with the level; parameters with sliders are rounded to a few digits (see `rounded`)."""

    options: FileOptions

    @classmethod
    def of(cls, common: FileOptions, **parameters: float) -> Setting:
        """The common options with the parameters of the page."""
        return cls(common.with_given(parameters))

    @property
    def mu(self) -> float:
        """μ; with learned filters the reciprocal of the level, as in `Parameters`."""
        assert self.options.given_mu is not None
        return self.options.given_mu

    @property
    def epsilon(self) -> float:
        """ε; with learned filters 0, as in `Parameters`."""
        assert self.options.is_learned or self.options.epsilon is not None
        return self.options.epsilon or 0.0

    @property
    def values(self) -> dict[str, float]:
        """The parameters with sliders."""
        return {name: getattr(self.options, name) for name in self.options.sliders}

    def for_channels(self, channels: int) -> FileOptions:
        """The options, without those that do not affect an image with this number of channels."""
        if channels == RGB_CHANNELS:
            return self.options
        return replace(self.options, **{name: default_of(name) for name in COLOUR_ONLY})

    def command(self, source: Path, target: Path, channels: int) -> str:
        """The command line that writes the target, quoted for the shell."""
        named = str(target)
        return command_line(
            str(source), self.for_channels(channels), ["-o", f"./{named}" if named.startswith("-") else named]
        )


def rounded(value: float) -> float:
    """The value rounded to a few significant digits."""
    return float(f"{value:.{_DIGITS}g}")


def number(message: Mapping[str, Any], name: str) -> float:
    """A finite number from a message. Raises InvalidMessageError."""
    value = message.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidMessageError(f"{name} is not a number")
    return float(value)


def parameter(message: Mapping[str, Any], name: str) -> float:
    """A parameter from a message, rounded. Raises InvalidMessageError if it is out of range."""
    value = number(message, name)
    least, largest = LIMITS[name]
    if not least <= value <= largest:
        raise InvalidMessageError(f"{name} must be at least {least:g} and at most {largest:g}")
    return rounded(value)


_MOST_PIXELS = 3_000_000  # solved for one view, so that the page stays fast on a large screen
_COARSEST = 16  # levels, more than any image has


@dataclass(frozen=True)
class Region:
    """A rectangle of the image after ``level`` halvings, in pixels of that reduction."""

    level: int
    top: int
    left: int
    rows: int
    columns: int

    @property
    def scale(self) -> int:
        """Width of one of its pixels, in pixels of the image."""
        return 1 << self.level

    @property
    def pixels(self) -> int:
        return self.rows * self.columns

    def widened(self, margin: int, rows: int, columns: int) -> Region:
        """The region with a margin on all sides, clipped to a reduction of this many rows and columns."""
        top, left = max(0, self.top - margin), max(0, self.left - margin)
        bottom = min(rows, self.top + self.rows + margin)
        right = min(columns, self.left + self.columns + margin)
        return Region(self.level, top, left, bottom - top, right - left)

    def within(self, other: Region) -> tuple[slice, slice]:
        """Its rows and columns, relative to a region that contains it."""
        top, left = self.top - other.top, self.left - other.left
        return slice(top, top + self.rows), slice(left, left + self.columns)

    def overlap(self, other: Region) -> Region | None:
        """The intersection of two regions, or None."""
        top, left = max(self.top, other.top), max(self.left, other.left)
        bottom = min(self.top + self.rows, other.top + other.rows)
        right = min(self.left + self.columns, other.left + other.columns)
        if self.level != other.level or bottom <= top or right <= left:
            return None
        return Region(self.level, top, left, bottom - top, right - left)


def reduced(length: int, level: int) -> int:
    """The number of rows or columns after ``level`` halvings."""
    return -(-length >> level)


def region_of(view: Mapping[str, Any], rows: int, columns: int) -> Region:
    """The region for a view of the image, at the resolution of the screen.

    view: x, y, width and height in pixels of the image; zoom: screen pixels per image pixel.
    Raises InvalidMessageError.
    """
    left, top, width, height, zoom = (number(view, name) for name in ("x", "y", "width", "height", "zoom"))
    if not (zoom > 0 and width > 0 and height > 0):
        raise InvalidMessageError("the view is empty")
    left, right = _clipped(left, left + width, columns)
    top, bottom = _clipped(top, top + height, rows)
    level = min(_COARSEST, max(0, round(math.log2(1 / zoom))))
    while (region := _at(level, top, left, bottom, right)).pixels > _MOST_PIXELS:
        level += 1
    return region


def _clipped(start: float, end: float, length: int) -> tuple[float, float]:
    """The interval clipped to the image, with at least one pixel even if the view is outside."""
    start = min(max(start, 0.0), length - 1.0)
    return start, min(max(end, start + 1), float(length))


def _at(level: int, top: float, left: float, bottom: float, right: float) -> Region:
    first_row, first_column = (int(start) >> level for start in (top, left))
    last_row, last_column = (-(-math.ceil(end) >> level) for end in (bottom, right))
    return Region(level, first_row, first_column, last_row - first_row, last_column - first_column)
