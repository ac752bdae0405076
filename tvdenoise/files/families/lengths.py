"""Units of length in the descriptions of stacks: one distance in the unit of another."""

from __future__ import annotations

#: In metres, by the names that ImageJ and OME use.
_METRES = {
    "pm": 1e-12,
    "Å": 1e-10,
    "nm": 1e-9,
    "µm": 1e-6,
    "um": 1e-6,
    "micron": 1e-6,
    "microns": 1e-6,
    "micrometer": 1e-6,
    "mm": 1e-3,
    "cm": 1e-2,
    "dm": 1e-1,
    "m": 1.0,
    "km": 1e3,
    "in": 0.0254,
    "inch": 0.0254,
}
_MICRO_SIGNS = str.maketrans({"μ": "µ"})  # the Greek letter, for the sign


def in_unit(distance: float, unit: str | None, other: str | None) -> float | None:
    """The distance, which is in ``unit``, in another one; None where it is not known what one is in the other."""
    if unit == other:
        return distance
    known = [_METRES.get((name or "").strip().translate(_MICRO_SIGNS)) for name in (unit, other)]
    if known[0] is None or known[1] is None:
        return None
    return distance * (known[0] / known[1])
