"""JPEG: written at quality 95 with the input's chroma subsampling, and inks as inks without a transform."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from PIL import ImageFile, JpegImagePlugin, MpoImagePlugin

from tvdenoise.errors import UnsupportedImageError
from tvdenoise.files.families.jpeg_resolution import NO_UNIT, can_state, density_of, losses, states_resolution
from tvdenoise.files.families.jpeg_screening import screen
from tvdenoise.files.families.jpeg_segments import (
    EXTENDED_XMP,
    Segment,
    data_behind,
    has_gain_map,
    has_place_of_others,
    is_kept,
    named,
    names_of_left_out,
    packed,
)
from tvdenoise.files.formats import Family, Format, Inspection
from tvdenoise.files.picture import Picture
from tvdenoise.files.planes import encoded
from tvdenoise.files.record import record_in

_QUALITY = 95
_FULL_CHROMA = 0
_EXIF_PREFIX = b"Exif\0\0"
_LARGEST_SEGMENT = 65_533
_LARGEST = {
    "exif": _LARGEST_SEGMENT - len(_EXIF_PREFIX),
    "xmp": _LARGEST_SEGMENT - len(b"http://ns.adobe.com/xap/1.0/\0"),
}
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # markers
_UNIT_AT = 13  # of the resolution, in what Pillow writes
_MP_ENTRIES = 0xB002
_LEFT_BEHIND = "{:,} bytes behind the picture (previews, a gain map or a film) are left out"


@dataclass(frozen=True)
class JpegTraits:
    """subsampling: of the chroma, as Pillow numbers it (0 for none).

    comment: of the file, the last of several; segments: the other comments, IPTC, long XMP and what other programs have
    there, as stored; behind: data that follow the picture.
    density: unit and numbers of the resolution, where it is none in dots per inch.
    """

    subsampling: int = _FULL_CHROMA
    comment: bytes = b""
    segments: bytes = b""
    behind: bytes = b""
    density: tuple[int, int, int] | None = None


def _plain(opened: ImageFile.ImageFile, stream: BinaryIO) -> ImageFile.ImageFile:
    """A file whose other pictures are only previews of the first one, or its gain map, holds one picture."""
    if opened.format != "MPO":
        return opened
    assert isinstance(opened, MpoImagePlugin.MpoImageFile)
    entries = (opened.mpinfo or {}).get(_MP_ENTRIES, ())
    others = [str(entry["Attribute"]["MPType"]) for entry in entries[1:]]
    kinds = (
        {"Large", "Undefined"} if has_gain_map(opened.applist) else {"Large"}
    )  # thumbnails of several sizes
    if {kind.partition(" ")[0] for kind in others} - kinds:
        return opened
    stream.seek(0)
    return JpegImagePlugin.JpegImageFile(stream)  # type: ignore[no-untyped-call,unused-ignore]


def _inspect(opened: ImageFile.ImageFile, stream: BinaryIO) -> Inspection:
    if opened.mode == "CMYK" and "adobe" not in opened.info:
        # Adobe stores inks inverted, as Pillow reads and writes them; without its mark programs disagree.
        raise UnsupportedImageError(
            "this CMYK JPEG does not say whether it is inverted", "save it as TIFF or as RGB first"
        )
    assert isinstance(opened, JpegImagePlugin.JpegImageFile)
    if not states_resolution(opened):
        opened.info.pop("dpi", None)  # Pillow says 72 dots per inch where EXIF data say nothing
    subsampling = JpegImagePlugin.get_sampling(opened)
    segments = opened.applist
    comments = [contents for name, contents in segments if name == "COM"]
    records = [found for comment in comments if (found := _record(comment))]
    others = [comment for comment in comments if not _record(comment)] or [b""]
    kept = [segment for segment in segments if is_kept(segment)]
    behind, length = data_behind(stream)
    if has_place_of_others(segments):
        behind = b""
    traits = JpegTraits(
        subsampling if subsampling >= 0 else _FULL_CHROMA,
        others[-1],
        b"".join((*map(_comment_segment, others[:-1]), *map(packed, kept))),
        behind,
        density_of(opened),
    )
    return Inspection(
        _notices(segments, length - len(behind), is_first_of_several=opened.format == "MPO"),
        traits=traits,
        record=records[-1] if records else None,
        elsewhere=_elsewhere(traits, kept, has_comments=any(others)),
    )


def _notices(segments: list[Segment], left_behind: int, *, is_first_of_several: bool) -> tuple[str, ...]:
    """What no JPEG has that is written."""
    notices = []
    if names := names_of_left_out(segments):
        notices.append(f"its JPEG segments {names} are left out")
    if left_behind and not is_first_of_several:
        notices.append(_LEFT_BEHIND.format(left_behind))
    return tuple(notices)


def _elsewhere(traits: JpegTraits, kept: list[Segment], *, has_comments: bool) -> tuple[str, ...]:
    names = ["comments"] if has_comments else []
    names += ["IPTC data"] if any(name == "APP13" for name, _ in kept) else []
    is_extended = [contents.startswith(EXTENDED_XMP) for _, contents in kept]
    names += ["extended XMP data"] if any(is_extended) else []
    unnamed = [segment for segment, is_xmp in zip(kept, is_extended, strict=True) if not is_xmp]
    unnamed = [segment for segment in unnamed if segment[0] != "APP13"]
    names += [f"JPEG segments {named(unnamed)}"] if unnamed else []
    notices = [f"its {', '.join(names)} are left out"] if names else []
    notices += ["its pixel aspect is left out"] if traits.density and traits.density[0] == NO_UNIT else []
    notices += [_LEFT_BEHIND.format(len(traits.behind))] if traits.behind else []
    return tuple(notices)


def _explain(stream: BinaryIO) -> UnsupportedImageError | None:
    """Pillow knows no JPEG of other depths than 8 bits."""
    stream.seek(0)
    if stream.read(2) != b"\xff\xd8":
        return None
    while len(head := stream.read(4)) == 4 and head[0] == 0xFF:
        if head[1] in _FRAMES:
            depth = int.from_bytes(stream.read(1), "big")
            reason = f"JPEG of {depth} bits is not carried"
            return UnsupportedImageError(reason, "convert it to TIFF or PNG first") if depth != 8 else None
        stream.seek(int.from_bytes(head[2:], "big") - 2, os.SEEK_CUR)
    return None


def _record(comment: bytes) -> str | None:
    """The record, where a comment holds nothing else."""
    text = comment.rstrip(b"\0").decode("latin-1")
    return text if record_in(text) == text else None


def _comment_segment(comment: bytes) -> bytes:
    return b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment


def _options(picture: Picture, quality: int | None) -> dict[str, Any]:
    traits = picture.traits if isinstance(picture.traits, JpegTraits) else JpegTraits()
    metadata = picture.metadata
    record = _comment_segment(metadata.record.encode()) if metadata.record else b""
    options: dict[str, Any] = {
        "quality": _QUALITY if quality is None else quality,
        "subsampling": traits.subsampling,
        "icc_profile": metadata.icc,
        "exif": _within_segment("exif", metadata.exif, prefix=_EXIF_PREFIX),
        "xmp": _within_segment("xmp", metadata.xmp),
        "comment": traits.comment,
        "extra": traits.segments + record,  # before the comment: many programs show the last one
    }
    if traits.density is not None:
        options["dpi"] = traits.density[1:]
    elif metadata.dpi is not None and can_state(metadata.dpi):
        options["dpi"] = metadata.dpi
    return options


def _encode(picture: Picture, options: Mapping[str, Any]) -> bytes | None:
    """What Pillow writes, with another unit of the resolution, and what followed the picture."""
    traits = picture.traits
    if not isinstance(traits, JpegTraits) or not (traits.behind or traits.density):
        return None
    written = bytearray(encoded(picture, "JPEG", options))
    if traits.density is not None and written[_UNIT_AT - 7 : _UNIT_AT - 2] == b"JFIF\0":
        written[_UNIT_AT] = traits.density[0]
    return bytes(written) + traits.behind


def _within_segment(name: str, contents: bytes | None, prefix: bytes = b"") -> bytes:
    """The contents where they fit a JPEG's segment of 64 kB, else nothing."""
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
)
