"""The luminance/opponent basis in which colour images are solved.

The rotation is orthonormal: it keeps white noise white at the same level, and preserves distances and so the
certificate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tvdenoise.machine import on_bands

if TYPE_CHECKING:
    from numpy.typing import NDArray


#: Rows: luminance, red–blue opponent, green–magenta opponent.
ROTATION = np.array(
    [
        [1 / np.sqrt(3), 1 / np.sqrt(3), 1 / np.sqrt(3)],
        [1 / np.sqrt(2), 0.0, -1 / np.sqrt(2)],
        [1 / np.sqrt(6), -2 / np.sqrt(6), 1 / np.sqrt(6)],
    ]
)
RGB_CHANNELS = 3


def _rotate(planes: NDArray[np.floating], rotation: NDArray[np.float64], out: NDArray[np.floating]) -> None:
    """Multiply the (3, ..., H, W) planes by a 3×3 matrix, in their precision, on threads in bands that fit the cache.

    Both arrays are contiguous; out may be the planes themselves.
    """
    matrix = rotation.astype(planes.dtype)
    columns = planes.shape[-1]
    planes, out = (array.reshape(RGB_CHANNELS, -1, columns) for array in (planes, out))

    def rotate(rows: slice) -> None:
        band = planes[:, rows]
        rotated = np.multiply.outer(matrix[:, 0], band[0])
        for coefficients, plane in zip(matrix.T[1:], band[1:], strict=True):
            for coefficient, result in zip(coefficients, rotated, strict=True):
                np.add(result, plane * coefficient, out=result)
        out[:, rows] = rotated

    on_bands(rotate, planes.shape[1], planes.size)


def to_opponent(rgb: NDArray[np.floating], out: NDArray[np.floating] | None = None) -> NDArray[np.floating]:
    """Rotate RGB planes (3, H, W), or volumes (3, planes, H, W), into the luminance/opponent basis.

    out: the array to fill, which may be the input itself; a new array by default.
    """
    opponent = np.empty(rgb.shape, rgb.dtype) if out is None else out
    _rotate(rgb, ROTATION, opponent)
    return opponent


def from_opponent(
    opponent: NDArray[np.floating], out: NDArray[np.floating] | None = None
) -> NDArray[np.floating]:
    """Rotate luminance/opponent planes or volumes back into RGB, by the transpose of the matrix of `to_opponent`.

    out: the array to fill, which may be the input itself; a new array by default.
    """
    rgb = np.empty(opponent.shape, opponent.dtype) if out is None else out
    _rotate(opponent, ROTATION.T, rgb)
    return rgb


def require_colour(channels: int) -> None:
    """Raise ValueError unless an image with this number of channels has colour noise apart from its brightness."""
    if channels != RGB_CHANNELS:
        raise ValueError(
            f"chroma_only is for images with three channels, red, green and blue, and this one has {channels}; "
            "leave it out"
        )


def chroma_weights(chroma: float) -> tuple[float, float, float]:
    """Return the factors of the channels' image gradients: 1 for luminance, ``chroma`` for both opponents."""
    return (1.0, chroma, chroma)
