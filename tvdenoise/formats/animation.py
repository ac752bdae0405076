"""What animated formats share: whole frames, and the canvas on which partial frames are composed.

Pillow composes frames too, but lets what lies under a translucent pixel shine through opaque results, and fills what is
cleared in an opaque animation with colours that no viewer shows.
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
    """What becomes of a frame before the next one is drawn."""

    KEEP = "it stays"
    CLEAR = "its place becomes transparent"
    RESTORE = "its place becomes what it was before"


@dataclass(frozen=True)
class Placed:
    """Where a frame lies and how it is drawn; is_over: it lets through what it lies over, and replaces it else."""

    left: int
    top: int
    disposal: Disposal = Disposal.KEEP
    is_over: bool = False


class Canvas:
    """Columns and rows of 8-bit colours with alpha, transparent at first."""

    def __init__(self, size: tuple[int, int]) -> None:
        columns, rows = size
        self._shown: NDArray[np.uint8] = np.zeros((rows, columns, 4), np.uint8)
        self._undo: tuple[tuple[slice, slice], NDArray[np.uint8]] | None = None

    def draw(self, frame: NDArray[np.uint8], placed: Placed) -> NDArray[np.uint8]:
        """What is shown with a frame (rows, columns, 4) on it, as far as it lies inside. Copy it to keep it.

        Raises UnreadableImageError for a frame that lies outside altogether.
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
    """Colours with straight alpha, (rows, columns, 4), over others; exactly one of both where none is translucent."""
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


def plain_frame(
    values: NDArray[np.uint8], first: DecodedImage, *, has_alpha: bool, is_grey: bool
) -> DecodedImage:
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


def without_metadata_of_all(image: DecodedImage) -> DecodedImage:
    """The pixels and how they are stored, without what a file says once."""
    return DecodedImage(image.intensities, image.alpha, image.codec, traits=image.traits)


def palette_is_grey(opened: Image.Image) -> bool:
    """Whether all colours of an image with a palette are grey."""
    colours = np.array(opened.getpalette("RGB") or (), np.uint8).reshape(-1, 3)
    return bool((colours == colours[:, :1]).all())
