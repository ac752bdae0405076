"""The parameters that the page sets, and the command that denoises with them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tvdenoise.model.colour import RGB_CHANNELS
from tvdenoise.options import COLOUR_ONLY, SLIDERS, FileOptions, Number, command_line, default_of

_DIGITS = 4  # that are kept of each parameter, so that the command says exactly what the page shows


def _limits(kind: object) -> tuple[float, float]:
    assert isinstance(kind, Number)
    return kind.least, kind.largest if kind.asked_at_most is None else kind.asked_at_most


#: The least and the largest value of each that the command line takes.
LIMITS = {name: _limits(spec.kind) for name, spec in SLIDERS.items()}


class InvalidMessageError(ValueError):
    """A message that makes no sense."""


@dataclass(frozen=True)
class Setting:
    """Options with μ and ε, and with every parameter that has a slider rounded to a few digits (see `rounded`)."""

    options: FileOptions

    @classmethod
    def of(cls, common: FileOptions, mu: float, epsilon: float, **others: Any) -> Setting:
        """Common options with the parameters of the page."""
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
        """The parameters that have sliders."""
        return {name: getattr(self.options, name) for name in SLIDERS}

    def for_channels(self, channels: int) -> FileOptions:
        """The options without those that an image of so many channels has no use for."""
        if channels == RGB_CHANNELS:
            return self.options
        return replace(self.options, **{name: default_of(name) for name in COLOUR_ONLY})

    def command(self, source: Path, target: Path, channels: int) -> str:
        """The command line that makes the target, quoted for a shell."""
        named = str(target)
        return command_line(
            str(source), self.for_channels(channels), ["-o", f"./{named}" if named.startswith("-") else named]
        )


def rounded(value: float) -> float:
    """The number that its first few digits stand for."""
    return float(f"{value:.{_DIGITS}g}")


def number(message: Mapping[str, Any], name: str) -> float:
    """A finite number of a message. Raises InvalidMessageError."""
    value = message.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidMessageError(f"{name} is not a number")
    return float(value)


def parameter(message: Mapping[str, Any], name: str) -> float:
    """A parameter of a message, rounded and within its limits. Raises InvalidMessageError."""
    value = number(message, name)
    least, largest = LIMITS[name]
    if not least <= value <= largest:
        raise InvalidMessageError(f"{name} must be at least {least:g} and at most {largest:g}")
    return rounded(value)
