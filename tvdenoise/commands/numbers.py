"""Numbers on the command line: written plainly or as fractions, within their bounds."""

from __future__ import annotations

import math

from tvdenoise.errors import UsageError


def positive(option: str, text: str | None) -> float | None:
    """A positive finite number, or None where the option was not given. Raises UsageError."""
    if text is None:
        return None
    value = _number(option, text)
    if not (math.isfinite(value) and value > 0):
        raise UsageError(f"{option} must be positive and finite, not {text}")
    return value


def intensity(option: str, text: str | None, *, may_be_zero: bool = False) -> float | None:
    """An intensity in fractions of the data range, or None where not given. Raises UsageError."""
    if may_be_zero and text is not None and _number(option, text) == 0:
        return 0.0
    value = positive(option, text)
    if value is not None and value > 1:
        raise UsageError(
            f"{option} {text} is above 1, and intensities are fractions of the data range",
            f"did you mean {text}/255?",
        )
    return value


def _number(option: str, text: str) -> float:
    """The value of "0.01" or "2.5/255"."""
    numerator, slash, denominator = text.partition("/")
    try:
        return float(numerator) / float(denominator) if slash else float(numerator)
    except (ValueError, ZeroDivisionError):
        raise UsageError(f"{option} must be a number such as 0.01 or 2.5/255, not {text!r}") from None
