"""The memory that a picture takes is known from its header, and what the machine has not is never asked for."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageFile

from support.banks import small_prior
from support.hostile import png
from support.measured import measured
from support.processes import environment
from support.seeds import SEEDS
from support.values import noise
from tvdenoise import machine
from tvdenoise.errors import UnsupportedImageError
from tvdenoise.files import memory, opening
from tvdenoise.files.memory import MemoryBudget
from tvdenoise.files.opening import header_of
from tvdenoise.files.reading import is_whole, read


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a megabyte, which asks about every picture."""
    monkeypatch.setattr(memory, "available_memory", lambda: 1_000_000)
    monkeypatch.setattr(memory, "_SMALL", 0)


def bytes_that_the_large_one_takes_more(folder: Path, *options: str) -> float:
    """Run small.tif and large.tif; the first run compiles the kernels, which takes memory, too, and does not count."""
    peaks = []
    for name in ("small.tif", "small.tif", "large.tif"):
        ended, _, peak = measured(folder, name, "--max-iterations", "3", "--overwrite", *options)
        assert ended.returncode == 0, ended.stderr
        peaks.append(peak)
    return (peaks[2] - peaks[1]) * 2**20


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="measured as Linux tells it")
@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((2000, 3000), np.uint8),
        ((1500, 2000, 3), np.uint16),
        ((2000, 2500), np.uint32),
        ((1500, 2000, 5), np.uint16),
    ],
    ids=["grey", "colour", "wide", "bands"],
)
def test_the_estimate_bounds_what_the_command_takes_and_not_by_far(shape, dtype, tmp_path: Path) -> None:
    values = (noise(*shape, dtype=np.float32) * 0.1 + 0.4) * np.iinfo(dtype).max
    photometric = "rgb" if shape[2:] == (3,) else "minisblack"
    layout = {"photometric": photometric, "planarconfig": "contig" if len(shape) == 3 else None}
    for name, part in (("small.tif", values[:20, :30]), ("large.tif", values)):
        tifffile.imwrite(tmp_path / name, part.astype(dtype), **layout)
    needed = header_of(tmp_path / "large.tif").bytes_needed
    taken = bytes_that_the_large_one_takes_more(tmp_path)
    assert taken <= needed <= 1.7 * taken  # 1.5 of larger pictures


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="measured as Linux tells it")
@pytest.mark.parametrize(("shape", "channels"), [((1500, 2000), 1), ((800, 1000, 3), 1), ((800, 1000, 3), 3)])
def test_the_estimate_for_learned_filters_bounds_what_the_command_takes(
    shape, channels, tmp_path: Path
) -> None:
    values = noise(*shape)
    prior = small_prior(channels, hidden=3)
    (tmp_path / "small.prior").write_bytes(prior.to_bytes())
    for name, part in (("small.tif", values[:20, :30]), ("large.tif", values)):
        tifffile.imwrite(tmp_path / name, part, photometric="rgb" if shape[2:] else "minisblack")
    needed = replace(header_of(tmp_path / "large.tif"), gate_values=prior.gate_values).bytes_needed
    options = ("--prior", "small.prior", "--level", "0.05")
    assert bytes_that_the_large_one_takes_more(tmp_path, *options) <= needed


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="measured as Linux tells it")
@pytest.mark.parametrize(
    ("shape", "dtype", "options"),
    [((40, 300, 300), np.uint8, ()), ((40, 300, 300), np.float32, ("--nan", "fill"))],
    ids=["bytes", "missing"],
)
def test_the_estimate_for_volumes_bounds_what_the_command_takes(
    shape, dtype, options, tmp_path: Path
) -> None:
    values = noise(*shape, dtype=np.float32) * 0.1 + 0.4
    if options:
        values[noise(*shape) > 250] = np.nan
    else:
        values *= 255
    for name, part in (("small.tif", values[:4, :20, :30]), ("large.tif", values)):
        tifffile.imwrite(tmp_path / name, part.astype(dtype), photometric="minisblack")
    needed = header_of(tmp_path / "large.tif").volume_bytes_needed(has_weights=bool(options))
    taken = bytes_that_the_large_one_takes_more(tmp_path, "--volume", *options)
    assert taken <= needed <= 2.5 * taken  # 1.5 of larger volumes


