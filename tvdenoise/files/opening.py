"""Opening a file: its header, family and series, without decoding pixels."""

from __future__ import annotations

import logging
import math
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError
from PIL.TiffImagePlugin import BITSPERSAMPLE, TiffImageFile

from tvdenoise.errors import (
    SeveralImagesError,
    TvdenoiseError,
    UnreadableImageError,
    UnsupportedImageError,
)
from tvdenoise.files.decoded import kind_of
from tvdenoise.files.memory import BYTES_OF_BILEVEL, bytes_needed, bytes_of_filters, volume_bytes_needed
from tvdenoise.files.paths import open_unnoticed, printable, reason_of
from tvdenoise.files.pillow import PILLOW_SETTINGS, is_bilevel, require_known_mode
from tvdenoise.files.stack import Axes, Series
from tvdenoise.formats.animation import palette_is_grey
from tvdenoise.formats.family import Family
from tvdenoise.formats.registry import FAMILIES, FORMATS
from tvdenoise.formats.tiff.samples import deep_samples
from tvdenoise.precision import precision_of

_PILLOWS = tuple(family.codec for family in FAMILIES.values() if family.opened_by_pillow)
_LONGEST_REASON = 200
logging.getLogger("PIL").addHandler(logging.NullHandler())  # otherwise it prints some warnings


