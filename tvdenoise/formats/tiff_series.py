"""Several pages of a TIFF: which directories are pages, and each page as a TIFF of its own."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    COMPRESSION,
    IMAGEDESCRIPTION,
    STRIPBYTECOUNTS,
    STRIPOFFSETS,
    TiffImageFile,
)

from tvdenoise.errors import SeveralImagesError, UnreadableImageError
from tvdenoise.files.stack import Series
from tvdenoise.formats.spliced import Spliced, Window
from tvdenoise.formats.tiff_axes import described_by
from tvdenoise.formats.tiff_directories import REMEDY, Directory, Layout, directories, layout_of, texts_in

_AFTER_HEADER, _MICRO_MANAGER = 8, 54773648
_METAMORPH_STACK = 33629  # which has a value for each plane


@dataclass(frozen=True)
class Page:
    """Where its directory lies, and where the place of the next one is written; window: of its pixels, moved."""

    place: int
    link: int
    window: Window | None = None


@dataclass(frozen=True)
class TiffPages:
    """pages: in their order; layout: of the file; is_contiguous: programs read the pixels of all pages as one block,
    by what the first directory says."""

    pages: tuple[Page, ...]
    layout: Layout
    is_contiguous: bool = False

    @property
    def has_one_directory(self) -> bool:
        """Whether the first page stands for all."""
        return self.pages[0].window is not None


def survey(opened: Any, stream: BinaryIO) -> Series | None:
    """The pages of a TIFF; None where there is one. Raises UnreadableImageError and UnsupportedImageError."""
    assert isinstance(opened, TiffImageFile)
    tags, layout = opened.tag_v2, layout_of(stream)
    assert layout is not None
    found = [directory for directory in directories(stream) if not directory.is_mask]
    pages = [directory for directory in found if not directory.is_overview]
    if len(pages) == 1 and (stated := pages[0].entries.get(_METAMORPH_STACK)) and stated.count > 1:
        raise SeveralImagesError("MetaMorph stacks are not carried", "save it as an ImageJ or OME TIFF")
    described = described_by(texts_in(stream, IMAGEDESCRIPTION))
    if len(pages) < 2:
        single = pages[0] if pages else found[0]
        images = described.images or described.values // max(1, _values(single, tags))
        if images < 2 or described.is_one_page:
            return None
        placed = _moved(single, tags, images, stream)
    else:
        _require_one_form(pages)
        placed = tuple(Page(page.place, page.link) for page in pages)
    traits = TiffPages(placed, layout, described.is_contiguous)
    return Series(
        described.axes_of(len(placed), tags),
        None,
        traits,
        described.notices_for(len(placed)) + overview_notices(stream),
    )


def _values(page: Directory, tags: Mapping[int, Any]) -> int:
    """How many a page has."""
    return page.first(256) * page.first(257) * len(tags.get(BITSPERSAMPLE, (1,)))


def _require_one_form(pages: list[Directory]) -> None:
    if len({page.form for page in pages}) > 1:
        raise SeveralImagesError(
            f"its {len(pages)} pages differ in size or kind of pixels", "save each as a file of its own"
        )


def _moved(only: Directory, tags: Mapping[int, Any], images: int, stream: BinaryIO) -> tuple[Page, ...]:
    """The pages of a file that describes one of them, and has the pixels of all in one block."""
    offsets, lengths = tags.get(STRIPOFFSETS, ()), tags.get(STRIPBYTECOUNTS, ())
    columns, rows = only.first(256), only.first(257)
    bits = tags.get(BITSPERSAMPLE, (1,))
    length = columns * rows * sum(bits) // 8
    follows = all(
        offset + size == after for offset, size, after in zip(offsets, lengths, offsets[1:], strict=False)
    )
    if tags.get(COMPRESSION, 1) != 1 or not offsets or not follows or not length:
        raise UnreadableImageError(
            f"the file is damaged (it speaks of {images} pictures and holds one)", REMEDY
        )
    if offsets[0] + images * length > stream.seek(0, os.SEEK_END):
        raise UnreadableImageError("the file is truncated", "use a complete copy")
    start = offsets[0]
    return tuple(
        Page(only.place, only.link, Window(start, length, number * length)) for number in range(images)
    )


def page_of(stream: BinaryIO, series: Series, number: int) -> BinaryIO:
    """A page as a TIFF of its own, which no other follows."""
    traits = series.traits
    assert isinstance(traits, TiffPages)
    page, layout = traits.pages[number], traits.layout
    replaced = {layout.first_link: layout.place.pack(page.place), page.link: bytes(layout.place.size)}
    return cast(BinaryIO, Spliced(stream, replaced, page.window))


def overview_notices(stream: BinaryIO) -> tuple[str, ...]:
    """What is left out of a TIFF beside its pages."""
    found = list(directories(stream))
    overviews = any(directory.is_overview for directory in found)
    masks = any(directory.is_mask and not directory.is_overview for directory in found)
    return (
        *("its overviews are left out",) * overviews,
        *("its masks are left out",) * masks,
        *("Micro-Manager's index and summary of the file are left out",) * _is_of_micro_manager(stream),
    )


def _is_of_micro_manager(stream: BinaryIO) -> bool:
    """Whether the header goes on with where it has its index."""
    layout = layout_of(stream)
    stream.seek(_AFTER_HEADER)
    return layout is not None and stream.read(4) == struct.pack(layout.order + "I", _MICRO_MANAGER)
