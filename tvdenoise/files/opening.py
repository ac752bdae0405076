"""Opening image files with Pillow: an allow-list, and our errors in the place of its many."""

from __future__ import annotations

import os
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from PIL import Image, ImageFile, UnidentifiedImageError

from tvdenoise.errors import UnreadableImageError, UnsupportedImageError
from tvdenoise.files.families import FAMILIES, FORMATS

# What Pillow raises for damaged files, beside OSError.
_DAMAGE = (
    *(OSError, ValueError, SyntaxError, NotImplementedError, Image.DecompressionBombError, struct.error),
    *(EOFError, IndexError, KeyError, TypeError, OverflowError, ZeroDivisionError, RuntimeError),
)
_PILLOWS = tuple(family.codec for family in FAMILIES.values() if family.is_pillows)


@contextmanager
def opened_image(stream: BinaryIO) -> Iterator[ImageFile.ImageFile]:
    """The image in a seekable stream, its header read.

    Whatever Pillow raises inside becomes an UnreadableImageError, or an UnsupportedImageError where a family can
    say what it is that Pillow does not recognise.
    """
    if stream.seek(0, os.SEEK_END) == 0:
        raise UnreadableImageError("the file is empty")
    stream.seek(0)
    try:
        with warnings.catch_warnings(), _without_pixel_limit():
            warnings.simplefilter("ignore")  # about metadata that is malformed, which fails no image
            with _open(stream) as opened:
                yield opened
    except _DAMAGE as error:
        raise UnreadableImageError(
            f"the file is damaged ({_first_line(error)})", "use an undamaged copy"
        ) from error


def _open(stream: BinaryIO) -> ImageFile.ImageFile:
    try:
        return Image.open(stream, formats=_PILLOWS)
    except UnidentifiedImageError as error:
        for family in FAMILIES.values():
            if (opened := family.open(stream)) is not None:
                return opened
        raise _unrecognised(stream) from error


def _unrecognised(stream: BinaryIO) -> UnreadableImageError | UnsupportedImageError:
    for family in FAMILIES.values():
        if (explained := family.explain(stream)) is not None:
            return explained
    names = ", ".join(form.name for form in FORMATS)
    return UnreadableImageError("not an image, or damaged", f"tvdenoise reads {names}")


@contextmanager
def _without_pixel_limit() -> Iterator[None]:
    """Pillow's own limit is replaced by ours, which says how to raise it."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