@contextmanager
def opened_image(stream: BinaryIO) -> Iterator[ImageFile.ImageFile]:
    """Open the image in a seekable stream and read its header.

    Turns any exception of a decoder inside into UnreadableImageError, or into UnsupportedImageError if a family can
    explain why Pillow does not recognise the file.
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
    """Turn any exception of a decoder inside into UnreadableImageError.

    The decoders have exceptions of their own, and fail on odd files with any Python error.
    """
    try:
        yield
    except TvdenoiseError:
        raise
    except MemoryError as error:
        raise UnreadableImageError(
            "not enough memory to decode it", "split the image, or free some memory"
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
    return printable(line[:_LONGEST_REASON])  # the message may quote the file


_PNG_START = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_PNG_CHANNELS = {0: 1, 2: 3, 3: 4, 4: 2, 6: 4}  # a palette may hold alpha
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_MOST_SEGMENTS = 500
_BYTES_OF_MODES = {"I": 4, "F": 4}
_WITHOUT_ALPHA = {"CMYK"}  # among modes of four channels


@dataclass(frozen=True)
class Header:
    """What a header says: codec as named by Pillow; channels including alpha, and of a palette those it expands to;
    planes: the number of images in the file; volume: the number of images in its largest volume. Both are 1 if the
    beginning of the file does not show them. is_double: it is denoised in double precision; in_bands: band by band;
    is_bilevel: see `DecodedImage`. gate_values: of filters that will denoise it, see `memory.bytes_of_filters`."""

    codec: str
    columns: int
    rows: int
    channels: int
    bytes_per_sample: int
    has_alpha: bool
    planes: int = 1
    volume: int = 1
    is_double: bool = False
    in_bands: bool = False
    is_bilevel: bool = False
    gate_values: Callable[[int], int] | None = None

    @property
    def values(self) -> int:
        """The number of values to denoise."""
        return self.columns * self.rows * (self.channels - self.has_alpha) * self.planes

    @property
    def bytes_needed(self) -> int:
        """See `memory.bytes_needed`."""
        if self.is_bilevel:
            return self.columns * self.rows * BYTES_OF_BILEVEL
        needed = bytes_needed(
            self.columns,
            self.rows,
            self.channels,
            self.bytes_per_sample,
            has_alpha=self.has_alpha,
            is_double=self.is_double,
            in_bands=self.in_bands,
        )
        if self.gate_values is None:
            return needed
        together = 1 if self.in_bands else self.channels - self.has_alpha
        return needed + bytes_of_filters(
            self.columns, self.rows, together, self.gate_values, is_double=self.is_double
        )

    def volume_bytes_needed(self, *, has_weights: bool) -> int:
        """See `memory.volume_bytes_needed`."""
        return volume_bytes_needed(
            self.columns,
            self.rows,
            self.volume,
            self.channels - self.has_alpha,
            self.bytes_per_sample,
            has_alpha=self.has_alpha,
            has_weights=has_weights,
            is_double=self.is_double,
        )


MEGAPIXEL = 1_000_000
_FIRST_OF = {"MPO": "JPEG"}  # the codec of the first image


@dataclass(frozen=True, eq=False)
class Contents:
    """What a file holds, known without decoding pixels.

    series: of its images, None for a single one; count: the number of images, None if unknown, when only the first is
    used and the rest are not supported.
    """

    family: Family
    series: Series | None
    count: int | None


@contextmanager
def _naming_image(number: int, count: int) -> Iterator[None]:
    """Prefix errors with the number of the image."""
    try:
        yield
    except (UnreadableImageError, UnsupportedImageError) as error:
        raise type(error)(f"image {number + 1} of {count}: {error.reason}", error.remedy) from error


@dataclass(frozen=True)
class ImageForm:
    """What the header says of the pixels of an image; size: columns and rows.

    kinds: those that it may have, as `decoded.kind_of` names them, the most likely first: a palette may be used for
    grey alone, and frames may leave gaps. is_bilevel: it has 1 bit per pixel.
    """

    kinds: tuple[str, ...]
    size: tuple[int, int]
    is_bilevel: bool


class OpenedFile:
    """An image file whose header is read. Its properties are computed on access, without decoding pixels.

    opened: its first image, opened by Pillow; stream: the file it is read from.
    max_megapixels: refuse larger images; first_frame: use only the first of several images; couples_bands: bands are
    denoised together; gate_values: of learned filters that denoise it.
    Properties raise UnreadableImageError and UnsupportedImageError.
    """

    def __init__(
        self,
        opened: ImageFile.ImageFile,
        stream: BinaryIO,
        max_megapixels: float = math.inf,
        *,
        first_frame: bool = False,
        couples_bands: bool = False,
        gate_values: Callable[[int], int] | None = None,
    ) -> None:
        self.opened = opened
        self.stream = stream
        self.first_frame = first_frame
        self._couples_bands = couples_bands
        self._gate_values = gate_values
        self._max_megapixels = max_megapixels

    @property
    def codec(self) -> str | None:
        """Pillow's name of the format; None for one that is not supported (MPO)."""
        return self.opened.format if self.opened.format in FAMILIES else None

    @cached_property
    def _surveyed(self) -> Series | None:
        family = FAMILIES.get(self.opened.format or "")
        return family.several.survey(self.opened, self.stream) if family and family.several else None

    @property
    def axes(self) -> Axes | None:
        """The axes of the images; None for a single image."""
        return None if self._surveyed is None else self._surveyed.axes

    @property
    def stated_spacing(self) -> Axes | None:
        """The distances that a single image states, as its axes, or None."""
        several = self.contents.family.several
        return None if several is None else several.spacing(self.opened, self.stream)

    @property
    def header(self) -> Header:
        """The header, of the largest image if they differ; a readable header does not mean that the pixels are."""
        axes = self.axes
        header = max(self._headers(), key=lambda each: each.bytes_needed)
        return header if axes is None else replace(header, planes=axes.count, volume=_largest(axes))

    @property
    def bytes_needed(self) -> int:
        """Memory for denoising the first image, or the largest if they differ; see `memory.bytes_needed`."""
        headers = (
            replace(
                header,
                in_bands=header.in_bands and not self._couples_bands,
                gate_values=self._gate_values,
            )
            for header in self._headers()
        )
        return max(header.bytes_needed for header in headers)

    def _headers(self) -> Iterator[Header]:
        """Yield the headers of images that differ, or that of the first."""
        yield _header(self.opened, self.stream)
        for page, stream in self._further() if not self.first_frame else ():
            yield _header(page, stream)

    def _further(self) -> Iterator[tuple[ImageFile.ImageFile, BinaryIO]]:
        """Open all but the first of images that differ, each as a file of its own."""
        series, codec = self._surveyed, self.opened.format or ""
        if series is None or not series.axes.is_mixed:
            return
        several = FAMILIES[codec].several
        assert several is not None
        assert several.page is not None
        for number in range(1, series.count):
            with (
                _naming_image(number, series.count),
                several.page(self.stream, series, number) as stream,
                opened_image(stream) as page,
            ):
                yield page, stream

    @cached_property
    def contents(self) -> Contents:
        """The contents; raises for too many pixels, and for unsupported kinds of pixels and series."""
        family = self._family()
        require_pixels_within(self.opened, self._max_megapixels)
        series, count = self._series(family)
        require_supported(self.opened, self.stream, family)
        for page, stream in self._further() if not self.first_frame else ():
            require_pixels_within(page, self._max_megapixels)
            require_supported(page, stream, family)
        return Contents(family, series, count)

    @property
    def forms(self) -> tuple[ImageForm, ...]:
        """The forms of all images that differ, or that of the first. Raises as `contents`."""
        several, series = self.contents.family.several, self.contents.series
        is_composed = several is not None and several.is_of_frames and series is not None
        first = _form(self.opened, self.stream, is_composed=is_composed)
        if self.first_frame:
            return (first,)
        further = (_form(page, stream, is_composed=False) for page, stream in self._further())
        return (first, *further)

    @property
    def record(self) -> str | None:
        """The record that tvdenoise left in a file it denoised, or None."""
        return self.contents.family.inspect(self.opened, self.stream).record

    def _family(self) -> Family:
        """Return the family; raises SeveralImagesError for MPO unless only the first image is used."""
        codec = self.opened.format
        assert codec is not None
        if codec not in FAMILIES and self.first_frame:
            codec = _FIRST_OF.get(codec, codec)
        if codec not in FAMILIES:
            raise SeveralImagesError(f"the file holds several images ({codec})")
        return FAMILIES[codec]

    def _series(self, family: Family) -> tuple[Series | None, int | None]:
        if family.several is None:
            if not self.first_frame and getattr(self.opened, "is_animated", False):
                raise SeveralImagesError(f"several images in one {self.opened.format} are not supported")
            return None, int(getattr(self.opened, "n_frames", 1))
        try:
            series = self._surveyed
        except UnsupportedImageError:
            if not self.first_frame:
                raise
            return None, None
        return series, 1 if series is None else series.count


