"""Opening the TIFFs that Pillow does not open: samples that it does not know, and big-endian BigTIFF."""

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

from tvdenoise.formats.tiff_fields import DIRECTORIES
from tvdenoise.formats.tiff_samples import BLACK_IS_ZERO, SEPARATED, WHITE_IS_ZERO, deep_samples
from tvdenoise.formats.tiff_tags import MALFORMED

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


_BIG, BIG_AND_BIG_ENDIAN = b"II+\0", b"MM\0+"
_HEADERS = (b"II*\0", b"MM\0*", _BIG, BIG_AND_BIG_ENDIAN)
_HEADER_LENGTH = 16
_UNKNOWN_SAMPLE = 0


def directory_of(header: bytes) -> ImageFileDirectory_v2 | None:
    """An empty directory for a file that begins with these 16 bytes, which knows its place; None if not a TIFF."""
    if not header.startswith(_HEADERS):
        return None
    if header.startswith(BIG_AND_BIG_ENDIAN):  # Pillow takes it for a classic TIFF, unless told otherwise
        return ImageFileDirectory_v2(_BIG + header[4:], prefix=b"MM")
    return ImageFileDirectory_v2(header if header.startswith(_BIG) else header[:8])


def directory_end(opened: TiffImageFile, stream: BinaryIO) -> int:
    """The place in the file where the last tag of its directory should end."""
    stream.seek(0)
    counter, entry = (8, 20) if stream.read(4) in (_BIG, BIG_AND_BIG_ENDIAN) else (2, 12)
    start: int = opened.tag_v2.offset
    stream.seek(start)
    count = int.from_bytes(stream.read(counter), "big" if opened.tag_v2.prefix == b"MM" else "little")
    return start + counter + entry * count


class BigEndianBigTiff(TiffImageFile):
    """A TIFF of any kind, where the one directory that Pillow makes from the header is the right one."""

    @property
    def tag_v2(self) -> ImageFileDirectory_v2:  # type: ignore[override,unused-ignore]
        return self._directory

    @tag_v2.setter
    def tag_v2(self, _made: ImageFileDirectory_v2) -> None:
        self._directory = self._empty_directory()

    def _empty_directory(self) -> ImageFileDirectory_v2:
        assert self.fp is not None
        self.fp.seek(0)
        directory = directory_of(self.fp.read(_HEADER_LENGTH))
        if directory is None:
            raise SyntaxError("not a TIFF")
        return directory

    def getexif(self) -> Image.Exif:
        """The tags, from the directories as they are: Pillow would look for those of a classic TIFF."""
        if self._exif is None or not self._exif._loaded:
            self._exif = Image.Exif()
            for tag, value in self.tag_v2.items():
                if tag in DIRECTORIES:
                    self._exif.get_ifd(tag).update(self._subdirectory(value))
                self._exif[tag] = value
            self._exif._loaded = True
        return self._exif

    def _subdirectory(self, place: int) -> Mapping[int, Any]:
        directory = self._empty_directory()
        assert self.fp is not None
        try:
            self.fp.seek(place)
            directory.load(self.fp)
            return dict(directory)
        except MALFORMED:
            return {}


class DeepTiff(BigEndianBigTiff):
    """A TIFF of which only the tags are read, whatever its samples: Pillow takes them for 8-bit ones."""

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
    """A TIFF that Pillow does not know, if its kind and its samples are known here."""
    stream.seek(0)
    header = stream.read(_HEADER_LENGTH)
    if not header.startswith(_HEADERS):
        return None
    if header.startswith(BIG_AND_BIG_ENDIAN) and (opened := _opened(stream, BigEndianBigTiff)) is not None:
        return opened
    opened = _opened(stream, DeepTiff)
    return opened if opened is not None and deep_samples(opened) is not None else None


def _opened(stream: BinaryIO, kind: type[TiffImageFile]) -> TiffImageFile | None:
    stream.seek(0)
    try:
        return kind(stream)  # type: ignore[no-untyped-call,unused-ignore]
    except MALFORMED:
        return None
