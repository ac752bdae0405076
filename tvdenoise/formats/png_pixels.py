"""Pixels of a PNG: those of 16 bits, which Pillow would truncate, and large images, compressed on several threads.

The compressed data are blocks that do not refer to each other, and follow from the image alone.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL import Image, ImageFile

from tvdenoise.errors import UnreadableImageError
from tvdenoise.files.pillow import SILENT_LIBRARIES, encoded
from tvdenoise.formats.family import split_alpha
from tvdenoise.formats.png_chunks import BLOCK, SIGNATURE, Chunk, chunks_of, packed
from tvdenoise.machine import on_threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tvdenoise.files.decoded import DecodedImage


_GREY = 0
_DECODED = {b"IHDR", b"IDAT", b"IEND"}


def decode(opened: ImageFile.ImageFile, stream: BinaryIO) -> tuple[NDArray[Any], NDArray[Any] | None] | None:
    """Decode 16-bit colour and 16-bit alpha, which Pillow truncates to 8 bits; None for other kinds."""
    position = stream.tell()
    depth, colour = next(chunks_of(stream, {b"IHDR"})).contents[8:10]
    if depth != 16 or (colour == _GREY and "transparency" not in opened.info):
        stream.seek(position)
        return None
    import imagecodecs

    columns, rows = opened.size
    most = 2 * rows * (1 + columns * 2 * len(opened.getbands())) + BLOCK
    pixels, transparent = _inflated(chunks_of(stream, _DECODED | {b"tRNS"}), most)
    with SILENT_LIBRARIES:  # libpng prints what it finds odd
        values = np.asarray(imagecodecs.png_decode(pixels))
    if values.dtype != np.uint16 or values.shape[1::-1] != opened.size:
        raise ValueError("its header is invalid")
    if transparent is not None:
        same = values == np.frombuffer(transparent, ">u2")
        hidden = same.all(axis=-1) if values.ndim == 3 else same
        return values, np.where(hidden, 0, 65535).astype(np.uint16)
    return split_alpha(values)


def _inflated(chunks: Iterator[Chunk], most: int) -> tuple[bytes, bytes | None]:
    """Return a PNG of the same pixels whose data are not compressed, and the contents of tRNS or None.

    Raises UnreadableImageError if more data follow the pixels: libpng would read through them. most: limit of
    decompressed bytes, at least twice the pixels' size.
    """
    parts, transparent = [SIGNATURE], None
    inflater, deflater = zlib.decompressobj(), zlib.compressobj(0)
    for chunk in chunks:
        if chunk.kind == b"tRNS":
            transparent = chunk.contents
        elif chunk.kind == b"IDAT":
            data = chunk.contents
            while data and not inflater.eof:
                block = inflater.decompress(data, BLOCK)
                parts.append(packed(b"IDAT", deflater.compress(block)))
                data = inflater.unconsumed_tail
                if (most := most - len(block)) < 0:
                    raise UnreadableImageError(
                        "the file is damaged (it holds more than its pixels)", "use an undamaged copy"
                    )
        elif chunk.kind == b"IEND":
            parts.append(packed(b"IDAT", deflater.flush() if inflater.eof else b""))
        if chunk.kind in _DECODED - {b"IDAT"}:
            parts.append(packed(chunk.kind, chunk.contents))
    return b"".join(parts), transparent


_DEEP = ("LA;16", "RGB;16", "RGBA;16")  # kinds that Pillow cannot write
_BLOCK = 1 << 22  # bytes of rows that are compressed together
_LEVEL, _MEMORY = 6, 9  # as Pillow calls zlib
_ZLIB_HEADER, _RAW = b"\x78\x9c", -15  # and the window bits for no header
_SAMPLE = 1 << 16  # bytes of a block
_WORTH = 1.01  # run lengths alone are taken where they make a sample at most this much longer
_ADLER = 65_521  # modulus of the checksum


def encode(image: DecodedImage, options: Mapping[str, Any]) -> bytes | None:
    """Encode an image, with the metadata chunks that Pillow writes; None for small images that Pillow can encode."""
    rows, columns = image.intensities.shape[:2]
    height = max(
        1, _BLOCK // (columns * (image.channels + (image.alpha is not None)) * image.intensities.itemsize)
    )
    if image.kind not in _DEEP and (image.is_bilevel or rows < 2 * height):
        return None
    frame = BytesIO()
    Image.new("L", (1, 1)).save(frame, "PNG", **options)
    top_row = next(chunks_of(BytesIO(_uncompressed(image, slice(0, 1))), {b"IHDR"})).contents
    header = top_row[:4] + rows.to_bytes(4, "big") + top_row[8:]
    blocks = on_threads(lambda top: _Block.of(image, top, min(top + height, rows)), range(0, rows, height))
    parts = [SIGNATURE]
    for chunk in chunks_of(BytesIO(frame.getvalue()), None):
        if chunk.kind == b"IHDR":
            parts.append(packed(b"IHDR", header))
        elif chunk.kind == b"IDAT":
            parts += (packed(b"IDAT", data) for data in _joined(blocks))
        else:
            parts.append(packed(chunk.kind, chunk.contents))
    return b"".join(parts)


@dataclass(frozen=True)
class _Block:
    """Compressed rows; length and checksum: of the bytes before compression."""

    compressed: bytes
    length: int
    checksum: int

    @classmethod
    def of(cls, image: DecodedImage, top: int, bottom: int) -> _Block:
        """Filter and compress the rows of an image from ``top`` to ``bottom``."""
        above = min(top, 1)  # rows whose values the filter of the next one needs
        chunks = chunks_of(BytesIO(_uncompressed(image, slice(top - above, bottom))), {b"IDAT"})
        filtered = zlib.decompress(b"".join(chunk.contents for chunk in chunks))
        filtered = filtered[above * len(filtered) // (bottom - top + above) :]
        deflater = zlib.compressobj(_LEVEL, zlib.DEFLATED, _RAW, _MEMORY, _strategy_for(filtered))
        is_last = bottom == len(image.intensities)
        ended = deflater.compress(filtered), deflater.flush(zlib.Z_FINISH if is_last else zlib.Z_SYNC_FLUSH)
        return cls(b"".join(ended), len(filtered), zlib.adler32(filtered))


def _uncompressed(image: DecodedImage, rows: slice) -> bytes:
    """Return a PNG of some rows of an image, filtered by Pillow or libpng but not compressed."""
    alpha = None if image.alpha is None else image.alpha[rows]
    part = replace(image, intensities=image.intensities[rows], alpha=alpha)
    if image.kind not in _DEEP:
        return encoded(part, "PNG", {"compress_level": 0})
    import imagecodecs

    values = part.intensities if alpha is None else np.dstack((part.intensities, alpha))
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(values), level=0))


def _strategy_for(filtered: bytes) -> int:
    """Return zlib's strategy for the filtered rows of a block.

    In photographs there are hardly any longer matches to find, and the search for them takes most of the time.
    """
    start = max(0, len(filtered) - _SAMPLE) // 2
    sample = filtered[start : start + _SAMPLE]
    lengths = {}
    for strategy in (zlib.Z_FILTERED, zlib.Z_DEFAULT_STRATEGY, zlib.Z_RLE):
        deflater = zlib.compressobj(_LEVEL, zlib.DEFLATED, _RAW, _MEMORY, strategy)
        lengths[strategy] = len(deflater.compress(sample)) + len(deflater.flush())
    best = min(lengths, key=lengths.__getitem__)
    return zlib.Z_RLE if lengths[zlib.Z_RLE] <= _WORTH * lengths[best] else best


def _joined(blocks: list[_Block]) -> Iterator[bytes]:
    """Yield parts of a zlib stream of the blocks."""
    low, high = 1, 0  # the halves of the checksum
    for block in blocks:
        # The block's own sums start at 1 and 0.
        high = (high + (block.checksum >> 16) + block.length * (low - 1)) % _ADLER
        low = (low + (block.checksum & 0xFFFF) - 1) % _ADLER
    checksum = (high << 16 | low).to_bytes(4, "big")
    for number, block in enumerate(blocks):
        start = _ZLIB_HEADER if number == 0 else b""
        yield start + block.compressed + (checksum if number == len(blocks) - 1 else b"")
