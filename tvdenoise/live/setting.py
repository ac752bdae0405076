"""The parameters that the page sets, and the command that denoises with them."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tvdenoise import checks
from tvdenoise.batch.request import Settings
from tvdenoise.model.colour import RGB_CHANNELS
from tvdenoise.problem import DEFAULT_CHROMA

_DIGITS = 4  # that are kept of each parameter, so that the command says exactly what the page shows
#: The least and the largest value of each that the command line takes.
LIMITS = {"mu": checks.MU, "epsilon": checks.ASKED_EPSILON, "chroma": checks.CHROMA}


class InvalidMessageError(ValueError):
    """The page, or who passes for it, said something that means nothing."""


@dataclass(frozen=True)
class Setting:
    """mu, epsilon: in units of the data range, chroma: all of a few digits (see `rounded`)."""

    mu: float
    epsilon: float
    chroma: float = DEFAULT_CHROMA

    def settings(self, common: Settings, channels: int) -> Settings:
        """What `run` would take from the command line."""
        chroma = self.chroma if self._needs_chroma(channels) else None
        return replace(common, mu=self.mu, epsilon=self.epsilon, chroma=chroma)

    def command(self, source: Path, target: Path, common: Settings, channels: int) -> str:
        """The command line that makes the target, quoted for a shell."""
        words = [
            "tvdenoise",
            "run",
            _operand(source),
            "--mu",
            _text(self.mu),
            "--epsilon",
            _text(self.epsilon),
        ]
        if self._needs_chroma(channels):
            words += ["--chroma", _text(self.chroma)]
        if common.data_range is not None:
            words += ["--data-range", repr(common.data_range)]
        if common.max_megapixels != Settings.max_megapixels:
            words += ["--max-pixels", repr(common.max_megapixels)]
        return shlex.join([*words, "-o", _operand(target)])

    def _needs_chroma(self, channels: int) -> bool:
        return channels == RGB_CHANNELS and self.chroma != DEFAULT_CHROMA


def rounded(value: float) -> float:
    """The number that its first few digits stand for."""
    return float(_text(value))


def number(message: Mapping[str, Any], name: str) -> float:
    """A finite number of a message. Raises InvalidMessageError."""
    value = message.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidMessageError(f"{name} is not a number")
    return float(value)


def parameter(message: Mapping[str, Any], name: str) -> float:
    """A parameter of a message, rounded and within its checks. Raises InvalidMessageError."""
    value = number(message, name)
    least, largest = LIMITS[name]
    if not least <= value <= largest:
        raise InvalidMessageError(f"{name} must be at least {least:g} and at most {largest:g}")
    return rounded(value)


def _text(value: float) -> str:
    return f"{value:.{_DIGITS}g}"


def _operand(path: Path) -> str:
    """The path, never to be taken for an option."""
    text = str(path)
    return f"./{text}" if text.startswith("-") else text
