"""The pixels of a PNG that Pillow cuts to 8 bits: 16 bits of colour, or with alpha."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL import Image, ImageFile

from tvdenoise.errors import UnreadableImageError
from tvdenoise.files.families.png_chunks import BLOCK, SIGNATURE, Chunk, chunks_of, packed
from tvdenoise.files.process_wide import SILENT_LIBRARIES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tvdenoise.files.picture import Picture

_GREY = 0
_DECODED = {b"IHDR", b"IDAT", b"IEND"}


def decode(opened: ImageFile.ImageFile, stream: BinaryIO) -> tuple[NDArray[Any], NDArray[Any] | None] | None:
    """16 bits of colour or with alpha, of which Pillow keeps 8."""
    position = stream.tell()
    depth, colour = next(chunks_of(stream, {b"IHDR"})).contents[8:10]
    if depth != 16 or (colour == _GREY and "transparency" not in opened.info):
        stream.seek(position)
        return None
    import imagecodecs

    chunks = list(chunks_of(stream, _DECODED | {b"tRNS"}))
    transparent = next((chunk.contents for chunk in chunks if chunk.kind == b"tRNS"), None)
    columns, rows = opened.size
    _require_no_excess(chunks, 2 * rows * (1 + columns * 2 * len(opened.getbands())) + BLOCK)
    pixels = b"".join(packed(chunk.kind, chunk.contents) for chunk in chunks if chunk.kind in _DECODED)
    with SILENT_LIBRARIES:  # libpng prints what it finds odd
        values = np.asarray(imagecodecs.png_decode(SIGNATURE + pixels))
    if values.dtype != np.uint16 or values.shape[1::-1] != opened.size:
        raise ValueError("its header is not clear")
    if transparent is not None:
        same = values == np.frombuffer(transparent, ">u2")
        hidden = same.all(axis=-1) if values.ndim == 3 else same
        return values, np.where(hidden, 0, 65535).astype(np.uint16)
    if values.shape[2] == 3:
        return values, None
    intensities = values[..., 0] if values.shape[2] == 2 else values[..., :3]
    return np.ascontiguousarray(intensities), np.ascontiguousarray(values[..., -1])


def _require_no_excess(chunks: list[Chunk], most: int) -> None:
    """Raise UnreadableImageError where the pixels are followed by more data, through which libpng would read.

    most: bytes of pixels, at least twice what they take.
    """
    inflater = zlib.decompressobj()
    for chunk in chunks:
        data = chunk.contents if chunk.kind == b"IDAT" else b""
        while data and not inflater.eof:
            most -= len(inflater.decompress(data, BLOCK))
            data = inflater.unconsumed_tail
            if most < 0:
                raise UnreadableImageError(
                    "the file is damaged (it holds more than its pixels)", "use an undamaged copy"
                )


def encode(picture: Picture, options: Mapping[str, Any]) -> bytes | None:
    """The chunks that Pillow writes around a single pixel, around all those that it cannot write."""
    if picture.kind not in ("LA;16", "RGB;16", "RGBA;16"):
        return None
    import imagecodecs

    frame = BytesIO()
    Image.new("L", (1, 1)).save(frame, "PNG", **options)
    values = picture.intensities if picture.alpha is None else np.dstack((picture.intensities, picture.alpha))
    encoded = imagecodecs.png_encode(np.ascontiguousarray(values), level=6)
    pixels: dict[bytes, list[bytes]] = {kind: [] for kind in _DECODED}
    for chunk in chunks_of(BytesIO(encoded), _DECODED):
        if chunk.kind in pixels:
            pixels[chunk.kind].append(packed(chunk.kind, chunk.contents))
    parts = [SIGNATURE]
    for chunk in chunks_of(BytesIO(frame.getvalue()), None):
        parts += pixels.get(chunk.kind) or [packed(chunk.kind, chunk.contents)]
    return b"".join(parts)
