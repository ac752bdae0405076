"""The parameters set on the page, and the command that denoises with them."""

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
    """Options with μ and ε; all parameters with sliders are rounded to a few digits (see `rounded`)."""

    options: FileOptions

    @classmethod
    def of(cls, common: FileOptions, mu: float, epsilon: float, **others: Any) -> Setting:
        """The common options with the parameters of the page."""
        return cls(replace(common.with_choice(mu, epsilon), **others))

    @property
    def mu(self) -> float:
        assert self.options.mu is not None
        return self.options.mu

    @property
    def epsilon(self) -> float:
        assert self.options.epsilon is not None
        return self.options.epsilon

    @property
    def values(self) -> dict[str, float]:
        """The parameters with sliders."""
        return {name: getattr(self.options, name) for name in SLIDERS}

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
