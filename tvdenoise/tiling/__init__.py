"""Images and volumes too large to hold: solved in windows, with one certificate for the whole."""

from __future__ import annotations

from tvdenoise.tiling.denoising import denoise_tiled
from tvdenoise.tiling.memory import TooLittleMemoryError, memory_needed
from tvdenoise.tiling.progress import Stage
from tvdenoise.tiling.result import TiledSolution
from tvdenoise.tiling.source import ArraySource, Source

__all__ = [
    "ArraySource",
    "Source",
    "Stage",
    "TiledSolution",
    "TooLittleMemoryError",
    "denoise_tiled",
    "memory_needed",
]
