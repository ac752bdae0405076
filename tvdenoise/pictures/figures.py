"""Plots of noise curves, convergence traces as plots or numbers, and residuals as images."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tvdenoise.errors import UnwritableImageError, UsageError
from tvdenoise.files.atomic import write_atomically
from tvdenoise.files.decoded import DecodedImage, Metadata, below_one_another, white_of
from tvdenoise.files.paths import printable
from tvdenoise.files.writing import without_metadata, write
from tvdenoise.formats.registry import format_for
from tvdenoise.pictures.screen import as_light
from tvdenoise.precision import precision_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from tvdenoise.noise.model import NoiseModel
    from tvdenoise.solver.descent import TracePoint


PLOT_FORMATS = (".png", ".svg", ".pdf")
_LEGEND_AT_MOST = 10
#: Distinct for the colour-blind (Okabe and Ito, Color Universal Design, 2008).
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")


def save_noise_curves(models: Sequence[tuple[str, NoiseModel]], path: str) -> None:
    """Plot the noise of each image against intensity, in 255ths of the data range, as a PNG, SVG or PDF file.

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


_NOTHING = 128  # the grey level of no change
_DEVIATIONS = 4  # standard deviations between mid grey and white, at least
RESIDUAL_FORM = format_for(None, "PNG")
_LARGEST_GAIN, _LARGEST_GAIN_OF_DOUBLES = 2.0**14, 2.0**43  # a larger gain would show rounding
_BAND = 1 << 18  # values per batch of rows


def save_residual(
    image: DecodedImage, denoised: NDArray[np.floating], data_range: float | None, name: str, target: Path
) -> float:
    """Write the residual as an 8-bit PNG and return the gain; raises as `files.writing.write`.

    denoised: the solution before rounding to the image's depth, in fractions of the largest value of integers (float
    images: in their units). data_range: the intensity that counts as 1, None for the default of the type; name: of the
    input, for the PNG's description.
    """
    residual, gain = described_residual(image, denoised, data_range, name)
    write(residual, target, RESIDUAL_FORM)
    return gain


def described_residual(
    image: DecodedImage, denoised: NDArray[np.floating], data_range: float | None, name: str
) -> tuple[DecodedImage, float]:
    """The residual as an 8-bit image that is described by its metadata, and its gain; see `save_residual`."""
    residual, gain = residual_image(image, denoised, data_range)
    text = (
        f"What tvdenoise removed from {printable(name)}: input less result, before rounding, ×{gain:g}. "
        f"{_NOTHING} is nothing; a grey level is {1 / gain:g}/255 of the data range."
    )
    metadata = replace(residual.metadata, text=(("Description", text),))
    return replace(residual, metadata=metadata), gain


def residual_image(
    image: DecodedImage, denoised: NDArray[np.floating], data_range: float | None = None
) -> tuple[DecodedImage, float]:
    """Input minus result as an 8-bit image, and its gain: the largest power of two with which 4 standard deviations
    fit between mid grey and white, at most 2¹⁴.

    All channels share the gain. Invisible pixels, and those without a finite value, show no change; inks are
    converted to light, and bands lie below one another.
    """
    if image.in_bands:
        alpha = None if image.alpha is None else np.tile(image.alpha, (image.channels, 1))
        tall = below_one_another(image.intensities)
        image, denoised = (
            replace(image, intensities=tall, alpha=alpha, in_bands=False),
            below_one_another(denoised),
        )
    squares, count = 0.0, 0
    for _, difference in _differences(image, denoised, data_range):
        squares += float(np.sum(np.square(difference, dtype=np.float64)))
        count += difference.size
    is_double = precision_of(image.intensities.dtype) == np.float64
    gain = _gain(math.sqrt(squares / count), _LARGEST_GAIN_OF_DOUBLES if is_double else _LARGEST_GAIN)
    rows, columns = image.intensities.shape[:2]
    shape = (rows, columns) if image.channels == 1 else (rows, columns, 3)
    shown = np.empty(shape, np.uint8)
    for band, difference in _differences(image, denoised, data_range):
        shown[band] = np.clip(np.rint(difference * difference.dtype.type(gain * 255) + _NOTHING), 0, 255)
    orientation = without_metadata(replace(image, traits=None)).metadata.exif
    return DecodedImage(shown, metadata=Metadata(exif=orientation)), gain


def _differences(
    image: DecodedImage, denoised: NDArray[np.floating], data_range: float | None
) -> Iterator[tuple[slice, NDArray[np.floating]]]:
    """Yield bands of rows and their residuals, in data ranges."""
    intensities, visible = image.intensities, image.visible
    noisy = intensities if image.weights is None else image.noisy()
    kind = precision_of(intensities.dtype).type  # the difference of large numbers may be small
    white = white_of(intensities.dtype)
    unit = data_range or white
    whites = (unit, unit) if image.is_float else (white, 1.0)
    height = max(1, _BAND * len(intensities) // intensities.size)
    for top in range(0, len(intensities), height):
        band = slice(top, min(top + height, len(intensities)))
        with np.errstate(invalid="ignore"):  # at infinities that stand for no data
            difference = as_light(noisy[band], whites[0], kind) - as_light(denoised[band], whites[1], kind)
        if not image.is_float and unit != white:
            difference *= kind(white / unit)
        if visible is not None:
            difference[~visible[band]] = 0
        if image.is_float:
            difference[~np.isfinite(difference)] = 0  # missing and absent pixels
        yield band, difference


def _gain(deviation: float, largest: float) -> float:
    """The gain for a standard deviation: a power of two, at most the largest."""
    if deviation == 0:
        return 1.0
    return min(2.0 ** math.floor(math.log2(0.5 / (_DEVIATIONS * deviation))), largest)
