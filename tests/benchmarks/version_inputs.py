"""Files for ``compare_versions``: small, seeded, of every kind that the program reads or refuses.

Nothing here imports the package under test. Pillow, tifffile and imagecodecs write the files; what they cannot write
is put together byte by byte.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from PIL import ExifTags, Image, ImageCms
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import IFDRational

Values = np.ndarray
ROWS, COLUMNS = 56, 64

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GREY_ICC, CMYK_ICC = (ICC[:16] + space + ICC[20:] for space in (b"GRAY", b"CMYK"))
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a>\xc3\xa4</a></x:xmpmeta>'


def scene(
    rows: int = ROWS,
    columns: int = COLUMNS,
    channels: int = 1,
    dtype: type = np.uint8,
    seed: int = 0,
    level: float = 0.06,
) -> Values:
    """Shades, edges and noise of a level in fractions of the range: (rows, columns) or (rows, columns, channels)."""
    generator = np.random.default_rng((seed, rows, columns, channels))
    y, x = np.mgrid[:rows, :columns].astype(np.float64)
    clean = 0.45 + 0.15 * np.sin(x / 17 + seed) * np.cos(y / 23) + 0.25 * ((x // 24 + y // 20) % 2)
    values = clean[..., None] * np.linspace(1, 0.7, channels)
    values = values + generator.normal(0, level, values.shape)
    values = values[..., 0] if channels == 1 else values
    if issubclass(dtype, np.floating):
        return values.astype(dtype)
    return np.rint(np.clip(values, 0, 1) * np.iinfo(dtype).max).astype(dtype)


def with_alpha(values: Values, seed: int = 0) -> Values:
    """With a ramp as the last channel, and a corner that is fully transparent."""
    white = 1 if values.dtype.kind == "f" else np.iinfo(values.dtype).max
    alpha = np.linspace(0.5, 1, values.shape[1]) * white * np.ones((values.shape[0], 1))
    alpha[: 8 + seed, :10] = 0
    return np.dstack((values, alpha.astype(values.dtype)))


# EXIF data and plain TIFF files, byte by byte: types and byte orders that the libraries do not write.

_BYTE, _ASCII, _SHORT, _LONG, _RATIONAL, _UNDEFINED, _SRATIONAL, _DOUBLE = 1, 2, 3, 4, 5, 7, 10, 12
_FORMS = {1: "B", 3: "H", 4: "I", 5: "I", 9: "i", 10: "i", 12: "d"}
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 9: 4, 10: 8, 12: 8}
_EXIF, _GPS, _INTEROPERABILITY = 34665, 34853, 40965

CAMERA: dict[int, Any] = {
    271: (_ASCII, b"Maker\0"),
    306: (_ASCII, b"2024:05:06 07:08:09\0"),
    _EXIF: {
        33434: (_RATIONAL, (10, 500)),
        36864: (_UNDEFINED, b"0230"),
        37121: (_UNDEFINED, b"\1\2\3\0"),
        37380: (_SRATIONAL, (-1, 3)),
        37500: (_UNDEFINED, b"Maker\0\2MM\0*" + bytes(range(200))),
        37510: (_UNDEFINED, b"UNICODE\0\0a\0b"),
        41728: (_UNDEFINED, b"\3"),
        42036: (_ASCII, "Objektiv für ƒ/2".encode() + b"\0"),
        _INTEROPERABILITY: {1: (_ASCII, b"R98\0"), 2: (_UNDEFINED, b"0100")},
    },
    _GPS: {
        0: (_BYTE, b"\2\3\0\0"),
        1: (_ASCII, b"N\0"),
        2: (_RATIONAL, (48, 1, 8, 1, 123456, 1000)),
        27: (_UNDEFINED, b"ASCII\0\0\0GPS"),
    },
}


def exif_block(tags: Mapping[int, Any], order: str = "<") -> bytes:
    """EXIF data without its prefix. A value is a type with numbers or bytes, or a directory of its own."""
    return _with_directory(tags, order, b"")


def plain_tiff(values: Values, tags: Mapping[int, Any], order: str = "<") -> bytes:
    """An uncompressed TIFF of one strip; tags replace or follow those of the pixels."""
    rows, columns = values.shape[:2]
    samples = values.size // rows // columns
    pixels = values.astype(values.dtype.newbyteorder(order)).tobytes()
    own = {
        256: (_LONG, (columns,)),
        257: (_LONG, (rows,)),
        258: (_SHORT, (8 * values.itemsize,) * samples),
        259: (_SHORT, (1,)),
        262: (_SHORT, (1 if samples == 1 else 2,)),
        273: (_LONG, (8,)),
        277: (_SHORT, (samples,)),
        278: (_LONG, (rows,)),
        279: (_LONG, (len(pixels),)),
    }
    return _with_directory({**own, **tags}, order, pixels)


def _with_directory(tags: Mapping[int, Any], order: str, contents: bytes) -> bytes:
    out = bytearray((b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 0) + contents)
    place = _append_directory(out, tags, order)
    out[4:8] = struct.pack(order + "I", place)
    return bytes(out)


def _append_directory(out: bytearray, tags: Mapping[int, Any], order: str) -> int:
    entries = []
    for tag in sorted(tags):
        value = tags[tag]
        if isinstance(value, Mapping):
            value = (_LONG, (_append_directory(out, value, order),))
        kind, given = value
        packed = (
            given if isinstance(given, bytes) else struct.pack(f"{order}{len(given)}{_FORMS[kind]}", *given)
        )
        count = len(packed) // _SIZES[kind]
        if len(packed) > 4:
            out += bytes(len(out) % 2)
            place = len(out)
            out += packed
            packed = struct.pack(order + "I", place)
        entries.append(struct.pack(order + "HHI4s", tag, kind, count, packed.ljust(4, b"\0")))
    out += bytes(len(out) % 2)
    start = len(out)
    out += struct.pack(order + "H", len(entries)) + b"".join(entries) + bytes(4)
    return start


# PNG


def png_chunk(kind: bytes, contents: bytes = b"") -> bytes:
    return struct.pack(">I", len(contents)) + kind + contents + struct.pack(">I", zlib.crc32(kind + contents))


def png(values: Values, chunks: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
    """8 or 16 bits of grey or colour, with or without alpha, and further chunks before the pixels."""
    encoded = bytes(imagecodecs.png_encode(values))
    return encoded[:33] + b"".join(png_chunk(*chunk) for chunk in chunks) + encoded[33:]


def _saved(image: Image.Image, codec: str, **options: Any) -> bytes:
    stream = BytesIO()
    image.save(stream, codec, **options)
    return stream.getvalue()


def _pillow(values: Values, codec: str, mode: str | None = None, **options: Any) -> bytes:
    if mode is None:
        return _saved(Image.fromarray(values), codec, **options)
    return _saved(Image.frombytes(mode, values.shape[1::-1], values.tobytes()), codec, **options)


def _palette(values: Values, colours: int, **options: Any) -> Image.Image:
    """Grey as indices of shades of colour."""
    indices = (values.astype(np.int64) * colours // 256).astype(np.uint8)
    image = Image.frombytes("P", indices.shape[::-1], indices.tobytes())
    shades = np.linspace(0, 255, colours)
    image.putpalette(np.stack((shades, shades[::-1], shades / 2 + 60), 1).astype(np.uint8).tobytes())
    image.info.update(options)
    return image


def _png_files() -> dict[str, bytes]:
    grey, colour = scene(seed=1), scene(channels=3, seed=2)
    deep = scene(dtype=np.uint16, seed=3)
    deep_colour = scene(channels=3, dtype=np.uint16, seed=4)
    texts = PngInfo()
    texts.add_text("Title", "a plain text")
    texts.add_text("Comment", "long " * 60, zip=True)
    texts.add_itxt("Author", "名前", lang="ja", tkey="著者")
    texts.add_itxt("XML:com.adobe.xmp", XMP.decode())
    colour_chunks = (
        (b"gAMA", struct.pack(">I", 45455)),
        (b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)),
        (b"sBIT", b"\5\6\5"),
        (b"pHYs", struct.pack(">IIB", 11811, 5906, 1)),
        (b"tIME", struct.pack(">HBBBBB", 2024, 5, 6, 7, 8, 9)),
        (b"bKGD", struct.pack(">3H", 1, 2, 3)),
        (b"prVt", b"of another program"),
    )
    return {
        "grey8.png": png(grey),
        "grey16.png": png(deep),
        "grey8_alpha.png": png(with_alpha(grey)),
        "grey16_alpha.png": png(with_alpha(deep)),
        "colour8.png": png(colour),
        "colour16.png": png(deep_colour),
        "colour8_alpha.png": png(with_alpha(colour)),
        "colour16_alpha.png": png(with_alpha(deep_colour)),
        "interlaced.png": _interlaced(grey),
        "palette.png": _saved(_palette(grey, 64), "PNG"),
        "palette_clear.png": _saved(_palette(grey, 16), "PNG", transparency=bytes((0, 128)) + b"\xff" * 14),
        "one_bit.png": _saved(Image.fromarray(grey > 120), "PNG"),
        "clear_colour.png": png(colour, [(b"tRNS", struct.pack(">3H", *map(int, colour[3, 3])))]),
        "texts.png": _pillow(colour, "PNG", pnginfo=texts, icc_profile=ICC, dpi=(300, 150)),
        "grey_profile.png": _pillow(grey, "PNG", icc_profile=GREY_ICC),
        "exif.png": png(colour, [(b"eXIf", exif_block({274: (_SHORT, (6,)), **CAMERA}, ">"))]),
        "chunks.png": png(colour, colour_chunks),
        "chunks16.png": png(
            deep_colour, [*colour_chunks[:1], *colour_chunks[3:4], (b"tEXt", b"Title\0deep")]
        ),
        "constant.png": png(np.full((20, 30), 77, np.uint8)),
        "clean.png": png(scene(level=0)),
        "one_pixel.png": png(np.full((1, 1), 9, np.uint8)),
        "one_row.png": png(scene(1, 40)),
        "one_column.png": png(scene(40, 1, 3)),
    }


def _interlaced(values: Values) -> bytes:
    """Adam7, without filters."""
    passes = [
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ]
    lines = [
        b"\0" + row.tobytes()
        for left, top, across, down in passes
        for row in values[top::down, left::across]
        if row.size
    ]
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 8, 0, 0, 0, 1)
    pixels = png_chunk(b"IDAT", zlib.compress(b"".join(lines)))
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + pixels + png_chunk(b"IEND")


# JPEG and the other formats of photographs


def _segment(marker: int, contents: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(contents) + 2) + contents


def _jpeg_files() -> dict[str, bytes]:
    grey, colour = scene(seed=5), scene(channels=3, seed=6)
    inks = scene(channels=4, seed=7)
    oriented = exif_block({274: (_SHORT, (6,)), **CAMERA})
    marked = _pillow(colour, "JPEG", quality=90, comment=b"a comment", dpi=(300, 300))
    iptc = b"Photoshop 3.0\08BIM\4\4\0\0\0\0\0\x0c\x1c\2\5\0\7caption"
    segments = _segment(0xED, iptc) + _segment(0xE8, b"of another program") + _segment(0xFE, b"first")
    return {
        "grey.jpg": _pillow(grey, "JPEG", quality=92),
        "halved.jpg": _pillow(colour, "JPEG", quality=90, subsampling="4:2:0"),
        "halved_across.jpg": _pillow(colour, "JPEG", quality=85, subsampling="4:2:2"),
        "full.jpeg": _pillow(colour, "JPEG", quality=95, subsampling="4:4:4"),
        "progressive.jpg": _pillow(colour, "JPEG", quality=90, progressive=True, icc_profile=ICC),
        "inks.jpg": _pillow(inks, "JPEG", "CMYK", quality=95, icc_profile=CMYK_ICC),
        "turned.jpg": _pillow(
            scene(40, 72, 3, seed=8), "JPEG", quality=90, exif=b"Exif\0\0" + oriented, xmp=XMP
        ),
        "big_endian_exif.jpg": _pillow(
            colour, "JPEG", quality=90, exif=b"Exif\0\0" + exif_block({274: (_SHORT, (3,)), **CAMERA}, ">")
        ),
        "segments.jpg": marked[:2] + segments + marked[2:] + b"a film behind the image",
        "odd_size.jpg": _pillow(scene(33, 41, 3, seed=9), "JPEG", quality=80),
    }


def _photo_files() -> dict[str, bytes]:
    grey, colour = scene(seed=10), scene(channels=3, seed=11)
    exif = exif_block(CAMERA)
    described = {"icc_profile": ICC, "exif": b"Exif\0\0" + exif, "xmp": XMP}
    files = {
        "lossy.webp": _pillow(colour, "WEBP", quality=90, **described),
        "lossless.webp": _pillow(colour, "WEBP", lossless=True),
        "alpha.webp": _pillow(with_alpha(colour), "WEBP", lossless=True, exact=True),
        "lossy_alpha.webp": _pillow(with_alpha(colour), "WEBP", quality=90),
        "grey.avif": _pillow(grey, "AVIF", quality=90, subsampling="4:0:0", max_threads=1),
        "halved.avif": _pillow(colour, "AVIF", quality=85, subsampling="4:2:0", max_threads=1, **described),
        "alpha.avif": _pillow(with_alpha(colour), "AVIF", quality=100, subsampling="4:4:4", max_threads=1),
        "lossless.jp2": bytes(imagecodecs.jpeg2k_encode(colour, level=0, reversible=True, codecformat="jp2")),
        "deep.jp2": bytes(
            imagecodecs.jpeg2k_encode(
                scene(dtype=np.uint16, seed=12), level=0, reversible=True, codecformat="jp2"
            )
        ),
        "lossy.jp2": _pillow(colour, "JPEG2000", irreversible=True, quality_layers=[30], comment=b"by hand"),
        "alpha.jp2": _pillow(with_alpha(colour), "JPEG2000"),
        "stream.j2k": bytes(imagecodecs.jpeg2k_encode(grey, level=0, reversible=True, codecformat="j2k")),
        "palette.gif": _saved(_palette(grey, 200), "GIF", comment=b"a comment"),
        "grey.gif": _pillow(grey, "GIF", interlace=1),
        "clear.gif": _saved(_palette(grey, 32), "GIF", transparency=3, interlace=0),
        "grey.bmp": _pillow(grey, "BMP", dpi=(200, 200)),
        "colour.bmp": _pillow(colour, "BMP"),
        "palette.bmp": _saved(_palette(grey, 16), "BMP"),
        "grey.pgm": _pillow(grey, "PPM"),
        "deep.pgm": b"P5\n%d %d\n65535\n" % (COLUMNS, ROWS)
        + scene(dtype=np.uint16, seed=13).astype(">u2").tobytes(),
        "twelve_bits.pgm": b"P5\n%d %d\n4095\n" % (COLUMNS, ROWS)
        + (scene(dtype=np.uint16, seed=13) >> 4).astype(">u2").tobytes(),
        "colour.ppm": _pillow(colour, "PPM"),
        "deep.ppm": b"P6\n%d %d\n65535\n" % (COLUMNS, ROWS)
        + scene(channels=3, dtype=np.uint16, seed=14).astype(">u2").tobytes(),
        "plain.pgm": b"P2\n# a comment\n%d %d\n255\n" % (COLUMNS, ROWS) + _as_text(grey),
        "one_bit.pbm": _saved(Image.fromarray(grey > 120), "PPM"),
        "grey.pfm": b"Pf\n%d %d\n-1.0\n" % (COLUMNS, ROWS) + scene(dtype=np.float32, seed=15)[::-1].tobytes(),
        "colour.pfm": b"PF\n%d %d\n1.0\n" % (COLUMNS, ROWS)
        + scene(channels=3, dtype=np.float32, seed=16)[::-1].astype(">f4").tobytes(),
    }
    if find_spec("pillow_heif") is not None:
        files |= _heic_files(grey, colour, exif)
    return files


def _as_text(values: Values) -> bytes:
    return b"".join(b" ".join(b"%d" % value for value in row) + b"\n" for row in values)


def _heic_files(grey: Values, colour: Values, exif: bytes) -> dict[str, bytes]:
    import pillow_heif

    def heic(values: Values, **options: Any) -> bytes:
        stream = BytesIO()
        pillow_heif.from_pillow(Image.fromarray(values)).save(stream, **options)
        return stream.getvalue()

    return {
        "colour.heic": heic(colour, quality=92, exif=exif),
        "grey.heic": heic(grey, quality=92),
        "alpha.heic": heic(with_alpha(colour), quality=-1, matrix_coefficients=0, chroma="444"),
    }


# TIFF


def _tiff(values: Values, colours: int = 1, **options: Any) -> bytes:
    """By tifffile; whatever is beyond the colours is alpha."""
    samples = 1 if values.ndim == 2 else values.shape[2]
    stream = BytesIO()
    given = {
        "photometric": {1: "minisblack", 3: "rgb", 4: "separated"}[colours],
        "extrasamples": ["unassalpha"] if samples > colours else None,
        "metadata": None,
        "software": False,
    }
    planes = values
    if samples > 1:
        given["planarconfig"] = options.get("planarconfig", "contig")
        if given["planarconfig"] == "separate":
            planes = np.moveaxis(values, -1, 0)
    tifffile.imwrite(stream, np.ascontiguousarray(planes), **(given | options))
    return stream.getvalue()


def _tiff_files() -> dict[str, bytes]:
    grey, colour = scene(seed=20), scene(channels=3, seed=21)
    deep, deep_colour = scene(dtype=np.uint16, seed=22), scene(channels=3, dtype=np.uint16, seed=23)
    single, half = scene(dtype=np.float32, seed=24), scene(dtype=np.float16, seed=25)
    single_colour = scene(channels=3, dtype=np.float32, seed=26)
    half_colour = scene(channels=3, dtype=np.float16, seed=27)
    inks, deep_inks = scene(channels=4, seed=28), scene(channels=4, dtype=np.uint16, seed=29)
    others = [
        (270, 2, 0, "a description", True),
        (315, 2, 0, "an artist", True),
        (700, 1, len(XMP), XMP, True),
        (33723, 7, 8, b"\x1c\2\5\0\3abc", True),
        (65000, 2, 0, "a text of another program", True),
        (65001, 12, 3, (0.1, -2.5, 1e300), True),
        (65002, 3, 2, (7, 65535), True),
        (65003, 16, 1, 2**33, True),
    ]
    classic_others = others[:-1]
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif).update(
        {
            ExifTags.Base.ExposureTime: IFDRational(1, 50),
            ExifTags.Base.LensModel: "Lens",
            ExifTags.Base.ISOSpeedRatings: 400,
        }
    )
    exif.get_ifd(ExifTags.IFD.GPSInfo).update({ExifTags.GPS.GPSLatitudeRef: "N"})
    return {
        "grey8.tif": _tiff(grey),
        "grey16.tif": _tiff(deep, compression="zlib", predictor=True),
        "colour8.tif": _tiff(colour, 3, compression="lzw", predictor=True, rowsperstrip=7),
        "colour16.tif": _tiff(deep_colour, 3, planarconfig="separate", rowsperstrip=20),
        "colour16_predicted.tif": _tiff(deep_colour, 3, compression="zlib", predictor=2),
        "grey8_alpha.tif": _tiff(with_alpha(grey), compression="packbits"),
        "grey16_alpha.tif": _tiff(with_alpha(deep)),
        "colour8_alpha.tif": _tiff(with_alpha(colour), 3, compression="zstd", predictor=True),
        "colour16_alpha.tif": _tiff(with_alpha(deep_colour), 3, compression="lzma"),
        "jpeg_inside.tif": _tiff(colour, 3, compression="jpeg", compressionargs={"level": 92}, tile=(32, 32)),
        "float32.tif": _tiff(single, compression="zlib", predictor=3),
        "float32_byteswapped.tif": _tiff(single, byteorder=">", tile=(32, 48)),
        "float32_alpha.tif": _tiff(with_alpha(single)),
        "float32_colour.tif": _tiff(single_colour, 3, compression="lzw", predictor=3),
        "float32_colour_alpha.tif": _tiff(with_alpha(single_colour), 3),
        "float16.tif": _tiff(half),
        "float16_colour.tif": _tiff(half_colour, 3, compression="zlib"),
        "float_wide.tif": _tiff((single * 3000 - 700).astype(np.float32)),
        "inks8.tif": _tiff(inks, 4, iccprofile=CMYK_ICC),
        "inks16.tif": _tiff(deep_inks, 4, compression="lzw", predictor=True),
        "inks8_alpha.tif": _tiff(with_alpha(inks), 4),
        "tiles.tif": _tiff(colour, 3, tile=(32, 32), compression="zlib"),
        "tiles_planar.tif": _tiff(colour, 3, tile=(16, 48), planarconfig="separate", compression="lzw"),
        "big.tif": _tiff(deep, bigtiff=True, extratags=others),
        "big_endian.tif": _tiff(deep_colour, 3, byteorder=">", compression="packbits"),
        "big_big_endian.tif": _tiff(deep, bigtiff=True, byteorder=">", tile=(32, 32)),
        "white_is_zero.tif": _tiff(grey, photometric="miniswhite"),
        "palette.tif": _saved(_palette(grey, 64), "TIFF", compression="tiff_lzw"),
        "fax.tif": _saved(Image.fromarray(grey > 120), "TIFF", compression="group4"),
        "one_bit.tif": _saved(Image.fromarray(grey > 120), "TIFF"),
        "turned.tif": _tiff(scene(40, 72, 3, seed=30), 3, extratags=[(274, 3, 1, 6, True)]),
        "tags.tif": _tiff(
            colour, 3, extratags=classic_others, resolution=(300, 150), resolutionunit="inch", iccprofile=ICC
        ),
        "exif.tif": _pillow(colour, "TIFF", exif=exif, compression="tiff_adobe_deflate", dpi=(72, 72)),
        "camera.tif": plain_tiff(colour, CAMERA),
        "camera_big_endian.tif": plain_tiff(deep, {274: (_SHORT, (8,)), **CAMERA}, ">"),
        "overviews.tif": _with_overviews(colour),
        "software.tif": _tiff(grey, extratags=[(11, 2, 0, "another program 1.0", True)]),
        "short_last_strip.tif": _tiff(scene(50, 37, seed=31), rowsperstrip=16, compression="zlib"),
    }


def _with_overviews(values: Values) -> bytes:
    stream = BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        options = {"photometric": "rgb", "metadata": None, "software": False}
        writer.write(values, subifds=1, **options)
        writer.write(np.ascontiguousarray(values[::2, ::2]), subfiletype=1, **options)
    return stream.getvalue()


# Stacks and animations


def _stack(*shape: int, dtype: type = np.uint8, seed: int = 40) -> Values:
    """Planes (rows and columns last) of one scene with noise of their own, a little brighter each."""
    rows, columns = shape[-2:]
    count = int(np.prod(shape[:-2]))
    planes = [scene(rows, columns, seed=seed, level=0, dtype=np.float32) for _ in range(count)]
    generator = np.random.default_rng((seed, *shape))
    values = np.stack(planes) * np.linspace(0.8, 1, count)[:, None, None]
    values = (values + generator.normal(0, 0.05, values.shape)).reshape(shape)
    if issubclass(dtype, np.floating):
        return values.astype(dtype)
    return np.rint(np.clip(values, 0, 1) * np.iinfo(dtype).max).astype(dtype)


def _pages(values: Values, **options: Any) -> bytes:
    stream = BytesIO()
    tifffile.imwrite(stream, values, **({"photometric": "minisblack"} | options))
    return stream.getvalue()


def _stack_files() -> dict[str, bytes]:
    shape = (2, 3, 2, 32, 40)
    imagej = {
        "axes": "TZCYX",
        "spacing": 3.5,
        "unit": "um",
        "finterval": 0.25,
        "mode": "composite",
        "Info": "größer",
        "Labels": [f"label {number}" for number in range(12)],
        "LUTs": [np.random.default_rng(seed).integers(0, 256, (3, 256), np.uint8) for seed in range(2)],
    }
    ome = {
        "axes": "TZCYX",
        "PhysicalSizeX": 0.2,
        "PhysicalSizeY": 0.25,
        "PhysicalSizeZ": 0.5,
        "TimeIncrement": 2.0,
        # Without it tifffile draws one at random.
        "UUID": "urn:uuid:12345678-1234-1234-1234-123456789012",
    }
    colour_pages = np.stack([scene(32, 40, 3, seed=seed) for seed in range(41, 44)])
    mixed = Image.fromarray(scene(32, 40, seed=44))
    return {
        "pages.tif": _pages(_stack(5, 32, 40), compression="zlib", predictor=True, metadata=None),
        "pages_described.tif": _pages(
            _stack(4, 32, 39, dtype=np.uint16), byteorder=">", description="pages", metadata=None
        ),
        "pages_colour.tif": _pages(colour_pages, photometric="rgb", compression="lzw"),
        "pages_float.tif": _pages(
            _stack(4, 32, 40, dtype=np.float32), bigtiff=True, tile=(16, 16), metadata=None
        ),
        "pages_pillow.tif": _saved(
            mixed, "TIFF", save_all=True, append_images=[Image.fromarray(scene(32, 40, seed=45))]
        ),
        "imagej.tif": _pages(
            _stack(*shape, dtype=np.uint16), imagej=True, resolution=(2.5, 2), metadata=imagej
        ),
        "imagej_big_endian.tif": _pages(
            _stack(*shape, dtype=np.uint16),
            imagej=True,
            byteorder=">",
            resolution=(2.5, 2),
            metadata=imagej,
        ),
        "imagej_float.tif": _pages(
            _stack(4, 32, 40, dtype=np.float32), imagej=True, metadata={"axes": "ZYX", "spacing": 2.0}
        ),
        "imagej_one_directory.tif": _pages(
            _stack(6, 32, 40, dtype=np.uint16), imagej=True, truncate=True, metadata={"axes": "ZYX"}
        ),
        "stack.ome.tif": _pages(_stack(*shape, dtype=np.uint16), ome=True, metadata=ome),
        "shaped.tif": _pages(_stack(2, 3, 32, 40), metadata={"axes": "TZYX"}),
        "film.gif": _animation("GIF"),
        "film_parts.gif": _saved(
            _frames("P")[0],
            "GIF",
            save_all=True,
            append_images=_frames("P")[1:],
            duration=80,
            disposal=2,
            transparency=0,
        ),
        "film_lossless.webp": _animation("WEBP", lossless=True),
        "film_lossy.webp": _animation("WEBP", quality=90),
        "film.png": _animation("PNG"),
        "film_blended.png": _saved(
            _frames("RGBA")[0],
            "PNG",
            save_all=True,
            append_images=_frames("RGBA")[1:],
            duration=120,
            disposal=1,
            blend=1,
            loop=2,
        ),
    }


def _frames(mode: str) -> list[Image.Image]:
    frames = []
    for number in range(4):
        values = scene(36, 44, 3, seed=50 + number)
        values[:20] = scene(36, 44, 3, seed=50)[:20]  # so that encoders store a part alone
        image = Image.fromarray(values)
        if mode == "RGBA":
            image = Image.fromarray(with_alpha(values, seed=number))
        elif mode == "P":
            image = _palette(values[..., 0], 60)
        frames.append(image)
    return frames


def _animation(codec: str, **options: Any) -> bytes:
    first, *others = _frames("P" if codec == "GIF" else "RGB")
    times = [100, 50, 200, 70]
    return _saved(first, codec, save_all=True, append_images=others, duration=times, loop=3, **options)


# What is refused


def _bad_files() -> dict[str, bytes]:
    colour = scene(channels=3, seed=60)
    whole = {
        "png": png(colour),
        "jpg": _pillow(colour, "JPEG", quality=90),
        "tif": _tiff(colour, 3, compression="zlib"),
        "webp": _pillow(colour, "WEBP", lossless=True),
        "bmp": _pillow(colour, "BMP"),
        "ppm": _pillow(colour, "PPM"),
        "gif": _pillow(scene(seed=61), "GIF"),
        "jp2": _pillow(colour, "JPEG2000"),
        "avif": _pillow(colour, "AVIF"),
    }
    files = {f"half.{ending}": contents[: len(contents) // 2] for ending, contents in whole.items()}
    files |= {f"start.{ending}": contents[:30] for ending, contents in whole.items()}
    damaged = bytearray(whole["png"])
    damaged[len(damaged) // 2] ^= 0xFF
    wide = np.dstack((colour, colour[..., :2]))
    premultiplied = _tiff(with_alpha(colour), 3, extrasamples=["assocalpha"])
    two = [Image.fromarray(scene(30, 30, 3, seed=seed)) for seed in (62, 63)]
    huge = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return files | {
        "damaged.png": bytes(damaged),
        "empty.png": b"",
        "text.png": b"no image at all\n" * 20,
        "endless.png": whole["png"][:-12],
        "huge.png": b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", huge) + whole["png"][33:],
        "wrong_name.jpg": whole["png"],
        "document.png": b"%PDF-1.4\n" + bytes(100),
        "lab.tif": _saved(Image.new("LAB", (20, 20), (9, 8, 7)), "TIFF"),
        "whole_numbers.tif": _tiff(scene(dtype=np.uint16, seed=64).astype(np.uint32)),
        "signed.tif": _tiff(scene(dtype=np.uint16, seed=64).astype(np.int16)),
        "double.tif": _tiff(scene(dtype=np.float64, seed=65)),
        "premultiplied.tif": premultiplied,
        "five_channels.tif": _tiff(wide, 3, extrasamples=["unassalpha", "unspecified"]),
        "shapes.tif": _saved(two[0], "TIFF", save_all=True, append_images=[two[1].resize((20, 20))]),
        "raw_preview.tif": plain_tiff(colour, {50706: (_BYTE, b"\1\4\0\0")}),
        "loop.tif": _looped(),
        "infinite.tif": _tiff(np.where(scene() > 200, np.inf, scene() / 255).astype(np.float32)),
        "inks_without_adobe.jpg": _without_adobe(),
        "several.mpo.jpg": _saved(two[0], "MPO", save_all=True, append_images=two[1:]),
    }


def _looped() -> bytes:
    """A directory that names itself as the next one."""
    contents = bytearray(plain_tiff(scene(20, 20), {}))
    contents[-4:] = contents[4:8]
    return bytes(contents)


def _without_adobe() -> bytes:
    contents = _pillow(scene(channels=4, seed=66), "JPEG", "CMYK", quality=90)
    start = contents.index(b"\xff\xee")
    length = int.from_bytes(contents[start + 2 : start + 4], "big")
    return contents[:start] + contents[start + 2 + length :]


# The tree of all of them


def make_inputs(folder: Path, samples: Path) -> None:
    """Fill a folder; samples: the repository's sample images."""
    shutil.copytree(samples, folder / "samples", ignore=shutil.ignore_patterns("*.md", "readme"))
    kinds = {**_png_files(), **_jpeg_files(), **_photo_files(), **_tiff_files()}
    _put(folder / "kinds", kinds)
    chosen = ("grey8.png", "colour8_alpha.png", "halved.jpg", "grey16.tif", "float32_colour.tif", "inks8.tif")
    _put(folder / "few", {name: kinds[name] for name in chosen})
    stacks = _stack_files()
    recorded = ("colour16.png", "texts.png", "turned.jpg", "tags.tif", "exif.tif", "palette.gif", "lossy.jp2")
    recorded = (*recorded, "stream.j2k", "software.tif", "imagej.tif", "film.gif", "film.png")
    _put(folder / "recorded", {name: (kinds | stacks)[name] for name in recorded})
    unrecorded = ("lossy.webp", "halved.avif", "grey.bmp", "colour.ppm", "grey.pfm", "grey8.png")
    _put(folder / "unrecorded", {name: kinds[name] for name in unrecorded})
    _put(folder / "stacks", stacks)
    _put(folder / "bad", _bad_files())
    _put(folder / "masks", _mask_files())
    _put(folder / "missing", _files_with_missing_pixels())
    _put(folder / "large", _large_files())
    series = {f"series{number}.png": png(scene(seed=70 + number)) for number in range(5)}
    _put(folder / "series", series | {"colour.png": png(scene(channels=3, seed=76))})
    _put_tree(folder / "tree")
    _put(folder / "reports", _report_files())


