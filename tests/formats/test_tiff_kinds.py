"""Kinds of TIFF: how samples are stored, which end of them is white, JPEG inside, and BigTIFF of either byte order."""

from __future__ import annotations

import shutil
import struct
import subprocess
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, TiffImagePlugin

from support.makers import SAMPLES, values_of
from support.metadata import PROFILE, XMP, exif_bytes
from support.readers import tiff_tags, tiff_values
from support.round_trips import close, returned
from support.values import noise, pixels
from tvdenoise.errors import TvdenoiseError, UnreadableImageError, UnsupportedImageError
from tvdenoise.files.decoded import DecodedImage, Metadata
from tvdenoise.files.reading import read
from tvdenoise.files.writing import encode, write
from tvdenoise.formats.registry import FORMAT_BY_EXTENSION
from tvdenoise.formats.tiff.samples import COMPRESSIONS
from tvdenoise.formats.tiff.writing import TiffTraits

SHAPE = (37, 50)
RAMP = np.add.outer(np.arange(40) * 2, np.arange(56) * 3).astype(np.uint8)  # smooth, for JPEG


def floats(*shape: int) -> np.ndarray:
    return noise(*shape, dtype=np.float32) * 7 - 2


GREY, COLOUR, INKS = {"photometric": "minisblack"}, {"photometric": "rgb"}, {"photometric": "separated"}
WHITE, ALPHA = {"photometric": "miniswhite"}, {"extrasamples": ["unassalpha"]}
KINDS = {
    "grey": (noise(*SHAPE), GREY),
    "white": (noise(*SHAPE), WHITE),
    "grey alpha": (noise(*SHAPE, 2), GREY | ALPHA),
    "colour": (noise(*SHAPE, 3), COLOUR),
    "colour alpha": (noise(*SHAPE, 4), COLOUR | ALPHA),
    "inks": (noise(*SHAPE, 4), INKS),
    "inks alpha": (noise(*SHAPE, 5), INKS | ALPHA),
    "grey 16": (noise(*SHAPE, dtype=np.uint16), GREY),
    "white 16": (noise(*SHAPE, dtype=np.uint16), WHITE),
    "grey alpha 16": (noise(*SHAPE, 2, dtype=np.uint16), GREY | ALPHA),
    "inks 16": (noise(*SHAPE, 4, dtype=np.uint16), INKS),
    "inks alpha 16": (noise(*SHAPE, 5, dtype=np.uint16), INKS | ALPHA),
    "float": (floats(*SHAPE), GREY),
    "float alpha": (floats(*SHAPE, 2), GREY | ALPHA),
    "float colour alpha": (floats(*SHAPE, 4), COLOUR | ALPHA),
    "half alpha": (floats(*SHAPE, 2).astype(np.float16), GREY | ALPHA),
    "half colour alpha": (floats(*SHAPE, 4).astype(np.float16), COLOUR | ALPHA),
}
STORED = [
    {},
    {"compression": "lzw", "predictor": True},
    {"compression": "zlib", "rowsperstrip": 5},
    {"compression": "packbits"},
    {"compression": "zstd"},
    {"compression": "lzma", "predictor": True},
    {"tile": (16, 32)},
    {"tile": (16, 16), "compression": "lzw", "predictor": True},
]


def seen(name: str) -> np.ndarray:
    """The values of a kind with zero for black."""
    values, options = KINDS[name]
    is_inverted = options["photometric"] == "miniswhite" and values.dtype.kind == "u"
    return ~values if is_inverted else values


def store(path: Path, values: np.ndarray, options: dict, *, planar: bool = False, **more: object) -> None:
    options = options | more
    if options.get("predictor") and values.dtype.kind == "f":
        options["predictor"] = 3
    if planar:
        values, options["planarconfig"] = np.ascontiguousarray(np.moveaxis(values, -1, 0)), "separate"
    tifffile.imwrite(path, values, **options)


