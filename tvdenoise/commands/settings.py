"""From what was written on the command line to settings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tvdenoise.commands.numbers import distances, intensity, positive, size, whole

if TYPE_CHECKING:
    from tvdenoise.batch.request import Settings


_BEST_QUALITY = 100


def settings_of(given: Mapping[str, Any]) -> Settings:
    """The settings that a command's parameters ask for, by their names. Raises UsageError."""
    from tvdenoise.batch.request import Settings
    from tvdenoise.files.reading import DEFAULT_MAX_MEGAPIXELS

    return Settings(
        mu=positive("--mu", given["mu"]),
        epsilon=intensity("--epsilon", given["epsilon"]),
        sigma=intensity("--sigma", given["sigma"]),
        noise=given["noise"].value,
        strength=positive("--strength", given["strength"]),
        tolerance=intensity("--tolerance", given["tolerance"], may_be_zero=True),
        max_iterations=whole("--max-iterations", given["max_iterations"]),
        chroma=positive("--chroma", given["chroma"]),
        tv=given["tv"].value,
        penalty=given["penalty"].value,
        step=given["step"].value,
        engine=given["engine"].value,
        threads=whole("--threads", given["threads"]),
        data_range=positive("--data-range", given["data_range"]),
        mask=None if given.get("mask") is None else os.path.abspath(given["mask"]),
        nan=given["nan"].value if "nan" in given else "refuse",
        quality=whole("--quality", given["quality"], _BEST_QUALITY),
        max_megapixels=positive("--max-pixels", given["max_pixels"]) or DEFAULT_MAX_MEGAPIXELS,
        strip_metadata=given["strip_metadata"],
        preserve_times=given["preserve_times"],
        first_frame=given.get("first_frame", False),
        per_plane=given.get("per_plane", False),
        volume=given.get("volume", False),
        spacing=distances("--spacing", given.get("spacing")),
        memory=size("--memory", given.get("memory")),
    )
