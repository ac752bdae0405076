"""How much memory a picture takes on its way through the command, and whether the machine has it."""

from __future__ import annotations

import math

from tvdenoise.errors import UnsupportedImageError
from tvdenoise.files.available import available_memory

_FLOAT = 4  # bytes
_GREY_PLANES = 3  # what is denoised, the iterate and the gradient, in single precision
_COLOUR_PLANES = 4  # for each channel: those, and one for the rotation of the colours
_WEIGHTED_PLANES, _WEIGHTED_PLANES_A_CHANNEL = 3, 4  # where pixels of a volume are masked, or may be missing
_COPIES = 3.25  # of the values as stored: the decoder's, ours, the result's, and what is encoded
_CHOICE = 48_000_000  # bytes, about, for the choice of the parameters, on a sample that does not grow
_SMALL = 1 << 26  # bytes, about which nobody needs to be asked
_CODE = 150_000_000  # bytes of what is loaded only after a picture has been read


def bytes_needed(
    columns: int, rows: int, channels: int, bytes_per_sample: int, *, has_alpha: bool | None = None
) -> int:
    """The most memory that reading, denoising and writing a picture take at any time, in bytes.

    channels: alpha and, for palettes, the colours that they become included; has_alpha: whether the last channel is
        alpha, by default of two and of four channels.
    Between 1.0 and 1.5 times what was measured on 24 megapixels, in PNG, JPEG, TIFF, WebP, BMP and PNM.
    The interpreter and the libraries (about 0.2 GB) come on top, once for a process.
    """
    if has_alpha is None:
        has_alpha = channels in (2, 4)
    colours = channels - has_alpha
    planes = _GREY_PLANES if colours == 1 else _COLOUR_PLANES * colours
    return math.ceil(columns * rows * (_FLOAT * planes + _COPIES * channels * bytes_per_sample)) + _CHOICE


def volume_bytes_needed(
    columns: int,
    rows: int,
    planes: int,
    channels: int,
    bytes_per_sample: int,
    *,
    has_alpha: bool = False,
    has_weights: bool = False,
) -> int:
    """The most memory that denoising so many planes together takes at any time, in bytes.

    channels: without alpha; has_weights: pixels are masked, or may be missing.
    """
    voxels = columns * rows * planes
    arrays = _GREY_PLANES if channels == 1 else _COLOUR_PLANES * channels
    if has_weights:
        arrays += _WEIGHTED_PLANES + _WEIGHTED_PLANES_A_CHANNEL * channels
    a_voxel = _FLOAT * arrays + channels * bytes_per_sample + has_alpha
    one = bytes_needed(columns, rows, channels + has_alpha, bytes_per_sample, has_alpha=has_alpha)
    return voxels * a_voxel + one


def require_memory(needed: int) -> None:
    """Raise UnsupportedImageError where the machine has less memory than is needed (bytes)."""
    if needed <= _SMALL:
        return
    available = available_memory()
    if available is not None and needed + _CODE > available:
        raise UnsupportedImageError(
            f"it needs {_gigabytes(needed + _CODE)} of memory, and {_gigabytes(available)} are available",
            "split the picture, or free some memory",
        )


def _gigabytes(number: int) -> str:
    return f"{max(number, 0) / 1e9:.1f} GB"
