"""The lossless compressions of TIFF segments, and the predictors that make them effective."""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


NO_PREDICTOR, HORIZONTAL, FLOATING_POINT = 1, 2, 3


def _inflate(data: bytes, size: int) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, size)
    except zlib.error as error:
        raise ValueError(str(error)) from error


def _unxz(data: bytes, size: int) -> bytes:
    try:
        return lzma.LZMADecompressor().decompress(data, size)
    except lzma.LZMAError as error:
        raise ValueError(str(error)) from error


def _imagecodecs(name: str) -> Callable[[bytes, int], bytes]:
    def decompress(data: bytes, size: int) -> bytes:
        import imagecodecs

        return bytes(getattr(imagecodecs, f"{name}_decode")(data, out=size))

    return decompress


def _encoder(name: str) -> Callable[[bytes], bytes]:
    def compress(data: bytes) -> bytes:
        import imagecodecs

        return bytes(getattr(imagecodecs, f"{name}_encode")(data))

    return compress


#: By the number in a TIFF: from the stored bytes to at most so many. ValueError or RuntimeError where damaged.
DECOMPRESS: dict[int, Callable[[bytes, int], bytes]] = {
    1: lambda data, size: data[:size],
    5: _imagecodecs("lzw"),
    8: _inflate,
    32773: _imagecodecs("packbits"),
    32946: _inflate,
    34925: _unxz,
    50000: _imagecodecs("zstd"),
}

#: By Pillow's name: the number in a TIFF, the function, and whether differences compress better than values.
COMPRESS: dict[str, tuple[int, Callable[[bytes], bytes], bool]] = {
    "raw": (1, bytes, False),
    "packbits": (32773, _encoder("packbits"), False),
    "tiff_lzw": (5, _encoder("lzw"), True),
    "tiff_adobe_deflate": (8, zlib.compress, True),
    "lzma": (34925, lzma.compress, True),
    "zstd": (50000, _encoder("zstd"), True),
}


def values_of(data: bytes, shape: tuple[int, int, int], dtype: np.dtype[Any], predictor: int) -> NDArray[Any]:
    """The values (rows, columns, samples) of a decompressed segment."""
    rows, _, samples = shape
    if predictor == FLOATING_POINT:
        # Each row holds the most significant bytes of all its values first, as differences of bytes.
        differences = np.frombuffer(data, np.uint8).reshape(rows, -1, samples)
        planes = np.cumsum(differences, axis=1, dtype=np.uint8).reshape(rows, dtype.itemsize, -1)
        return np.ascontiguousarray(planes.transpose(0, 2, 1)).view(dtype.newbyteorder(">")).reshape(shape)
    if predictor == HORIZONTAL:
        bits = np.dtype(f"{dtype.byteorder}u{dtype.itemsize}")
        native = bits.newbyteorder("=")
        differences = np.frombuffer(data, bits).reshape(shape)
        return np.cumsum(differences, axis=1, dtype=native).view(dtype.newbyteorder("="))
    if predictor == NO_PREDICTOR:
        return np.frombuffer(data, dtype).reshape(shape)
    raise ValueError(f"unknown predictor {predictor}")


def differences_of(values: NDArray[Any]) -> NDArray[Any]:
    """What the horizontal predictor leaves of integers (rows, columns, samples)."""
    differences = values.copy()
    differences[:, 1:] -= values[:, :-1]
    return differences
