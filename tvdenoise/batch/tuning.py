"""The cells of a contact sheet: where it is cropped, and the crop denoised with each of several settings."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain, islice
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tvdenoise.batch.denoiser import Denoiser
from tvdenoise.errors import TvdenoiseError, UnsupportedImageError, UsageError
from tvdenoise.files.decoded import white_of
from tvdenoise.files.orientation import Box, Orientation
from tvdenoise.files.paths import printable
from tvdenoise.files.reading import read
from tvdenoise.images.metrics import psnr, ssim
from tvdenoise.images.validity import holds_nodata
from tvdenoise.machine import available_threads
from tvdenoise.model.filters import MARGIN
from tvdenoise.parameters import Parameters, method_of
from tvdenoise.pictures.contact_sheet import Cell, CellSetting, CellSimilarity, Tuned, in_three_digits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from numpy.typing import NDArray

    from tvdenoise.files.decoded import DecodedImage
    from tvdenoise.options import FileOptions


#: Side of the crop in pixels, if the image is large enough.
SIDE = 256
#: The crop of a thin image is at most this many times its short side, or this many pixels, so that it can be enlarged.
_LONGEST, _SHORT = 8, 32
_BLOCK, _HALF = 8, 4
_BAND = 64  # rows of blocks per batch
_CLEAR = 3  # times the differences between blocks where the image is calm
_LEAST = 0.01  # minimum of both factors, to rank windows even without noise or without structure


def informative_box(noisy: NDArray[Any], visible: NDArray[np.bool_] | None = None) -> Box:
    """The window of an image (rows, columns) or (rows, columns, channels) in which noise and structure meet.

    visible: (rows, columns), False for invisible pixels.
    """
    rows, columns = noisy.shape[:2]
    longest = min(SIDE, max(_SHORT, _LONGEST * min(rows, columns)))
    height, width = min(rows, longest), min(columns, longest)
    if (height, width) == (rows, columns):
        return Box(0, 0, columns, rows)
    down, across = min(_BLOCK, rows), min(_BLOCK, columns)
    noise, structure, seen = _marks(noisy, visible, down, across)
    window = max(1, height // down), max(1, width // across)
    scores = (_means(structure * seen, window) + _LEAST) * _factor(
        _means(noise * (1 - structure) * seen, window)
    )
    top, left = np.unravel_index(np.argmax(scores - _distances(scores)), scores.shape)
    return Box(min(int(left) * across, columns - width), min(int(top) * down, rows - height), width, height)


def _marks(
    noisy: NDArray[Any], visible: NDArray[np.bool_] | None, down: int, across: int
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Noise, structure and visible fraction of each whole block."""
    rows, columns = (
        length // side * side for length, side in zip(noisy.shape[:2], (down, across), strict=True)
    )
    bands = []
    for top in range(0, rows, down * _BAND):
        band = noisy[top : min(rows, top + down * _BAND), :columns]
        grey = band.mean(axis=2, dtype=np.float32) if band.ndim == 3 else band.astype(np.float32)
        bands.append((_noise(grey, down, across), _blocks(grey, down, across).mean(axis=(1, 3))))
    noise, means = (np.concatenate(parts) for parts in zip(*bands, strict=True))
    steps = np.square(_step(means, 0)) + np.square(_step(means, 1))
    calm = _CLEAR**2 * float(np.percentile(steps, 25))
    least = max(calm, 1e-12 * float(np.ptp(means)) ** 2, 1e-30)
    structure = steps / (steps + np.square(noise) + least)
    seen = np.ones_like(noise)
    if visible is not None:
        seen = _blocks(visible[:rows, :columns], down, across).mean(axis=(1, 3), dtype=np.float32)
    return noise, structure, seen


