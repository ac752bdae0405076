"""Pillow: process-wide settings, and conversion of its images and metadata."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from io import BytesIO
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageFile

from tvdenoise.errors import UnsupportedImageError
from tvdenoise.files.decoded import Metadata
from tvdenoise.formats.family import Inspection

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tvdenoise.files.decoded import DecodedImage


_STANDARD_ERROR = 2


class ProcessWide:
    """A reentrant, thread-safe context for a process-wide change: the first entry makes it, the last exit undoes it.

    change: a context manager that makes and undoes it.
    """

    def __init__(self, change: Callable[[], AbstractContextManager[None]]) -> None:
        self._change = change
        self._lock = Lock()
        self._inside = 0
        self._current: AbstractContextManager[None] | None = None

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._current = self._change()
                self._current.__enter__()
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0 and self._current is not None:
                self._current.__exit__(None, None, None)


@contextmanager
def _settings() -> Iterator[None]:
    limit, truncated = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # malformed metadata is no reason to fail
        try:
            Image.MAX_IMAGE_PIXELS = None  # our own limit replaces it
            ImageFile.LOAD_TRUNCATED_IMAGES = False  # another library may have set it
            yield
        finally:
            Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = limit, truncated


@contextmanager
def _silence() -> Iterator[None]:
    saved = None
    with suppress(OSError, ValueError):  # a closed stderr is silent already
        sys.stderr.flush()
        saved = os.dup(_STANDARD_ERROR)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, _STANDARD_ERROR)
        os.close(nowhere)
    try:
        yield
    finally:
        if saved is not None:
            os.dup2(saved, _STANDARD_ERROR)
            os.close(saved)


#: Inside, Pillow does not warn, has no pixel limit, and refuses truncated files.
PILLOW_SETTINGS = ProcessWide(_settings)
#: Inside, C libraries cannot print to standard error: errors are reported once, by us.
SILENT_LIBRARIES = ProcessWide(_silence)


_REMEDIES = {
    "LAB": "convert it to RGB first",
    "YCbCr": "convert it to RGB first",
}
_KNOWN_MODES = {"1", "L", "LA", "RGB", "RGBA", "P", "PA", "I;16", "I;16B", "I;16L", "I;16N", "F"}
# Modes supported for some codecs only: integers in Pillow's 32-bit mode, inks, and bands.
_KNOWN_FROM = {"I": {"PPM", "TIFF"}, "CMYK": {"JPEG", "TIFF"}, "RGBX": {"TIFF"}, "RGBa": {"TIFF"}}


def require_known_mode(opened: Image.Image) -> None:
    """Raise UnsupportedImageError for pixels that cannot be kept without loss."""
    if opened.mode in _KNOWN_MODES or opened.format in _KNOWN_FROM.get(opened.mode, ()):
        return
    name = "signed or 32-bit integer" if opened.mode == "I" else opened.mode
    remedy = _REMEDIES.get(opened.mode, "convert it to 8-bit or 16-bit grey, or 8-bit RGB, first")
    raise UnsupportedImageError(f"{name} pixels are not supported", remedy)


def planes_of(decoded: Image.Image) -> tuple[NDArray[Any], NDArray[Any] | None, tuple[str, ...]]:
    """Return intensities, alpha or None, and notes about palettes, 1-bit pixels and transparent colours."""
    true, notes = _without_palette(decoded)
    values = np.asarray(true)
    if values.dtype.kind in "iu" and values.dtype.itemsize > 1:
        values = values.astype(np.uint16)  # also converts to native byte order
    alpha = None
    if true.mode in ("LA", "RGBA"):
        values, alpha = np.ascontiguousarray(values[..., :-1]), np.ascontiguousarray(values[..., -1])
        values = values[..., 0] if true.mode == "LA" else values
    elif (transparent := true.info.get("transparency")) is not None:
        alpha = _alpha_from(values, transparent)
        notes += ("its transparent colour is written as alpha",)
    return values, alpha, notes


def is_bilevel(opened: Image.Image) -> bool:
    """Return whether an image has 1 bit per pixel, and no transparent colour, with which it becomes grey."""
    return opened.mode == "1" and "transparency" not in opened.info


def _without_palette(decoded: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    if decoded.mode == "1":
        true = decoded.convert("L")
        true.info = dict(decoded.info)  # the conversion loses a transparent grey level
        return true, () if is_bilevel(decoded) else ("1-bit pixels are written as 8-bit grey",)
    if decoded.mode not in ("P", "PA"):
        return decoded, ()
    has_alpha = decoded.mode == "PA" or "transparency" in decoded.info
    true = decoded.convert("RGBA" if has_alpha else "RGB")
    true.info.pop("transparency", None)
    red, green, blue = true.split()[:3]
    is_grey = red.tobytes() == green.tobytes() == blue.tobytes()
    if is_grey:
        true = true.convert("LA" if has_alpha else "L")
    return true, (f"its palette is written as 8-bit {'grey' if is_grey else 'colour'}",)


def _alpha_from(values: NDArray[Any], transparent: int | tuple[int, int, int]) -> NDArray[Any]:
    same = values == np.asarray(transparent)
    hidden = same.all(axis=-1) if values.ndim == 3 else same
    return np.where(hidden, 0, 255).astype(np.uint8)


def image_of(image: DecodedImage) -> Image.Image:
    """Convert an image for Pillow's encoders, without metadata."""
    planes = image.intensities
    if image.alpha is not None:
        planes = np.dstack((planes, image.alpha))
    if image.is_bilevel:
        return Image.fromarray(planes > 0)
    if image.kind == "CMYK":
        return Image.frombytes("CMYK", image.size, np.ascontiguousarray(planes).tobytes())
    return Image.fromarray(np.ascontiguousarray(planes))


def encoded(image: DecodedImage, codec: str, options: Mapping[str, Any]) -> bytes:
    """Encode an image with Pillow; returns the file contents."""
    contents = BytesIO()
    image_of(image).save(contents, codec, **options)
    return contents.getvalue()


_LARGEST_DPI = 5e7  # pixels of half a nanometre, the finest that BMP can state
_EXIF_PREFIX = b"Exif\0\0"
_NO_TEXTS = ("XML:com.adobe.xmp", "tvdenoise")  # text chunks that become XMP and the record


def metadata_of(opened: ImageFile.ImageFile, inspection: Inspection) -> Metadata:
    """Return the metadata of an opened image, after inspection and decoding, since decoders may change them."""
    information = opened.info
    exif = inspection.exif or information.get("exif")
    dpi = information.get("dpi")
    return Metadata(
        icc=information.get("icc_profile"),
        exif=exif.removeprefix(_EXIF_PREFIX) if exif else None,
        xmp=_bytes(information.get("xmp")),
        dpi=_dpi(dpi),
        text=tuple((keyword, text) for keyword, text in inspection.texts if keyword not in _NO_TEXTS),
        tags=inspection.tags,
        record=inspection.record,
        elsewhere=inspection.elsewhere,
    )


def _dpi(stated: Sequence[float] | None) -> tuple[float, float] | None:
    """Return the resolution, or None if it is not valid: some programs write 0/0 for an unknown one."""
    if not stated:
        return None
    horizontal, vertical = float(stated[0]), float(stated[1])
    is_one = all(0 < dpi < _LARGEST_DPI for dpi in (horizontal, vertical))
    return (horizontal, vertical) if is_one else None


def _bytes(value: bytes | str | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
