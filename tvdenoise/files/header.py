"""What a file's header says about its picture, read without decoding it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tvdenoise.files.opening import opened_image
from tvdenoise.files.reading import open_unnoticed


@dataclass(frozen=True)
class Header:
    """The size of a picture: of its sides, of a pixel and of a value."""

    columns: int
    rows: int
    channels: int = 3

    @property
    def values(self) -> int:
        return self.columns * self.rows * self.channels

    @property
    def memory(self) -> int:
        """Bytes that reading, solving and writing it take."""
        return 30 * self.values


def header_of(path: Path) -> Header:
    """Raises UnreadableImageError."""
    with open(path, "rb", opener=open_unnoticed) as stream, opened_image(stream) as opened:
        return Header(*opened.size, len(opened.getbands()))
