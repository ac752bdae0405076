"""Where a plot of inputs may be written."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from tvdenoise.batch.outputs import identity_of
from tvdenoise.errors import UsageError
from tvdenoise.figures import require_plot_name
from tvdenoise.files.paths import printable


def refuse_existing(path: str, *, overwrite: bool) -> None:
    """Raise UsageError for a file that would be replaced without being asked for."""
    if os.path.lexists(path) and not overwrite:
        raise UsageError(f"{printable(path)} exists already", "add --overwrite to replace it")


def require_plot(plot: str, sources: Iterable[Path], *, overwrite: bool) -> None:
    """Raise UsageError where a plot of images cannot be written, or would replace one of them."""
    require_plot_name(plot)
    identity = identity_of(Path(plot))
    if identity is not None and identity in map(identity_of, sources):
        raise UsageError(f"the plot {printable(plot)} is an input", "choose another name")
    refuse_existing(plot, overwrite=overwrite)
    if os.path.isdir(plot):
        raise UsageError(f"the plot {printable(plot)} is a folder", "choose another name")
