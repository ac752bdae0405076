"""``--volume``: the planes of a file denoised together, and everything else about it kept."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from files.test_stacks import stack_in
from support.measured import measured
from support.processes import temporaries
from support.readers import tiff_values
from support.samples import psnr, rms, volume
from support.values import noise
from tvdenoise import denoise
from tvdenoise.api import denoise_tiled
from tvdenoise.batch import large
from tvdenoise.batch.denoiser import Denoiser
from tvdenoise.commands.console import Console
from tvdenoise.files import memory
from tvdenoise.files.opening import header_of
from tvdenoise.files.stack import Axes, Spill
from tvdenoise.tiling.passes import TiledSolution

pytestmark = pytest.mark.slow

SIGMA = 0.1


def noisy(*shape: int, dtype: Any = np.uint8, seed: int = 0) -> np.ndarray:
    """A volume with noise, its shape (planes, rows, columns) with others before and colours after."""
    planes, rows, columns = shape[-4:-1] if shape[-1] == 3 else shape[-3:]
    clean = volume(planes, rows, columns, seed)
    clean = clean[..., np.newaxis] if shape[-1] == 3 else clean
    values = clean + SIGMA * np.random.default_rng(seed).standard_normal(shape)
    if np.issubdtype(dtype, np.floating):
        return values.astype(dtype)
    return stored(np.clip(values, 0, 1), dtype)


def stored(values: np.ndarray, dtype: Any) -> np.ndarray:
    """Intensities in [0, 1] as integers."""
    largest = np.iinfo(dtype).max
    return np.clip(np.rint(values * np.float32(largest)), 0, largest).astype(dtype)


def together(values: np.ndarray, spacing: tuple[float, ...], **options: Any) -> np.ndarray:
    """What the Python interface makes of a volume, as it is stored."""
    colours = {"channel_axis": -1} if values.ndim == 4 else {}
    image = denoise(values, spatial_axes=(0, 1, 2), spacing=spacing, **colours, **options).image
    return image if values.dtype.kind == "f" else stored(image, values.dtype)


ZCYX = {"axes": "ZCYX", "spacing": 1.5, "unit": "um"}
TZCYX = {
    "axes": "TZCYX",
    "PhysicalSizeX": 0.2,
    "PhysicalSizeY": 0.25,
    "PhysicalSizeZ": 0.5,
    "TimeIncrement": 2.0,
}

#: By the name of a file: its values, what tifffile is told, the axes of its pictures, and the spacing of its volumes.
FILES: dict[str, tuple[np.ndarray, dict[str, Any], str, tuple[float, float, float]]] = {
    "imagej.tif": (
        np.stack([noisy(9, 30, 26, dtype=np.uint16), noisy(9, 30, 26, dtype=np.uint16, seed=1)], 1),
        {"imagej": True, "resolution": (2.0, 2.5), "metadata": ZCYX},
        "ZC",
        (1.5, 0.4, 0.5),
    ),
    "four.ome.tif": (
        np.moveaxis(noisy(2, 2, 6, 24, 28, dtype=np.uint16), 1, 2),
        {"photometric": "minisblack", "metadata": TZCYX},
        "TZC",
        (0.5, 0.25, 0.2),
    ),
    "plain.tif": (noisy(8, 26, 24), {"photometric": "minisblack", "metadata": None}, "Z", (1, 1, 1)),
    "colour.tif": (noisy(6, 26, 24, 3), {"photometric": "rgb", "compression": "zlib"}, "Z", (1, 1, 1)),
    "float.tif": (noisy(6, 26, 24, dtype=np.float32), {"photometric": "minisblack"}, "Z", (1, 1, 1)),
    "time.tif": (noisy(8, 26, 24), {"imagej": True, "metadata": {"axes": "TYX"}}, "T", (1, 1, 1)),
}


def make(folder: Path, name: str) -> np.ndarray:
    values, options, _, _ = FILES[name]
    tifffile.imwrite(folder / name, values, **options)
    return values


def expected(name: str, **options: Any) -> np.ndarray:
    """Each channel and time point as a volume by itself."""
    values, _, axes, spacing = FILES[name]
    along = "Z" if "Z" in axes else "T"
    leading = np.moveaxis(values, axes.index(along), len(axes) - 1)
    result = np.empty_like(leading)
    for place in np.ndindex(leading.shape[: len(axes) - 1]):
        result[place] = together(leading[place], spacing, **options)
    return np.moveaxis(result, len(axes) - 1, axes.index(along))


@pytest.mark.parametrize("name", FILES)
def test_each_volume_is_what_the_python_interface_makes_of_it(name: str, command, tmp_path: Path) -> None:
    make(tmp_path, name)
    result = command("run", name, "-o", "out/", "--volume", "--report", "r.jsonl")
    assert result.exit_code == 0, result.stderr
    with tifffile.TiffFile(tmp_path / name) as before, tifffile.TiffFile(tmp_path / "out" / name) as after:
        (wanted,), (found,) = before.series, after.series
        assert (found.shape, found.axes, found.kind) == (wanted.shape, wanted.axes, wanted.kind)
        assert len(after.pages) == len(before.pages)
        assert found.dtype == wanted.dtype
        first, page = before.pages.first, after.pages.first
        assert (page.description, page.resolution) == (first.description, first.resolution)
        assert page.compression == first.compression
        np.testing.assert_array_equal(
            tiff_values(tmp_path / "out" / name).reshape(found.shape), expected(name)
        )
    assert not temporaries(tmp_path)
    _, _, axes, spacing = FILES[name]
    entry = json.loads((tmp_path / "r.jsonl").read_text())
    volumes = {"ZC": 2, "TZC": 4}.get(axes, 1)
    assert entry["volumes"] == volumes
    assert tuple(map(float, entry["spacing"].split(","))) == spacing
    assert entry["converged"]
    assert 0 < entry["distance_bound"] < 0.01
    in_volumes = "one volume" if volumes == 1 else f"{volumes} volumes"
    assert f"{entry['planes']} images in {in_volumes}, spacing {entry['spacing']}, " in result.stderr


def test_the_evaluations_and_the_bound_are_those_of_all_volumes(command, tmp_path: Path) -> None:
    values = make(tmp_path, "imagej.tif")
    command("run", "imagej.tif", "--volume", "--mu", "12", "--report", "r.jsonl")
    solutions = [
        denoise(values[:, channel], 12, spatial_axes=(0, 1, 2), spacing=(1.5, 0.4, 0.5)) for channel in (0, 1)
    ]
    entry = json.loads((tmp_path / "r.jsonl").read_text())
    assert entry["iterations"] == sum(solution.iterations for solution in solutions)
    assert entry["distance_bound"] == max(solution.distance_bound for solution in solutions)


def test_the_spacing_that_is_asked_for_counts(command, tmp_path: Path) -> None:
    values = make(tmp_path, "plain.tif")
    for text, spacing in (("4,1,1", (4, 1, 1)), ("4", (4, 1, 1)), ("1/2, 3 ,1", (0.5, 3, 1))):
        result = command("run", "plain.tif", "--volume", "--spacing", text, "--overwrite")
        assert result.exit_code == 0, result.stderr
        assert "note" not in result.stderr
        np.testing.assert_array_equal(tiff_values(tmp_path / "plain_denoised.tif"), together(values, spacing))


def test_planes_apart_agree_with_the_sparse_engine(command, tmp_path: Path) -> None:
    make(tmp_path, "plain.tif")
    for engine in ("fused", "sparse"):
        options = ("--spacing", "4,1,1", "--mu", "12", "--tolerance", "5e-5", "--engine", engine)
        result = command("run", "plain.tif", "--volume", *options, "-o", f"{engine}.tif")
        assert "warning" not in result.stderr
    fused, sparse = (tiff_values(tmp_path / f"{engine}.tif").astype(int) for engine in ("fused", "sparse"))
    assert np.abs(fused - sparse).max() <= 1
    assert np.mean(fused != sparse) < 0.01  # where the last bits decide how a half is rounded


@pytest.mark.parametrize("name", ["film.png", "film.gif", "film.webp"])
def test_the_frames_of_an_animation_are_denoised_together(name: str, command, tmp_path: Path) -> None:
    is_grey = name != "film.webp"  # which knows colours alone
    clean = volume(1, 40, 48)[0] if is_grey else volume(3, 40, 48).transpose(1, 2, 0)
    grain = SIGMA * np.random.default_rng(0).standard_normal((8, *clean.shape))
    frames = stored(np.clip(clean + grain, 0, 1), np.uint8)
    first, *others = (Image.fromarray(frame) for frame in frames)
    lossless = {"lossless": True} if name.endswith("webp") else {}
    first.save(
        tmp_path / name, save_all=True, append_images=others, duration=[40, 50] * 4, loop=3, **lossless
    )
    assert command("run", name, "-o", "one/").exit_code == 0
    result = command("run", name, "-o", "together/", "--volume")
    assert result.exit_code == 0, result.stderr
    assert "8 images in one volume, spacing 1,1,1, " in result.stderr
    assert "note: neighbours in time" in result.stderr
    quality = {}
    for folder in ("one", "together"):
        with Image.open(tmp_path / folder / name) as opened:
            assert (opened.n_frames, opened.info["loop"]) == (8, 3)
            durations, found = [], []
            for number in range(8):
                opened.seek(number)
                opened.load()
                durations.append(round(opened.info["duration"]))
                found.append(np.asarray(opened.convert("L" if is_grey else "RGB")) / 255)
        assert durations == [40, 50] * 4
        quality[folder] = psnr(np.stack(found), clean)
    assert quality["together"] > quality["one"] + 3  # decibels
    if name != "film.gif":  # of 256 colours, in a palette
        np.testing.assert_array_equal(np.rint(np.stack(found) * 255), together(frames, (1, 1, 1)))


@pytest.mark.parametrize(
    ("options", "spacing", "note"),
    [
        (
            {"imagej": True, "metadata": {"axes": "ZYX", "spacing": 3.5}},
            "3.5,1,1",
            "pixels are assumed to be 1; change it with --spacing",
        ),
        (
            {"imagej": True, "resolution": (2.0, 2.0), "metadata": {"axes": "ZYX", "unit": "um"}},
            "0.5,0.5,0.5",
            "the distance between its planes is not stated, and that of its pixels is assumed; ",
        ),
        (
            {"ome": True, "metadata": {"axes": "ZYX", "PhysicalSizeX": 0.2, "PhysicalSizeZ": 0.6}},
            "0.6,0.2,0.2",
            "it states the distance of only rows or columns, which is assumed for both; ",
        ),
        (
            {"ome": True, "metadata": {"axes": "ZYX", "PhysicalSizeZ": 0.6}},
            "0.6,0.6,0.6",
            "its planes are 0.6 apart, and its pixels are assumed to be 0.6; change it with --spacing",
        ),
        (
            {
                "ome": True,
                "metadata": {
                    "axes": "ZYX",
                    "PhysicalSizeX": 200,
                    "PhysicalSizeXUnit": "nm",
                    "PhysicalSizeY": 0.2,
                    "PhysicalSizeZ": 0.5,
                },
            },
            "500,200,200",
            None,
        ),
        (
            {"imagej": True, "resolution": (2.5, 2.5), "metadata": {"axes": "TYX", "unit": "um"}},
            "0.4,0.4,0.4",
            "in time",
        ),
    ],
    ids=["pixels", "no planes", "one side", "planes alone", "units", "time"],
)
def test_what_a_file_states_is_taken_and_what_it_does_not_is_said(
    options: dict[str, Any], spacing: str, note: str | None, command, tmp_path: Path
) -> None:
    grey = {} if "imagej" in options else {"photometric": "minisblack"}
    tifffile.imwrite(tmp_path / "a.tif", noisy(5, 16, 16), **options, **grey)
    result = command("run", "a.tif", "--volume")
    assert result.exit_code == 0, result.stderr
    assert f"spacing {spacing}, " in result.stderr
    assert (note in result.stderr) if note else ("note" not in result.stderr)


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((2, 5, 20, 18), {"photometric": "minisblack"}),
        ((2, 2, 5, 20, 18), {"photometric": "minisblack", "truncate": True}),
        ((2, 1, 5, 20, 18), {"photometric": "minisblack", "compression": "zlib"}),
        ((2, 4, 20, 18, 3), {"photometric": "rgb"}),
        ((5, 20, 18), {"photometric": "minisblack"}),
    ],
)
def test_the_last_axis_without_a_name_is_that_of_the_planes(
    shape: tuple[int, ...], options: dict[str, Any], command, tmp_path: Path
) -> None:
    colours = shape[4:] if options["photometric"] == "rgb" else ()
    planes = shape[: len(shape) - len(colours)][-3:] + colours
    volumes = [noisy(*planes, seed=seed) for seed in range(math.prod(shape) // math.prod(planes))]
    tifffile.imwrite(tmp_path / "a.tif", np.reshape(volumes, shape), **options)
    assert b'"axes"' not in (tmp_path / "a.tif").read_bytes()
    result = command("run", "a.tif", "--volume", "--spacing", "2")
    assert result.exit_code == 0, result.stderr
    sizes = " × ".join(str(size) for size in shape[: -2 - len(colours)] if size > 1)
    note = f"its {sizes} images are taken as {len(volumes)} volumes of {planes[0]} planes"
    assert (note in result.stderr) == (len(volumes) > 1)
    result = np.reshape(read_block(tmp_path / "a_denoised.tif", shape), (len(volumes), *planes))
    for found, values in zip(result, volumes, strict=True):
        np.testing.assert_array_equal(found, together(values, (2, 1, 1)))
    assert header_of(tmp_path / "a.tif").volume == planes[0]


def read_block(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """The values of all pages, also where one directory stands for all."""
    with tifffile.TiffFile(path) as opened:
        assert opened.series[0].shape == shape
        return opened.asarray()


def test_planes_that_lie_in_another_order_are_put_into_theirs(command, tmp_path: Path) -> None:
    values = make(tmp_path, "four.ome.tif")
    contents = (tmp_path / "four.ome.tif").read_bytes()
    assert contents.count(b'DimensionOrder="XYCZT"') == 1
    # The same 24 planes, said to be (Z, C, T) of which time varies fastest: every volume waits for the last plane.
    (tmp_path / "a.tif").write_bytes(contents.replace(b"XYCZT", b"XYTCZ"))
    renamed = values.reshape(6, 2, 2, 24, 28)
    assert command("run", "a.tif", "--volume", "-o", "out.tif", "--mu", "12").exit_code == 0
    found = tiff_values(tmp_path / "out.tif").reshape(renamed.shape)
    for channel, time in np.ndindex(2, 2):
        wanted = together(renamed[:, channel, time], (0.5, 0.25, 0.2), mu=12)
        np.testing.assert_array_equal(found[:, channel, time], wanted)


def test_planes_that_ome_lists_backwards_are_put_into_their_order(command, tmp_path: Path) -> None:
    values = noisy(5, 20, 22)
    tifffile.imwrite(tmp_path / "a.ome.tif", values, photometric="minisblack", metadata={"axes": "ZYX"})
    described = tifffile.TiffFile(tmp_path / "a.ome.tif").ome_metadata
    assert described is not None
    places = "".join(
        f'<TiffData IFD="{number}" FirstZ="{4 - number}" PlaneCount="1"/>' for number in range(5)
    )
    start, end = described.index("<TiffData"), described.index("</Pixels>")
    text = (described[:start] + places + described[end:]).encode()
    tifffile.imwrite(
        tmp_path / "b.tif", values[::-1], photometric="minisblack", metadata=None, description=text
    )
    # A mask makes up and down differ, as total variation alone does not.
    mask = np.where(noise(5, 20, 22) > 99, 255, 0).astype(np.uint8)
    for name, own in (("a.ome.tif", mask), ("b.tif", mask[::-1])):
        tifffile.imwrite(tmp_path / "mask.tif", own, photometric="minisblack", metadata=None)
        options = ("--volume", "--spacing", "4", "--mask", "mask.tif")
        assert command("run", name, "-o", "out/", *options).exit_code == 0
    backwards = tiff_values(tmp_path / "out" / "b.tif")
    np.testing.assert_array_equal(backwards[::-1], tiff_values(tmp_path / "out" / "a.ome.tif"))
    axes = stack_in(tmp_path / "b.tif").axes
    assert axes.order == (4, 3, 2, 1, 0)
    assert axes.volumes == ((4, 3, 2, 1, 0),)


def test_volumes_follow_from_the_axes() -> None:
    assert Axes("TZC", (2, 3, 2)).volumes == ((0, 2, 4), (1, 3, 5), (6, 8, 10), (7, 9, 11))
    assert Axes("TC", (3, 2)).volumes == ((0, 2, 4), (1, 3, 5))
    assert Axes("I", (3,)).volumes == ((0, 1, 2),)
    assert Axes("QT", (2, 3)).volumes == ((0, 1, 2), (3, 4, 5))
    assert Axes("TZ", (3, 1)).plane_axis == "T"


def test_alpha_is_copied_and_hidden_pixels_do_not_show_through(command, tmp_path: Path) -> None:
    alpha = noise(5, 24, 20) | 1
    alpha[:, :6, :7] = 0
    alpha[2] = 0  # of which nothing is seen
    results = []
    for number, hidden in enumerate((7, 201)):
        pages = np.stack([noisy(5, 24, 20), alpha], axis=-1)
        pages[alpha == 0, 0] = hidden
        options = {"photometric": "minisblack", "extrasamples": ["unassalpha"], "metadata": None}
        tifffile.imwrite(tmp_path / f"{number}.tif", pages, **options)
        assert command("run", f"{number}.tif", "--volume").exit_code == 0
        result = tiff_values(tmp_path / f"{number}_denoised.tif")
        np.testing.assert_array_equal(result[..., 1], alpha)
        assert (result[alpha == 0, 0] == hidden).all()
        results.append(result[alpha > 0, 0])
        assert np.std(results[-1]) < np.std(pages[alpha > 0, 0])
    np.testing.assert_array_equal(*results)


def test_missing_pixels_are_filled_from_all_sides_and_counted(command, tmp_path: Path) -> None:
    values = noisy(6, 24, 20, dtype=np.float32)
    values[2, 5:12, 5:12] = np.nan
    values[4, 3, 3] = np.nan
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack")
    assert "NaN" in command("run", "a.tif", "--volume").stderr
    result = command("run", "a.tif", "--volume", "--nan", "fill")
    assert result.exit_code == 0, result.stderr
    assert "note: 50 missing pixels (NaN) filled" in result.stderr
    assert "no distance bound" in result.stderr
    found = tiff_values(tmp_path / "a_denoised.tif")
    np.testing.assert_array_equal(found, together(values, (1, 1, 1), nan="fill"))


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> list[TiledSolution]:
    """Pictures fit into the memory and volumes do not; what their solves in parts, in 0.6 MB, found."""
    free = memory.bytes_needed(30, 30, 4, 4) + 150_000_000
    monkeypatch.setattr(memory, "available_memory", lambda: free)
    monkeypatch.setattr(memory, "_SMALL", 0)
    monkeypatch.setattr(large, "memory_for", lambda *_: 600_000)
    found = []

    @contextmanager
    def watched(*arguments: Any, **options: Any) -> Iterator[TiledSolution]:
        with denoise_tiled(*arguments, **options) as result:
            found.append(result)
            yield result

    monkeypatch.setattr("tvdenoise.api.denoise_tiled", watched)
    return found


def test_a_volume_larger_than_the_memory_is_solved_in_parts_within_the_bounds(
    little_memory: list[TiledSolution], command, tmp_path: Path
) -> None:
    values = np.stack([noisy(200, 20, 18, dtype=np.float32, seed=seed) for seed in range(2)], axis=1)
    options = {"imagej": True, "resolution": (2.0, 2.0), "metadata": {**ZCYX, "spacing": 2.0}}
    tifffile.imwrite(tmp_path / "a.tif", values, **options)
    result = command("run", "a.tif", "--volume", "--mu", "12", "--report", "r.jsonl")
    assert result.exit_code == 0, result.stderr
    assert "400 images in 2 volumes, spacing 2,0.5,0.5, " in result.stderr
    assert [found.windows > 1 for found in little_memory] == [True, True]
    windows = little_memory[0].windows
    assert f"note: denoised in {windows} parts" in result.stderr
    entry = json.loads((tmp_path / "r.jsonl").read_text())
    assert (entry["converged"], entry["volumes"]) == (True, 2)
    with tifffile.TiffFile(tmp_path / "a_denoised.tif") as opened:
        assert opened.series[0].axes == "ZCYX"
        assert opened.imagej_metadata["spacing"] == 2.0
        found = tiff_values(tmp_path / "a_denoised.tif").reshape(values.shape)
    for channel in range(2):
        whole = denoise(values[:, channel], 12, spatial_axes=(0, 1, 2), spacing=(2, 0.5, 0.5))
        difference = rms(found[:, channel] - whole.image)
        assert 0 < difference <= whole.distance_bound + entry["distance_bound"]
    assert "\tdenoise\tin parts, " in command("run", "a.tif", "--volume", "--overwrite", "--dry-run").stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif", "a_denoised.tif", "r.jsonl"]


def test_integer_colours_in_parts_are_those_of_the_whole_within_the_bounds(
    little_memory: list[TiledSolution], command, tmp_path: Path, monkeypatch
) -> None:
    values = noisy(200, 12, 10, 3)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", metadata=None)
    monkeypatch.setattr(large, "memory_for", lambda *_: 700_000)
    options = (
        "--mu",
        "12",
        "--spacing",
        "8",
        "--chroma",
        "1.5",
        "--epsilon",
        "0.03",
        "--tolerance",
        "0.0005",
    )
    assert command("run", "a.tif", "--volume", *options).exit_code == 0
    assert little_memory[0].windows > 1
    whole = together(values, (8, 1, 1), mu=12, epsilon=0.03, chroma=1.5, tolerance=0.0005)
    found = tiff_values(tmp_path / "a_denoised.tif")
    assert np.abs(found.astype(int) - whole).max() <= 1


@pytest.mark.parametrize(
    ("values", "options", "reason"),
    [
        (
            noise(200, 20, 18),
            ("--mask", "mask.tif"),
            "; --mask is not possible in parts; leave it out, or free some",
        ),
        (
            np.where(noise(200, 20, 18) > 250, np.nan, noise(200, 20, 18, dtype=np.float32)).astype(
                np.float32
            ),
            ("--nan", "fill"),
            "it is denoised in parts, and missing pixels (NaN) need the whole volume in memory; ",
        ),
        (
            noise(200, 20, 18, 2) & np.array([255, 127], np.uint8) * 2,
            (),
            "it is denoised in parts, and colours under full transparency need the whole volume in memory; ",
        ),
    ],
    ids=["mask", "missing", "hidden"],
)
@pytest.mark.usefixtures("little_memory")
def test_what_needs_the_whole_volume_is_refused_in_parts(
    values: np.ndarray, options: tuple[str, ...], reason: str, command, tmp_path: Path
) -> None:
    alpha = {"extrasamples": ["unassalpha"]} if values.ndim == 4 else {}
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack", metadata=None, **alpha)
    tifffile.imwrite(tmp_path / "mask.tif", np.full((20, 18), 255, np.uint8), metadata=None)
    result = command("run", "a.tif", "--volume", *options)
    assert result.exit_code == 1
    assert reason in result.stderr
    assert result.stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif", "mask.tif"]


def test_a_volume_for_which_there_is_no_memory_in_parts_either_is_refused(
    little_memory: list[TiledSolution], command, tmp_path: Path, monkeypatch
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise(200, 20, 18), photometric="minisblack", metadata=None)
    monkeypatch.setattr(large, "memory_for", lambda *_: 100_000)
    result = command("run", "a.tif", "--volume")
    assert result.exit_code == 1
    assert "0.01 GB of memory" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]
    assert not little_memory


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="measured as Linux tells it")
def test_a_volume_stays_within_the_memory_that_is_given(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise(160, 256, 256, dtype=np.uint16), photometric="minisblack")
    options = ("--volume", "--mu", "12", "--tolerance", "0.02", "--memory", "300MB")
    ended, _, peak = measured(tmp_path, "a.tif", *options)
    assert ended.returncode == 0, ended.stderr
    assert peak < 300e6 / 2**20  # whole it would take a tenth more


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (("photo.png",), 1, "photo.png: it holds a single image, not a volume; leave out --volume"),
        (("channels.tif",), 1, "channels.tif: it holds only channels, no volume; leave out --volume"),
        (
            ("plain.tif", "--per-plane"),
            2,
            "--volume and --per-plane contradict each other; give only one of them",
        ),
        (
            ("plain.tif", "--first-frame"),
            2,
            "--volume and --first-frame contradict each other; give only one of",
        ),
        (
            ("plain.tif", "--spacing", "4,1"),
            2,
            "--spacing takes three distances, or only that of planes, not",
        ),
        (("plain.tif", "--spacing", "4,0,1"), 2, "--spacing must be positive and finite, not 0"),
        (
            ("plain.tif", "--spacing", "auto"),
            2,
            "--spacing must be a number such as 0.01 or 2.5/255, not 'auto'",
        ),
        (("plain.tif", "--trace", "t.csv"), 1, "--residual and --trace need a file with one image"),
    ],
)
def test_what_is_no_volume_is_refused_in_one_line(
    arguments: tuple[str, ...], code: int, reason: str, make_image, command, tmp_path: Path
) -> None:
    make_image("photo.png")
    make(tmp_path, "plain.tif")
    tifffile.imwrite(tmp_path / "channels.tif", noise(2, 9, 9), imagej=True, metadata={"axes": "CYX"})
    before = {path.name for path in tmp_path.iterdir()}
    result = command("run", *arguments, "--volume")
    assert result.exit_code == code
    assert reason in result.stderr
    assert result.stderr.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == before
    if code == 1 and "--trace" not in arguments:
        shown = command("run", *arguments, "--volume", "--dry-run")
        assert shown.exit_code == 1
        assert "\tfail\t" + reason.partition(": ")[2] in shown.stdout


def test_spacing_without_volumes_is_refused(command, tmp_path: Path) -> None:
    make(tmp_path, "plain.tif")
    result = command("run", "plain.tif", "--spacing", "4,1,1")
    assert (result.exit_code, "--spacing requires --volume" in result.stderr) == (2, True)


def test_the_plan_knows_volumes(command, tmp_path: Path) -> None:
    make(tmp_path, "imagej.tif")
    result = command("run", "imagej.tif", "--volume", "--dry-run")
    assert (result.exit_code, "\tdenoise\t" in result.stdout) == (0, True)
    header = header_of(tmp_path / "imagej.tif")
    assert (header.planes, header.volume) == (18, 9)
    assert header.volume_bytes_needed(has_weights=False) > 9 * 30 * 26 * 12 + memory.bytes_needed(
        26, 30, 1, 2
    )


def test_any_number_of_jobs_writes_the_same_volumes(command, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in FILES:
        make(tmp_path / "in", name)
    for jobs in ("1", "2"):
        ended = command("run", "in", "-o", f"out{jobs}/", "--volume", "--jobs", jobs, "--mu", "12")
        assert ended.exit_code == 0, ended.stderr
    for name in FILES:
        first, second = (tmp_path / f"out{jobs}" / name for jobs in (1, 2))
        assert first.read_bytes() == second.read_bytes()


def test_volumes_pass_standard_streams_and_are_replaced_in_place_once(
    command, process, tmp_path: Path
) -> None:
    make(tmp_path, "imagej.tif")
    assert command("run", "imagej.tif", "-o", "out.tif", "--volume").exit_code == 0
    ended = process("run", "-", "--volume", stdin=(tmp_path / "imagej.tif").read_bytes())
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == (tmp_path / "out.tif").read_bytes()
    assert command("run", "imagej.tif", "--in-place", "--volume").exit_code == 0
    assert (tmp_path / "imagej.tif").read_bytes() == ended.stdout
    assert "already denoised" in command("run", "imagej.tif", "--in-place", "--volume").stderr


def test_a_set_of_volumes_may_share_its_parameters(command, tmp_path: Path) -> None:
    for seed in range(3):
        tifffile.imwrite(tmp_path / f"{seed}.tif", noisy(6, 26, 24, seed=seed), photometric="minisblack")
        command("run", f"{seed}.tif", "--volume", "--report", f"{seed}.jsonl", "-o", f"own{seed}.tif")
    own = [json.loads((tmp_path / f"{seed}.jsonl").read_text())["mu"] for seed in range(3)]
    names = [f"{seed}.tif" for seed in range(3)]
    command("run", *names, "-o", "out/", "--volume", "--shared-parameters", "--report", "r.jsonl")
    entries = [json.loads(line) for line in (tmp_path / "r.jsonl").open()]
    assert {entry["mu"] for entry in entries} == {sorted(own)[1]}
    assert len(set(own)) == 3


def test_a_spill_is_no_longer_than_the_most_that_wait_at_a_time(tmp_path: Path) -> None:
    planes = noise(6, 5, 7, dtype=np.float32)
    with Spill(tmp_path) as spill:
        for start in (0, 2, 4):
            for number in (start, start + 1):
                spill.put(number, planes[number])
            assert start in spill
            for number in (start, start + 1):
                np.testing.assert_array_equal(spill.take(number, (5, 7)), planes[number])
            assert start not in spill
        assert spill.length == 2 * planes[0].nbytes
    assert not list(tmp_path.iterdir())


def test_what_goes_wrong_in_a_solve_is_not_told_of_the_encoder(command, tmp_path: Path, monkeypatch) -> None:
    make(tmp_path, "plain.tif")

    def fail(*_arguments: object, **_options: object) -> None:
        raise IndexError("out of range")

    monkeypatch.setattr(Denoiser, "solve", fail)
    for options in (("--volume",), ("--mu", "9")):
        told = "tvdenoise: plain.tif: unexpected error: IndexError: out of range; "
        assert command("run", "plain.tif", *options).stderr.startswith(told)
    assert [path.name for path in tmp_path.iterdir()] == ["plain.tif"]


def test_a_file_that_changes_while_its_planes_are_read_twice_is_left_alone(
    command, tmp_path: Path, monkeypatch
) -> None:
    make(tmp_path, "plain.tif")
    solve = Denoiser.solve

    def interrupted(*arguments: Any, **options: Any) -> Any:
        with (tmp_path / "plain.tif").open("ab") as stream:
            stream.write(b"more")
        return solve(*arguments, **options)

    monkeypatch.setattr(Denoiser, "solve", interrupted)
    result = command("run", "plain.tif", "--volume")
    assert result.exit_code == 1
    assert "changed while" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["plain.tif"]


def test_several_images_of_ome_in_one_file_are_no_volumes(command, tmp_path: Path) -> None:
    values = noisy(3, 16, 16)
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as writer:
        for _ in range(2):
            writer.write(values, photometric="minisblack", metadata={"axes": "ZYX"})
    assert command("run", "a.ome.tif", "-o", "out.tif").exit_code == 0
    result = command("run", "a.ome.tif", "--volume")
    assert result.exit_code == 1
    assert "a.ome.tif: it holds several stacks" in result.stderr


def test_how_far_a_solve_has_come_is_told_while_it_goes_on(command, tmp_path: Path, monkeypatch) -> None:
    told: list[tuple[float, int]] = []
    monkeypatch.setattr(Console, "tell_plane", lambda _, done, count: told.append((done, count)))
    tifffile.imwrite(tmp_path / "a.tif", noisy(6, 20, 30), imagej=True, metadata={"axes": "ZYX"})
    assert command("run", "a.tif", "--volume", "--mu", "10").exit_code == 0
    reached = [done for done, _ in told]
    assert {count for _, count in told} == {6}
    assert reached == sorted(reached)
    assert len({done for done in reached if 0 < done < 5.4}) > 5
    assert [done for done in reached if done > 5.4] == [6]
