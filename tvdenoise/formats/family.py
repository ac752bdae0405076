"""Families of formats: what each format can hold, and the functions that read and write it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, TypeVar

import numpy as np
from PIL import ImageFile

from tvdenoise.errors import UnsupportedImageError
from tvdenoise.files.decoded import DecodedImage, StoredTag
from tvdenoise.files.stack import Axes, Series

if TYPE_CHECKING:
    from numpy.typing import NDArray


_T = TypeVar("_T")
_ALWAYS_ALLOWED = 10_000
_BYTES_A_CHUNK = 1024  # bytes of the file for each further chunk, so that its length bounds the time


def chunk_limit(stream: BinaryIO, always_allowed: int = _ALWAYS_ALLOWED) -> int:
    """Return how many chunks a file of the stream's length may have."""
    return always_allowed + stream.seek(0, os.SEEK_END) // _BYTES_A_CHUNK


def too_many(most: int, what: str) -> UnsupportedImageError:
    return UnsupportedImageError(
        f"the file has more than {most:,} {what}, more than any image needs",
        "save it again with another program",
    )


_BLOCK = 1 << 20
_TRAILING_DATA_LEFT_OUT = "{:,} bytes after the image are dropped"


def notes_of_trailing_data(stream: BinaryIO, end: int) -> tuple[str, ...]:
    """Return a note if anything but zeros follows offset ``end``."""
    length = stream.seek(0, os.SEEK_END) - end
    stream.seek(end)
    while block := stream.read(_BLOCK):
        if block.strip(b"\0"):
            return (_TRAILING_DATA_LEFT_OUT.format(length),)
    return ()


Window = tuple[slice, ...]  # rows and columns inside the image, with start and stop


class Regions(Protocol):
    """Reads windows of an image from its file, whose stream must stay open. Thread-safe.

    shape: rows and columns; dtype: as stored, in native byte order; colours: 1, 3 or 4, or the number of bands.
    tile: rows and columns of the file's tiles, None for strips.
    block_rows: rows of a strip or tile, which are decoded together.
    memory: peak bytes that reading takes beside the result.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    colours: int
    has_alpha: bool
    tile: tuple[int, int] | None
    block_rows: int
    memory: int

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """Read intensities (rows, columns) or (rows, columns, colours), and alpha or None, equal to those of the
        whole file. May raise any exception of a decoder."""
        ...


class RegionWriter(Protocol):
    """Writes an image to an empty stream, window by window; `close` completes it."""

    def windows(self, most: int) -> Iterator[Window]:
        """Yield the windows to append, in order, each of at most ``most`` values if possible."""
        ...

    def append(self, intensities: NDArray[Any], alpha: NDArray[Any] | None) -> None:
        """Write the stored values of the next window. Raises OSError and ValueError."""
        ...

    def close(self) -> None:
        """Complete the file after the last window."""
        ...


METADATA_NAMES = {
    "icc": "colour profile",
    "exif": "EXIF data",
    "xmp": "XMP data",
    "dpi": "resolution",
    "text": "texts",
    "tags": "TIFF tags",
    "record": "parameters used",
}


@dataclass(frozen=True)
class Format:
    """A file format.

    name: for users; codec: Pillow's name.
    extensions: in lower case, with the dot; the first is the default.
    kinds: the kinds of pixels it can hold (see `decoded.PIXEL_KINDS`).
    approximates: kinds it holds with loss, written only if the input has the same codec.
    carries: the fields of `Metadata` it keeps; largest: size limits of these fields, in bytes.
    longest_side: the most columns or rows, or None.
    options: encoder options in addition to the family's.
    several: what its images are called ("pages", "frames") if it can hold several, or None.
    holds_bilevel: whether it holds 1-bit images as such.
    """

    name: str
    codec: str
    extensions: tuple[str, ...]
    kinds: frozenset[str] = frozenset()
    approximates: frozenset[str] = frozenset()
    carries: frozenset[str] = frozenset()
    largest: Mapping[str, int] = field(default_factory=dict, hash=False)
    longest_side: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    several: str | None = None
    holds_bilevel: bool = False


@dataclass(frozen=True, eq=False)
class Inspection:
    """What a family finds in a file before decoding it.

    notes: sentences about what will not be written as it was read; traits: codec-specific data.
    exif: EXIF data built from other metadata, for formats without an EXIF block.
    tags, record, texts, elsewhere: see `Metadata`; in_bands, is_premultiplied: see `DecodedImage`.
    """

    notes: tuple[str, ...] = ()
    traits: object = None
    exif: bytes | None = None
    tags: Mapping[int, StoredTag] = field(default_factory=dict)
    record: str | None = None
    texts: tuple[tuple[str, str], ...] = ()
    elsewhere: tuple[str, ...] = ()
    in_bands: bool = False
    is_premultiplied: bool = False


def unchanged(value: _T, *_: object) -> _T:
    """Default of the functions that return what they are given, changed only by some families."""
    return value


def nothing(*_: object) -> None:
    """Default of the functions with nothing to do: Pillow handles the files of most families."""


def no_losses(_image: DecodedImage) -> tuple[str, ...]:
    """Default of `losses`."""
    return ()


def no_copies(image: DecodedImage, _miniature: object) -> tuple[object, tuple[str, ...]]:
    """Default of `renew`."""
    return image.traits, ()


def no_gain_map(_image: DecodedImage) -> bool:
    """Default of `keeps_gain_map`."""
    return False


def stretched(values: NDArray[Any], largest: int) -> NDArray[np.uint16]:
    """Scale integers in 0 … largest, at most 65535, to 16 bits, rounded to nearest."""
    return ((values.astype(np.uint32) * 65535 + largest // 2) // largest).astype(np.uint16)


def split_alpha(values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Split values (rows, columns) or (rows, columns, 2 to 4 channels) into intensities and alpha."""
    if values.ndim == 2 or values.shape[2] == 3:
        return values, None
    intensities = values[..., 0] if values.shape[2] == 2 else values[..., :3]
    return np.ascontiguousarray(intensities), np.ascontiguousarray(values[..., -1])


