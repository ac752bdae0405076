"""JPEG: written at quality 95 with the input's colour subsampling; CMYK stays CMYK, without a transform."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

from PIL import ImageFile, JpegImagePlugin
from PIL.TiffImagePlugin import RESOLUTION_UNIT, X_RESOLUTION

from tvdenoise.errors import UnsupportedImageError
from tvdenoise.files.decoded import DecodedImage, record_in
from tvdenoise.files.pillow import encoded
from tvdenoise.formats.family import Family, Format, Inspection, chunk_limit, too_many
from tvdenoise.formats.multi_picture import MULTI_PICTURE, Picture, index_of, pictures_of
from tvdenoise.formats.thumbnails import (
    Miniature,
    announces_gain_map,
    is_known_jfxx,
    notes_of_dropped,
    renewed_jfxx,
    renewed_resources,
)
from tvdenoise.formats.tiff.directories import MALFORMED

NO_UNIT, _CENTIMETRES = 0, 2
_LARGEST_DPI = 65_535


def states_resolution(opened: JpegImagePlugin.JpegImageFile) -> bool:
    if opened.info.get("jfif_unit", NO_UNIT) != NO_UNIT:
        return True
    with suppress(*MALFORMED):
        return {X_RESOLUTION, RESOLUTION_UNIT} <= set(opened.getexif())
    return False


def density_of(opened: ImageFile.ImageFile) -> tuple[int, int, int] | None:
    """Return unit and density if it is in dots per centimetre or a pixel aspect; else None."""
    unit, density = opened.info.get("jfif_unit"), opened.info.get("jfif_density", (1, 1))
    is_aspect = unit == NO_UNIT and density[0] != density[1]
    return (unit, *density) if all(density) and (is_aspect or unit == _CENTIMETRES) else None


def can_state(dpi: tuple[float, float]) -> bool:
    """Return whether JPEG can store a resolution; it cannot for many microscope images."""
    return max(dpi) <= _LARGEST_DPI


def losses(image: DecodedImage) -> tuple[str, ...]:
    dpi = image.metadata.dpi
    if dpi is None or can_state(dpi):
        return ()
    return (f"JPEG cannot state its resolution of {max(dpi):,.0f} dots per inch",)


_MOST_EXIF_SEGMENTS = 256  # Pillow concatenates them one by one
_MOST_SCANS = 200
_START, _START_OF_SCAN, _END = 0xD8, 0xDA, 0xD9
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, _START + 1)})


def screen(stream: BinaryIO) -> None:
    """Refuse millions of segments, or of stray bytes, before the pixels."""
    _first_scan(stream)


def _first_scan(stream: BinaryIO) -> int | None:
    """Return the offset after the marker of the first scan; None if there is none. Raises as `screen`."""
    most = chunk_limit(stream)
    stream.seek(0)
    if stream.read(3) != b"\xff\xd8\xff":
        return None
    stream.seek(2)
    count = exif_count = 0
    before = b""
    while len(byte := stream.read(1)) == 1:
        if (count := count + 1) > 2 * most:  # a segment counts twice, as its marker has two bytes
            raise too_many(most, "segments")
        is_marker, before = before == b"\xff" and byte not in b"\0\xff", byte
        if not is_marker or byte[0] in _WITHOUT_LENGTH:
            continue
        if byte[0] == _START_OF_SCAN:
            return stream.tell()
        if byte[0] == _END:
            return None
        beginning = stream.read(2 + len(_EXIF_PREFIX))
        length = max(2, int.from_bytes(beginning[:2], "big"))
        stream.seek(length - len(beginning), os.SEEK_CUR)
        exif_count += beginning[2:] == _EXIF_PREFIX
        if exif_count > _MOST_EXIF_SEGMENTS:
            raise too_many(_MOST_EXIF_SEGMENTS, "segments of EXIF data")
    return None


def _require_few_scans(stream: BinaryIO) -> None:
    """Refuse too many scans: one of a few bytes may pass over all pixels. Entropy-coded data contain no markers.

    Reads the whole file, unlike `screen`.
    """
    if (start := _first_scan(stream)) is None:
        return
    stream.seek(start)
    count, before = 1, b""
    while block := stream.read(_BLOCK):
        block = before + block
        end = block.find(bytes((0xFF, _END)))
        count += block.count(bytes((0xFF, _START_OF_SCAN)), 0, len(block) if end < 0 else end)
        if count > _MOST_SCANS:
            raise too_many(_MOST_SCANS, "scans")
        if end >= 0:
            return
        before = block[-1:]


EXTENDED_XMP = b"http://ns.adobe.com/xmp/extension/\0"
_THUMBNAIL, _RESOURCES = b"JFXX\0", b"Photoshop 3.0\0"
_GAIN_MAP = b"urn:iso:std:iso:ts:21496:-1\0"
#: Handled by the reader and the writer.
_HANDLED = (
    ("APP0", b"JFIF\0"),
    ("APP1", b"Exif\0\0"),
    ("APP1", b"http://ns.adobe.com/xap/1.0/\0"),
    ("APP2", b"ICC_PROFILE\0"),
    ("APP14", b"Adobe"),
)
#: Invalid after denoising: signatures, data that other decoders add to the pixels, thumbnails that cannot be renewed.
_UNTRUE = (("APP0", _THUMBNAIL), ("APP10", b"AROT"), ("APP11", b""))
#: About images after the first one.
_OF_OTHERS = (("APP2", MULTI_PICTURE), ("APP2", _GAIN_MAP))
_MOST_NAMES = 8
_LARGEST_TRAILING_DATA = 1 << 26  # bytes of trailing data that are kept
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # begins with a single byte, which is found fast
_LITTLE, _BLOCK = 1 << 6, 1 << 20  # bytes searched at a time, first and later
_LONGEST_NAME = 32

Segment = tuple[str, bytes]  # as in Pillow's `applist`


def is_kept(segment: Segment) -> bool:
    """Return whether a segment is copied: it stays valid, and the writer does not create it."""
    return segment[0].startswith("APP") and not _is_among(segment, _HANDLED + _UNTRUE + _OF_OTHERS)


def names_of_left_out(segments: Iterable[Segment]) -> str:
    """Return the names of segments that are never written; empty if there are none."""
    return named(
        segment
        for segment in segments
        if not _is_among(segment, _HANDLED) and _is_among(segment, _UNTRUE) and not is_thumbnail(segment)
    )


def is_thumbnail(segment: Segment) -> bool:
    """Return whether a segment holds a thumbnail that can be made anew."""
    return _is_among(segment, (("APP0", _THUMBNAIL),)) and is_known_jfxx(segment[1])


def named(segments: Iterable[Segment]) -> str:
    """Return the names of segments: marker and identifier."""
    names = sorted({_name(segment) for segment in segments})
    return ", ".join(names[:_MOST_NAMES]) + (" and others" if len(names) > _MOST_NAMES else "")


def has_gain_map(segments: Iterable[Segment]) -> bool:
    """Return whether the first image refers to a gain map (ISO 21496-1)."""
    return any(_is_among(segment, (("APP2", _GAIN_MAP),)) for segment in segments)


def has_place_of_others(segments: Iterable[Segment]) -> bool:
    """Return whether a segment holds the offsets of other images in the file."""
    return any(_is_among(segment, (("APP2", MULTI_PICTURE),)) for segment in segments)


def packed(segment: Segment) -> bytes:
    """Encode a segment with its marker and length."""
    name, contents = segment
    marker = bytes((0xFF, 0xE0 + int(name.removeprefix("APP"))))
    return marker + (len(contents) + 2).to_bytes(2, "big") + contents


def trailing_data_of(stream: BinaryIO) -> tuple[bytes, int]:
    """Return the data after the image, and their length; b"" if they are only zeros or too large to keep."""
    end = _end_of_image(stream)
    length = stream.seek(0, os.SEEK_END)
    if end is None or end == length:
        return b"", 0
    stream.seek(end)
    if length - end > _LARGEST_TRAILING_DATA:
        return b"", length - end
    found = stream.read()
    return (found, len(found)) if found.strip(b"\0") else (b"", 0)


def _end_of_image(stream: BinaryIO) -> int | None:
    place = 2
    while (found := _next_marker(stream, place)) is not None:
        marker, place = found
        if marker == _END:
            return place
        stream.seek(place)
        place += max(2, int.from_bytes(stream.read(2), "big"))
    return None


def _next_marker(stream: BinaryIO, place: int) -> tuple[int, int] | None:
    """Return the next marker and the offset after it, skipping restart markers within the pixels."""
    size = _LITTLE
    stream.seek(place)
    before = b""
    while block := stream.read(size):
        if (found := _MARKER.search(before + block)) is not None:
            return found[0][-1], place - len(before) + found.end()
        place += len(block)
        before, size = block[-1:], _BLOCK
    return None


def _is_among(segment: Segment, known: Iterable[Segment]) -> bool:
    return any(segment[0] == name and segment[1].startswith(beginning) for name, beginning in known)


def _name(segment: Segment) -> str:
    number, contents = segment
    beginning = re.match(rb"[A-Za-z][\w .:/-]*", contents[:_LONGEST_NAME])
    return f"{number} ({beginning[0].decode()})" if beginning else number


_QUALITY = 95
_FULL_CHROMA = 0
_EXIF_PREFIX = b"Exif\0\0"
_LARGEST_SEGMENT = 65_533
_LARGEST = {
    "exif": _LARGEST_SEGMENT - len(_EXIF_PREFIX),
    "xmp": _LARGEST_SEGMENT - len(b"http://ns.adobe.com/xap/1.0/\0"),
}
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # markers
_UNIT_AT = 13  # offset of the resolution unit in what Pillow writes
_APP13 = 0xED
_TRAILING_DATA_LEFT_OUT = "{:,} bytes after the image (previews, a gain map or a video) are dropped"


@dataclass(frozen=True)
class JpegTraits:
    """subsampling: of the colours, as Pillow numbers it (0 for none).

    comment: the last one; segments: the other comments, IPTC, extended XMP and other programs' segments, as stored;
    trailing_data: the data after the image.
    density: unit and values of a resolution that is not in dots per inch.
    thumbnail: an extension of JFIF that holds one; pictures: the index of the trailing data, with offsets in them.
    """

    subsampling: int = _FULL_CHROMA
    comment: bytes = b""
    segments: bytes = b""
    trailing_data: bytes = b""
    density: tuple[int, int, int] | None = None
    thumbnail: bytes = b""
    pictures: tuple[Picture, ...] = ()


def _plain(opened: ImageFile.ImageFile, stream: BinaryIO) -> ImageFile.ImageFile:
    """Reopen an MPO file as JPEG if its other images are only previews or gain maps of the first."""
    if opened.format != "MPO":
        return opened
    stream.seek(0)
    plain = JpegImagePlugin.JpegImageFile(stream)  # type: ignore[no-untyped-call,unused-ignore]
    others = pictures_of(plain)[1:]
    is_single = others and all(
        each.is_preview or each in _gain_maps(plain, stream, others) for each in others
    )
    return plain if is_single else opened


def _gain_maps(
    opened: JpegImagePlugin.JpegImageFile, stream: BinaryIO, others: Sequence[Picture]
) -> list[Picture]:
    """Return those of the other images that the first one, or they themselves, call gain maps."""
    is_announced = has_gain_map(opened.applist) or announces_gain_map(opened.info.get("xmp"))
    return [each for each in others if each.is_undefined and (is_announced or each.is_gain_map(stream))]


def _kept_pictures(
    opened: JpegImagePlugin.JpegImageFile, stream: BinaryIO, trailing_data: bytes
) -> tuple[bytes, tuple[Picture, ...]]:
    """Return the trailing data without previews, and their index; nothing without a gain map among them."""
    start = stream.seek(0, os.SEEK_END) - len(trailing_data)
    pictures = [replace(each, start=each.start - start) for each in pictures_of(opened)]
    others = pictures[1:]
    is_inside = all(
        0 <= each.start <= each.start + each.length <= len(trailing_data)
        and trailing_data.startswith(b"\xff\xd8", each.start)
        for each in others
    )
    maps = _gain_maps(opened, stream, pictures_of(opened)[1:]) if opened.format != "MPO" else []
    if not maps or not trailing_data or not is_inside:
        return b"", ()
    kept, parts, place = [pictures[0]], [], 0
    for each in sorted(others, key=lambda each: each.start):
        if each.is_preview:
            parts.append(trailing_data[place : each.start])
            place = max(place, each.start + each.length)
        else:
            removed = place - sum(map(len, parts))
            kept.append(replace(each, start=each.start - removed))
    return b"".join((*parts, trailing_data[place:])), tuple(kept)


def _check(opened: ImageFile.ImageFile, _stream: BinaryIO) -> None:
    if opened.mode == "CMYK" and "adobe" not in opened.info:
        # With an Adobe marker, inks are stored inverted, as Pillow assumes; without it, programs disagree.
        raise UnsupportedImageError(
            "this CMYK JPEG does not say whether it is inverted", "save it as TIFF or as RGB first"
        )


def _inspect(opened: ImageFile.ImageFile, stream: BinaryIO) -> Inspection:
    _require_few_scans(stream)
    assert isinstance(opened, JpegImagePlugin.JpegImageFile)
    if not states_resolution(opened):
        opened.info.pop("dpi", None)  # Pillow's default of 72 dots per inch
    subsampling = JpegImagePlugin.get_sampling(opened)
    segments = opened.applist
    comments = [contents for name, contents in segments if name == "COM"]
    records = [found for comment in comments if (found := _record(comment))]
    others = [comment for comment in comments if not _record(comment)] or [b""]
    trailing_data, length = trailing_data_of(stream)
    pictures: tuple[Picture, ...] = ()
    if has_place_of_others(segments):
        trailing_data, pictures = _kept_pictures(opened, stream, trailing_data)
    kept = [segment for segment in segments if is_kept(segment) or (pictures and has_gain_map([segment]))]
    thumbnails = [segment[1] for segment in segments if is_thumbnail(segment)]
    traits = JpegTraits(
        subsampling if subsampling >= 0 else _FULL_CHROMA,
        others[-1],
        b"".join((*map(_comment_segment, others[:-1]), *map(packed, kept))),
        trailing_data,
        density_of(opened),
        (thumbnails or [b""])[0],
        pictures,
    )
    return Inspection(
        _notes(segments, length - len(trailing_data), is_first_of_several=opened.format == "MPO"),
        traits=traits,
        record=records[-1] if records else None,
        elsewhere=_elsewhere(traits, kept, has_comments=any(others)),
    )


def _notes(segments: list[Segment], left_out: int, *, is_first_of_several: bool) -> tuple[str, ...]:
    """Return notes about what is never written to a JPEG."""
    notes = []
    if names := names_of_left_out(segments):
        notes.append(f"its JPEG segments {names} are dropped")
    if any(
        name == "APP0" and contents.startswith(b"JFIF\0") and contents[14:] for name, contents in segments
    ):
        notes.append("its JFIF thumbnail is dropped")
    if left_out and not is_first_of_several:
        notes.append(_TRAILING_DATA_LEFT_OUT.format(left_out))
    return tuple(notes)


def _elsewhere(traits: JpegTraits, kept: list[Segment], *, has_comments: bool) -> tuple[str, ...]:
    names = ["comments"] if has_comments else []
    names += ["IPTC data"] if any(name == "APP13" for name, _ in kept) else []
    is_extended = [contents.startswith(EXTENDED_XMP) for _, contents in kept]
    names += ["extended XMP data"] if any(is_extended) else []
    names += ["JFXX thumbnail"] if traits.thumbnail else []
    unnamed = [segment for segment, is_xmp in zip(kept, is_extended, strict=True) if not is_xmp]
    unnamed = [segment for segment in unnamed if segment[0] != "APP13"]
    names += [f"JPEG segments {named(unnamed)}"] if unnamed else []
    notes = [f"its {', '.join(names)} are dropped"] if names else []
    notes += ["its pixel aspect is dropped"] if traits.density and traits.density[0] == NO_UNIT else []
    notes += [_TRAILING_DATA_LEFT_OUT.format(len(traits.trailing_data))] if traits.trailing_data else []
    return tuple(notes)


def _explain(stream: BinaryIO) -> UnsupportedImageError | None:
    """Explain that depths other than 8 bits are not supported."""
    stream.seek(0)
    if stream.read(2) != b"\xff\xd8":
        return None
    while len(head := stream.read(4)) == 4 and head[0] == 0xFF:
        if head[1] in _FRAMES:
            depth = int.from_bytes(stream.read(1), "big")
            reason = f"JPEG of {depth} bits is not supported"
            return UnsupportedImageError(reason, "convert it to TIFF or PNG first") if depth != 8 else None
        stream.seek(int.from_bytes(head[2:], "big") - 2, os.SEEK_CUR)
    return None


def _record(comment: bytes) -> str | None:
    """Return the record if a comment holds nothing else, or None."""
    text = comment.rstrip(b"\0").decode("latin-1")
    return text if record_in(text) == text else None


def _comment_segment(comment: bytes) -> bytes:
    return b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment


def _options(image: DecodedImage, quality: int | None) -> dict[str, Any]:
    traits = image.traits if isinstance(image.traits, JpegTraits) else JpegTraits()
    metadata = image.metadata
    record = _comment_segment(metadata.record.encode()) if metadata.record else b""
    index = packed(("APP2", _blank_index(traits))) if traits.pictures else b""
    options: dict[str, Any] = {
        "quality": _QUALITY if quality is None else quality,
        "subsampling": traits.subsampling,
        "icc_profile": metadata.icc,
        "exif": _within_segment("exif", metadata.exif, prefix=_EXIF_PREFIX),
        "xmp": _within_segment("xmp", metadata.xmp),
        "comment": traits.comment,
        "extra": traits.segments
        + index
        + record,  # before the comment, since many programs show the last one
    }
    if traits.density is not None:
        options["dpi"] = traits.density[1:]
    elif metadata.dpi is not None and can_state(metadata.dpi):
        options["dpi"] = metadata.dpi
    return options


def _encode(image: DecodedImage, options: Mapping[str, Any]) -> bytes | None:
    """Encode with Pillow, then set what Pillow cannot: the resolution unit, the thumbnail, and the trailing data."""
    traits = image.traits
    if not isinstance(traits, JpegTraits) or not (traits.trailing_data or traits.density or traits.thumbnail):
        return None
    written = bytearray(encoded(image, "JPEG", options))
    has_jfif = written[_UNIT_AT - 7 : _UNIT_AT - 2] == b"JFIF\0"
    if traits.density is not None and has_jfif:
        written[_UNIT_AT] = traits.density[0]
    if traits.thumbnail and has_jfif:  # right after the segment that it extends
        place = 4 + int.from_bytes(written[4:6], "big")
        written[place:place] = packed(("APP0", traits.thumbnail))
    if traits.pictures:
        blank = _blank_index(traits)
        place = written.index(blank) + len(MULTI_PICTURE)
        index = index_of(traits.pictures, len(written), place)
        written[place : place + len(index)] = index
    return bytes(written) + traits.trailing_data


def _blank_index(traits: JpegTraits) -> bytes:
    """Return the contents of a segment for the index, whose offsets are not known yet."""
    return MULTI_PICTURE + index_of(traits.pictures, 0, 0)


def _keeps_gain_map(image: DecodedImage) -> bool:
    return isinstance(image.traits, JpegTraits) and bool(image.traits.trailing_data)


def _renew(image: DecodedImage, miniature: Miniature) -> tuple[object, tuple[str, ...]]:
    """Renew the thumbnails among Photoshop's resources, and the one that extends JFIF."""
    traits = image.traits
    if not isinstance(traits, JpegTraits):
        return traits, ()
    segments, dropped = _with_new_resources(traits.segments, miniature)
    thumbnail: bytes | None = b""
    if traits.thumbnail:
        thumbnail = renewed_jfxx(traits.thumbnail, miniature)
        dropped += ("JFXX",) if thumbnail is None else ()
    return replace(traits, segments=segments, thumbnail=thumbnail or b""), notes_of_dropped(dropped)


