"""Numbers on the command line: written plainly or as fractions, within their bounds."""

from __future__ import annotations

import math
import re

from tvdenoise import checks
from tvdenoise.errors import UsageError

AUTO = "auto"
_LIMITS = {
    "--mu": checks.MU,
    "--epsilon": checks.EPSILON,
    "--sigma": checks.SIGMA,
    "--chroma": checks.CHROMA,
    "--strength": checks.STRENGTH,
    "--data-range": checks.DATA_RANGE,
    "--spacing": checks.SPACING,
}
_LARGEST_GREY_LEVEL = 255
_SIZE = re.compile(r"(\d+(?:\.\d+)?|\.\d+) ?([kmgt]?)(i?)b?", re.IGNORECASE)


def positive(option: str, text: str | None) -> float | None:
    """A positive number within the option's limits, or None where it was not given or is left to us.

    Raises UsageError.
    """
    if text is None or text == AUTO:
        return None
    value = _number(option, text)
    if not (math.isfinite(value) and value > 0):
        raise UsageError(f"{option} must be positive and finite, not {text}")
    least, largest = _LIMITS.get(option, (0, math.inf))
    if not least <= value <= largest:
        raise UsageError(f"{option} must be at least {least:g} and at most {largest:g}, not {text}")
    return value


def intensity(option: str, text: str | None, *, may_be_zero: bool = False) -> float | None:
    """An intensity in fractions of the data range, or None as `positive`. Raises UsageError."""
    if may_be_zero and text is not None and text != AUTO and _number(option, text) == 0:
        return 0.0
    value = positive(option, text)
    if text is not None and value is not None and value > 1:
        is_grey_level = "/" not in text and value <= _LARGEST_GREY_LEVEL
        raise UsageError(
            f"{option} {text} is above 1, and intensities are fractions of the data range",
            f"did you mean {text}/255?" if is_grey_level else None,
        )
    return value


def whole(option: str, text: str | None, largest: int | None = None) -> int | None:
    """A whole number from 1 to the largest, or None where it was not given. Raises UsageError."""
    if text is None:
        return None
    try:
        value = int(text)
    except ValueError:
        raise UsageError(f"{option} must be a whole number, not {text!r}") from None
    if value < 1 or (largest is not None and value > largest):
        bounds = "at least 1" if largest is None else f"at least 1 and at most {largest}"
        raise UsageError(f"{option} must be {bounds}, not {text}")
    return value


def _number(option: str, text: str) -> float:
    """The value of "0.01" or "2.5/255"."""
    numerator, slash, denominator = text.partition("/")
    try:
        return float(numerator) / float(denominator) if slash else float(numerator)
    except (ValueError, ZeroDivisionError):
        raise UsageError(f"{option} must be a number such as 0.01 or 2.5/255, not {text!r}") from None


def distances(option: str, text: str | None) -> tuple[float, float, float] | None:
    """Those of planes, rows and columns, or of planes in pixels; None where not given. Raises UsageError."""
    if text is None:
        return None
    parts = text.split(",")
    if len(parts) not in (1, 3):
        raise UsageError(
            f"{option} takes three distances, or that of planes alone, not {text!r}", "for example 4,1,1"
        )
    planes, *others = (_distance(option, part) for part in parts)
    rows, columns = others or (1.0, 1.0)
    return planes, rows, columns


def _distance(option: str, text: str) -> float:
    value = positive(option, text.strip())
    if value is None:
        raise UsageError(f"{option} must be a number such as 4 or 0.3, not {text!r}")
    return value


def count_or_auto(option: str, text: str | None) -> int | None:
    """A whole number from 1, or None where it was not given or is left to us. Raises UsageError."""
    if text is None or text == AUTO:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"{option} must be a whole number from 1, or {AUTO}, not {text!r}")
    return int(text)


def size(option: str, text: str | None) -> int | None:
    """A number of bytes such as 1GB, 800MB or 1.5GiB, or None where it was not given. Raises UsageError."""
    if text is None:
        return None
    found = _SIZE.fullmatch(text)
    if found is None or (found[3] and not found[2]):
        raise UsageError(f"{option} must be a size such as 1GB, 800MB or 1.5GiB, not {text!r}")
    number, prefix, binary = found.groups()
    power = " kmgt".index(prefix.lower() or " ")
    value = int(float(number) * (1024 if binary else 1000) ** power)
    least, largest = checks.MEMORY
    if not least <= value <= largest:
        bounds = f"at least {least // 10**6}MB and at most {largest // 10**12}TB"
        raise UsageError(f"{option} must be {bounds}, not {text}", "the program itself takes about 0.2 GB")
    return value
