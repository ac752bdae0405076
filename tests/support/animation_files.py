"""Animations assembled byte by byte, with partial frames, disposal and blending, and a pixel-by-pixel renderer."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

KEEP, CLEAR, RESTORE = "keep", "clear", "restore"


@dataclass(frozen=True, eq=False)
class Frame:
    """values: colours with alpha, or colour indices of a GIF; transparent: the index of the transparent colour."""

    values: np.ndarray
    left: int = 0
    top: int = 0
    disposal: str = KEEP
    is_over: bool = False
    hundredths: int = 10
    colours: np.ndarray | None = None
    transparent: int | None = None


def shown_by(frames: Sequence[Frame], columns: int, rows: int) -> list[np.ndarray]:
    """Render each frame (colours with alpha) as a viewer does: a slow reference, in exact fractions."""
    canvas = np.zeros((rows, columns, 4), np.uint8)
    found = []
    for frame in frames:
        before = canvas.copy()
        for row, column in np.ndindex(frame.values.shape[:2]):
            y, x = frame.top + row, frame.left + column
            if y < rows and x < columns:
                upper = frame.values[row, column]
                canvas[y, x] = _over(upper, canvas[y, x]) if frame.is_over else upper
        found.append(canvas.copy())
        height, width = frame.values.shape[:2]
        place = np.s_[frame.top : frame.top + height, frame.left : frame.left + width]
        if frame.disposal == CLEAR:
            canvas[place] = 0
        elif frame.disposal == RESTORE:
            canvas = before
    return found


def _over(upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    part, below = Fraction(int(upper[3]), 255), Fraction(int(lower[3]), 255)
    whole = part + below * (1 - part)
    if whole == 0 or part == 0:
        return lower
    mixed = [(int(a) * part + int(b) * below * (1 - part)) / whole for a, b in zip(upper, lower, strict=True)]
    return np.array([round(value) for value in (*mixed[:3], 255 * whole)], np.uint8)


def png(frames: Sequence[Frame], columns: int, rows: int, still: np.ndarray | None = None) -> bytes:
    """Return an animated PNG of colours with alpha; still: the image for programs without animation support."""
    header = struct.pack(">IIBBBBB", columns, rows, 8, 6, 0, 0, 0)
    parts = [b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header), chunk(b"acTL", struct.pack(">II", len(frames), 2))]
    if still is not None:
        parts.append(chunk(b"IDAT", _compressed(still)))
    sequence = 0
    for number, frame in enumerate(frames):
        height, width = frame.values.shape[:2]
        box = (sequence, width, height, frame.left, frame.top, frame.hundredths, 100)
        disposal = (KEEP, CLEAR, RESTORE).index(frame.disposal)
        parts.append(chunk(b"fcTL", struct.pack(">5I2H2B", *box, disposal, frame.is_over)))
        pixels = _compressed(frame.values)
        if number or still is not None:
            parts.append(chunk(b"fdAT", struct.pack(">I", sequence + 1) + pixels))
            sequence += 2
        else:
            parts.append(chunk(b"IDAT", pixels))
            sequence += 1
    return b"".join((*parts, chunk(b"IEND", b"")))


def chunk(kind: bytes, contents: bytes) -> bytes:
    checksum = zlib.crc32(contents, zlib.crc32(kind))
    return struct.pack(">I", len(contents)) + kind + contents + struct.pack(">I", checksum)


def _compressed(values: np.ndarray) -> bytes:
    return zlib.compress(b"".join(b"\0" + np.ascontiguousarray(row).tobytes() for row in values))


def gif(frames: Sequence[Frame], columns: int, rows: int, colours: np.ndarray, background: int = 0) -> bytes:
    """Return an animated GIF, played three times; colours: (8, 3), for frames without their own."""
    parts = [b"GIF89a", struct.pack("<HHBBB", columns, rows, 0xF2, background, 0), colours.tobytes()]
    parts.append(b"!\xff\x0bNETSCAPE2.0\x03\x01\x02\0\0")
    for frame in frames:
        flags = (0, 1, 2, 3)[("", KEEP, CLEAR, RESTORE).index(frame.disposal)] << 2
        flags |= frame.transparent is not None
        parts.append(b"!\xf9\x04" + struct.pack("<BHBB", flags, frame.hundredths, frame.transparent or 0, 0))
        height, width = frame.values.shape
        own = b"" if frame.colours is None else frame.colours.tobytes()
        parts.append(b"," + struct.pack("<HHHHB", frame.left, frame.top, width, height, 0x82 if own else 0))
        parts += [own, _lzw(frame.values)]
    return b"".join((*parts, b";"))


def _lzw(numbers: np.ndarray) -> bytes:
    """Encode numbers below 8 in codes of 4 bits, clearing the table before it grows."""
    codes = [code for number in numbers.ravel() for code in (8, int(number))] + [9]
    packed = sum(code << 4 * place for place, code in enumerate(codes)).to_bytes(
        len(codes) // 2 + 1, "little"
    )
    blocks = (packed[start : start + 255] for start in range(0, len(packed), 255))
    return b"\x03" + b"".join(bytes((len(block),)) + block for block in blocks) + b"\0"


def in_colours(frames: Sequence[Frame], colours: np.ndarray) -> list[Frame]:
    """Return the frames of a GIF as colours with alpha."""
    found = []
    for frame in frames:
        own = colours if frame.colours is None else frame.colours
        alpha = np.where(frame.values == frame.transparent, 0, 255).astype(np.uint8)
        values = np.dstack((own[frame.values], alpha))
        found.append(Frame(values, frame.left, frame.top, frame.disposal, is_over=True))
    return found
