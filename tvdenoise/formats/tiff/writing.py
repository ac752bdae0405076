"""Writing TIFF: the pixels of all pages first, then the directories; tifffile compresses the segments.

tifffile's own writer is not used: it writes a resolution of 1 if there is none, refuses EXIF and GPS directories, takes
strips only from whole pages, and gives all pages of a contiguous block, which ImageJ needs, the tags of the first.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial
from itertools import accumulate, chain, islice
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import (
    ICCPROFILE,
    IMAGEDESCRIPTION,
    RESOLUTION_UNIT,
    STRIPBYTECOUNTS,
    STRIPOFFSETS,
    X_RESOLUTION,
    XMP,
    Y_RESOLUTION,
    TiffImageFile,
)

from tvdenoise.files.decoded import DecodedImage, with_record
from tvdenoise.files.stack import Series
from tvdenoise.formats.tiff.directories import (
    ASCII,
    LONG,
    LONG8,
    NEW_SUBFILE_TYPE,
    RATIONAL,
    SHORT,
    SIZES,
    Field,
    Tags,
    TiffLayout,
    tags_of_exif,
)
from tvdenoise.formats.tiff.overviews import Averaging, Meaning, Overview
from tvdenoise.formats.tiff.pages import TiffPages
from tvdenoise.formats.tiff.samples import (
    BAND,
    BLACK_IS_ZERO,
    COMPRESSIONS,
    FAX_COMPRESSIONS,
    PALETTE,
    PHOTOMETRICS,
    PREMULTIPLIED_ALPHA,
    SEPARATE_PLANES,
    STRAIGHT_ALPHA,
    WHITE_IS_ZERO,
    alpha_among,
)
from tvdenoise.machine import on_threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tvdenoise.formats.family import Window

DEFLATE, GROUP_4 = "tiff_adobe_deflate", "group4"
PROCESSING_SOFTWARE = 11  # EXIF: the software that processed the image
LARGEST = 2**32 - 1  # bytes of a classic TIFF
_BYTE, _UNDEFINED = 1, 7  # types
_INCH = 2
_UNPREDICTED = ("raw", "packbits")
_NO_PREDICTOR, _HORIZONTAL = 1, 2
_FORMATS = {"u": 1, "i": 2, "f": 3}
_SUB_DIRECTORIES = 330
_STRIP = 1 << 20  # bytes
_BANDS = 32  # rows of segments that are encoded together
_SIDE = 16  # tile sides are multiples of it
_LARGEST_TERM = 2**32 - 1  # of a fraction
_ROOM_FOR_TAGS = 1 << 26  # bytes
_ROOM_FOR_PAGE = 1 << 13  # bytes for the tags of a further page


@dataclass(frozen=True)
class TiffTraits:
    """tags: those that describe the image; compression: a lossless one, as Pillow names it.

    white_is_zero: for values that are not inverted, and for 1-bit images.
    order: byte order, "<" unless a tag or other programs depend on it; descriptions: all but the first, as stored.
    colour_map: the LUT of a grey image.
    bands: of images in bands, the photometric interpretation and the meanings of the extra samples, None for grey.
    is_planar: bands are stored one after the other, not pixel by pixel.
    tile: rows and columns of its tiles, None for strips; overviews: those to make anew.
    """

    tags: Tags = field(default_factory=dict)
    compression: str = DEFLATE
    white_is_zero: bool = False
    order: Literal["<", ">"] = "<"
    descriptions: tuple[bytes, ...] = ()
    colour_map: Field | None = None
    bands: tuple[int, tuple[int, ...]] | None = None
    is_planar: bool = False
    tile: tuple[int, int] | None = None
    overviews: tuple[Overview, ...] = ()


def options(image: DecodedImage, _quality: int | None) -> dict[str, Any]:
    """Return the fields of an image, except those about the storage of its pixels."""
    metadata, traits = image.metadata, traits_of(image)
    tags = traits.tags if isinstance(image.traits, TiffTraits) else tags_of_exif(metadata.exif)
    further = {tag: Field(tag, *stored) for tag, stored in metadata.tags.items()}
    if metadata.record:  # after other programs' text in the same tag
        text = further[PROCESSING_SOFTWARE].text if PROCESSING_SOFTWARE in further else ""
        further[PROCESSING_SOFTWARE] = text_field(PROCESSING_SOFTWARE, with_record(text, metadata.record))
    fields = [*({**tags, **further}).values()]
    fields += [Field(IMAGEDESCRIPTION, ASCII, text) for text in traits.descriptions]
    if metadata.xmp:
        fields.append(Field(XMP, _BYTE, metadata.xmp))
    if metadata.icc:
        fields.append(Field(ICCPROFILE, _UNDEFINED, metadata.icc))
    if metadata.dpi and X_RESOLUTION not in tags:
        fields = [each for each in fields if each.tag not in (Y_RESOLUTION, RESOLUTION_UNIT)]
        fields += [_fraction(X_RESOLUTION, metadata.dpi[0]), _fraction(Y_RESOLUTION, metadata.dpi[1])]
        fields.append(_numbers(RESOLUTION_UNIT, SHORT, [_INCH]))
    return {"fields": tuple(fields)}


def text_field(tag: int, text: str) -> Field:
    return Field(tag, ASCII, text.encode("latin-1", "replace") + b"\0")


def _numbers(tag: int, kind: int, numbers: list[int]) -> Field:
    return Field(tag, kind, np.array(numbers, f"<u{SIZES[kind]}").tobytes())


def _fraction(tag: int, value: float) -> Field:
    """Return a field with the nearest fraction of 32-bit terms."""
    inverse = Fraction(1 / value if value > 1 else value).limit_denominator(_LARGEST_TERM)
    terms = inverse.as_integer_ratio()[:: -1 if value > 1 else 1]
    return Field(tag, RATIONAL, np.array(terms, "<u4").tobytes())


def exif_of(tags: Tags) -> bytes | None:
    """Encode tags as a block of EXIF data, which is a TIFF without pixels; None without tags."""
    if not tags:
        return None
    stream = io.BytesIO()
    pages = Pages(stream, TiffLayout("<", is_big=False))
    pages.begin(tags.values())
    pages.close()
    return stream.getvalue()


@dataclass(frozen=True)
class Storage:
    """The storage of an image's samples.

    photometric: TIFF's number of the colour space; extra: meanings of the samples beyond its own.
    compression: as Pillow names it; is_planar: the samples are stored one after the other, not pixel by pixel.
    tile: rows and columns of tiles, multiples of 16, or None for strips of about a megabyte.
    colour_map: the LUT of grey indices; is_bilevel: 0 and 255 are stored in 1 bit.
    """

    rows: int
    columns: int
    samples: int
    dtype: np.dtype[Any]
    photometric: int
    extra: tuple[int, ...]
    compression: str
    is_planar: bool = False
    tile: tuple[int, int] | None = None
    colour_map: Field | None = None
    is_bilevel: bool = False

    @property
    def layers(self) -> int:
        """The number of planes that are stored apart."""
        return self.samples if self.is_planar else 1

    @property
    def samples_together(self) -> int:
        """The number of samples of a pixel that are stored together."""
        return self.samples // self.layers

    @property
    def alpha(self) -> int | None:
        """The number of the sample that is alpha, or None."""
        return alpha_among(self.extra, self.samples - len(self.extra))

    def joined(self, intensities: NDArray[Any], alpha: NDArray[Any] | None) -> NDArray[Any]:
        """Return the values (rows, columns, samples) of intensities and alpha."""
        values = intensities.reshape(*intensities.shape[:2], -1)
        if alpha is None:
            return values
        assert self.alpha is not None
        before, after = np.split(values, [self.alpha], axis=-1)
        return np.concatenate((before, alpha[..., np.newaxis], after), axis=-1)

    @property
    def height(self) -> int:
        """Rows per segment."""
        if self.tile is not None:
            return self.tile[0]
        return max(1, min(self.rows, _STRIP // max(1, self._row)))

    @property
    def _row(self) -> int:
        """Bytes of a row."""
        if self.is_bilevel:
            return math.ceil(self.columns / 8)
        return self.columns * self.samples_together * self.dtype.itemsize

    @property
    def width(self) -> int:
        """Columns per segment."""
        return self.columns if self.tile is None else self.tile[1]

    @property
    def predictor(self) -> int:
        is_predicted = (
            self.compression not in _UNPREDICTED and self.dtype.kind in "ui" and not self.is_bilevel
        )
        return _HORIZONTAL if is_predicted else _NO_PREDICTOR

    @property
    def strip_lengths(self) -> list[int]:
        """Lengths of uncompressed strips, in bytes."""
        tops = range(0, self.rows, self.height)
        return [self._row * min(self.height, self.rows - top) for top in tops] * self.layers

    def encoded(self, values: NDArray[Any], order: Literal["<", ">"]) -> Iterator[bytes]:
        """Encode the values (rows, columns, samples together) of a strip, or of tiles side by side, into segments.

        Tiles at the right and lower borders may be partial; they are padded.
        """
        import tifffile

        predict = tifffile.TIFF.PREDICTORS[self.predictor]
        height = values.shape[0] if self.tile is None else self.tile[0]
        for left in range(0, values.shape[1], self.width):
            part = values[:, left : left + self.width]
            beyond = (0, height - part.shape[0]), (0, self.width - part.shape[1]), (0, 0)
            part = np.ascontiguousarray(np.pad(part, beyond, mode="edge") if self.tile else part)
            if self.is_bilevel:
                yield self._compressed(self._bits(part[..., 0]), len(part))
                continue
            if part.dtype.kind == "i":
                part = part.view(f"u{part.itemsize}")  # the same bits
            predicted = np.asarray(predict(part, axis=-2))
            ordered = predicted.astype(predicted.dtype.newbyteorder(order), copy=False)
            yield self._compressed(ordered.tobytes(), len(part))

    def _bits(self, values: NDArray[Any]) -> bytes:
        """Pack each row."""
        return np.packbits((values > 0) ^ (self.photometric == WHITE_IS_ZERO), axis=1).tobytes()

    def _compressed(self, data: bytes, rows: int) -> bytes:
        if self.compression in FAX_COMPRESSIONS:
            return _faxed(data, (self.width, rows), self.compression)
        import tifffile

        return bytes(tifffile.TIFF.COMPRESSORS[COMPRESSIONS[self.compression]](data))

    def fields(self, offsets: list[int], lengths: list[int], *, is_big: bool) -> tuple[Field, ...]:
        """Return the fields that describe the storage, with the offsets and lengths of the segments."""
        places = LONG8 if is_big else LONG
        bits = 1 if self.is_bilevel else 8 * self.dtype.itemsize
        given = {
            256: (LONG, [self.columns]),
            257: (LONG, [self.rows]),
            258: (SHORT, [bits] * self.samples),
            259: (SHORT, [(COMPRESSIONS | FAX_COMPRESSIONS)[self.compression]]),
            262: (SHORT, [self.photometric]),
            277: (SHORT, [self.samples]),
            284: (SHORT, [SEPARATE_PLANES if self.is_planar else 1]),
            317: (SHORT, [self.predictor]),
            339: (SHORT, [_FORMATS[self.dtype.kind]] * self.samples),
        }
        if self.tile is None:
            given |= {273: (places, offsets), 278: (LONG, [self.height]), 279: (places, lengths)}
        else:
            given |= {322: (LONG, [self.width]), 323: (LONG, [self.height])}
            given |= {324: (places, offsets), 325: (places, lengths)}
        if self.extra:
            given[338] = (SHORT, list(self.extra))
        fields = tuple(_numbers(tag, kind, numbers) for tag, (kind, numbers) in given.items())
        return fields if self.colour_map is None else (*fields, self.colour_map)


def _faxed(bits: bytes, size: tuple[int, int], compression: str) -> bytes:
    """Compress packed rows as the only strip of a file that libtiff writes; size: columns and rows."""
    contents = io.BytesIO()
    Image.frombytes("1", size, bits).save(contents, "TIFF", compression=compression, strip_size=len(bits))
    with Image.open(contents, formats=("TIFF",)) as written:
        assert isinstance(written, TiffImageFile)
        ((start,), (length,)) = written.tag_v2[STRIPOFFSETS], written.tag_v2[STRIPBYTECOUNTS]
    return contents.getvalue()[start : start + length]


@dataclass
class _Open:
    """A directory being written: its tags, the storage of its pixels, and their places, layer by layer.

    below: directories below it.
    """

    fields: tuple[Field, ...]
    storage: Storage | None
    places: list[list[tuple[int, int]]]
    below: list[_Open] = field(default_factory=list)

    @classmethod
    def of(cls, fields: Iterable[Field], storage: Storage | None) -> _Open:
        return cls(tuple(fields), storage, [[] for _ in range(1 if storage is None else storage.layers)])

    def placed(self, *, is_big: bool) -> tuple[Field, ...]:
        """Return the fields, including the location of the pixels."""
        places = [place for layer in self.places for place in layer]
        return self.placed_at(
            [offset for offset, _ in places], [length for _, length in places], is_big=is_big
        )

    def placed_at(self, offsets: list[int], lengths: list[int], *, is_big: bool) -> tuple[Field, ...]:
        if self.storage is None:
            return self.fields
        return (*self.fields, *self.storage.fields(offsets, lengths, is_big=is_big))


class Pages:
    """Writes pages to an empty seekable stream; `close` completes the file.

    has_one_directory: a single, uncompressed directory stands for all pages, whose pixels follow each other; ImageJ
    writes files of more than 4 gigabytes this way.
    Raises ValueError if a classic TIFF would otherwise exceed 4 gigabytes.
    """

    def __init__(self, stream: BinaryIO, layout: TiffLayout, *, has_one_directory: bool = False) -> None:
        self._stream = stream
        self._layout = layout
        self._has_one_directory = has_one_directory
        self._pages: list[tuple[tuple[Field, ...], list[tuple[Field, ...]]]] = []  # with those below
        self._known: dict[Field, Field] = {}
        self._page: _Open | None = None
        self._overviews: list[_Open] = []  # of the page
        self._following: list[_Open] = []  # those of the overviews that are not below the page
        stream.write(layout.header + bytes(layout.place.size))

    def begin(self, fields: Iterable[Field], storage: Storage | None = None) -> None:
        """Start a page with these fields; storage: of the pixels to append, or None for no pixels."""
        self._finish()
        is_first = self._page is None
        self._page, self._overviews, self._following = _Open.of(fields, storage), [], []
        if self._has_one_directory and is_first:
            self._lead(self._page)

    def begin_overview(self, fields: Iterable[Field], storage: Storage, *, is_below: bool) -> None:
        """Start a further overview of the page, in a directory below that of the page, or in one that follows."""
        assert self._page is not None
        opened = _Open.of(fields, storage)
        self._overviews.append(opened)
        (self._page.below if is_below else self._following).append(opened)

    def append(self, values: NDArray[Any], overview: int | None = None) -> None:
        """Write the next segments of the page; values: (rows, columns, samples) of a strip, or of tiles in a row.

        overview: the number of the overview to write to instead.
        """
        opened = self._page if overview is None else self._overviews[overview]
        assert opened is not None
        assert opened.storage is not None
        for layer, part in enumerate(np.split(values, opened.storage.layers, axis=-1)):
            self._append_to(opened, layer, part)

    def append_layer(self, layer: int, parts: list[NDArray[Any]]) -> None:
        """Write the next segments of a layer of the page, encoded on threads; parts: each as for `Storage.encoded`."""
        assert self._page is not None
        self._append_to(self._page, layer, *parts)

    def _append_to(self, opened: _Open, layer: int, *parts: NDArray[Any]) -> None:
        storage = opened.storage
        assert storage is not None
        encoded = on_threads(lambda values: list(storage.encoded(values, self._layout.order)), parts)
        for data in chain.from_iterable(encoded):
            opened.places[layer].append((self._stream.tell(), len(data)))
            self._stream.write(data)
        if not self._has_one_directory:
            self._require_room()

    def close(self) -> None:
        """Write the directories and link them from the header."""
        self._finish()
        link = self._layout.first_link
        for fields, below in self._pages:
            ended = bytes(self._layout.place.size)
            places = [self._put(self._packed(each) + ended) for each in below]
            kind = LONG8 if self._layout.is_big else LONG
            linked = (_numbers(_SUB_DIRECTORIES, kind, places),) if places else ()
            link = self._write_directory((*fields, *linked), link)

    def _finish(self) -> None:
        """Keep the fields of the page and its overviews."""
        if self._page is None or self._has_one_directory:
            return
        for opened in (self._page, *self._following):
            self._pages.append((self._kept(opened), [self._kept(each) for each in opened.below]))

    def _kept(self, opened: _Open) -> tuple[Field, ...]:
        """Return the fields of a directory; equal fields of several are held once."""
        return tuple(self._known.setdefault(each, each) for each in opened.placed(is_big=self._layout.is_big))

    def _lead(self, page: _Open) -> None:
        """Write the single directory before the pixels."""
        assert page.storage is not None
        start, lengths = self._stream.tell(), page.storage.strip_lengths
        places = [0] * len(lengths)
        for _ in range(2):  # the first pass finds the offsets for the second
            self._stream.seek(start)
            fields = page.placed_at(places, lengths, is_big=self._layout.is_big)
            self._write_directory(fields, self._layout.first_link)
            places = list(accumulate(lengths[:-1], initial=self._aligned()))

    def _write_directory(self, fields: tuple[Field, ...], link: int) -> int:
        """Write a directory, set the link to it, and return the offset of its link to the next one."""
        written = self._packed(fields)
        start = self._aligned()
        self._stream.write(written + bytes(self._layout.place.size))
        end = self._stream.tell()
        self._require_room()
        self._stream.seek(link)
        self._stream.write(self._layout.place.pack(start))
        self._stream.seek(end)
        return end - self._layout.place.size

    def _packed(self, fields: tuple[Field, ...]) -> bytes:
        """Encode a directory without its link to the next one; values that do not fit are written first."""
        layout = self._layout
        packed = [layout.count.pack(len(fields))]
        for each in sorted(fields, key=lambda each: each.tag):
            if isinstance(each.contents, bytes):
                contents, kind = each.packed(layout.order), each.kind
                count = len(contents) // SIZES[kind]
            else:
                written, count, kind = self._packed(each.contents), 1, LONG8 if layout.is_big else LONG
                contents = layout.place.pack(self._put(written + bytes(layout.place.size)))
            if len(contents) > layout.place.size:
                contents = layout.place.pack(self._put(contents))
            packed.append(layout.entry.pack(each.tag, kind, count, contents.ljust(layout.place.size, b"\0")))
        return b"".join(packed)

    def _put(self, contents: bytes) -> int:
        """Write contents at an even offset, and return it."""
        start = self._aligned()
        self._stream.write(contents)
        self._require_room()
        return start

    def _aligned(self) -> int:
        if self._stream.tell() % 2:
            self._stream.write(b"\0")
        return self._stream.tell()

    def _require_room(self) -> None:
        if not self._layout.is_big and self._stream.tell() > LARGEST:
            raise ValueError("it would exceed 4 gigabytes, the limit of a classic TIFF")


def encode(image: DecodedImage, given: Mapping[str, Any]) -> bytes:
    """Encode an image as a TIFF, or as a BigTIFF if a classic one might become too large."""
    stream = io.BytesIO()
    pages = Pages(stream, TiffLayout(traits_of(image).order, _is_too_large(_values_size(image))))
    _append(pages, image, given)
    pages.close()
    return stream.getvalue()


def _append(pages: Pages, image: DecodedImage, given: Mapping[str, Any]) -> None:
    columns, rows = image.size
    storage = _storage_of(image, rows, columns, traits_of(image).tile)
    pages.begin(given["fields"], storage)
    for layer in range(storage.layers):
        bands = _bands(image, storage)
        while together := list(islice(bands, _BANDS)):
            parts = [
                values[..., layer : layer + 1] if storage.is_planar else values for _, values in together
            ]
            pages.append_layer(layer, parts)
    overviews = _overviews_of(image, storage, pages)
    for window, values in _bands(image, storage) if overviews else ():
        for overview in overviews:
            overview.add(window, values)


def _bands(image: DecodedImage, storage: Storage) -> Iterator[tuple[Window, NDArray[Any]]]:
    """Yield the values of each row of segments."""
    for top in range(0, storage.rows, storage.height):
        part = slice(top, min(top + storage.height, storage.rows))
        alpha = None if image.alpha is None else image.alpha[part]
        yield (part, slice(0, storage.columns)), storage.joined(image.intensities[part], alpha)


def _overviews_of(image: DecodedImage, storage: Storage, pages: Pages) -> list[Averaging]:
    """Start the overviews of a page with this storage, which are written as the values of the page are added.

    image: the page, or one pixel of its kind.
    """
    alpha = None if image.alpha is None or image.is_premultiplied else storage.alpha
    meaning = Meaning(alpha, image.nodata, image.is_bilevel)
    found = []
    for number, overview in enumerate(traits_of(image).overviews):
        size = overview.rows, overview.columns
        own = replace(
            storage, rows=size[0], columns=size[1], tile=overview.tile, compression=overview.compression
        )
        pages.begin_overview(
            (*overview.fields, _numbers(NEW_SUBFILE_TYPE, LONG, [overview.subfile_type])),
            own,
            is_below=overview.is_below,
        )
        shape = storage.rows, storage.columns, storage.samples
        take = partial(pages.append, overview=number)
        found.append(Averaging(shape, size, storage.dtype, meaning, own.height, take))
    return found


def _is_too_large(size: int) -> bool:
    """Return whether ``size`` uncompressed bytes of values might not fit into a classic TIFF."""
    return size + _ROOM_FOR_TAGS > LARGEST


def _storage_of(image: DecodedImage, rows: int, columns: int, tile: tuple[int, int] | None = None) -> Storage:
    """Return the storage for an image of this kind with the given size."""
    has_alpha, traits = image.alpha is not None, traits_of(image)
    photometric, extra = _meanings_of(image, traits)
    return Storage(
        rows,
        columns,
        image.channels + has_alpha,
        image.intensities.dtype,
        photometric,
        extra,
        traits.compression,
        traits.is_planar,
        tile,
        traits.colour_map,
        image.is_bilevel,
    )


def _meanings_of(image: DecodedImage, traits: TiffTraits) -> tuple[int, tuple[int, ...]]:
    """Return the photometric interpretation, and the meanings of the extra samples."""
    alpha: tuple[int, ...] = ()
    if image.alpha is not None:
        alpha = (PREMULTIPLIED_ALPHA if image.is_premultiplied else STRAIGHT_ALPHA,)
    if image.in_bands:
        return traits.bands or (BLACK_IS_ZERO, (BAND,) * (image.channels - 1) + alpha)
    if traits.colour_map is not None:
        return PALETTE, alpha
    return WHITE_IS_ZERO if traits.white_is_zero else PHOTOMETRICS[image.channels], alpha


def traits_of(image: DecodedImage) -> TiffTraits:
    """Return an image's TIFF traits, or the defaults: those of fax machines for 1-bit images."""
    if isinstance(image.traits, TiffTraits):
        return image.traits
    return TiffTraits(compression=GROUP_4, white_is_zero=True) if image.is_bilevel else TiffTraits()


