"""Files made to exhaust their readers: huge claims, bombs, loops, and millions of tiny pieces."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from importlib.util import find_spec
from io import BytesIO

import numpy as np
from PIL import Image

_MANY = 1_000_000
_MEGABYTE = 1 << 20
_HUGE = 2**31 - 1
_SHORT, _LONG, _BYTE, _LONG8 = 3, 4, 1, 16
_WIDTHS = {_BYTE: 1, 2: 1, _SHORT: 2, _LONG: 4, _LONG8: 8}
Entry = tuple[int, int, int, int]  # tag, type, count, and the value or its offset


def deflated_zeros(length: int) -> bytes:
    """Return a zlib stream of so many zeros, made without compressing them all."""
    whole, rest = divmod(length, _MEGABYTE)
    compressor = zlib.compressobj(9, wbits=-15)
    block = compressor.compress(bytes(_MEGABYTE)) + compressor.flush(zlib.Z_FULL_FLUSH)
    end = compressor.compress(bytes(rest)) + compressor.flush()
    checksum = (length % 65521) << 16 | 1  # Adler-32 of zeros
    return b"\x78\xda" + block * whole + end + struct.pack(">I", checksum)


def png_chunk(kind: bytes, contents: bytes = b"") -> bytes:
    return struct.pack(">I", len(contents)) + kind + contents + struct.pack(">I", zlib.crc32(kind + contents))


def png(
    columns: int = 2,
    rows: int = 2,
    depth: int = 8,
    colour: int = 0,
    *,
    before: bytes = b"",
    after: bytes = b"",
    pixels: bytes | None = None,
) -> bytes:
    """Return a PNG with additional chunks before or after its pixels, which are black by default."""
    if pixels is None:
        samples = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
        pixels = png_chunk(b"IDAT", deflated_zeros(rows * (1 + (columns * depth * samples + 7) // 8)))
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + before + pixels + after + png_chunk(b"IEND")


def _pillow(extension: str, mode: str = "RGB", **options: object) -> bytes:
    stream = BytesIO()
    Image.new(mode, (8, 8)).save(stream, extension, **options)
    return stream.getvalue()


def jpeg(segments: bytes = b"", size: tuple[int, int] = (8, 8)) -> bytes:
    contents = _pillow("JPEG")
    frame = contents.index(b"\xff\xc0")
    contents = contents[: frame + 5] + struct.pack(">HH", size[1], size[0]) + contents[frame + 9 :]
    return contents[:2] + segments + contents[2:]


def _scans(count: int) -> bytes:
    """Return a progressive JPEG whose last scan, of a few bytes, is repeated."""
    contents = _pillow("JPEG", progressive=True)
    return contents[:-2] + contents[contents.rindex(b"\xff\xda") : -2] * count + contents[-2:]


def segment(marker: int, contents: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(contents) + 2) + contents


def tiff(entries: list[Entry], *more: bytes, following: int = 0, big: bool = False) -> bytes:
    """Return a TIFF of one directory, at its beginning, followed by further bytes."""
    if big:
        packed = [struct.pack("<HHQ", *entry[:3]) + struct.pack("<Q", entry[3]) for entry in sorted(entries)]
        head = struct.pack("<2sHHHQ", b"II", 43, 8, 0, 16) + struct.pack("<Q", len(entries))
        return head + b"".join(packed) + struct.pack("<Q", following) + b"".join(more)
    packed = [struct.pack("<HHII", *entry) for entry in sorted(entries)]
    head = struct.pack("<2sHI", b"II", 42, 8) + struct.pack("<H", len(entries))
    return head + b"".join(packed) + struct.pack("<I", following) + b"".join(more)


def tiff_entries(columns: int, rows: int, bits: int = 8, samples: int = 1, **replaced: Entry) -> list[Entry]:
    """Return the entries of a plain TIFF with one strip; keyword arguments replace those of the same tag."""
    size = min(columns * rows * samples * bits // 8, 2**32 - 1)
    entries = [
        (256, _LONG, 1, columns), (257, _LONG, 1, rows), (258, _SHORT, 1, bits), (259, _SHORT, 1, 1),
        (262, _SHORT, 1, 1), (273, _LONG, 1, 200), (277, _SHORT, 1, samples), (278, _LONG, 1, rows),
        (279, _LONG, 1, size),
    ]  # fmt: skip
    tags = {entry[0] for entry in replaced.values()}
    return [entry for entry in entries if entry[0] not in tags] + list(replaced.values())


def _described(text: bytes) -> bytes:
    """Return a TIFF of 2 × 2 zeros with a description."""
    return tiff(tiff_entries(2, 2, described=(270, 2, len(text) + 1, 300))).ljust(300, b"\0") + text + b"\0"


def deep_entries(columns: int, rows: int, **replaced: Entry) -> list[Entry]:
    """Return the entries for half-precision floats, which are decoded without Pillow."""
    return tiff_entries(columns, rows, 16, form=(339, _SHORT, 1, 3), **replaced)


def _directories(count: int, *, loops: bool, subfile: int = 1) -> bytes:
    """Return a chain of directories of overviews (or pages), optionally a loop."""
    entries = [*tiff_entries(2, 2), (254, _LONG, 1, subfile)]
    width = len(tiff(entries)) - 8
    start = 300
    first = tiff(tiff_entries(2, 2), following=start).ljust(start, b"\0")
    page = np.frombuffer(tiff(entries)[8:], np.uint8)
    chain = np.tile(page, (count, 1))
    following = start + width * np.arange(1, count + 1, dtype="<u4")
    following[-1] = start if loops else 0
    chain[:, -4:] = following.view(np.uint8).reshape(count, 4)
    return first + chain.tobytes()


def _many_strips(count: int, *, deep: bool) -> bytes:
    """Return a TIFF with a strip for each row."""
    entries = (deep_entries if deep else tiff_entries)(
        1,
        count,
        lines=(278, _LONG, 1, 1),
        places=(273, _LONG, count, 300),
        sizes=(279, _LONG, count, 300 + 4 * count),
    )
    places = np.arange(count, dtype="<u4") * (2 if deep else 1) + 300 + 8 * count
    sizes = np.full(count, 2 if deep else 1, "<u4")
    return tiff(entries).ljust(300, b"\0") + places.tobytes() + sizes.tobytes() + bytes(2 * count)


def _tile_bomb(side: int) -> bytes:
    """Return a TIFF of four pixels in a tile of side² bytes, a gigabyte for 2¹⁵."""
    tile = deflated_zeros(side * side)
    entries = tiff_entries(
        2, 2, a=(322, _LONG, 1, side), b=(323, _LONG, 1, side), c=(324, _LONG, 1, 300), d=(325, _LONG, 1, len(tile)),
        e=(259, _SHORT, 1, 8),
    )  # fmt: skip
    return tiff(entries).ljust(300, b"\0") + tile


def _two_headers() -> bytes:
    """Return a 16-bit colour PNG (decoded without Pillow) with two headers, of which decoders may use either."""
    first = png(60_000, 60_000, 16, 2, pixels=png_chunk(b"IDAT", deflated_zeros(1000)))
    return first[:33] + png(2, 2, 16, 2)[8:]


def _gif(frames: int = 1, size: tuple[int, int] = (2, 2), comment: bytes = b"") -> bytes:
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 2, 2, 0) + b"\x02\x03\x84\x51\x00\x00"
    head = b"GIF89a" + struct.pack("<HHBBB", *size, 0x80, 0, 0) + bytes((0, 0, 0, 255, 255, 255))
    return head + comment + frame * frames + b"\x3b"


def _bmp(columns: int, rows: int) -> bytes:
    contents = bytearray(_pillow("BMP"))
    struct.pack_into("<ii", contents, 18, columns, rows)
    return bytes(contents)


def _webp(columns: int, rows: int) -> bytes:
    frame = _pillow("WEBP", lossless=True)[12:]
    extended = b"VP8X" + struct.pack("<I", 10) + bytes(4)
    extended += (columns - 1).to_bytes(3, "little") + (rows - 1).to_bytes(3, "little")
    return b"RIFF" + struct.pack("<I", 4 + len(extended) + len(frame)) + b"WEBP" + extended + frame


def _avif(columns: int, rows: int) -> bytes:
    """Return an AVIF of 8 × 8 pixels that claims another size."""
    return _pillow("AVIF").replace(struct.pack(">II", 8, 8), struct.pack(">II", columns, rows))


def _avif_of_boxes(count: int) -> bytes:
    """Return an AVIF with so many empty properties."""
    contents = _pillow("AVIF")
    end = _end_of(contents, b"ipco")
    for kind in (b"ipco", b"iprp", b"meta"):
        place = contents.index(kind) - 4
        length = int.from_bytes(contents[place : place + 4], "big") + 8 * count
        contents = contents[:place] + struct.pack(">I", length) + contents[place + 4 :]
    return contents[:end] + struct.pack(">I4s", 8, b"free") * count + contents[end:]


def _end_of(contents: bytes, kind: bytes) -> int:
    place = contents.index(kind) - 4
    return place + int.from_bytes(contents[place : place + 4], "big")


def _heic(columns: int, rows: int) -> bytes:
    import pillow_heif

    stream = BytesIO()
    pillow_heif.from_pillow(Image.new("L", (64, 64))).save(stream)
    return stream.getvalue().replace(struct.pack(">II", 64, 64), struct.pack(">II", columns, rows))


def _j2k(columns: int, rows: int, tile: int | None = None) -> bytes:
    """Return a codestream of 8 × 8 pixels that claims another size, in one tile or in tiles of a given side."""
    contents = bytearray(_pillow("JPEG2000", "L", no_jp2=True))
    struct.pack_into(">II", contents, 8, columns, rows)
    struct.pack_into(">II", contents, 24, tile or columns, tile or rows)
    return bytes(contents)


def _jp2(codestream: bytes, columns: int, rows: int, before: bytes = b"") -> bytes:
    header = struct.pack(">I4sIIHBBBB", 22, b"ihdr", rows, columns, 1, 7, 7, 0, 0)
    header += struct.pack(">I4sBBBI", 15, b"colr", 1, 0, 0, 17)
    start = (
        struct.pack(">I4s4s", 12, b"jP  ", b"\r\n\x87\n")
        + struct.pack(">I4s", 20, b"ftyp")
        + b"jp2 \0\0\0\0jp2 "
    )
    start += struct.pack(">I4s", 8 + len(header), b"jp2h") + header
    return start + before + struct.pack(">I4s", 8 + len(codestream), b"jp2c") + codestream


def _components(count: int) -> bytes:
    """Return a codestream with so many channels."""
    contents = _j2k(8, 8)
    rest = contents[contents.index(b"\xff\x52") :]
    size = contents[6:40] + struct.pack(">H", count) + b"\7\1\1" * count
    return contents[:4] + struct.pack(">H", len(size) + 2) + size + rest


def _j2k_comments(count: int) -> bytes:
    contents = _j2k(8, 8)
    place = contents.index(b"\xff\x90")
    return contents[:place] + b"\xff\x64\0\5\0\1a" * count + contents[place:]


def _icc(length: int) -> bytes:
    return png_chunk(b"iCCP", b"profile\0\0" + deflated_zeros(length))


def _zipped_text(length: int) -> bytes:
    return png_chunk(b"zTXt", b"Comment\0\0" + deflated_zeros(length))


def _international_text(length: int) -> bytes:
    return png_chunk(b"iTXt", b"Comment\0\1\0\0\0" + deflated_zeros(length))


GIGABYTE = 1 << 30

#: Functions that return files that are refused, by file name.
REFUSED: dict[str, Callable[[], bytes]] = {
    "one_bit.png": lambda: png(30_000, 30_000, 1),
    "huge.png": lambda: png(_HUGE, _HUGE, pixels=png_chunk(b"IDAT", zlib.compress(b"\0"))),
    "huge_deep.png": lambda: png(_HUGE, _HUGE, 16, 6, pixels=png_chunk(b"IDAT", zlib.compress(b"\0"))),
    "text_bomb.png": lambda: png(before=_zipped_text(GIGABYTE)),
    "text_bomb_behind.png": lambda: png(after=_zipped_text(GIGABYTE)),
    "text_bomb_deep.png": lambda: png(2, 2, 16, 2, after=_international_text(GIGABYTE)),
    "international_bomb.png": lambda: png(before=_international_text(GIGABYTE)),
    "many_text_bombs.png": lambda: png(before=_zipped_text(1 << 20) * 1000),
    "profile_bomb.png": lambda: png(before=_icc(GIGABYTE)),
    "image_chunks.png": lambda: png(
        pixels=b"".join(png_chunk(b"IDAT", bytes((byte,))) for byte in zlib.compress(bytes(6), 0))
        + png_chunk(b"IDAT") * _MANY
    ),
    "two_headers.png": _two_headers,
    "chunks.png": lambda: png(before=png_chunk(b"teSt") * _MANY),
    "text_chunks.png": lambda: png(before=png_chunk(b"tEXt", b"a\0b") * _MANY),
    "time_chunks_behind.png": lambda: png(after=png_chunk(b"teSt") * _MANY),
    "excess_deep.png": lambda: png(2, 2, 16, 2, pixels=png_chunk(b"IDAT", deflated_zeros(10 * GIGABYTE))),
    "padding.jpg": lambda: jpeg(b"\xff" * 20 * _MEGABYTE),
    "filling.jpg": lambda: jpeg(bytes(20 * _MEGABYTE)),
    "scans.jpg": lambda: _scans(3000),
    "huge.jpg": lambda: jpeg(size=(65_500, 65_500)),
    "segments.jpg": lambda: jpeg(segment(0xED, b"") * _MANY),
    "comments.jpg": lambda: jpeg(segment(0xFE, b"a") * _MANY),
    "exif_segments.jpg": lambda: jpeg(segment(0xE1, b"Exif\0\0a") * _MANY),
    "profile_segments.jpg": lambda: jpeg(
        b"".join(segment(0xE2, b"ICC_PROFILE\0" + bytes((n % 255 + 1, 255)) + b"a") for n in range(_MANY))
    ),
    "xmp_segments.jpg": lambda: jpeg(
        segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + bytes(40)) * 100_000
    ),
    "huge.tif": lambda: tiff(tiff_entries(2**32 - 1, 2**32 - 1)),
    "terabytes.tif": lambda: tiff(tiff_entries(1_000_000, 400), bytes(100)),
    "terabytes_deep.tif": lambda: tiff(deep_entries(10_000, 40_000), bytes(100)),
    "huge_big.tif": lambda: tiff(
        tiff_entries(2, 2, a=(256, _LONG8, 1, 2**60), b=(257, _LONG8, 1, 2**60)), big=True
    ),
    "tag_count.tif": lambda: tiff(
        tiff_entries(20, 2, a=(273, _LONG, 2**32 - 1, 8), b=(270, 2, 2**32 - 1, 8))
    ),
    "tag_count_big.tif": lambda: tiff(tiff_entries(20, 2, a=(273, _LONG, 2**60, 8)), big=True),
    "self.tif": lambda: tiff(tiff_entries(2, 2, a=(254, _LONG, 1, 0)), bytes(100), following=8),
    "loop.tif": lambda: _directories(100_000, loops=True),
    "chain.tif": lambda: _directories(100_000, loops=False),
    "page_loop.tif": lambda: _directories(1000, loops=True, subfile=2),
    "page_chain.tif": lambda: _directories(100_000, loops=False, subfile=2),
    "page_outside.tif": lambda: tiff(tiff_entries(2, 2), bytes(100), following=2**31),
    "stack_of_millions.tif": lambda: _described(b"ImageJ=1.54\nimages=2000000000\n"),
    "tags.tif": lambda: tiff(
        [*tiff_entries(2, 2, a=(273, _LONG, 1, 8)), *((1000 + n, _SHORT, 1, 7) for n in range(30_000))]
    ),
    "tiles_of_zero.tif": lambda: tiff(
        tiff_entries(
            2, 2, a=(322, _SHORT, 1, 0), b=(323, _SHORT, 1, 0), c=(324, _LONG, 1, 8), d=(325, _LONG, 1, 4)
        ),
        bytes(100),
    ),
    "tiles_of_zero_deep.tif": lambda: tiff(
        deep_entries(
            2, 2, a=(322, _SHORT, 1, 0), b=(323, _SHORT, 1, 0), c=(324, _LONG, 1, 8), d=(325, _LONG, 1, 8)
        ),
        bytes(100),
    ),
    "huge_tiles.tif": lambda: tiff(
        tiff_entries(
            2,
            2,
            a=(322, _LONG, 1, 2**31 - 16),
            b=(323, _LONG, 1, 2**31 - 16),
            c=(324, _LONG, 1, 8),
            d=(325, _LONG, 1, 4),
            e=(259, _SHORT, 1, 5),
        ),
        bytes(100),
    ),
    "tile_bomb.tif": lambda: _tile_bomb(1 << 15),
    "huge_strip.tif": lambda: tiff(
        tiff_entries(2, 2, a=(279, _LONG, 1, 2**32 - 1), b=(259, _SHORT, 1, 5)), bytes(100)
    ),
    "offset_behind.tif": lambda: tiff(tiff_entries(2, 2, a=(273, _LONG, 1, 2**32 - 100)), bytes(100)),
    "offset_behind_deep.tif": lambda: tiff(deep_entries(2, 2, a=(273, _LONG, 1, 2**32 - 100)), bytes(100)),
    "strips.tif": lambda: _many_strips(_MANY, deep=False),
    "strips_deep.tif": lambda: _many_strips(_MANY, deep=True),
    "huge.webp": lambda: _webp(1 << 24, 1 << 8),
    "huge.avif": lambda: _avif(_HUGE, _HUGE),
    "wide.avif": lambda: _avif(_HUGE, 1),
    "long.avif": lambda: _avif(20_000, 20_000),
    "boxes.avif": lambda: _avif_of_boxes(_MANY),
    "huge.j2k": lambda: _j2k(_HUGE, _HUGE),
    "tiles.j2k": lambda: _j2k(20_000, 20_000, tile=100),
    "tiny_tiles.j2k": lambda: _j2k(20_000, 20_000, tile=1),
    "components.j2k": lambda: _components(16_384),
    "comments.j2k": lambda: _j2k_comments(_MANY),
    "huge.jp2": lambda: _jp2(_j2k(_HUGE, _HUGE), _HUGE, _HUGE),
    "huge_inside.jp2": lambda: _jp2(_j2k(30_000, 30_000), 8, 8),
    "tiles.jp2": lambda: _jp2(_j2k(20_000, 20_000, tile=100), 20_000, 20_000),
    "boxes.jp2": lambda: _jp2(_j2k(8, 8), 8, 8, before=struct.pack(">I4s", 8, b"free") * _MANY),
    "unknown_boxes.jp2": lambda: _jp2(_j2k(8, 8), 8, 8, before=struct.pack(">I4s", 8, b"uuid") * _MANY),
    "huge.bmp": lambda: _bmp(_HUGE, _HUGE),
    "long.bmp": lambda: _bmp(20_000, 20_000),
    "huge.gif": lambda: _gif(size=(65_535, 65_535)),
    "comments.gif": lambda: _gif(comment=(b"\x21\xfe\x01a\0") * _MANY),
    "filling.gif": lambda: _gif(comment=bytes(20 * _MEGABYTE)),
    "frames.gif": lambda: _gif(_MANY),
    "huge.ppm": lambda: b"P6 2147483647 2147483647 255\n" + bytes(100),
    "huge_deep.ppm": lambda: b"P6 2147483647 2147483647 65535\n" + bytes(100),
    "long.pgm": lambda: b"P5 20000 20000 255\n" + bytes(100),
    "long_deep.ppm": lambda: b"P6 20000 20000 65535\n" + bytes(100),
    "plain.ppm": lambda: b"P3 20000 20000 255\n" + bytes(100),
    "number.pgm": lambda: b"P5 " + b"9" * 20_000_000,
    "comment.pgm": lambda: b"P5 #" + b"a" * 20_000_000,
    "comments.ppm": lambda: b"P3 2 2 255\n" + b"#\n" * _MANY + b"1 2 3 " * 4,
    "huge.pfm": lambda: b"Pf\n2147483647 2147483647\n-1.0\n" + bytes(100),
    "long.pfm": lambda: b"Pf\n20000 20000\n-1.0\n" + bytes(100),
}

#: Odd, but valid images: denoised or refused.
ODD: dict[str, Callable[[], bytes]] = {
    "excess.png": lambda: png(pixels=png_chunk(b"IDAT", deflated_zeros(10 * GIGABYTE))),
    "ome_entities.tif": lambda: _described(
        b"<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'>"
        + b"".join(b"<!ENTITY a%d '%s'>" % (n, b"&a;" * 10) for n in range(20))
        + b"]><OME>&a19;</OME>",
    ),
    "ome_of_millions.tif": lambda: _described(
        b'<OME><Image><Pixels SizeX="2" SizeY="2" SizeZ="1000000" SizeC="1000" SizeT="1000"/></Image></OME>'
    ),
    "exif_loop.tif": lambda: tiff(
        tiff_entries(2, 2, a=(34665, _LONG, 1, 8), b=(34853, _LONG, 1, 8)), bytes(100)
    ),
    "comment.gif": lambda: _gif(comment=b"\x21\xfe" + (b"\xff" + b"a" * 255) * 80_000 + b"\0"),
}
if find_spec("pillow_heif") is not None:
    REFUSED |= {"huge.heic": lambda: _heic(_HUGE, _HUGE), "long.heic": lambda: _heic(16_000, 16_000)}
