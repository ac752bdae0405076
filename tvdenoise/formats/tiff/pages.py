"""Pages of a TIFF: which directories are pages, how they are arranged, and each page as a TIFF of its own.

tifffile's `series` are not used: they open the other files that an OME description names, allocate as many planes as a
description claims, fill missing ones with zeros, and have no spacing. Nor could Pillow decode their pages, as it does
for the kinds of pixels that it decodes correctly.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, cast

from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    COMPRESSION,
    IMAGEDESCRIPTION,
    PHOTOMETRIC_INTERPRETATION,
    SAMPLESPERPIXEL,
    STRIPBYTECOUNTS,
    STRIPOFFSETS,
    X_RESOLUTION,
    Y_RESOLUTION,
    TiffImageFile,
)

from tvdenoise.errors import SeveralImagesError, UnreadableImageError
from tvdenoise.files.stack import CHANNEL, DEPTH, TIME, UNKNOWN_AXIS, Axes, Series, unnamed
from tvdenoise.formats.tiff.directories import (
    ASCII,
    REMEDY,
    Directory,
    TiffLayout,
    directories,
    fields_in,
    layout_of,
    numbers_in,
    truncated,
)
from tvdenoise.formats.tiff.ome import OmeImage, in_unit, ome_of
from tvdenoise.formats.tiff.samples import PALETTE


@dataclass(frozen=True)
class Window:
    """A range of offsets that maps to bytes further on by ``shift``."""

    start: int
    length: int
    shift: int


class Spliced(io.RawIOBase):
    """A view of another stream, which must stay open, with some bytes replaced.

    replaced: bytes by offset; window: see `Window`. The ranges must not overlap.
    """

    def __init__(self, stream: BinaryIO, replaced: Mapping[int, bytes], window: Window | None = None) -> None:
        super().__init__()
        self._stream = stream
        self._length = stream.seek(0, os.SEEK_END)
        self._place = 0
        self._is_shifted = window is not None
        changes: list[tuple[int, int, bytes | int]] = [
            (start, start + len(contents), contents) for start, contents in replaced.items()
        ]
        if window is not None:
            changes.append((window.start, window.start + window.length, window.shift))
        self._changes = sorted(changes, key=lambda change: change[0])
        self._starts = [start for start, _, _ in self._changes]

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def fileno(self) -> int:
        """For libraries that seek by themselves; not supported if offsets are shifted."""
        if self._is_shifted:
            raise io.UnsupportedOperation("fileno")
        return self._stream.fileno()

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._length}[whence]
        self._place = max(0, start + offset)
        return self._place

    def readinto(self, buffer: Any) -> int:
        stored = memoryview(buffer).cast("B")  # of an array, perhaps
        contents = self.read(len(stored))
        stored[: len(contents)] = contents
        return len(contents)

    def read(self, size: int | None = -1) -> bytes:
        end = self._length if size is None or size < 0 else min(self._place + size, self._length)
        parts = []
        while self._place < end:
            if not (part := self._part(end)):
                break
            parts.append(part)
            self._place += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _part(self, end: int) -> bytes:
        """Read on from one source, up to the next change."""
        place, number = self._place, bisect_right(self._starts, self._place)
        if number:
            start, stop, change = self._changes[number - 1]
            if place < stop:
                if isinstance(change, bytes):
                    return change[place - start : end - start]
                self._stream.seek(place + change)
                return self._stream.read(min(end, stop) - place)
        following = self._starts[number] if number < len(self._starts) else end
        self._stream.seek(place)
        return self._stream.read(min(end, following) - place)


_IMAGEJ_AXES = {TIME: "frames", DEPTH: "slices", CHANNEL: "channels"}  # the last varies fastest
_COLOURS = "S"
_IMAGE = 2  # axes of a single image


@dataclass(frozen=True)
class Description:
    """images: the number of images it declares, or 0; names, sizes: see `Axes`, empty if unknown.

    spacing, unit: as declared; is_contiguous: programs read all pixels as one block; ome: if it is OME's.
    is_one_page: a single page may hold all declared images; values: the number of values of all images, or 0.
    shape: of all values, if no names of axes are stated.
    """

    images: int = 0
    names: str = ""
    sizes: tuple[int, ...] = ()
    spacing: Mapping[str, float] = field(default_factory=dict)
    unit: str | None = None
    is_contiguous: bool = False
    ome: OmeImage | None = None
    is_one_page: bool = False
    values: int = 0
    shape: tuple[int, ...] = ()

    @property
    def is_of_stack(self) -> bool:
        """Whether it would be wrong for a single image."""
        return self.images > 1 or bool(self.names or self.shape) or self.values > 0

    def axes_of(self, count: int, tags: Mapping[int, Any]) -> Axes:
        """Return the axes of ``count`` pages; unknown axes if the description does not match."""
        spacing = dict(self.spacing)
        if self.is_contiguous:  # ImageJ stores the pixel size as resolution
            for name, tag in (("X", X_RESOLUTION), ("Y", Y_RESOLUTION)):
                if (resolution := _positive(tags.get(tag))) is not None and self.unit:
                    spacing[name] = 1 / resolution
        if self.ome is not None and len(self.ome.channels) == count:
            if self.names and math.prod(self.sizes) == count:
                return Axes(self.names, self.sizes, spacing, self.unit, order=self.ome.order)
            return Axes("I", (count,), spacing, self.unit, self.ome.channels)
        names, sizes = self.names, self.sizes
        if names.endswith(_COLOURS) and math.prod(sizes) != count:  # colours in planes of one page
            names, sizes = names[:-1], sizes[:-1]
        if names and math.prod(sizes) == count:
            return Axes(names, sizes, spacing, self.unit)
        leading = self._leading_axes(count)
        if len(leading) > 1:
            return Axes(unnamed(len(leading)), leading, spacing, self.unit)
        return Axes("I", (count,), spacing, self.unit)

    def _leading_axes(self, count: int) -> tuple[int, ...]:
        """Return the sizes, above 1, of the leading axes of the shape that ``count`` pages fill; empty if none do."""
        for place in range(len(self.shape) - 1):
            if math.prod(self.shape[:place]) == count:
                return tuple(size for size in self.shape[:place] if size > 1)
        return ()

    def notes_for(self, count: int) -> tuple[str, ...]:
        if self.images in (0, count):
            return ()
        return (f"its description mentions {self.images} images, not {count}: its axes are unknown",)


def description_of(text: str) -> Description:
    """Parse a description. Raises UnsupportedImageError if the stack spans several files."""
    if text.startswith("ImageJ="):
        return _imagej(text)
    if text.startswith("{"):
        return _tifffile(text)
    if (image := ome_of(text)) is not None:
        names, sizes = image.axes
        return Description(
            len(image.channels), names, sizes, image.spacing, image.unit, ome=image, is_one_page=True
        )
    return Description()


def descriptions_in(stream: BinaryIO) -> tuple[bytes, ...]:
    """Return the descriptions of the first page, as stored; some programs write several."""
    fields = fields_in(stream, {IMAGEDESCRIPTION}.__contains__, repeated=True)
    return tuple(bytes(found.contents) for found in fields if found.kind == ASCII)  # type: ignore[arg-type]


def described_by(texts: Iterable[bytes]) -> Description:
    """Parse the first description that declares a stack; see `description_of`."""
    found = (description_of(text.rstrip(b"\0").decode("latin-1")) for text in texts)
    return next((description for description in found if description.is_of_stack), Description())


def _imagej(text: str) -> Description:
    fields = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    images = _whole(fields.get("images")) or 1
    given = {name: _whole(fields.get(key)) or 1 for name, key in _IMAGEJ_AXES.items()}
    if math.prod(given.values()) != images:
        given = {DEPTH: images}
    present = {name: size for name, size in given.items() if size > 1}
    unit = _unit(fields.get("unit"))
    spacing = {}
    distance = _positive(fields.get("spacing"))
    if distance is not None and (own := in_unit(distance, _unit(fields.get("zunit")) or unit, unit)):
        spacing[DEPTH] = own
    if (interval := _positive(fields.get("finterval"))) is not None:
        spacing[TIME] = interval
    return Description(images, "".join(present), tuple(present.values()), spacing, unit, is_contiguous=True)


def _unit(text: str | None) -> str | None:
    return re.sub(r"\\u([0-9A-Fa-f]{4})", lambda code: chr(int(code[1], 16)), text) if text else None


def _tifffile(text: str) -> Description:
    """Parse tifffile's JSON: shape and perhaps axes; "truncated" if one directory stands for all pages."""
    try:
        found = json.loads(text)
        shape = tuple(int(size) for size in found["shape"])
        axes = str(found.get("axes", ""))
    except (ValueError, TypeError, KeyError, RecursionError):
        return Description()
    values = math.prod(shape) if found.get("truncated") else 0
    if not axes:
        return Description(values=values, shape=shape if len(shape) > _IMAGE else ())
    place = axes.find("Y")
    names = axes[: max(place, 0)]
    if len(axes) != len(shape) or not names.isalpha() or len(set(names)) < len(names):
        return Description(values=values)
    return Description(names=names, sizes=shape[:place], values=values)


