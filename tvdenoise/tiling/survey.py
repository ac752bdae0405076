"""One pass over an image too large to hold: its extremes, and what the choice of parameters looks at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tvdenoise.intensities import require_reasonable
from tvdenoise.noise.volumes import planes_looked_at
from tvdenoise.sampling import pieces_of
from tvdenoise.tiling.evidence import StreamedEvidence
from tvdenoise.tiling.progress import Stage, Tell
from tvdenoise.tiling.windows import bands, size, size_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tvdenoise.tiling.source import Reader, Window


@dataclass(eq=False)
class Survey:
    """What one pass found.

    extremes: the least and the largest value of the planes as they are solved.
    noise, sample: the evidence of the noise, and the sample on which μ is chosen; None where not asked for.
    """

    extremes: tuple[np.floating, np.floating]
    noise: StreamedEvidence | None
    sample: NDArray[np.float32] | None

    @property
    def span(self) -> float:
        """Of all planes, in their precision."""
        low, high = self.extremes
        return float(high - low)


def survey(reader: Reader, most_pixels: int, tell: Tell, *, needs_noise: bool, needs_sample: bool) -> Survey:
    """Read the image once, in bands. Raises ValueError where values are not finite or too large, as `denoise` does."""
    shape = (reader.channels, *reader.shape)
    evidence = StreamedEvidence.of(shape) if needs_noise else None
    looked_at = planes_looked_at(reader.shape)
    sampler = _Sampler(shape) if needs_sample else None
    stored, solved, bad, done = _Extremes(), _Extremes(), 0, 0
    for window in bands(reader.shape, most_pixels, reader.source.chunk):
        tell(Stage.READING, done / size_of(reader.shape))
        planes = reader.stored_planes(window)
        if not stored.add(planes):
            bad += int(np.count_nonzero(~np.isfinite(planes)))
        elif not bad:
            planes = reader.rotated(planes)
            solved.add(planes)
            if evidence is not None:
                evidence.add_window(planes, window, looked_at)
            if sampler is not None:
                sampler.add(planes, window)
        done += size(window)
        del planes
    require_reasonable(float(max(stored.high, -stored.low)), bad)
    return Survey((solved.low, solved.high), evidence, None if sampler is None else sampler.sample)


class _Extremes:
    def __init__(self) -> None:
        self.low: np.floating = np.float32(np.inf)
        self.high: np.floating = np.float32(-np.inf)

    def add(self, planes: NDArray[np.floating]) -> bool:
        """False, and left out, where a value is not finite."""
        low, high = planes.min(), planes.max()
        if not (np.isfinite(low) and np.isfinite(high)):
            return False
        self.low, self.high = min(self.low, low), max(self.high, high)
        return True


class _Sampler:
    """`tvdenoise.sampling.sample`, band by band."""

    def __init__(self, shape: Sequence[int]) -> None:
        """shape: (channels, ...)."""
        self._places = pieces_of(shape) or [np.arange(length) for length in shape[1:]]
        self.sample = np.empty((shape[0], *map(len, self._places)), np.float32)

    def add(self, planes: NDArray[np.floating], window: Window) -> None:
        """Take from a window (channels, ...) what the sample has of it."""
        to, source = [], []
        for places, part in zip(self._places, window, strict=True):
            first, last = np.searchsorted(places, (part.start, part.stop))
            to.append(slice(first, last))
            source.append(places[first:last] - part.start)
        for values, plane in zip(self.sample, planes, strict=True):
            values[tuple(to)] = plane[np.ix_(*source)]
