"""Several images in one file: pages, planes of a stack, frames of an animation, volumes."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from tvdenoise.errors import UnsupportedImageError
from tvdenoise.files.decoded import DecodedImage

if TYPE_CHECKING:
    from numpy.typing import NDArray


UNKNOWN_AXIS = "I"
CHANNEL, DEPTH, TIME = "C", "Z", "T"
_UNNAMED = "defghijklmnopqr"  # axes before the last one, of a file that states only their sizes


def unnamed(count: int) -> str:
    """Return names for the axes of images of which only the sizes are known: the last is that of planes."""
    return _UNNAMED[: count - 1] + DEPTH


@dataclass(frozen=True)
class Axes:
    """The arrangement of the images of a file.

    names: a letter for each axis, the last one varying fastest: "T" for time, "Z" for depth, "C" for microscope
    channels, "I" if unknown; sizes: the length of each axis; their product is the number of images.
    spacing: the distance of neighbours by axis ("X" and "Y" too), > 0, in ``unit`` (time: seconds), if known.
    order: the number of each image in the order of the axes, if the file has them in another order.
    channels: the channel of each image, if nothing else is known; is_mixed: images differ in size or kind of pixels.
    """

    names: str
    sizes: tuple[int, ...]
    spacing: Mapping[str, float] = field(default_factory=dict, hash=False)
    unit: str | None = None
    channels: tuple[int, ...] | None = None
    order: tuple[int, ...] | None = None
    is_mixed: bool = False

    @classmethod
    def plain(cls, count: int) -> Axes:
        """Return the axes of ``count`` images of unknown arrangement."""
        return cls(UNKNOWN_AXIS, (count,))

    @property
    def count(self) -> int:
        return math.prod(self.sizes)

    def size(self, name: str) -> int:
        """Return the length of an axis; 1 if there is none of that name."""
        return dict(zip(self.names, self.sizes, strict=True)).get(name, 1)

    def place(self, number: int) -> dict[str, int]:
        """Return the position of an image along each axis."""
        places = {}
        number = number if self.order is None else self.order[number]
        for name, size in zip(reversed(self.names), reversed(self.sizes), strict=True):
            number, places[name] = divmod(number, size)
        return places

    @property
    def assumption(self) -> tuple[str, ...]:
        """A sentence about axes without names, if there are several."""
        if not self.names.startswith(_UNNAMED[0]):
            return ()
        sizes, volumes = " × ".join(map(str, self.sizes)), self.count // self.sizes[-1]
        taken = f"{volumes} volumes of {self.sizes[-1]} planes"
        return (f"its axes have no names, and its {sizes} images are taken as {taken}",)

    @property
    def channel_count(self) -> int:
        """The number of microscope channels."""
        return len(set(self.channels)) if self.channels is not None else self.size(CHANNEL)

    def channel(self, number: int) -> int:
        """Return the channel of an image, counted from 0."""
        if self.channels is not None:
            return self.channels[number]
        return self.place(number).get(CHANNEL, 0)

    @property
    def plane_axis(self) -> str | None:
        """The axis along which images are planes of one volume: depth, else an unknown axis, else time. None if there
        are only channels."""
        present = [name for name in self.names if name != CHANNEL and self.size(name) > 1]
        return next((name for name in (DEPTH, UNKNOWN_AXIS, TIME, *present) if name in present), None)

    @property
    def volumes(self) -> tuple[tuple[int, ...], ...]:
        """The numbers of the images of each volume, along its axis.

        Raises UnsupportedImageError if it is unknown which images form a volume.
        """
        axis = self.plane_axis
        if self.is_mixed:
            raise UnsupportedImageError(
                f"its {self.count} pages differ in size or kind of pixels", "leave out --volume"
            )
        if self.channels is not None:
            raise UnsupportedImageError(
                "it holds several stacks, and the layout of their planes is unknown",
                "save each as a file of its own, or leave out --volume",
            )
        if axis is None:
            raise UnsupportedImageError("it holds only channels, no volume", "leave out --volume")
        found: dict[tuple[tuple[str, int], ...], list[tuple[int, int]]] = {}
        for number in range(self.count):
            place = self.place(number)
            plane = place.pop(axis)
            found.setdefault(tuple(place.items()), []).append((plane, number))
        return tuple(tuple(number for _, number in sorted(planes)) for planes in found.values())


@dataclass(frozen=True)
class Timing:
    """Timing of an animation.

    durations: of each frame, in seconds; plays: the number of times it plays, 0 for endless.
    """

    durations: tuple[Fraction, ...]
    plays: int


@dataclass(frozen=True, eq=False)
class Series:
    """Description of the images of a file, known without decoding them.

    axes: their arrangement; timing: of an animation, None for pages.
    traits: codec-specific data; notes: sentences about what will not be written as it was read.
    """

    axes: Axes
    timing: Timing | None = None
    traits: object = None
    notes: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        return self.axes.count


@dataclass(frozen=True, eq=False)
class Stack:
    """Several images in a file, of one size and kind unless the axes say otherwise, which are read one by one.

    first: the first image, with the metadata of the file; read: yields the images with the given increasing numbers,
    decoding each on demand; raises UnreadableImageError and UnsupportedImageError.
    The stream must stay open.
    """

    first: DecodedImage
    series: Series
    read: Callable[[Iterable[int]], Iterator[DecodedImage]]

    @property
    def count(self) -> int:
        return self.series.count

    @property
    def axes(self) -> Axes:
        return self.series.axes

    @property
    def codec(self) -> str:
        return self.first.codec

    def images(self) -> Iterator[DecodedImage]:
        """Yield all images in order."""
        return self.read(range(self.count))

    def sample(self, channel: int, most: int) -> list[int]:
        """Return the numbers of at most ``most`` images of a channel, evenly spaced."""
        numbers = [number for number in range(self.count) if self.axes.channel(number) == channel]
        if len(numbers) <= most:
            return numbers
        return [numbers[round(place * (len(numbers) - 1) / (most - 1))] for place in range(most)]


@dataclass(frozen=True, eq=False)
class Volume:
    """A volume in memory.

    intensities: (planes, rows, columns) or (planes, rows, columns, colours), as stored, with invisible pixels filled
    from the nearest visible ones of their plane, or from the nearest plane that has some.
    visible: (planes, rows, columns), or None if every pixel is visible.
    channels, is_float, in_bands: as in `DecodedImage`; spacing: the distances of planes, rows and columns, in any unit.
    missing: the number of visible pixels that are NaN; notes: those of the images.
    nodata: the value that the first image declares as missing, or None.
    """

    intensities: NDArray[Any]
    visible: NDArray[np.bool_] | None
    channels: int
    is_float: bool
    spacing: tuple[float, ...]
    missing: int = 0
    notes: tuple[str, ...] = ()
    nodata: float | None = None
    in_bands: bool = False
    weights: None = None  # of pixels: equal

    def noisy(self) -> NDArray[Any]:
        """Return the intensities to denoise."""
        return self.intensities

    @property
    def telling(self) -> NDArray[np.bool_] | None:
        """See `DecodedImage.telling`."""
        return self.visible

    def separate(self) -> Iterator[Volume]:
        """Yield each band as a grey volume; other volumes alone."""
        if not self.in_bands:
            yield self
            return
        for band in range(self.channels):
            values = np.ascontiguousarray(self.intensities[..., band])
            yield replace(self, intensities=values, channels=1, in_bands=False)


def in_order(stack: Stack, numbers: Sequence[int]) -> Iterator[tuple[int, DecodedImage]]:
    """Yield the images with the given numbers in file order, each with its index in ``numbers``."""
    places = sorted(range(len(numbers)), key=numbers.__getitem__)
    yield from zip(places, stack.read([numbers[place] for place in places]), strict=True)


def gathered(stack: Stack, numbers: Sequence[int], spacing: tuple[float, ...]) -> Volume:
    """Read the images with the given numbers as the planes of a volume, in this order."""
    first = stack.first
    intensities = np.empty((len(numbers), *first.intensities.shape), first.intensities.dtype)
    visible: NDArray[np.bool_] | None = None
    missing = 0
    notes: dict[str, None] = {}
    for place, image in in_order(stack, numbers):
        if image.weights is not None:
            raise UnsupportedImageError(
                "its premultiplied alpha is not opaque, which a volume cannot take",
                "save it with straight alpha, or leave out --volume",
            )
        intensities[place] = image.noisy()
        missing += image.missing
        notes |= dict.fromkeys(image.notes)
        if image.visible is not None:
            if visible is None:
                visible = np.ones((len(numbers), *intensities.shape[1:3]), bool)
            visible[place] = image.visible
    if visible is not None:
        _fill_hidden_planes(intensities, visible)
    return Volume(
        intensities,
        visible,
        first.channels,
        first.is_float,
        spacing,
        missing,
        tuple(notes),
        first.nodata,
        first.in_bands,
    )


def _fill_hidden_planes(intensities: NDArray[Any], visible: NDArray[np.bool_]) -> None:
    """Copy into each wholly invisible plane the intensities of the nearest plane with visible pixels."""
    is_seen = visible.any(axis=(1, 2))
    seen = np.flatnonzero(is_seen)
    for place in np.flatnonzero(~is_seen) if seen.size else ():
        intensities[place] = intensities[seen[np.argmin(np.abs(seen - place))]]


class Spill:
    """Keeps numbered arrays of one shape and dtype in a temporary file, reusing the slots of arrays taken out.

    folder: of the file, or None for the system's temporary folder. The file disappears however the process ends.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._file: BinaryIO | None = None
        self._slots: dict[int, int] = {}
        self._free: list[int] = []
        self._like: NDArray[Any] = np.empty(0)

    def __enter__(self) -> Spill:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def __contains__(self, number: int) -> bool:
        return number in self._slots

    @property
    def length(self) -> int:
        """Length of the file, in bytes."""
        return 0 if self._file is None else self._file.seek(0, os.SEEK_END)

    def put(self, number: int, values: NDArray[Any]) -> None:
        """Store an array. Raises OSError."""
        if self._file is None:
            self._file = TemporaryFile(dir=self._folder)  # noqa: SIM115  # as long as this lasts
        self._like = values[:0]
        slot = self._free.pop() if self._free else len(self._slots)
        self._file.seek(slot * values.nbytes)
        self._file.write(np.ascontiguousarray(values).data)
        self._slots[number] = slot

    def take(self, number: int, shape: tuple[int, ...]) -> NDArray[Any]:
        """Return a stored array and free its slot. Raises OSError."""
        assert self._file is not None
        values = np.empty(shape, self._like.dtype)
        slot = self._slots.pop(number)
        self._file.seek(slot * values.nbytes)
        if self._file.readinto(values.data.cast("B")) != values.nbytes:  # type: ignore[attr-defined]
            raise OSError("a temporary file was cut short")
        self._free.append(slot)
        return values


