"""``--memory``: what is too large is denoised in parts, and comes out as it would have whole."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from formats.test_tiff_kinds import KINDS, store, together
from support.banks import small_prior
from support.makers import MAKERS, metadata_for
from support.own_time import own_time
from support.processes import environment, temporaries
from support.readers import tiff_values
from support.samples import rms
from support.values import noise
from tvdenoise.batch import large
from tvdenoise.batch.denoiser import Denoiser
from tvdenoise.files.memory import MemoryBudget
from tvdenoise.files.opening import header_of
from tvdenoise.files.reading import is_whole, read
from tvdenoise.options import FileOptions
from tvdenoise.tiling.partition import memory_needed

pytestmark = pytest.mark.slow

SHAPE = (500, 640)
LARGE = (2500, 2500)  # a little too large for the least that --memory takes


@pytest.fixture(scope="module", autouse=True)
def compiled_kernels_for_parts() -> None:
    """Compile once, as that takes more memory than the least that is given here."""
    for channels in (1, 3):
        Denoiser(FileOptions(), lambda: None).prepare_parts(channels)


def smooth(rows: int, columns: int, channels: int = 1, dtype: type = np.uint8, seed: int = 0) -> np.ndarray:
    """A picture with edges and noise, in the range of its type."""
    y, x = np.mgrid[:rows, :columns].astype(np.float32)
    clean = 0.4 + 0.2 * np.sin(x / 30) * np.cos(y / 40) + 0.2 * ((x // 70 + y // 60) % 2)
    values = clean[..., None] * np.linspace(1, 0.6, channels)
    values = values + np.random.default_rng(seed).normal(0, 0.05, values.shape)
    values = values[..., 0] if channels == 1 else values
    if issubclass(dtype, np.floating):
        return values.astype(dtype)
    return np.rint(np.clip(values, 0, 1) * np.iinfo(dtype).max).astype(dtype)


@pytest.fixture
def in_parts(monkeypatch: pytest.MonkeyPatch):
    """Inside, nothing can be held whole, and what is solved at a time is small."""

    @contextmanager
    def inside():
        with monkeypatch.context() as patch:
            patch.setattr(MemoryBudget, "shortage", lambda *_: "it is too large")
            patch.setattr(
                large, "memory_for",
                lambda large, _: memory_needed(large.shape, large.channels, large.dtype),
            )  # fmt: skip
            yield

    return inside


@pytest.fixture
def filters(in_parts, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Write filters of so many channels as small.prior; what is returned is like ``in_parts``, for them."""

    def of(channels: int):
        prior = small_prior(channels)
        (tmp_path / "small.prior").write_bytes(prior.to_bytes())

        @contextmanager
        def inside():
            with in_parts(), monkeypatch.context() as patch:
                patch.setattr(
                    large, "memory_for",
                    lambda large, _: memory_needed(
                        large.shape, large.channels, large.dtype, bank=prior.bank
                    ) + 2 * prior.bank.symbols.nbytes,
                )  # fmt: skip
                yield

        return inside

    return of


def report(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text().splitlines()[-1])


