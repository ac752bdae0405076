"""Small copies of an image inside its file: made anew from the result, so that none shows the image as it was.

They stand in EXIF data (the second directory), in Photoshop's resources, in XMP data, and in JPEG segments. The bytes
around them keep their places, since data of camera makers count from the start of the EXIF data.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

from tvdenoise.errors import TvdenoiseError
from tvdenoise.formats.tiff.directories import MALFORMED, Directory, TiffLayout, directories, layout_of

if TYPE_CHECKING:
    from tvdenoise.files.decoded import DecodedImage

_QUALITIES = (90, 75, 60, 40, 20)
_MOST_PIXELS = 1 << 22  # of a thumbnail
_MUCH_BETTER = 0.5  # a geometry explains the old thumbnail if it leaves less than this part of the difference

Size = tuple[int, int]


class Miniature:
    """Small copies of an image, as 8-bit RGB.

    image: None if its pixels are not in memory. Floats and other types without a white level have no copies.
    is_turned: the image was turned when it was read, and its old copies were not.
    """

    def __init__(self, image: DecodedImage | None, *, is_turned: bool = False) -> None:
        self._image = image
        self._may_be_turned = is_turned

    @cached_property
    def _whole(self) -> Image.Image | None:
        image = self._image
        if image is None or image.intensities.dtype not in (np.uint8, np.uint16):
            return None
        values = image.intensities
        values = values if values.dtype == np.uint8 else (values >> 8).astype(np.uint8)
        if image.channels == 4:
            columns, rows = image.size
            return Image.frombytes("CMYK", (columns, rows), np.ascontiguousarray(values).tobytes()).convert(
                "RGB"
            )
        if image.channels not in (1, 3):
            return None
        return Image.fromarray(np.ascontiguousarray(values)).convert("RGB")

    def jpeg_like(self, old: bytes, most: int, *, is_swapped: bool = False) -> bytes | None:
        """Return a JPEG of the size of an old one, of at most ``most`` bytes; None if that is not possible.

        is_swapped: red and blue are exchanged.
        """
        with suppress(*MALFORMED), Image.open(BytesIO(old), formats=("JPEG",)) as opened:
            seen = None
            if opened.width * opened.height <= _MOST_PIXELS:
                with suppress(*MALFORMED):
                    seen = opened.convert("RGB")
            return self._encoded(opened.size, seen, most, is_swapped=is_swapped)
        return None

    def jpeg(self, size: Size, most: int) -> bytes | None:
        """Return a JPEG of a size, of at most ``most`` bytes; None if that is not possible."""
        return self._encoded(size, None, most)

    def raw(self, size: Size) -> bytes | None:
        """Return RGB values of a size; None if that is not possible."""
        found = self._at(size, None)
        return None if found is None else found.tobytes()

    def _encoded(
        self, size: Size, old: Image.Image | None, most: int, *, is_swapped: bool = False
    ) -> bytes | None:
        if (small := self._at(size, old)) is None:
            return None
        if is_swapped:
            small = Image.merge("RGB", small.split()[::-1])
        for quality in _QUALITIES:
            contents = BytesIO()
            small.save(contents, "JPEG", quality=quality)
            if contents.tell() <= most:
                return contents.getvalue()
        return None

    def _at(self, size: Size, old: Image.Image | None) -> Image.Image | None:
        """Return a copy of a size, with the geometry of the old one: stretched, with margins, or cropped."""
        if min(size) < 1 or size[0] * size[1] > _MOST_PIXELS or self._whole is None:
            return None
        if self._may_be_turned and _is_upright(size) is not _is_upright(self._whole.size):
            size, old = size[::-1], None
        factor = min(self._whole.width // size[0], self._whole.height // size[1]) // 2
        source = self._whole.reduce(factor) if factor > 1 else self._whole
        stretched = source.resize(size, Image.Resampling.LANCZOS)
        columns, rows = self._whole.size
        off = abs(columns * size[1] - rows * size[0])  # an aspect that differs by less than a pixel is equal
        if old is None or off < max(columns, rows):
            return stretched
        others = [ImageOps.pad(source, size), ImageOps.fit(source, size)]
        best = min(others, key=lambda each: _difference(each, old))
        is_better = _difference(best, old) < _MUCH_BETTER * _difference(stretched, old)
        return best if is_better else stretched


def _is_upright(size: Size) -> bool | None:
    return None if size[0] == size[1] else size[1] > size[0]


def _difference(one: Image.Image, other: Image.Image) -> float:
    return float(np.abs(np.asarray(one, np.float32) - np.asarray(other, np.float32)).mean())


@dataclass(frozen=True)
class Renewed:
    """Metadata whose copies of the image are made anew; dropped: the names of those for which that failed."""

    contents: bytes
    dropped: tuple[str, ...] = ()


_COMPRESSION, _WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC = 259, 256, 257, 258, 262
_STRIPS, _STRIP_LENGTHS, _JPEG, _JPEG_LENGTH, _PHOTOSHOP = 273, 279, 513, 514, 34377
_UNCOMPRESSED, _RGB = 1, 2
_SIZES = {1: 1, 3: 2, 4: 4, 7: 1}
_EXIF_THUMBNAIL, _PHOTOSHOP_THUMBNAIL, _XMP_THUMBNAIL = "EXIF", "Photoshop", "XMP"
_LARGEST_EXIF = 65_527  # bytes in a JPEG


def renewed_exif(contents: bytes, miniature: Miniature) -> Renewed:
    """Renew the thumbnail of a block of EXIF data, and those of Photoshop's resources in it."""
    with suppress(*MALFORMED, TvdenoiseError):
        layout = layout_of(BytesIO(contents))
        if layout is not None and not layout.is_big:
            found = list(islice(directories(BytesIO(contents)), 2))
            return _ExifEditor(contents, layout, found, miniature).renewed()
    return Renewed(contents)


