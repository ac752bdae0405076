"""Reading image files: by content, from an allow-list, within a limit of pixels, whole or not at all."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageFile

from tvdenoise.errors import UnreadableImageError, UnsupportedImageError
from tvdenoise.files.families import FAMILIES
from tvdenoise.files.formats import Family, Inspection
from tvdenoise.files.headers import header_from
from tvdenoise.files.memory import require_memory
from tvdenoise.files.opening import opened_image
from tvdenoise.files.paths import open_unnoticed, reason_of
from tvdenoise.files.picture import Metadata, Picture
from tvdenoise.files.planes import planes_of, require_known_mode

MEGAPIXEL = 1_000_000
DEFAULT_MAX_MEGAPIXELS = 500.0
_EXIF_PREFIX = b"Exif\0\0"
_NO_TEXTS = ("XML:com.adobe.xmp", "tvdenoise")  # text chunks of a PNG that are kept as what they hold


def read(
    source: Path,
    max_megapixels: float = DEFAULT_MAX_MEGAPIXELS,
    *,
    to_denoise: bool = True,
    may_have_nan: bool = False,
) -> Picture:
    """Decode a file, to denoise it or only to look at it. Raises UnreadableImageError and UnsupportedImageError."""
    try:
        stream = source.open("rb")
    except OSError as error:
        raise UnreadableImageError(reason_of(error)) from error
    with stream:
        return read_stream(stream, max_megapixels, to_denoise=to_denoise, may_have_nan=may_have_nan)


def read_stream(
    stream: BinaryIO,
    max_megapixels: float = DEFAULT_MAX_MEGAPIXELS,
    *,
    to_denoise: bool = True,
    may_have_nan: bool = False,
) -> Picture:
    """Decode what a seekable stream holds. Raises UnreadableImageError and UnsupportedImageError.

    to_denoise: refuse, before memory is taken, what the machine has not the memory to decode, denoise and encode.
    may_have_nan: take intensities that are NaN, which stand for missing pixels.
    """
    with opened_image(stream) as opened:
        assert opened.format is not None
        _require_pixels_within(opened, max_megapixels)
        _require_single_picture(opened)
        require_known_mode(opened)
        if to_denoise:
            require_memory(header_from(opened, stream).bytes_needed)
        position = stream.tell()
        family = FAMILIES[opened.format]
        inspection = family.inspect(opened, stream)
        stream.seek(position)
        intensities, alpha, notices = _planes(opened, stream, family)
        metadata = _metadata(opened, inspection)
    _require_finite(intensities, may_have_nan=may_have_nan)
    if alpha is not None:
        _require_finite(alpha)
    return Picture(
        intensities, alpha, opened.format, metadata, inspection.traits, inspection.notices + notices
    )


def examine(source: Path, max_megapixels: float = DEFAULT_MAX_MEGAPIXELS) -> str | None:
    """The record of a file that is denoised already, or None; the pixels are not decoded.

    Raises UnreadableImageError and UnsupportedImageError as `read` does for what shows before.
    """
    try:
        with open(source, "rb", opener=open_unnoticed) as stream, opened_image(stream) as opened:
            assert opened.format is not None
            _require_pixels_within(opened, max_megapixels)
            _require_single_picture(opened)
            require_known_mode(opened)
            return FAMILIES[opened.format].inspect(opened, stream).record
    except OSError as error:
        raise UnreadableImageError(reason_of(error)) from error


def codec_of(path: Path) -> str | None:
    """The codec that a file's header shows, or None where it shows none."""
    try:
        with open(path, "rb", opener=open_unnoticed) as stream, opened_image(stream) as opened:
            return opened.format if opened.format in FAMILIES else None
    except (OSError, UnreadableImageError, UnsupportedImageError):
        return None


def _planes(
    opened: ImageFile.ImageFile, stream: BinaryIO, family: Family
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any] | None, tuple[str, ...]]:
    """Intensities, alpha or None, and notices."""
    if (deep := family.decode(opened, stream)) is not None:
        return *deep, ()
    opened.load()
    return planes_of(opened)


def is_whole(path: Path) -> bool:
    """Whether the file is an image, decoded to its end to be sure.

    One that is recognised but not carried is someone else's, and counts as one.
    """
    try:
        read(path, math.inf, to_denoise=False)
    except UnreadableImageError:
        return False
    except UnsupportedImageError:
        return True
    return True


def _require_pixels_within(opened: Image.Image, max_megapixels: float) -> None:
    columns, rows = opened.size
    megapixels = columns * rows / MEGAPIXEL
    if megapixels > max_megapixels:
        raise UnsupportedImageError(
            f"its {columns} × {rows} pixels are more than the limit of {max_megapixels:g} megapixels",
            f"allow them with --max-pixels {int(megapixels) + 1}",
        )


def _require_single_picture(opened: Image.Image) -> None:
    """Refuse animations and several pictures; TIFF, where overviews are no pictures, does it by itself."""
    if opened.format not in FAMILIES:  # MPO, which hides behind JPEG
        raise UnsupportedImageError(
            f"the file holds several pictures ({opened.format})", "save the one you want as a file of its own"
        )
    if opened.format != "TIFF" and getattr(opened, "is_animated", False):
        raise UnsupportedImageError("animations are not carried yet", "save its frames as files of their own")


def _require_finite(intensities: np.ndarray[Any, Any], *, may_have_nan: bool = False) -> None:
    if intensities.dtype.kind != "f":
        return
    if np.isinf(intensities).any():
        raise UnsupportedImageError(
            "some values are not finite", "replace NaN and infinities by numbers first"
        )
    if not may_have_nan and np.isnan(intensities).any():
        raise UnsupportedImageError(
            "some values are not finite (NaN)", "replace them by numbers, or fill them with --nan fill"
        )


def _metadata(opened: ImageFile.ImageFile, inspection: Inspection) -> Metadata:
    information = opened.info
    exif = inspection.exif or information.get("exif")
    dpi = information.get("dpi")
    return Metadata(
        icc=information.get("icc_profile"),
        exif=exif.removeprefix(_EXIF_PREFIX) if exif else None,
        xmp=_bytes(information.get("xmp")),
        dpi=(float(dpi[0]), float(dpi[1])) if dpi and all(dpi) else None,
        text=tuple((keyword, text) for keyword, text in inspection.texts if keyword not in _NO_TEXTS),
        tags=inspection.tags,
        record=inspection.record,
        elsewhere=inspection.elsewhere,
    )


def _bytes(value: bytes | str | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
