"""The command line of `tvdenoise run` that gives what was shown."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import Any

#: Options that change a result, by the names of a command's parameters; values that are defaults are left out.
_OPTIONS = {
    "mu": "--mu",
    "epsilon": "--epsilon",
    "sigma": "--sigma",
    "noise": "--noise",
    "tolerance": "--tolerance",
    "max_iterations": "--max-iterations",
    "chroma": "--chroma",
    "data_range": "--data-range",
    "max_pixels": "--max-pixels",
    "tv": "--tv",
    "penalty": "--penalty",
    "step": "--step",
    "engine": "--engine",
}
_DEFAULTS = {"noise": "auto", "tv": "isotropic", "penalty": "hyperbolic", "step": "bb", "engine": "fused"}
_FOR_CHOOSING = ("mu", "epsilon", "sigma", "noise")


def command_line(source: str, asks: Iterable[tuple[str, str]], given: Mapping[str, Any]) -> str:
    """What to type: the options asked for, and those of another command's that matter too.

    asks: options and their values; given: the other command's parameters by their names.
    """
    asked = tuple(asks)
    superseded = _FOR_CHOOSING if any(option == "--mu" for option, _ in asked) else ()
    words = ["tvdenoise", "run", f"./{source}" if source.startswith("-") else source]
    for pair in asked:
        words += pair
    for name, option in _OPTIONS.items():
        value = given.get(name)
        text = getattr(value, "value", value)
        if text is not None and text not in (_DEFAULTS.get(name), "auto") and name not in superseded:
            words += [option, str(text)]
    return shlex.join(words)
