"""Colours under full transparency: they must not bleed into what is visible."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def fill_hidden(intensities: NDArray[Any], visible: NDArray[np.bool_]) -> NDArray[Any]:
    """A copy whose invisible pixels hold the intensities of the nearest visible pixel.

    Without a visible pixel, the intensities as they are.
    """
    if not visible.any():
        return intensities
    from scipy.ndimage import distance_transform_edt

    nearest = np.asarray(distance_transform_edt(~visible, return_distances=False, return_indices=True))
    filled: NDArray[Any] = intensities[nearest[0], nearest[1]]
    return filled
