"""Overviews of a page: which directories they are, and making them anew from the page by area averages."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np
from PIL.TiffImagePlugin import COMPRESSION, ICCPROFILE, XMP

from tvdenoise.files.decoded import NODATA_TAG, StoredTag
from tvdenoise.formats.tiff.directories import (
    NEW_SUBFILE_TYPE,
    ORIENTATION,
    REDUCED,
    Directory,
    Field,
    fields_in,
    layout_of,
    sub_directories,
    tags_in,
    with_sides_exchanged,
)
from tvdenoise.formats.tiff.pages import Spliced, groups, is_of_aperio
from tvdenoise.formats.tiff.samples import COMPRESSIONS, FAX_COMPRESSIONS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tvdenoise.formats.family import Window

_ON_THEIR_SIDE = (5, 6, 7, 8)  # orientations
_SIDE = 16  # tile sides are multiples of it
_NAMES = {number: name for name, number in (COMPRESSIONS | FAX_COMPRESSIONS).items()}
_KEPT_WITHOUT_METADATA = (ICCPROFILE, NODATA_TAG)


@dataclass(frozen=True)
class Overview:
    """An overview to make anew.

    rows, columns, tile: as displayed, tile None for strips; compression: a lossless one, as Pillow names it.
    fields: its own tags; is_below: it is a directory below that of the page, otherwise one that follows.
    subfile_type: TIFF's number.
    """

    rows: int
    columns: int
    tile: tuple[int, int] | None
    compression: str
    fields: tuple[Field, ...]
    is_below: bool
    subfile_type: int

    def without_metadata(self) -> Overview:
        kept = tuple(each for each in self.fields if each.tag in _KEPT_WITHOUT_METADATA)
        return replace(self, fields=kept)


def overviews_of(stream: BinaryIO, otherwise: str) -> tuple[tuple[Overview, ...], tuple[str, ...]]:
    """Return the overviews of the first page of a TIFF, and notes about what is dropped of them.

    otherwise: the compression in the place of one that cannot be written.
    """
    page, *following = next(groups(stream))
    below, are_lost = sub_directories(stream, page)
    is_slide = is_of_aperio(stream)
    found = []
    notes: dict[str, None] = {}
    for directory, is_below in (*((each, True) for each in below), *((each, False) for each in following)):
        if directory.is_mask and not is_below:  # noted with the others of the file
            continue
        if directory.is_mask or not directory.shows(page):
            are_lost = True
            continue
        number, own = directory.first(COMPRESSION), page.first(COMPRESSION)
        compression = _NAMES.get(number, otherwise)
        if compression in FAX_COMPRESSIONS and otherwise not in FAX_COMPRESSIONS:
            compression = otherwise
        if number not in _NAMES and number != own:
            notes["the compression of its overviews is replaced by deflate"] = None
        fields, is_kept = _fields_of(directory, stream)
        if not is_kept:
            notes["some TIFF tags of its overviews are dropped"] = None
        subfile_type = directory.first(NEW_SUBFILE_TYPE) | (0 if is_slide else REDUCED)
        tile = whole_tile(directory)
        found.append(Overview(*directory.sides, tile, compression, fields, is_below, subfile_type))
    if are_lost:
        notes["its images in reduced size that do not show the same, or are damaged, are dropped"] = None
    return tuple(found), tuple(notes)


def whole_tile(directory: Directory) -> tuple[int, int] | None:
    """Return rows and columns of the tiles to write, as displayed; None for strips."""
    tile = directory.tile
    return None if tile is None or any(side % _SIDE for side in tile) else tile


def _fields_of(directory: Directory, stream: BinaryIO) -> tuple[tuple[Field, ...], bool]:
    """Return the tags of an overview that say more than how it is stored, and whether these are all."""
    layout = layout_of(stream)
    assert layout is not None
    replaced = {
        layout.first_link: layout.place.pack(directory.place),
        directory.link: bytes(layout.place.size),
    }
    alone = cast(BinaryIO, Spliced(stream, replaced))
    described, further, lost = tags_in(alone, directory)
    if directory.first(ORIENTATION) in _ON_THEIR_SIDE:
        described = with_sides_exchanged(described)
    described.pop(ORIENTATION, None)
    beside = fields_in(alone, {ICCPROFILE, XMP}.__contains__)
    return (*described.values(), *(_field(tag, one) for tag, one in further.items()), *beside), not lost


def _field(tag: int, stored: StoredTag) -> Field:
    return Field(tag, *stored)


@dataclass(frozen=True)
class Meaning:
    """What values (rows, columns, samples) mean for their averages.

    alpha: the number of the sample that is alpha and by which the others count, or None; nodata: the value of missing
    pixels, or None; is_bilevel: values are 0 and 255.
    """

    alpha: int | None = None
    nodata: float | None = None
    is_bilevel: bool = False

    def weights(self, values: NDArray[Any]) -> NDArray[np.float64] | None:
        """Return how much each pixel counts (rows, columns, 1), or None for all alike."""
        weights = None
        if self.alpha is not None:
            weights = values[..., self.alpha : self.alpha + 1].astype(np.float64)
        intensities = values if self.alpha is None else np.delete(values, self.alpha, axis=-1)
        missing = np.zeros(values.shape[:2], bool)
        if values.dtype.kind == "f":
            missing |= np.isnan(intensities).any(axis=-1)
        if self.nodata is not None and not math.isnan(self.nodata):
            missing |= (intensities == self.nodata).any(axis=-1)
        if not missing.any():
            return weights
        present = (~missing)[..., np.newaxis].astype(np.float64)
        return present if weights is None else weights * present

    @property
    def is_weighted(self) -> bool:
        """Whether pixels may count differently, even if values are integers."""
        return self.alpha is not None or self.nodata is not None


class Averaging:
    """Averages an image, which comes window by window, over the areas of the pixels of a smaller one.

    Windows come in bands of rows, from top to bottom, and from left to right within each band.
    take: called with the next rows of the result, (rows, columns, samples) of the image's type, as soon as ``height``
    of them are known, and at the end with the rest.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        size: tuple[int, int],
        dtype: np.dtype[Any],
        meaning: Meaning,
        height: int,
        take: Callable[[NDArray[Any]], None],
    ) -> None:
        """shape: rows, columns and samples of the image; size: rows and columns of the result."""
        self._rows, self._columns, self._samples = shape
        self._size = size
        self._dtype = dtype
        self._meaning = meaning
        self._height = height
        self._take = take
        is_weighted = meaning.is_weighted or dtype.kind == "f"
        #: Sums: of the values, and of the weights of the colours and, where it has another, of alpha.
        self._sums = self._samples + is_weighted
        self._above = np.zeros(
            (1, size[1], self._sums)
        )  # of the last row of the band before, if that row goes on
        self._below = np.zeros_like(self._above)
        self._left: NDArray[np.float64] | None = None  # of the last column of the window before
        self._ready = np.zeros((min(height, size[0]), size[1], self._samples), dtype)
        self._top = 0  # of ``ready``

    def add(self, window: Window, values: NDArray[Any]) -> None:
        """Add the values (rows, columns, samples) of the next window."""
        rows, columns = window
        down, first_row, last_row = _overlaps(rows, self._rows, self._size[0])
        across, first_column, last_column = _overlaps(columns, self._columns, self._size[1])
        sums = _summed(self._summands(values), down, across)
        if self._left is not None:
            sums[:, :1] += self._left
            self._left = None
        is_end_of_band = columns.stop == self._columns
        if not is_end_of_band and columns.stop * self._size[1] % self._columns:
            sums, self._left, last_column = sums[:, :-1], sums[:, -1:].copy(), last_column - 1
        here = slice(first_column, last_column)
        sums[:1] += self._above[:, here]
        if rows.stop < self._rows and rows.stop * self._size[0] % self._rows:
            self._below[:, here], sums, last_row = sums[-1:], sums[:-1], last_row - 1
        self._place(first_row, here, self._means(sums))
        if is_end_of_band:
            self._above, self._below = self._below, np.zeros_like(self._above)
            self._hand_over(last_row)

    def _summands(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Return what is summed: values times weights, and the weights if there are any."""
        if self._sums == self._samples:
            return values.astype(np.float64)
        weights = self._meaning.weights(values)
        if weights is None:
            weights = np.ones((*values.shape[:2], 1))
        weighted = np.where(weights > 0, values, 0) * weights
        if (alpha := self._meaning.alpha) is not None:
            weighted[..., alpha] = values[..., alpha]
        return np.concatenate((weighted, weights), axis=-1)

    def _means(self, sums: NDArray[np.float64]) -> NDArray[Any]:
        means = sums[..., : self._samples]
        if self._sums > self._samples:
            weights = sums[..., self._samples :]
            absent = self._meaning.nodata
            if absent is None:
                absent = math.nan if self._dtype.kind == "f" and self._meaning.alpha is None else 0
            with np.errstate(divide="ignore", invalid="ignore"):
                divided = np.where(weights > 0, means / weights, absent)
            if (alpha := self._meaning.alpha) is not None:
                divided[..., alpha] = means[..., alpha]
            means = divided
        if self._meaning.is_bilevel:
            means = np.where(means >= 127.5, 255, 0)
        elif self._dtype.kind != "f":
            limits = np.iinfo(self._dtype)
            means = np.clip(np.rint(means), limits.min, limits.max)
        return means.astype(self._dtype)

    def _place(self, row: int, columns: slice, means: NDArray[Any]) -> None:
        """Keep finished rows of some columns."""
        start, end = row - self._top, row - self._top + len(means)
        if end > len(self._ready):
            more = np.zeros((end - len(self._ready), *self._ready.shape[1:]), self._dtype)
            self._ready = np.concatenate((self._ready, more))
        self._ready[start:end, columns] = means

    def _hand_over(self, end: int) -> None:
        """Hand over whole segments of the rows before ``end``, and at the end the rest."""
        is_last = end == self._size[0]
        while end - self._top >= self._height or (is_last and end > self._top):
            count = min(self._height, end - self._top)
            self._take(self._ready[:count])
            self._top += count
            self._ready = np.concatenate((self._ready[count:], np.zeros_like(self._ready[:count])))


def _overlaps(part: slice, length: int, size: int) -> tuple[Any, int, int]:
    """Return a sparse matrix with the shares of the places of a part in the means it touches, and the numbers of the
    first of these and the one after the last."""
    from scipy.sparse import csr_array

    first, end = part.start * size // length, -(-part.stop * size // length)
    rows, columns, shares = [], [], []
    for number in range(first, end):
        start, stop = number * length / size, (number + 1) * length / size
        places = np.arange(max(part.start, int(start)), min(part.stop, math.ceil(stop)))
        overlap = np.minimum(places + 1, stop) - np.maximum(places, start)
        rows.append(np.full(len(places), number - first))
        columns.append(places - part.start)
        shares.append(overlap * size / length)
    entries = np.concatenate(shares), (np.concatenate(rows), np.concatenate(columns))
    return csr_array(entries, (end - first, part.stop - part.start)), first, end


def _summed(values: NDArray[np.float64], down: Any, across: Any) -> NDArray[np.float64]:
    """Multiply values (rows, columns, samples) by matrices from both sides."""
    rows, columns, samples = values.shape
    narrow = down @ values.reshape(rows, -1)
    turned = narrow.reshape(-1, columns, samples).swapaxes(0, 1).reshape(columns, -1)
    summed: NDArray[np.float64] = np.asarray(across @ turned)
    return np.ascontiguousarray(summed.reshape(len(summed), -1, samples).swapaxes(0, 1))
