"""Writing images: checks what a format can hold, encodes, and replaces the target atomically."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from tvdenoise.errors import UnreadableImageError, UnsupportedImageError, UnwritableImageError
from tvdenoise.files.atomic import write_atomically
from tvdenoise.files.decoded import NODATA_TAG, PIXEL_KINDS, DecodedImage, Metadata
from tvdenoise.files.opening import opened_image
from tvdenoise.files.pillow import PILLOW_SETTINGS, encoded
from tvdenoise.files.stack import Stack
from tvdenoise.formats.family import METADATA_NAMES, Format
from tvdenoise.formats.registry import FAMILIES, FORMATS, formats_for_kind
from tvdenoise.formats.thumbnails import (
    Miniature,
    announces_gain_map,
    notes_of_dropped,
    renewed_exif,
    renewed_xmp,
    without_gain_map,
)
from tvdenoise.formats.tiff.directories import MALFORMED, ORIENTATION, orientation_of

# The modes in which Pillow may reopen an image written in another mode, by kind, or by the kind without its depth.
_REOPENED = {
    "I;16": {"I;16", "I;16B", "I", "L"},  # the last with a LUT
    "L": {"L", "RGB"},
    "L;": {"L", "I"},
    "LA": {"LA", "RGBA"},
    "CMYKA": {"CMYK"},
    "F;": {"L"},
    "FA": {"LA"},
    "RGBF": {"RGB"},
    "RGBFA": {"RGBA"},
    **{name: {"L", "I", "I;16", "I;16B", "F", "RGB", "RGBX", "RGBA"} for name in ("MULTI", "MULTIF")},
    **{name: {"LA", "RGBA"} for name in ("MULTIA", "MULTIFA")},
}
_ON_ITS_SIDE = range(5, 9)
_TURNED = frozenset({"TIFF", "HEIF"})  # codecs whose images are turned when they are read


def require_carried(image: DecodedImage, form: Format) -> None:
    """Raise UnsupportedImageError unless the format can hold the image's size and kind of pixels."""
    require_kind_carried((image.kind,), image.codec, image.size, form)


def require_kind_carried(kinds: Sequence[str], codec: str, size: tuple[int, int], form: Format) -> None:
    """Raise UnsupportedImageError unless the format can hold the size and one of the possible kinds of pixels.

    codec: of the source; size: columns and rows.
    """
    held = form.kinds | (form.approximates if codec == form.codec else frozenset())
    if not held & set(kinds):
        kind = kinds[0]
        names = " or ".join(formats_for_kind(kind)[:3])
        extension = next(f.extensions[0] for f in FORMATS if kind in f.kinds)
        raise UnsupportedImageError(
            f"{form.name} cannot hold {PIXEL_KINDS[kind]}",
            f"choose {names} with -o NAME{extension}",
        )
    if form.longest_side is not None and max(size) > form.longest_side:
        columns, rows = size
        raise UnsupportedImageError(
            f"{form.name} holds at most {form.longest_side} columns and rows, not {columns} × {rows}",
            "choose another format with -o",
        )


def without_metadata(image: DecodedImage) -> DecodedImage:
    """Return the image with only the metadata that affect its look: profile, orientation, the value for missing."""
    stated = image.metadata
    missing = {tag: value for tag, value in stated.tags.items() if tag == NODATA_TAG}
    metadata = Metadata(icc=stated.icc, exif=_orientation_alone(stated.exif), tags=missing)
    traits = image.traits
    if traits is not None:
        traits = FAMILIES[image.codec].strip(traits)
    return replace(image, metadata=metadata, traits=traits)


def _orientation_alone(contents: bytes | None) -> bytes | None:
    """Return EXIF data with only the orientation, or None if the image is upright."""
    if (orientation := orientation_of(contents)) == 1:
        return None
    kept = Image.Exif()
    kept[ORIENTATION] = orientation
    return kept.tobytes().removeprefix(b"Exif\0\0")


def with_record(image: DecodedImage, form: Format, record: str) -> DecodedImage:
    """Add the record of how the image was denoised, if the format can hold it."""
    kept = record if "record" in form.carries else None
    return replace(image, metadata=replace(image.metadata, record=kept))


