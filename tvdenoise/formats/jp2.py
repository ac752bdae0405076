"""JPEG 2000: JP2 files and bare codestreams of 8 and 16 bits; lossless input is written lossless."""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL import ImageFile

from tvdenoise.errors import UnreadableImageError, UnsupportedImageError
from tvdenoise.files.decoded import DecodedImage, record_in
from tvdenoise.formats.boxes import FileBox, boxes, packed
from tvdenoise.formats.family import Family, Format, Inspection, chunk_limit, too_many

if TYPE_CHECKING:
    from numpy.typing import NDArray


_START, _SIZE, _CODING, _COMMENT, _TILE = 0xFF4F, 0xFF51, 0xFF52, 0xFF64, 0xFF90
_FIRST_COMPONENT, _TRANSFORM = 36, 9  # offsets in their segments
_REVERSIBLE = 1
_SIGNED = 0x80
_SEGMENT_START, _TILE_HEADER = struct.Struct(">HH"), struct.Struct(">HHHI")
_TILE_PARTS_ALWAYS_ALLOWED = 100_000
_LATIN = b"\0\1"  # marks a comment as Latin-1 text


@dataclass(frozen=True)
class Codestream:
    """The main header; size: columns and rows; bits: of each component; signed, subsampled: if any component is.

    reversible: lossless; comments: each with its two-byte type; tiles: the number of tiles.
    """

    size: tuple[int, int]
    bits: tuple[int, ...]
    signed: bool
    subsampled: bool
    reversible: bool
    comments: tuple[bytes, ...]
    tiles: int


