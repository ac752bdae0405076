"""How far apart the planes, rows and columns of a volume are: as asked, as stated, or as assumed, which is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvdenoise.files.stack import DEPTH, TIME

if TYPE_CHECKING:
    from tvdenoise.files.stack import Axes

Spacing = tuple[float, float, float]
_PIXELS = {None, "pixel", "pixels"}  # units of length that are none
_OTHERWISE = "--spacing Z,Y,X says otherwise"
_IN_TIME = "neighbours in time count as much as neighbouring pixels; with --spacing 2,1,1, for example, they count less"
_NO_PLANES = f"how far apart its planes are it does not say, taken as far as its pixels; {_OTHERWISE}"
_ONE_SIDE = f"of rows and columns it states one distance alone, taken for both; {_OTHERWISE}"


def spacing_of(axes: Axes, given: tuple[float, ...] | None) -> tuple[Spacing, tuple[str, ...]]:
    """Distances of planes, rows and columns, and what had to be assumed, as sentences.

    Seconds are no distance to pixels, so in time neighbours are as far apart as pixels unless it is given.
    """
    if given is not None:
        planes, rows, columns = given
        return (planes, rows, columns), ()
    in_time = axes.plane_axis == TIME
    stated = [axes.spacing[name] for name in ("Y", "X") if name in axes.spacing]
    depth = None if in_time else axes.spacing.get(DEPTH)
    pixels = 1.0 if depth is None or axes.unit in _PIXELS else depth
    rows, columns = (*stated, *stated, pixels, pixels)[:2]
    assumed = (_ONE_SIDE,) * (len(stated) == 1)
    if depth is None:
        return (min(rows, columns), rows, columns), (_IN_TIME if in_time else _NO_PLANES, *assumed)
    if not stated:
        assumed = (f"its planes are {depth:g} apart and its pixels taken to be {pixels:g}; {_OTHERWISE}",)
    return (depth, rows, columns), assumed


def shown(spacing: tuple[float, ...]) -> str:
    """As --spacing takes it."""
    return ",".join(f"{distance:g}" for distance in spacing)
