"""A file seen with some of its bytes replaced, so that a part of it looks like a whole file of its own."""

from __future__ import annotations

import io
import os
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO


@dataclass(frozen=True)
class Window:
    """So many bytes, from a place on, that show what lies further on by a shift."""

    start: int
    length: int
    shift: int


class Spliced(io.RawIOBase):
    """A stream over another one, which must stay open.

    replaced: bytes by their places; window: see there. Neither may overlap.
    """

    def __init__(self, stream: BinaryIO, replaced: Mapping[int, bytes], window: Window | None = None) -> None:
        super().__init__()
        self._stream = stream
        self._length = stream.seek(0, os.SEEK_END)
        self._place = 0
        self._is_shifted = window is not None
        changes: list[tuple[int, int, bytes | int]] = [
            (start, start + len(contents), contents) for start, contents in replaced.items()
        ]
        if window is not None:
            changes.append((window.start, window.start + window.length, window.shift))
        self._changes = sorted(changes, key=lambda change: change[0])
        self._starts = [start for start, _, _ in self._changes]

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def fileno(self) -> int:
        """For libraries that seek for themselves, by the places in this stream; none where some are shifted."""
        if self._is_shifted:
            raise io.UnsupportedOperation("fileno")
        return self._stream.fileno()

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._length}[whence]
        self._place = max(0, start + offset)
        return self._place

    def readinto(self, buffer: Any) -> int:
        contents = self.read(len(buffer))
        buffer[: len(contents)] = contents
        return len(contents)

    def read(self, size: int | None = -1) -> bytes:
        end = self._length if size is None or size < 0 else min(self._place + size, self._length)
        parts = []
        while self._place < end:
            if not (part := self._part(end)):
                break
            parts.append(part)
            self._place += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _part(self, end: int) -> bytes:
        """What follows, as far as it comes from one place."""
        place, number = self._place, bisect_right(self._starts, self._place)
        if number:
            start, stop, change = self._changes[number - 1]
            if place < stop:
                if isinstance(change, bytes):
                    return change[place - start : end - start]
                self._stream.seek(place + change)
                return self._stream.read(min(end, stop) - place)
        following = self._starts[number] if number < len(self._starts) else end
        self._stream.seek(place)
        return self._stream.read(min(end, following) - place)
