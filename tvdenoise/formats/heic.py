"""HEIC, with the package pillow-heif: written at quality 95, or lossless with alpha, which must stay exact."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL import ImageFile

from tvdenoise.errors import UnsupportedImageError
from tvdenoise.files.decoded import DecodedImage
from tvdenoise.files.pillow import image_of
from tvdenoise.formats.boxes import ColourCodes
from tvdenoise.formats.family import Family, Format, Inspection, stretched

if TYPE_CHECKING:
    from numpy.typing import NDArray


_EXIF, _COLUMNS, _ROWS = 34665, 40962, 40963
_ENTRY, _TAG = 12, 2  # bytes
_PREFIX = b"Exif\0\0"
_NUMBERS = {3: "H", 4: "I"}  # by type


def with_sides(contents: bytes, columns: int, rows: int) -> bytes:
    """Return EXIF data, with columns and rows swapped if they are those before a quarter turn."""
    start = len(_PREFIX) if contents.startswith(_PREFIX) else 0
    order = {b"II": "<", b"MM": ">"}.get(contents[start : start + 2])
    if order is None or columns == rows:
        return contents
    with suppress(struct.error, KeyError):
        (first,) = struct.unpack_from(f"{order}I", contents, start + 4)
        link = _entries(contents, start + first, order)[_EXIF]
        (inside,) = struct.unpack_from(f"{order}I", contents, link + 8)
        entries = _entries(contents, start + inside, order)
        places = entries[_COLUMNS], entries[_ROWS]
        if tuple(_number(contents, place, order) for place in places) == (rows, columns):
            return _exchanged(contents, *places)
    return contents


def _entries(contents: bytes, place: int, order: str) -> dict[int, int]:
    """Return the offset of each tag's entry."""
    (count,) = struct.unpack_from(f"{order}H", contents, place)
    starts = [place + 2 + _ENTRY * number for number in range(count)]
    return {struct.unpack_from(f"{order}H", contents, start)[0]: start for start in starts}


def _number(contents: bytes, place: int, order: str) -> int:
    (kind,) = struct.unpack_from(f"{order}H", contents, place + _TAG)
    (number,) = struct.unpack_from(order + _NUMBERS[kind], contents, place + 8)
    return int(number)


def _exchanged(contents: bytes, first: int, second: int) -> bytes:
    changed = bytearray(contents)
    for target, source in ((first, second), (second, first)):
        changed[target + _TAG : target + _ENTRY] = contents[source + _TAG : source + _ENTRY]
    return bytes(changed)


_QUALITY, _LOSSLESS = 95, -1
_IMAGE_BRANDS = {b"heic", b"heix", b"heim", b"heis"}
_SEQUENCE_BRANDS = {b"hevc", b"hevx", b"hevm", b"hevs", b"msf1"}
_LONGEST_BRANDS = 256
_IDENTITY, _BT601 = 0, 6  # matrix coefficients
_SRGB = ColourCodes(1, 13)


@dataclass(frozen=True)
class HeicTraits:
    """chroma: subsampling, as pillow-heif names it; colour: codes other than sRGB's."""

    chroma: str = "444"
    colour: ColourCodes | None = None


def _open(stream: BinaryIO) -> ImageFile.ImageFile | None:
    brands = _brands(stream)
    if not brands or not {*brands} & (_IMAGE_BRANDS | _SEQUENCE_BRANDS):
        return None
    if brands[0] in _SEQUENCE_BRANDS:
        raise UnsupportedImageError("animations are not supported", "save its frames as files of their own")
    _require_package()
    import pillow_heif

    stream.seek(0)
    opened: ImageFile.ImageFile = pillow_heif.HeifImageFile(stream)  # type: ignore[no-untyped-call,unused-ignore]
    return opened


def _brands(stream: BinaryIO) -> list[bytes]:
    """Return the major brand and the compatible brands of a file; empty if it has none."""
    stream.seek(0)
    header = stream.read(8)
    if header[4:] != b"ftyp":
        return []
    contents = stream.read(min(int.from_bytes(header[:4], "big"), _LONGEST_BRANDS) - 8)
    return [contents[:4], *(contents[start : start + 4] for start in range(8, len(contents), 4))]


def _require_package() -> None:
    if find_spec("pillow_heif") is None:
        raise UnsupportedImageError("HEIC requires the extra heic", "install tvdenoise[heic]")