def with_new_copies(
    image: DecodedImage, form: Format, *, is_whole: bool = True
) -> tuple[DecodedImage, tuple[str, ...]]:
    """Make the small copies of an image in its metadata anew; return notes about those that are dropped instead.

    XMP data announce an HDR gain map only where it is written too. is_whole: the pixels are those of the whole image;
    otherwise all copies are dropped.
    """
    family, metadata = FAMILIES[form.codec], image.metadata
    miniature = Miniature(image if is_whole else None, is_turned=image.codec in _TURNED)
    traits: object = image.traits
    notes: tuple[str, ...] = ()
    if form.codec == image.codec:
        traits, notes = family.renew(image, miniature)
    if metadata.exif:
        exif = renewed_exif(metadata.exif, miniature)
        metadata, notes = replace(metadata, exif=exif.contents), (*notes_of_dropped(exif.dropped), *notes)
    if metadata.xmp:
        xmp = renewed_xmp(metadata.xmp, miniature)
        metadata, notes = replace(metadata, xmp=xmp.contents), (*notes_of_dropped(xmp.dropped), *notes)
        if announces_gain_map(xmp.contents) and not family.keeps_gain_map(image):
            metadata = replace(metadata, xmp=without_gain_map(xmp.contents))
            notes = (*notes, "what its XMP data say of a gain map is dropped")
    return replace(image, metadata=metadata, traits=traits), tuple(dict.fromkeys(notes))


def lost_metadata(image: DecodedImage, form: Format) -> tuple[str, ...]:
    """Return notes about metadata that the format cannot hold, and about losses in the pixels."""
    metadata = image.metadata
    lost = [_named(name, metadata) for name in METADATA_NAMES if name in metadata.present - form.carries]
    notes = [f"{form.name} has no place for its {', '.join(lost)}"] if lost else []
    for name, largest in form.largest.items():
        if (length := len(getattr(metadata, name) or b"")) > largest:
            what = f"{largest:,} bytes of {METADATA_NAMES[name]}"
            notes.append(f"{form.name} holds at most {what}, and its {length:,} are dropped")
    notes += metadata.elsewhere if form.codec != image.codec else ()
    becomes_straight = image.is_premultiplied and image.codec != form.codec and image.opaque is not None
    notes += ["its premultiplied alpha is written as straight alpha"] * becomes_straight
    notes += ["its 1-bit pixels are written as 8-bit grey"] * (image.is_bilevel and not form.holds_bilevel)
    return (*notes, *FAMILIES[form.codec].losses(image))


def _named(name: str, metadata: Metadata) -> str:
    numbers = f" {', '.join(map(str, sorted(metadata.tags)))}" if name == "tags" else ""
    return METADATA_NAMES[name] + numbers


def _sizes(image: DecodedImage) -> set[tuple[int, int]]:
    """Return the sizes that a reader may find, depending on whether it applies the orientation."""
    is_on_its_side = orientation_of(image.metadata.exif) in _ON_ITS_SIDE
    return {image.size, image.size[::-1]} if is_on_its_side else {image.size}


@contextmanager
def encoder_errors(form: Format) -> Iterator[None]:
    """Turn any exception of an encoder inside, except disk errors, into UnwritableImageError."""
    try:
        yield
    except MALFORMED as error:
        if isinstance(error, OSError) and error.errno:  # a disk error
            raise
        raise UnwritableImageError(
            f"cannot encode it as {form.name}: {error}", "choose another format with -o"
        ) from error


def encode(image: DecodedImage, form: Format, quality: int | None = None) -> bytes:
    """Return the contents of a file. Raises UnsupportedImageError and UnwritableImageError."""
    require_carried(image, form)
    image = _fitting(image, form)
    family = FAMILIES[form.codec]
    options = {**family.options(image, quality), **form.options}
    with encoder_errors(form), PILLOW_SETTINGS:
        if (deep := family.encode(image, options)) is not None:
            return deep
        return encoded(image, form.codec, options)


def _fitting(image: DecodedImage, form: Format) -> DecodedImage:
    """Return an image as 8-bit grey if the format holds no 1-bit images, and with straight alpha in another format."""
    if image.is_premultiplied and image.codec != form.codec:
        image = image.straight()
    return replace(image, is_bilevel=False) if image.is_bilevel and not form.holds_bilevel else image