class TiffRegionWriter:
    """See `family.RegionWriter`. Tiles are kept if their sides are multiples of 16."""

    def __init__(
        self,
        pixel: DecodedImage,
        given: Mapping[str, Any],
        shape: tuple[int, int],
        tile: tuple[int, int] | None,
        stream: BinaryIO,
    ) -> None:
        if tile is not None and any(side % _SIDE for side in tile):
            tile = None
        self._storage = storage = _storage_of(pixel, *shape, tile)
        pixels = math.prod(shape) + _pixels_of_overviews(pixel)
        is_big = _is_too_large(pixels * storage.samples * storage.dtype.itemsize)
        self._pages = Pages(stream, TiffLayout(traits_of(pixel).order, is_big))
        self._pages.begin(given["fields"], storage)
        self._overviews = _overviews_of(pixel, storage, self._pages)
        self._top = self._left = 0  # of the next window

    def windows(self, most: int) -> Iterator[Window]:
        """Yield windows of strips, or of tiles side by side."""
        storage = self._storage
        tile_values = storage.height * storage.width * storage.samples
        width = min(storage.columns, storage.width * max(1, most // tile_values))
        for top in range(0, storage.rows, storage.height):
            for left in range(0, storage.columns, width):
                rows = slice(top, min(top + storage.height, storage.rows))
                yield rows, slice(left, min(left + width, storage.columns))

    def append(self, intensities: NDArray[Any], alpha: NDArray[Any] | None) -> None:
        """Write the values of the next window."""
        values = self._storage.joined(intensities, alpha)
        self._pages.append(values)
        bottom, right = self._top + values.shape[0], self._left + values.shape[1]
        for overview in self._overviews:
            overview.add((slice(self._top, bottom), slice(self._left, right)), values)
        is_last = right == self._storage.columns
        self._top, self._left = (bottom, 0) if is_last else (self._top, right)

    def close(self) -> None:
        """Write the directory, which completes the file."""
        self._pages.close()


def write_pages(
    series: Series, images: Iterator[DecodedImage], stream: BinaryIO, _quality: int | None
) -> None:
    """Write each image as a page with its own tags."""
    pages = None
    stands_for_all = isinstance(series.traits, TiffPages) and series.traits.has_one_directory
    for image in images:
        if pages is None:
            stands_for_all = (
                stands_for_all and IMAGEDESCRIPTION in traits_of(image).tags
            )  # the description holds their number
            count = 1 if stands_for_all else series.count
            size = _values_size(image) * count
            if isinstance(series.traits, TiffPages) and series.traits.size:
                size = series.traits.size * 4 // 3  # with overviews
            is_big = _is_too_large(size + _ROOM_FOR_PAGE * count)
            layout = TiffLayout(traits_of(image).order, is_big)
            pages = Pages(stream, layout, has_one_directory=stands_for_all)
        _append(pages, image, options(image, None))
    assert pages is not None
    pages.close()


def _values_size(image: DecodedImage) -> int:
    """Return the uncompressed size of the values of an image and its overviews, in bytes."""
    samples = image.channels + (image.alpha is not None)
    pixels = math.prod(image.size) + _pixels_of_overviews(image)
    return pixels * samples * image.intensities.itemsize


def _pixels_of_overviews(image: DecodedImage) -> int:
    return sum(overview.rows * overview.columns for overview in traits_of(image).overviews)
