"""Masks: pictures that say where others are denoised and where they are kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tvdenoise.errors import TvdenoiseError, UnsupportedImageError, UsageError
from tvdenoise.files.paths import printable
from tvdenoise.files.reading import read

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tvdenoise.files.picture import Picture


def read_mask(path: str, max_megapixels: float) -> NDArray[np.bool_]:
    """True where the mask is white, false where it is black: (rows, columns). Raises UsageError for anything else."""
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
    return is_white


def require_size_of(mask: NDArray[np.bool_], picture: Picture, path: str) -> None:
    """Raise UnsupportedImageError for a picture of another size than the mask's."""
    rows, columns = mask.shape
    if picture.size != (columns, rows):
        own_columns, own_rows = picture.size
        raise UnsupportedImageError(
            f"the picture has {own_columns} × {own_rows} pixels and the mask {printable(path)} {columns} × {rows}",
            "give a mask of the same size",
        )