Window = tuple[slice, ...]


@dataclass(frozen=True, eq=False)
class VolumeFile:
    """A volume in a file, its planes stored one after the other.

    shape: (planes, rows, columns); samples: of a voxel, which are bands if in_bands; dtype: of the values; notes: those
    of the images; nodata: as in `Volume`; band: the number of the only band that `read` returns, as grey; None for all.
    The file is read, not mapped: mapped pages count as memory.
    """

    file: BinaryIO
    shape: tuple[int, int, int]
    samples: int
    dtype: np.dtype[Any]
    notes: tuple[str, ...] = ()
    nodata: float | None = None
    in_bands: bool = False
    band: int | None = None

    @property
    def channels(self) -> int:
        """The number of channels that `read` returns."""
        return self.samples if self.band is None else 1

    def separate(self) -> tuple[VolumeFile, ...]:
        """Return each band as a grey volume; other volumes alone."""
        if not self.in_bands:
            return (self,)
        return tuple(replace(self, band=band) for band in range(self.samples))

    @property
    def chunk(self) -> tuple[int, int, int]:
        """Planes, rows and columns of the smallest block that is read at once."""
        return 1, 1, self.shape[2]

    def read(self, window: Window) -> NDArray[Any]:
        """Read the values of a window, (planes, rows, columns) or (planes, rows, columns, colours).

        Raises OSError.
        """
        planes, rows, columns = window
        colours = () if self.samples == 1 else (self.samples,)
        row = self.shape[2] * self.samples * self.dtype.itemsize
        height = rows.stop - rows.start
        band = np.empty((height, self.shape[2], *colours), self.dtype)
        shape = self._own(band[:, columns]).shape
        values = np.empty((planes.stop - planes.start, *shape), self.dtype)
        for place, plane in enumerate(range(planes.start, planes.stop)):
            self.file.seek((plane * self.shape[1] + rows.start) * row)
            if self.file.readinto(band.data.cast("B")) != band.nbytes:  # type: ignore[attr-defined]
                raise OSError("a temporary file was cut short")
            values[place] = self._own(band[:, columns])
        return values

    def _own(self, values: NDArray[Any]) -> NDArray[Any]:
        return values if self.band is None else values[..., self.band]


