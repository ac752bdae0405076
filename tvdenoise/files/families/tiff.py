"""TIFF: refuses what Pillow would cut, flatten or reinterpret, and keeps the tags that describe it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL import Image, ImageFile, ImageOps
from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    PHOTOMETRIC_INTERPRETATION,
    X_RESOLUTION,
    XMP,
    TiffImageFile,
)

from tvdenoise.files.families.tiff_checks import check_pages, check_samples, explain
from tvdenoise.files.families.tiff_decoding import decode_samples, require_segments, turned
from tvdenoise.files.families.tiff_encoding import LARGEST, encode_samples
from tvdenoise.files.families.tiff_opening import open_tiff
from tvdenoise.files.families.tiff_samples import PHOTOMETRICS, WHITE_IS_ZERO, deep_samples
from tvdenoise.files.families.tiff_screening import screen
from tvdenoise.files.families.tiff_tags import (
    ORIENTATION,
    Tags,
    descriptive_tags,
    exif_of_tags,
    further_tags,
    has_directories,
    notices_of_lost,
    tags_of_exif,
    without_malformed,
    writable_tags,
)
from tvdenoise.files.formats import Family, Format, Inspection
from tvdenoise.files.picture import PIXEL_KINDS, Picture, StoredTag
from tvdenoise.files.process_wide import SILENT_LIBRARIES
from tvdenoise.files.record import record_in, with_record, without_record

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DEFLATE = "tiff_adobe_deflate"
_LOSSLESS = ("raw", "packbits", "tiff_lzw", _DEFLATE, "zstd", "lzma")
_PROCESSING_SOFTWARE, _ASCII = 11, 2  # "name and version of the software used to post-process the picture"
_YCBCR = 6
_ROOM_FOR_TAGS = 1 << 26  # bytes
_SAME_AS_DEFLATE = "tiff_deflate"  # under its older number


@dataclass(frozen=True)
class TiffTraits:
    """tags: those that describe the picture; compression: a lossless one, as Pillow names it.

    white_is_zero: of floats, which are not inverted.
    """

    tags: Tags = field(default_factory=dict)
    compression: str = _DEFLATE
    white_is_zero: bool = False

    @property
    def usable_compression(self) -> str:
        """None with EXIF or GPS data, which libtiff, the encoder of compressed files, fails to write."""
        return "raw" if has_directories(self.tags) else self.compression


def _inspect(opened: ImageFile.ImageFile, _stream: BinaryIO) -> Inspection:
    assert isinstance(opened, TiffImageFile)
    notices = check_pages(opened)
    if (samples := deep_samples(opened)) is None:
        check_samples(opened)
    traits = _traits(opened)
    if samples is not None and samples.white_is_zero and samples.dtype.kind == "f":
        traits = replace(traits, white_is_zero=True)
    bits = opened.tag_v2.get(BITSPERSAMPLE, (1,))
    notices += _notices(opened, traits)
    compression = "raw" if bits[0] > 8 else traits.usable_compression
    described, malformed = without_malformed(traits.tags, compression)
    traits = replace(traits, tags=described)
    tags, lost = further_tags(opened.tag_v2, compression)
    record, tags = _without_record(tags)
    return Inspection(
        notices + notices_of_lost(malformed + lost), traits, exif_of_tags(traits.tags), tags, record
    )


def _notices(opened: TiffImageFile, traits: TiffTraits) -> tuple[str, ...]:
    """What is not written as it is stored."""
    notices = []
    bits = opened.tag_v2.get(BITSPERSAMPLE, (1,))
    if 1 < bits[0] < 8 and opened.mode == "L":
        notices.append(f"{bits[0]}-bit grey is written with 8 bits")
    compression = str(opened.info.get("compression", "raw"))
    if opened.mode != "1" and compression not in (*_LOSSLESS, _SAME_AS_DEFLATE):
        name = compression.removeprefix("tiff_").upper()
        notices.append(f"its {name} compression is not used again: a TIFF is written with deflate")
    elif opened.tag_v2.get(PHOTOMETRIC_INTERPRETATION) == _YCBCR:
        notices.append("its YCbCr colours are written as RGB")
    if traits.white_is_zero:
        notices.append("its zero is white, which only TIFF can say: values are kept as they are")
    return tuple(notices)


def _without_record(tags: dict[int, StoredTag]) -> tuple[str | None, dict[int, StoredTag]]:
    """The record in the tag for it, and the tags without it."""
    kind, text = tags.get(_PROCESSING_SOFTWARE, (_ASCII, ""))
    record = record_in(text) if isinstance(text, str) else None
    if record is None:
        return None, tags
    tags = {tag: value for tag, value in tags.items() if tag != _PROCESSING_SOFTWARE}
    return record, tags | ({_PROCESSING_SOFTWARE: (kind, rest)} if (rest := without_record(text)) else {})


def _further(picture: Picture) -> dict[int, StoredTag]:
    """The further tags, the record among them, after what other programs wrote into the same tag."""
    tags = dict(picture.metadata.tags)
    if picture.metadata.record:
        _, text = tags.get(_PROCESSING_SOFTWARE, (_ASCII, ""))
        tags[_PROCESSING_SOFTWARE] = (_ASCII, with_record(str(text), picture.metadata.record))
    return tags


def _strip(traits: object) -> object:
    assert isinstance(traits, TiffTraits)
    return replace(traits, tags={})


def _traits(opened: TiffImageFile) -> TiffTraits:
    tags = dict(descriptive_tags(opened.getexif()))
    tags.pop(ORIENTATION, None)  # Pillow turns the pixels of a TIFF while it decodes them
    compression = str(opened.info.get("compression", "raw"))
    return TiffTraits(tags, compression) if compression in _LOSSLESS else TiffTraits(tags)


def _options(picture: Picture, _quality: int | None) -> dict[str, Any]:
    metadata, traits = picture.metadata, picture.traits
    if not isinstance(traits, TiffTraits):
        described = tags_of_exif(metadata.exif)
        compression = "raw" if has_directories(described) else _DEFLATE
        traits = TiffTraits(without_malformed(described, compression)[0])
    tags = writable_tags(traits.tags, _further(picture))
    if metadata.xmp:
        tags[XMP] = metadata.xmp
    options: dict[str, Any] = {
        "exif": tags,
        "icc_profile": metadata.icc,
        "compression": traits.usable_compression,
    }
    if metadata.dpi and X_RESOLUTION not in traits.tags:
        options["dpi"] = metadata.dpi
    return options


def _decode(opened: ImageFile.ImageFile, stream: BinaryIO) -> tuple[NDArray[Any], NDArray[Any] | None] | None:
    assert isinstance(opened, TiffImageFile)
    if (samples := deep_samples(opened)) is None:
        require_segments(opened, stream)
        with SILENT_LIBRARIES:  # libtiff prints what it finds wrong
            opened.load()
        return None
    values = decode_samples(opened, stream, samples)
    if (orientation := opened.tag_v2.get(ORIENTATION, 1)) != 1:
        values = turned(values, orientation)
        _drop_orientation(opened, orientation)
    alpha = np.ascontiguousarray(values[..., -1]) if samples.has_alpha else None
    return samples.intensities(values), alpha


def _drop_orientation(opened: TiffImageFile, orientation: int) -> None:
    """Take it from the XMP data too, as Pillow does where it turns the pixels itself."""
    if "xmp" in opened.info:
        single = Image.new("L", (1, 1))
        single.info["xmp"] = opened.info["xmp"]
        single.getexif()[ORIENTATION] = orientation
        ImageOps.exif_transpose(single, in_place=True)
        opened.info["xmp"] = single.info["xmp"]


def _encode(picture: Picture, options: Mapping[str, Any]) -> bytes | None:
    """All but 8 bits, of which Pillow writes every kind but one, in files below 4 gigabytes."""
    is_large = _uncompressed_size(picture) > LARGEST
    if picture.intensities.dtype == np.uint8 and picture.kind != "CMYKA" and not is_large:
        return None
    traits = picture.traits if isinstance(picture.traits, TiffTraits) else TiffTraits()
    frame = BytesIO()
    options = {**options, "compression": "raw", "big_tiff": is_large}
    Image.new("L", (1, 1)).save(frame, "TIFF", **options)
    planes = (picture.intensities, *(() if picture.alpha is None else (picture.alpha,)))
    return encode_samples(
        frame.getvalue(),
        np.dstack(planes),
        photometric=WHITE_IS_ZERO if traits.white_is_zero else PHOTOMETRICS[picture.channels],
        has_alpha=picture.alpha is not None,
        compression=traits.compression,
    )


def _uncompressed_size(picture: Picture) -> int:
    """At most so many bytes, tags included."""
    values = picture.intensities.nbytes + (0 if picture.alpha is None else picture.alpha.nbytes)
    return values + _ROOM_FOR_TAGS


FAMILY = Family(
    formats=(
        Format(
            "TIFF",
            "TIFF",
            (".tif", ".tiff"),
            kinds=frozenset(PIXEL_KINDS),
            carries=frozenset({"icc", "exif", "xmp", "dpi", "tags", "record"}),
        ),
    ),
    inspect=_inspect,
    options=_options,
    screen=screen,
    explain=explain,
    strip=_strip,
    open=open_tiff,
    decode=_decode,
    encode=_encode,
)
