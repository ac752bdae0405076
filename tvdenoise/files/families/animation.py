"""What the families of animations share: frames as they are shown, whole and plain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from tvdenoise.errors import UnsupportedImageError
from tvdenoise.files.families.canvas import Canvas, Placed
from tvdenoise.files.picture import Picture
from tvdenoise.files.stack import TIME, Axes, Series, Timing

if TYPE_CHECKING:
    from numpy.typing import NDArray


def animation(
    durations: list[Fraction], plays: int, traits: object = None, notices: tuple[str, ...] = ()
) -> Series:
    """The series of an animation's frames."""
    axes = Axes(TIME, (len(durations),))
    return Series(axes, Timing(tuple(durations), plays), traits, notices)


def in_units(seconds: Fraction, unit: Fraction, most: int, name: str) -> int:
    """A duration as a whole number of units, at most so many; UnsupportedImageError where it is none."""
    number = seconds / unit
    if number.denominator != 1 or number > most:
        raise UnsupportedImageError(
            f"{name} cannot show a frame for {float(seconds):g} s", "keep the format of the input"
        )
    return int(number)


def plain_frame(values: NDArray[np.uint8], first: Picture, *, has_alpha: bool, is_grey: bool) -> Picture:
    """A frame of colours with alpha, (rows, columns, 4), as a picture of the same kind for all frames of a file."""
    alpha = values[..., 3].copy() if has_alpha else None
    colours = values[..., 0] if is_grey else values[..., :3]
    return replace(first, intensities=colours.copy(), alpha=alpha)


def whole_frames(
    drawn: Iterable[tuple[Image.Image, Placed | None]], size: tuple[int, int], numbers: Iterable[int]
) -> Iterator[NDArray[np.uint8]]:
    """What an animation of some size shows at increasing numbers, as colours with alpha.

    drawn: all frames in turn, with where each lies; None for a picture that is no part of the animation.
    """
    canvas, wanted = Canvas(size), iter(numbers)
    number = next(wanted, None)
    for count, (single, placed) in enumerate(drawn):
        if number is None:
            return
        values: NDArray[np.uint8] = np.asarray(single.convert("RGBA"))
        shown = values if placed is None else canvas.draw(values, placed)
        if count == number:
            yield shown
            number = next(wanted, None)


def without_metadata_of_all(picture: Picture) -> Picture:
    """The pixels and how they are stored, without what a file says once."""
    return Picture(picture.intensities, picture.alpha, picture.codec, traits=picture.traits)


def palette_is_grey(opened: Image.Image) -> bool:
    """Whether all colours of an image with a palette are grey."""
    colours = np.array(opened.getpalette("RGB") or (), np.uint8).reshape(-1, 3)
    return bool((colours == colours[:, :1]).all())
