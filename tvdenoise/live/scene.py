"""The image being tuned: its noise, its automatic parameters, and its regions at any resolution."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tvdenoise.batch.denoiser import Denoiser
from tvdenoise.batch.tuning import require_tunable, require_typeable
from tvdenoise.files.orientation import Box, Orientation
from tvdenoise.files.reading import read
from tvdenoise.images.data import Layout
from tvdenoise.live.view import LIMITS, Region, Setting, reduced, rounded
from tvdenoise.model.colour import RGB_CHANNELS, from_opponent, to_opponent
from tvdenoise.parameters import epsilon_for, method_of, sample
from tvdenoise.pictures.screen import Screen, as_light

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from tvdenoise.files.decoded import DecodedImage
    from tvdenoise.options import FileOptions, Options
    from tvdenoise.parameters import Parameters
    from tvdenoise.solver.descent import Method


_KEPT_LEVEL = 2  # the reduction kept in memory; coarser ones are made from it
_BAND = 1 << 21  # values of the image reduced at a time


class Reductions:
    """Regions of planes (channels, rows, columns), at full resolution or reduced by powers of two.

    shape: rows and columns; read: returns the planes for a slice of rows and a slice of columns, float32.
    """

    def __init__(
        self, shape: tuple[int, int], read: Callable[[slice, slice], NDArray[np.floating[Any]]]
    ) -> None:
        self.shape = shape
        self._read = read

    def part(self, region: Region) -> NDArray[np.floating[Any]]:
        """The planes of a region, (channels, rows, columns)."""
        if region.level < _KEPT_LEVEL:
            return self._from_image(region)
        halvings = region.level - _KEPT_LEVEL
        rows, columns = _enlarged(region, halvings)
        return _halved(self._kept[:, rows, columns], halvings)

    def _from_image(self, region: Region) -> NDArray[np.floating[Any]]:
        return _halved(self._read(*_enlarged(region, region.level)), region.level)

    @cached_property
    def _kept(self) -> NDArray[np.floating[Any]]:
        rows, columns = (reduced(length, _KEPT_LEVEL) for length in self.shape)
        height = max(1, _BAND // (self.shape[1] << _KEPT_LEVEL))
        bands = (
            self._from_image(Region(_KEPT_LEVEL, top, 0, min(height, rows - top), columns))
            for top in range(0, rows, height)
        )
        return np.concatenate(list(bands), axis=1)


def _enlarged(region: Region, halvings: int) -> tuple[slice, slice]:
    """The rows and columns that reduce to those of a region; they may extend past the end."""
    return (
        slice(region.top << halvings, (region.top + region.rows) << halvings),
        slice(region.left << halvings, (region.left + region.columns) << halvings),
    )


def _halved(planes: NDArray[np.floating[Any]], times: int) -> NDArray[np.floating[Any]]:
    """Means over blocks of 2 × 2 pixels; the last row or column of an odd number counts twice."""
    for _ in range(times):
        _, rows, columns = planes.shape
        if rows % 2 or columns % 2:
            planes = np.pad(planes, ((0, 0), (0, rows % 2), (0, columns % 2)), mode="edge")
        pairs = planes[:, ::2] + planes[:, 1::2]
        planes = (pairs[:, :, ::2] + pairs[:, :, 1::2]) * np.float32(0.25)
    return planes


#: The percentiles of the intensities of 16-bit and float images that are shown as black and as white.
_BLACK, _WHITE = 0.1, 99.9  # percent
_VALUES_AT_ONCE = 1 << 18  # values converted at a time


@dataclass(frozen=True, eq=False)
class Scene:
    """rows, columns, channels: as stored; bits: per sample of unsigned integers, otherwise None.

    orientation: the orientation for viewing; the solve uses the stored one, as `run` does.
    window: the intensities, in data ranges, that are shown as black and white.
    span: the largest value minus the smallest in the planes as solved (opponent channels for RGB images, without the
    luminance if it is kept).
    planes, alpha: in data ranges; alpha is None if there is none.
    """

    source: Path
    settings: FileOptions
    rows: int
    columns: int
    channels: int
    bits: int | None
    window: tuple[float, float]
    span: float
    chosen: Parameters
    planes: Reductions
    alpha: Reductions | None
    orientation: Orientation

    @classmethod
    def read(cls, source: Path, settings: FileOptions, announce_compilation: Callable[[], None]) -> Scene:
        """Read an image and choose its parameters. Raises UnreadableImageError and UnsupportedImageError, as `run`.

        Raises UsageError if the values are so far above the data range that the command line rejects the choice.
        """
        image = read(source, settings.max_megapixels, may_be_bilevel=False)
        require_tunable(image)
        chosen = Denoiser(settings, announce_compilation).choose(image)
        require_typeable([chosen.named], image, settings)
        values = image.noisy()
        layout = Layout.of(values, -1 if image.has_channel_axis else None, settings.data_range)
        columns, rows = image.size
        return cls(
            source=source,
            settings=settings,
            rows=rows,
            columns=columns,
            channels=image.channels,
            bits=values.itemsize * 8 if values.dtype in (np.uint8, np.uint16) else None,
            window=_window(values, layout),
            span=_span(values, layout, chroma_only=settings.chroma_only),
            chosen=chosen,
            planes=Reductions((rows, columns), lambda down, across: layout.planes(values[down, across])),
            alpha=_alpha(image),
            orientation=Orientation.of(image),
        )

    @property
    def automatic(self) -> Setting:
        """The parameters that `run` would choose, rounded to the digits shown."""
        chosen = {name: rounded(value) for name, value in self.chosen.named.items()}
        return Setting.of(self.settings, **chosen)

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns as viewed."""
        columns, rows = self.orientation.shown_size((self.columns, self.rows))
        return rows, columns

    def stored(self, region: Region) -> Region:
        """The stored region that a viewed region shows."""
        size = (reduced(self.columns, region.level), reduced(self.rows, region.level))
        box = self.orientation.stored_box(Box(region.left, region.top, region.columns, region.rows), size)
        return Region(region.level, box.top, box.left, box.height, box.width)

    def method(self, options: Options) -> Method:
        """The method that `denoise` would use."""
        return method_of(options, self.channels)

    def epsilon_for(self, mu: float, options: Options) -> float:
        """The ε that `denoise` would choose for μ."""
        method = self.method(options)
        epsilon = epsilon_for(
            mu, weighted_chroma=method.has_weighted_chroma, chroma_only=method.chroma_only, span=self.span
        )
        return rounded(min(epsilon, LIMITS["epsilon"][1]))