@dataclass(frozen=True)
class Several:
    """The functions that read and write files of several images.

    survey: returns the series of an opened file (image, stream), from its structure alone, after checking that it is
        complete; None for a single image. Raises UnsupportedImageError or UnreadableImageError.
    write: writes images in turn to an empty seekable stream, given the series of their source (with `Timing` if
        ``page`` is None), and the quality as for `Family.options`.
    page: returns an image of a file (stream, series, number) as a file of its own; None for animations, whose frames
        depend on earlier ones and are decoded by ``frames``.
    frames: yields the frames with the given increasing numbers of an opened file (image, stream, series), decoding
        each on demand, with the metadata of the first image, which is passed too.
    alone: returns the first image for a file without the others.
    spacing: returns the distances that an opened file (image, stream) of a single image states, and their unit, as
        axes of one image; None if it states none.
    """

    survey: Callable[[ImageFile.ImageFile, BinaryIO], Series | None]
    write: Callable[[Series, Iterator[DecodedImage], BinaryIO, int | None], None]
    page: Callable[[BinaryIO, Series, int], BinaryIO] | None = None
    frames: (
        Callable[[ImageFile.ImageFile, BinaryIO, Series, DecodedImage, Iterable[int]], Iterator[DecodedImage]]
        | None
    ) = None
    alone: Callable[[DecodedImage], DecodedImage] = unchanged
    spacing: Callable[[ImageFile.ImageFile, BinaryIO], Axes | None] = nothing

    @property
    def is_of_frames(self) -> bool:
        """Whether the images are frames of an animation, not pages."""
        return self.frames is not None