class _ExifEditor:
    """Edits a block of EXIF data with the given directories in place."""

    def __init__(
        self, contents: bytes, layout: TiffLayout, found: list[Directory], miniature: Miniature
    ) -> None:
        self._contents = bytearray(contents)
        self._order = layout.order
        self._layout = layout
        self._found = found
        self._miniature = miniature

    def renewed(self) -> Renewed:
        dropped = self._renew_resources() if self._found else ()
        if len(self._found) > 1 and not self._renew_thumbnail():
            self._put(self._found[0].link, 0)
            dropped = (_EXIF_THUMBNAIL, *dropped)
        return Renewed(bytes(self._contents), dropped)

    def _renew_thumbnail(self) -> bool:
        """Return whether the second directory shows the image, or nothing."""
        first = {tag: self._found[1].first(tag) for tag in self._found[1].entries}
        if _JPEG in first and _JPEG_LENGTH in first:
            start, length = first[_JPEG], first[_JPEG_LENGTH]
            old = bytes(self._contents[start : start + length])
            room = max(length, _LARGEST_EXIF - len(self._contents) + length)
            new = self._miniature.jpeg_like(old, room)
            self._replace(start, len(old), new or b"", self._place_of(1, _JPEG))
            self._put(self._place_of(1, _JPEG_LENGTH), len(new or b""))
            return new is not None
        if _STRIPS in first:
            return self._renew_strip(first)
        return True

    def _renew_strip(self, first: dict[int, int]) -> bool:
        """Overwrite an uncompressed thumbnail in one strip."""
        size, start, length = (
            (first.get(_WIDTH, 0), first.get(_HEIGHT, 0)),
            first[_STRIPS],
            first.get(_STRIP_LENGTHS),
        )
        is_known = (first.get(_COMPRESSION), first.get(_PHOTOMETRIC)) == (_UNCOMPRESSED, _RGB)
        new = self._miniature.raw(size) if is_known else None
        end = start + (length or 0)
        if not start or not length or end > len(self._contents):
            return False
        is_whole = new is not None and len(new) == length
        self._contents[start:end] = new if new is not None and is_whole else bytes(length)
        return is_whole

    def _renew_resources(self) -> tuple[str, ...]:
        entry = self._found[0].entries.get(_PHOTOSHOP)
        if entry is None or entry.count <= 4:
            return ()
        place = self._place_of(0, _PHOTOSHOP)
        (start,) = struct.unpack_from(f"{self._order}I", self._contents, place)
        old = bytes(self._contents[start : start + entry.count])
        renewed = renewed_resources(old, self._miniature)
        if renewed.contents != old:
            self._replace(start, len(old), renewed.contents, place)
            struct.pack_into(f"{self._order}I", self._contents, place - 4, len(renewed.contents))
        return renewed.dropped

    def _place_of(self, directory: int, tag: int) -> int:
        """Return the offset of the value of a tag."""
        start = self._found[directory].place + self._layout.count.size
        for place in range(start, self._found[directory].link, self._layout.entry.size):
            if self._layout.entry.unpack_from(self._contents, place)[0] == tag:
                return place + 8
        raise KeyError(tag)

    def _put(self, place: int, value: int) -> None:
        """Set the value of a tag, keeping its type, or a link."""
        is_short = self._contents[place - 6 : place - 4] == struct.pack(f"{self._order}H", 3)
        is_value = any(place - 8 >= each.place + 2 and place < each.link for each in self._found)
        form = "H" if is_short and is_value and value < 1 << 16 else "I"
        struct.pack_into(f"{self._order}{form}", self._contents, place, value)

    def _replace(self, start: int, length: int, new: bytes, place: int) -> None:
        """Replace values at an offset by others, at the end if they are longer, and set the offset in their tag."""
        end = start + length
        is_last = end >= len(self._contents) - 1  # but for a byte of padding
        if is_last:
            del self._contents[start:]
            self._contents += new
        elif len(new) <= length:
            self._contents[start:end] = new.ljust(length, b"\0")
        else:
            self._contents[start:end] = bytes(length)
            start = len(self._contents) + len(self._contents) % 2
            self._contents += bytes(start - len(self._contents)) + new
            self._put(place, start)