def both(command, in_parts, *options: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """a.tif as whole.tif and as parts.tif, and what was reported of each."""
    for name, context in (("whole", None), ("parts", in_parts())):
        arguments = ("run", "a.tif", "-o", f"{name}.tif", "--report", f"{name}.jsonl", *options)
        if context is None:
            result = command(*arguments)
        else:
            with context:
                result = command(*arguments)
        assert result.exit_code == 0, result.stderr
    return report(Path("whole.jsonl")), report(Path("parts.jsonl"))


def close_by_bounds(first: np.ndarray, second: np.ndarray, reports: tuple[dict, dict]) -> None:
    """Whether two results differ by no more than their bounds, and rounding, allow."""
    largest = 1 if first.dtype.kind == "f" else np.iinfo(first.dtype).max
    bounds = sum(entry["distance_bound"] for entry in reports) * largest
    rounding = 0 if first.dtype.kind == "f" else 1
    assert rms(first.astype(np.float64) - second) <= bounds + rounding


def tags_of(path: Path) -> dict[str, Any]:
    """All tags but those that say how and where the pixels are stored."""
    stored = ("Strip", "Tile", "RowsPerStrip", "ExifTag", "GPSTag")
    with tifffile.TiffFile(path) as opened:
        assert len(opened.pages) == 1
        return {
            tag.name: tag.value
            for tag in opened.pages.first.tags
            if not tag.name.startswith(stored) and tag.code != 11
        }


@pytest.mark.parametrize(
    ("kind", "stored"),
    [
        ("L", {"tile": (32, 48)}),
        ("I;16", {"rowsperstrip": 7, "compression": "zlib", "predictor": True}),
        ("RGB", {"tile": (64, 64), "compression": "lzw", "predictor": True, "bigtiff": True}),
        ("RGB;16", {"rowsperstrip": 20, "planarconfig": "separate"}),
        ("CMYK", {"rowsperstrip": 20}),
        ("F", {"byteorder": ">", "tile": (64, 64)}),
        ("F;16", {"rowsperstrip": 500}),
    ],
    ids=str,
)
def test_a_result_in_parts_is_the_result_within_the_bounds_with_all_metadata(
    kind: str, stored: dict, command, in_parts, tmp_path: Path
) -> None:
    channels = {"R": 3, "C": 4}.get(kind[0], 1)
    dtype = {"F": np.float32, "F;16": np.float16}.get(kind, np.uint16 if kind.endswith("16") else np.uint8)
    values = smooth(*SHAPE, channels, dtype)
    photometric = {1: "minisblack", 3: "rgb", 4: "separated"}[channels]
    if stored.get("planarconfig"):
        values = np.ascontiguousarray(np.moveaxis(values, -1, 0))
    tifffile.imwrite(
        tmp_path / "a.tif", values, photometric=photometric, **stored,
        metadata=None, description="a description", software="s", resolution=(300, 150), resolutionunit="inch",
        iccprofile=metadata_for(kind, ("icc",))["icc"], extratags=[(65000, 2, 0, "another program's", True)],
    )  # fmt: skip
    source = (tmp_path / "a.tif").read_bytes()
    reports = both(command, in_parts)
    assert re.search(r"denoised in ([2-9]|\d\d+) parts", reports[1]["notes"])
    assert (tmp_path / "a.tif").read_bytes() == source
    first, second = (read(tmp_path / f"{name}.tif") for name in ("whole", "parts"))
    close_by_bounds(first.intensities, second.intensities, reports)
    assert reports[1]["mu"] == pytest.approx(reports[0]["mu"], rel=1e-4)
    assert reports[1]["noise"] == reports[0]["noise"]
    assert reports[1]["converged"]
    assert tags_of(tmp_path / "parts.tif") == tags_of(tmp_path / "whole.tif")
    assert first.traits == second.traits
    assert second.metadata.record.startswith("tvdenoise ")
    with tifffile.TiffFile(tmp_path / "parts.tif") as opened:
        assert opened.pages.first.is_tiled == ("tile" in stored)


def test_exif_and_gps_data_come_through_parts(command, in_parts, tmp_path: Path) -> None:
    metadata = metadata_for("L", ("icc", "exif", "xmp", "dpi", "tags"))
    MAKERS["TIFF", "L"].write(tmp_path / "a.tif", smooth(*SHAPE), metadata)
    reports = both(command, in_parts)
    first, second = (read(tmp_path / f"{name}.tif") for name in ("whole", "parts"))
    close_by_bounds(first.intensities, second.intensities, reports)
    assert (first.metadata.exif, first.metadata.xmp) == (second.metadata.exif, second.metadata.xmp)
    assert first.metadata.tags == second.metadata.tags


@pytest.mark.parametrize("name", ["grey alpha", "colour alpha", "float colour alpha", "grey alpha 16"])
def test_alpha_comes_through_parts_bit_for_bit(name: str, command, in_parts, tmp_path: Path) -> None:
    values, options = KINDS[name]
    values = values.copy()
    values[..., -1] = np.maximum(values[..., -1], 1)
    store(tmp_path / "a.tif", values, options, tile=(16, 16))
    both(command, in_parts, "--mu", "20", "--epsilon", "0.01")
    np.testing.assert_array_equal(together(read(tmp_path / "parts.tif"))[..., -1], values[..., -1])


def test_full_transparency_needs_the_whole_picture(command, in_parts, tmp_path: Path) -> None:
    values = np.dstack((smooth(64, 64), np.full((64, 64), 255, np.uint8)))
    values[3, 3, 1] = 0
    store(tmp_path / "a.tif", values, *[KINDS["grey alpha"][1]])
    with in_parts():
        result = command("run", "a.tif")
    assert result.exit_code == 1
    assert "full transparency" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


def test_missing_pixels_are_not_filled_in_parts(command, in_parts, tmp_path: Path) -> None:
    values = smooth(64, 64, dtype=np.float32)
    tifffile.imwrite(tmp_path / "a.tif", values)
    with in_parts():
        assert command("run", "a.tif", "--nan", "fill", "-o", "b.tif").exit_code == 0
        values[60, 5] = np.nan
        tifffile.imwrite(tmp_path / "a.tif", values)
        result = command("run", "a.tif", "--nan", "fill", "-o", "c.tif")
    assert result.exit_code == 1
    assert "NaN" in result.stderr


def test_without_a_size_it_is_what_the_machine_has_free(command, tmp_path: Path, monkeypatch) -> None:
    tifffile.imwrite(tmp_path / "a.tif", smooth(*LARGE), rowsperstrip=40)
    monkeypatch.setattr("tvdenoise.files.memory.available_memory", lambda: 250_000_000)
    assert "in parts" in command("run", "a.tif", "--dry-run").stdout
    result = command("run", "a.tif", "--mu", "10")
    assert result.exit_code == 0
    assert re.search(r"denoised in \d+ parts, because it does not fit in memory", result.stderr)


@pytest.mark.parametrize(
    "options", [("--mask", "m.png"), ("--residual", "removed"), ("--trace", "t.csv")], ids=str
)
def test_what_needs_the_whole_picture_is_refused(
    options, command, in_parts, make_image, tmp_path: Path
) -> None:
    make_image("a.tif", smooth(64, 64))
    make_image("m.png", np.full((64, 64), 255, np.uint8))
    with in_parts():
        result = command("run", "a.tif", *options)
    assert result.exit_code == 1
    message = (
        f"a.tif: it is denoised in parts, and {options[0]} needs the whole image in memory; leave it out"
    )
    assert message in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif", "m.png"]


@pytest.mark.parametrize(
    "options", [("--mask", "m.png"), ("--residual", "removed"), ("--trace", "t.csv")], ids=str
)
def test_a_plan_says_what_will_be_refused_as_it_needs_the_whole_picture(
    options: tuple[str, ...], command, in_parts, make_image
) -> None:
    make_image("a.tif", smooth(64, 64))
    make_image("m.png", np.full((64, 64), 255, np.uint8))
    with in_parts():
        assert_plan_refuses_what_run_does(command, "a.tif", "-o", "b.tif", *options)


def test_a_plan_says_that_a_volume_in_parts_takes_no_mask(command, make_image, tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", np.zeros((64, 256, 256), np.uint8), imagej=True, metadata={"axes": "ZYX"}
    )
    make_image("m.png", np.full((256, 256), 255, np.uint8))
    assert_plan_refuses_what_run_does(
        command, "a.tif", "-o", "b.tif", "--memory", "300MB", "--volume", "--mask", "m.png"
    )


def test_a_plan_says_that_a_plane_is_too_large_by_itself(command, tmp_path: Path) -> None:
    values = np.zeros((2, *LARGE), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", values, tile=(256, 256), metadata=None, photometric="minisblack")
    assert_plan_refuses_what_run_does(command, "a.tif", "-o", "b.tif", "--memory", "300MB", "--volume")


def assert_plan_refuses_what_run_does(command, *arguments: str) -> None:
    done, planned = command("run", *arguments), command("run", *arguments, "--dry-run")
    assert done.exit_code == planned.exit_code == 1
    action, reason = planned.stdout.rstrip().split("\t")[5:]
    assert action == "fail"
    assert f"a.tif: {reason}" in done.stderr


def test_only_tiff_is_written_in_parts(command, in_parts, make_image, tmp_path: Path) -> None:
    make_image("a.tif", smooth(64, 64))
    with in_parts():
        result = command("run", "a.tif", "-o", "b.png")
    assert result.exit_code == 1
    assert "write a TIFF" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


def test_standard_streams_take_parts_too(command, in_parts, make_image, tmp_path: Path) -> None:
    make_image("a.tif", smooth(64, 64))
    with in_parts():
        result = command("run", "-", stdin=(tmp_path / "a.tif").read_bytes())
    assert result.exit_code == 0
    (tmp_path / "parts.tif").write_bytes(result.stdout_bytes)
    command("run", "a.tif", "-o", "whole.tif")
    first, second = (read(tmp_path / f"{name}.tif") for name in ("whole", "parts"))
    assert np.abs(first.intensities.astype(int) - second.intensities).max() <= 1


def test_in_place_a_large_file_is_denoised_once(command, in_parts, make_image) -> None:
    path = make_image("a.tif", smooth(64, 64))
    before = read(path).intensities
    with in_parts():
        assert command("run", "a.tif", "--in-place").exit_code == 0
        after = path.read_bytes()
        again = command("run", "a.tif", "--in-place")
    assert "already denoised" in again.stderr
    assert path.read_bytes() == after
    assert (read(path).intensities != before).any()


@pytest.mark.parametrize("options", [(), ("-o", "-"), ("--in-place",)], ids=["file", "output", "in place"])
@pytest.mark.parametrize("is_removed", [False, True], ids=["changed", "removed"])
def test_a_source_that_changes_meanwhile_gives_no_result(
    options, is_removed: bool, command, in_parts, make_image, tmp_path: Path, monkeypatch
):
    path = make_image("a.tif", smooth(64, 64))
    write = large.solved_in_parts

    @contextmanager
    def changing(*arguments: object, **options: object):
        with write(*arguments, **options) as result:
            if is_removed:
                path.unlink()
            else:
                path.write_bytes(path.read_bytes() + b"\0")
            yield result

    monkeypatch.setattr("tvdenoise.batch.large.solved_in_parts", changing)
    with in_parts():
        result = command("run", "a.tif", *options)
    assert result.exit_code == 1
    assert result.stdout_bytes == b""
    what = "disappeared while it was being denoised: no such file" if is_removed else "changed while"
    assert f"a.tif: the file {what}" in result.stderr
    assert result.stderr.rstrip().endswith("run it again")
    assert [found.name for found in tmp_path.iterdir()] == ([] if is_removed else ["a.tif"])


def test_a_full_disk_under_the_scratch_file_is_one_line(
    command, in_parts, make_image, tmp_path: Path, monkeypatch
) -> None:
    class Full(io.BytesIO):
        def write(self, _: object) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    make_image("a.tif", smooth(64, 64))
    monkeypatch.setattr(large, "_scratch_file", lambda _: Full())
    with in_parts():
        result = command("run", "a.tif", "-o", "new/b.tif")
    assert result.exit_code == 1
    lines = [line for line in result.stderr.splitlines() if line.startswith("tvdenoise: a.tif")]
    assert len(lines) == 1
    assert "cannot write a scratch file in" in lines[0]
    assert "no space left on device; free some space there, or choose another location with -o" in lines[0]
    assert [found.name for found in tmp_path.iterdir()] == ["a.tif"]


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit there")
@pytest.mark.parametrize("options", [(), ("--volume",)], ids=["picture", "volume"])
def test_a_full_disk_under_temporary_files_is_one_line(options, tmp_path: Path) -> None:
    if options:
        values, stored = np.zeros((130, 256, 256), np.uint8), {"imagej": True, "metadata": {"axes": "ZYX"}}
    else:
        values, stored = smooth(*LARGE), {"tile": (256, 256)}
    tifffile.imwrite(tmp_path / "a.tif", values, **stored)
    arguments = ["run", "a.tif", "-o", "-", "--memory", "300MB", *options]
    script = (
        "import resource, sys; from tvdenoise.commands.app import main; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000)); main()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        check=False, capture_output=True, cwd=tmp_path, env=environment(),
    )  # fmt: skip
    assert ended.returncode == 1
    assert ended.stdout == b""
    lines = [line for line in ended.stderr.decode().splitlines() if line.startswith("tvdenoise: ")]
    assert len(lines) == 1
    assert re.search(
        r"a\.tif: cannot write a (temporary|scratch) file: file too large; free some space", lines[0]
    )
    assert lines[0].endswith("set TMPDIR to another folder")


def test_shared_parameters_look_at_the_middle_of_a_large_file(command, in_parts, make_image) -> None:
    for name, seed in (("x/a.tif", 0), ("x/b.tif", 1)):
        make_image(name, smooth(96, 96, seed=seed))
    with in_parts():
        result = command("run", "x", "-o", "y", "--shared-parameters", "--report", "r.jsonl", "--jobs", "1")
    assert result.exit_code == 0, result.stderr
    entries = [json.loads(line) for line in Path("r.jsonl").read_text().splitlines()]
    assert entries[0]["status"] == "parameters"
    assert {entry["mu"] for entry in entries} == {entries[0]["mu"]}


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="measured as Linux tells it")
@pytest.mark.parametrize(
    ("dtype", "stored"),
    [
        (np.uint16, {"tile": (256, 256), "compression": "zlib", "predictor": True, "bigtiff": True}),
        (np.uint8, {"rowsperstrip": 2500}),
    ],
    ids=["tiles", "strip"],
)
def test_the_command_keeps_to_the_memory_that_it_is_given(dtype, stored: dict, tmp_path: Path) -> None:
    from support.measured import measured

    values = smooth(*LARGE, dtype=dtype)
    tifffile.imwrite(tmp_path / "a.tif", values, **stored, description="a description", metadata=None)
    reports = []
    given = ("--memory", "300MB")
    for name, options in (("whole", ()), ("parts", given), ("again", (*given, "--threads", "1"))):
        where = ("-o", f"{name}.tif", "--report", f"{name}.jsonl")
        ended, _, megabytes = measured(tmp_path, "a.tif", *where, *options)
        assert ended.returncode == 0, ended.stderr
        assert name == "whole" or megabytes * 2**20 <= 0.95 * 300e6  # code takes more on some machines
        reports.append(report(tmp_path / f"{name}.jsonl"))
    assert (tmp_path / "again.tif").read_bytes() == (tmp_path / "parts.tif").read_bytes()
    whole, in_parts = (tiff_values(tmp_path / f"{name}.tif") for name in ("whole", "parts"))
    assert reports[0]["notes"] is None
    assert re.fullmatch(r"denoised in \d+ parts, because it does not fit in memory", reports[1]["notes"])
    close_by_bounds(whole, in_parts, (reports[0], reports[1]))
    assert tags_of(tmp_path / "parts.tif") == tags_of(tmp_path / "whole.tif")


def test_a_picture_that_fits_has_the_same_bytes_whatever_the_memory(
    command, make_image, tmp_path: Path
) -> None:
    make_image("a.tif", smooth(200, 200))
    for memory in ("300MB", "1.5GiB"):
        assert command("run", "a.tif", "-o", f"{memory}.tif", "--memory", memory).exit_code == 0
    assert command("run", "a.tif").exit_code == 0
    contents = {path.read_bytes() for path in tmp_path.iterdir() if path.name != "a.tif"}
    assert len(contents) == 1


@pytest.mark.parametrize(
    ("kind", "own", "options"),
    [("L", 1, ()), ("RGB;16", 1, ("--strength", "1.5")), ("RGB", 3, ("--level", "0.05")), ("F", 1, ())],
    ids=str,
)
def test_learned_filters_denoise_in_parts_as_they_would_whole(
    kind: str, own: int, options: tuple[str, ...], command, filters, tmp_path: Path
) -> None:
    channels = 3 if kind.startswith("RGB") else 1
    dtype = {"F": np.float32, "RGB;16": np.uint16}.get(kind, np.uint8)
    values = smooth(300, 330, channels, dtype)
    photometric = "rgb" if channels == 3 else "minisblack"
    tifffile.imwrite(tmp_path / "a.tif", values, tile=(64, 64), photometric=photometric, metadata=None)
    reports = both(command, filters(own), "--prior", "small.prior", *options)
    assert re.search(r"denoised in ([2-9]|\d\d+) parts", reports[1]["notes"])
    first, second = (read(tmp_path / f"{name}.tif").intensities for name in ("whole", "parts"))
    close_by_bounds(first, second, reports)
    assert not np.array_equal(first, values)
    assert reports[1]["converged"]
    for name in ("level", "prior", "noise", "mu", "epsilon"):
        assert reports[1][name] == reports[0][name]


def test_the_plan_tells_that_learned_filters_need_parts(command, tmp_path: Path) -> None:
    (tmp_path / "small.prior").write_bytes(small_prior().to_bytes())
    tifffile.imwrite(tmp_path / "a.tif", np.tile(smooth(500, 500, 3), (3, 3, 1))[:1400], tile=(256, 256))
    plain = command("run", "a.tif", "--memory", "400MB", "--dry-run")
    learned = command("run", "a.tif", "--memory", "400MB", "--dry-run", "--prior", "small.prior")
    assert "in parts" not in plain.stdout
    assert "in parts" in learned.stdout


def test_bands_are_denoised_in_parts_by_learned_filters(command, filters, tmp_path: Path) -> None:
    values = smooth(200, 210, 5)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack", planarconfig="contig")
    for more in ((), ("--couple-bands",)):
        reports = both(command, filters(1), "--prior", "small.prior", "--overwrite", *more)
        first, second = (read(tmp_path / f"{name}.tif").intensities for name in ("whole", "parts"))
        close_by_bounds(first, second, reports)
        assert re.search(r"in \d+ parts?, because", reports[1]["notes"])


def test_pixels_without_data_need_the_whole_image_with_learned_filters(
    command, filters, tmp_path: Path
) -> None:
    values = smooth(200, 210).clip(1, 255)
    values[20:30, 40:50] = 0
    tifffile.imwrite(tmp_path / "a.tif", values, tile=(64, 64))
    with filters(1)():
        result = command("run", "a.tif", "--prior", "small.prior", "--nodata", "0")
    assert result.exit_code == 1
    assert (
        "learned filters need the whole image in memory where pixels have no data; use total" in result.stderr
    )
    assert not (tmp_path / "a_denoised.tif").exists()


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="measured as Linux tells it")
def test_learned_filters_keep_within_the_memory(tmp_path: Path) -> None:
    from support.measured import measured

    (tmp_path / "small.prior").write_bytes(small_prior().to_bytes())
    values = np.tile(smooth(500, 500, 3), (3, 3, 1))[:1400]
    tifffile.imwrite(tmp_path / "a.tif", values, tile=(256, 256))
    needed = header_of(tmp_path / "a.tif").bytes_needed
    assert MemoryBudget(400_000_000).shortage(needed) is None, "only filters must need more"
    given = ("--prior", "small.prior", "--memory", "400MB", "--level", "0.05", "--report", "report.jsonl")
    for _ in range(2):  # compiles kernels the first time
        ended, _, megabytes = measured(tmp_path, "a.tif", "--overwrite", *given)
        assert ended.returncode == 0, ended.stderr
    assert re.search(r"in \d parts?", report(tmp_path / "report.jsonl")["notes"])
    assert megabytes * 2**20 <= 400e6


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="measured as Linux tells it")
def test_results_of_an_earlier_run_are_looked_at_in_little_memory(tmp_path: Path) -> None:
    from support.measured import measured

    values = np.tile(smooth(1000, 1000, dtype=np.uint16), (9, 9))
    for name in ("a.tif", "b.tif"):
        tifffile.imwrite(tmp_path / name, values, tile=(256, 256))
    where = ("-o", "b.tif", "--skip-existing", "--memory", "300MB")
    ended, _, megabytes = measured(tmp_path, "a.tif", *where)
    assert ended.returncode == 0, ended.stderr
    assert "exists, skipped" in ended.stderr
    assert megabytes * 2**20 <= 300e6