@dataclass(frozen=True)
class Family:
    """The functions that read and write all formats of one codec.

    inspect: collects what the decoder would lose from an opened but not yet decoded file (image, stream).
        Raises UnsupportedImageError or UnreadableImageError.
    options: returns the encoder's options for an image, including its metadata, at a JPEG or WebP quality (None for
        the family's default).
    opened_by_pillow: whether Pillow recognises the files; otherwise only `open` may.
    strip: returns traits without metadata, keeping what the image needs to look the same.
    screen: checks any file (stream) before Pillow opens it, and refuses one of this family that would cost a decoder
        far more time or memory than its length and pixels explain. Raises UnsupportedImageError or
        UnreadableImageError.
    plain: returns the opened file (image, stream), reopened if Pillow mistakes a single image for several.
    explain: explains why Pillow does not recognise a file (stream) of this family; None for other files.

    Pillow decodes and encodes all but the following:
    open: opens a file (stream) that Pillow does not recognise and `decode` does, and reads its header; or None.
    decode: returns intensities, and alpha or None, of pixels that Pillow would truncate; None if it would not. Called
        after `inspect`; may raise any exception that Pillow may.
    encode: returns the contents of a file that Pillow cannot write, given the result of `options`; or None.
    regions: returns a reader for parts of an opened file (image, stream), with the same pixels as decoding it whole, or
        None.
    region_writer: creates a writer for an image in parts, given a one-pixel image with its metadata, the result of
        `options` for it, rows and columns, the source's tile size or None, and an empty stream.
    bytes_per_sample: returns the depth of a file (image, stream) whose samples Pillow truncates silently; else None.
    losses: returns sentences about losses in the pixels when an image is written.
    several: for formats that hold several images.
    colours: returns the number of colours of a file (image, stream) whose mode in Pillow does not tell; else None.
    check: refuses a kind of image that the header shows (image, stream); see `opening.require_supported`. Raises
        UnsupportedImageError or UnreadableImageError.
    renew: returns the traits of an image of the same codec with the small copies of it in them made anew (given its
        `thumbnails.Miniature`), and notes about those for which that failed.
    keeps_gain_map: returns whether the gain map that came with an image is written with it.
    """

    formats: tuple[Format, ...]
    inspect: Callable[[ImageFile.ImageFile, BinaryIO], Inspection]
    options: Callable[[DecodedImage, int | None], dict[str, Any]]
    explain: Callable[[BinaryIO], UnsupportedImageError | None] = nothing
    opened_by_pillow: bool = True
    screen: Callable[[BinaryIO], None] = nothing
    plain: Callable[[ImageFile.ImageFile, BinaryIO], ImageFile.ImageFile] = unchanged
    strip: Callable[[object], object] = unchanged
    open: Callable[[BinaryIO], ImageFile.ImageFile | None] = nothing
    decode: Callable[[ImageFile.ImageFile, BinaryIO], tuple[NDArray[Any], NDArray[Any] | None] | None] = (
        nothing
    )
    encode: Callable[[DecodedImage, Mapping[str, Any]], bytes | None] = nothing
    regions: Callable[[ImageFile.ImageFile, BinaryIO], Regions | None] = nothing
    region_writer: (
        Callable[
            [DecodedImage, Mapping[str, Any], tuple[int, int], tuple[int, int] | None, BinaryIO], RegionWriter
        ]
        | None
    ) = None
    bytes_per_sample: Callable[[ImageFile.ImageFile, BinaryIO], int | None] = nothing
    losses: Callable[[DecodedImage], tuple[str, ...]] = no_losses
    several: Several | None = None
    colours: Callable[[ImageFile.ImageFile, BinaryIO], int | None] = nothing
    check: Callable[[ImageFile.ImageFile, BinaryIO], None] = nothing
    renew: Callable[[DecodedImage, Any], tuple[object, tuple[str, ...]]] = no_copies
    keeps_gain_map: Callable[[DecodedImage], bool] = no_gain_map

    @property
    def codec(self) -> str:
        return self.formats[0].codec
