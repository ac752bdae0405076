"""JPEG 2000: lossless stays lossless, in JP2 files and bare codestreams, at 8 and 16 bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL import ImageFile

from tvdenoise.errors import UnsupportedImageError
from tvdenoise.files.families.jp2_codestream import (
    Codestream,
    codestream_at,
    require_all_tiles,
    text_comment,
    text_of,
    with_comments,
)
from tvdenoise.files.families.jp2_header import (
    SYCC,
    Jp2Boxes,
    KeptBox,
    boxed,
    boxes_of,
    without_colour_boxes,
)
from tvdenoise.files.formats import Family, Format, Inspection
from tvdenoise.files.picture import Picture
from tvdenoise.files.record import record_in

if TYPE_CHECKING:
    from numpy.typing import NDArray

_QUALITY = 95
_CODESTREAM = b"\xff\x4f\xff\x51"
_SPACES = {1: b"GRAY", 3: b"RGB "}
_OF_THE_ENCODER = ("Created by OpenJPEG", "Kakadu")
_BARE = "no_jp2"


@dataclass(frozen=True)
class Jp2Traits:
    """lossless: coded with the reversible transform; comments: but for the record and those of encoders, as stored.

    resolution: the contents of the box for it; boxes: of other programs, that come through.
    """

    lossless: bool = True
    comments: tuple[bytes, ...] = ()
    resolution: bytes = b""
    boxes: tuple[KeptBox, ...] = ()


def _parts(stream: BinaryIO) -> tuple[Jp2Boxes | None, Codestream]:
    """What stands around the codestream (None for a bare one), and its main header."""
    stream.seek(0)
    if stream.read(4) == _CODESTREAM:
        return None, codestream_at(stream, 0)
    around = boxes_of(stream)
    if len(around.codestreams) != 1:
        raise UnsupportedImageError(
            "the file holds several pictures or none", "save the one you want as a file of its own"
        )
    return around, codestream_at(stream, around.codestreams[0])


def _inspect(opened: ImageFile.ImageFile, stream: BinaryIO) -> Inspection:
    around, coded = _parts(stream)
    around = around or Jp2Boxes()
    if coded.size != opened.size:  # the decoder goes by the one, and the limit of pixels by the other
        raise ValueError("its header is not clear")
    _check(around, coded)
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
        _notices(around, coded),
        traits,
        exif=around.exif,
        record=records[-1] if records else None,
        elsewhere=_elsewhere(traits, has_dpi="dpi" in opened.info),
    )


def _check(around: Jp2Boxes, coded: Codestream) -> None:
    """Raise UnsupportedImageError for what cannot be decoded, or not be told from something else."""
    if coded.signed or len(set(coded.bits)) > 1 or coded.bits[0] > 16:
        raise UnsupportedImageError(
            "JPEG 2000 with signed or unequal samples, or above 16 bits, is not carried",
            "convert it to 8 or 16 bits",
        )
    is_plain = coded.bits[0] == 8
    if around.has_palette:
        if coded.bits[0] > 8:
            raise UnsupportedImageError("JPEG 2000 with a large palette is not carried", "convert it to RGB")
        return
    colours = len(coded.bits) - around.has_alpha
    if colours not in _SPACES:
        raise UnsupportedImageError(
            f"JPEG 2000 with {colours} channels that are no alpha is not carried", "save it as grey or RGB"
        )
    if around.profile is not None and around.profile[16:20] != _SPACES[colours]:
        raise UnsupportedImageError("its colour profile is not for its pixels", "convert it to sRGB")
    is_converted = around.colour_space == SYCC
    if (is_converted and not is_plain) or (coded.subsampled and not is_converted):
        raise UnsupportedImageError("JPEG 2000 with such chroma is not carried", "convert it to sRGB")


def _notices(around: Jp2Boxes, coded: Codestream) -> tuple[str, ...]:
    bits = coded.bits[0]
    notices = []
    if bits not in (8, 16) and not around.has_palette:
        notices.append(f"{bits}-bit intensities are written with {8 if bits < 8 else 16} bits")
    if around.left_out:
        names = ", ".join(kind.decode("latin-1").strip() for kind in around.left_out)
        notices.append(f"its JPEG 2000 boxes {names} are left out")
    return tuple(notices)


def _elsewhere(traits: Jp2Traits, *, has_dpi: bool) -> tuple[str, ...]:
    names = ["comments"] if traits.comments else []
    names += sorted({f"boxes {kind.decode('latin-1').strip()}" for kind, _ in traits.boxes})
    names += ["display resolution"] if traits.resolution and not has_dpi else []
    return (f"its {', '.join(names)} are left out",) if names else ()


def _decode(opened: ImageFile.ImageFile, stream: BinaryIO) -> tuple[NDArray[Any], NDArray[Any] | None] | None:
    """All but palettes and sYCC, which Pillow converts; above 8 bits it would cut colour and alpha.

    The colour profile is kept from the decoder, which would convert the pixels to sRGB by it.
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
        raise ValueError("its header is not clear")
    values = _stretched(values, coded.bits[0])
    has_alpha = around is not None and around.has_alpha
    colours = values[..., :-1] if has_alpha else values
    intensities = colours[..., 0] if colours.shape[2] == 1 else colours
    return np.ascontiguousarray(intensities), np.ascontiguousarray(values[..., -1]) if has_alpha else None


def _bytes_per_sample(_opened: ImageFile.ImageFile, stream: BinaryIO) -> int:
    return 1 + (_parts(stream)[1].bits[0] > 8)


def _stretched(values: NDArray[Any], bits: int) -> NDArray[Any]:
    """Over the whole range of 8 or 16 bits."""
    if bits in (8, 16):
        return values
    largest, full = 2**bits - 1, 255 if bits < 8 else 65535
    stretched = (values.astype(np.uint32) * full + largest // 2) // largest
    stored: NDArray[Any] = stretched.astype(np.uint8 if bits < 8 else np.uint16)
    return stored


def _options(picture: Picture, quality: int | None) -> dict[str, Any]:
    """The ratio of peak to noise in decibels, for the encoder, and whether it is to lose nothing."""
    traits = picture.traits if isinstance(picture.traits, Jp2Traits) else Jp2Traits()
    lossless = quality is None and (traits.lossless or picture.alpha is not None)
    ratio = 20 + 0.3 * (_QUALITY if quality is None else quality)
    return {"level": 0 if lossless else ratio, "reversible": lossless}


def _encode(picture: Picture, options: Mapping[str, Any]) -> bytes:
    import imagecodecs

    traits = picture.traits if isinstance(picture.traits, Jp2Traits) else Jp2Traits()
    planes = (picture.intensities,) if picture.alpha is None else (picture.intensities, picture.alpha)
    values = np.ascontiguousarray(planes[0] if len(planes) == 1 else np.dstack(planes))
    coding = {name: value for name, value in options.items() if name != _BARE}
    codestream = bytes(imagecodecs.jpeg2k_encode(values, codecformat="j2k", **coding))
    record = picture.metadata.record
    comments = traits.comments + ((text_comment(record),) if record else ())
    codestream = with_comments(codestream, comments)
    return codestream if options.get(_BARE) else boxed(codestream, picture, traits.resolution, traits.boxes)


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
    options=_options,
    strip=_strip,
    decode=_decode,
    encode=_encode,
    bytes_per_sample=_bytes_per_sample,
)