def with_colours_last(text: str, colours: int) -> str:
    """Convert the description of pages with planar colours for pages with interleaved colours.

    Only tifffile's descriptions depend on this.
    """
    try:
        found = json.loads(text)
        shape, axes = list(found["shape"]), str(found.get("axes", ""))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return text
    place = len(shape) - 3
    if place < 0 or shape[place] != colours or axes not in ("", axes[:place] + _COLOURS + "YX"):
        return text
    found["shape"] = [*shape[:place], *shape[place + 1 :], colours]
    return json.dumps(found | ({"axes": axes[:place] + "YX" + _COLOURS} if axes else {}))


def _whole(text: object) -> int | None:
    try:
        return int(str(text))
    except ValueError:
        return None


def _positive(value: object) -> float | None:
    try:
        number = float(value)  # type: ignore[arg-type]  # a text, or a fraction
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return number if math.isfinite(number) and number > 0 else None


_AFTER_HEADER, _MICRO_MANAGER = 8, 54773648
_CLOUD_OPTIMISED, _AGAIN = b"GDAL_STRUCTURAL_METADATA_SIZE=", "gdal_translate -of COG makes one again"
_RGBA = 4  # samples
_METAMORPH_STACK = 33629  # has a value for each plane


@dataclass(frozen=True)
class Page:
    """Offsets of a directory, and of the link to the next page, behind its overviews; window: the shift of its pixels,
    or None."""

    place: int
    link: int
    window: Window | None = None


