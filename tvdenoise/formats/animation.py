"""Animations: composes partial frames on a canvas, and describes series of frames.

Pillow's own composition blends colours under translucent pixels wrongly, and fills cleared areas of opaque animations
with colours that no viewer shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from tvdenoise.errors import UnreadableImageError, UnsupportedImageError
from tvdenoise.files.decoded import DecodedImage
from tvdenoise.files.stack import TIME, Axes, Series, Timing

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Disposal(Enum):
    """How a frame is disposed of before the next one is drawn."""

    KEEP = "it stays"
    CLEAR = "its place becomes transparent"
    RESTORE = "its place becomes what it was before"


@dataclass(frozen=True)
class Placed:
    """Position and drawing of a frame; is_over: it is blended over the canvas, otherwise it replaces it."""

    left: int
    top: int
    disposal: Disposal = Disposal.KEEP
    is_over: bool = False


class Canvas:
    """A canvas of 8-bit RGBA pixels, transparent at first; size: columns and rows."""

    def __init__(self, size: tuple[int, int]) -> None:
        columns, rows = size
        self._shown: NDArray[np.uint8] = np.zeros((rows, columns, 4), np.uint8)
        self._undo: tuple[tuple[slice, slice], NDArray[np.uint8]] | None = None

    def draw(self, frame: NDArray[np.uint8], placed: Placed) -> NDArray[np.uint8]:
        """Draw a frame (rows, columns, 4), clipped, and return the canvas, which the next call overwrites.

        Raises UnreadableImageError for a frame that lies wholly outside.
        """
        if self._undo is not None:
            box, contents = self._undo
            self._shown[box] = contents
        rows, columns = self._shown.shape[:2]
        frame = frame[: max(0, rows - placed.top), : max(0, columns - placed.left)]
        if not frame.size:
            raise UnreadableImageError(
                "the file is damaged (a frame lies outside the canvas)", "use an undamaged copy"
            )
        place = (
            slice(placed.top, placed.top + len(frame)),
            slice(placed.left, placed.left + frame.shape[1]),
        )
        before = self._shown[place].copy()
        self._undo = {
            Disposal.KEEP: None,
            Disposal.CLEAR: (place, np.zeros_like(before)),
            Disposal.RESTORE: (place, before),
        }[placed.disposal]
        self._shown[place] = over(frame, before) if placed.is_over else frame
        return self._shown


def over(frame: NDArray[np.uint8], below: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Blend RGBA with straight alpha, (rows, columns, 4), over another; exact where alpha is 0 or 255."""
    alpha = frame[..., 3:]
    result = np.where(alpha == 0, below, frame)
    mixed = (alpha[..., 0] > 0) & (alpha[..., 0] < 255) & (below[..., 3] > 0)
    upper, lower = frame[mixed].astype(np.float32), below[mixed].astype(np.float32)
    part = upper[:, 3:] / 255
    remaining = lower[:, 3:] / 255 * (1 - part)
    whole = part + remaining
    colours = (upper[:, :3] * part + lower[:, :3] * remaining) / whole
    result[mixed] = np.rint(np.concatenate((colours, 255 * whole), axis=1)).astype(np.uint8)
    return result


def animation(
    durations: list[Fraction], plays: int, traits: object = None, notes: tuple[str, ...] = ()
) -> Series:
    """Return the series of an animation's frames; durations in seconds."""
    axes = Axes(TIME, (len(durations),))
    return Series(axes, Timing(tuple(durations), plays), traits, notes)


def in_units(seconds: Fraction, unit: Fraction, most: int, name: str) -> int:
    """Return a duration as a whole number of units, at most ``most``; otherwise raises UnsupportedImageError."""
    number = seconds / unit
    if number.denominator != 1 or number > most:
        raise UnsupportedImageError(
            f"{name} cannot show a frame for {float(seconds):g} s", "keep the format of the input"
        )
    return int(number)


def plain_frame(
    values: NDArray[np.uint8], first: DecodedImage, *, has_alpha: bool, is_grey: bool
) -> DecodedImage:
    """Convert an RGBA frame (rows, columns, 4) to an image of the kind that all frames of the file have."""
    alpha = values[..., 3].copy() if has_alpha else None
    colours = values[..., 0] if is_grey else values[..., :3]
    return replace(first, intensities=colours.copy(), alpha=alpha, is_bilevel=False)


def whole_frames(
    drawn: Iterable[tuple[Image.Image, Placed | None]], size: tuple[int, int], numbers: Iterable[int]
) -> Iterator[NDArray[np.uint8]]:
    """Yield the composed RGBA frames with the given increasing numbers; size: columns and rows.

    drawn: all frames in turn, each with its position; None for an image that is not part of the animation.
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


def without_metadata_of_all(image: DecodedImage) -> DecodedImage:
    """Return the pixels and traits, without the metadata that a file holds once."""
    return DecodedImage(image.intensities, image.alpha, image.codec, traits=image.traits)


def palette_is_grey(opened: Image.Image) -> bool:
    """Return whether all colours of an image's palette are grey."""
    colours = np.array(opened.getpalette("RGB") or (), np.uint8).reshape(-1, 3)
    return bool((colours == colours[:, :1]).all())
