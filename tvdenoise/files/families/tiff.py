"""TIFF: refuses what Pillow would cut, flatten or reinterpret, and keeps the tags that describe it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL import Image, ImageFile, ImageOps
from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    EXTRASAMPLES,
    IMAGEDESCRIPTION,
    PHOTOMETRIC_INTERPRETATION,
    SAMPLEFORMAT,
    X_RESOLUTION,
    XMP,
    ImageFileDirectory_v2,
    TiffImageFile,
)

from tvdenoise.errors import UnsupportedImageError
from tvdenoise.files.families.tiff_decoding import DeepTiff, decode_samples, deep_samples, turned
from tvdenoise.files.families.tiff_encoding import encode_samples
from tvdenoise.files.families.tiff_screening import MOST_OVERVIEWS, screen
from tvdenoise.files.families.tiff_tags import (
    MALFORMED,
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

_NEW_SUBFILE_TYPE, _DNG_VERSION = 254, 50706
_DEFLATE = "tiff_adobe_deflate"
_LOSSLESS = ("raw", "packbits", "tiff_lzw", _DEFLATE, "zstd", "lzma")
_WHITE_IS_ZERO = 0
_UNSIGNED, _FLOAT = 1, 3
_SAMPLE_NAMES = {1: "integer", 2: "signed", 3: "float", 5: "complex", 6: "complex"}
_BIG, _BIG_AND_BIG_ENDIAN = b"II+\0", b"MM\0+"
_HEADERS = (b"II*\0", b"MM\0*", _BIG)
_PROCESSING_SOFTWARE, _ASCII = 11, 2  # "name and version of the software used to post-process the picture"
_UNKNOWN_SAMPLE, _PREMULTIPLIED = 0, 1


@dataclass(frozen=True)
class TiffTraits:
    """tags: those that describe the picture; compression: a lossless one, as Pillow names it."""

    tags: Tags = field(default_factory=dict)
    compression: str = _DEFLATE

    @property
    def usable_compression(self) -> str:
        """None with EXIF or GPS data, which libtiff, the encoder of compressed files, fails to write."""
        return "raw" if has_directories(self.tags) else self.compression


def _inspect(opened: ImageFile.ImageFile, _stream: BinaryIO) -> Inspection:
    assert isinstance(opened, TiffImageFile)
    notices = _check_pages(opened)
    is_deep = deep_samples(opened) is not None
    if not is_deep:
        _check_samples(opened)
    bits = opened.tag_v2.get(BITSPERSAMPLE, (1,))
    if 1 < bits[0] < 8 and opened.mode == "L":
        notices += (f"{bits[0]}-bit grey is written with 8 bits",)
    traits = _traits(opened)
    compression = "raw" if is_deep else traits.usable_compression
    described, malformed = without_malformed(traits.tags, compression)
    traits = replace(traits, tags=described)
    tags, lost = further_tags(opened.tag_v2, compression)
    record, tags = _without_record(tags)
    return Inspection(
        notices + notices_of_lost(malformed + lost), traits, exif_of_tags(traits.tags), tags, record
    )


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


def _check_pages(opened: TiffImageFile) -> tuple[str, ...]:
    """Refuse several pages and previews; a page that is a smaller copy of the first (an overview) is none."""
    tags = opened.tag_v2
    if _DNG_VERSION in tags or tags.get(_NEW_SUBFILE_TYPE, 0) & 1:
        raise UnsupportedImageError("the TIFF holds a preview of a raw picture", "develop it to TIFF first")
    if "ImageJ=" in str(description := tags.get(IMAGEDESCRIPTION, "")) and "\nimages=" in str(description):
        raise _several_pages()
    overviews = 0
    with suppress(EOFError):  # to ask Pillow for the number of pages takes the square of that number
        while True:
            opened.seek(overviews + 1)
            overviews += 1
            if overviews > MOST_OVERVIEWS or not opened.tag_v2.get(_NEW_SUBFILE_TYPE, 0) & 1:
                raise _several_pages()
    opened.seek(0)
    return ("its overviews are left out",) if overviews else ()


def _several_pages() -> UnsupportedImageError:
    return UnsupportedImageError("the TIFF holds several pages", "save each page as a file of its own")


def _check_samples(opened: TiffImageFile) -> None:
    """Refuse samples that Pillow cuts to 8 bits, reinterprets or leaves out."""
    tags = opened.tag_v2
    bits, extra = tags.get(BITSPERSAMPLE, (1,)), tags.get(EXTRASAMPLES, ())
    formats = set(tags.get(SAMPLEFORMAT, (_UNSIGNED,)))
    if formats - {_UNSIGNED} and not (formats == {_FLOAT} and opened.mode == "F"):
        raise UnsupportedImageError("TIFF with signed samples is not carried", "convert to unsigned samples")
    if opened.mode == "I;16" and bits[0] != 16:
        raise UnsupportedImageError(f"{bits[0]}-bit grey TIFF is not carried yet", "convert it to 16 bits")
    if _PREMULTIPLIED in extra:
        raise UnsupportedImageError(
            "TIFF with premultiplied alpha is not carried", "save it with straight alpha"
        )
    if _UNKNOWN_SAMPLE in extra or len(extra) > 1:
        raise UnsupportedImageError("TIFF with extra channels is not carried", "save it without them")
    if max(bits) > 8 and len(bits) > 1:
        raise UnsupportedImageError(
            f"this kind of {max(bits)}-bit colour TIFF is not carried yet", "convert it to plain RGB first"
        )
    if tags.get(PHOTOMETRIC_INTERPRETATION) == _WHITE_IS_ZERO and max(bits) > 8:
        raise UnsupportedImageError(
            "TIFF whose zero is white, above 8 bits, is not carried yet", "invert it first"
        )


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


def _open(stream: BinaryIO) -> DeepTiff | None:
    """A TIFF whose samples Pillow does not know, if they are known here."""
    stream.seek(0)
    if not stream.read(4).startswith(_HEADERS):
        return None
    stream.seek(0)
    try:
        opened = DeepTiff(stream)  # type: ignore[no-untyped-call,unused-ignore]
        return opened if deep_samples(opened) is not None else None
    except MALFORMED:
        return None


def _decode(opened: ImageFile.ImageFile, stream: BinaryIO) -> tuple[NDArray[Any], NDArray[Any] | None] | None:
    assert isinstance(opened, TiffImageFile)
    if (samples := deep_samples(opened)) is None:
        with SILENT_LIBRARIES:  # libtiff prints what it finds wrong
            opened.load()
        return None
    values = decode_samples(opened, stream, samples)
    if (orientation := opened.tag_v2.get(ORIENTATION, 1)) != 1:
        values = turned(values, orientation)
        _drop_orientation(opened, orientation)
    intensities = values[..., 0] if samples.colours == 1 else values[..., :3]
    alpha = np.ascontiguousarray(values[..., -1]) if samples.has_alpha else None
    return np.ascontiguousarray(intensities), alpha


def _drop_orientation(opened: TiffImageFile, orientation: int) -> None:
    """Take it from the XMP data too, as Pillow does where it turns the pixels itself."""
    if "xmp" in opened.info:
        single = Image.new("L", (1, 1))
        single.info["xmp"] = opened.info["xmp"]
        single.getexif()[ORIENTATION] = orientation
        ImageOps.exif_transpose(single, in_place=True)
        opened.info["xmp"] = single.info["xmp"]


def _encode(picture: Picture, options: Mapping[str, Any]) -> bytes | None:
    if picture.kind not in ("LA;16", "RGB;16", "RGBA;16", "RGBF", "F;16", "RGBF;16"):
        return None
    compression = picture.traits.compression if isinstance(picture.traits, TiffTraits) else _DEFLATE
    frame = BytesIO()
    Image.new("L", (1, 1)).save(frame, "TIFF", **{**options, "compression": "raw"})
    planes = (picture.intensities, *(() if picture.alpha is None else (picture.alpha,)))
    has_alpha = picture.alpha is not None
    return encode_samples(frame.getvalue(), np.dstack(planes), has_alpha=has_alpha, compression=compression)


def _explain(stream: BinaryIO) -> UnsupportedImageError | None:
    """What Pillow does not know of a TIFF: its samples, or its kind of header."""
    stream.seek(0)
    header = stream.read(16)
    if header.startswith(_BIG_AND_BIG_ENDIAN):
        return UnsupportedImageError("big-endian BigTIFF is not carried yet", "save it as a plain TIFF")
    if not header.startswith(_HEADERS):
        return None
    try:
        tags = ImageFileDirectory_v2(header if header.startswith(_BIG) else header[:8])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            stream.seek(tags.next)
            tags.load(stream)
            bits, formats = tags[BITSPERSAMPLE], tags.get(SAMPLEFORMAT, (_UNSIGNED,))
    except MALFORMED:
        return None
    kind = _SAMPLE_NAMES.get(formats[0], "other")
    what = "colour TIFF" if len(bits) > 1 else "TIFF"
    is_float = kind == "float" and len(bits) in (1, 3)
    remedy = "save it as 32-bit float" if is_float else "save it as 8-bit or 16-bit integers"
    return UnsupportedImageError(f"{max(bits)}-bit {kind} {what} is not carried yet", remedy)


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
    explain=_explain,
    strip=_strip,
    open=_open,
    decode=_decode,
    encode=_encode,
)
