"""The frames of an animated GIF: each taken out as a GIF of its own, and drawn over those before."""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, BinaryIO

from PIL import Image, ImageFile

from tvdenoise.errors import UnreadableImageError
from tvdenoise.files.families.animation import plain_frame, whole_frames
from tvdenoise.files.families.canvas import Placed
from tvdenoise.files.families.gif_animation import GifFrames, screen_of
from tvdenoise.files.families.gif_blocks import TRANSPARENT, Block, Control, blocks, covers

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tvdenoise.files.picture import Picture
    from tvdenoise.files.stack import Series

_CONTROL, _PICTURE = b"\xf9", b","
_MOST_BEYOND = 4  # times the pixels of the picture that a frame may have


def frames(
    opened: ImageFile.ImageFile, stream: BinaryIO, series: Series, first: Picture, numbers: Iterable[int]
) -> Iterator[Picture]:
    """The frames as viewers show them; the background of the canvas, which none of them shows, is transparent."""
    traits = series.traits
    assert isinstance(traits, GifFrames)
    for values in whole_frames(_singles(stream, traits.screen, opened.size), opened.size, numbers):
        yield plain_frame(values, first, has_alpha=traits.has_alpha, is_grey=traits.is_grey)


def partial_frame(opened: ImageFile.ImageFile, stream: BinaryIO) -> NDArray[np.uint8] | None:
    """What a first frame shows, as colours with alpha, where it covers a part of the canvas; None where all."""
    screen = screen_of(stream)
    first = next((block for block in blocks(stream) if block.kind == _PICTURE), None)
    if first is None or covers(first, opened.size):
        return None
    return next(whole_frames(_singles(stream, screen, opened.size), opened.size, (0,)))


def _singles(
    stream: BinaryIO, screen: bytes, size: tuple[int, int]
) -> Iterator[tuple[Image.Image, Placed | None]]:
    """screen: the header and the table of colours that serve all frames."""
    stream.seek(len(screen))
    control = Control()
    for block in blocks(stream):
        if block.label == _CONTROL:
            control = Control.of(block)
        elif block.kind == _PICTURE:
            end = stream.tell()
            stream.seek(block.place)
            contents = stream.read(end - block.place)
            left, top, columns, rows = block.box
            if columns * rows > _MOST_BEYOND * math.prod(size):
                raise UnreadableImageError(
                    "the file is damaged (a frame is too large)", "use an undamaged copy"
                )
            yield (
                _decoded(block, contents, screen, control),
                Placed(left, top, control.disposal, is_over=True),
            )
            stream.seek(end)
            control = Control()


def _decoded(block: Block, contents: bytes, screen: bytes, control: Control) -> Image.Image:
    shown = b""
    if control.transparent is not None:
        shown = b"!\xf9\x04" + struct.pack("<BHBB", TRANSPARENT, 0, control.transparent, 0)
    header = screen[:6] + struct.pack("<HH", *block.box[2:]) + screen[10:]
    placed = contents[:1] + bytes(4) + contents[5:]  # in its own corner
    image = Image.open(io.BytesIO(header + shown + placed + b";"), formats=("GIF",))
    image.load()
    return image
