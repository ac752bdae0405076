"""A family of formats: what its formats can carry, and the functions that read and write them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from PIL import ImageFile

from tvdenoise.errors import UnsupportedImageError
from tvdenoise.files.decoded import DecodedImage, StoredTag
from tvdenoise.files.stack import Series

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


_ALWAYS_ALLOWED = 10_000
_BYTES_A_CHUNK = 1024  # of the file, for every further one, so that time stays bounded by its length


def chunk_limit(stream: BinaryIO, always_allowed: int = _ALWAYS_ALLOWED) -> int:
    """How many chunks a file of the stream's length may have."""
    return always_allowed + stream.seek(0, os.SEEK_END) // _BYTES_A_CHUNK


def too_many(most: int, what: str) -> UnsupportedImageError:
    return UnsupportedImageError(
        f"the file has more than {most:,} {what}, more than any image needs",
        "save it again with another program",
    )


_BLOCK = 1 << 20
_TRAILING_DATA_LEFT_OUT = "{:,} bytes after the image are dropped"


def notices_of_trailing_data(stream: BinaryIO, end: int) -> tuple[str, ...]:
    """A notice about what follows that place, where it is more than zeros."""
    length = stream.seek(0, os.SEEK_END) - end
    stream.seek(end)
    while block := stream.read(_BLOCK):
        if block.strip(b"\0"):
            return (_TRAILING_DATA_LEFT_OUT.format(length),)
    return ()


Window = tuple[slice, ...]  # rows and columns, both with start and stop, inside the picture


class Regions(Protocol):
    """Reads windows of a picture from its file, whose stream has to stay open. Threads may share it.

    shape: rows and columns; dtype: as stored, in this machine's byte order; colours: 1, 3 or 4.
    tile: rows and columns of the tiles in which the file is stored, None for strips.
    piece: how many rows can be read together at no more cost than one.
    memory: bytes, at most, that reading takes beside what is returned.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    colours: int
    has_alpha: bool
    tile: tuple[int, int] | None
    piece: int
    memory: int

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """Intensities (rows, columns) or (rows, columns, colours), and alpha or None, as the whole file would
        give them. Raises whatever a decoder may."""
        ...


class RegionWriter(Protocol):
    """Writes a picture to an empty stream, window by window; it is whole once it is closed."""

    def windows(self, most: int) -> Iterator[Window]:
        """The windows that it wants, in their order, of at most so many values each if that can be."""
        ...

    def append(self, intensities: NDArray[Any], alpha: NDArray[Any] | None) -> None:
        """The pixels in the next window, as they are stored. Raises OSError and ValueError."""
        ...

    def close(self) -> None:
        """After the last window."""
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
    """One kind of file.

    name: as users call it; codec: as Pillow calls it.
    extensions: in lower case, with the dot; the first one is the usual one.
    kinds: the kinds of pixels (see `picture.PIXEL_KINDS`) that it can be written with.
    approximates: kinds that it holds only roughly, written where the input was of the same codec and nowhere else.
    carries: the fields of `Metadata` that it keeps; largest: the most bytes of one, where that is limited.
    longest_side: the most columns or rows that it can hold, or None.
    options: of the encoder, beside those of its family.
    several: what its pictures are called where it holds several, or None where it does not.
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


@dataclass(frozen=True, eq=False)
class Inspection:
    """What a family finds in a file before it is decoded.

    notices: sentences about what is not written as it was read; traits: what only this codec understands.
    exif: where the format has no block of EXIF data, one made from what it has.
    tags, record, texts, elsewhere: see `Metadata`.
    """

    notices: tuple[str, ...] = ()
    traits: object = None
    exif: bytes | None = None
    tags: Mapping[int, StoredTag] = field(default_factory=dict)
    record: str | None = None
    texts: tuple[tuple[str, str], ...] = ()
    elsewhere: tuple[str, ...] = ()


def keep_traits(traits: object) -> object:
    """The traits of a family that hold no metadata."""
    return traits


def open_nothing(_stream: BinaryIO) -> ImageFile.ImageFile | None:
    """The files of most families are opened by Pillow or not at all."""
    return None


def as_it_is(opened: ImageFile.ImageFile, _stream: BinaryIO) -> ImageFile.ImageFile:
    """Pillow takes the files of most families for what they are."""
    return opened


def decode_nothing(
    _opened: ImageFile.ImageFile, _stream: BinaryIO
) -> tuple[NDArray[Any], NDArray[Any] | None] | None:
    """Most families leave all decoding to Pillow."""
    return None


def whole_only(_opened: ImageFile.ImageFile, _stream: BinaryIO) -> Regions | None:
    """The files of most families are decoded whole."""
    return None


def encode_nothing(_picture: DecodedImage, _options: Mapping[str, Any]) -> bytes | None:
    """Most families leave all encoding to Pillow."""
    return None


def lose_nothing(_picture: DecodedImage) -> tuple[str, ...]:
    """Most families write pixels as well as their formats allow, or not at all."""
    return ()


def unexplained(_stream: BinaryIO) -> UnsupportedImageError | None:
    """Of a file that Pillow does not recognise, nothing is known."""
    return None