_RESOURCE = re.compile(rb"(8BIM|MeSa|PHUT|AgHg|DCSR)(..)", re.DOTALL)
_THUMBNAILS = {1036: False, 1033: True}  # whether red and blue are exchanged
_EXIF_RESOURCE = 1058
_THUMBNAIL_HEADER = struct.Struct(">IIIIIIHH")
_AS_JPEG = 1
_ROOM = 1 << 15  # bytes that a new thumbnail may take


def renewed_resources(contents: bytes, miniature: Miniature) -> Renewed:
    """Renew the thumbnails in Photoshop's image resources."""
    parts: list[bytes] = []
    dropped: tuple[str, ...] = ()
    place = 0
    for start, identifier, name, data, end in _resources(contents):
        place = end
        new: bytes | None = data
        if identifier in _THUMBNAILS:
            new = _thumbnail_resource(data, miniature, is_swapped=_THUMBNAILS[identifier])
            dropped = dropped if new is not None else (_PHOTOSHOP_THUMBNAIL,)
        elif identifier == _EXIF_RESOURCE:
            new = renewed_exif(data, miniature).contents
        if new == data:
            parts.append(contents[start:end])
        elif new is not None:
            head = contents[start : start + 6] + name
            parts.append(head + struct.pack(">I", len(new)) + new + bytes(len(new) % 2))
    return Renewed(b"".join((*parts, contents[place:])), dropped)


def _resources(contents: bytes) -> Iterator[tuple[int, int, bytes, bytes, int]]:
    """Yield offset, number, name as stored, data and end of each resource."""
    place = 0
    while (found := _RESOURCE.match(contents, place)) is not None and place + 7 < len(contents):
        length = contents[place + 6] + 1
        name = contents[place + 6 : place + 6 + length + length % 2]
        start = place + 6 + len(name) + 4
        size = int.from_bytes(contents[start - 4 : start], "big")
        if start + size > len(contents):
            return
        end = min(start + size + size % 2, len(contents))
        yield place, int.from_bytes(found[2], "big"), name, contents[start : start + size], end
        place = end


def _thumbnail_resource(data: bytes, miniature: Miniature, *, is_swapped: bool) -> bytes | None:
    if len(data) <= _THUMBNAIL_HEADER.size:
        return None
    kind, *_ = _THUMBNAIL_HEADER.unpack_from(data)
    old = data[_THUMBNAIL_HEADER.size :]
    new = miniature.jpeg_like(old, max(len(old), _ROOM), is_swapped=is_swapped) if kind == _AS_JPEG else None
    if new is None:
        return None
    with Image.open(BytesIO(new)) as opened:
        columns, rows = opened.size
    row = (columns * 24 + 31) // 32 * 4
    return _THUMBNAIL_HEADER.pack(_AS_JPEG, columns, rows, row, row * rows, len(new), 24, 1) + new


_NAME = b"JFXX\0"
_IN_JPEG, _IN_PALETTE, _IN_RGB = 0x10, 0x11, 0x13
_LARGEST_SEGMENT = 65_533


