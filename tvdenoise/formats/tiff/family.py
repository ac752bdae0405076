"""TIFF: refuses pixels that would be truncated, flattened or reinterpreted, and keeps the tags that describe an image.

Pillow reads the header and decodes what it decodes correctly; tifffile decodes the rest, and parts of files.
"""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO

from PIL import Image, ImageFile, ImageOps
from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    COLORMAP,
    COMPRESSION,
    IMAGEDESCRIPTION,
    PHOTOMETRIC_INTERPRETATION,
    PHOTOSHOP_CHUNK,
    PLANAR_CONFIGURATION,
    STRIPBYTECOUNTS,
    STRIPOFFSETS,
    TILEBYTECOUNTS,
    TILEOFFSETS,
    X_RESOLUTION,
    TiffImageFile,
)

from tvdenoise.errors import UnsupportedImageError
from tvdenoise.files.decoded import PIXEL_KINDS, DecodedImage, StoredTag, record_in, without_record
from tvdenoise.files.pillow import SILENT_LIBRARIES, is_bilevel
from tvdenoise.formats.family import Family, Format, Inspection, Several
from tvdenoise.formats.thumbnails import Miniature, notes_of_dropped, renewed_resources
from tvdenoise.formats.tiff.directories import (
    ASCII,
    DIRECTORIES,
    ORIENTATION,
    Field,
    directories,
    fields_in,
    notes_of_lost,
    screen,
    stored,
    tags_in,
    truncated,
    with_sides_exchanged,
)
from tvdenoise.formats.tiff.overviews import overviews_of, whole_tile
from tvdenoise.formats.tiff.pages import (
    description_of,
    descriptions_in,
    is_of_aperio,
    notes_of_left_out,
    page_of,
    spacing_stated,
    survey,
    with_colours_last,
)
from tvdenoise.formats.tiff.samples import (
    COMPRESSIONS,
    FAX_COMPRESSIONS,
    SAME_AS_DEFLATE,
    SEPARATE_PLANES,
    WHITE_IS_ZERO,
    check_samples,
    deep_samples,
    directory_of,
    explain,
    open_tiff,
    require_no_preview,
    without_lut,
)
from tvdenoise.formats.tiff.segments import TiffRegions, decoded, regions_of
from tvdenoise.formats.tiff.writing import (
    DEFLATE,
    GROUP_4,
    PROCESSING_SOFTWARE,
    TiffRegionWriter,
    TiffTraits,
    encode,
    exif_of,
    options,
    text_field,
    write_pages,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

logging.getLogger("tifffile").addHandler(logging.NullHandler())  # otherwise it prints some warnings
_MAY_BE_MISSING = "webp"  # in Pillow's libtiff
_YCBCR = 6
_SUB_DIRECTORIES = 330
_ON_THEIR_SIDE = (5, 6, 7, 8)  # orientations
_IMAGEJ_METADATA, _IMAGEJ_LENGTHS = 50839, 50838  # numbers and texts in the file's byte order
_PLACES = (STRIPOFFSETS, TILEOFFSETS), (STRIPBYTECOUNTS, TILEBYTECOUNTS)


def _plain(opened: ImageFile.ImageFile, stream: BinaryIO) -> ImageFile.ImageFile:
    return without_lut(opened, stream) if isinstance(opened, TiffImageFile) else opened


def _check(opened: ImageFile.ImageFile, stream: BinaryIO) -> None:
    assert isinstance(opened, TiffImageFile)
    if not is_of_aperio(stream):  # whose label is stored like a preview
        require_no_preview(opened.tag_v2)
    if deep_samples(opened.tag_v2) is None:
        check_samples(opened)


def _inspect(opened: ImageFile.ImageFile, stream: BinaryIO) -> Inspection:
    assert isinstance(opened, TiffImageFile)
    if X_RESOLUTION not in opened.tag_v2:
        opened.info.pop("dpi", None)  # Pillow's default of one dot per inch
    samples = deep_samples(opened.tag_v2)
    directory = next(directories(stream))
    tags, further, lost = tags_in(stream, directory)
    lost = [tag for tag in lost if tag != _SUB_DIRECTORIES]  # noted with the overviews
    tags.pop(ORIENTATION, None)  # decoding applies it
    if opened.tag_v2.get(ORIENTATION, 1) in _ON_THEIR_SIDE:
        tags = with_sides_exchanged(tags)
        if "dpi" in opened.info:
            opened.info["dpi"] = opened.info["dpi"][::-1]
    in_bands = samples is not None and samples.in_bands
    is_planar = opened.tag_v2.get(PLANAR_CONFIGURATION) == SEPARATE_PLANES
    if is_planar and not in_bands and IMAGEDESCRIPTION in tags:
        colours = len(opened.tag_v2.get(BITSPERSAMPLE, (1,)))
        text = with_colours_last(tags[IMAGEDESCRIPTION].text, colours)
        tags[IMAGEDESCRIPTION] = text_field(IMAGEDESCRIPTION, text)
    compression = str(opened.info.get("compression", "raw"))
    has_bits = is_bilevel(opened)
    white_is_zero = samples is not None and samples.keeps_white
    if has_bits:
        white_is_zero = opened.tag_v2.get(PHOTOMETRIC_INTERPRETATION) == WHITE_IS_ZERO
    keeps_order = _IMAGEJ_METADATA in further or (samples is not None and samples.is_native)
    overviews, notes_of_overviews = overviews_of(stream, GROUP_4 if has_bits else DEFLATE)
    traits = TiffTraits(
        tags,
        compression=GROUP_4 if has_bits else DEFLATE,
        white_is_zero=white_is_zero,
        order=">" if opened.tag_v2.prefix == b"MM" and keeps_order else "<",
        descriptions=descriptions_in(stream)[1:],
        bands=(samples.photometric, samples.extra) if samples is not None and in_bands else None,
        is_planar=is_planar and in_bands,
        colour_map=_colour_map_in(stream) if samples is not None and samples.has_lut else None,
        tile=whole_tile(directory),
        overviews=overviews,
    )
    if compression in COMPRESSIONS or (has_bits and compression in FAX_COMPRESSIONS):
        traits = replace(traits, compression=compression)
    record, further = _without_record(further)
    return Inspection(
        notes_of_left_out(stream) + notes_of_overviews + _notes(opened, traits) + notes_of_lost(lost),
        traits,
        exif_of(tags),
        further,
        record,
        elsewhere=(
            *("its further descriptions are dropped",) * bool(traits.descriptions),
            *("its colour map (LUT) is dropped: the result is grey",) * (traits.colour_map is not None),
            *("its overviews are dropped",) * bool(overviews),
        ),
        in_bands=in_bands,
        is_premultiplied=samples is not None and samples.is_premultiplied,
    )


def _colour_map_in(stream: BinaryIO) -> Field | None:
    return next(iter(fields_in(stream, {COLORMAP}.__contains__)), None)


def _notes(opened: TiffImageFile, traits: TiffTraits) -> tuple[str, ...]:
    """Return notes about what will not be written as it is stored."""
    notes = []
    bits = opened.tag_v2.get(BITSPERSAMPLE, (1,))
    samples = deep_samples(opened.tag_v2)
    if samples is not None and samples.is_packed:
        notes.append(f"its {samples.bits}-bit values are kept, and written with 16 bits")
    elif 1 < bits[0] < 8 and opened.mode == "L":
        notes.append(f"{bits[0]}-bit grey is written with 8 bits")
    compression = str(opened.info.get("compression", "raw"))
    is_same = compression in COMPRESSIONS or opened.tag_v2.get(COMPRESSION) == SAME_AS_DEFLATE
    is_same = is_same or (is_bilevel(opened) and compression in FAX_COMPRESSIONS)
    if not is_same:
        name = compression.removeprefix("tiff_").upper()
        other = "Group 4" if is_bilevel(opened) else "deflate"
        notes.append(f"its {name} compression is replaced by {other}")
    elif opened.tag_v2.get(PHOTOMETRIC_INTERPRETATION) == _YCBCR:
        notes.append("its YCbCr colours are written as RGB")
    if traits.white_is_zero and not is_bilevel(opened):
        notes.append("its zero is white, which only TIFF can state: values are kept as they are")
    return tuple(notes)


def _without_record(tags: dict[int, StoredTag]) -> tuple[str | None, dict[int, StoredTag]]:
    """Return the record in its tag, or None, and the tags without it."""
    kind, contents = tags.get(PROCESSING_SOFTWARE, (ASCII, b""))
    text = contents.removesuffix(b"\0").decode("latin-1")
    record = record_in(text) if kind == ASCII else None
    if record is None:
        return None, tags
    kept = {tag: value for tag, value in tags.items() if tag != PROCESSING_SOFTWARE}
    if rest := without_record(text):
        kept[PROCESSING_SOFTWARE] = stored(text_field(PROCESSING_SOFTWARE, rest))
    return record, kept


def _strip(traits: object) -> object:
    assert isinstance(traits, TiffTraits)
    overviews = tuple(overview.without_metadata() for overview in traits.overviews)
    return replace(traits, tags={}, descriptions=(), overviews=overviews)


def _renew(image: DecodedImage, miniature: Miniature) -> tuple[object, tuple[str, ...]]:
    """Renew the thumbnail among Photoshop's resources."""
    traits = image.traits
    if not isinstance(traits, TiffTraits) or PHOTOSHOP_CHUNK not in traits.tags:
        return traits, ()
    field = traits.tags[PHOTOSHOP_CHUNK]
    assert isinstance(field.contents, bytes)
    renewed = renewed_resources(field.contents, miniature)
    tags = {**traits.tags, PHOTOSHOP_CHUNK: replace(field, contents=renewed.contents)}
    return replace(traits, tags=tags), notes_of_dropped(renewed.dropped)


def _decode(opened: ImageFile.ImageFile, stream: BinaryIO) -> tuple[NDArray[Any], NDArray[Any] | None] | None:
    assert isinstance(opened, TiffImageFile)
    if deep_samples(opened.tag_v2) is None:
        _require_segments(opened, stream)
        with SILENT_LIBRARIES:  # libtiff prints errors
            _load(opened)
        return None
    intensities, alpha = decoded(opened, stream)
    _drop_orientation(opened)
    return intensities, alpha


def _require_segments(opened: TiffImageFile, stream: BinaryIO) -> None:
    """Raise UnreadableImageError if a compressed file ends before its tags or segments.

    libtiff, which decodes it for Pillow, would notice too, but print errors.
    """
    tags = opened.tag_v2
    if tags.get(COMPRESSION, 1) == 1:
        return
    offsets, lengths = (tags.get(strips, tags.get(tiles, ())) for strips, tiles in _PLACES)
    last = max((sum(place) for place in zip(offsets, lengths, strict=False)), default=0)
    if stream.seek(0, os.SEEK_END) < max(last, next(directories(stream)).link):
        raise truncated()


def _load(opened: TiffImageFile) -> None:
    for directory in DIRECTORIES:  # Pillow would read them again, and fail at an invalid link
        opened.getexif().pop(directory, None)
    try:
        opened.load()
    except OSError as error:
        if opened.info.get("compression") == _MAY_BE_MISSING:
            name = str(_MAY_BE_MISSING).upper()
            raise UnsupportedImageError(
                f"TIFF with {name} compression is not supported", "save it with LZW or deflate"
            ) from error
        raise


def _regions(opened: ImageFile.ImageFile, stream: BinaryIO) -> TiffRegions | None:
    assert isinstance(opened, TiffImageFile)
    found = regions_of(opened, stream)
    _drop_orientation(opened)
    return found


def _drop_orientation(opened: TiffImageFile) -> None:
    """Remove the orientation from XMP data too, as Pillow does when it applies it."""
    orientation = opened.tag_v2.get(ORIENTATION, 1)
    if orientation != 1 and "xmp" in opened.info:
        single = Image.new("L", (1, 1))
        single.info["xmp"] = opened.info["xmp"]
        single.getexif()[ORIENTATION] = orientation
        ImageOps.exif_transpose(single, in_place=True)
        opened.info["xmp"] = single.info["xmp"]


def _alone(image: DecodedImage) -> DecodedImage:
    """Return the first page without the metadata that describe the stack."""
    traits = image.traits
    assert isinstance(traits, TiffTraits)
    tags, described = dict(traits.tags), [each.decode("latin-1") for each in traits.descriptions]
    if IMAGEDESCRIPTION in tags:
        described.insert(0, tags.pop(IMAGEDESCRIPTION).text)
    true = [text for text in described if not _is_of_stack(text)]
    further = {_IMAGEJ_METADATA, _IMAGEJ_LENGTHS} & set(image.metadata.tags)
    if true == described and not further:
        return image
    if true:
        tags[IMAGEDESCRIPTION] = text_field(IMAGEDESCRIPTION, true[0])
    kept = {tag: value for tag, value in image.metadata.tags.items() if tag not in further}
    metadata = replace(image.metadata, tags=kept, exif=exif_of(tags))
    notes = (*image.notes, "the description of the stack is dropped")
    traits = replace(traits, tags=tags, descriptions=tuple(text.encode("latin-1") for text in true[1:]))
    return replace(image, traits=traits, metadata=metadata, notes=notes)


def _is_of_stack(description: str) -> bool:
    try:
        return description_of(description.rstrip("\0")).is_of_stack
    except UnsupportedImageError:  # a stack in several files
        return True


def _explain(stream: BinaryIO) -> UnsupportedImageError | None:
    stream.seek(0)
    return explain(directory_of(stream.read(16)), stream)


FAMILY = Family(
    formats=(
        Format(
            "TIFF",
            "TIFF",
            (".tif", ".tiff"),
            kinds=frozenset(PIXEL_KINDS),
            carries=frozenset({"icc", "exif", "xmp", "dpi", "tags", "record"}),
            several="pages",
            holds_bilevel=True,
        ),
    ),
    inspect=_inspect,
    options=options,
    screen=screen,
    explain=_explain,
    strip=_strip,
    open=open_tiff,
    plain=_plain,
    decode=_decode,
    encode=encode,
    regions=_regions,
    region_writer=TiffRegionWriter,
    several=Several(survey, write_pages, page=page_of, alone=_alone, spacing=spacing_stated),
    check=_check,
    renew=_renew,
)