def _window(values: NDArray[Any], layout: Layout) -> tuple[float, float]:
    """The full range for an 8-bit image; percentiles for deeper images, which seldom fill their range."""
    if values.dtype == np.uint8:
        return 0.0, 1.0
    planes = np.moveaxis(values, -1, 0) if values.ndim == 3 else values[np.newaxis]
    black, white = np.percentile(sample(planes).astype(np.float64), (_BLACK, _WHITE)) / layout.data_range
    return float(black), float(white) if white > black else float(black) + 1.0


def _span(values: NDArray[Any], layout: Layout, *, chroma_only: bool) -> float:
    height = max(1, _VALUES_AT_ONCE // values[0].size)
    least, largest = np.inf, -np.inf
    layout = layout.placed(values.min(), values.max())  # an offset is no span between luminance and opponents
    for top in range(0, len(values), height):
        planes = layout.planes(values[top : top + height])
        planes = to_opponent(planes) if len(planes) == RGB_CHANNELS else planes
        planes = planes[1:] if chroma_only else planes
        least, largest = min(least, float(planes.min())), max(largest, float(planes.max()))
    return (largest - least) * layout.scale


def _alpha(image: DecodedImage) -> Reductions | None:
    alpha = image.alpha
    if alpha is None:
        return None
    layout = Layout.of(alpha, None, None)
    columns, rows = image.size
    return Reductions((rows, columns), lambda down, across: layout.planes(alpha[down, across]))


_BAND = 1 << 15  # pixels converted at a time, few enough to stay in the cache


def frame(
    scene: Scene,
    region: Region,
    planes: NDArray[np.floating[Any]],
    header: dict[str, Any],
    *,
    rotated: bool = False,
) -> bytes:
    """A message that shows a region: the length of its header, the header (JSON), and the pixels as bytes.

    planes: (channels, rows, columns) of the stored region, in data ranges; rotated: RGB images are in the opponent
    basis of the solve. The pixels are also planes: one of grey or three of red, green and blue, then one of alpha if
    the image has it. They are not compressed, since that takes longer than sending them over the loopback interface.
    """
    shown = visible_planes(planes, scene.window, rotated=rotated and len(planes) == RGB_CHANNELS)
    parts = [_upright(shown, scene)]
    if scene.alpha is not None:
        alpha = visible_planes(scene.alpha.part(scene.stored(region)), (0.0, 1.0))
        parts.append(_upright(alpha, scene))
    described = json.dumps(
        header
        | {
            "left": region.left * region.scale,
            "top": region.top * region.scale,
            "rows": region.rows,
            "columns": region.columns,
            "scale": region.scale,
            "channels": len(shown),
            "alpha": scene.alpha is not None,
        }
    ).encode()
    return b"".join((len(described).to_bytes(4, "little"), described, *parts))


def visible_planes(
    planes: NDArray[np.floating[Any]], window: tuple[float, float], *, rotated: bool = False
) -> NDArray[np.uint8]:
    """8-bit planes for a screen: grey, or red, green and blue; inks are converted by a simple formula."""
    screen = Screen(*window)
    channels, rows, columns = planes.shape
    shown = np.empty((min(channels, RGB_CHANNELS), rows, columns), np.uint8)
    height = max(1, _BAND // columns)
    for top in range(0, rows, height):
        band = planes[:, top : top + height]
        stored = from_opponent(np.ascontiguousarray(band)) if rotated else band
        shown[:, top : top + height] = np.moveaxis(
            screen.quick_bytes(as_light(np.moveaxis(stored, 0, -1), 1)), -1, 0
        )
    return shown


def _upright(planes: NDArray[np.uint8], scene: Scene) -> bytes:
    """Stored planes (channels, rows, columns) in the orientation for viewing, as bytes."""
    shown = scene.orientation.shown(np.moveaxis(planes, 0, -1))
    return np.moveaxis(shown, -1, 0).tobytes()
