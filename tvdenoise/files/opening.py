"""Opening image files with Pillow: an allow-list, and our errors in the place of its many."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from PIL import Image, ImageFile, UnidentifiedImageError

from tvdenoise.errors import TvdenoiseError, UnreadableImageError, UnsupportedImageError
from tvdenoise.files.families import FAMILIES, FORMATS
from tvdenoise.files.paths import printable
from tvdenoise.files.process_wide import PILLOW_SETTINGS

_PILLOWS = tuple(family.codec for family in FAMILIES.values() if family.is_pillows)
_LONGEST_REASON = 200
logging.getLogger("PIL").addHandler(logging.NullHandler())  # else it prints some of what it finds wrong


@contextmanager
def opened_image(stream: BinaryIO) -> Iterator[ImageFile.ImageFile]:
    """The image in a seekable stream, its header read.

    Whatever decoders raise inside becomes an UnreadableImageError, or an UnsupportedImageError where a family can
    say what it is that Pillow does not recognise.
    """
    if stream.seek(0, os.SEEK_END) == 0:
        raise UnreadableImageError("the file is empty")
    stream.seek(0)
    with decoder_errors(), PILLOW_SETTINGS:
        for family in FAMILIES.values():
            family.screen(stream)
        stream.seek(0)
        with _open(stream) as opened:
            yield opened


@contextmanager
def decoder_errors() -> Iterator[None]:
    """Inside, whatever decoders raise becomes an UnreadableImageError.

    Files can make them raise anything at all: six decoders have each their own exceptions, and their slips on odd
    files are ordinary Python errors.
    """
    try:
        yield
    except TvdenoiseError:
        raise
    except MemoryError as error:
        raise UnreadableImageError(
            "not enough memory to decode it", "split the picture, or free some memory"
        ) from error
    except Exception as error:  # see above
        raise UnreadableImageError(
            f"the file is damaged ({_first_line(error)})", "use an undamaged copy"
        ) from error


def _open(stream: BinaryIO) -> ImageFile.ImageFile:
    try:
        opened: ImageFile.ImageFile = Image.open(stream, formats=_PILLOWS)
        for family in FAMILIES.values():
            opened = family.plain(opened, stream)
        return opened
    except UnidentifiedImageError as error:
        for family in FAMILIES.values():
            if (found := family.open(stream)) is not None:
                return found
        raise _unrecognised(stream) from error


def _unrecognised(stream: BinaryIO) -> UnreadableImageError | UnsupportedImageError:
    for family in FAMILIES.values():
        if (explained := family.explain(stream)) is not None:
            return explained
    names = ", ".join(form.name for form in FORMATS)
    return UnreadableImageError("not an image, or damaged", f"tvdenoise reads {names}")


def _first_line(error: BaseException) -> str:
    line = next(iter(str(error).splitlines()), "") or type(error).__name__
    return printable(line[:_LONGEST_REASON])  # it may quote the file