def _inspect(opened: ImageFile.ImageFile, _stream: BinaryIO) -> Inspection:
    information = opened.info
    notes = []
    if (bits := information["bit_depth"]) > 8:
        notes.append(f"{bits}-bit intensities are written with 16 bits")
    if information.get("aux") or information.get("depth_images"):
        notes.append("its depth or gain map is dropped")
    if information.get("metadata"):
        notes.append("metadata other than EXIF and XMP are dropped")
    colour = _colour(information)
    codes = f"{colour.primaries}/{colour.transfer}" if colour else ""
    return Inspection(
        tuple(notes),
        HeicTraits(str(information.get("chroma", "444")), colour),
        with_sides(information["exif"], *opened.size) if information.get("exif") else None,
        elsewhere=(f"its colour description (CICP {codes}) is dropped",) if colour else (),
    )


def _colour(information: Mapping[Any, Any]) -> ColourCodes | None:
    stored = information.get("nclx_profile")
    if not stored or information.get("icc_profile"):
        return None
    codes = ColourCodes(int(stored["color_primaries"]), int(stored["transfer_characteristics"]))
    return None if codes.are_usual else codes


def _decode(opened: ImageFile.ImageFile, stream: BinaryIO) -> tuple[NDArray[Any], NDArray[Any] | None] | None:
    """Decode depths above 8 bits, which Pillow truncates, and grey with alpha, which it converts to colour."""
    bits, is_grey = opened.info["bit_depth"], "chroma" not in opened.info
    if bits == 8 and not (is_grey and opened.mode == "RGBA"):
        return None
    if bits == 8:
        values = np.array(opened)
    else:
        import pillow_heif

        stream.seek(0)
        file = pillow_heif.open_heif(stream, convert_hdr_to_8bit=False)
        deep = np.array(file)  # a copy, since the file owns the memory
        if deep.dtype != np.uint16 or deep.shape[1::-1] != opened.size:
            raise ValueError("its header is invalid")
        values = stretched(deep >> (16 - bits), 2**bits - 1)
    has_alpha = values.ndim == 3 and values.shape[2] == 4
    alpha = np.ascontiguousarray(values[..., 3]) if has_alpha else None
    colours = values[..., :3] if values.ndim == 3 else values
    return np.ascontiguousarray(colours[..., 0] if is_grey and values.ndim == 3 else colours), alpha


def _bytes_per_sample(opened: ImageFile.ImageFile, _stream: BinaryIO) -> int:
    return 1 + (int(opened.info["bit_depth"]) > 8)


def _colours(opened: ImageFile.ImageFile, _stream: BinaryIO) -> int:
    return 3 if "chroma" in opened.info else 1


def _options(image: DecodedImage, quality: int | None) -> dict[str, Any]:
    _require_package()
    traits = image.traits if isinstance(image.traits, HeicTraits) else HeicTraits()
    is_lossless = quality is None and image.alpha is not None
    colour = traits.colour or _SRGB
    options: dict[str, Any] = {
        "quality": _LOSSLESS if is_lossless else _QUALITY if quality is None else quality,
        "exif": image.metadata.exif,
        "xmp": image.metadata.xmp,
        "color_primaries": colour.primaries,
        "transfer_characteristics": colour.transfer,
        "matrix_coefficients": _IDENTITY if is_lossless and image.has_channel_axis else _BT601,
        "full_range_flag": 1,
    }
    if image.has_channel_axis:
        options["chroma"] = "444" if is_lossless else traits.chroma
    if image.metadata.icc:
        options |= {"icc_profile": image.metadata.icc, "icc_profile_type": "prof"}
    return options


def _encode(image: DecodedImage, options: Mapping[str, Any]) -> bytes:
    import pillow_heif

    contents = BytesIO()
    pillow_heif.from_pillow(image_of(image)).save(contents, **options)
    return contents.getvalue()


FAMILY = Family(
    formats=(
        Format(
            "HEIC",
            "HEIF",
            (".heic", ".heif", ".hif"),
            kinds=frozenset({"L", "LA", "RGB", "RGBA"}),
            carries=frozenset({"icc", "exif", "xmp"}),
            longest_side=16_384,
        ),
    ),
    inspect=_inspect,
    options=_options,
    opened_by_pillow=False,
    open=_open,
    decode=_decode,
    encode=_encode,
    bytes_per_sample=_bytes_per_sample,
    colours=_colours,
)