def require_supported(opened: ImageFile.ImageFile, stream: BinaryIO, family: Family) -> None:
    """Raise UnsupportedImageError for an image whose header shows that it cannot be decoded without loss.

    Every image is checked by this alone, in a run as in a dry run. Keeps the position of the stream.
    """
    position = stream.tell()
    require_known_mode(opened)
    family.check(opened, stream)
    stream.seek(position)


def require_pixels_within(opened: Image.Image, max_megapixels: float) -> None:
    """Raise UnsupportedImageError if an image has more than ``max_megapixels``."""
    require_size_within(*opened.size, max_megapixels)


def require_size_within(columns: int, rows: int, max_megapixels: float) -> None:
    """Raise UnsupportedImageError for a size of more than ``max_megapixels``."""
    megapixels = columns * rows / MEGAPIXEL
    if megapixels > max_megapixels:
        raise UnsupportedImageError(
            f"its {columns} × {rows} pixels exceed the limit of {max_megapixels:g} megapixels",
            f"allow them with --max-pixels {int(megapixels) + 1}",
        )


@contextmanager
def opened_file(
    path: Path,
    max_megapixels: float = math.inf,
    *,
    first_frame: bool = False,
    gate_values: Callable[[int], int] | None = None,
) -> Iterator[OpenedFile]:
    """Open a file to inspect it, without changing its access time where the system allows that.

    Raises UnreadableImageError and UnsupportedImageError, also for decoder errors inside; see `OpenedFile`.
    """
    try:
        with open(path, "rb", opener=open_unnoticed) as stream, opened_image(stream) as opened:
            yield OpenedFile(opened, stream, max_megapixels, first_frame=first_frame, gate_values=gate_values)
    except OSError as error:
        raise UnreadableImageError(reason_of(error)) from error


def header_of(path: Path) -> Header:
    """Read the header of a file, in about 20 µs for PNG and JPEG.

    A readable header does not mean that the pixels are. Raises UnreadableImageError and UnsupportedImageError.
    """
    try:
        with open(path, "rb", buffering=0, opener=open_unnoticed) as unbuffered:
            if (header := _quick(unbuffered)) is not None:
                return header
    except OSError as error:
        raise UnreadableImageError(reason_of(error)) from error
    with opened_file(path) as file:
        return file.header


def axes_of(path: Path) -> Axes | None:
    """Return the axes of a file's images; None for a single image. Raises as `header_of`."""
    with opened_file(path) as file:
        return file.axes


def codec_of(path: Path) -> str | None:
    """Return the codec that a file's header shows, or None."""
    try:
        with opened_file(path) as file:
            return file.codec
    except (UnreadableImageError, UnsupportedImageError):
        return None


def _largest(axes: Axes) -> int:
    try:
        return max(map(len, axes.volumes))
    except UnsupportedImageError:
        return 1


def _header(opened: ImageFile.ImageFile, stream: BinaryIO) -> Header:
    """Return the header of an opened image; keeps the position of its stream."""
    columns, rows = opened.size
    mode, bands = opened.mode, len(opened.getbands())
    if isinstance(opened, TiffImageFile) and (samples := deep_samples(opened.tag_v2)) is not None:
        return Header(
            opened.format or "",
            columns,
            rows,
            samples.count,
            samples.dtype.itemsize,
            samples.has_alpha,
            is_double=precision_of(samples.dtype) == np.float64,
            in_bands=samples.in_bands,
        )
    has_alpha = mode not in _WITHOUT_ALPHA and (bands in (2, 4) or "transparency" in opened.info)
    if mode in ("P", "PA"):
        bands = 3
    elif has_alpha and bands in (2, 4):
        bands -= 1
    position = stream.tell()
    family = FAMILIES.get(opened.format or "")
    stated = family.bytes_per_sample(opened, stream) if family else None
    stream.seek(position)
    return Header(
        opened.format or "",
        columns,
        rows,
        bands + has_alpha,
        stated or _bytes_per_sample(opened),
        has_alpha,
        is_bilevel=is_bilevel(opened),
    )