@pytest.mark.parametrize("name", SEEDS)
def test_a_header_says_as_much_as_the_decoded_picture(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(SEEDS[name]())
    header, picture = header_of(tmp_path / name), read(tmp_path / name)
    channels = picture.channels + (picture.alpha is not None)
    assert (header.codec, header.columns, header.rows) == (picture.codec, *picture.size)
    assert header.bytes_per_sample == picture.intensities.itemsize
    assert header.channels >= channels or name == "keyed.png"  # its alpha is a chunk further on


@pytest.mark.parametrize("name", ["colour.png", "deep_grey.png", "colour.jpg", "progressive.jpg"])
def test_the_header_of_a_png_or_jpeg_needs_no_decoder(name: str, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / name).write_bytes(SEEDS[name]())
    monkeypatch.setattr(opening, "opened_image", lambda _: pytest.fail("opened"))
    assert header_of(tmp_path / name).columns == 24


@pytest.mark.parametrize("name", SEEDS)
@pytest.mark.usefixtures("little_memory")
def test_a_picture_for_which_memory_is_missing_is_refused_before_it_is_decoded(
    name: str, tmp_path: Path, monkeypatch
) -> None:
    (tmp_path / name).write_bytes(SEEDS[name]())
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("decoded"))
    message = r"0\.2 GB .*0\.0 GB"
    with pytest.raises(UnsupportedImageError, match=message):
        read(tmp_path / name)


@pytest.mark.usefixtures("little_memory")
def test_an_output_is_looked_at_without_the_memory_to_denoise_it(make_image) -> None:
    assert is_whole(make_image("a.png"))


@pytest.mark.slow
def test_a_bomb_that_is_allowed_by_its_pixels_is_refused_for_its_memory(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    (tmp_path / "a.png").write_bytes(png(30_000, 30_000, 8))
    limit = 4 * 2**30
    ended = subprocess.run(
        [sys.executable, "-m", "tvdenoise", "run", "a.png", "--max-pixels", "1000"],
        capture_output=True, text=True, cwd=tmp_path, env=environment(), timeout=60, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )  # fmt: skip
    assert ended.returncode == 1
    assert re.search(
        r"a.png: it needs 1\d\.\d GB of memory, and [34]\.\d GB is available; save it as a tiled TIFF",
        ended.stderr,
    )
    assert ended.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def _system(folder: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str]) -> None:
    """What a Linux machine tells about its memory."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    monkeypatch.setattr(memory, "_PROCESS", folder / "self")
    monkeypatch.setattr(memory, "_MACHINE", folder / "meminfo")
    monkeypatch.setattr(machine, "_PROCESS", folder / "self")
    monkeypatch.setattr(machine, "_GROUPS", folder / "groups")
    monkeypatch.setattr(memory, "_of_limit", lambda: None)


def test_the_memory_of_the_machine_bounds_what_is_available(tmp_path: Path, monkeypatch) -> None:
    _system(tmp_path, monkeypatch, {"meminfo": "MemTotal: 9 kB\nMemAvailable:    7 kB\n"})
    assert memory.available_memory() == 7 * 1024


@pytest.mark.parametrize("inner", ["max", "2000000"])
def test_the_limit_of_a_container_bounds_what_is_available(inner: str, tmp_path: Path, monkeypatch) -> None:
    files = {"meminfo": "MemAvailable: 9999999 kB\n", "self/cgroup": "0::/outer/inner\n"}
    group = tmp_path / "groups/outer"
    files |= {
        "groups/outer/memory.max": "1000000\n",
        "groups/outer/memory.current": "700000\n",
        "groups/outer/memory.stat": "anon 5\ninactive_file 100000\n",
        "groups/outer/inner/memory.max": f"{inner}\n",
        "groups/outer/inner/memory.current": "600000\n",
    }
    _system(tmp_path, monkeypatch, files)
    assert group.is_dir()
    assert memory.available_memory() == 400_000


def test_the_limit_of_an_older_container_bounds_what_is_available(tmp_path: Path, monkeypatch) -> None:
    files = {"meminfo": "MemAvailable: 9999999 kB\n", "self/cgroup": "5:cpu:/\n4:memory:/elsewhere\n"}
    files |= {
        "groups/memory/memory.limit_in_bytes": "1000000\n",
        "groups/memory/memory.usage_in_bytes": "700000\n",
        "groups/memory/memory.stat": "total_inactive_file 50000\n",
    }
    _system(tmp_path, monkeypatch, files)
    assert memory.available_memory() == 350_000


def test_without_a_word_from_the_system_nothing_is_refused(tmp_path: Path, monkeypatch, make_image) -> None:
    _system(tmp_path / "system", monkeypatch, {})
    monkeypatch.setattr(os, "sysconf", lambda _: (_ for _ in ()).throw(ValueError), raising=False)
    monkeypatch.setattr(memory, "_SMALL", 0)
    assert memory.available_memory() is None
    assert read(make_image("a.png")).size == (17, 12)
    assert Image.open(tmp_path / "a.png").size == (17, 12)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is another one")
def test_what_was_freed_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: None)
    budget = MemoryBudget(10**12)
    before = budget.left or 0
    chunks = [bytearray(100_000) for _ in range(2000)]  # too small to be mapped by themselves
    pinned = bytearray(100_000)
    del chunks
    assert (budget.left or 0) > before - 100_000_000
    del pinned
