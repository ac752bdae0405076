"""Looking into a file without decoding its pixels."""

from __future__ import annotations

from pathlib import Path

from tvdenoise.errors import UnreadableImageError, UnsupportedImageError
from tvdenoise.files.families import FAMILIES
from tvdenoise.files.large import LargePicture
from tvdenoise.files.memory import Budget
from tvdenoise.files.opening import opened_image
from tvdenoise.files.paths import open_unnoticed, reason_of
from tvdenoise.files.planes import require_known_mode
from tvdenoise.files.surveying import (
    DEFAULT_MAX_MEGAPIXELS,
    family_of,
    large_or_none,
    require_pixels_within,
    surveyed,
)


def examine(
    source: Path, max_megapixels: float = DEFAULT_MAX_MEGAPIXELS, *, first_frame: bool = False
) -> str | None:
    """The record of a file that is denoised already, or None; the pixels are not decoded.

    Raises UnreadableImageError and UnsupportedImageError as `read` does for what shows before.
    """
    try:
        with open(source, "rb", opener=open_unnoticed) as stream, opened_image(stream) as opened:
            family = family_of(opened, first_frame=first_frame)
            require_pixels_within(opened, max_megapixels)
            surveyed(opened, stream, family, first_frame=first_frame)
            require_known_mode(opened)
            return family.inspect(opened, stream).record
    except OSError as error:
        raise UnreadableImageError(reason_of(error)) from error


def examine_large(
    source: Path, budget: Budget, max_megapixels: float = DEFAULT_MAX_MEGAPIXELS, *, first_frame: bool = False
) -> LargePicture | None:
    """The picture of a file that is too large for a budget, of which no part can be read any more, or None.

    Raises UnreadableImageError and UnsupportedImageError.
    """
    try:
        with open(source, "rb", opener=open_unnoticed) as stream, opened_image(stream) as opened:
            family = family_of(opened, first_frame=first_frame)
            require_pixels_within(opened, max_megapixels)
            series, _ = surveyed(opened, stream, family, first_frame=first_frame)
            is_single = series is None or first_frame
            return large_or_none(opened, stream, family, budget, 1, is_single=is_single)
    except OSError as error:
        raise UnreadableImageError(reason_of(error)) from error


def codec_of(path: Path) -> str | None:
    """The codec that a file's header shows, or None where it shows none."""
    try:
        with open(path, "rb", opener=open_unnoticed) as stream, opened_image(stream) as opened:
            return opened.format if opened.format in FAMILIES else None
    except (OSError, UnreadableImageError, UnsupportedImageError):
        return None
