"""1-bit images, which are despeckled where others are denoised."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tvdenoise.errors import UnsupportedImageError
from tvdenoise.files.reading import BILEVEL
from tvdenoise.images.specks import count_specks, specks_in

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tvdenoise.batch.outputs import Job
    from tvdenoise.files.decoded import DecodedImage


def require_despeckled(job: Job, impulses: str, *, volume: bool) -> None:
    """Raise UnsupportedImageError for 1-bit images, unless the options ask for what despeckling can do.

    impulses, volume: the options.
    """
    if volume:
        raise UnsupportedImageError("1-bit images form no volume", "leave out --volume")
    if impulses != "on":
        raise UnsupportedImageError(BILEVEL, "--impulses on removes speckle")
    if job.extra_outputs:
        raise UnsupportedImageError(
            "--residual and --trace show a solve, and a 1-bit image is despeckled without one",
            "leave them out for this one",
        )


def despeckled(image: DecodedImage, mask: NDArray[np.bool_] | None) -> tuple[DecodedImage, int]:
    """Return a 1-bit image without its specks (see `specks_in`), and their number.

    mask: specks outside it, or partly outside, lose only the pixels inside.
    """
    specks = specks_in(image.intensities > 0)
    if mask is not None:
        specks &= mask
    intensities = image.intensities ^ np.where(specks, np.uint8(255), np.uint8(0))
    return replace(image, intensities=intensities), count_specks(specks)