def is_known_jfxx(contents: bytes) -> bool:
    """Return whether an extension of JFIF holds a thumbnail."""
    return _size_of_jfxx(contents) is not None


def renewed_jfxx(contents: bytes, miniature: Miniature) -> bytes | None:
    """Return an extension of JFIF with a new thumbnail of the same size, as JPEG; None if that is not possible."""
    size, room = _size_of_jfxx(contents), _LARGEST_SEGMENT - len(_NAME) - 1
    if size is None:
        return None
    old = contents[len(_NAME) + 1 :]
    is_jpeg = contents[len(_NAME)] == _IN_JPEG
    new = miniature.jpeg_like(old, room) if is_jpeg else miniature.jpeg(size, room)
    return None if new is None else _NAME + bytes((_IN_JPEG,)) + new


def _size_of_jfxx(contents: bytes) -> Size | None:
    code, data = contents[len(_NAME) : len(_NAME) + 1], contents[len(_NAME) + 1 :]
    if code in (bytes((_IN_PALETTE,)), bytes((_IN_RGB,))) and len(data) > 2:
        return data[0], data[1]
    if code == bytes((_IN_JPEG,)):
        with suppress(*MALFORMED), Image.open(BytesIO(data), formats=("JPEG",)) as opened:
            return opened.size
    return None


_GRAPHICS = re.compile(rb"xmlns:([\w.-]+)\s*=\s*[\"']http://ns\.adobe\.com/xap/1\.0/g/img/[\"']")


def renewed_xmp(contents: bytes, miniature: Miniature) -> Renewed:
    """Renew the thumbnails in XMP data, which hold them in base64."""
    dropped: list[str] = []

    def renewed(found: re.Match[bytes]) -> bytes:
        old = b""
        with suppress(binascii.Error, ValueError):
            old = base64.b64decode(re.sub(rb"&#x?[0-9A-Fa-f]+;|\s", b"", found[2]))
        new = miniature.jpeg_like(old, len(old))
        if new is None:
            dropped.append(_XMP_THUMBNAIL)
        return found[1] + base64.b64encode(new or b"") + found[3]

    for declared in set(_GRAPHICS.findall(contents)):
        prefix = re.escape(declared)
        element = re.compile(rb"(<%b:image(?:\s[^>]*)?>)([^<]*)(</)" % prefix)
        attribute = re.compile(rb"(\s%b:image\s*=\s*[\"'])([^\"']*)([\"'])" % prefix)
        contents = attribute.sub(renewed, element.sub(renewed, contents))
    return Renewed(contents, tuple(dropped[:1]))


_GAIN_MAPS = re.compile(rb"xmlns:([\w.-]+)\s*=\s*[\"']http://ns\.adobe\.com/hdr-gain-map/1\.0/[\"']")
_IN_DIRECTORY = re.compile(
    rb"<rdf:li\b(?:(?!</rdf:li>).)*?(?::Semantic\s*=\s*[\"']GainMap[\"']|:Semantic>\s*GainMap\s*<)"
    rb"(?:(?!</rdf:li>).)*</rdf:li>\s*",
    re.DOTALL,
)


def announces_gain_map(xmp: bytes | None) -> bool:
    """Return whether XMP data say that an HDR gain map comes with the image."""
    return xmp is not None and _GAIN_MAPS.search(xmp) is not None


def without_gain_map(xmp: bytes) -> bytes:
    """Return XMP data that announce no gain map."""
    for declared in set(_GAIN_MAPS.findall(xmp)):
        prefix = re.escape(declared)
        xmp = re.sub(
            rb"<%b:([\w.-]+)\b[^>]*?(?:/>|>.*?</%b:\1\s*>)\s*" % (prefix, prefix), b"", xmp, flags=re.DOTALL
        )
        xmp = re.sub(rb"\s%b:[\w.-]+\s*=\s*(?:\"[^\"]*\"|'[^']*')" % prefix, b"", xmp)
    return _IN_DIRECTORY.sub(b"", re.sub(rb"\s*" + _GAIN_MAPS.pattern, b"", xmp))


def notes_of_dropped(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return a note about thumbnails that could not be made anew, if there are any."""
    if not names:
        return ()
    return (f"its thumbnail in {', '.join(names)} data cannot be made anew, and is dropped",)