@pytest.mark.parametrize(
    "stored", [{"tile": (256, 256)}, {"tile": (256, 256), "compression": "zlib"}], ids=str
)
def test_large_results_that_are_damaged_are_made_again(stored: dict, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.tile(smooth(1000, 1000), (4, 4)), **stored)
    assert is_whole(tmp_path / "a.tif")
    content = bytearray((tmp_path / "a.tif").read_bytes())
    if "compression" in stored:
        middle = len(content) // 2
        content[middle : middle + 200] = b"\xff" * 200
    else:
        del content[len(content) // 2 :]
    (tmp_path / "a.tif").write_bytes(content)
    assert not is_whole(tmp_path / "a.tif")


def test_a_file_that_must_be_decoded_whole_says_what_it_needs(command, make_image, tmp_path: Path) -> None:
    make_image("a.png", smooth(3000, 3000))
    result = command("run", "a.png", "--memory", "300MB")
    assert result.exit_code == 1
    message = (
        r"a\.png: it needs 0\.39 GB of memory, and --memory allows 0\.30 GB; save it as a tiled TIFF, which "
    )
    assert re.search(message + r"can be denoised in parts, or allow more with --memory\n", result.stderr)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("name", ["_SLACK", "memory_for"])
def test_too_little_for_any_part_is_said_with_what_it_takes(
    name: str, command, tmp_path: Path, monkeypatch
) -> None:
    too_little = {"_SLACK": 200_000_000, "memory_for": lambda *_: 100_000}
    monkeypatch.setattr(large, name, too_little[name])
    tifffile.imwrite(tmp_path / "a.tif", smooth(*LARGE), tile=(256, 256))
    result = command("run", "a.tif", "--memory", "300MB")
    assert result.exit_code == 1
    message = r"a\.tif: it needs 0\.\d\d GB of memory even in parts, and --memory allows 0\.30 GB; allow more"
    assert re.search(message, result.stderr)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


def test_a_plan_says_what_is_denoised_in_parts(command, tmp_path: Path) -> None:
    values = np.zeros(LARGE, np.uint8)
    for name, options in (("a.tif", {"tile": (256, 256)}), ("b.tif", {"compression": "jpeg"})):
        tifffile.imwrite(tmp_path / name, values, **options)
    tifffile.imwrite(tmp_path / "c.tif", values[:100, :100])
    result = command("run", "a.tif", "b.tif", "c.tif", "--memory", "300MB", "--dry-run")
    lines = [line.split("\t") for line in result.stdout.splitlines()]
    assert [line[5] for line in lines] == ["denoise", "fail", "denoise"]
    assert lines[0][6] == "in parts, because it does not fit in memory"
    assert lines[1][6].startswith(
        "it needs 0.35 GB of memory, and --memory allows 0.30 GB; it is not stored in"
    )
    assert lines[2][6] == ""
    assert result.exit_code == 1
    result = command("run", "a.tif", "-o", "a.png", "--memory", "300MB", "--dry-run")
    assert "PNG can only be written whole" in result.stdout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("many", "--memory must be a size such as 1GB, 800MB or 1.5GiB, not 'many'"),
        ("-1GB", "must be a size"),
        ("1e9", "must be a size"),
        ("1iB", "must be a size"),
        (
            "50MB",
            "--memory must be at least 300MB and at most 1000TB, not 50MB; the program itself needs about",
        ),
        ("1", "at least 300MB"),
    ],
)
def test_a_size_that_makes_no_sense_is_refused(text: str, message: str, command, make_image) -> None:
    make_image("a.tif")
    result = command("run", "a.tif", f"--memory={text}")
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1GB", 10**9), ("800MB", 8 * 10**8), ("1.5GiB", 3 * 2**29), ("2 gb", 2 * 10**9), ("400M", 4 * 10**8),
        ("300000000", 3 * 10**8), (".5g", 5 * 10**8), ("1TiB", 2**40), ("400000kB", 4 * 10**8),
    ],
)  # fmt: skip
def test_sizes_are_written_as_people_write_them(text: str, expected: int) -> None:
    from tvdenoise.commands.typer_options import parsed

    assert parsed("memory", text) == expected
    assert parsed("memory", None) is None


def test_a_watch_takes_a_size_too(command, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    result = command("watch", "in", "-o", "out", "--memory", "50MB")
    assert result.exit_code == 2
    assert "--memory must be at least 300MB" in result.stderr


def test_the_kernels_for_parts_are_loaded_before_memory_is_counted(
    command, in_parts, make_image, monkeypatch
) -> None:
    make_image("a.tif", smooth(64, 64))
    order = []
    monkeypatch.setattr(Denoiser, "_prepare_parts", lambda *_: order.append("kernels"))
    with in_parts():
        counted = large.memory_for
        monkeypatch.setattr(large, "memory_for", lambda *given: order.append("memory") or counted(*given))
        assert command("run", "a.tif").exit_code == 0
    assert order == ["kernels", "memory"]  # of one channel


def test_a_cluster_has_its_own_memory(command, make_image) -> None:
    make_image("a.tif")
    result = command("run", "a.tif", "--memory", "1GB", "--cluster", "local")
    assert result.exit_code == 2
    assert "--memory" in result.stderr


SLOW = ("--mu", "5", "--epsilon", "0.01", "--tolerance", "0", "--step", "fixed", "--max-iterations", "100000")


def _is_solving(process: int, folder: Path) -> bool:
    """Whether a scratch file without a name has been written to in a folder."""
    for entry in os.scandir(f"/proc/{process}/fd"):
        try:
            place = os.readlink(entry.path)
            if place.startswith(str(folder)) and place.endswith("(deleted)") and os.stat(entry.path).st_size:
                return True
        except OSError:
            continue
    return False


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="looked at as Linux shows it")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_whatever_ends_it_leaves_nothing_and_the_source_as_it_was(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", smooth(*LARGE), tile=(256, 256))
    source = (tmp_path / "a.tif").read_bytes()
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    child = subprocess.Popen(
        [sys.executable, "-m", "tvdenoise", "run", "a.tif", "--memory", "300MB", *SLOW],
        stderr=subprocess.PIPE, cwd=tmp_path, env=environment(),
    )  # fmt: skip
    signal.signal(signal.SIGINT, previous)
    deadline = time.monotonic() + 60
    while not _is_solving(child.pid, tmp_path):
        assert child.poll() is None, child.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    with own_time(child.pid) as taken:
        child.send_signal(number)
        told = child.stderr.read()
        assert child.wait(timeout=60) == code
    assert taken.seconds < 3
    assert b"Traceback" not in told
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]
    assert not temporaries(tmp_path)
    assert (tmp_path / "a.tif").read_bytes() == source


def test_a_bar_shows_how_far_a_large_file_is(process_on_terminal, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", smooth(*LARGE), tile=(256, 256))
    code, shown = process_on_terminal("run", "a.tif", "--memory", "300MB")
    assert code == 0, shown
    assert re.search(r"denoising.*\d+%", shown)


def test_noise_is_not_part_of_it(command, make_image) -> None:
    make_image("a.tif", noise(12, 17))
    assert command("noise", "a.tif", "--memory", "1GB").exit_code == 2