@contextmanager
def gathered_on_disk(
    stack: Stack, numbers: Sequence[int], folder: Path | None, *, fills_missing: bool = False
) -> Iterator[VolumeFile]:
    """Write the images with the given numbers to a temporary file, as the planes of a volume, in this order.

    folder: of the file, or None for the system's temporary folder; fills_missing: NaN stands for missing pixels.
    Raises OSError, and UnsupportedImageError for
    missing or invisible pixels, which need the whole volume in memory.
    """
    first = stack.first
    columns, rows = first.size
    notes: dict[str, None] = {}
    with TemporaryFile(dir=folder) as file:
        for place, image in in_order(stack, numbers):
            _refuse_what_needs_all(image, fills_missing=fills_missing)
            notes |= dict.fromkeys(image.notes)
            file.seek(place * image.intensities.nbytes)
            file.write(np.ascontiguousarray(image.intensities).data)
        file.flush()
        shape = (len(numbers), rows, columns)
        yield VolumeFile(
            file,
            shape,
            first.channels,
            first.intensities.dtype,
            tuple(notes),
            first.nodata,
            first.in_bands,
        )


def _refuse_what_needs_all(image: DecodedImage, *, fills_missing: bool) -> None:
    what = None
    if image.weights is not None:
        what = "premultiplied alpha"
    elif image.visible is not None:
        what = "colours under full transparency"
    elif fills_missing and image.missing:
        what = "missing pixels (NaN)"
    if what is not None:
        raise UnsupportedImageError(
            f"it is denoised in parts, and {what} need the whole volume in memory",
            "save it without them, or allow more memory",
        )
