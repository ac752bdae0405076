"""How a solve went on: J and the distance bound by evaluation, as numbers or as a plot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tvdenoise.errors import UsageError
from tvdenoise.figures import COLOURS, PLOT_FORMATS, put, save_figure
from tvdenoise.files.paths import printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from tvdenoise.solver import TracePoint

_NUMBERS = ".csv"


def require_trace_name(path: str) -> None:
    """Raise UsageError unless a name says whether a trace is to be numbers or a plot."""
    if not path.lower().endswith((_NUMBERS, *PLOT_FORMATS)):
        known = ", ".join((_NUMBERS, *PLOT_FORMATS))
        raise UsageError(f"--trace {printable(path)}: traces are {known} files", "choose one of them")


def save_trace(points: Sequence[TracePoint], tolerance: float, target: Path) -> None:
    """Write a trace: comma-separated values, or a plot where the name is that of one. Raises UnwritableImageError.

    tolerance: the distance bound that was asked for; all bounds are in data ranges.
    """
    if target.suffix.lower() == _NUMBERS:
        lines = ["evaluation,value,distance_bound"]
        lines += [f"{number},{value!r},{bound!r}" for number, (value, bound) in enumerate(points, 1)]
        put("".join(f"{line}\n" for line in lines).encode(), target)
    else:
        _plot(points, tolerance, target)


def _plot(points: Sequence[TracePoint], tolerance: float, target: Path) -> None:
    """Two logarithmic axes, one above the other: the bound with the tolerance, and J less its last value."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    values, bounds = (np.array(each) for each in zip(*points, strict=True))
    evaluations = np.arange(1, len(points) + 1)
    above.axhline(tolerance * 255, color=COLOURS[1], linestyle="--", label="tolerance")
    above.plot(evaluations, bounds * 255, color=COLOURS[0], marker="o", markersize=3, label="distance bound")
    above.set(yscale="log", ylabel="rms distance to the\nminimiser (of 255), at most")
    above.legend(frameon=False)
    _draw_decrease(below, evaluations, values - values[-1])
    below.set(xlabel="evaluation of the objective gradient", ylabel="J less its last value")
    below.set_xlim(0, len(points) + 1)  # of a single evaluation, too, no fractions are marked
    below.locator_params(axis="x", integer=True)
    for axes in (above, below):
        axes.grid(alpha=0.3)
    save_figure(figure, target)


def _draw_decrease(axes: Axes, evaluations: np.ndarray, excess: np.ndarray) -> None:
    """Nothing is drawn where J is not above its last value."""
    is_above = excess > 0
    if not is_above.any():
        axes.text(0.5, 0.5, "J did not decrease", transform=axes.transAxes, ha="center", va="center")
        axes.set_yticks([])
        return
    axes.plot(evaluations[is_above], excess[is_above], color=COLOURS[2], marker="o", markersize=3)
    axes.set_yscale("log")
