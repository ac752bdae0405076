"""Several pictures in one file: pages of a TIFF, planes of a microscope's stack, frames of an animation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from tvdenoise.errors import UnsupportedImageError
from tvdenoise.files.picture import Picture

UNKNOWN_AXIS = "I"
CHANNEL, DEPTH, TIME = "C", "Z", "T"


@dataclass(frozen=True)
class Axes:
    """How the pictures of a file are arranged.

    names: a letter for each axis, the last one varies fastest: "T" for time, "Z" for depth, "C" for channels of a
    microscope, "I" where nothing is known; sizes: of those axes, whose product is the number of pictures.
    spacing: by the letter of an axis ("X" and "Y", too) the distance of neighbours, > 0, in ``unit`` (of time: in
    seconds), where the file says it.
    order: the number that each picture would have in the order of the axes, where they come in another one.
    channels: the channel of each picture, where that is all that is known.
    """

    names: str
    sizes: tuple[int, ...]
    spacing: Mapping[str, float] = field(default_factory=dict, hash=False)
    unit: str | None = None
    channels: tuple[int, ...] | None = None
    order: tuple[int, ...] | None = None

    @classmethod
    def plain(cls, count: int) -> Axes:
        """Those of so many pictures of which nothing is known."""
        return cls(UNKNOWN_AXIS, (count,))

    @property
    def count(self) -> int:
        return math.prod(self.sizes)

    def size(self, name: str) -> int:
        """How many there are along an axis; 1 where there is none of that name."""
        return dict(zip(self.names, self.sizes, strict=True)).get(name, 1)

    def place(self, number: int) -> dict[str, int]:
        """Where a picture lies along each axis."""
        places = {}
        number = number if self.order is None else self.order[number]
        for name, size in zip(reversed(self.names), reversed(self.sizes), strict=True):
            number, places[name] = divmod(number, size)
        return places

    @property
    def channel_count(self) -> int:
        """How many channels of a microscope there are."""
        return len(set(self.channels)) if self.channels is not None else self.size(CHANNEL)

    def channel(self, number: int) -> int:
        """The channel of a picture, counted from 0."""
        if self.channels is not None:
            return self.channels[number]
        return self.place(number).get(CHANNEL, 0)

    @property
    def plane_axis(self) -> str | None:
        """The axis along which pictures are planes of one volume: that of depth, or where there is none one of which
        nothing is known, or time. None where there are channels alone."""
        present = [name for name in self.names if name != CHANNEL and self.size(name) > 1]
        return next((name for name in (DEPTH, UNKNOWN_AXIS, TIME, *present) if name in present), None)

    @property
    def volumes(self) -> tuple[tuple[int, ...], ...]:
        """The numbers of the pictures of each volume, along its axis.

        Raises UnsupportedImageError where it is not known which pictures are planes of one volume.
        """
        axis = self.plane_axis
        if self.channels is not None:
            raise UnsupportedImageError(
                "it holds several stacks, and how their planes lie is not known",
                "save each as a file of its own, or leave out --volume",
            )
        if axis is None:
            raise UnsupportedImageError("it holds channels alone, no volume", "leave out --volume")
        found: dict[tuple[tuple[str, int], ...], list[tuple[int, int]]] = {}
        for number in range(self.count):
            place = self.place(number)
            plane = place.pop(axis)
            found.setdefault(tuple(place.items()), []).append((plane, number))
        return tuple(tuple(number for _, number in sorted(planes)) for planes in found.values())


@dataclass(frozen=True)
class Timing:
    """How an animation is shown.

    durations: of each frame, in seconds; plays: how often it is shown, 0 for without end.
    """

    durations: tuple[Fraction, ...]
    plays: int


@dataclass(frozen=True, eq=False)
class Series:
    """What a file says of its several pictures, before they are decoded.

    axes: how they are arranged; timing: of an animation, None for pages.
    traits: what only the codec understands; notices: sentences about what is not written as it was read.
    """

    axes: Axes
    timing: Timing | None = None
    traits: object = None
    notices: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        return self.axes.count


@dataclass(frozen=True, eq=False)
class Stack:
    """Several pictures of one size and kind in a file, which are read one by one.

    first: the first one, with what the file says of all; read: the pictures of some numbers, which increase, each
    decoded when it is asked for. Reading raises UnreadableImageError and UnsupportedImageError.
    The stream that it is read from has to stay open.
    """

    first: Picture
    series: Series
    read: Callable[[Iterable[int]], Iterator[Picture]]

    @property
    def count(self) -> int:
        return self.series.count

    @property
    def axes(self) -> Axes:
        return self.series.axes

    @property
    def codec(self) -> str:
        return self.first.codec

    def pictures(self) -> Iterator[Picture]:
        """All of them, in order."""
        return self.read(range(self.count))

    def sample(self, channel: int, most: int) -> list[int]:
        """The numbers of at most so many pictures of a channel, spread evenly over all that it has."""
        numbers = [number for number in range(self.count) if self.axes.channel(number) == channel]
        if len(numbers) <= most:
            return numbers
        return [numbers[round(place * (len(numbers) - 1) / (most - 1))] for place in range(most)]