def as_opened(_opened: ImageFile.ImageFile, _stream: BinaryIO) -> int | None:
    """Pillow shows how deep the samples of most files are."""
    return None


def screen_nothing(_stream: BinaryIO) -> None:
    """The decoders of most families cope with any file of theirs."""


def unchanged(image: DecodedImage) -> DecodedImage:
    """What describes the first picture of most files describes it alone."""
    return image


@dataclass(frozen=True)
class Several:
    """How a family reads and writes files of several pictures.

    survey: what an opened file (image, stream) says of its pictures, from its structure alone, and checks that they
        are all there; None where there is one. Raises UnsupportedImageError or UnreadableImageError.
    write: pictures in turn to an empty stream that can be sought, with what the file that they come from says of them
        all (of `Timing` where ``page`` is None), and the quality as for `Family.options`.
    page: a picture of a file (stream, by its number) as a file of its own; None for animations, in which a frame
        depends on those before and is decoded by ``frames``.
    frames: those of increasing numbers, of an opened file (image, stream) with what was found in it, each decoded when
        it is asked for, with all else like in the first one, which is given too.
    alone: the first picture, for a file without the others.
    """

    survey: Callable[[ImageFile.ImageFile, BinaryIO], Series | None]
    write: Callable[[Series, Iterator[DecodedImage], BinaryIO, int | None], None]
    page: Callable[[BinaryIO, Series, int], BinaryIO] | None = None
    frames: (
        Callable[[ImageFile.ImageFile, BinaryIO, Series, DecodedImage, Iterable[int]], Iterator[DecodedImage]]
        | None
    ) = None
    alone: Callable[[DecodedImage], DecodedImage] = unchanged

    @property
    def is_of_frames(self) -> bool:
        """Whether its pictures are frames of an animation, not pages."""
        return self.frames is not None


@dataclass(frozen=True)
class Family:
    """The reader and writer of all formats that share a codec.

    inspect: looks at the opened but not yet decoded file (image, stream) for what the decoder would lose.
        Raises UnsupportedImageError or UnreadableImageError.
    options: the encoder's options for a picture, its metadata included, and the JPEG or WebP quality (None
        for the family's default).
    is_pillows: whether Pillow itself recognises its files; otherwise `open` does, or nothing.
    strip: traits without the metadata among them; what the picture needs to look the same stays.
    screen: looks at any file (stream) before Pillow does, and refuses one of this family on which a decoder would
        spend far more time or memory than its length and its pixels explain. Raises UnsupportedImageError or
        UnreadableImageError.
    plain: an opened file (image, stream), opened otherwise where Pillow takes one picture of this family for several.
    explain: why Pillow does not recognise a file (stream) that is of this family nevertheless, or None.

    Pillow decodes and encodes, but for what it cannot hold:
    open: a file (stream) that Pillow does not recognise and `decode` does, its header read; or None.
    decode: intensities, and alpha or None, of pixels that Pillow would cut; None where it cuts nothing. Called after
        `inspect`; may raise whatever Pillow may.
    encode: the contents of a file with pixels that Pillow cannot write, given what `options` gave; or None.
    regions: what reads parts of an opened file (image, stream), as `decode` and Pillow read the whole, or None.
    region_writer: writes a picture of a shape that is given in parts: a picture of one pixel with all else, what
        `options` gave for it, rows and columns, the sides of the tiles of the source or None, and an empty stream.
    bytes_per_sample: of a file (image, stream) whose samples Pillow cuts without showing that; else None.
    losses: sentences about what becomes of a picture's pixels when it is written.
    several: for formats that hold several pictures.
    """

    formats: tuple[Format, ...]
    inspect: Callable[[ImageFile.ImageFile, BinaryIO], Inspection]
    options: Callable[[DecodedImage, int | None], dict[str, Any]]
    explain: Callable[[BinaryIO], UnsupportedImageError | None] = unexplained
    is_pillows: bool = True
    screen: Callable[[BinaryIO], None] = screen_nothing
    plain: Callable[[ImageFile.ImageFile, BinaryIO], ImageFile.ImageFile] = as_it_is
    strip: Callable[[object], object] = keep_traits
    open: Callable[[BinaryIO], ImageFile.ImageFile | None] = open_nothing
    decode: Callable[[ImageFile.ImageFile, BinaryIO], tuple[NDArray[Any], NDArray[Any] | None] | None] = (
        decode_nothing
    )
    encode: Callable[[DecodedImage, Mapping[str, Any]], bytes | None] = encode_nothing
    regions: Callable[[ImageFile.ImageFile, BinaryIO], Regions | None] = whole_only
    region_writer: (
        Callable[
            [DecodedImage, Mapping[str, Any], tuple[int, int], tuple[int, int] | None, BinaryIO], RegionWriter
        ]
        | None
    ) = None
    bytes_per_sample: Callable[[ImageFile.ImageFile, BinaryIO], int | None] = as_opened
    losses: Callable[[DecodedImage], tuple[str, ...]] = lose_nothing
    several: Several | None = None

    @property
    def codec(self) -> str:
        return self.formats[0].codec


def inspect_nothing(_opened: ImageFile.ImageFile, _stream: BinaryIO) -> Inspection:
    """The inspection of a family whose decoder loses nothing."""
    return Inspection()