def together(picture: DecodedImage) -> np.ndarray:
    if picture.alpha is None:
        return picture.intensities
    return np.dstack((picture.intensities, picture.alpha))


@pytest.mark.slow
@pytest.mark.parametrize("stored", STORED, ids=str)
@pytest.mark.parametrize("name", KINDS)
def test_every_kind_is_read_however_it_is_stored(name: str, stored: dict, tmp_path: Path) -> None:
    values, options = KINDS[name]
    for order in "<>":
        for big in (False, True):
            for planar in (False, True) if values.ndim == 3 else (False,):
                store(
                    tmp_path / "a.tif", values, options | stored, planar=planar, byteorder=order, bigtiff=big
                )
                np.testing.assert_array_equal(together(read(tmp_path / "a.tif")), seen(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_every_kind_comes_through_the_command_with_its_compression(
    name: str, command, tmp_path: Path
) -> None:
    values, options = KINDS[name]
    store(tmp_path / "a.tif", values, options, compression="lzw", byteorder=">", bigtiff=True)
    path = returned(command, "a.tif")
    close(tiff_values(path), seen(name))
    if values.ndim == 3 and "extrasamples" in options:
        np.testing.assert_array_equal(tiff_values(path)[..., -1], values[..., -1])
    with tifffile.TiffFile(path) as opened:
        page = opened.pages[0]
        assert (page.compression.name, opened.is_bigtiff) == ("LZW", False)
        if page.photometric.name == "MINISWHITE":
            assert values.dtype.kind == "f"


PILLOWS = {"L", "LA", "RGB", "RGBA", "CMYK", "I;16", "F"}
OPENCVS = {
    "L",
    "RGB",
    "I;16",
    "RGB;16",
    "RGBA;16",
    "F",
    "RGBF",
    "RGBFA",
}  # colours with alpha of 8 bits it multiplies
OF_OPENCV = {"raw", "tiff_lzw", "tiff_adobe_deflate"}  # compressions


@pytest.mark.slow
@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("kind", SAMPLES)
def test_what_is_written_is_what_other_libraries_read(kind: str, compression: str, tmp_path: Path) -> None:
    values, path = values_of(kind, 300, 257), tmp_path / "a.tif"
    has_alpha = kind.split(";", maxsplit=1)[0].endswith("A")
    colours = values[..., :-1].squeeze() if has_alpha else values
    picture = DecodedImage(
        colours,
        values[..., -1] if has_alpha else None,
        "TIFF",
        traits=TiffTraits(compression=compression),
        in_bands=kind.startswith("MULTI"),
    )
    write(picture, path, FORMAT_BY_EXTENSION[".tif"])
    np.testing.assert_array_equal(tiff_values(path), values)
    if kind in PILLOWS:
        with Image.open(path) as opened:
            np.testing.assert_array_equal(np.array(opened), values)
    if kind in OPENCVS and compression in OF_OPENCV:
        cv2 = pytest.importorskip("cv2")
        found = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}
        np.testing.assert_array_equal(found if found.ndim == 2 else found[..., order[found.shape[2]]], values)


@pytest.mark.parametrize("name", KINDS)
def test_what_is_written_is_copied_by_the_tools_of_libtiff(name: str, tmp_path: Path) -> None:
    if shutil.which("tiffcp") is None or shutil.which("tiffinfo") is None:
        pytest.skip("the tools of libtiff are not installed")
    store(tmp_path / "plain.tif", *KINDS[name])
    write(read(tmp_path / "plain.tif"), tmp_path / "a.tif", FORMAT_BY_EXTENSION[".tif"])
    for tool in (["tiffinfo", "-D", "a.tif"], ["tiffcp", "-c", "none", "a.tif", "b.tif"]):
        ended = subprocess.run(tool, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert "rror" not in ended.stderr
    np.testing.assert_array_equal(tiff_values(tmp_path / "b.tif"), seen(name))


def test_a_picture_without_a_resolution_is_written_without_one_and_fractions_stay(tmp_path: Path) -> None:
    Image.fromarray(noise(9, 8)).save(tmp_path / "a.tif")
    assert not {282, 283, 296} & set(
        tiff_tags(encode(read(tmp_path / "a.tif"), FORMAT_BY_EXTENSION[".tif"]))[0]
    )
    tifffile.imwrite(tmp_path / "b.tif", noise(9, 8), resolution=((1000, 3), (2000, 7)), metadata=None)
    contents = encode(read(tmp_path / "b.tif"), FORMAT_BY_EXTENSION[".tif"])
    assert struct.pack("<2I", 1000, 3) in contents
    assert struct.pack("<2I", 2000, 7) in contents


@pytest.mark.parametrize(
    "name", ["inks", "inks 16", "inks alpha", "white 16", "float alpha", "half colour alpha"]
)
def test_metadata_of_every_kind_are_kept(name: str, command, tmp_path: Path) -> None:
    values, options = KINDS[name]
    store(tmp_path / "plain.tif", values, options)
    picture = read(tmp_path / "plain.tif")
    metadata = Metadata(PROFILE, exif_bytes(1)[6:], XMP, (300, 150))
    picture = DecodedImage(picture.intensities, picture.alpha, metadata=metadata)
    write(picture, tmp_path / "a.tif", FORMAT_BY_EXTENSION[".tif"])
    again = read(returned(command, "a.tif"))
    assert (again.metadata.icc, again.metadata.xmp) == (PROFILE, XMP)
    assert again.metadata.dpi == pytest.approx((300, 150), rel=1e-4)
    assert b"Maker" in again.metadata.exif
    close(together(again), together(picture))


@pytest.mark.slow
@pytest.mark.parametrize("part", [0.1, 0.5, 0.97])
@pytest.mark.parametrize("name", KINDS)
def test_truncated_files_of_every_kind_are_refused(name: str, part: float, tmp_path: Path, capfd) -> None:
    values, options = KINDS[name]
    for stored in STORED[:2]:
        for order in "<>":
            store(tmp_path / "a.tif", values, options | stored, byteorder=order, bigtiff=order == ">")
            contents = (tmp_path / "a.tif").read_bytes()
            (tmp_path / "a.tif").write_bytes(contents[: int(len(contents) * part)])
            with pytest.raises(TvdenoiseError):
                read(tmp_path / "a.tif")
    assert capfd.readouterr().err == "", "libtiff has its own messages"


@pytest.mark.parametrize("kind", ["L", "I;16"])
@pytest.mark.parametrize("alpha", [False, True])
def test_where_zero_is_white_alpha_is_still_opaque_at_its_largest(
    kind: str, alpha: bool, command, tmp_path: Path
) -> None:
    values = noise(5, 7, 2, dtype=np.uint8 if kind == "L" else np.uint16)
    options = WHITE | (ALPHA if alpha else {})
    store(tmp_path / "a.tif", values if alpha else values[..., 0], options)
    after = tiff_values(returned(command, "a.tif", "b.png" if alpha else "b.tif")) if not alpha else None
    if alpha:
        picture = read(returned(command, "a.tif"))
        np.testing.assert_array_equal(picture.alpha, values[..., 1])
        after = picture.intensities
    np.testing.assert_array_equal(after, ~values[..., 0])


@pytest.mark.parametrize("zero", [0, 1], ids=["white", "black"])
@pytest.mark.parametrize("compression", ["raw", "group4", "tiff_lzw"])
def test_one_bit_is_as_black_as_another_program_sees_it(zero: int, compression: str, tmp_path: Path) -> None:
    bits = Image.fromarray(noise(33, 47) > 127)
    bits.save(tmp_path / "a.tif", compression=compression, tiffinfo={262: zero})
    with tifffile.TiffFile(tmp_path / "a.tif") as opened:
        page = opened.pages[0]
        assert page.photometric == zero
        try:
            expected = page.asarray() ^ (zero == 0)
        except ValueError as error:
            pytest.skip(f"the other program cannot tell: {error}")
    np.testing.assert_array_equal(read(tmp_path / "a.tif").intensities, expected * np.uint8(255))


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_floats_of_which_zero_is_white_keep_their_values_and_say_so(dtype, command, tmp_path: Path) -> None:
    values = floats(9, 13).astype(dtype)
    store(tmp_path / "a.tif", values, WHITE)
    path = returned(command, "a.tif")
    close(tiff_values(path), values)
    returned(command, path.name, "again.tif")
    with tifffile.TiffFile(tmp_path / "again.tif") as opened:
        assert opened.pages[0].photometric.name == "MINISWHITE"
    result = command("run", "a.tif", "--strip-metadata", "--data-range", "8", "-o", "b.tif")
    assert "its zero is white, which only TIFF can state" in result.stderr
    with tifffile.TiffFile(tmp_path / "b.tif") as opened:
        assert opened.pages[0].photometric.name == "MINISWHITE"


def test_what_is_transparent_or_negative_in_float_alpha_takes_no_part() -> None:
    alpha = np.array([[1, 0, -1, 0.5]], np.float32)
    picture = DecodedImage(np.array([[1, 9, 9, 4]], np.float32), alpha)
    assert picture.noisy().tolist() == [[1, 1, 4, 4]]
    assert picture.kind == "FA"


def test_alpha_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    values = floats(4, 4, 2)
    values[1, 2, 1] = np.nan
    store(tmp_path / "a.tif", values, GREY | ALPHA)
    with pytest.raises(UnsupportedImageError, match="not finite"):
        read(tmp_path / "a.tif")


JPEGS = {
    "grey": (RAMP, GREY),
    "white": (RAMP, WHITE),
    "colour": (np.dstack((RAMP, ~RAMP, RAMP // 2)), COLOUR | {"subsampling": (1, 1)}),
    "inks": (np.dstack((RAMP, ~RAMP, RAMP // 2, RAMP // 3)), INKS),
}


@pytest.mark.parametrize("layout", [{}, {"rowsperstrip": 16}, {"tile": (16, 32)}], ids=str)
@pytest.mark.parametrize("name", JPEGS)
def test_jpeg_in_tiff_is_read_and_written_without_loss(
    name: str, layout: dict, command, tmp_path: Path
) -> None:
    values, options = JPEGS[name]
    store(tmp_path / "a.tif", values, options, compression="jpeg", compressionargs={"level": 98}, **layout)
    result = command("run", "a.tif", "--mu", "1e9", "-o", "b.tif")
    assert "note: its JPEG compression is replaced by deflate" in result.stderr
    shown = tifffile.imread(tmp_path / "a.tif")
    shown = ~shown if name == "white" else shown
    assert np.abs(shown.astype(int) - (~values if name == "white" else values)).max() < 12
    np.testing.assert_array_equal(pixels(tmp_path / "b.tif"), shown)
    with tifffile.TiffFile(tmp_path / "b.tif") as opened:
        assert opened.pages[0].compression.name == "ADOBE_DEFLATE"


@pytest.mark.parametrize("values", [RAMP, np.dstack((RAMP, RAMP, RAMP))], ids=["grey", "colour"])
def test_jpeg_of_12_bits_in_tiff_is_refused(values: np.ndarray, tmp_path: Path) -> None:
    options = {"photometric": "rgb" if values.ndim == 3 else "minisblack", "bitspersample": 12}
    store(
        tmp_path / "a.tif",
        values.astype(np.uint16) * 16,
        options,
        compression="jpeg",
        compressionargs={"bitspersample": 12},
    )
    with pytest.raises(
        UnsupportedImageError, match="12-bit JPEG compression in TIFF is not supported; save it"
    ):
        read(tmp_path / "a.tif")


@pytest.mark.parametrize("part", [0.3, 0.8, 0.97])
def test_truncated_jpeg_in_tiff_is_refused_in_silence(part: float, tmp_path: Path, capfd) -> None:
    store(tmp_path / "a.tif", *JPEGS["colour"], compression="jpeg", rowsperstrip=16)
    contents = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(contents[: int(len(contents) * part)])
    with pytest.raises(UnreadableImageError, match="truncated"):
        read(tmp_path / "a.tif")
    assert capfd.readouterr().err == ""


def test_alpha_in_a_plane_of_its_own_within_a_jpeg_is_refused(tmp_path: Path) -> None:
    store(tmp_path / "a.tif", np.dstack((RAMP, RAMP)), GREY | ALPHA, planar=True, compression="jpeg")
    with pytest.raises(
        UnsupportedImageError, match="a separate alpha plane is not supported with this compression"
    ):
        read(tmp_path / "a.tif")


def test_ycbcr_without_jpeg_is_written_as_rgb_with_a_notice(tmp_path: Path) -> None:
    store(tmp_path / "a.tif", *JPEGS["colour"], compression="lzw")
    contents = bytearray((tmp_path / "a.tif").read_bytes())
    place = contents.index(struct.pack("<HHIH", 262, 3, 1, 2))
    contents[place + 8] = 6
    (tmp_path / "a.tif").write_bytes(contents)
    assert "its YCbCr colours are written as RGB" in read(tmp_path / "a.tif").notes


def big_endian_bigtiff(values: np.ndarray, orientation: int, exif: dict[int, tuple[int, bytes]]) -> bytes:
    """A BigTIFF with a directory of EXIF data, which holds these entries (type and four bytes each)."""
    rows, columns = values.shape
    pixels_at, exif_at = 400, 300
    entries = [(256, 3, columns), (257, 3, rows), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, pixels_at)]
    entries += [
        (274, 3, orientation),
        (277, 3, 1),
        (278, 3, rows),
        (279, 4, values.size),
        (34665, 4, exif_at),
    ]
    contents = struct.pack(">2sHHHQQ", b"MM", 43, 8, 0, 16, len(entries))
    for tag, kind, value in entries:
        packed = struct.pack(">H" if kind == 3 else ">I", value)
        contents += struct.pack(">HHQ8s", tag, kind, 1, packed.ljust(8, b"\0"))
    contents = contents.ljust(exif_at, b"\0") + struct.pack(">Q", len(exif))
    for tag, (kind, value) in exif.items():
        contents += struct.pack(">HHQ8s", tag, kind, 1, value.ljust(8, b"\0"))
    return contents.ljust(pixels_at, b"\0") + values.tobytes()


def test_a_big_endian_bigtiff_is_turned_and_keeps_its_exif(command, tmp_path: Path) -> None:
    iso = {34855: (3, struct.pack(">H", 1600))}
    (tmp_path / "a.tif").write_bytes(big_endian_bigtiff(noise(5, 8), 6, iso))
    with Image.open(returned(command, "a.tif")) as opened:
        np.testing.assert_array_equal(np.array(opened), np.rot90(noise(5, 8), -1))
        assert opened.getexif().get_ifd(34665)[34855] == 1600
        assert opened.getexif().get(274, 1) == 1


@pytest.mark.slow
def test_a_large_big_endian_bigtiff_is_not_taken_for_a_classic_one(tmp_path: Path) -> None:
    for seed in range(3):  # a classic TIFF would have its directory within these pixels
        values = noise(900, 1300, seed=seed)
        store(tmp_path / "a.tif", values, GREY, bigtiff=True, byteorder=">")
        np.testing.assert_array_equal(read(tmp_path / "a.tif").intensities, values)


@pytest.mark.parametrize("name", ["inks", "grey 16", "float colour alpha"])
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
def test_what_may_be_too_large_for_a_classic_tiff_is_written_as_bigtiff(
    name: str, compression: str, monkeypatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tvdenoise.formats.tiff.writing.LARGEST", 4000)
    store(tmp_path / "plain.tif", *KINDS[name])
    plain = read(tmp_path / "plain.tif")
    traits = TiffTraits(compression=compression)
    metadata = Metadata(PROFILE, exif_bytes(1)[6:], XMP, (300, 150))
    write(
        DecodedImage(plain.intensities, plain.alpha, "TIFF", metadata, traits),
        tmp_path / "a.tif",
        FORMAT_BY_EXTENSION[".tif"],
    )
    with tifffile.TiffFile(tmp_path / "a.tif") as opened:
        assert opened.is_bigtiff
        np.testing.assert_array_equal(tiff_values(tmp_path / "a.tif"), seen(name))
    again = read(tmp_path / "a.tif")
    np.testing.assert_array_equal(together(again), seen(name))
    assert (again.metadata.icc, again.metadata.xmp) == (PROFILE, XMP)


def test_the_pages_of_a_big_endian_bigtiff_are_seen(tmp_path: Path) -> None:
    store(tmp_path / "a.tif", noise(2, 8, 9), GREY, bigtiff=True, byteorder=">")
    with pytest.raises(UnsupportedImageError, match="holds 2 images"):
        read(tmp_path / "a.tif")


def test_an_odd_range_of_ink_is_kept(command, tmp_path: Path) -> None:
    store(tmp_path / "a.tif", *KINDS["inks 16"], extratags=[(336, 3, 2, (0, 60000))], metadata=None)
    with tifffile.TiffFile(returned(command, "a.tif")) as opened:
        assert opened.pages[0].tags[336].value == (0, 60000)


@pytest.mark.parametrize("name", ["inks 16", "float colour alpha", "white 16"])
def test_no_damage_gets_past_the_package_s_own_errors(name: str, tmp_path: Path) -> None:
    store(tmp_path / "a.tif", *KINDS[name], bigtiff=True, byteorder=">", compression="zlib")
    contents, generator = (tmp_path / "a.tif").read_bytes(), np.random.default_rng(3)
    for _ in range(100):
        damaged = bytearray(contents)
        for position in generator.integers(0, 500, 4):
            damaged[position] = generator.integers(256)
        (tmp_path / "a.tif").write_bytes(damaged)
        try:
            read(tmp_path / "a.tif", max_megapixels=1)
        except TvdenoiseError as error:
            assert "\n" not in str(error)  # noqa: PT017  # some damage goes unnoticed, and that is fine


def test_tags_of_a_tiff_written_by_this_package_are_in_order() -> None:
    contents = encode(DecodedImage(noise(4, 4, 4, dtype=np.uint16)), FORMAT_BY_EXTENSION[".tif"])
    directory = TiffImagePlugin.ImageFileDirectory_v2(contents[:8])
    stream = BytesIO(contents)
    stream.seek(directory.next)
    (count,) = struct.unpack("<H", stream.read(2))
    tags = [struct.unpack("<HHII", stream.read(12))[0] for _ in range(count)]
    assert tags == sorted(set(tags))
    assert 262 in tags


@pytest.mark.parametrize("stored", [{"tile": (16, 32, 32)}, {"rowsperstrip": 8}])
def test_a_page_that_holds_a_volume_is_refused_and_not_cut_to_its_first_plane(
    stored: dict, command, tmp_path: Path
) -> None:
    path = tmp_path / "volume.tif"
    tifffile.imwrite(path, noise(8, 40, 48), photometric="minisblack", volumetric=True, **stored)
    assert tifffile.TiffFile(path).pages[0].imagedepth == 8
    result = command("run", path)
    assert result.exit_code == 1
    assert "it has 8 planes in one page, which is not supported; save each plane" in result.stderr
    assert [each.name for each in tmp_path.iterdir()] == ["volume.tif"]
    assert "8 planes in one page" in command("run", path, "--dry-run").stdout


def test_a_compression_that_the_library_lacks_is_no_damage(command, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise(16, 16, 3), compression="webp", photometric="rgb")
    result = command("run", "a.tif")
    is_known = result.exit_code == 0  # where Pillow comes with a library that has it
    assert is_known or "TIFF with WEBP compression is not supported; save it with LZW" in result.stderr
