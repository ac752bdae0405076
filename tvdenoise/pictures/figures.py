"""Plots of noise curves, and convergence traces as plots or numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tvdenoise.errors import UnwritableImageError, UsageError
from tvdenoise.files.atomic import write_atomically
from tvdenoise.files.paths import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tvdenoise.noise.model import NoiseModel
    from tvdenoise.solver.descent import TracePoint


PLOT_FORMATS = (".png", ".svg", ".pdf")
_LEGEND_AT_MOST = 10
#: Distinct for the colour-blind (Okabe and Ito, Color Universal Design, 2008).
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")


def save_noise_curves(models: Sequence[tuple[str, NoiseModel]], path: str) -> None:
    """Plot the noise of each image against intensity, in 8-bit grey levels, as a PNG, SVG or PDF file.

    Raises UsageError for another file type, and UnwritableImageError if the file cannot be written.
    """
    require_plot_name(path)
    from cycler import cycler
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot(
        prop_cycle=cycler(color=COLOURS),
        xlabel="intensity (of 255)",
        ylabel="standard deviation of the noise (of 255)",
    )
    for name, model in models:
        channel = model.channels[0]
        intensities, deviations = channel.intensities, np.sqrt(channel.variances)
        if len(intensities) == 1:  # white noise: the same at every intensity
            intensities, deviations = np.array([0.0, 1.0]), np.repeat(deviations, 2)
        scale = 255 / np.sqrt(len(model.channels)) if len(model.channels) == 3 else 255
        axes.plot(intensities * scale, deviations * 255, marker="o", label=f"{name} ({model.kind.value})")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    if len(models) <= _LEGEND_AT_MOST:
        figure.legend(loc="outside lower center", frameon=False)
    save_figure(figure, Path(path))


def require_plot_name(path: str) -> None:
    """Raise UsageError unless the name has the extension of a plot."""
    if not path.lower().endswith(PLOT_FORMATS):
        raise UsageError(
            f"{printable(path)}: plots are {', '.join(PLOT_FORMATS)} files", "choose one of them"
        )


def save_figure(figure: Figure, target: Path, dpi: int = 150) -> None:
    """Write a figure in the format of the target's name. Raises UnwritableImageError."""
    import warnings
    from io import BytesIO

    contents = BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)  # in file names; drawn as boxes
        figure.savefig(contents, format=target.suffix.lower().removeprefix("."), dpi=dpi)
    put(contents.getvalue(), target)


def put(contents: bytes, target: Path) -> None:
    """Write the bytes of a plot or table atomically. Raises UnwritableImageError."""
    write_atomically(target, contents, _verify)


def _verify(path: Path) -> None:
    if path.stat().st_size == 0:
        raise UnwritableImageError(f"cannot write {printable(path)}: nothing arrived")


_NUMBERS = ".csv"


def require_trace_name(path: str) -> None:
    """Raise UsageError unless the name has the extension of a table or a plot."""
    if not path.lower().endswith((_NUMBERS, *PLOT_FORMATS)):
        known = ", ".join((_NUMBERS, *PLOT_FORMATS))
        raise UsageError(f"--trace {printable(path)}: traces are {known} files", "choose one of them")


def save_trace(points: Sequence[TracePoint], tolerance: float, target: Path) -> None:
    """Write a trace as comma-separated values or as a plot, by the target's extension. Raises UnwritableImageError.

    tolerance: the requested distance bound; all bounds are in data ranges.
    """
    if target.suffix.lower() == _NUMBERS:
        lines = ["evaluation,value,distance_bound"]
        lines += [f"{number},{value!r},{bound!r}" for number, (value, bound) in enumerate(points, 1)]
        put("".join(f"{line}\n" for line in lines).encode(), target)
    else:
        _plot(points, tolerance, target)


def _plot(points: Sequence[TracePoint], tolerance: float, target: Path) -> None:
    """Plot the distance bound with the tolerance and, below, J minus its last value, both on logarithmic axes."""
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
    below.set_xlim(0, len(points) + 1)  # keeps ticks integer even for a single evaluation
    below.locator_params(axis="x", integer=True)
    for axes in (above, below):
        axes.grid(alpha=0.3)
    save_figure(figure, target)


def _draw_decrease(axes: Axes, evaluations: np.ndarray, excess: np.ndarray) -> None:
    """Plot the points at which J exceeds its last value."""
    is_above = excess > 0
    if not is_above.any():
        axes.text(0.5, 0.5, "J did not decrease", transform=axes.transAxes, ha="center", va="center")
        axes.set_yticks([])
        return
    axes.plot(evaluations[is_above], excess[is_above], color=COLOURS[2], marker="o", markersize=3)
    axes.set_yscale("log")
