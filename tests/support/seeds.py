"""Small valid files of every supported format and kind, one line each, for tests that damage them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from importlib.util import find_spec
from io import BytesIO
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from PIL import Image, PngImagePlugin
from PIL.ImageCms import ImageCmsProfile, createProfile

from support.hostile import png_chunk
from support.jp2_files import codestream, jp2
from support.makers import metadata_for
from support.values import noise

_ROWS, _COLUMNS = 20, 24
_PROFILE = ImageCmsProfile(createProfile("sRGB")).tobytes()
_EXIF = Image.Exif()
_EXIF[274], _EXIF[271] = 6, "camera"
_EXIF.get_ifd(0x8769)[33434] = 0.01
_TEXTS = PngImagePlugin.PngInfo()
_TEXTS.add_text("Comment", "plain")
_TEXTS.add_text("Packed", "packed" * 9, zip=True)
_TEXTS.add_itxt("XML:com.adobe.xmp", "<x:xmpmeta/>")
_LUT = np.stack((np.arange(256) * 257,) * 3).astype(np.uint16)
_ALL = {"icc_profile": _PROFILE, "exif": _EXIF, "dpi": (300, 300)}


def _values(channels: int, dtype: type) -> np.ndarray:
    return noise(_ROWS, _COLUMNS, *((channels,) if channels > 1 else ()), dtype=dtype)


def _pillow(codec: str, mode: str, **options: Any) -> Callable[[], bytes]:
    """Encode with Pillow; mode may be one that Pillow only converts to."""

    def make() -> bytes:
        channels = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4, "I;16": 1, "F": 1}.get(mode, 3)
        dtype = {"I;16": np.uint16, "F": np.float32}.get(mode, np.uint8)
        values = _values(channels, dtype)
        image = (
            Image.fromarray(values) if mode != "CMYK" else Image.frombytes(mode, (_COLUMNS, _ROWS), values)
        )
        stream = BytesIO()
        (image if image.mode == mode else image.convert(mode)).save(stream, codec, **options)
        return stream.getvalue()

    return make


def _tiff(channels: int, dtype: type, **options: Any) -> Callable[[], bytes]:
    """Encode one page with tifffile."""

    def make() -> bytes:
        values = _values(channels, dtype)
        if options.get("planarconfig") == "separate":
            values = np.ascontiguousarray(np.moveaxis(values, -1, 0))
        photometric = options.get("photometric", "rgb" if channels > 2 else "minisblack")
        has_alpha = channels in (2, 4, 5) and (channels, photometric) != (4, "separated")
        extra = {"extrasamples": ["unassalpha"]} if has_alpha else {}
        given = extra | options | {"photometric": photometric}
        if "bitspersample" in given:
            values >>= 16 - given["bitspersample"]
        stream = BytesIO()
        tifffile.imwrite(stream, values, **given)
        return stream.getvalue()

    return make


def _unlike(*pages: tuple[np.ndarray, dict[str, Any]]) -> Callable[[], bytes]:
    """Encode pages with tifffile, each with its own options."""

    def make() -> bytes:
        stream = BytesIO()
        with tifffile.TiffWriter(stream) as writer:
            for values, options in pages:
                writer.write(values, **({"metadata": None, "photometric": "minisblack"} | options))
        return stream.getvalue()

    return make


def _deep_png(channels: int) -> Callable[[], bytes]:
    return lambda: bytes(imagecodecs.png_encode(_values(channels, np.uint16)))


def _interlaced() -> bytes:
    """Return an interlaced PNG, of Adam7's passes: the first row and column of each, and its steps."""
    values = _values(3, np.uint8)
    passes = [
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    ]
    rows = [row for top, left, down, right in passes for row in values[top::down, left::right]]
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    header = struct.pack(">IIBBBBB", _COLUMNS, _ROWS, 8, 2, 0, 0, 1)
    chunks = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def _pnm(header: bytes, channels: int, dtype: str) -> Callable[[], bytes]:
    return lambda: header + _values(channels, np.dtype(dtype).type).astype(dtype).tobytes()


