"""Image files of every kind, made by other programs: Pillow, tifffile and imagecodecs.

A format, kind of pixels or kind of metadata that the project claims to carry needs a maker here, and a reader in
`support.readers`; tests/files/test_table.py fails by name where one is missing.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from PIL import ExifTags, Image, ImageCms
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import IFDRational, ImageFileDirectory_v2

from support.jp2_files import codestream, jp2

Values = np.ndarray
Metadata = Mapping[str, Any]

_BANDS = 5
_MEASUREMENTS = ((";8S", np.int8), (";16S", np.int16), (";32", np.uint32), (";32S", np.int32))
#: Type and channels of the values of each kind of pixels.
SAMPLES: dict[str, tuple[type, int]] = {
    "L": (np.uint8, 1),
    "LA": (np.uint8, 2),
    "RGB": (np.uint8, 3),
    "RGBA": (np.uint8, 4),
    "I;16": (np.uint16, 1),
    "LA;16": (np.uint16, 2),
    "RGB;16": (np.uint16, 3),
    "RGBA;16": (np.uint16, 4),
    "CMYK": (np.uint8, 4),
    "CMYKA": (np.uint8, 5),
    "CMYK;16": (np.uint16, 4),
    "CMYKA;16": (np.uint16, 5),
    "F": (np.float32, 1),
    "FA": (np.float32, 2),
    "RGBF": (np.float32, 3),
    "RGBFA": (np.float32, 4),
    "F;16": (np.float16, 1),
    "FA;16": (np.float16, 2),
    "RGBF;16": (np.float16, 3),
    "RGBFA;16": (np.float16, 4),
    **{
        f"{name}{end}": (dtype, samples)
        for name, samples in (("L", 1), ("LA", 2), ("RGB", 3), ("RGBA", 4))
        for end, dtype in _MEASUREMENTS
    },
    **{
        f"{name}{end}": (dtype, samples)
        for name, samples in (("MULTI", _BANDS), ("MULTIA", _BANDS + 1))
        for end, dtype in (("", np.uint8), (";16", np.uint16), *_MEASUREMENTS)
    },
    **{
        f"{name}{end}": (dtype, samples)
        for name, samples in (("MULTIF", _BANDS), ("MULTIFA", _BANDS + 1))
        for end, dtype in (("", np.float32), (";16", np.float16), (";64", np.float64))
    },
    "F;64": (np.float64, 1),
    "FA;64": (np.float64, 2),
    "RGBF;64": (np.float64, 3),
    "RGBFA;64": (np.float64, 4),
}
_TIFF_COLOURS = {"L": 1, "I": 1, "F": 1, "RGB": 3, "RGBF": 3, "CMYK": 4, "MULTI": _BANDS, "MULTIF": _BANDS}


def _name_of(kind: str) -> str:
    """Return a kind without its depth and alpha."""
    return kind.partition(";")[0].removesuffix("A")


XMP_KEYWORD = "XML:com.adobe.xmp"
METADATA: dict[str, Any] = {
    "icc": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    "exif": {
        ExifTags.IFD.Exif: {
            ExifTags.Base.ExposureTime: IFDRational(1, 50),
            ExifTags.Base.LensModel: "Lens",
            ExifTags.Base.ISOSpeedRatings: 400,
        },
        ExifTags.IFD.GPSInfo: {ExifTags.GPS.GPSLatitudeRef: "N"},
    },
    "xmp": b'<x:xmpmeta xmlns:x="adobe:ns:meta/">\xc3\xa4</x:xmpmeta>',
    "dpi": (300, 150),
    "text": {"Title": "plain", "Comment": "long " * 40, "Author": "名"},
    "tags": {  # type, count and value, as tifffile takes them
        270: ("s", 0, "a description"),
        305: ("s", 0, "a microscope"),
        315: ("s", 0, "an artist"),
        65000: ("s", 0, "a text of another program"),
        65001: ("d", 3, (0.1, -2.5, 1e300)),
        65002: ("H", 2, (7, 65535)),
    },
}


def metadata_for(kind: str, names: Iterable[str]) -> Metadata:
    """Return some of `METADATA`, with a colour profile for the colour space of the kind of pixels."""
    chosen = {name: METADATA[name] for name in names}
    if "icc" in chosen:
        space = b"CMYK" if kind.startswith("CMYK") else b"RGB " if kind.startswith("RGB") else b"GRAY"
        chosen["icc"] = METADATA["icc"][:16] + space + METADATA["icc"][20:]
    return chosen


def unchanged(values: Values) -> Values:
    """Return values as they are: the format stores them exactly."""
    return values


@dataclass(frozen=True)
class Maker:
    """Makes files of one format and kind of pixels.

    write: called with a path, values (rows, columns) or (rows, columns, channels), and some of `METADATA`.
    tolerance: how many levels a pixel may change when it is read and written again; 0 for lossless formats.
    held: converts values to the nearest that the format can store.
    needs: a package that the maker requires.
    """

    write: Callable[[Path, Values, Metadata], None]
    tolerance: int = 0
    held: Callable[[Values], Values] = unchanged
    needs: str | None = None


def values_of(kind: str, rows: int, columns: int, content: str = "noise", seed: int = 0) -> Values:
    """Return pixels of a kind: "noise" over the whole range, "smooth", "constant", "extremes", or, for floats, "wide"
    (both signs, eight powers of ten)."""
    dtype, channels = SAMPLES[kind]
    shape = (rows, columns, channels)[: 2 + (channels > 1)]
    generator = np.random.default_rng(seed)
    is_float = issubclass(dtype, np.floating)
    if content == "smooth":
        unit = np.linspace(0.1, 0.9, rows * columns).reshape(rows, columns, *(1,) * (len(shape) - 2))
        unit = np.broadcast_to(unit, shape)
    else:
        unit = {
            "noise": lambda: generator.random(shape),
            "constant": lambda: np.full(shape, 0.3),
            "extremes": lambda: generator.integers(0, 2, shape).astype(float),
            "wide": lambda: generator.choice((-1, 1), shape) * 10 ** generator.uniform(-4, 3.9, shape),
        }[content]()
    if is_float:
        return (unit * 7 - 2).astype(dtype)
    limits = np.iinfo(dtype)
    return np.rint(limits.min + unit * (float(limits.max) - limits.min)).astype(dtype)


def exif_block(directories: Mapping[int, Mapping[int, Any]]) -> bytes:
    """Return EXIF data as most formats store them."""
    exif = Image.Exif()
    for number, entries in directories.items():
        exif.get_ifd(number).update(entries)
    return exif.tobytes()


def _pillow_options(metadata: Metadata) -> dict[str, Any]:
    options = {"icc_profile": metadata.get("icc"), "dpi": metadata.get("dpi"), "xmp": metadata.get("xmp")}
    if "exif" in metadata:
        options["exif"] = exif_block(metadata["exif"])
    return {name: value for name, value in options.items() if value is not None}


def _image(values: Values, mode: str | None = None) -> Image.Image:
    """Convert to a Pillow image; without a mode, four channels are RGBA."""
    if mode is None:
        return Image.fromarray(values)
    return Image.frombytes(mode, values.shape[1::-1], values.tobytes())


def by_pillow(codec: str, mode: str | None = None, **more: Any) -> Callable[[Path, Values, Metadata], None]:
    """Return a writer for pixels and metadata that Pillow supports in a format."""

    def write(path: Path, values: Values, metadata: Metadata) -> None:
        _image(values, mode).save(path, codec, **_pillow_options(metadata), **more)

    return write


def _png(path: Path, values: Values, metadata: Metadata) -> None:
    """Combine the pixels as imagecodecs writes them with the metadata chunks that Pillow writes."""
    chunks = PngInfo()
    for number, (keyword, text) in enumerate(metadata.get("text", {}).items()):
        if text.isascii():
            chunks.add_text(keyword, text, zip=bool(number % 2))
        else:
            chunks.add_itxt(keyword, text)
    if "xmp" in metadata:
        chunks.add_itxt(XMP_KEYWORD, metadata["xmp"].decode())
    frame = BytesIO()
    Image.new("L", (1, 1)).save(frame, "PNG", pnginfo=chunks, **_pillow_options(metadata))
    described = [chunk for chunk in _chunks(frame.getvalue()) if chunk[0] not in (b"IHDR", b"IDAT", b"IEND")]
    header, *pixels = _chunks(imagecodecs.png_encode(values))
    pixels = [chunk for chunk in pixels if chunk[0] in (b"IDAT", b"IEND")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(_packed(*c) for c in (header, *described, *pixels)))


def _chunks(contents: bytes) -> list[tuple[bytes, bytes]]:
    found, place = [], 8
    while place < len(contents):
        length, kind = struct.unpack_from(">I4s", contents, place)
        found.append((kind, contents[place + 8 : place + 8 + length]))
        place += 12 + length
    return found


def _packed(kind: bytes, contents: bytes) -> bytes:
    return struct.pack(">I", len(contents)) + kind + contents + struct.pack(">I", zlib.crc32(kind + contents))


def _tiff(colours: int) -> Callable[[Path, Values, Metadata], None]:
    """Return a writer of so many colours; any further channel is alpha."""
    return partial(_write_tiff, colours)


def _write_tiff(colours: int, path: Path, values: Values, metadata: Metadata) -> None:
    """Write with tifffile, and add EXIF directories, which it cannot write, in place of placeholder tags."""
    samples = 1 if values.ndim == 2 else values.shape[2]
    extra = (["unspecified"] * (colours - 1) if colours == _BANDS else []) + ["unassalpha"] * (
        samples - colours
    )
    tags = [(number, *stored, True) for number, stored in metadata.get("tags", {}).items()]
    if "xmp" in metadata:
        tags.append((700, "B", len(metadata["xmp"]), metadata["xmp"], True))
    options = {
        "photometric": {1: "minisblack", 3: "rgb", 4: "separated", _BANDS: "minisblack"}[colours],
        "extrasamples": extra or None,
        "planarconfig": "contig" if samples > 1 else None,
        "iccprofile": metadata.get("icc"),
        "resolution": metadata.get("dpi"),
        "resolutionunit": "inch" if "dpi" in metadata else None,
        "metadata": None,
        "software": False,
    }
    directories = metadata.get("exif", {})
    tags += [(number + 1, "I", 1, 0, True) for number in directories]
    tifffile.imwrite(path, values, byteorder="<", extratags=tags, **options)
    for number, entries in directories.items():
        _put_directory(path, number, entries)


def _put_directory(path: Path, number: int, entries: Mapping[int, Any]) -> None:
    """Append a directory of EXIF data to a file, and put its offset into the placeholder entry."""
    with tifffile.TiffFile(path) as opened:
        entry = opened.pages.first.tags[number + 1].offset
    directory = ImageFileDirectory_v2(b"II*\0\0\0\0\0")
    directory.update(entries)
    with path.open("r+b") as stream:
        place = stream.seek(0, os.SEEK_END)
        contents = directory.tobytes(place)
        stream.write(contents + bytes(len(contents) % 2))
        stream.seek(entry)
        stream.write(struct.pack("<HHII", number, 4, 1, place))


def _jp2(path: Path, values: Values, metadata: Metadata) -> None:
    blocks = {"exif": exif_block(metadata["exif"])[6:]} if "exif" in metadata else {}  # without a prefix
    path.write_bytes(jp2(values, {**metadata, **blocks}))


def _codestream(path: Path, values: Values, _metadata: Metadata) -> None:
    path.write_bytes(codestream(values))


def _deep_ppm(path: Path, values: Values, _metadata: Metadata) -> None:
    rows, columns, _ = values.shape
    path.write_bytes(b"P6\n%d %d\n65535\n" % (columns, rows) + values.astype(">u2").tobytes())


def _colour_pfm(path: Path, values: Values, _metadata: Metadata) -> None:
    rows, columns, _ = values.shape
    path.write_bytes(b"PF\n%d %d\n-1.0\n" % (columns, rows) + values[::-1].astype("<f4").tobytes())


def _heic(path: Path, values: Values, metadata: Metadata) -> None:
    import pillow_heif

    options = {**_pillow_options(metadata), "quality": 95 if values.shape[2:] in ((), (3,)) else -1}
    if "icc" in metadata:
        options |= {"icc_profile": metadata["icc"], "icc_profile_type": "prof"}
    if values.shape[2:] == (4,):
        options |= {"matrix_coefficients": 0, "chroma": "444"}
    contents = BytesIO()
    pillow_heif.from_pillow(Image.fromarray(values)).save(contents, **options)
    path.write_bytes(contents.getvalue())


def _coloured(values: Values) -> Values:
    """Convert grey to colour."""
    if values.ndim == 2:
        return np.dstack([values] * 3)
    return values[..., [0, 0, 0, 1]] if values.shape[2] == 2 else values


def _webp(path: Path, values: Values, metadata: Metadata) -> None:
    """Write lossless WebP that keeps the colours of transparent pixels."""
    by_pillow("WEBP", lossless=True, exact=True)(path, values, metadata)


def _avif(path: Path, values: Values, metadata: Metadata) -> None:
    """Write AVIF, with alpha at the highest quality, which is lossless."""
    subsampling = "4:0:0" if values.shape[2:] in ((), (2,)) else "4:4:4"
    quality = 95 if values.shape[2:] in ((), (3,)) else 100
    by_pillow("AVIF", quality=quality, subsampling=subsampling, max_threads=1)(path, values, metadata)


def _clear_or_opaque(values: Values) -> Values:
    """Reduce alpha to two levels, with one colour for transparent pixels."""
    clear = values[..., -1] < 128
    held = values.copy()
    held[clear], held[~clear, -1] = 0, 255
    return held


def _gif(path: Path, values: Values, _metadata: Metadata) -> None:
    """Write at most 256 colours, the last of which stands for transparent pixels."""
    has_alpha = values.shape[2:] in ((2,), (4,))
    visible = values[..., -1] > 0 if has_alpha else np.ones(values.shape[:2], bool)
    colours = _coloured(values)[..., :3]
    palette, indices = np.unique(colours[visible], axis=0, return_inverse=True)
    chosen = np.full(visible.shape, len(palette), np.uint8)
    chosen[visible] = indices.ravel()
    image = _image(chosen, "P")
    image.putpalette(palette.tobytes() + bytes(3 * has_alpha))
    image.save(path, "GIF", optimize=False, **({"transparency": len(palette)} if has_alpha else {}))


_HEIC = "pillow_heif"

#: Makers by the format's name and the kind of pixels.
MAKERS: dict[tuple[str, str], Maker] = {
    **{("PNG", k): Maker(_png) for k in ("L", "LA", "RGB", "RGBA", "I;16", "LA;16", "RGB;16", "RGBA;16")},
    **{("TIFF", kind): Maker(_tiff(_TIFF_COLOURS[_name_of(kind)])) for kind in SAMPLES},
    **{("JPEG", kind): Maker(by_pillow("JPEG", quality=95), tolerance=4) for kind in ("L", "RGB")},
    ("JPEG", "CMYK"): Maker(by_pillow("JPEG", "CMYK", quality=95), tolerance=4),
    **{("WebP", kind): Maker(_webp, held=_coloured) for kind in ("L", "LA", "RGB", "RGBA")},
    **{("AVIF", kind): Maker(_avif, tolerance=4) for kind in ("L", "LA", "RGB", "RGBA")},
    **{("HEIC", kind): Maker(_heic, tolerance=5, needs=_HEIC) for kind in ("L", "LA", "RGB", "RGBA")},
    **{("JPEG 2000", kind): Maker(_jp2) for kind in ("L", "LA", "RGB", "RGBA")},
    **{("JPEG 2000", kind): Maker(_jp2) for kind in ("I;16", "LA;16", "RGB;16", "RGBA;16")},
    **{("JPEG 2000 codestream", kind): Maker(_codestream) for kind in ("L", "RGB", "I;16", "RGB;16")},
    **{("GIF", kind): Maker(_gif) for kind in ("L", "RGB")},
    **{("GIF", kind): Maker(_gif, held=_clear_or_opaque) for kind in ("LA", "RGBA")},
    **{("BMP", kind): Maker(by_pillow("BMP")) for kind in ("L", "RGB")},
    **{("PNM", kind): Maker(by_pillow("PPM")) for kind in ("L", "RGB", "I;16", "F")},
    **{("PGM", kind): Maker(by_pillow("PPM")) for kind in ("L", "I;16")},
    **{(name, "RGB;16"): Maker(_deep_ppm) for name in ("PNM", "PPM")},
    **{(name, "RGBF"): Maker(_colour_pfm) for name in ("PNM", "PFM")},
    ("PPM", "RGB"): Maker(by_pillow("PPM")),
    ("PFM", "F"): Maker(by_pillow("PPM")),
}
