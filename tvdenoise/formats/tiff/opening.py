"""Opening TIFFs that Pillow does not open: unknown kinds of samples, and big-endian BigTIFF.

tifffile is not used here, since every opener of this package returns a Pillow image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from PIL import Image
from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    EXTRASAMPLES,
    PHOTOMETRIC_INTERPRETATION,
    PLANAR_CONFIGURATION,
    SAMPLEFORMAT,
    ImageFileDirectory_v2,
    TiffImageFile,
)

from tvdenoise.formats.tiff.samples import BLACK_IS_ZERO, SEPARATED, WHITE_IS_ZERO, deep_samples
from tvdenoise.formats.tiff.tags import MALFORMED, ORIENTATION

if TYPE_CHECKING:
    from typing import Any

_BIG, BIG_AND_BIG_ENDIAN = b"II+\0", b"MM\0+"
_HEADERS = (b"II*\0", b"MM\0*", _BIG, BIG_AND_BIG_ENDIAN)
_HEADER_LENGTH = 16
_UNKNOWN_SAMPLE = 0


def directory_of(header: bytes) -> ImageFileDirectory_v2 | None:
    """Return an unloaded directory for a file that begins with these 16 bytes; None if it is not a TIFF."""
    if not header.startswith(_HEADERS):
        return None
    if header.startswith(BIG_AND_BIG_ENDIAN):  # Pillow would take it for a classic TIFF
        return ImageFileDirectory_v2(_BIG + header[4:], prefix=b"MM")
    return ImageFileDirectory_v2(header if header.startswith(_BIG) else header[:8])


class BigEndianBigTiff(TiffImageFile):
    """A TIFF of any kind, including big-endian BigTIFF: replaces the directory that Pillow makes from the header."""

    @property
    def tag_v2(self) -> ImageFileDirectory_v2:  # type: ignore[override,unused-ignore]
        return self._directory

    @tag_v2.setter
    def tag_v2(self, _made: ImageFileDirectory_v2) -> None:
        assert self.fp is not None
        self.fp.seek(0)
        directory = directory_of(self.fp.read(_HEADER_LENGTH))
        if directory is None:
            raise SyntaxError("not a TIFF")
        self._directory = directory

    def getexif(self) -> Image.Exif:
        """Return only the orientation, which Pillow applies: it would read other tags as in a classic TIFF."""
        if self._exif is None:
            self._exif = Image.Exif()
            if ORIENTATION in self.tag_v2:
                self._exif[ORIENTATION] = self.tag_v2[ORIENTATION]
            self._exif._loaded = True
        return self._exif


class DeepTiff(BigEndianBigTiff):
    """A TIFF with any kind of samples, of which only the tags are read: Pillow is made to assume 8 bits."""

    def _setup(self) -> None:
        tags = self.tag_v2
        bits = (8,) * len(tags.get(BITSPERSAMPLE, (1,)))
        pretended: dict[int, Any] = {BITSPERSAMPLE: bits, SAMPLEFORMAT: (1,), PLANAR_CONFIGURATION: 1}
        if tags.get(PHOTOMETRIC_INTERPRETATION) == WHITE_IS_ZERO:
            pretended[PHOTOMETRIC_INTERPRETATION] = BLACK_IS_ZERO
        if tags.get(PHOTOMETRIC_INTERPRETATION) == SEPARATED and EXTRASAMPLES in tags:
            pretended[EXTRASAMPLES] = (_UNKNOWN_SAMPLE,)
        stored = {tag: tags[tag] for tag in pretended if tag in tags}
        try:
            for tag, value in pretended.items():
                tags[tag] = value
            super()._setup()  # type: ignore[no-untyped-call,unused-ignore]
        finally:
            for tag in pretended:
                del tags[tag]
            for tag, value in stored.items():
                tags[tag] = value


def open_tiff(stream: BinaryIO) -> TiffImageFile | None:
    """Open a TIFF that Pillow does not open; None if its samples are unknown here too."""
    stream.seek(0)
    header = stream.read(_HEADER_LENGTH)
    if not header.startswith(_HEADERS):
        return None
    if header.startswith(BIG_AND_BIG_ENDIAN) and (opened := _opened(stream, BigEndianBigTiff)) is not None:
        return opened
    opened = _opened(stream, DeepTiff)
    return opened if opened is not None and deep_samples(opened.tag_v2) is not None else None


def _opened(stream: BinaryIO, kind: type[TiffImageFile]) -> TiffImageFile | None:
    stream.seek(0)
    try:
        return kind(stream)  # type: ignore[no-untyped-call,unused-ignore]
    except MALFORMED:
        return None
