"""Masks: pictures that say where others are denoised and where they are kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tvdenoise.batch.outputs import identity_of
from tvdenoise.errors import TvdenoiseError, UnsupportedImageError, UsageError
from tvdenoise.files.paths import printable
from tvdenoise.files.reading import read
from tvdenoise.files.upright import Orientation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tvdenoise.batch.plan import Plan
    from tvdenoise.files.picture import Picture


def read_mask(path: str, max_megapixels: float) -> NDArray[np.bool_]:
    """True where the mask, as it is shown, is white, false where it is black: (rows, columns).

    Raises UsageError for anything else, and for one that is black everywhere.
    """
    name = printable(path)
    try:
        picture = read(Path(path), max_megapixels, to_denoise=False)
    except TvdenoiseError as error:
        raise UsageError(f"the mask {name} cannot be used: {error.reason}", error.remedy) from error
    values = picture.intensities if picture.intensities.ndim == 3 else picture.intensities[..., np.newaxis]
    white = 1 if picture.is_float else np.iinfo(values.dtype).max
    is_white: NDArray[np.bool_] = (values == white).all(axis=-1)
    others = np.count_nonzero(~(is_white | (values == 0).all(axis=-1)))
    if picture.channels == 4:  # inks
        raise UsageError(f"the mask {name} is in CMYK", "save it in grey, as PNG")
    if others:
        raise UsageError(
            f"{others} pixels of the mask {name} are neither black nor white",
            "make it of these two, and save it without loss, as PNG",
        )
    if picture.visible is not None:
        raise UsageError(f"the mask {name} is transparent in places", "save it without alpha")
    if not is_white.any():
        raise UsageError(
            f"the mask {name} is black everywhere: nothing would be denoised",
            "make it white where that is wanted",
        )
    return Orientation.of(picture).shown(is_white)


def require_apart(path: str, plan: Plan) -> None:
    """Raise UsageError where the mask is an input, too, or would be written over."""
    identity, name = identity_of(Path(path)), printable(path)
    for job in (*plan.jobs, *plan.skipped):
        if identity_of(job.source) == identity:
            raise UsageError(
                f"{name} is the mask and an input", "move it elsewhere, or leave it out with --exclude"
            )
        if any(identity_of(output) == identity for output in (job.target, *job.companions)):
            reason = f"{name} is the mask and would be an output of {printable(job.source)}"
            raise UsageError(reason, "choose another name with -o")


def mask_for(picture: Picture, mask: NDArray[np.bool_], path: str) -> NDArray[np.bool_]:
    """The mask as the picture's pixels are stored, given as it is shown: (rows, columns).

    Raises UnsupportedImageError for a picture of another size.
    """
    orientation = Orientation.of(picture)
    columns, rows = orientation.shown_size(picture.size)
    if (rows, columns) != mask.shape:
        turned = "" if picture.size == (columns, rows) else ", as its orientation shows it,"
        own_rows, own_columns = mask.shape
        raise UnsupportedImageError(
            f"the picture{turned} has {columns} × {rows} pixels "
            f"and the mask {printable(path)} {own_columns} × {own_rows}",
            "give a mask of the same size",
        )
    return np.ascontiguousarray(orientation.stored(mask))