def _put(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, (name, contents) in enumerate(files.items()):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents)
        os.utime(path, (1_600_000_000 + number,) * 2)


def _mask_files() -> dict[str, bytes]:
    shape = (ROWS, COLUMNS)
    disc = np.hypot(*np.mgrid[-ROWS // 2 : ROWS // 2, -COLUMNS // 2 : COLUMNS // 2]) < 22
    planes = np.stack([np.roll(disc, 4 * number, 1)[:32, :40] for number in range(5)])
    grey = np.where(disc, 255, 0).astype(np.uint8)
    return {
        "disc.png": png(grey),
        "disc16.tif": _tiff(grey.astype(np.uint16) * 257, compression="zlib"),
        "one_bit.png": _saved(Image.fromarray(disc), "PNG"),
        "white.png": png(np.full(shape, 255, np.uint8)),
        "black.png": png(np.zeros(shape, np.uint8)),
        "grey.png": png(np.full(shape, 100, np.uint8)),
        "small.png": png(grey[:20, :20]),
        "plane.png": png(np.where(planes[0], 255, 0).astype(np.uint8)),
        "planes.tif": _pages(np.where(planes, 255, 0).astype(np.uint8), metadata=None),
    }


def _files_with_missing_pixels() -> dict[str, bytes]:
    generator = np.random.default_rng(80)

    def with_holes(values: Values) -> Values:
        values = values.copy()
        values[generator.random(values.shape[:2]) < 0.05] = np.nan
        values[10:16, 20:28] = np.nan
        return values

    stack = _stack(4, 32, 40, dtype=np.float32, seed=81)
    stack[1, 5:9, 5:9] = np.nan
    return {
        "grey.tif": _tiff(with_holes(scene(dtype=np.float32, seed=82)), compression="zlib"),
        "colour.tif": _tiff(with_holes(scene(channels=3, dtype=np.float32, seed=83)), 3),
        "half.tif": _tiff(with_holes(scene(dtype=np.float16, seed=84))),
        "none.tif": _tiff(scene(dtype=np.float32, seed=85)),
        "all.tif": _tiff(np.full((20, 20), np.nan, np.float32)),
        "grey.pfm": b"Pf\n%d %d\n-1.0\n" % (COLUMNS, ROWS)
        + with_holes(scene(dtype=np.float32, seed=86))[::-1].astype("<f4").tobytes(),
        "stack.tif": _pages(stack, imagej=True, metadata={"axes": "ZYX", "spacing": 2.0}),
    }


def _large_files() -> dict[str, bytes]:
    """Too large for the least that ``--memory`` takes."""
    grey = np.tile(scene(500, 500, dtype=np.uint16, seed=90), (5, 5))
    colour = np.tile(scene(350, 300, 3, seed=91), (4, 5, 1))
    volume = np.tile(_stack(12, 160, 200, seed=92), (1, 4, 4))
    return {
        "grey.tif": _tiff(grey, tile=(256, 256), compression="zlib", predictor=True),
        "colour.tif": _tiff(colour, 3, rowsperstrip=20, byteorder=">"),
        "volume.tif": _pages(volume, imagej=True, metadata={"axes": "ZYX", "spacing": 2.0}),
    }


def _put_tree(folder: Path) -> None:
    """Folders in folders, with names of every kind, hidden files, links, and what is no image."""
    image = {
        "b.png": 1, "a.PNG": 2, "raw/c.png": 3, "raw/old/d.png": 4, "day 1/e ü'.png": 5, "day 1/thumb_e.png": 6,
        ".hidden.png": 7, "._f.png": 8, "f.png": 9, "f_denoised.png": 10, "f_tune.png": 11, "line\nbreak.png": 12,
        "-dash.png": 13,
    }  # fmt: skip
    _put(folder, {name: png(scene(40, 44, seed=100 + seed)) for name, seed in image.items()})
    _put(folder, {"notes.txt": b"notes", "raw/film.mov": b"film", "Thumbs.db": b"db"})
    with suppress(OSError):  # file systems that take only Unicode, and those without links
        _put(folder, {os.fsdecode(b"latin\xe9.png"): png(scene(40, 44, seed=120))})
        (folder / "link.png").symlink_to("b.png")
        (folder / "linked").symlink_to("raw")


def _report_files() -> dict[str, bytes]:
    """Reports as a version of long ago may have left them."""
    entry: Callable[..., dict[str, Any]] = lambda source, **more: {  # noqa: E731
        "source": source, "target": f"out/{source}", "status": "done", "reason": None, "mu": 12.5, "epsilon": 0.01,
        "sigma": 0.09, "noise": "white", "correlation": 0.01, "growth": 1.1, "iterations": 23,
        "distance_bound": 0.0019, "converged": True, "planes": 1, "seconds": 0.5, "notes": None,
    } | more  # fmt: skip
    lines = [
        entry("a.png"),
        entry("b.png", mu=20.0, sigma=0.05, iterations=31, noise="varies with intensity"),
        entry("c.png", status="failed", reason="a reason", mu=None, sigma=None, noise=None),
        entry("d.png", converged=False, reason="a reason", sigma=0.07),
        entry("a.png", status="skipped", mu=None),
        {"status": "parameters", "channels": 1, "mu": 12.0, "sigma": 0.1, "notes": "a.png; b.png"},
        {"target": "a.png", "status": "replacing", "sha256": "0" * 64},
    ]
    text = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    return {
        "report.jsonl": text,
        "damaged.jsonl": text[:300] + b"\n" + text,
        "cut.jsonl": text[:-20],
        "empty.jsonl": b"",
        "no_report.jsonl": b"something else\n",
    }