_COLOURS_OF_MODES: dict[str, tuple[int, ...]] = {
    "P": (3, 1),
    "PA": (3, 1),
    "CMYK": (4,),
    "RGB": (3,),
    "RGBA": (3,),
}
_DTYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype(np.uint8),
    2: np.dtype(np.uint16),
    4: np.dtype(np.float32),
}  # but for TIFF


def _form(opened: ImageFile.ImageFile, stream: BinaryIO, *, is_composed: bool) -> ImageForm:
    """Return the form of an opened image; is_composed: of frames. Keeps the position of its stream."""
    position = stream.tell()
    kinds = _kinds(opened, stream, is_composed=is_composed)
    stream.seek(position)
    return ImageForm(kinds, opened.size, is_bilevel(opened))


def _kinds(opened: ImageFile.ImageFile, stream: BinaryIO, *, is_composed: bool) -> tuple[str, ...]:
    """Return the kinds of pixels of an opened image; see `ImageForm`."""
    if isinstance(opened, TiffImageFile) and (samples := deep_samples(opened.tag_v2)) is not None:
        native = samples.dtype.newbyteorder("=")
        in_bands, has_alpha = samples.in_bands, samples.has_alpha
        return (kind_of(native, samples.colours, has_alpha=has_alpha, in_bands=in_bands),)
    header = _header(opened, stream)
    colours = _COLOURS_OF_MODES.get(opened.mode, (1,))
    if opened.mode in ("P", "PA") and _palette_is_grey(opened):
        colours = (1,)
    family = FAMILIES.get(opened.format or "")
    if family is not None and (stated := family.colours(opened, stream)) is not None:
        colours = (stated,)
    dtype: np.dtype[Any] = _DTYPES[4 if opened.mode == "F" else header.bytes_per_sample]
    alphas = (header.has_alpha, not header.has_alpha) if is_composed else (header.has_alpha,)
    return tuple(kind_of(dtype, each, has_alpha=alpha) for alpha in alphas for each in colours)


def _palette_is_grey(opened: Image.Image) -> bool:
    """Return whether all colours of a palette are grey, without decoding the pixels."""
    if opened.palette is None:
        return False
    rawmode, colours = opened.palette.getdata()
    with suppress(ValueError):
        single = Image.new("P", (1, 1))
        single.putpalette(colours, rawmode)
        return palette_is_grey(single)
    return False


def _bytes_per_sample(opened: ImageFile.ImageFile) -> int:
    """Return the bytes per sample in the file, where Pillow would reduce them, from its decoder's arguments."""
    if isinstance(opened, TiffImageFile):
        bits: tuple[int, ...] = opened.tag_v2.get(BITSPERSAMPLE, (1,))
        return max(1, max(bits) // 8)
    arguments = {part for tile in opened.tile[:1] for part in _parts(tile[3])}
    if any(";16" in part for part in arguments if isinstance(part, str)):
        return 2
    if any(255 < part <= 65535 for part in arguments if isinstance(part, int)) and opened.format == "PPM":
        return 2
    return _BYTES_OF_MODES.get(opened.mode, 2 if opened.mode.startswith("I;16") else 1)


def _parts(arguments: object) -> tuple[object, ...]:
    return arguments if isinstance(arguments, tuple) else (arguments,)


def _quick(stream: FileIO) -> Header | None:
    """Read the header of a PNG or JPEG; None for others, and in doubt."""
    start = stream.read(64)
    if start.startswith(_PNG_START) and len(start) > 26:
        columns, rows, depth, colour = struct.unpack(">IIBB", start[16:26])
        if columns and rows and depth > 1 and (channels := _PNG_CHANNELS.get(colour)):
            planes = int.from_bytes(start[41:45], "big") if start[37:41] == b"acTL" else 1
            planes = max(1, planes)
            return Header("PNG", columns, rows, channels, 1 + (depth > 8), channels in (2, 4), planes, planes)
    if start.startswith(b"\xff\xd8\xff"):
        return _quick_jpeg(stream, start)
    return None


def _quick_jpeg(stream: FileIO, start: bytes) -> Header | None:
    position, segment = 2, start[2:]
    for _ in range(_MOST_SEGMENTS):
        if len(segment) < 10 or segment[0] != 0xFF or segment[1] in (0, 0xFF):
            return None
        if segment[1] in _FRAMES:
            depth, rows, columns, channels = struct.unpack(">BHHB", segment[4:10])
            if not (columns and rows and channels in (1, 3, 4)):
                return None
            return Header("JPEG", columns, rows, channels, 1 + (depth > 8), has_alpha=False)
        position += 2 + int.from_bytes(segment[2:4], "big")
        if position + 10 <= len(start):
            segment = start[position:]
        else:
            stream.seek(position, os.SEEK_SET)
            segment = stream.read(10)
    return None