@dataclass(frozen=True)
class TiffPages:
    """Pages of a file, in order; is_contiguous: programs read the pixels of all pages as one block, described by the
    first directory; size: bytes of all values of pages of different size or kind, or 0."""

    pages: tuple[Page, ...]
    layout: TiffLayout
    is_contiguous: bool = False
    size: int = 0

    @property
    def has_one_directory(self) -> bool:
        """Whether one directory stands for all pages."""
        return self.pages[0].window is not None


def survey(opened: Any, stream: BinaryIO) -> Series | None:
    """Return the pages of a TIFF; None for a single one. Raises UnreadableImageError and UnsupportedImageError."""
    assert isinstance(opened, TiffImageFile)
    tags, layout = opened.tag_v2, layout_of(stream)
    assert layout is not None
    found = list(groups(stream))
    is_slide = is_of_aperio(stream)
    found = [group for group in found if is_slide or not (group[0].is_overview or group[0].is_mask)] or found[
        :1
    ]
    pages = [group[0] for group in found]
    if len(pages) == 1 and (stated := pages[0].entries.get(_METAMORPH_STACK)) and stated.count > 1:
        raise SeveralImagesError("MetaMorph stacks are not supported", "save it as an ImageJ or OME TIFF")
    described = described_by(descriptions_in(stream))
    size = 0
    if len(pages) < 2:
        single = pages[0]
        images = described.images or described.values // max(1, _values(single, tags))
        if images < 2 or described.is_one_page:
            return None
        placed = _moved(single, tags, images, stream)
    else:
        placed = tuple(Page(group[0].place, group[-1].link) for group in found)
        if len({(page.form, _bits_of(page, stream)) for page in pages}) > 1:
            size = sum(_size_of(page, stream) for page in pages)
    traits = TiffPages(placed, layout, described.is_contiguous, size)
    axes = described.axes_of(len(placed), tags)
    if size:
        axes = Axes(UNKNOWN_AXIS, (axes.count,), axes.spacing, axes.unit, is_mixed=True)
    return Series(axes, None, traits, described.notes_for(len(placed)) + notes_of_left_out(stream))


def groups(stream: BinaryIO) -> Iterator[list[Directory]]:
    """Yield the directories of each page: its own, and those of its overviews and masks, which follow."""
    is_slide = is_of_aperio(stream)
    group: list[Directory] = []
    for directory in directories(stream):
        belongs = directory.is_overview or directory.is_mask
        if is_slide and group:  # whose levels look like pages, and whose label like an overview
            belongs = directory.shows(group[0])
        if group and not belongs:
            yield group
            group = []
        group.append(directory)
    if group:
        yield group


