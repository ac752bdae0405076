"""The picture that is tuned: its noise, its automatic parameters, and its parts at any resolution."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tvdenoise.batch.denoiser import Denoiser
from tvdenoise.batch.tuning import require_typeable
from tvdenoise.defaults import epsilon_for
from tvdenoise.files.reading import read
from tvdenoise.files.upright import Box, Orientation
from tvdenoise.intensities import Layout
from tvdenoise.live.reduction import Reductions
from tvdenoise.live.setting import LIMITS, Setting, rounded
from tvdenoise.live.view import Region, reduced
from tvdenoise.method import Method
from tvdenoise.model.colour import RGB_CHANNELS, chroma_weights, to_opponent
from tvdenoise.sampling import sample
from tvdenoise.settings import DEFAULT_CHROMA

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from tvdenoise.batch.request import Settings
    from tvdenoise.files.picture import Picture
    from tvdenoise.parameters import Parameters

#: Of the intensities of 16-bit and float pictures, the part that is shown as black, and as white.
_BLACK, _WHITE = 0.1, 99.9  # percent
_BAND = 1 << 18  # values that are looked at together


@dataclass(frozen=True, eq=False)
class Scene:
    """rows, columns, channels: as stored; bits: of its integers, None for floats.

    orientation: how it is looked at; the solve takes it as it is stored, as `run` does.
    window: the intensities in data ranges that are shown as black and white.
    span: the largest value less the least in the planes as they are solved, colours as opponents.
    planes, alpha: in data ranges; alpha None where there is none.
    """

    source: Path
    settings: Settings
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
    def read(cls, source: Path, settings: Settings, announce_compilation: Callable[[], None]) -> Scene:
        """Raises UnreadableImageError and UnsupportedImageError, as `run` would.

        Raises UsageError where the values are so far above the data range that no command line says the choice.
        """
        picture = read(source, settings.max_megapixels)
        denoiser = Denoiser(settings, announce_compilation)
        denoiser.prepare()
        chosen = denoiser.choose(picture)
        require_typeable(chosen.epsilon, picture)
        values = picture.noisy()
        data_range = settings.data_range if picture.is_float else None
        layout = Layout.of(values, -1 if picture.has_channel_axis else None, data_range)
        columns, rows = picture.size
        return cls(
            source=source,
            settings=settings,
            rows=rows,
            columns=columns,
            channels=picture.channels,
            bits=None if picture.is_float else values.itemsize * 8,
            window=_window(values, layout),
            span=_span(values, layout),
            chosen=chosen,
            planes=Reductions((rows, columns), lambda down, across: layout.planes(values[down, across])),
            alpha=_alpha(picture),
            orientation=Orientation.of(picture),
        )

    @property
    def automatic(self) -> Setting:
        """What `run` would choose, but for the digits that are not shown."""
        return Setting(rounded(self.chosen.mu), rounded(self.chosen.epsilon), DEFAULT_CHROMA)

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns as it is looked at."""
        columns, rows = self.orientation.shown_size((self.columns, self.rows))
        return rows, columns

    def stored(self, region: Region) -> Region:
        """The part that a region shows."""
        size = (reduced(self.columns, region.level), reduced(self.rows, region.level))
        box = self.orientation.stored_box(Box(region.left, region.top, region.columns, region.rows), size)
        return Region(region.level, box.top, box.left, box.height, box.width)

    def method(self, chroma: float) -> Method:
        """As `denoise` would pose it."""
        if self.channels == RGB_CHANNELS:
            return Method(chroma_weights(chroma), threads=self.settings.threads)
        return Method((1.0,) * self.channels, threads=self.settings.threads)

    def epsilon_for(self, mu: float, chroma: float) -> float:
        """The ε that follows μ where it is not set by hand."""
        weighted = self.method(chroma).has_weighted_chroma
        epsilon = epsilon_for(mu, weighted_chroma=weighted, span=self.span)
        return rounded(min(epsilon, LIMITS["epsilon"][1]))


def _window(values: NDArray[Any], layout: Layout) -> tuple[float, float]:
    """All of an 8-bit picture; of deeper ones, which seldom fill their range, what is there."""
    if values.dtype == np.uint8:
        return 0.0, 1.0
    planes = np.moveaxis(values, -1, 0) if values.ndim == 3 else values[np.newaxis]
    black, white = np.percentile(sample(planes).astype(np.float64), (_BLACK, _WHITE)) / layout.data_range
    return float(black), float(white) if white > black else float(black) + 1.0


def _span(values: NDArray[Any], layout: Layout) -> float:
    height = max(1, _BAND // values[0].size)
    least, largest = np.inf, -np.inf
    for top in range(0, len(values), height):
        planes = layout.planes(values[top : top + height])
        planes = to_opponent(planes) if len(planes) == RGB_CHANNELS else planes
        least, largest = min(least, float(planes.min())), max(largest, float(planes.max()))
    return largest - least


def _alpha(picture: Picture) -> Reductions | None:
    alpha = picture.alpha
    if alpha is None:
        return None
    layout = Layout.of(alpha, None, None)
    columns, rows = picture.size
    return Reductions((rows, columns), lambda down, across: layout.planes(alpha[down, across]))
