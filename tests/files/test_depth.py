"""Pixels that Pillow cannot hold: 16-bit colour, 16-bit alpha, float colour, half precision."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from support.metadata import exif_bytes, information
from support.processes import environment
from support.readers import tiff_values
from support.round_trips import close, returned
from support.tiff_files import simple_tiff
from support.values import noise, pixels
from tvdenoise.errors import TvdenoiseError, UnreadableImageError, UnsupportedImageError
from tvdenoise.files.decoded import DecodedImage
from tvdenoise.files.reading import read
from tvdenoise.files.writing import encode
from tvdenoise.formats.registry import FAMILIES, FORMAT_BY_EXTENSION

COLOUR = noise(37, 50, 3, dtype=np.uint16)
FLOATS = noise(37, 50, 3, dtype=np.float32) * 7 - 2
SMOOTH = np.add.outer(np.arange(37), np.arange(50))[..., np.newaxis] * np.array([300, 500, 700])
SMOOTH = SMOOTH.astype(np.uint16)
INKS = [(332, 3, 1, 2)]  # of which none is CMYK


def png(
    depth: int,
    colour: int,
    row: bytes,
    *more: tuple[bytes, bytes],
    after: tuple[tuple[bytes, bytes], ...] = (),
) -> bytes:
    """A PNG of 2 × 1 pixels."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 2, 1, depth, colour, 0, 0, 0)), *more]
    chunks += [(b"IDAT", zlib.compress(b"\0" + row))]
    packed = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in [*chunks, *after, (b"IEND", b"")]
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


@pytest.mark.slow
@pytest.mark.parametrize("values", [COLOUR, SMOOTH, FLOATS, FLOATS.astype(np.float16)], ids="usfh")
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"byteorder": ">"},
        {"bigtiff": True},
        {"compression": "lzw", "byteorder": ">"},
        {"compression": "lzw", "predictor": True},
        {"compression": "zlib", "predictor": True, "byteorder": ">"},
        {"compression": "zlib", "rowsperstrip": 5},
        {"compression": "packbits"},
        {"compression": "zstd"},
        {"compression": "lzma", "predictor": True},
        {"tile": (16, 32), "compression": "zlib"},
        {"tile": (16, 16), "byteorder": ">", "predictor": True, "compression": "lzw"},
    ],
    ids=str,
)
def test_a_tiff_comes_through_however_it_is_stored(options, values, command, tmp_path: Path) -> None:
    if options.get("predictor") and values.dtype.kind == "f":
        options = options | {"predictor": 3}
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", **options)
    close(tiff_values(returned(command, "a.tif")), values)


@pytest.mark.parametrize(
    "options", [{}, {"tile": (16, 32), "compression": "zlib", "predictor": True}], ids=str
)
@pytest.mark.parametrize("alpha", [False, True])
def test_a_planar_tiff_comes_through(options, alpha: bool, command, tmp_path: Path) -> None:
    values = noise(37, 50, 4 if alpha else 3, dtype=np.uint16)
    extra = {"extrasamples": ["unassalpha"]} if alpha else {}
    planes = np.ascontiguousarray(np.moveaxis(values, -1, 0))
    tifffile.imwrite(
        tmp_path / "a.tif", planes, photometric="rgb", planarconfig="separate", **extra, **options
    )
    close(tiff_values(returned(command, "a.tif")), values)


@pytest.mark.parametrize(("dtype", "bits"), [(np.float16, np.uint16), (np.float32, np.uint32)])
def test_horizontal_differences_of_floats_are_undone(dtype: type, bits: type, tmp_path: Path) -> None:
    values = FLOATS.astype(dtype)
    differences = values.view(bits).copy()
    differences[:, 1:] -= values.view(bits)[:, :-1]
    contents = encode(DecodedImage(differences.view(dtype)), FORMAT_BY_EXTENSION[".tif"])
    (tmp_path / "a.tif").write_bytes(with_tag(contents, 317, 2))
    np.testing.assert_array_equal(read(tmp_path / "a.tif").intensities, values)