def is_of_aperio(stream: BinaryIO) -> bool:
    """Return whether a TIFF is a slide of Aperio's scanners, or a page of one."""
    return any(text.startswith(b"Aperio") for text in descriptions_in(stream))


def _bits_of(page: Directory, stream: BinaryIO) -> int:
    """Return the bits of the first sample, also of those that an entry does not hold."""
    return page.first(BITSPERSAMPLE) or next(iter(numbers_in(stream, page, BITSPERSAMPLE, 1)), 1)


def _size_of(page: Directory, stream: BinaryIO) -> int:
    """Return at least the bytes of the values of a page as they are written: palettes become colours."""
    is_palette = page.first(PHOTOMETRIC_INTERPRETATION) == PALETTE
    samples = _RGBA if is_palette else max(1, page.first(SAMPLESPERPIXEL))
    return page.first(256) * page.first(257) * samples * -(-_bits_of(page, stream) // 8)


def spacing_stated(opened: Any, stream: BinaryIO) -> Axes | None:
    """Return the distances that the description of a single image states, as axes of one image; None for none."""
    texts = descriptions_in(stream)
    found = [description_of(text.rstrip(b"\0").decode("latin-1")) for text in texts]
    stated = (description.axes_of(1, opened.tag_v2) for description in found)
    return next((axes for axes in stated if axes.spacing), None)


def _values(page: Directory, tags: Mapping[int, Any]) -> int:
    """Return the number of values of a page."""
    return page.first(256) * page.first(257) * len(tags.get(BITSPERSAMPLE, (1,)))


def _moved(only: Directory, tags: Mapping[int, Any], images: int, stream: BinaryIO) -> tuple[Page, ...]:
    """Return the pages of a file with one directory and the pixels of all pages in one block."""
    offsets, lengths = tags.get(STRIPOFFSETS, ()), tags.get(STRIPBYTECOUNTS, ())
    columns, rows = only.first(256), only.first(257)
    bits = tags.get(BITSPERSAMPLE, (1,))
    length = columns * rows * sum(bits) // 8
    follows = all(
        offset + size == after for offset, size, after in zip(offsets, lengths, offsets[1:], strict=False)
    )
    if tags.get(COMPRESSION, 1) != 1 or not offsets or not follows or not length:
        raise UnreadableImageError(
            f"the file is damaged (it announces {images} images and holds one)", REMEDY
        )
    if offsets[0] + images * length > stream.seek(0, os.SEEK_END):
        raise truncated()
    start = offsets[0]
    return tuple(
        Page(only.place, only.link, Window(start, length, number * length)) for number in range(images)
    )


def page_of(stream: BinaryIO, series: Series, number: int) -> BinaryIO:
    """Return a page as a TIFF of its own, without following pages."""
    traits = series.traits
    assert isinstance(traits, TiffPages)
    page, layout = traits.pages[number], traits.layout
    replaced = {layout.first_link: layout.place.pack(page.place), page.link: bytes(layout.place.size)}
    return cast(BinaryIO, Spliced(stream, replaced, page.window))


def notes_of_left_out(stream: BinaryIO) -> tuple[str, ...]:
    """Return notes about masks and indices that are left out of a TIFF."""
    masks = any(directory.is_mask for directory in directories(stream))
    return (
        *("its masks are dropped",) * masks,
        *("Micro-Manager's index and summary of the file are dropped",) * _is_of_micro_manager(stream),
        *(f"its layout as a cloud-optimised GeoTIFF is lost; {_AGAIN}",) * _is_cloud_optimised(stream),
    )


def _is_cloud_optimised(stream: BinaryIO) -> bool:
    """Return whether GDAL's description of such a layout follows the header."""
    layout = layout_of(stream)
    assert layout is not None
    stream.seek(layout.first_link + layout.place.size)
    return stream.read(len(_CLOUD_OPTIMISED)) == _CLOUD_OPTIMISED


def _is_of_micro_manager(stream: BinaryIO) -> bool:
    """Return whether Micro-Manager's index follows the header."""
    layout = layout_of(stream)
    stream.seek(_AFTER_HEADER)
    return layout is not None and stream.read(4) == struct.pack(layout.order + "I", _MICRO_MANAGER)