def _blocks(values: NDArray[Any], down: int, across: int) -> NDArray[Any]:
    """Reshape to (rows of blocks, rows in a block, columns of blocks, columns in a block)."""
    return values.reshape(len(values) // down, down, values.shape[1] // across, across)


def _noise(grey: NDArray[np.float32], down: int, across: int) -> NDArray[np.float32]:
    curved = [np.abs(_second(grey, axis)) for axis in (0, 1) if grey.shape[axis] > 2]
    least = np.minimum(*curved) if len(curved) == 2 else curved[0] if curved else np.zeros_like(grey)
    if (down, across) != (_BLOCK, _BLOCK):
        whole: NDArray[np.float32] = _blocks(least, down, across).mean(axis=(1, 3))
        return whole
    quarters = _blocks(_blocks(least, _HALF, _HALF).mean(axis=(1, 3)), 2, 2)
    calmest: NDArray[np.float32] = quarters.min(axis=(1, 3))
    return calmest


def _second(values: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """Second differences, repeated at the border."""
    inner = np.diff(values, 2, axis=axis)
    widths = [(1, 1) if axis == other else (0, 0) for other in (0, 1)]
    return np.pad(inner, widths, mode="edge")


def _step(means: NDArray[Any], axis: int) -> NDArray[Any]:
    """The larger of the absolute differences from both neighbours."""
    steps = np.abs(np.diff(means, axis=axis))
    before = [(1, 0) if axis == other else (0, 0) for other in (0, 1)]
    after = [(0, 1) if axis == other else (0, 0) for other in (0, 1)]
    larger: NDArray[Any] = np.maximum(np.pad(steps, before), np.pad(steps, after))
    return larger


def _means(marks: NDArray[Any], window: tuple[int, int]) -> NDArray[Any]:
    """Mean over each window of blocks, indexed by its first block."""
    from scipy.ndimage import uniform_filter

    down, across = window
    origin = [-(side // 2) for side in window]
    means = uniform_filter(marks.astype(np.float64), window, mode="constant", origin=origin)
    inside: NDArray[Any] = means[: len(marks) - down + 1, : marks.shape[1] - across + 1]
    return inside


def _factor(noise: NDArray[Any]) -> NDArray[Any]:
    largest = float(noise.max())
    return noise / largest + _LEAST if largest > 0 else np.ones_like(noise)


def _distances(scores: NDArray[Any]) -> NDArray[Any]:
    """Distances from the middle, scaled down to serve only as a tie-breaker."""
    down, across = (
        np.abs(np.linspace(-1, 1, length)) if length > 1 else np.zeros(1) for length in scores.shape
    )
    return np.add.outer(down, across) * 1e-9 * float(scores.max())


#: μ is divided by the first from column to column, and the level of learned filters multiplied by it; ε is multiplied
#: by the second from row to row.
_MU_STEP, _EPSILON_STEP = 2**0.5, 3.0
_MOST = 9  # columns or rows


@dataclass(frozen=True)
class SettingsGrid:
    """μ falls from column to column and ε rises from row to row; both numbers are odd.

    Learned filters have one row, in which the level rises.
    """

    columns: int = 5
    rows: int = 3

    def __post_init__(self) -> None:
        for number in (self.columns, self.rows):
            if not (1 <= number <= _MOST and number % 2):
                raise UsageError(
                    f"--grid must have an odd number of columns and rows, at most {_MOST}, "
                    f"not {self.columns}x{self.rows}",
                    "for example 5x3: five mu, three epsilon",
                )

    def settings(self, choose: Callable[[float], Parameters]) -> tuple[tuple[CellSetting, ...], ...]:
        """Rows of settings around the chosen one; all others have parameters rounded to three digits."""
        centre = choose(1.0)
        middle = self.rows // 2, self.columns // 2
        return tuple(
            tuple(
                _around(centre, _name(row, column), column - middle[1], row - middle[0])
                for column in range(self.columns)
            )
            for row in range(self.rows)
        )


def _around(centre: Parameters, name: str, right: int, below: int) -> CellSetting:
    if right == below == 0:
        return CellSetting(name, centre, 1.0, {})
    strength = _MU_STEP**right
    if centre.level is not None:
        level = _to_three_digits(centre.level * strength)
        parameters = Parameters(1 / level, 0.0, level=level)
    else:
        mu, epsilon = centre.mu / strength, centre.epsilon * _EPSILON_STEP**below
        parameters = Parameters(_to_three_digits(mu), _to_three_digits(epsilon))
    return CellSetting(name, parameters, strength, parameters.named)


def _to_three_digits(value: float) -> float:
    return float(in_three_digits(value))


@dataclass(frozen=True)
class Strengths:
    """One row of strengths, which always includes 1."""

    values: tuple[float, ...]

    def settings(self, choose: Callable[[float], Parameters]) -> tuple[tuple[CellSetting, ...], ...]:
        """One row of settings, each μ with its matching ε, or each level."""
        row = []
        for column, strength in enumerate(sorted({*self.values, 1.0})):
            chosen = choose(strength)
            options = {} if strength == 1 else {"strength": float(f"{strength:.12g}")}
            row.append(CellSetting(_name(0, column), chosen, strength, options))
        return (tuple(row),)


def _name(row: int, column: int) -> str:
    return f"{chr(ord('A') + row)}{column + 1}"


#: A cell is solved with a margin of _FALLS times the distance over which an influence falls to 1/e in a flat region,
#: √(w²/(με)) pixels, w being the weight of the colours; at least 32 and at most 512 pixels. Learned filters have a
#: margin of their own.
_FALLS, _LEAST_MARGIN, _LARGEST_MARGIN = 10, 32, 512
_LONGEST_SIDE = 1024  # of a crop
_LEAST_SIDE_FOR_SSIM = 11
_FRACTIONS = ("epsilon", "level")  # parameters that are fractions of the data range


class Tuner:
    """Tries settings on a crop of an image, around parameters chosen on the whole image.

    crop: in the image as shown, or None for the most informative one.
    """

    def __init__(
        self,
        grid: SettingsGrid | Strengths,
        settings: FileOptions,
        crop: Box | None,
        announce_compilation: Callable[[], None],
    ) -> None:
        self._grid = grid
        self._settings = settings
        self._crop = crop
        self._announce_compilation = announce_compilation

    def tune(self, source: Path, reference: Path | None = None) -> Tuned:
        """Denoise a crop of an image with each setting.

        Raises UsageError for a crop or a reference that does not fit, and UnreadableImageError and
        UnsupportedImageError, which name the file.
        """
        image = self._read(source)
        orientation = Orientation.of(image)
        box = self._box(image, orientation)
        clean = None if reference is None else self._crop_of_reference(reference, image, box)
        try:
            parameters, rows = self._choose(image)
            given = [each.options for row in rows for each in row]
            require_typeable(given, image, self._settings)
            cells = self._cells(image, box, rows)
        except TvdenoiseError as error:
            raise _named(error, source) from error
        tuned = Tuned(
            image, box, orientation.shown_box(box, image.size), orientation, parameters, cells, clean
        )
        return tuned if clean is None else self._measured(tuned, clean)

    def _read(self, source: Path) -> DecodedImage:
        try:
            image = read(source, self._settings.max_megapixels, may_be_bilevel=False)
            require_tunable(image)
            return image
        except TvdenoiseError as error:
            raise _named(error, source) from error

    def _box(self, image: DecodedImage, orientation: Orientation) -> Box:
        if self._crop is None:
            return informative_box(image.intensities, image.visible)
        columns, rows = orientation.shown_size(image.size)
        if not self._crop.lies_within(columns, rows):
            raise UsageError(
                f"--crop lies outside the image, which has {columns} columns and {rows} rows",
                "the four numbers are X,Y,WIDTH,HEIGHT, measured from the upper left corner",
            )
        if max(self._crop.width, self._crop.height) > _LONGEST_SIDE:
            raise UsageError(
                f"--crop can have at most {_LONGEST_SIDE} columns and rows", "show a part, at full resolution"
            )
        return orientation.stored_box(self._crop, image.size)

    def _crop_of_reference(self, reference: Path, image: DecodedImage, box: Box) -> NDArray[Any]:
        clean = self._read(reference)
        for what, theirs, ours in (
            ("size", clean.size, image.size),
            ("orientation", Orientation.of(clean).number, Orientation.of(image).number),
            ("number of channels", clean.channels, image.channels),
            ("type of values", clean.intensities.dtype, image.intensities.dtype),
        ):
            if theirs != ours:
                raise UsageError(
                    f"{printable(reference)}: the reference's {what} is {_said(theirs)}, the image's {_said(ours)}",
                    "give the clean version of the same file",
                )
        return clean.intensities[box.rows, box.columns].copy()

    def _choose(self, image: DecodedImage) -> tuple[Parameters, tuple[tuple[CellSetting, ...], ...]]:
        """Choose parameters for the image, and the settings around them."""
        chosen = Denoiser(self._settings, self._announce_compilation).choose(image)

        def for_strength(strength: float) -> Parameters:
            if strength == 1:
                return chosen
            given = self._settings.with_choice(chosen.mu / strength)
            return Denoiser(given, self._announce_compilation).choose(image)

        return chosen, self._grid.settings(for_strength)

    def _cells(
        self, image: DecodedImage, box: Box, rows: tuple[tuple[CellSetting, ...], ...]
    ) -> tuple[tuple[Cell, ...], ...]:
        noisy = image.noisy()

        def solve(setting: CellSetting) -> Cell:
            window = box.widened(self._margin(setting, image.channels), *image.size)
            part = replace(image, intensities=noisy[window.rows, window.columns].copy(), alpha=None)
            settings = replace(self._settings.with_given(setting.parameters.named), threads=None)
            solution = Denoiser(settings, self._announce_compilation).solve(part, threads=1)
            inner = box.seen_from(window)
            if settings.chroma_only:
                result, _ = part.with_denoised_chroma(solution.image)
            else:
                result = part.with_denoised(solution.image)
            return Cell(setting, result.intensities[inner.rows, inner.columns], solution.converged)

        with ThreadPoolExecutor(self._settings.threads or available_threads()) as pool:
            solved = iter(list(pool.map(solve, chain.from_iterable(rows))))
        return tuple(tuple(islice(solved, len(row))) for row in rows)

    def _margin(self, setting: CellSetting, channels: int) -> int:
        """The width in pixels of the border around the crop that influences it."""
        if self._settings.is_learned:
            return MARGIN
        weight = max(1.0, *method_of(self._settings, channels).channel_weights)
        falls = weight / math.sqrt(setting.parameters.mu * setting.parameters.epsilon)
        return math.ceil(min(max(_FALLS * falls, _LEAST_MARGIN), _LARGEST_MARGIN))

    def _measured(self, tuned: Tuned, clean: NDArray[Any]) -> Tuned:
        """Add the similarity of all cells to the reference; invisible pixels count as equal to it."""
        span = self._settings.data_range or white_of(clean.dtype)
        hidden = None if tuned.alpha is None else tuned.alpha == 0

        def measure(intensities: NDArray[Any]) -> CellSimilarity:
            seen = intensities.copy()
            if hidden is not None:
                seen[hidden] = clean[hidden]
            is_large = min(seen.shape[:2]) >= _LEAST_SIDE_FOR_SSIM
            return CellSimilarity(psnr(seen, clean, span), ssim(seen, clean, span) if is_large else None)

        cells = tuple(
            tuple(replace(cell, similarity=measure(cell.intensities)) for cell in row) for row in tuned.cells
        )
        return replace(tuned, cells=cells, noisy_similarity=measure(tuned.noisy))


def require_tunable(image: DecodedImage) -> None:
    """Raise UnsupportedImageError for bands, and for premultiplied alpha that is not opaque."""
    if image.in_bands:
        raise UnsupportedImageError(
            f"it has {image.channels} bands, and tune shows grey, colour and CMYK",
            "save one band as a grey image",
        )
    if image.weights is not None:
        raise UnsupportedImageError(
            "tune cannot show premultiplied alpha that is not opaque", "save it with straight alpha"
        )


def require_typeable(
    parameters: Iterable[Mapping[str, float]], image: DecodedImage, settings: FileOptions
) -> None:
    """Raise UsageError for an ε or a level above 1, which `run` does not take.

    Usually this means that the image's values far exceed its data range. parameters: of each setting, by name.
    """
    name, value = max(
        ((name, each[name]) for each in parameters for name in _FRACTIONS if name in each),
        key=itemgetter(1),
        default=("", 0.0),
    )
    if value <= 1:
        return
    values = image.intensities
    is_measured = np.isfinite(values) & ~holds_nodata(values, settings.nodata_of(image.nodata))
    largest = math.ceil(np.abs(values.astype(np.float64)).max(where=is_measured, initial=1.0))
    if largest <= (settings.data_range or white_of(values.dtype)):
        raise UsageError(
            f"a cell would have the {name} {value:.3g}, and --{name} takes at most 1",
            f"give a smaller --{name}, or fewer cells with --grid",
        )
    raise UsageError(
        f"its values reach {largest}, far above the data range, of which {name} is a fraction",
        f"add --data-range {largest}, here and in tvdenoise run",
    )


def _said(value: object) -> str:
    return " × ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _named(error: TvdenoiseError, path: Path) -> TvdenoiseError:
    """The same error, prefixed with the file's name."""
    return type(error)(f"{printable(path)}: {error.reason}", error.remedy)
