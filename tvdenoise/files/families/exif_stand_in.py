"""EXIF data that Pillow may rewrite in the place of those that must keep every byte."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

from tvdenoise.files.families.tiff_tags import ORIENTATION, orientation_of

_PREFIX = b"Exif\0\0"
_MAKER_NOTE, _SHORTEST = 37500, 6  # longer than 4 bytes, so that it is stored apart


@dataclass(frozen=True)
class StandIn:
    """EXIF data with the length and the orientation of others.

    given: to Pillow; stored: what it makes of them; contents: what belongs in their place, with its prefix.
    """

    given: bytes
    stored: bytes
    contents: bytes

    @classmethod
    def for_exif(cls, contents: bytes) -> StandIn | None:
        """None for data that are too short to have a stand-in."""
        prefixed, exif = _PREFIX + contents, Image.Exif()
        exif[_MAKER_NOTE] = bytes(_SHORTEST)
        missing = len(prefixed) - len(exif.tobytes())
        if missing < 0:
            return None
        exif[_MAKER_NOTE] = bytes(_SHORTEST + missing)
        stored = exif.tobytes()
        if (orientation := orientation_of(contents)) == 1:
            return cls(stored[: len(prefixed)], stored[: len(prefixed)], prefixed)
        exif[ORIENTATION] = orientation
        return cls(exif.tobytes(), stored, prefixed.ljust(len(stored), b"\0"))  # of an even length

    def replaced(self, written: bytes) -> bytes:
        """A file, with the data in the place of their stand-in."""
        before, found, after = written.partition(self.stored)
        if not found or self.stored in after:
            raise ValueError("its EXIF data cannot be placed")
        return before + self.contents + after
