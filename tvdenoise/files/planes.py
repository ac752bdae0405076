"""Between Pillow's images and planes of intensities."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from tvdenoise.errors import UnsupportedImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tvdenoise.files.picture import Picture

_REMEDIES = {
    "LAB": "convert it to RGB first",
    "YCbCr": "convert it to RGB first",
}
_KNOWN_MODES = {"1", "L", "LA", "RGB", "RGBA", "P", "PA", "I;16", "I;16B", "I;16L", "I;16N", "F"}
# Modes that are known from some codecs only: 16-bit grey, which comes in Pillow's 32-bit mode, and inks.
_KNOWN_FROM = {"I": {"PPM"}, "CMYK": {"JPEG", "TIFF"}}


def require_known_mode(opened: Image.Image) -> None:
    """Raise UnsupportedImageError for pixels that cannot be carried without loss."""
    if opened.mode in _KNOWN_MODES or opened.format in _KNOWN_FROM.get(opened.mode, ()):
        return
    name = "signed or 32-bit integer" if opened.mode == "I" else opened.mode
    remedy = _REMEDIES.get(opened.mode, "convert it to 8-bit or 16-bit grey, or 8-bit RGB, first")
    raise UnsupportedImageError(f"{name} pixels are not carried yet", remedy)


def planes_of(decoded: Image.Image) -> tuple[NDArray[Any], NDArray[Any] | None, tuple[str, ...]]:
    """Intensities, alpha or None, and notices about palettes and such that became true colour or grey."""
    true, notices = _without_palette(decoded)
    values = np.asarray(true)
    if values.dtype.kind in "iu" and values.dtype.itemsize > 1:
        values = values.astype(np.uint16)  # also brings big-endian values into this machine's order
    alpha = None
    if true.mode in ("LA", "RGBA"):
        values, alpha = np.ascontiguousarray(values[..., :-1]), np.ascontiguousarray(values[..., -1])
        values = values[..., 0] if true.mode == "LA" else values
    elif (transparent := true.info.get("transparency")) is not None:
        alpha = _alpha_from(values, transparent)
        notices += ("its transparent colour is written as alpha",)
    return values, alpha, notices


def _without_palette(decoded: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    if decoded.mode == "1":
        true = decoded.convert("L")
        true.info = dict(decoded.info)  # Pillow's conversion loses a transparent grey level
        return true, ("1-bit pixels are written as 8-bit grey",)
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


def image_of(picture: Picture) -> Image.Image:
    """The picture for Pillow's encoders, without metadata."""
    planes = picture.intensities
    if picture.alpha is not None:
        planes = np.dstack((planes, picture.alpha))
    if picture.kind == "CMYK":
        return Image.frombytes("CMYK", picture.size, np.ascontiguousarray(planes).tobytes())
    return Image.fromarray(np.ascontiguousarray(planes))


def encoded(picture: Picture, codec: str, options: Mapping[str, Any]) -> bytes:
    """The contents of a file, as Pillow writes it."""
    contents = BytesIO()
    image_of(picture).save(contents, codec, **options)
    return contents.getvalue()