def codestream_at(stream: BinaryIO, start: int) -> Codestream:
    """Read the main header. Raises ValueError if it is damaged."""
    size, coding, comments = b"", b"", []
    for marker, contents in _segments(stream, start):
        if marker == _SIZE:
            size = contents
        elif marker == _CODING:
            coding = contents
        elif marker == _COMMENT:
            comments.append(contents)
    if len(size) < _FIRST_COMPONENT:
        raise ValueError("its header is incomplete")
    right, lower, left, top, width, height, tiles_left, tiles_top = struct.unpack_from(">8I", size, 2)
    components = [size[index : index + 3] for index in range(_FIRST_COMPONENT, len(size), 3)]
    count = int.from_bytes(size[_FIRST_COMPONENT - 2 : _FIRST_COMPONENT], "big")
    if (
        len(coding) <= _TRANSFORM
        or count == 0
        or 0 in (width, height)
        or len(size) != _FIRST_COMPONENT + 3 * count
    ):
        raise ValueError("its header is incomplete")
    return Codestream(
        (right - left, lower - top),
        tuple((component[0] & ~_SIGNED) + 1 for component in components),
        any(component[0] & _SIGNED for component in components),
        any(component[1:] != b"\1\1" for component in components),
        coding[_TRANSFORM] == _REVERSIBLE,
        tuple(comments),
        -(-(right - tiles_left) // width) * -(-(lower - tiles_top) // height),
    )


def require_all_tiles(stream: BinaryIO, start: int, count: int) -> None:
    """Raise UnreadableImageError if tiles are missing, which decoders show as black.

    start: offset of the codestream in the file; count: the number of tiles.
    """
    for _ in _segments(stream, start):
        pass
    place, end = stream.tell() - _SEGMENT_START.size, stream.seek(0, os.SEEK_END)
    most, found = chunk_limit(stream, _TILE_PARTS_ALWAYS_ALLOWED), set()
    for _ in range(most):
        stream.seek(place)
        marker, _, tile, length = _TILE_HEADER.unpack(
            stream.read(_TILE_HEADER.size).ljust(_TILE_HEADER.size, b"\0")
        )
        if marker != _TILE:
            break
        found.add(tile)
        if length == 0 or place + length > end:
            break
        place += length
    else:
        raise too_many(most, "parts of tiles")
    if len(found) != count or (marker == _TILE and length):
        raise UnreadableImageError("the file is truncated or damaged", "use a complete copy")


def text_of(comment: bytes) -> str:
    """Return a comment as text; empty for a binary one."""
    return comment[2:].decode("latin-1") if comment.startswith(_LATIN) else ""


def text_comment(text: str) -> bytes:
    return _LATIN + text.encode("latin-1", "replace")


def with_comments(codestream: bytes, comments: tuple[bytes, ...]) -> bytes:
    """Add comments at the end of the main header of a codestream."""
    position = 2
    while (marker := int.from_bytes(codestream[position : position + 2], "big")) != _TILE:
        if marker >> 8 != 0xFF:
            raise ValueError("the encoder wrote no tile")
        position += 2 + int.from_bytes(codestream[position + 2 : position + 4], "big")
    added = b"".join(struct.pack(">HH", _COMMENT, len(comment) + 2) + comment for comment in comments)
    return codestream[:position] + added + codestream[position:]


def _segments(stream: BinaryIO, start: int) -> Iterator[tuple[int, bytes]]:
    """Yield the markers and contents of the main header's segments."""
    most = chunk_limit(stream)
    stream.seek(start)
    if stream.read(2) != _START.to_bytes(2, "big"):
        raise ValueError("its codestream does not begin")
    for _ in range(most):
        header = stream.read(_SEGMENT_START.size)
        marker, length = _SEGMENT_START.unpack(header.rjust(_SEGMENT_START.size, b"\0"))
        if marker == _TILE:
            return
        if marker >> 8 != 0xFF or length < 2:
            raise ValueError("its header is incomplete")
        yield marker, stream.read(length - 2)
    raise too_many(most, "segments")


_XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_EXIF = b"JpgTiffExif->JP2"
_EXIF_OF_ADOBE = bytes.fromhex("0537cdab9d0c4431a72afa561f2a113e")
_EXIF_PREFIX = b"Exif\0\0"
_STRUCTURAL = frozenset({b"jP  ", b"ftyp", b"jp2h", b"jp2c", b"rreq", b"free"})
_KEPT = frozenset({b"uuid", b"xml ", b"uinf", b"asoc", b"lbl "})
_ENUMERATED, _PROFILES = 1, (2, 3)
SRGB, GREY, SYCC = 16, 17, 18
_OPACITY, _WHOLE_IMAGE = 1, 0
_LARGEST = 65_535
_METRES_PER_INCH = Fraction(254, 10_000)

KeptBox = tuple[bytes, bytes]


@dataclass(frozen=True)
class Jp2Boxes:
    """The boxes of a JP2 file.

    codestreams: their offsets; colour_space: its number, or None; profile, exif, xmp: as stored.
    resolution: the contents of the `res ` box; has_palette, has_alpha: as declared.
    kept: other boxes that are kept; left_out: the kinds of those that are not.
    """

    codestreams: tuple[int, ...] = ()
    colour_space: int | None = None
    profile: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    resolution: bytes = b""
    has_palette: bool = False
    has_alpha: bool = False
    kept: tuple[KeptBox, ...] = field(default=())
    left_out: tuple[bytes, ...] = ()


def boxes_of(stream: BinaryIO) -> Jp2Boxes:
    """Read the boxes. Raises UnsupportedImageError for unknown colours, UnreadableImageError for truncated boxes."""
    found = list(boxes(stream))
    header = next(box for box in found if box.kind == b"jp2h")
    inner: dict[bytes, bytes] = {}
    for box in boxes(stream, header.start, header.end):
        inner.setdefault(box.kind, box.contents(stream))  # the first of several colour boxes counts
    identified = {box: box.contents(stream)[:16] for box in found if box.kind == b"uuid"}
    kept = [
        box for box in found if box.kind in _KEPT and identified.get(box) not in (_XMP, _EXIF, _EXIF_OF_ADOBE)
    ]
    colour_space, profile = _colour(inner.get(b"colr", b""))
    return Jp2Boxes(
        codestreams=tuple(box.start for box in found if box.kind == b"jp2c"),
        colour_space=colour_space,
        profile=profile,
        exif=_first(stream, identified, _EXIF) or _first(stream, identified, _EXIF_OF_ADOBE),
        xmp=_first(stream, identified, _XMP),
        resolution=inner.get(b"res ", b""),
        has_palette=b"pclr" in inner,
        has_alpha=_has_alpha(inner.get(b"cdef", b"")),
        kept=tuple((box.kind, box.contents(stream)) for box in kept),
        left_out=tuple(sorted({box.kind for box in found} - _STRUCTURAL - _KEPT)),
    )


def without_colour_boxes(stream: BinaryIO) -> bytearray:
    """Return the contents of a JP2 file without colour boxes, so that a decoder does not convert the colours."""
    found = [box for box in boxes(stream) if box.kind == b"jp2h"]
    colours = [inner for box in found for inner in boxes(stream, box.start, box.end) if inner.kind == b"colr"]
    stream.seek(0)
    contents = bytearray(stream.read())
    for box in colours:
        kind = box.start - 4 if contents[box.start - 4 : box.start] == box.kind else box.start - 12
        contents[kind : kind + 4] = b"free"
    return contents


def _first(stream: BinaryIO, identified: dict[FileBox, bytes], identifier: bytes) -> bytes | None:
    found = next((box for box, name in identified.items() if name == identifier), None)
    return found.contents(stream)[16:].removeprefix(_EXIF_PREFIX) if found else None


def _colour(contents: bytes) -> tuple[int | None, bytes | None]:
    method = contents[0] if contents else 0
    if method in _PROFILES:
        return None, contents[3:]
    space = int.from_bytes(contents[3:7], "big") if method == _ENUMERATED else None
    if space not in (SRGB, GREY, SYCC):
        name = "unknown" if space is None else f"number {space}"
        raise UnsupportedImageError(f"JPEG 2000 in an unknown colour space ({name})", "convert it to sRGB")
    return space, None


def _has_alpha(definitions: bytes) -> bool:
    """Return whether the last channel is straight alpha. Raises UnsupportedImageError for other kinds of alpha."""
    entries = [struct.unpack(">HHH", definitions[at : at + 6]) for at in range(2, len(definitions) - 5, 6)]
    others = [entry for entry in entries if entry[1] != 0]
    if not others:
        return False
    last = max(channel for channel, _, _ in entries)
    if others != [(last, _OPACITY, _WHOLE_IMAGE)]:
        raise UnsupportedImageError(
            "JPEG 2000 with premultiplied alpha or extra channels is not supported",
            "save it with straight alpha",
        )
    return True


def boxed(codestream: bytes, image: DecodedImage, resolution: bytes, kept: tuple[KeptBox, ...]) -> bytes:
    """Wrap a codestream into a JP2 file.

    resolution: contents of the `res ` box, or empty to derive it from the image's metadata.
    """
    metadata = image.metadata
    columns, rows = image.size
    channels = image.channels + (image.alpha is not None)
    bits = image.intensities.itemsize * 8
    header = packed(b"ihdr", struct.pack(">IIHBBBB", rows, columns, channels, bits - 1, 7, 0, 0))
    if metadata.icc:
        header += packed(b"colr", b"\2\0\0" + metadata.icc)
    else:
        header += packed(
            b"colr", struct.pack(">BBBI", _ENUMERATED, 0, 0, SRGB if image.has_channel_axis else GREY)
        )
    if image.alpha is not None:
        header += packed(b"cdef", _definitions(channels))
    if resolution or metadata.dpi:
        header += packed(b"res ", resolution or _resolution(metadata.dpi or (1, 1)))
    parts = [(b"jP  ", b"\r\n\x87\n"), (b"ftyp", b"jp2 \0\0\0\0jp2 "), (b"jp2h", header)]
    parts += [(b"uuid", _EXIF + metadata.exif)] if metadata.exif else []
    parts += [(b"uuid", _XMP + metadata.xmp)] if metadata.xmp else []
    return b"".join(packed(*part) for part in (*parts, *kept, (b"jp2c", codestream)))


def _definitions(channels: int) -> bytes:
    entries = [(channel, 0, channel + 1) for channel in range(channels - 1)]
    entries.append((channels - 1, _OPACITY, _WHOLE_IMAGE))
    return struct.pack(">H", channels) + b"".join(struct.pack(">HHH", *entry) for entry in entries)


def _resolution(dpi: tuple[float, float]) -> bytes:
    """Return a capture resolution box, in points per metre."""
    (horizontal, right), (vertical, down) = map(_scaled, dpi)
    numbers = (vertical.numerator, vertical.denominator, horizontal.numerator, horizontal.denominator)
    return packed(b"resc", struct.pack(">HHHHbb", *numbers, down, right))


def _scaled(dpi: float) -> tuple[Fraction, int]:
    """Convert to points per metre, as a fraction of 16-bit integers and a power of ten."""
    value = Fraction(dpi).limit_denominator(1000) / _METRES_PER_INCH
    candidates = [(value / 10**exponent, exponent) for exponent in range(10)]
    for candidate, exponent in candidates:
        if max(candidate.numerator, candidate.denominator) <= _LARGEST:
            return candidate, exponent
    nearest, exponent = next((pair for pair in candidates if pair[0] <= _LARGEST), (Fraction(_LARGEST), 9))
    return nearest.limit_denominator(_LARGEST // max(1, math.ceil(nearest))), exponent


_QUALITY = 95
_CODESTREAM = b"\xff\x4f\xff\x51"
_SPACES = {1: b"GRAY", 3: b"RGB "}
_OF_THE_ENCODER = ("Created by OpenJPEG", "Kakadu")
_BARE = "no_jp2"


@dataclass(frozen=True)
class Jp2Traits:
    """lossless: coded with the reversible transform; comments: as stored, without the record and encoders' names.

    resolution: the contents of the `res ` box; boxes: those of other programs, which are kept.
    """

    lossless: bool = True
    comments: tuple[bytes, ...] = ()
    resolution: bytes = b""
    boxes: tuple[KeptBox, ...] = ()


def _parts(stream: BinaryIO) -> tuple[Jp2Boxes | None, Codestream]:
    """Return the boxes around the codestream (None for a bare one), and its main header."""
    stream.seek(0)
    if stream.read(4) == _CODESTREAM:
        return None, codestream_at(stream, 0)
    around = boxes_of(stream)
    if len(around.codestreams) != 1:
        raise UnsupportedImageError(
            "the file holds several images or none", "save the one you want as a file of its own"
        )
    return around, codestream_at(stream, around.codestreams[0])


def _inspect(opened: ImageFile.ImageFile, stream: BinaryIO) -> Inspection:
    around, coded = _parts(stream)
    around = around or Jp2Boxes()
    require_all_tiles(stream, around.codestreams[0] if around.codestreams else 0, coded.tiles)
    opened.info |= {
        name: value for name, value in (("icc_profile", around.profile), ("xmp", around.xmp)) if value
    }
    texts = [text_of(comment) for comment in coded.comments]
    records = [text for text in texts if text and record_in(text) == text]
    kept = tuple(
        comment
        for comment, text in zip(coded.comments, texts, strict=True)
        if text not in records and not text.startswith(_OF_THE_ENCODER)
    )
    traits = Jp2Traits(coded.reversible, kept, around.resolution, around.kept)
    return Inspection(
        _notes(around, coded),
        traits,
        exif=around.exif,
        record=records[-1] if records else None,
        elsewhere=_elsewhere(traits, has_dpi="dpi" in opened.info),
    )


def _check(opened: ImageFile.ImageFile, stream: BinaryIO) -> None:
    around, coded = _parts(stream)
    if coded.size != opened.size:  # the decoder uses the former, the pixel limit the latter
        raise ValueError("its header is invalid")
    _require_decodable(around or Jp2Boxes(), coded)


def _require_decodable(around: Jp2Boxes, coded: Codestream) -> None:
    """Raise UnsupportedImageError for pixels that cannot be decoded, or only ambiguously."""
    if coded.signed or len(set(coded.bits)) > 1 or coded.bits[0] > 16:
        raise UnsupportedImageError(
            "JPEG 2000 with signed or unequal samples, or above 16 bits, is not supported",
            "convert it to 8 or 16 bits",
        )
    is_plain = coded.bits[0] == 8
    if around.has_palette:
        if coded.bits[0] > 8:
            raise UnsupportedImageError(
                "JPEG 2000 with a large palette is not supported", "convert it to RGB"
            )
        return
    colours = len(coded.bits) - around.has_alpha
    if colours not in _SPACES:
        raise UnsupportedImageError(
            f"JPEG 2000 with {colours} channels besides alpha is not supported", "save it as grey or RGB"
        )
    if around.profile is not None and around.profile[16:20] != _SPACES[colours]:
        raise UnsupportedImageError("its colour profile does not match its pixels", "convert it to sRGB")
    is_converted = around.colour_space == SYCC
    if (is_converted and not is_plain) or (coded.subsampled and not is_converted):
        raise UnsupportedImageError(
            "JPEG 2000 with such colour channels is not supported", "convert it to sRGB"
        )


def _notes(around: Jp2Boxes, coded: Codestream) -> tuple[str, ...]:
    bits = coded.bits[0]
    notes = []
    if bits not in (8, 16) and not around.has_palette:
        notes.append(f"{bits}-bit intensities are written with {8 if bits < 8 else 16} bits")
    if around.left_out:
        names = ", ".join(kind.decode("latin-1").strip() for kind in around.left_out)
        notes.append(f"its JPEG 2000 boxes {names} are dropped")
    return tuple(notes)


def _elsewhere(traits: Jp2Traits, *, has_dpi: bool) -> tuple[str, ...]:
    names = ["comments"] if traits.comments else []
    names += sorted({f"boxes {kind.decode('latin-1').strip()}" for kind, _ in traits.boxes})
    names += ["display resolution"] if traits.resolution and not has_dpi else []
    return (f"its {', '.join(names)} are dropped",) if names else ()


def _decode(opened: ImageFile.ImageFile, stream: BinaryIO) -> tuple[NDArray[Any], NDArray[Any] | None] | None:
    """Decode all but palettes and sYCC, which Pillow converts; it would truncate colour and alpha above 8 bits.

    The decoder does not get the colour profile, since it would convert the pixels to sRGB.
    """
    around, coded = _parts(stream)
    if around is not None and (around.has_palette or around.colour_space == SYCC):
        return None
    import imagecodecs

    stream.seek(0)
    contents = stream.read() if around is None else without_colour_boxes(stream)
    values = np.asarray(imagecodecs.jpeg2k_decode(contents))
    values = values.reshape(*values.shape[:2], -1)
    if values.shape != (*opened.size[::-1], len(coded.bits)):
        raise ValueError("its header is invalid")
    values = _stretched(values, coded.bits[0])
    has_alpha = around is not None and around.has_alpha
    colours = values[..., :-1] if has_alpha else values
    intensities = colours[..., 0] if colours.shape[2] == 1 else colours
    return np.ascontiguousarray(intensities), np.ascontiguousarray(values[..., -1]) if has_alpha else None


def _bytes_per_sample(_opened: ImageFile.ImageFile, stream: BinaryIO) -> int:
    return 1 + (_parts(stream)[1].bits[0] > 8)


def _colours(_opened: ImageFile.ImageFile, stream: BinaryIO) -> int | None:
    around, coded = _parts(stream)
    around = around or Jp2Boxes()
    return None if around.has_palette else len(coded.bits) - around.has_alpha


def _stretched(values: NDArray[Any], bits: int) -> NDArray[Any]:
    """Stretch values to the full range of 8 or 16 bits."""
    if bits in (8, 16):
        return values
    largest, full = 2**bits - 1, 255 if bits < 8 else 65535
    stretched = (values.astype(np.uint32) * full + largest // 2) // largest
    stored: NDArray[Any] = stretched.astype(np.uint8 if bits < 8 else np.uint16)
    return stored


def _options(image: DecodedImage, quality: int | None) -> dict[str, Any]:
    """Return the encoder's target PSNR in decibels, and whether the transform is reversible."""
    traits = image.traits if isinstance(image.traits, Jp2Traits) else Jp2Traits()
    lossless = quality is None and (traits.lossless or image.alpha is not None)
    ratio = 20 + 0.3 * (_QUALITY if quality is None else quality)
    return {"level": 0 if lossless else ratio, "reversible": lossless}


def _encode(image: DecodedImage, options: Mapping[str, Any]) -> bytes:
    import imagecodecs

    traits = image.traits if isinstance(image.traits, Jp2Traits) else Jp2Traits()
    planes = (image.intensities,) if image.alpha is None else (image.intensities, image.alpha)
    values = np.ascontiguousarray(planes[0] if len(planes) == 1 else np.dstack(planes))
    coding = {name: value for name, value in options.items() if name != _BARE}
    codestream = bytes(imagecodecs.jpeg2k_encode(values, codecformat="j2k", **coding))
    record = image.metadata.record
    comments = traits.comments + ((text_comment(record),) if record else ())
    codestream = with_comments(codestream, comments)
    return codestream if options.get(_BARE) else boxed(codestream, image, traits.resolution, traits.boxes)


def _strip(traits: object) -> object:
    assert isinstance(traits, Jp2Traits)
    return replace(traits, comments=(), resolution=b"", boxes=())


_INTEGERS = frozenset({"L", "RGB", "I;16", "RGB;16"})
FAMILY = Family(
    formats=(
        Format(
            "JPEG 2000",
            "JPEG2000",
            (".jp2", ".jpx", ".jpf"),
            kinds=_INTEGERS | {"LA", "RGBA", "LA;16", "RGBA;16"},
            carries=frozenset({"icc", "exif", "xmp", "dpi", "record"}),
        ),
        Format(
            "JPEG 2000 codestream",
            "JPEG2000",
            (".j2k", ".j2c", ".jpc"),
            kinds=_INTEGERS,
            carries=frozenset({"record"}),
            options={_BARE: True},
        ),
    ),
    inspect=_inspect,
    check=_check,
    options=_options,
    strip=_strip,
    decode=_decode,
    encode=_encode,
    bytes_per_sample=_bytes_per_sample,
    colours=_colours,
)
