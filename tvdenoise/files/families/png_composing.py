"""The frames of an animated PNG: each taken out as a PNG of its own, and drawn over those before."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

from PIL import Image, ImageFile

from tvdenoise.errors import UnreadableImageError
from tvdenoise.files.families.animation import palette_is_grey, plain_frame, whole_frames
from tvdenoise.files.families.canvas import Disposal, Placed
from tvdenoise.files.families.png_animation import PngFrames
from tvdenoise.files.families.png_chunks import SIGNATURE, chunks_of, packed

if TYPE_CHECKING:
    from tvdenoise.files.picture import Picture
    from tvdenoise.files.stack import Series

_HEADER, _CONTROL, _DATA, _PIXELS, _END = b"IHDR", b"fcTL", b"fdAT", b"IDAT", b"IEND"
_COLOURS = {b"PLTE", b"tRNS"}  # which hold for all frames
_DISPOSALS = (Disposal.KEEP, Disposal.CLEAR, Disposal.RESTORE)
_OVER = 1
_GREYS, _PALETTE, _ALPHAS = (0, 4), 3, (4, 6)  # types of colour


@dataclass
class _Single:
    """A frame that is being put together: its control chunk, empty for the still picture, and its compressed pixels."""

    control: bytes = b""
    pixels: list[bytes] = field(default_factory=list)

    def decoded(self, header: bytes, colours: bytes) -> tuple[Image.Image, Placed | None]:
        size = self.control[4:12] or header[:8]
        parts = (packed(_HEADER, size + header[8:]), colours, packed(_PIXELS, b"".join(self.pixels)))
        image = Image.open(io.BytesIO(b"".join((SIGNATURE, *parts, packed(_END, b"")))), formats=("PNG",))
        image.load()
        return image, self._placed() if self.control else None

    def _placed(self) -> Placed:
        left, top = struct.unpack(">II", self.control[12:20])
        disposal, blending = self.control[24:26]
        return Placed(left, top, _DISPOSALS[disposal], is_over=blending == _OVER)


def frames(
    opened: ImageFile.ImageFile, stream: BinaryIO, series: Series, first: Picture, numbers: Iterable[int]
) -> Iterator[Picture]:
    """The still picture, where there is one, and the frames as viewers show them."""
    traits = series.traits
    assert isinstance(traits, PngFrames)
    kind = next(chunks_of(stream, {_HEADER})).contents[9]
    is_grey = kind in _GREYS or (kind == _PALETTE and palette_is_grey(opened))
    has_alpha = kind in _ALPHAS or "transparency" in opened.info or traits.leaves_gaps
    for values in whole_frames(_singles(stream), opened.size, numbers):
        yield plain_frame(values, first, has_alpha=has_alpha, is_grey=is_grey)


def _singles(stream: BinaryIO) -> Iterator[tuple[Image.Image, Placed | None]]:
    header, colours, single = b"", b"", _Single()
    for chunk in chunks_of(stream, {_HEADER, _CONTROL, _DATA, _PIXELS, *_COLOURS}):
        if chunk.kind == _HEADER:
            header = chunk.contents
        elif chunk.kind in _COLOURS:
            colours += packed(chunk.kind, chunk.contents)
        elif chunk.kind == _PIXELS:
            single.pixels.append(chunk.contents)
        elif chunk.kind == _DATA:
            single.pixels.append(chunk.contents[4:])
        elif chunk.kind in (_CONTROL, _END):
            if single.pixels:
                _require_inside(single.control, header)
                yield single.decoded(header, colours)
            elif single.control:
                raise _damaged()
            single = _Single(chunk.contents)


def _require_inside(control: bytes, header: bytes) -> None:
    """Before memory is taken for a frame."""
    if control:
        width, height, left, top = struct.unpack(">4I", control[4:20])
        columns, rows = struct.unpack(">2I", header[:8])
        is_inside = left + width <= columns and top + height <= rows
        if not is_inside or control[24] >= len(_DISPOSALS) or control[25] > _OVER:
            raise _damaged()


def _damaged() -> UnreadableImageError:
    return UnreadableImageError("the file is damaged (its frames are not all there)", "use an undamaged copy")
