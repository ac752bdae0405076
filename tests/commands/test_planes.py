"""What is told of a stack as a whole, and which of its planes have a say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from support.readers import tiff_values
from support.values import noise
from tvdenoise.batch.planes import Planes
from tvdenoise.files.decoded import DecodedImage


def _stack(path: Path, values: np.ndarray) -> None:
    tifffile.imwrite(path, values, imagej=True, metadata={"axes": "ZYX"})


def _specimen(planes: int) -> np.ndarray:
    values = 0.5 + 0.1 * np.random.default_rng(0).standard_normal((planes, 64, 64))
    return np.rint(np.clip(values, 0, 1) * 65535).astype(np.uint16)


def test_planes_without_noise_have_no_say_in_the_parameters(command, tmp_path: Path) -> None:
    specimen = _specimen(3)
    empty = np.zeros((3, 64, 64), np.uint16)
    _stack(tmp_path / "alone.tif", specimen)
    _stack(tmp_path / "padded.tif", np.concatenate((empty, specimen, empty)))
    _stack(tmp_path / "empty.tif", empty)
    assert command("run", "alone.tif", "padded.tif", "empty.tif", "--report", "r.jsonl").exit_code == 0
    alone, padded, _ = (json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines())
    assert (padded["mu"], padded["sigma"]) == (alone["mu"], alone["sigma"])
    found = tiff_values(tmp_path / "padded_denoised.tif")
    np.testing.assert_array_equal(found[3:6], tiff_values(tmp_path / "alone_denoised.tif"))
    assert not found[:3].any()
    assert not tiff_values(tmp_path / "empty_denoised.tif").any()


def test_missing_pixels_of_all_planes_are_counted(command, tmp_path: Path) -> None:
    values = noise(4, 30, 32, dtype=np.float32)
    values[0, 3, 4] = values[2, :5] = values[3, 0, :3] = np.nan
    _stack(tmp_path / "a.tif", values)
    result = command("run", "a.tif", "--nan", "fill")
    assert result.stderr.count("missing pixel") == 2  # with how the solve ended
    assert "note: 164 missing pixels (NaN) filled in 3 of 4 images\n" in result.stderr
    assert np.isfinite(tiff_values(tmp_path / "a_denoised.tif")).all()


def test_the_picture_that_cannot_be_denoised_is_named(command, tmp_path: Path) -> None:
    values = noise(12, 30, 32, dtype=np.float32)
    values[10, 3, 4] = np.nan
    _stack(tmp_path / "a.tif", values)
    assert "a.tif: image 11 of 12: some values are not finite (NaN); " in command("run", "a.tif").stderr
    values[5] = np.nan
    _stack(tmp_path / "a.tif", values)
    for more in ((), ("--mu", "9"), ("--per-plane",)):
        result = command("run", "a.tif", "--nan", "fill", *more)
        assert result.exit_code == 1
        assert "6 of 12: " in result.stderr
        assert "NaN" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


@pytest.mark.parametrize("options", [("-o", "b.tif"), ("-o", "-")], ids=["file", "output"])
def test_a_stack_that_changes_meanwhile_gives_no_result(
    options: tuple[str, ...], command, tmp_path: Path, monkeypatch
) -> None:
    path = tmp_path / "a.tif"
    _stack(path, _specimen(3))
    denoise_one = Planes._one

    def changing(*arguments: object) -> DecodedImage:
        path.write_bytes(path.read_bytes() + b"\0")
        return denoise_one(*arguments)

    monkeypatch.setattr(Planes, "_one", changing)
    result = command("run", "a.tif", *options)
    assert result.exit_code == 1
    assert result.stdout_bytes == b""
    assert "a.tif: the file changed" in result.stderr
    assert [found.name for found in tmp_path.iterdir()] == ["a.tif"]