@pytest.mark.parametrize("compression", ["raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "lzma", "zstd"])
def test_the_lossless_compression_of_a_deep_tiff_is_kept(compression: str, command, tmp_path: Path) -> None:
    name = {"raw": None, "tiff_lzw": "lzw", "tiff_adobe_deflate": "zlib"}.get(compression, compression)
    tifffile.imwrite(tmp_path / "a.tif", SMOOTH, photometric="rgb", compression=name)
    assert information_of_tags(returned(command, "a.tif"))["compression"] == compression


def information_of_tags(path: Path) -> dict:
    with Image.open(path) as opened:
        return dict(opened.info)


def test_16_bit_values_are_denoised_and_alpha_is_not(command, tmp_path: Path) -> None:
    values = noise(20, 20, 4, dtype=np.uint16)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(values))
    assert command("run", "a.png", "--mu", "1").exit_code == 0
    after = imagecodecs.imread(tmp_path / "a_denoised.png")
    np.testing.assert_array_equal(after[..., 3], values[..., 3])
    assert after[..., :3].std() < values[..., :3].std() / 2


def test_texts_and_colour_chunks_around_16_bit_pixels_are_kept(command, tmp_path: Path) -> None:
    gamma = (b"gAMA", (45455).to_bytes(4, "big"))
    after = ((b"tEXt", b"Title\0after the pixels"), (b"eXIf", exif_bytes(1)[6:]))
    (tmp_path / "a.png").write_bytes(png(16, 2, bytes(range(12)), gamma, after=after))
    path = returned(command, "a.png")
    assert information(path)["Title"] == "after the pixels"
    assert information(path)["gamma"] == 0.45455
    assert information(path)["exif"] == exif_bytes(1)
    np.testing.assert_array_equal(imagecodecs.imread(path).astype(">u2").tobytes(), bytes(range(12)))


@pytest.mark.parametrize(
    ("colour", "row", "transparent", "alpha"),
    [(0, b"\0\1\1\0", b"\0\1", [0, 65535]), (2, bytes(range(12)), bytes(range(6, 12)), [65535, 0])],
)
def test_a_transparent_16_bit_colour_becomes_alpha(
    colour, row, transparent, alpha, command, tmp_path
) -> None:
    (tmp_path / "a.png").write_bytes(png(16, colour, row, (b"tRNS", transparent)))
    picture = read(returned(command, "a.png"))
    assert picture.alpha.tolist() == [alpha]
    assert picture.intensities.astype(">u2").tobytes() == row
    assert read(tmp_path / "a.png").notes == ("its transparent colour is written as alpha",)


@pytest.mark.slow
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_deep_tiff_is_turned_as_pillow_turns_others(orientation: int, command, tmp_path: Path) -> None:
    small = noise(5, 8, 3)
    xmp = b'<x tiff:Orientation="%d" other="here"/>' % orientation
    for name, values in (("a.tif", small), ("b.tif", small.astype(np.uint16) * 257)):
        tags = [(274, 3, 1, orientation), (700, 1, len(xmp), xmp)]
        tifffile.imwrite(tmp_path / name, values, photometric="rgb", extratags=tags)
    expected = pixels(returned(command, "a.tif", "c.tif"))
    deep = returned(command, "b.tif", "d.tif")
    np.testing.assert_array_equal(tiff_values(deep), expected.astype(np.uint16) * 257)
    with tifffile.TiffFile(deep) as opened:
        assert 274 not in opened.pages[0].tags or orientation == 1
        if orientation > 1:
            assert bytes(opened.pages[0].tags[700].value) == b'<x  other="here"/>'


def test_16_bits_go_into_other_formats_that_hold_them(command, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(COLOUR))
    np.testing.assert_array_equal(tiff_values(returned(command, "a.png", "b.tif")), COLOUR)
    returned(command, "b.tif", "c.ppm")
    np.testing.assert_array_equal(imagecodecs.imread(returned(command, "c.ppm", "d.png")), COLOUR)


def test_16_bits_are_never_cut_for_a_format(command, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(COLOUR))
    result = command("run", "a.png", "-o", "b.jpg")
    assert result.exit_code == 1
    assert "a.png: " in result.stderr
    assert not (tmp_path / "b.jpg").exists()


def test_half_precision_never_becomes_infinite() -> None:
    stored = DecodedImage(np.zeros((1, 2), np.float16)).with_denoised(np.array([[7e4, -7e4]], np.float32))
    assert stored.intensities.tolist() == [[65504, -65504]]


def test_a_16_bit_ppm_with_an_odd_largest_value_is_stretched_with_a_notice(command, tmp_path: Path) -> None:
    (tmp_path / "a.ppm").write_bytes(b"P6 # odd\n1 1 1000\n" + struct.pack(">3H", 0, 500, 1000))
    result = command("run", "a.ppm", "--mu", "1e9")
    assert "note: " in result.stderr
    assert (tmp_path / "a_denoised.ppm").read_bytes() == b"P6\n1 1\n65535\n" + struct.pack(
        ">3H", 0, 32768, 65535
    )


@pytest.mark.parametrize(
    ("contents", "reason"),
    [
        (b"P6 2 1 65535\n" + bytes(11), "truncated"),
        (b"P6 1 1 1000\n" + b"\xff" * 6, "an intensity is above the stated maximum"),
        (b"P6 #" + b"x" * 5000 + b"\n1 1 65535\n" + bytes(6), "damaged"),
        (b"P3 1 1 65535\n1 2\n", "truncated"),
        (b"P3 1 1 65535\n1 2 x\n", "a number is malformed"),
        (b"P3 1 1 65535\n1 2 99999999999\n", "a number is malformed"),
        (b"P2 1 1 1000\n1001\n", "an intensity is above the stated maximum"),
    ],
)
def test_a_16_bit_ppm_that_is_not_whole_is_refused(contents, reason, tmp_path: Path) -> None:
    (tmp_path / "a.ppm").write_bytes(contents)
    with pytest.raises(TvdenoiseError, match=reason):
        read(tmp_path / "a.ppm")


@pytest.mark.parametrize("order", ["<", ">"])
def test_half_precision_tiffs_are_opened_by_their_tags(order: str, tmp_path: Path) -> None:
    for version in (42, 43):
        (tmp_path / "a.tif").write_bytes(simple_tiff(order, version, 1, 16, 3))
        assert read(tmp_path / "a.tif").kind == "F;16"


@pytest.mark.parametrize(
    ("values", "options", "reason"),
    [
        (COLOUR.astype(np.int64), {"photometric": "rgb"}, "64-bit signed colour TIFF is not supported"),
        (FLOATS.astype(np.complex64), {"photometric": "rgb"}, "64-bit complex colour TIFF is not supported"),
        (
            np.dstack((COLOUR, COLOUR[..., 0])),
            {"photometric": "separated", "extratags": INKS},
            "inks other than CMYK",
        ),
        (COLOUR, {"photometric": "rgb", "compression": "jpegxl"}, "not supported|damaged"),
        (np.stack((COLOUR, COLOUR)), {"photometric": "rgb"}, "holds 2 images"),
        (np.stack((FLOATS, FLOATS)), {"photometric": "rgb"}, "holds 2 images"),
    ],
    ids=str,
)
def test_deep_tiffs_of_other_kinds_are_still_refused(values, options, reason, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", values, **options)
    with pytest.raises(TvdenoiseError, match=reason):
        read(tmp_path / "a.tif")


def deep_file(name: str) -> bytes:
    """A file of 16-bit colour, or for ``f.tif`` of floats."""
    if name == "t.tif":
        import io

        stream = io.BytesIO()
        tifffile.imwrite(stream, COLOUR, photometric="rgb", tile=(16, 16), compression="lzw")
        return stream.getvalue()
    values = FLOATS if name == "f.tif" else COLOUR
    return encode(DecodedImage(values), FORMAT_BY_EXTENSION[Path(name).suffix])


@pytest.mark.parametrize("name", ["a.png", "a.tif", "f.tif", "t.tif", "a.ppm"])
def test_the_limit_of_pixels_holds_before_anything_is_decoded(name: str, monkeypatch, tmp_path) -> None:
    (tmp_path / name).write_bytes(deep_file(name))
    for codec in ("PNG", "TIFF", "PPM"):
        monkeypatch.setitem(FAMILIES[codec].__dict__, "decode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(UnsupportedImageError, match="--max-pixels"):
        read(tmp_path / name, max_megapixels=0.001)


def with_tag(contents: bytes, tag: int, value: int, index: int = 0) -> bytes:
    """A TIFF with one value of a tag changed."""
    import io

    stream = io.BytesIO(contents)
    with tifffile.TiffFile(stream) as opened:
        found = opened.pages[0].tags[tag]
        size = 2 if found.dtype == 3 else 4
        place = found.valueoffset + index * size
    changed = bytearray(contents)
    changed[place : place + size] = value.to_bytes(size, "little")
    return bytes(changed)


@pytest.mark.parametrize(
    ("tag", "value", "reason"),
    [
        (325, 0, "truncated"),  # an absent tile, which others fill with zeros
        (324, 2**31, "truncated"),
        (322, 2**20, "tiles are larger"),
        (322, 8, "segments are missing"),
        (323, 0, "is zero"),
        (257, 9000, "segments are missing"),
    ],
)
def test_a_tiff_whose_segments_are_not_all_there_is_refused(tag, value, reason, tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(with_tag(deep_file("t.tif"), tag, value))
    with pytest.raises(UnreadableImageError, match=reason):
        read(tmp_path / "a.tif")


@pytest.mark.parametrize("compression", [None, "zlib", "zstd", "lzma", "lzw", "packbits"])
def test_a_last_strip_that_is_stored_with_all_its_rows_is_read(
    compression: str | None, tmp_path: Path
) -> None:
    values = noise(48, 30, 3, dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", rowsperstrip=16, compression=compression)
    (tmp_path / "a.tif").write_bytes(with_tag((tmp_path / "a.tif").read_bytes(), 257, 40))
    np.testing.assert_array_equal(read(tmp_path / "a.tif").intensities, values[:40])


def test_a_short_segment_is_damage(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", COLOUR, photometric="rgb", compression="zlib")
    short = zlib.compress(bytes(100))
    contents = bytearray((tmp_path / "a.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "a.tif") as opened:
        place = opened.pages[0].dataoffsets[0]
    contents[place : place + len(short)] = short
    (tmp_path / "a.tif").write_bytes(contents)
    with pytest.raises(UnreadableImageError, match="a segment is short"):
        read(tmp_path / "a.tif")


def test_a_deflated_segment_with_a_wrong_checksum_is_damage(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", COLOUR, photometric="rgb", compression="zlib")
    contents = bytearray((tmp_path / "a.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "a.tif") as opened:
        page = opened.pages[0]
        contents[page.dataoffsets[0] + page.databytecounts[0] - 1] ^= 1
    (tmp_path / "a.tif").write_bytes(contents)
    with pytest.raises(UnreadableImageError, match="damaged"):
        read(tmp_path / "a.tif")


def test_a_16_bit_png_with_a_wrong_checksum_is_refused(tmp_path: Path) -> None:
    contents = bytearray(deep_file("a.png"))
    contents[contents.index(b"IEND") - 8] ^= 1
    (tmp_path / "a.png").write_bytes(contents)
    with pytest.raises(UnreadableImageError, match="checksum"):
        read(tmp_path / "a.png")


def test_an_interlaced_16_bit_png_is_read(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 1, 2, 16, 2, 0, 0, 1)  # 1×2: the first and the last of seven passes
    body = zlib.compress(b"\0" + bytes(range(6)) + b"\0" + bytes(range(6, 12)))
    chunks = ((b"IHDR", header), (b"IDAT", body), (b"IEND", b""))
    packed = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    ]
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))
    assert read(tmp_path / "a.png").intensities.astype(">u2").tobytes() == bytes(range(12))


def test_the_further_codecs_are_loaded_only_for_files_that_need_them(make_image) -> None:
    path = make_image("a.png", noise(8, 8, 3))
    script = f"""if True:
        import sys
        from pathlib import Path
        from tvdenoise.files.reading import read
        read(Path({str(path)!r}))
        print("imagecodecs" in sys.modules, "tifffile" in sys.modules)"""
    finished = subprocess.run(
        [sys.executable, "-c", script], env=environment(), capture_output=True, text=True, check=True
    )
    assert finished.stdout.split() == ["False", "False"]
