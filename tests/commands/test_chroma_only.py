"""``--chroma-only``: R + G + B of every pixel is that of the input, in every way to denoise a file."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from support.readers import tiff_values
from support.samples import rms
from support.values import noise, pixels
from tvdenoise import denoise
from tvdenoise.batch import large
from tvdenoise.files.memory import MemoryBudget
from tvdenoise.files.reading import read
from tvdenoise.tiling.partition import memory_needed


def coloured(*shape: int, dtype: type = np.uint8, seed: int = 0, level: float = 0.4) -> np.ndarray:
    """A grey checkerboard, (..., rows, columns, 3), with noise in all colours, of which little is clipped."""
    down, across = np.indices(shape[-2:])
    clean = level + 0.2 * ((down // 12 + across // 12) % 2)
    values = clean[..., np.newaxis] + np.random.default_rng(seed).normal(0, 0.06, (*shape, 3))
    if issubclass(dtype, np.floating):
        return values.astype(dtype)
    return np.rint(np.clip(values, 0, 1) * np.iinfo(dtype).max).astype(dtype)


def sums(values: np.ndarray) -> np.ndarray:
    return values[..., :3].sum(axis=-1, dtype=np.int64)


def colour_of(values: np.ndarray) -> float:
    """How far the channels are from grey."""
    exact = values[..., :3].astype(float)
    return rms(exact - exact.mean(axis=-1, keepdims=True))


def assert_kept(result: np.ndarray, values: np.ndarray, part: float = 0.5) -> None:
    """The sums are kept, and of the colour only this part is left."""
    assert result.dtype == values.dtype
    np.testing.assert_array_equal(sums(result), sums(values))
    assert colour_of(result) < part * colour_of(values)


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.ppm", "a.tif", "a.webp"])
def test_lossless_files_keep_their_sums(name, make_image, command, tmp_path: Path) -> None:
    values = coloured(60, 70)
    make_image(name, values, **({"lossless": True} if name == "a.webp" else {}))
    result = command("run", name, "--chroma-only", "-o", f"b{name[1:]}", "--report", "r.jsonl")
    assert result.exit_code == 0, result.stderr
    assert_kept(pixels(tmp_path / f"b{name[1:]}"), values)
    assert "colour noise " in result.stderr
    assert "clipped" not in result.stderr
    entry = json.loads((tmp_path / "r.jsonl").read_text())
    assert (entry["chroma_only"], entry["chroma"], entry["converged"]) == ("true", "3", True)
    solution = denoise(values, channel_axis=-1, chroma_only=True)
    assert entry["mu"] == solution.mu
    assert entry["distance_bound"] == solution.distance_bound
    assert rms(pixels(tmp_path / f"b{name[1:]}") / 255 - solution.image) < 0.5 / 255


def test_sixteen_bits_and_floats_keep_theirs(command, tmp_path: Path) -> None:
    deep, floats = coloured(60, 70, dtype=np.uint16), coloured(60, 70, dtype=np.float32)
    tifffile.imwrite(tmp_path / "deep.tif", deep, photometric="rgb")
    tifffile.imwrite(tmp_path / "floats.tif", floats, photometric="rgb")
    assert command("run", "deep.tif", "floats.tif", "--chroma-only", "-o", "out").exit_code == 0
    assert_kept(tiff_values(tmp_path / "out/deep.tif"), deep)
    result = tiff_values(tmp_path / "out/floats.tif")
    np.testing.assert_allclose(result.sum(-1), floats.sum(-1), atol=2e-6)
    assert colour_of(result) < 0.5 * colour_of(floats)


def test_clipped_pixels_keep_their_sums_and_are_counted(make_image, command, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    # Nearly white but for blue, whose noise the two others have to take over at the end of their range.
    values = np.full((80, 90, 3), 255, np.uint8)
    values[..., 2] = rng.integers(150, 256, (80, 90))
    make_image("a.png", values)
    result = command("run", "a.png", "--chroma-only", "--mu", "8", "-o", "b.png")
    denoised = pixels(tmp_path / "b.png")
    np.testing.assert_array_equal(sums(denoised), sums(values))
    exact = denoise(values, 8, channel_axis=-1, chroma_only=True).image * 255
    beyond = ((exact > 255.5) | (exact < -0.5)).any(axis=-1).sum()
    assert beyond > 100
    assert f"in {beyond} pixels a channel was clipped, and the others make up for it" in result.stderr


def test_jpeg_is_encoded_from_what_keeps_the_sums(command, tmp_path: Path) -> None:
    values = coloured(64, 64)
    Image.fromarray(values).save(tmp_path / "a.jpg", quality=95, subsampling=0)
    decoded = pixels(tmp_path / "a.jpg")
    Image.fromarray(decoded).save(tmp_path / "b.png")
    assert command("run", "a.jpg", "b.png", "--chroma-only", "-o", "out").exit_code == 0
    before = pixels(tmp_path / "out/b.png")
    assert_kept(before, decoded)
    Image.fromarray(before).save(tmp_path / "b.jpg", quality=95, subsampling=0)
    np.testing.assert_array_equal(pixels(tmp_path / "out/a.jpg"), pixels(tmp_path / "b.jpg"))


def test_alpha_and_what_it_hides_stay(make_image, command, tmp_path: Path) -> None:
    alpha = np.full((160, 170, 1), 200, np.uint8)
    alpha[:20] = 0
    values = np.concatenate([coloured(160, 170), alpha], axis=-1)
    make_image("a.png", values)
    assert command("run", "a.png", "--chroma-only", "-o", "b.png").exit_code == 0
    result = pixels(tmp_path / "b.png")
    np.testing.assert_array_equal(result[:20], values[:20])
    np.testing.assert_array_equal(result[..., 3], values[..., 3])
    assert_kept(result[20:], values[20:])


def test_a_mask_keeps_pixels_whole(make_image, command, tmp_path: Path) -> None:
    values, mask = coloured(60, 70), np.zeros((60, 70), np.uint8)
    mask[10:50, 10:60] = 255
    make_image("a.png", values)
    make_image("mask.png", mask)
    assert command("run", "a.png", "--chroma-only", "--mask", "mask.png", "-o", "b.png").exit_code == 0
    result = pixels(tmp_path / "b.png")
    np.testing.assert_array_equal(result[mask == 0], values[mask == 0])
    assert_kept(result[mask > 0], values[mask > 0])


@pytest.mark.parametrize("together", [False, True])
def test_stacks_and_volumes_keep_their_sums(together, command, tmp_path: Path) -> None:
    values = coloured(5, 40, 50)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb")
    options = ("--volume",) if together else ()
    result = command("run", "a.tif", "--chroma-only", "-o", "b.tif", *options)
    assert result.exit_code == 0, result.stderr
    assert_kept(tiff_values(tmp_path / "b.tif"), values)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_parts_keep_their_sums(dtype, command, tmp_path: Path, monkeypatch) -> None:
    values = coloured(400, 500, dtype=dtype)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", tile=(64, 64))
    command("run", "a.tif", "--chroma-only", "-o", "whole.tif", "--report", "whole.jsonl")
    monkeypatch.setattr(MemoryBudget, "shortage", lambda *_: "it is too large")
    monkeypatch.setattr(
        large, "memory_for", lambda large, _: memory_needed(large.shape, large.channels, large.dtype)
    )
    result = command("run", "a.tif", "--chroma-only", "-o", "b.tif", "--report", "b.jsonl")
    assert result.exit_code == 0, result.stderr
    assert "denoised in " in result.stderr
    denoised, whole = tiff_values(tmp_path / "b.tif"), tiff_values(tmp_path / "whole.tif")
    if dtype == np.uint8:
        assert_kept(denoised, values)
    np.testing.assert_allclose(denoised.sum(-1, dtype=float), values.sum(-1, dtype=float), atol=2e-6)
    entries = [json.loads((tmp_path / name).read_text()) for name in ("whole.jsonl", "b.jsonl")]
    largest, rounding = (255, 0.5) if dtype == np.uint8 else (1, 0)
    bounds = sum(entry["distance_bound"] for entry in entries) * largest
    assert rms(denoised.astype(float) - whole) <= bounds + rounding
    assert entries[0]["mu"] == entries[1]["mu"]


@pytest.mark.slow
def test_a_volume_in_parts_keeps_its_sums(command, tmp_path: Path, monkeypatch) -> None:
    values = coloured(60, 40, 50)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb")
    monkeypatch.setattr(large, "memory_for", lambda *_: 3_000_000)
    monkeypatch.setattr("tvdenoise.batch.volumes.Volumes._is_too_large", lambda _: True)
    result = command("run", "a.tif", "--volume", "--chroma-only", "-o", "b.tif", "--sigma", "15/255")
    assert result.exit_code == 0, result.stderr
    assert "denoised in " in result.stderr
    assert_kept(tiff_values(tmp_path / "b.tif"), values)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (noise(9, 9), "it is grey and has no colour noise; leave out --chroma-only"),
        (
            noise(9, 9, 4),
            "--chroma-only is for red, green and blue, and it has 4 other channels; leave it out, or convert the "
            "image to RGB",
        ),
    ],
    ids=["grey", "inks"],
)
def test_other_images_are_refused_and_the_dry_run_knows(values, reason, command, tmp_path: Path) -> None:
    mode = "L" if values.ndim == 2 else "CMYK"
    Image.frombytes(mode, (9, 9), values.tobytes()).save(tmp_path / "a.tif")
    foretold = command("run", "a.tif", "--chroma-only", "--dry-run")
    assert foretold.exit_code == 1
    assert reason in foretold.stdout
    result = command("run", "a.tif", "--chroma-only")
    assert result.exit_code == 1
    assert f"tvdenoise: a.tif: {reason}" in result.stderr.splitlines()
    assert not (tmp_path / "a_denoised.tif").exists()
    assert command("run", "a.tif").exit_code == 0


def test_missing_pixels_have_no_brightness_to_keep(make_image, command) -> None:
    make_image("a.png", coloured(9, 9))
    result = command("run", "a.png", "--chroma-only", "--nan", "fill")
    assert result.exit_code == 2
    assert (
        "--chroma-only keeps the brightness, which the missing pixels of --nan do not have" in result.stderr
    )


def test_impulses_contradict_it(make_image, command) -> None:
    make_image("a.png", coloured(9, 9))
    result = command("run", "a.png", "--chroma-only", "--impulses", "on")
    assert result.exit_code == 2
    assert "--chroma-only keeps the brightness, and --impulses changes that" in result.stderr


@pytest.mark.parametrize("options", [("--data-range", "4095"), ("--nodata", "0")], ids=lambda one: one[0])
def test_a_data_range_and_pixels_without_data_keep_their_sums(options, command, tmp_path: Path) -> None:
    values = coloured(60, 70, dtype=np.uint16) // 16
    if options[0] == "--nodata":
        values[10:20, 30:40] = 0
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb")
    result = command("run", "a.tif", "--chroma-only", *options, "-o", "b.tif")
    assert result.exit_code == 0, result.stderr
    denoised = tiff_values(tmp_path / "b.tif")
    assert_kept(denoised, values)
    np.testing.assert_array_equal(denoised[values == 0], 0)


def test_a_second_run_in_place_knows_the_first(make_image, command, tmp_path: Path) -> None:
    make_image("a.png", coloured(30, 40))
    assert command("run", "a.png", "--chroma-only", "--in-place").exit_code == 0
    record = read(tmp_path / "a.png").metadata.record
    assert record is not None
    assert record.endswith("; chroma_only=true")
    before = (tmp_path / "a.png").read_bytes()
    again = command("run", "a.png", "--chroma-only", "--in-place")
    assert "already denoised" in again.stderr
    assert (tmp_path / "a.png").read_bytes() == before


def test_the_cells_of_a_sheet_are_what_their_commands_give(make_image, command, tmp_path: Path) -> None:
    values = coloured(90, 100)
    make_image("a.png", values)
    result = command("tune", "a.png", "--chroma-only", "--grid", "3x1", "-o", "sheet.png")
    assert result.exit_code == 0, result.stderr
    heads, *lines = (line.split("\t") for line in result.stdout.splitlines())
    rows = [dict(zip(heads, line, strict=True)) for line in lines]
    sheet = pixels(tmp_path / "sheet.png")
    for number, row in enumerate(rows):
        assert "--chroma-only" in row["command"]
        words = shlex.split(row["command"])[1:]
        assert command(*words, "-o", f"{number}.png").exit_code == 0
        cell = pixels(tmp_path / f"{number}.png")
        assert_kept(cell, values, part=0.7)
        assert _is_in(cell, sheet)


def _is_in(cell: np.ndarray, sheet: np.ndarray) -> bool:
    """Whether a sheet shows a cell, perhaps enlarged."""
    for factor in (1, 2, 3):
        large_cell = cell.repeat(factor, axis=0).repeat(factor, axis=1)
        for top, left in np.argwhere((sheet == large_cell[0, 0]).all(axis=-1)):
            part = sheet[top : top + len(large_cell), left : left + large_cell.shape[1]]
            if part.shape == large_cell.shape and (part == large_cell).all():
                return True
    return False