def _plain(kind: bytes, channels: int) -> Callable[[], bytes]:
    """Encode a plain (ASCII) portable map of 16 bits."""
    return lambda: kind + b" 24 20 65535\n" + b"\n".join(b"%d" % v for v in _values(channels, np.uint16).flat)


def _deep_avif() -> bytes:
    return bytes(imagecodecs.avif_encode(_values(4, np.uint16) >> 6, level=95, bitspersample=10))


def _jp2(channels: int, dtype: type) -> Callable[[], bytes]:
    """Encode a JP2 with all metadata."""
    kind = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[channels]
    metadata = {**metadata_for(kind, ("icc", "xmp", "dpi")), "exif": _EXIF.tobytes()[6:]}
    return lambda: jp2(_values(channels, dtype), metadata)


def _heic(mode: str, **options: Any) -> Callable[[], bytes]:
    def make() -> bytes:
        import pillow_heif

        channels = len(mode)
        values, stream = _values(channels, np.uint8), BytesIO()
        pillow_heif.from_pillow(Image.fromarray(values)).save(stream, exif=_EXIF.tobytes(), **options)
        return stream.getvalue()

    return make


def _pages(shape: tuple[int, ...], dtype: type, **options: Any) -> Callable[[], bytes]:
    """Encode pages with tifffile."""

    def make() -> bytes:
        stream = BytesIO()
        tifffile.imwrite(stream, noise(*shape, dtype=dtype), **({"photometric": "minisblack"} | options))
        return stream.getvalue()

    return make