def write(
    image: DecodedImage,
    target: Path,
    form: Format,
    quality: int | None = None,
    *,
    before: Callable[[Path], None] | None = None,
    times: tuple[int, int] | None = None,
) -> None:
    """Encode an image and replace the target with it; raises as `encode` and `write_atomically`.

    before: called with the path of the written file, just before it replaces the target; may raise.
    times: see `write_atomically`.
    """
    contents = encode(image, form, quality)

    def verify(written: Path) -> None:
        require_readable(written, image, form)
        if before is not None:
            before(written)

    write_atomically(target, contents, verify, times)


def require_readable(
    written: Path, image: DecodedImage, form: Format, count: int = 1, size: tuple[int, int] | None = None
) -> None:
    """Raise UnwritableImageError unless a file reads as ``count`` images of the given size and kind.

    size: columns and rows, if they differ from the image's.
    """
    palette = {"P", "L"} if form.approximates else set()
    name, deep, _ = image.kind.partition(";")
    keys = (image.kind, name + deep, name)
    expected = next((_REOPENED[key] for key in keys if key in _REOPENED), {name}) | palette
    if image.is_bilevel and form.holds_bilevel:
        expected = {"1"}
    if form.codec == "WEBP":  # which drops alpha if every pixel is opaque
        expected = expected | {"RGB"}
    several = FAMILIES[form.codec].several
    try:
        with written.open("rb") as stream, opened_image(stream) as reopened:
            found_size, mode = reopened.size, reopened.mode
            series = several.survey(reopened, stream) if several is not None else None
    except UnreadableImageError as error:
        raise UnwritableImageError(f"the written file cannot be read: {error.reason}") from error
    if found_size not in (_sizes(image) if size is None else {size}) or mode not in expected:
        columns, rows = found_size
        raise UnwritableImageError(f"the written file reads as {mode} of {columns} × {rows} pixels")
    if (found := 1 if series is None else series.count) != count:
        raise UnwritableImageError(f"the written file reads as {found} images, not {count}")


_FIRST_ALONE = "or use only the first with --first-frame"


def require_several_carried(form: Format, count: int, codec: str) -> None:
    """Raise UnsupportedImageError unless a format can hold the images of a file of a codec: pages or frames."""
    remedy = f"keep the format of the input, {_FIRST_ALONE}"
    source, several = FAMILIES[codec].several, FAMILIES[form.codec].several
    assert source is not None
    if several is None:
        raise UnsupportedImageError(f"{form.name} holds one image, and the file has {count}", remedy)
    if source.is_of_frames != several.is_of_frames:
        what, other = ("animations", "pages") if source.is_of_frames else ("pages", "animations")
        raise UnsupportedImageError(f"{form.name} holds {other}, not {what}", remedy)


def require_stack_carried(stack: Stack, form: Format) -> None:
    """Raise UnsupportedImageError unless the format can hold all images of a stack, and their timing."""
    require_several_carried(form, stack.count, stack.codec)
    require_carried(stack.first, form)


@dataclass(frozen=True, eq=False)
class StackWriter:
    """Writes the denoised images of a stack; see `write`."""

    stack: Stack
    form: Format
    quality: int | None = None

    def write_to(self, stream: BinaryIO, images: Iterable[DecodedImage]) -> None:
        """Write to an empty seekable stream. Raises UnsupportedImageError and UnwritableImageError."""
        several = FAMILIES[self.form.codec].several
        assert several is not None
        try:
            with encoder_errors(self.form), PILLOW_SETTINGS:
                several.write(self.stack.series, self._carried(images), stream, self.quality)
        except _ImagesError as error:
            raise error.cause from None

    def write(
        self,
        target: Path,
        images: Iterable[DecodedImage],
        *,
        before: Callable[[Path], None] | None = None,
        times: tuple[int, int] | None = None,
    ) -> None:
        """Write a temporary file and replace the target with it; see `writing.write`."""

        def verify(written: Path) -> None:
            require_readable(written, self.stack.first, self.form, self.stack.count)
            if before is not None:
                before(written)

        write_atomically(target, lambda stream: self.write_to(stream, images), verify, times)

    def _carried(self, images: Iterable[DecodedImage]) -> Iterator[DecodedImage]:
        try:
            for image in images:
                require_carried(image, self.form)
                yield _fitting(image, self.form)
        except MALFORMED as error:
            raise _ImagesError(error) from error


class _ImagesError(Exception):
    """An error in producing the images, not in encoding them."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause
