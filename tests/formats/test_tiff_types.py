"""Types of TIFF beyond 8 and 16 bits and single precision, and the value that stands for missing pixels."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from support.readers import tiff_tags, tiff_values
from support.samples import rms
from support.values import noise
from tvdenoise.files.decoded import NODATA_TAG
from tvdenoise.files.large import LargeImage
from tvdenoise.files.memory import MemoryBudget
from tvdenoise.files.reading import open_within, read

SHAPE = (37, 50)
TYPES = (np.int8, np.int16, np.uint32, np.int32, np.float64)
LAYOUTS: dict[str, dict[str, Any]] = {
    "grey": {"photometric": "minisblack"},
    "grey alpha": {"photometric": "minisblack", "extrasamples": ["unassalpha"]},
    "colour": {"photometric": "rgb"},
    "colour alpha": {"photometric": "rgb", "extrasamples": ["unassalpha"]},
}
CHANNELS = {"grey": 1, "grey alpha": 2, "colour": 3, "colour alpha": 4}
STORED: list[dict[str, Any]] = [
    {},
    {"compression": "lzw", "predictor": True, "rowsperstrip": 5},
    {"compression": "zlib", "tile": (16, 32), "predictor": True},
    {"compression": "packbits"},
]
LITTLE = 245_000_000  # bytes of memory, too few to denoise such an image whole


def values_of(dtype: type, *shape: int, seed: int = 0) -> np.ndarray:
    """Values over the whole range of a type; of doubles, more digits than single precision has."""
    values = noise(*shape, dtype=dtype, seed=seed)
    return values * 7 - 2 if dtype is np.float64 else values


def write(path: Path, values: np.ndarray, options: Mapping[str, Any]) -> None:
    if options.get("predictor") and values.dtype.kind == "f":
        options = {**options, "predictor": 3}
    tifffile.imwrite(path, values, **{"metadata": None, **options})


def require_close(after: np.ndarray, before: np.ndarray) -> None:
    """Integers exactly; doubles but for the little that smoothing with mu 1e12 may change."""
    assert after.dtype == before.dtype
    if before.dtype.kind == "f":
        np.testing.assert_allclose(after, before, rtol=0, atol=8e-12)
    else:
        np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize("stored", STORED, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", TYPES)
def test_every_type_is_read_however_it_is_stored(
    dtype: type, layout: str, stored: dict[str, Any], tmp_path: Path
):
    values = values_of(dtype, *SHAPE, CHANNELS[layout]).squeeze()
    for order, is_planar in (("<", False), (">", False), (">", values.ndim == 3)):
        given = np.ascontiguousarray(np.moveaxis(values, -1, 0)) if is_planar else values
        planes = {"planarconfig": "separate"} if is_planar else {}
        write(tmp_path / "a.tif", given, LAYOUTS[layout] | stored | planes | {"byteorder": order})
        image = read(tmp_path / "a.tif")
        read_values = (
            image.intensities if image.alpha is None else np.dstack((image.intensities, image.alpha))
        )
        assert read_values.dtype == dtype
        np.testing.assert_array_equal(read_values, values)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("dtype", TYPES)
def test_every_type_is_written_as_it_was(dtype: type, order: str, command, tmp_path: Path):
    values = values_of(dtype, *SHAPE)
    write(tmp_path / "a.tif", values, {"compression": "lzw", "predictor": True, "byteorder": order})
    result = command("run", "a.tif", "--mu", "1e12", "-o", "b.tif")
    assert result.exit_code == 0, result.output
    assert "note" not in result.stderr
    with tifffile.TiffFile(tmp_path / "b.tif") as opened:
        assert (opened.byteorder, opened.pages.first.compression.name) == (order, "LZW")
        require_close(opened.asarray(), values)
    require_close(tiff_values(tmp_path / "b.tif"), values)


@pytest.mark.parametrize("dtype", [np.int16, np.uint32, np.int32, np.float64])
def test_noise_is_removed_from_every_type(dtype: type, command, tmp_path: Path):
    """Negative counts too, where the type has them."""
    clean = 2000 * (np.indices((96, 96)).sum(axis=0) // 24 % 2) + (500 if dtype is np.uint32 else -1000)
    noisy = clean + np.random.default_rng(0).normal(0, 80, clean.shape)
    write(tmp_path / "a.tif", (noisy if dtype is np.float64 else np.rint(noisy)).astype(dtype), {})
    arguments = ("--data-range", "2000") if dtype is np.float64 else ()
    assert command("run", "a.tif", "--sigma", "0.04", *arguments, "--dry-run").exit_code == 0
    largest = 2000 if dtype is np.float64 else np.iinfo(dtype).max
    assert command("run", "a.tif", "--mu", str(1.4 * largest / 80), *arguments).exit_code == 0
    result = tifffile.imread(tmp_path / "a_denoised.tif")
    assert result.dtype == dtype
    assert rms(result - clean) < 0.45 * rms(noisy - clean)


STACKS: dict[str, dict[str, Any]] = {
    "pages.tif": {"metadata": None},
    "imagej.tif": {
        "metadata": None,
        "description": "ImageJ=1.54f\nimages=4\nslices=4\nspacing=2.0\nunit=um\n",
    },
    "ome.ome.tif": {"metadata": {"axes": "ZYX"}},
}


@pytest.mark.parametrize("volume", [(), ("--volume",)], ids=["planes", "volume"])
@pytest.mark.parametrize(
    ("name", "dtype"),
    [("pages.tif", np.int16), ("pages.tif", np.float64), ("imagej.tif", np.int16), ("ome.ome.tif", np.int32)],
)
def test_stacks_of_every_type_are_written_as_they_were(
    name: str, dtype: type, volume: tuple[str, ...], command, tmp_path: Path
):
    values = values_of(dtype, 4, 20, 24)
    write(tmp_path / name, values, STACKS[name] | {"photometric": "minisblack", "byteorder": ">"})
    result = command("run", name, "--mu", "1e12", "-o", "out/", *volume)
    assert result.exit_code == 0, result.output
    with tifffile.TiffFile(tmp_path / "out" / name) as opened:
        assert opened.byteorder == ">"
        require_close(opened.asarray(), values)
        with tifffile.TiffFile(tmp_path / name) as before:
            assert opened.series[0].axes == before.series[0].axes


@pytest.mark.parametrize("bits", [9, 10, 12, 14])
@pytest.mark.parametrize("layout", ["grey", "colour"])
def test_packed_values_are_kept_and_written_with_16_bits(bits: int, layout: str, command, tmp_path: Path):
    values = noise(*SHAPE, CHANNELS[layout], dtype=np.uint16).squeeze() >> (16 - bits)
    write(tmp_path / "a.tif", values, LAYOUTS[layout] | {"bitspersample": bits, "rowsperstrip": 7})
    result = command("run", "a.tif", "--mu", "1e9")
    assert result.exit_code == 0, result.output
    assert f"note: its {bits}-bit values are kept, and written with 16 bits" in result.stderr
    np.testing.assert_array_equal(tiff_values(tmp_path / "a_denoised.tif"), values)


@pytest.mark.parametrize(
    "stored", [{"tile": (16, 48), "compression": "zlib"}, {"compression": "lzw", "rowsperstrip": 5}], ids=str
)
@pytest.mark.parametrize("order", "<>")
def test_packed_values_are_read_however_they_are_stored(stored: dict[str, Any], order: str, tmp_path: Path):
    """Written as bytes, three for two values, and then declared to be the values."""
    values = noise(*SHAPE, dtype=np.uint16) >> 4
    first, second = values[:, ::2], values[:, 1::2]
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=-1).reshape(
        SHAPE[0], -1
    )
    write(
        tmp_path / "a.tif",
        packed.astype(np.uint8),
        {**stored, "byteorder": order, "photometric": "minisblack"},
    )
    contents = bytearray((tmp_path / "a.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "a.tif") as opened:
        for tag in opened.pages.first.tags:
            if tag.code in (256, 322):  # columns of the image and of tiles
                struct.pack_into(f"{order}I", contents, tag.valueoffset, tag.value * 2 // 3)
            elif tag.code == 258:
                struct.pack_into(f"{order}H", contents, tag.valueoffset, 12)
    (tmp_path / "a.tif").write_bytes(contents)
    np.testing.assert_array_equal(read(tmp_path / "a.tif").intensities, values)


def test_packed_values_of_which_zero_is_white_are_inverted_within_their_bits(tmp_path: Path):
    values = noise(*SHAPE, dtype=np.uint16) >> 4
    write(tmp_path / "a.tif", values, {"photometric": "miniswhite", "bitspersample": 12})
    np.testing.assert_array_equal(read(tmp_path / "a.tif").intensities, 4095 - values)


@pytest.mark.parametrize("dtype", [np.int16, np.uint32, np.float64])
def test_values_of_which_zero_is_white_are_kept_in_types_for_measurements(
    dtype: type, command, tmp_path: Path
):
    values = values_of(dtype, *SHAPE)
    write(tmp_path / "a.tif", values, {"photometric": "miniswhite"})
    assert command("run", "a.tif", "--mu", "1e12").exit_code == 0
    with tifffile.TiffFile(tmp_path / "a_denoised.tif") as opened:
        assert opened.pages.first.photometric.name == "MINISWHITE"
        require_close(opened.pages.first.asarray(), values)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "stored"),
    [
        (np.int16, {"tile": (256, 256), "byteorder": ">", "compression": "lzw", "predictor": True}),
        (np.uint16, {"bitspersample": 12, "rowsperstrip": 50}),
        (np.int32, {"rowsperstrip": 100}),
        (np.float64, {"tile": (256, 256)}),
    ],
    ids=["signed", "packed", "wide", "double"],
)
def test_every_type_is_denoised_in_parts(dtype: type, stored: dict[str, Any], process, tmp_path: Path):
    """As in memory, but for the bounds of both; far from zero too, where single precision would not do."""
    offset = {np.int16: -3000, np.uint16: 0, np.int32: 2_000_000, np.float64: 1e6}[dtype]
    clean = 500 + 2000 * (np.indices((1900, 1900)).sum(axis=0) // 40 % 2) + offset
    noisy = clean + np.random.default_rng(0).normal(0, 60, clean.shape)
    write(tmp_path / "a.tif", (noisy if dtype is np.float64 else np.rint(noisy)).astype(dtype), stored)
    limits = {"whole.tif": (), "parts.tif": ("--memory", "310MB")}
    largest = 1 if dtype is np.float64 else np.iinfo(dtype).max
    for name, options in limits.items():
        result = process("run", "a.tif", "-o", name, "--mu", str(1.4 * largest / 60), *options)
        assert result.returncode == 0, result.stderr
        assert (b", because it does not fit in memory" in result.stderr) == (name == "parts.tif")
    whole, parts = (tiff_values(tmp_path / name) for name in limits)
    assert whole.dtype == parts.dtype == dtype
    assert rms(parts.astype(np.float64) - whole) < 4
    assert rms(parts - clean) < 0.4 * rms(noisy - clean)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.pfm"])
@pytest.mark.parametrize(
    ("dtype", "what"),
    [
        (np.int16, "signed 16-bit grey"),
        (np.uint32, "32-bit grey"),
        (np.float64, "double-precision float grey"),
    ],
)
def test_what_holds_no_such_type_is_named_with_what_does(
    name: str, dtype: type, what: str, command, tmp_path: Path
):
    write(tmp_path / "a.tif", values_of(dtype, *SHAPE), {})
    result = command("run", "a.tif", "-o", name)
    assert result.exit_code == 1
    assert f"cannot hold {what}; choose TIFF with -o NAME.tif" in result.stderr


@pytest.mark.parametrize("dtype", TYPES)
def test_every_type_is_compared_shown_and_reported(dtype: type, command, tmp_path: Path):
    clean = np.full(SHAPE, 40, dtype)
    clean[:, 25:] = 90
    noisy = (clean + np.random.default_rng(0).normal(0, 3, SHAPE)).astype(dtype)
    write(tmp_path / "clean.tif", clean, {})
    write(tmp_path / "a.tif", noisy, {})
    arguments = ("--data-range", "100") if dtype is np.float64 else ()
    run = ("run", "a.tif", "-o", "b.tif", "--residual", "residuals", "--report", "report.csv")
    for call in (
        (*run, "--mu", "2000", *arguments),
        ("compare", "clean.tif", "a.tif", "b.tif", "--plot", "plot.png"),
        ("noise", "a.tif", *arguments),
        ("tune", "a.tif", "-o", "sheet.png", "--grid", "3x1", *arguments),
        ("report", "report.csv"),
    ):
        result = command(*call)
        assert result.exit_code == 0, result.output
    assert (tmp_path / "residuals" / "a_residual.png").exists()


def declared(text: str) -> list[tuple[int, int, int, str, bool]]:
    return [(NODATA_TAG, 2, 0, text, True)]


@pytest.mark.parametrize(
    ("text", "dtype", "expected"),
    [
        ("-9999", np.float32, -9999),
        ("0", np.uint16, 0),
        ("-1", np.uint16, -1),
        ("nan", np.float32, math.nan),
        ("-3.40282347E+38 ", np.float32, float(np.finfo(np.float32).min)),
        ("-1.7976931348623157e+308", np.float32, -math.inf),
    ],
)
def test_the_value_for_missing_pixels_is_read(tmp_path: Path, text: str, dtype: type, expected: float | None):
    path = tmp_path / "declared.tif"
    tifffile.imwrite(path, noise(*SHAPE).astype(dtype), extratags=declared(text))
    with path.open("rb") as stream:
        large = open_within(stream, MemoryBudget(LITTLE))
        assert isinstance(large, LargeImage)
    for found in (read(path, may_hold=(math.nan,)), large):
        assert found.nodata == pytest.approx(expected, rel=0, nan_ok=True)


@pytest.mark.parametrize("text", [None, "none"])
def test_a_file_that_declares_no_number_has_no_value_for_missing_pixels(tmp_path: Path, text: str | None):
    extratags = [] if text is None else declared(text)
    tifffile.imwrite(tmp_path / "plain.tif", noise(*SHAPE), extratags=extratags)
    assert read(tmp_path / "plain.tif").nodata is None


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_no_value_is_inverted_where_one_stands_for_missing_pixels(dtype: type, command, tmp_path: Path):
    values = noise(*SHAPE, dtype=dtype)
    write(tmp_path / "a.tif", values, {"photometric": "miniswhite", "extratags": declared("0")})
    np.testing.assert_array_equal(read(tmp_path / "a.tif").intensities, values)
    assert command("run", "a.tif", "--mu", "1e9").exit_code == 0
    with tifffile.TiffFile(tmp_path / "a_denoised.tif") as opened:
        assert opened.pages.first.photometric.name == "MINISWHITE"
        np.testing.assert_array_equal(opened.pages.first.asarray(), values)


@pytest.mark.parametrize("options", [(), ("--strip-metadata",)], ids=["kept", "stripped"])
def test_the_value_for_missing_pixels_is_written(command, tmp_path: Path, options: tuple[str, ...]):
    path = tmp_path / "declared.tif"
    tifffile.imwrite(path, noise(*SHAPE).astype(np.float32), extratags=declared("-9999"))
    result = command("run", "declared.tif", "-o", "out.tif", *options)
    assert result.exit_code == 0, result.output
    assert tiff_tags(tmp_path / "out.tif")[0][NODATA_TAG] == "-9999"
