"""What a solve in windows gives: the solution's certificate, and the image window by window."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tvdenoise.tiling.windows import bands

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from tvdenoise.solver import Solution
    from tvdenoise.tiling.scratch import Scratch
    from tvdenoise.tiling.source import Reader, Window


@dataclass(frozen=True, eq=False)
class TiledSolution:
    """A denoised image on disk.

    solution: all but its image, which is empty. Its iterations are the work in evaluations of the whole, rounded up.
    seam: the largest rms(∇J) over the pixels near one of the joins; at most μ times the tolerance if converged.
    parts: into how many the image was cut along each axis; passes: how often it was solved, the first time included.
    overlap: of the windows, to both sides, along each axis.
    """

    solution: Solution
    seam: float
    parts: tuple[int, ...]
    passes: int
    overlap: tuple[int, ...]
    reader: Reader
    scratch: Scratch
    band: int

    @property
    def windows(self) -> int:
        """In how many the image was solved."""
        return math.prod(self.parts)

    def read(self, window: Window) -> NDArray[np.float32]:
        """The denoised image in a window, the channels last where there are several, in `denoise`'s units."""
        return self.reader.image(self.scratch.read(window))

    def blocks(self, rows: int | None = None) -> Iterator[tuple[Window, NDArray[np.float32]]]:
        """The denoised image in bands of full width, in order; rows: of so many rows, those at the end fewer."""
        shape = self.reader.shape
        chunk = self.reader.source.chunk if rows is None else None
        windows = bands(shape, self.band if rows is None else rows * shape[-1], chunk)
        for window in windows:
            yield window, self.read(window)