def _animation(codec: str, **options: Any) -> Callable[[], bytes]:
    """Encode an animation with Pillow."""

    def make() -> bytes:
        stream = BytesIO()
        first, *others = (
            Image.fromarray(noise(_ROWS, _COLUMNS, 3, seed=seed) // 64 * 85) for seed in range(3)
        )
        first.save(
            stream, codec, save_all=True, append_images=others, duration=[100, 70, 40], loop=2, **options
        )
        return stream.getvalue()

    return make


#: Files of several images.
SEVERAL: dict[str, Callable[[], bytes]] = {
    "pages.tif": _pages((3, _ROWS, _COLUMNS), np.uint8, compression="zlib"),
    "deep_pages.tif": _pages((3, _ROWS, _COLUMNS), np.uint16, byteorder=">", bigtiff=True),
    "colour_pages.tif": _pages((3, _ROWS, _COLUMNS, 3), np.uint8, photometric="rgb", compression="lzw"),
    "imagej.tif": _pages(
        (2, 2, _ROWS, _COLUMNS),
        np.uint16,
        imagej=True,
        metadata={"axes": "ZCYX", "Labels": ["a"] * 4, "spacing": 2},
    ),
    "sizes.tif": _unlike(
        (_values(1, np.uint8), {}),
        (_values(3, np.uint16)[:9], {"photometric": "rgb", "compression": "lzw"}),
    ),
    "truncated.tif": _pages((4, _ROWS, _COLUMNS), np.uint8, imagej=True, truncate=True),
    "stack.ome.tif": _pages(
        (2, 2, _ROWS, _COLUMNS), np.uint8, metadata={"axes": "ZCYX", "PhysicalSizeZ": 2.0}
    ),
    "film.gif": _animation("GIF", disposal=2),
    "film.png": _animation("PNG", blend=1),
    "film.webp": _animation("WEBP"),
}

SEEDS: dict[str, Callable[[], bytes]] = {
    "grey.png": _pillow("PNG", "L", **_ALL, pnginfo=_TEXTS),
    "grey_alpha.png": _pillow("PNG", "LA"),
    "colour.png": _pillow("PNG", "RGB", **_ALL, pnginfo=_TEXTS),
    "colour_alpha.png": _pillow("PNG", "RGBA"),
    "palette.png": _pillow("PNG", "P", transparency=3),
    "one_bit.png": _pillow("PNG", "1"),
    "deep_grey.png": _pillow("PNG", "I;16"),
    "deep_grey_alpha.png": _deep_png(2),
    "deep_colour.png": _deep_png(3),
    "deep_colour_alpha.png": _deep_png(4),
    "interlaced.png": _interlaced,
    "keyed.png": _pillow("PNG", "RGB", transparency=(1, 2, 3)),
    "grey.jpg": _pillow("JPEG", "L", **_ALL, comment=b"a comment"),
    "colour.jpg": _pillow("JPEG", "RGB", **_ALL, xmp=b"<x:xmpmeta/>"),
    "progressive.jpg": _pillow("JPEG", "RGB", progressive=True, subsampling=2),
    "restarts.jpg": _pillow("JPEG", "RGB", restart_marker_rows=1),
    "four.jpg": _pillow("JPEG", "CMYK"),
    "colour.webp": _pillow("WEBP", "RGB", icc_profile=_PROFILE, exif=_EXIF),
    "lossless_alpha.webp": _pillow("WEBP", "RGBA", lossless=True),
    "grey.bmp": _pillow("BMP", "L"),
    "colour.bmp": _pillow("BMP", "RGB", dpi=(300, 300)),
    "palette.bmp": _pillow("BMP", "P"),
    "palette.gif": _pillow("GIF", "P"),
    "interlaced.gif": _pillow("GIF", "P", interlace=1, transparency=0),
    "grey.gif": _pillow("GIF", "L", comment=b"a comment"),
    "clear.gif": _pillow("GIF", "P", transparency=7, optimize=False),
    "grey.avif": _pillow("AVIF", "L", subsampling="4:0:0", icc_profile=_PROFILE, exif=_EXIF),
    "colour.avif": _pillow("AVIF", "RGB", subsampling="4:2:0", xmp=b"<x:xmpmeta/>"),
    "colour_alpha.avif": _pillow("AVIF", "RGBA", quality=100, autotiling=False),
    "deep.avif": _deep_avif,
    "grey.jp2": _jp2(1, np.uint8),
    "colour.jp2": _pillow("JPEG2000", "RGB", irreversible=True, comment="a comment"),
    "tiled.jp2": _pillow("JPEG2000", "RGB", tile_size=(16, 16), num_resolutions=3, progression="RPCL"),
    "deep_grey_alpha.jp2": _jp2(2, np.uint16),
    "deep_colour_alpha.jp2": _jp2(4, np.uint16),
    "colour.j2k": _pillow("JPEG2000", "RGB", no_jp2=True, mct=1),
    "deep.j2k": lambda: codestream(_values(3, np.uint16)),
    "grey.pgm": _pillow("PPM", "L"),
    "colour.ppm": _pillow("PPM", "RGB"),
    "bits.pbm": _pillow("PPM", "1"),
    "deep.pgm": _pnm(b"P5 24 20 65535\n", 1, ">u2"),
    "deep.ppm": _pnm(b"P6 24 20 65535\n", 3, ">u2"),
    "float.pfm": _pnm(b"Pf\n24 20\n-1.0\n", 1, "<f4"),
    "float_big.pfm": _pnm(b"Pf\n24 20\n1.0\n", 1, ">f4"),
    "colour.pfm": _pnm(b"PF\n24 20\n-1.0\n", 3, "<f4"),
    "plain.ppm": lambda: b"P3 3 2 255\n" + b"1 2 3 4 5 6 7 8 9\n" * 2,
    "plain_deep.pgm": _plain(b"P2", 1),
    "plain_deep.ppm": _plain(b"P3", 3),
    "grey.tif": _pillow("TIFF", "L", **_ALL),
    "colour.tif": _pillow("TIFF", "RGB", compression="tiff_lzw", icc_profile=_PROFILE, dpi=(300, 300)),
    "palette.tif": _pillow("TIFF", "P", compression="packbits"),
    "one_bit.tif": _pillow("TIFF", "1", compression="group4"),
    "four.tif": _pillow("TIFF", "CMYK"),
    "jpeg.tif": _pillow("TIFF", "RGB", compression="jpeg"),
    "lut.tif": _tiff(1, np.uint8, photometric="palette", colormap=_LUT),
    "pyramid.tif": _unlike(
        (_values(3, np.uint8), {"photometric": "rgb", "tile": (16, 16), "subifds": 1}),
        (_values(3, np.uint8)[::2, ::2].copy(), {"photometric": "rgb", "subfiletype": 1}),
    ),
    "overviews.tif": _unlike(
        (_values(1, np.uint8), {"compression": "zlib"}),
        (_values(1, np.uint8)[::2, ::2].copy(), {"subfiletype": 1, "tile": (16, 16)}),
    ),
    "white_is_zero.tif": _tiff(1, np.uint8, photometric="miniswhite"),
    "planar.tif": _tiff(3, np.uint8, planarconfig="separate"),
    "tiled.tif": _tiff(3, np.uint8, tile=(16, 16), compression="zlib", predictor=True),
    "big_endian.tif": _tiff(3, np.uint8, byteorder=">", rowsperstrip=3),
    "big.tif": _tiff(3, np.uint16, bigtiff=True, compression="lzw"),
    "deep_grey.tif": _tiff(1, np.uint16, compression="zlib"),
    "deep_colour_alpha.tif": _tiff(4, np.uint16, tile=(16, 32), compression="zstd"),
    "deep_planar.tif": _tiff(3, np.uint16, planarconfig="separate", compression="packbits"),
    "float.tif": _tiff(1, np.float32),
    "big_big_endian.tif": _tiff(3, np.uint16, bigtiff=True, byteorder=">", rowsperstrip=5),
    "deep_four.tif": _tiff(4, np.uint16, photometric="separated", compression="lzw", predictor=True),
    "four_alpha.tif": _tiff(5, np.uint8, photometric="separated"),
    "float_alpha.tif": _tiff(2, np.float32, compression="zlib"),
    "float_colour_alpha.tif": _tiff(4, np.float32, tile=(16, 16)),
    "half_colour_alpha.tif": _tiff(4, np.float16, planarconfig="separate"),
    "float_colour.tif": _tiff(3, np.float32, compression="zlib", predictor=3),
    "half.tif": _tiff(1, np.float16, byteorder=">", compression="lzma"),
    "signed.tif": _tiff(1, np.int16, byteorder=">", compression="lzw", predictor=True),
    "double_colour.tif": _tiff(3, np.float64, compression="zlib", predictor=3),
    "wide.tif": _tiff(1, np.uint32, tile=(16, 16), extratags=[(42113, 2, 0, "7", True)]),
    "bands.tif": _tiff(
        6, np.uint16, photometric="minisblack", extrasamples=["unspecified"] * 5, compression="lzw"
    ),
    "bands_planar.tif": _tiff(
        5, np.uint8, photometric="rgb", planarconfig="separate", extrasamples=["unassalpha", "unspecified"]
    ),
    "premultiplied.tif": _tiff(4, np.uint8, extrasamples=["assocalpha"], compression="zlib"),
    "packed.tif": _tiff(1, np.uint16, bitspersample=12),
    "described.tif": _tiff(
        1, np.uint8, description="text", software="maker", extratags=[(65000, 3, 2, (7, 8), True)]
    ),
}
if find_spec("pillow_heif") is not None:
    SEEDS |= {
        "grey.heic": _heic("L"),
        "colour.heic": _heic("RGB", chroma="420"),
        "colour_alpha.heic": _heic("RGBA", quality=-1),
    }