def _with_new_resources(segments: bytes, miniature: Miniature) -> tuple[bytes, tuple[str, ...]]:
    """Renew the thumbnails in packed segments. Resources may be cut anywhere to fit into several segments."""
    parts: list[bytes] = []
    resources, place, first = b"", 0, 0
    while place + 4 <= len(segments):
        end = place + 2 + int.from_bytes(segments[place + 2 : place + 4], "big")
        contents = segments[place + 4 : end]
        if segments[place + 1] == _APP13 and contents.startswith(_RESOURCES):
            first = first or len(parts) + 1
            resources += contents.removeprefix(_RESOURCES)
        else:
            parts.append(segments[place:end])
        place = end
    renewed = renewed_resources(resources, miniature)
    if renewed.contents == resources:
        return segments, ()
    most = _LARGEST_SEGMENT - len(_RESOURCES)
    pieces = (renewed.contents[start : start + most] for start in range(0, len(renewed.contents), most))
    parts[first - 1 : first - 1] = [packed(("APP13", _RESOURCES + piece)) for piece in pieces]
    return b"".join(parts), renewed.dropped


def _within_segment(name: str, contents: bytes | None, prefix: bytes = b"") -> bytes:
    """Return the contents if they fit into a JPEG segment of 64 kB; else b""."""
    return prefix + contents if contents and len(contents) <= _LARGEST[name] else b""


def _strip(traits: object) -> object:
    assert isinstance(traits, JpegTraits)
    aspect = traits.density if traits.density and traits.density[0] == NO_UNIT else None
    return JpegTraits(traits.subsampling, density=aspect)


FAMILY = Family(
    formats=(
        Format(
            "JPEG",
            "JPEG",
            (".jpg", ".jpeg", ".jpe", ".jfif"),
            kinds=frozenset({"L", "RGB", "CMYK"}),
            carries=frozenset({"icc", "exif", "xmp", "dpi", "record"}),
            largest=_LARGEST,
            longest_side=65_500,
        ),
    ),
    inspect=_inspect,
    options=_options,
    screen=screen,
    explain=_explain,
    strip=_strip,
    plain=_plain,
    encode=_encode,
    losses=losses,
    check=_check,
    renew=_renew,
    keeps_gain_map=_keeps_gain_map,
)
