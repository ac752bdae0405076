"""JPEG: written at quality 95 with the input's chroma subsampling, and inks as inks without a transform."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

from PIL import ImageFile, JpegImagePlugin

from tvdenoise.errors import UnsupportedImageError
from tvdenoise.files.formats import Family, Format, Inspection
from tvdenoise.files.picture import Picture
from tvdenoise.files.pieces import most_pieces, too_many
from tvdenoise.files.record import record_in

_QUALITY = 95
_FULL_CHROMA = 0
_EXIF_PREFIX = b"Exif\0\0"
_LARGEST_SEGMENT = 65_533
_LARGEST = {
    "exif": _LARGEST_SEGMENT - len(_EXIF_PREFIX),
    "xmp": _LARGEST_SEGMENT - len(b"http://ns.adobe.com/xap/1.0/\0"),
}
_MOST_EXIF_SEGMENTS = 256  # which Pillow joins one by one
_MOST_SCANS = 200
_BLOCK = 1 << 20
_START, _START_OF_SCAN, _END = 0xD8, 0xDA, 0xD9
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, _START + 1)})
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # markers
_EXTENDED_XMP = b"http://ns.adobe.com/xmp/extension/\0"


@dataclass(frozen=True)
class JpegTraits:
    """subsampling: of the chroma, as Pillow numbers it (0 for none).

    comment: of the file, the last of several; segments: the other comments, IPTC and long XMP, as stored.
    """

    subsampling: int = _FULL_CHROMA
    comment: bytes = b""
    segments: bytes = b""


def _screen(stream: BinaryIO) -> None:
    """Refuse millions of segments, or of bytes between them, before the pixels, and endless scans."""
    most = most_pieces(stream)
    stream.seek(0)
    if stream.read(3) != b"\xff\xd8\xff":
        return
    stream.seek(2)
    count = exif_count = 0
    before = b""
    while len(byte := stream.read(1)) == 1:
        if (count := count + 1) > 2 * most:  # a segment counts as two: its marker has two bytes
            raise too_many(most, "segments")
        is_marker, before = before == b"\xff" and byte not in b"\0\xff", byte
        if not is_marker or byte[0] in _WITHOUT_LENGTH:
            continue
        if byte[0] == _START_OF_SCAN:
            _require_few_scans(stream)
        if byte[0] in (_START_OF_SCAN, _END):
            return
        beginning = stream.read(2 + len(_EXIF_PREFIX))
        length = max(2, int.from_bytes(beginning[:2], "big"))
        stream.seek(length - len(beginning), os.SEEK_CUR)
        exif_count += beginning[2:] == _EXIF_PREFIX
        if exif_count > _MOST_EXIF_SEGMENTS:
            raise too_many(_MOST_EXIF_SEGMENTS, "segments of EXIF data")


def _require_few_scans(stream: BinaryIO) -> None:
    """Each may be of a few bytes, and yet passes over all pixels. Among those bytes no marker occurs by chance."""
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


def _inspect(opened: ImageFile.ImageFile, _stream: BinaryIO) -> Inspection:
    if opened.mode == "CMYK" and "adobe" not in opened.info:
        # Adobe stores inks inverted, as Pillow reads and writes them; without its mark programs disagree.
        raise UnsupportedImageError(
            "this CMYK JPEG does not say whether it is inverted", "save it as TIFF or as RGB first"
        )
    subsampling = JpegImagePlugin.get_sampling(opened)
    applist = getattr(opened, "applist", [])
    comments = [contents for name, contents in applist if name == "COM"]
    records = [found for comment in comments if (found := _record(comment))]
    others = [comment for comment in comments if not _record(comment)] or [b""]
    traits = JpegTraits(
        subsampling if subsampling >= 0 else _FULL_CHROMA,
        others[-1],
        b"".join((*map(_comment_segment, others[:-1]), *_segments(applist))),
    )
    return Inspection(
        traits=traits, record=records[-1] if records else None, elsewhere=_elsewhere(traits, applist)
    )


def _elsewhere(traits: JpegTraits, applist: list[tuple[str, bytes]]) -> tuple[str, ...]:
    names = ["comments"] if traits.comment else []
    names += ["IPTC data"] if any(name == "APP13" for name, _ in applist) else []
    names += ["extended XMP data"] if _EXTENDED_XMP in traits.segments else []
    return (f"its {', '.join(names)} are left out",) if names else ()


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


def _segments(applist: list[tuple[str, bytes]]) -> list[bytes]:
    """The segments that Pillow does not write by itself, with their markers and lengths."""
    kept = []
    for name, contents in applist:
        if name == "APP13" or (name == "APP1" and contents.startswith(_EXTENDED_XMP)):
            marker = bytes((0xFF, 0xE0 + int(name.removeprefix("APP"))))
            kept.append(marker + (len(contents) + 2).to_bytes(2, "big") + contents)
    return kept


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
    if metadata.dpi is not None:
        options["dpi"] = metadata.dpi
    return options


def _within_segment(name: str, contents: bytes | None, prefix: bytes = b"") -> bytes:
    """The contents where they fit a JPEG's segment of 64 kB, else nothing."""
    return prefix + contents if contents and len(contents) <= _LARGEST[name] else b""


def _strip(traits: object) -> object:
    assert isinstance(traits, JpegTraits)
    return replace(traits, comment=b"", segments=b"")


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
    screen=_screen,
    explain=_explain,
    strip=_strip,
)
