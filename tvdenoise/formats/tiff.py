"""TIFF: refuses what Pillow would cut, flatten or reinterpret, and keeps the tags that describe it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL import Image, ImageFile, ImageOps
from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    IMAGEDESCRIPTION,
    PHOTOMETRIC_INTERPRETATION,
    PLANAR_CONFIGURATION,
    X_RESOLUTION,
    TiffImageFile,
)

from tvdenoise.errors import UnsupportedImageError
from tvdenoise.files.decoded import PIXEL_KINDS, DecodedImage, StoredTag, record_in, without_record
from tvdenoise.files.pillow import SILENT_LIBRARIES
from tvdenoise.formats.family import Family, Format, Inspection, Several
from tvdenoise.formats.tiff_axes import description_of, with_colours_last
from tvdenoise.formats.tiff_checks import check_samples, explain, require_no_preview
from tvdenoise.formats.tiff_decoding import decode_samples, require_segments, turned
from tvdenoise.formats.tiff_directories import texts_in
from tvdenoise.formats.tiff_fields import DIRECTORIES
from tvdenoise.formats.tiff_opening import open_tiff
from tvdenoise.formats.tiff_region_writing import TiffRegionWriter
from tvdenoise.formats.tiff_regions import TiffRegions, regions_of
from tvdenoise.formats.tiff_samples import SEPARATE_PLANES, deep_samples
from tvdenoise.formats.tiff_screening import screen
from tvdenoise.formats.tiff_series import overview_notices, page_of, survey
from tvdenoise.formats.tiff_tags import (
    ON_THEIR_SIDE,
    ORIENTATION,
    descriptive_tags,
    exif_of_tags,
    further_tags,
    notices_of_lost,
    with_sides_exchanged,
    without_malformed,
)
from tvdenoise.formats.tiff_writing import (
    ASCII,
    DEFLATE,
    PROCESSING_SOFTWARE,
    TiffTraits,
    encode,
    options,
    write_pages,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


_LOSSLESS = ("raw", "packbits", "tiff_lzw", DEFLATE, "zstd", "lzma")
_MAY_BE_MISSING = "webp"  # in the library that Pillow has
_YCBCR = 6
_SAME_AS_DEFLATE = "tiff_deflate"  # under its older number
_IMAGEJ_METADATA, _IMAGEJ_LENGTHS = 50839, 50838  # numbers and texts in the byte order of the file


def _inspect(opened: ImageFile.ImageFile, stream: BinaryIO) -> Inspection:
    assert isinstance(opened, TiffImageFile)
    require_no_preview(opened)
    if X_RESOLUTION not in opened.tag_v2:
        opened.info.pop("dpi", None)  # Pillow says one dot per inch where nothing is said
    notices = overview_notices(stream)
    if (samples := deep_samples(opened)) is None:
        check_samples(opened)
    if opened.tag_v2.get(ORIENTATION, 1) in ON_THEIR_SIDE and "dpi" in opened.info:
        opened.info["dpi"] = opened.info["dpi"][::-1]
    traits = _traits(opened, stream)
    if samples is not None and samples.white_is_zero and samples.dtype.kind == "f":
        traits = replace(traits, white_is_zero=True)
    notices += _notices(opened, traits)
    described, malformed = without_malformed(traits.tags, "raw")
    texts = texts_in(stream, IMAGEDESCRIPTION)
    if len(texts) > 1:  # of which some versions of Pillow give the last
        described = {**described, IMAGEDESCRIPTION: texts[0].removesuffix(b"\0").decode("latin-1")}
    if opened.tag_v2.get(PLANAR_CONFIGURATION) == SEPARATE_PLANES and IMAGEDESCRIPTION in described:
        colours = len(opened.tag_v2.get(BITSPERSAMPLE, (1,)))
        text = with_colours_last(str(described[IMAGEDESCRIPTION]), colours)
        described = {**described, IMAGEDESCRIPTION: text}
    traits = replace(traits, tags=described, descriptions=texts[1:])
    tags, lost = further_tags(opened.tag_v2, "raw")
    if _IMAGEJ_METADATA in tags and opened.tag_v2.prefix == b"MM":
        traits = replace(traits, order=">")
    record, tags = _without_record(tags)
    return Inspection(
        notices + notices_of_lost(malformed + lost),
        traits,
        exif_of_tags(traits.tags),
        tags,
        record,
        elsewhere=("its further descriptions are left out",) if traits.descriptions else (),
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
    kind, text = tags.get(PROCESSING_SOFTWARE, (ASCII, ""))
    record = record_in(text) if isinstance(text, str) else None
    if record is None:
        return None, tags
    tags = {tag: value for tag, value in tags.items() if tag != PROCESSING_SOFTWARE}
    return record, tags | ({PROCESSING_SOFTWARE: (kind, rest)} if (rest := without_record(text)) else {})


def _strip(traits: object) -> object:
    assert isinstance(traits, TiffTraits)
    return replace(traits, tags={}, descriptions=())


def _traits(opened: TiffImageFile, stream: BinaryIO) -> TiffTraits:
    tags = dict(descriptive_tags(opened.getexif(), stream))
    if tags.pop(ORIENTATION, 1) in ON_THEIR_SIDE:  # Pillow turns the pixels of a TIFF while it decodes them
        tags = with_sides_exchanged(tags)
    compression = str(opened.info.get("compression", "raw"))
    return TiffTraits(tags, compression) if compression in _LOSSLESS else TiffTraits(tags)


def _decode(opened: ImageFile.ImageFile, stream: BinaryIO) -> tuple[NDArray[Any], NDArray[Any] | None] | None:
    assert isinstance(opened, TiffImageFile)
    if (samples := deep_samples(opened)) is None:
        require_segments(opened, stream)
        with SILENT_LIBRARIES:  # libtiff prints what it finds wrong
            _load(opened)
        return None
    values = decode_samples(opened, stream, samples)
    if (orientation := opened.tag_v2.get(ORIENTATION, 1)) != 1:
        values = turned(values, orientation)
        _drop_orientation(opened, orientation)
    alpha = np.ascontiguousarray(values[..., -1]) if samples.has_alpha else None
    return samples.intensities(values), alpha


def _load(opened: TiffImageFile) -> None:
    for directory in DIRECTORIES:
        opened.getexif().pop(
            directory, None
        )  # into which Pillow would look again, and fail where a link is wrong
    try:
        opened.load()
    except OSError as error:
        if opened.info.get("compression") == _MAY_BE_MISSING:
            name = str(_MAY_BE_MISSING).upper()
            raise UnsupportedImageError(
                f"TIFF with {name} compression is not carried", "save it with LZW or deflate"
            ) from error
        raise


def _regions(opened: ImageFile.ImageFile, stream: BinaryIO) -> TiffRegions | None:
    assert isinstance(opened, TiffImageFile)
    found = regions_of(opened, stream)
    if (orientation := opened.tag_v2.get(ORIENTATION, 1)) != 1:
        _drop_orientation(opened, orientation)
    return found


def _drop_orientation(opened: TiffImageFile, orientation: int) -> None:
    """Take it from the XMP data too, as Pillow does where it turns the pixels itself."""
    if "xmp" in opened.info:
        single = Image.new("L", (1, 1))
        single.info["xmp"] = opened.info["xmp"]
        single.getexif()[ORIENTATION] = orientation
        ImageOps.exif_transpose(single, in_place=True)
        opened.info["xmp"] = single.info["xmp"]


def _alone(picture: DecodedImage) -> DecodedImage:
    """The first page, without what describes all of them."""
    traits = picture.traits
    assert isinstance(traits, TiffTraits)
    tags, described = dict(traits.tags), [each.decode("latin-1") for each in traits.descriptions]
    if IMAGEDESCRIPTION in tags:
        described.insert(0, str(tags.pop(IMAGEDESCRIPTION)))
    true = [text for text in described if not _is_of_stack(text)]
    further = {_IMAGEJ_METADATA, _IMAGEJ_LENGTHS} & set(picture.metadata.tags)
    if true == described and not further:
        return picture
    if true:
        tags[IMAGEDESCRIPTION] = true[0]
    kept = {tag: value for tag, value in picture.metadata.tags.items() if tag not in further}
    metadata = replace(picture.metadata, tags=kept, exif=exif_of_tags(tags))
    notices = (*picture.notices, "what describes the stack is left out")
    traits = replace(traits, tags=tags, descriptions=tuple(text.encode("latin-1") for text in true[1:]))
    return replace(picture, traits=traits, metadata=metadata, notices=notices)


def _is_of_stack(description: str) -> bool:
    try:
        return description_of(description.rstrip("\0")).is_of_stack
    except UnsupportedImageError:  # of one that is spread over several files
        return True


FAMILY = Family(
    formats=(
        Format(
            "TIFF",
            "TIFF",
            (".tif", ".tiff"),
            kinds=frozenset(PIXEL_KINDS),
            carries=frozenset({"icc", "exif", "xmp", "dpi", "tags", "record"}),
            several="pages",
        ),
    ),
    inspect=_inspect,
    options=options,
    screen=screen,
    explain=explain,
    strip=_strip,
    open=open_tiff,
    decode=_decode,
    encode=encode,
    regions=_regions,
    region_writer=TiffRegionWriter,
    several=Several(survey, write_pages, page=page_of, alone=_alone),
)
