"""Several pages of a TIFF, stacks of ImageJ and OME: all are denoised, and what describes them stays."""

from __future__ import annotations

import json
import math
import os
import re
import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from support.measured import measured
from support.processes import temporaries
from support.readers import tiff_tags, tiff_values
from support.seeds import SEVERAL
from support.values import noise
from tvdenoise.errors import TvdenoiseError, UnsupportedImageError
from tvdenoise.files.opening import header_of
from tvdenoise.files.reading import is_whole, open_images, read
from tvdenoise.files.stack import Stack
from tvdenoise.formats.registry import FAMILIES, FORMATS
from tvdenoise.formats.tiff.directories import TiffLayout, directories
from tvdenoise.formats.tiff.writing import Pages, Storage, options

HARDLY = ("--mu", "1e9")  # smooths by less than what can be seen
AXES = {"axes": "TZCYX"}
IMAGEJ = {
    **AXES,
    "spacing": 3.5,
    "unit": "um",
    "finterval": 0.25,
    "mode": "composite",
    "Info": "größer",
    "Labels": [f"label {number}" for number in range(24)],
    "LUTs": [noise(3, 256, seed=seed) for seed in range(2)],
}
OME = {**AXES, "PhysicalSizeX": 0.2, "PhysicalSizeY": 0.25, "PhysicalSizeZ": 0.5, "TimeIncrement": 2.0}
SHAPE = (3, 4, 2, 20, 24)

#: By the name of a file: its values and what tifffile is told.
STACKS: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
    "grey.tif": (noise(5, 20, 24), {"compression": "zlib", "predictor": True}),
    "deep.tif": (
        noise(5, 20, 23, dtype=np.uint16),
        {"byteorder": ">", "description": "pages", "metadata": None},
    ),
    "colour.tif": (noise(3, 21, 25, 3), {"photometric": "rgb", "compression": "lzw"}),
    "planar.tif": (noise(3, 3, 20, 24), {"photometric": "rgb", "planarconfig": "separate", "metadata": None}),
    "float.tif": (noise(4, 20, 24, dtype=np.float32), {"bigtiff": True, "tile": (16, 16)}),
    "odd.tif": (noise(3, 7, 5), {"imagej": True}),
    "imagej.tif": (
        noise(*SHAPE, dtype=np.uint16),
        {"imagej": True, "resolution": (2.5, 2), "metadata": IMAGEJ},
    ),
    "big_endian.tif": (
        noise(*SHAPE, dtype=np.uint16),
        {"imagej": True, "byteorder": ">", "resolution": (2.5, 2), "metadata": IMAGEJ},
    ),
    "imagej_float.tif": (noise(6, 20, 24, dtype=np.float32), {"imagej": True, "metadata": {"axes": "ZYX"}}),
    "imagej_colour.tif": (noise(4, 20, 24, 3), {"imagej": True}),
    "four.ome.tif": (noise(*SHAPE, dtype=np.uint16), {"photometric": "minisblack", "metadata": OME}),
    "shaped.tif": (noise(2, 3, 20, 24), {"truncate": True}),
    "shaped_axes.tif": (noise(2, 3, 20, 24), {"truncate": True, "metadata": {"axes": "TZYX"}}),
    "truncated.tif": (noise(6, 20, 24, dtype=np.uint16), {"imagej": True, "truncate": True}),
}


def make_stack(folder: Path, name: str, **more: Any) -> np.ndarray:
    values, options = STACKS[name]
    tifffile.imwrite(folder / name, values, **({"photometric": "minisblack"} | options | more))
    return values


def stack_in(path: Path) -> Stack:
    """The stream stays open as long as the test."""
    found = open_images(path.open("rb"))
    assert isinstance(found, Stack)
    return found


def pixels_of(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """Of all pages, also where the first directory stands for all, whose pixels follow its own."""
    [first, *others] = tiff_tags(path)
    if others:
        return tiff_values(path).reshape(shape)
    return np.fromfile(path, dtype, math.prod(shape), offset=first[273][0]).reshape(shape)


def stored(path: Path, number: int) -> bytes | None:
    """A tag of bytes as it lies in a file, or of numbers as they are."""
    with tifffile.TiffFile(path) as opened:
        if (tag := opened.pages.first.tags.get(number)) is None:
            return None
        return path.read_bytes()[tag.valueoffset :][: tag.valuebytecount]


def test_what_a_format_calls_its_pictures_is_known_to_its_family_too() -> None:
    claimed = {form.codec: form.several for form in FORMATS if form.several is not None}
    assert claimed == {"TIFF": "pages", "PNG": "frames", "GIF": "frames", "WEBP": "frames"}
    for codec, family in FAMILIES.items():
        assert (family.several is not None) == (codec in claimed)
        assert family.several is None or family.several.is_of_frames == (claimed[codec] == "frames")
    assert {name.rpartition(".")[2] for name in SEVERAL} == {"tif", "png", "gif", "webp"}


@pytest.mark.slow
@pytest.mark.parametrize("name", STACKS)
def test_pages_axes_and_descriptions_come_back(name: str, command, tmp_path: Path) -> None:
    values = make_stack(tmp_path, name)
    result = command("run", name, "-o", "out/", *HARDLY)
    assert result.exit_code == 0, result.stderr
    assert "note" not in result.stderr
    out = tmp_path / "out" / name
    with tifffile.TiffFile(tmp_path / name) as before, tifffile.TiffFile(out) as after:
        (expected,), (found,) = before.series, after.series
        if name == "planar.tif":  # colours are written pixel by pixel
            values = np.moveaxis(values, 1, -1)
        else:
            assert (found.shape, found.axes, found.kind) == (expected.shape, expected.axes, expected.kind)
        if values.dtype.kind == "f":
            np.testing.assert_allclose(pixels_of(out, values.shape, values.dtype), values, atol=1e-6)
        else:
            np.testing.assert_array_equal(pixels_of(out, values.shape, values.dtype), values)
        first, page = before.pages.first, after.pages.first
        assert page.compression == first.compression
        assert page.description == first.description
        assert page.resolution == first.resolution
        for tag in (50838, 50839):
            assert stored(tmp_path / "out" / name, tag) == stored(tmp_path / name, tag)
        if before.is_imagej:
            assert after.imagej_metadata.keys() == before.imagej_metadata.keys()
            assert after.imagej_metadata.get("Labels") == before.imagej_metadata.get("Labels")
            assert page.dataoffsets[0] + values.nbytes <= (tmp_path / "out" / name).stat().st_size
        assert 11 in page.tags
        assert all(11 not in after.pages[number].aspage().tags for number in range(1, len(after.pages)))


@pytest.mark.parametrize("name", ["imagej.tif", "big_endian.tif", "four.ome.tif"])
def test_a_stack_knows_its_axes_and_its_spacing(name: str, tmp_path: Path) -> None:
    make_stack(tmp_path, name)
    axes = stack_in(tmp_path / name).axes
    assert (axes.names, axes.sizes, axes.channel_count) == ("TZC", (3, 4, 2), 2)
    assert axes.place(13) == {"T": 1, "Z": 2, "C": 1}
    spacing = (
        {"X": 0.2, "Y": 0.25, "Z": 0.5, "T": 2}
        if "ome" in name
        else {"X": 0.4, "Y": 0.5, "Z": 3.5, "T": 0.25}
    )
    assert axes.spacing == pytest.approx(spacing)
    assert axes.unit == ("µm" if "ome" in name else "um")


@pytest.mark.parametrize(
    ("metadata", "truncate", "before", "axes", "described"),
    [
        ({"axes": "TZSYX"}, False, "TZSYX", "TZ", "TZYXS"),
        ({"axes": "TZSYX"}, True, "TZSYX", "TZ", "TZYXS"),
        ({}, False, "QQSYX", "dZ", "QQYXS"),
    ],
)
def test_axes_stay_known_where_colours_in_planes_of_their_own_are_written_pixel_by_pixel(
    metadata: dict, truncate: bool, before: str, axes: str, described: str, command, tmp_path: Path
) -> None:
    values = noise(2, 3, 3, 20, 24)
    tifffile.imwrite(
        tmp_path / "a.tif",
        values,
        photometric="rgb",
        planarconfig="separate",
        metadata=metadata,
        truncate=truncate,
    )
    assert tifffile.TiffFile(tmp_path / "a.tif").series[0].axes == before
    assert stack_in(tmp_path / "a.tif").axes.names == axes
    assert command("run", "a.tif", "-o", "out.tif", *HARDLY).exit_code == 0
    (found,) = tifffile.TiffFile(tmp_path / "out.tif").series
    assert (found.axes, found.shape) == (described, (2, 3, 20, 24, 3))
    np.testing.assert_array_equal(
        pixels_of(tmp_path / "out.tif", found.shape, values.dtype), np.moveaxis(values, 2, -1)
    )


def test_colours_that_are_pages_stay_an_axis(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise(3, 20, 24), photometric="minisblack", metadata={"axes": "SYX"})
    assert stack_in(tmp_path / "a.tif").axes.names == "S"


def test_planes_of_ome_are_found_in_any_order(tmp_path: Path) -> None:
    make_stack(tmp_path, "four.ome.tif")
    contents = (tmp_path / "four.ome.tif").read_bytes()
    assert contents.count(b'DimensionOrder="XYCZT"') == 1
    (tmp_path / "a.tif").write_bytes(contents.replace(b"XYCZT", b"XYZTC"))
    axes = stack_in(tmp_path / "a.tif").axes
    assert (axes.names, axes.sizes) == ("CTZ", (2, 3, 4))
    assert [axes.channel(number) for number in (0, 11, 12, 23)] == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("axes", "sizes", "names", "volumes"),
    [
        ("ZAYX", (4, 3), "Zz", [(0, 3, 6, 9), (1, 4, 7, 10), (2, 5, 8, 11)]),
        ("THYX", (2, 3), "Tt", [(0, 3), (1, 4), (2, 5)]),
        ("CZPYX", (2, 2, 2), "CZz", [(0, 2), (1, 3), (4, 6), (5, 7)]),
        ("HZYX", (2, 3), "tZ", [(0, 1, 2), (3, 4, 5)]),
    ],
)
def test_angles_phases_and_lifetimes_are_no_planes_of_one_volume(
    axes: str, sizes: tuple[int, ...], names: str, volumes: list, tmp_path: Path
) -> None:
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, noise(*sizes, 8, 9), photometric="minisblack", metadata={"axes": axes})
    assert tifffile.TiffFile(path).series[0].axes == axes
    found = stack_in(path).axes
    assert (found.names, found.sizes, list(found.volumes)) == (names, sizes, volumes)


def test_labels_say_how_many_phases_there_are(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, noise(2, 3, 8, 9), photometric="minisblack", metadata={"axes": "ZPYX"})
    said = b'Type="phase" Start="0" End="2"/>'
    labels = b"><Label>a</Label><Label>b</Label><Label>c</Label></ModuloAlongZ>"
    contents = path.read_bytes()
    assert said in contents
    with tifffile.TiffFile(path) as opened:
        text = opened.ome_metadata.encode().replace(said, b'Type="phase"' + labels)
    tifffile.imwrite(path, noise(6, 8, 9), photometric="minisblack", description=text, metadata=None)
    assert stack_in(path).axes.names == "Zz"


def test_each_plane_is_what_it_would_be_alone(command, tmp_path: Path) -> None:
    values = make_stack(tmp_path, "deep.tif")
    assert command("run", "deep.tif", "-o", "out.tif", "--mu", "9", "--report", "r.jsonl").exit_code == 0
    stacked = tiff_values(tmp_path / "out.tif")
    bounds, evaluations = [], 0
    for number, plane in enumerate(values):
        tifffile.imwrite(tmp_path / f"{number}.tif", plane)
        command("run", f"{number}.tif", "-o", "one.tif", "--mu", "9", "--overwrite", "--report", "one.jsonl")
        np.testing.assert_array_equal(tiff_values(tmp_path / "one.tif"), stacked[number])
        entry = json.loads((tmp_path / "one.jsonl").read_text())
        bounds.append(entry["distance_bound"])
        evaluations += entry["iterations"]
    entry = json.loads((tmp_path / "r.jsonl").read_text())
    assert entry["distance_bound"] == max(bounds)
    assert (entry["iterations"], entry["planes"]) == (evaluations, 5)


def _mus(path: Path) -> list[float]:
    return [json.loads(line)["mu"] for line in path.read_text().splitlines()]


def _smooth(sigma: float, *shape: int, seed: int = 0) -> np.ndarray:
    rows = np.linspace(0.2, 0.8, shape[-1])
    values = rows + sigma * np.random.default_rng(seed).standard_normal(shape)
    return np.rint(np.clip(values, 0, 1) * 65535).astype(np.uint16)


def test_the_parameters_are_those_of_the_middle_plane_for_the_whole_file(command, tmp_path: Path) -> None:
    sigmas = (0.02, 0.05, 0.1)
    planes = [_smooth(sigma, 64, 64, seed=number) for number, sigma in enumerate(sigmas)]
    tifffile.imwrite(tmp_path / "a.tif", np.stack(planes), photometric="minisblack")
    for number, plane in enumerate(planes):
        tifffile.imwrite(tmp_path / f"plane{number}.tif", plane)
    for name in ("a.tif", *(f"plane{number}.tif" for number in range(3))):
        command("run", name, "-o", "out/", "--report", f"{name}.jsonl")
    alone = [_mus(tmp_path / f"plane{number}.tif.jsonl")[0] for number in range(3)]
    assert _mus(tmp_path / "a.tif.jsonl") == [sorted(alone)[1]]
    result = command("run", "a.tif", "-o", "each.tif", "--per-plane")
    assert "3 images" in result.stderr
    assert "(the median of 3)" in result.stderr
    for number, plane in enumerate(tiff_values(tmp_path / "each.tif")):
        np.testing.assert_array_equal(plane, tiff_values(tmp_path / "out" / f"plane{number}.tif"))


@pytest.mark.slow
def test_channels_of_a_microscope_have_parameters_of_their_own(command, tmp_path: Path) -> None:
    planes = np.stack([_smooth(0.02, 3, 64, 64), _smooth(0.1, 3, 64, 64)], axis=1)
    tifffile.imwrite(tmp_path / "a.tif", planes, imagej=True, metadata={"axes": "ZCYX"})
    for channel in range(2):
        tifffile.imwrite(
            tmp_path / f"{channel}.tif", planes[:, channel], imagej=True, metadata={"axes": "ZYX"}
        )
        assert command("run", f"{channel}.tif").exit_code == 0
    assert "(the median of 2)" in command("run", "a.tif").stderr
    found = tiff_values(tmp_path / "a_denoised.tif")
    for channel in range(2):
        np.testing.assert_array_equal(found[channel::2], tiff_values(tmp_path / f"{channel}_denoised.tif"))


def test_overviews_and_masks_are_no_pages(command, tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for seed in range(2):
            writer.write(noise(16, 16, seed=seed), metadata=None, photometric="minisblack")
            writer.write(noise(8, 8), metadata=None, subfiletype=1, photometric="minisblack")
        writer.write(noise(16, 16), metadata=None, subfiletype=2, photometric="minisblack")
    contents = bytearray((tmp_path / "a.tif").read_bytes())
    struct.pack_into("<HHII", contents, contents.index(struct.pack("<HHII", 254, 4, 1, 2)), 254, 4, 1, 4)
    (tmp_path / "a.tif").write_bytes(contents)
    result = command("run", "a.tif", *HARDLY)
    assert "2 images" in result.stderr
    assert result.stderr.count("note: ") == 1
    assert "note: its masks are dropped\n" in result.stderr
    with tifffile.TiffFile(tmp_path / "a_denoised.tif") as opened:
        assert [(page.shape, page.subfiletype) for page in opened.pages] == [((16, 16), 0), ((8, 8), 1)] * 2
        found = [page.asarray() for page in opened.pages]
    np.testing.assert_array_equal(found[::2], [noise(16, 16, seed=seed) for seed in range(2)])


def test_what_micro_manager_has_beside_its_pages_is_said_to_be_left_out(command, tmp_path: Path) -> None:
    """Where it lies is written between the header and the first page."""
    contents = BytesIO()
    pages = Pages(contents, TiffLayout("<", False))
    contents.write(struct.pack("<II16x", 54773648, 1000))
    rows, columns = STACKS["deep.tif"][0].shape[1:]
    storage = Storage(rows, columns, 1, np.dtype("u2"), 1, False, "raw")
    for number in range(5):
        pages.begin((), storage)
        pages.append(STACKS["deep.tif"][0][number][..., None])
    pages.close()
    (tmp_path / "mm.tif").write_bytes(contents.getvalue())
    result = command("run", "mm.tif", *HARDLY)
    assert result.exit_code == 0, result.stderr
    assert result.stderr.count("note: Micro-Manager's index and summary of the file are dropped\n") == 1
    np.testing.assert_array_equal(tiff_values(tmp_path / "mm_denoised.tif"), STACKS["deep.tif"][0])


def _bits(*shape: int) -> np.ndarray:
    return noise(*shape) > 127


OTHERS = {
    "size": noise(60, 41),
    "colour": noise(50, 44, 3),
    "depth": noise(50, 44, dtype=np.uint16),
    "deep colour": noise(50, 44, 3, dtype=np.uint16),
    "float": noise(50, 44, dtype=np.float32),
    "one bit": _bits(50, 44),
}


def _write_pages(path: Path, *pages: np.ndarray, **options: Any) -> None:
    with tifffile.TiffWriter(path, **options) as writer:
        for number, values in enumerate(pages):
            photometric = "rgb" if values.ndim == 3 else "minisblack"
            tile = (16, 32) if values.dtype != bool and number % 2 else None
            text = f"page {number}"
            writer.write(values, metadata=None, photometric=photometric, tile=tile, description=text)


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("mu", [(), ("--mu", "9")], ids=["chosen", "given"])
def test_pages_of_other_shapes_or_kinds_are_each_denoised_as_files_of_their_own(
    name: str, mu: tuple[str, ...], command, tmp_path: Path
) -> None:
    pages = (noise(50, 44), OTHERS[name], noise(20, 70, 3))
    _write_pages(tmp_path / "a.tif", *pages)
    asked = (*mu, "--impulses", "on") if name == "one bit" else mu
    result = command("run", "a.tif", *asked)
    assert result.exit_code == 0, result.stderr
    if name == "one bit":
        assert "two pixels removed" in result.stderr
    else:
        assert "note" not in result.stderr
    with tifffile.TiffFile(tmp_path / "a_denoised.tif") as opened:
        assert [page.description for page in opened.pages] == ["page 0", "page 1", "page 2"]
        assert [page.is_tiled for page in opened.pages] == [False, name != "one bit", False]
        found = [page.asarray() for page in opened.pages]
    for number, (values, page) in enumerate(zip(found, pages, strict=True)):
        assert (values.shape, values.dtype) == (page.shape, page.dtype)
        _write_pages(tmp_path / f"{number}.tif", page)
        assert command("run", f"{number}.tif", *asked).exit_code == 0
        np.testing.assert_array_equal(values, tifffile.imread(tmp_path / f"{number}_denoised.tif"))


def test_what_needs_pages_of_one_size_is_refused_for_others(command, tmp_path: Path) -> None:
    _write_pages(tmp_path / "a.tif", noise(50, 44), noise(60, 41))
    Image.fromarray(_bits(50, 44)).save(tmp_path / "mask.png")
    for more, remedy in (
        (("--volume",), "leave out --volume"),
        (("--mask", "mask.png"), "leave it out, or save each page as a file of its own"),
    ):
        result = command("run", "a.tif", *more)
        assert result.exit_code == 1
        assert "its 2 pages differ in size or kind of pixels" in result.stderr
        assert result.stderr.endswith(f"; {remedy}\n")
        assert remedy in command("run", "a.tif", *more, "--dry-run").stdout


def test_the_largest_of_different_pages_counts(command, tmp_path: Path) -> None:
    _write_pages(tmp_path / "a.tif", noise(50, 44), np.zeros((2000, 1000, 3), np.uint16), noise(60, 41))
    _write_pages(tmp_path / "b.tif", np.zeros((2000, 1000, 3), np.uint16))
    header, alone = header_of(tmp_path / "a.tif"), header_of(tmp_path / "b.tif")
    assert (header.columns, header.rows, header.channels, header.planes) == (1000, 2000, 3, 3)
    assert header.bytes_needed == alone.bytes_needed
    result = command("run", "a.tif", "--max-pixels", "1")
    assert "its 1000 × 2000 pixels exceed the limit of 1 megapixels" in result.stderr
    result = command("run", "a.tif", "--memory", "300MB")
    assert "GB of memory, and --memory allows 0.30 GB" in result.stderr
    result = command("run", "a.tif", "--first-frame", "--memory", "300MB", "--max-pixels", "1")
    assert result.exit_code == 0, result.stderr


def test_a_page_that_is_not_supported_is_named(command, tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(noise(50, 44), metadata=None)
        writer.write(noise(50, 44).astype(np.complex64), metadata=None)
    for more in ((), ("--dry-run",)):
        result = command("run", "a.tif", *more)
        assert result.exit_code == 1
        assert "image 2 of 2: " in result.stderr + result.stdout


def test_pages_are_of_one_size_if_they_are_shown_so(command, tmp_path: Path) -> None:
    lying, standing, upright = ({"extratags": [(274, "H", 1, number, True)]} for number in (6, 8, 1))
    for name, pages in (
        ("same.tif", [(noise(20, 24), lying), (noise(24, 20), upright), (noise(20, 24), standing)]),
        ("other.tif", [(noise(20, 24), upright), (noise(20, 24), lying)]),
    ):
        with tifffile.TiffWriter(tmp_path / name) as writer:
            for values, options in pages:
                writer.write(values, photometric="minisblack", metadata=None, **options)
    assert command("run", "same.tif", *HARDLY).exit_code == 0
    written = tiff_values(tmp_path / "same_denoised.tif")
    expected = [np.rot90(noise(20, 24), -1), noise(24, 20), np.rot90(noise(20, 24))]
    np.testing.assert_array_equal(written, expected)
    assert "differ in size" in command("run", "other.tif", "--volume").stderr


def test_ome_of_several_files_is_refused(command, tmp_path: Path) -> None:
    make_stack(tmp_path, "four.ome.tif")
    contents = (tmp_path / "four.ome.tif").read_bytes()
    for place, other in ((b"<TiffData ", b"<BinaryOn "), (b"</TiffData>", b"</BinaryOn>")):
        contents = contents.replace(place, other)
    described = tifffile.TiffFile(tmp_path / "four.ome.tif").ome_metadata
    assert described is not None
    data = '<TiffData IFD="0"><UUID FileName="b.tif">urn:uuid:2</UUID></TiffData><TiffData IFD="1"><UUID>urn:uuid:1'
    spread = described.replace("<TiffData", f"{data}</UUID></TiffData><TiffData", 1)
    tifffile.imwrite(
        tmp_path / "a.tif",
        noise(2, 8, 8),
        description=spread.encode(),
        metadata=None,
        photometric="minisblack",
    )
    result = command("run", "a.tif")
    assert result.exit_code == 1
    assert "spread over several OME-TIFF files; save it as one file" in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"byteorder": ">", "compression": "lzw"}, {"bigtiff": True}])
@pytest.mark.parametrize("shape", [(20, 24), (2, 3, 20, 24)])
def test_further_descriptions_stay_and_are_heard(
    shape: tuple[int, ...], options: dict[str, Any], command, tmp_path: Path
) -> None:
    axes = "TZYX"[-len(shape) :]
    values = noise(*shape, dtype=np.uint16)
    own = {"description": "by hand", "metadata": {"axes": axes}, "photometric": "minisblack"}
    tifffile.imwrite(tmp_path / "a.tif", values, **own, **options)
    with tifffile.TiffFile(tmp_path / "a.tif") as before:
        expected = [before.pages.first.tags.get(270, index=number).value for number in range(2)]
    if len(shape) > 2:
        assert stack_in(tmp_path / "a.tif").axes.names == "TZ"
    assert command("run", "a.tif", *HARDLY).exit_code == 0
    with tifffile.TiffFile(tmp_path / "a_denoised.tif") as after:
        found = [after.pages.first.tags.get(270, index=number) for number in range(3)]
        assert [tag and tag.value for tag in found] == [*expected, None]
        assert (after.series[0].axes, after.series[0].shape) == (axes, shape)
    command("run", "a.tif", "-o", "strip.tif", "--strip-metadata")
    assert b"shape" not in (tmp_path / "strip.tif").read_bytes()
    result = command("run", "a.tif", "-o", "a.png", "--first-frame", *HARDLY)
    assert "note: its further descriptions are dropped" in result.stderr
    command("run", "a.tif", "-o", "first.tif", "--first-frame", *HARDLY)
    with tifffile.TiffFile(tmp_path / "first.tif") as after:
        assert (len(after.pages), after.series[0].shape) == (1, (20, 24))
        assert after.pages.first.description == "by hand"


@pytest.mark.slow
@pytest.mark.parametrize("name", STACKS)
def test_a_truncated_stack_is_refused_without_an_output(name: str, command, tmp_path: Path) -> None:
    make_stack(tmp_path, name)
    whole = (tmp_path / name).read_bytes()
    for part in (0.2, 0.6, 0.97):
        (tmp_path / name).write_bytes(whole[: int(len(whole) * part)])
        result = command("run", name, *HARDLY)
        assert result.exit_code == 1, (part, result.stderr)
        assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_page_that_fails_late_leaves_nothing_behind(command, tmp_path: Path) -> None:
    make_stack(tmp_path, "deep.tif", compression="zlib")
    with tifffile.TiffFile(tmp_path / "deep.tif") as opened:
        place = opened.pages[4].dataoffsets[0]
    with (tmp_path / "deep.tif").open("r+b") as stream:
        stream.seek(place)
        stream.write(bytes(50))
    assert command("run", "deep.tif", *HARDLY).exit_code == 1
    assert [path.name for path in tmp_path.iterdir()] == ["deep.tif"]
    assert not temporaries(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["imagej.tif", "four.ome.tif", "truncated.tif", "colour.tif"])
def test_the_first_picture_alone_is_taken_when_asked(name: str, command, tmp_path: Path) -> None:
    values = make_stack(tmp_path, name)
    count = int(np.prod(values.shape[: -3 if "colour" in name else -2]))
    result = command("run", name, "-o", "a.tif", "--first-frame", *HARDLY)
    assert f"note: only the first of its {count} images is used" in result.stderr
    picture = read(tmp_path / "a.tif")
    np.testing.assert_array_equal(picture.intensities.ravel(), values.ravel()[: picture.intensities.size])
    assert command("run", name, "-o", "a.png", "--first-frame").exit_code == 0
    with pytest.raises(UnsupportedImageError, match=f"holds {count} images"):
        read(tmp_path / name)


@pytest.mark.parametrize(
    ("target", "reason"),
    [("a.jpg", "JPEG holds one image, and the file has 5"), ("a.png", "PNG holds animations, not pages")],
)
def test_other_formats_do_not_hold_pages(target: str, reason: str, command, tmp_path: Path) -> None:
    make_stack(tmp_path, "grey.tif")
    result = command("run", "grey.tif", "-o", target)
    assert result.exit_code == 1
    assert reason in result.stderr
    assert "--first-frame" in result.stderr
    assert not (tmp_path / target).exists()


@pytest.mark.slow
def test_stacks_are_replaced_in_place_once_and_skipped_when_they_exist(command, tmp_path: Path) -> None:
    make_stack(tmp_path, "imagej.tif")
    before = (tmp_path / "imagej.tif").read_bytes()
    assert command("run", "imagej.tif", "-o", "out.tif").exit_code == 0
    assert "skipped" in command("run", "imagej.tif", "-o", "out.tif", "--skip-existing").stderr
    assert is_whole(tmp_path / "out.tif")
    assert command("run", "imagej.tif", "--in-place").exit_code == 0
    after = (tmp_path / "imagej.tif").read_bytes()
    assert after == (tmp_path / "out.tif").read_bytes() != before
    assert "already denoised" in command("run", "imagej.tif", "--in-place").stderr
    assert (tmp_path / "imagej.tif").read_bytes() == after


@pytest.mark.slow
def test_any_number_of_jobs_writes_the_same(command, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in STACKS:
        make_stack(tmp_path / "in", name)
    for jobs in ("1", "2"):
        assert command("run", "in", "-o", f"out{jobs}/", "--jobs", jobs, "--mu", "20").exit_code == 0
    for name in STACKS:
        first, second = (tmp_path / f"out{jobs}" / name for jobs in (1, 2))
        assert first.read_bytes() == second.read_bytes()


@pytest.mark.slow
def test_a_bar_over_the_pictures_of_one_file_is_shown_on_a_terminal(
    process_on_terminal, tmp_path: Path
) -> None:
    make_stack(tmp_path, "imagej.tif")
    code, told = process_on_terminal("run", "imagej.tif")
    assert code == 0
    assert re.search(r"\d+/24", told)
    code, told = process_on_terminal("run", "imagej.tif", "--overwrite", "--quiet")
    assert (code, told) == (0, "")


def test_the_plan_knows_how_many_pictures_there_are(command, tmp_path: Path) -> None:
    make_stack(tmp_path, "imagej.tif")
    header = header_of(tmp_path / "imagej.tif")
    assert (header.planes, header.values) == (24, 24 * 20 * 24)
    assert "\tdenoise\t" in command("run", "imagej.tif", "--dry-run").stdout
    result = command("run", "imagej.tif", "-o", "a.jpg", "--dry-run")
    assert "\tfail\tJPEG holds one image, and the file has 24" in result.stdout
    assert "\tdenoise\t" in command("run", "imagej.tif", "-o", "a.png", "--dry-run", "--first-frame").stdout


def test_noise_is_measured_on_the_first_picture_when_asked(command, tmp_path: Path) -> None:
    make_stack(tmp_path, "deep.tif")
    tifffile.imwrite(tmp_path / "first.tif", STACKS["deep.tif"][0][0])
    assert "holds 5 images; use only the first with --first-frame" in command("noise", "deep.tif").stderr
    stacked = json.loads(command("noise", "deep.tif", "--first-frame", "--json").stdout)
    alone = json.loads(command("noise", "first.tif", "--json").stdout)
    assert stacked | {"source": ""} == alone | {"source": ""}


def test_a_set_of_stacks_may_share_its_parameters(command, tmp_path: Path) -> None:
    for number, sigma in enumerate((0.02, 0.05, 0.1)):
        values = _smooth(sigma, 3, 64, 64, seed=number)
        tifffile.imwrite(tmp_path / f"{number}.tif", values, photometric="minisblack")
    result = command(
        "run", "0.tif", "1.tif", "2.tif", "-o", "out/", "--shared-parameters", "--report", "r.jsonl"
    )
    assert result.exit_code == 0
    assert len({entry["mu"] for line in (tmp_path / "r.jsonl").open() if (entry := json.loads(line))}) == 1


def test_half_a_stack_counts_as_none(command, tmp_path: Path) -> None:
    make_stack(tmp_path, "deep.tif")
    contents = (tmp_path / "deep.tif").read_bytes()
    (tmp_path / "out.tif").write_bytes(contents[: len(contents) // 2])
    assert not is_whole(tmp_path / "out.tif")
    assert command("run", "deep.tif", "-o", "out.tif", "--skip-existing", *HARDLY).exit_code == 0
    np.testing.assert_array_equal(tiff_values(tmp_path / "out.tif"), STACKS["deep.tif"][0])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["grey.tif", "truncated.tif"])
def test_stacks_pass_standard_streams(name: str, process, tmp_path: Path) -> None:
    make_stack(tmp_path, name)
    ended = process("run", "-", *HARDLY, stdin=(tmp_path / name).read_bytes())
    assert ended.returncode == 0, ended.stderr
    (tmp_path / "a.tif").write_bytes(ended.stdout)
    np.testing.assert_array_equal(
        pixels_of(tmp_path / "a.tif", STACKS[name][0].shape, STACKS[name][0].dtype), STACKS[name][0]
    )


@pytest.mark.parametrize(("name", "count"), [("imagej.tif", 24), ("truncated.tif", 6)])
def test_stripped_stacks_have_their_pages_and_no_description(
    name: str, count: int, command, tmp_path: Path
) -> None:
    make_stack(tmp_path, name)
    assert command("run", name, "-o", "a.tif", "--strip-metadata", *HARDLY).exit_code == 0
    with tifffile.TiffFile(tmp_path / "a.tif") as opened:
        assert len(opened.pages) == count
        assert not {270, 50838, 50839, 11} & {tag.code for page in opened.pages for tag in page.tags}


def test_what_may_be_too_large_for_a_classic_tiff_becomes_a_bigtiff(
    command, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr("tvdenoise.formats.tiff.writing._ROOM_FOR_TAGS", 0)
    monkeypatch.setattr("tvdenoise.formats.tiff.writing.LARGEST", 20_000)
    values = make_stack(tmp_path, "deep.tif")
    assert command("run", "deep.tif", *HARDLY).exit_code == 0
    with tifffile.TiffFile(tmp_path / "deep_denoised.tif") as opened:
        assert opened.is_bigtiff
        np.testing.assert_array_equal(tiff_values(tmp_path / "deep_denoised.tif"), values)
    assert read_all(tmp_path / "deep_denoised.tif") == 5


@pytest.mark.parametrize("name", ["truncated.tif", "shaped_axes.tif"])
def test_one_directory_stands_for_all_pages_of_any_size(
    name: str, command, tmp_path: Path, monkeypatch
) -> None:
    """ImageJ reads no BigTIFF: beyond 4 gigabytes, it has the one directory before all pixels."""
    values = make_stack(tmp_path, name)
    monkeypatch.setattr("tvdenoise.formats.tiff.writing.LARGEST", values.nbytes // 2)
    monkeypatch.setattr("tvdenoise.formats.tiff.writing._ROOM_FOR_TAGS", 0)
    monkeypatch.setattr("tvdenoise.formats.tiff.writing._ROOM_FOR_PAGE", 0)
    assert command("run", name, "-o", "out.tif", *HARDLY).exit_code == 0
    with tifffile.TiffFile(tmp_path / name) as before, tifffile.TiffFile(tmp_path / "out.tif") as opened:
        assert not opened.is_bigtiff
        with (tmp_path / "out.tif").open("rb") as stream:
            assert len(list(directories(stream))) == 1
        assert opened.series[0].axes == before.series[0].axes
        start = opened.pages.first.dataoffsets[0]
        assert opened.pages.first.offset < start
        np.testing.assert_array_equal(
            np.fromfile(tmp_path / "out.tif", values.dtype, values.size, offset=start), values.ravel()
        )


def read_all(path: Path) -> int:
    return sum(1 for _ in stack_in(path).images())


def test_metadata_of_every_page_stay_its_own(command, tmp_path: Path) -> None:
    pages = [Image.fromarray(noise(16, 16, seed=seed)) for seed in range(3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:], dpi=(300, 150))
    with tifffile.TiffWriter(tmp_path / "b.tif") as writer:
        for number in range(3):
            writer.write(
                noise(16, 16), description=f"page {number}", metadata=None, photometric="minisblack",
                extratags=[(65000, 3, 2, (number, 7), True), (285, 2, 0, f"name {number}", True)],
            )  # fmt: skip
    for name in ("a.tif", "b.tif"):
        assert command("run", name, "-o", "out/", *HARDLY).exit_code == 0
    with tifffile.TiffFile(tmp_path / "out/b.tif") as opened:
        assert [page.description for page in opened.pages] == [f"page {number}" for number in range(3)]
        assert [page.tags[65000].value for page in opened.pages] == [(number, 7) for number in range(3)]
    with Image.open(tmp_path / "out/a.tif") as opened:
        assert opened.n_frames == 3
        assert opened.info["dpi"] == (300, 150)


def test_pages_with_tags_of_their_own_lie_in_one_block_as_imagej_wants_them(command, tmp_path: Path) -> None:
    """So Micro-Manager writes: ImageJ's description, and what it knows of each page in a tag of that page."""
    values = noise(4, 20, 23, dtype=np.uint16)
    with tifffile.TiffWriter(tmp_path / "a.tif", shaped=False) as writer:
        for number, page in enumerate(values):
            described = {"description": "ImageJ=1.54\nimages=4\nslices=4\n"} if number == 0 else {}
            own = [(51123, "s", 0, f'{{"Slice": {number}}}', True)]
            writer.write(page, metadata=None, extratags=own, software=False, **described)
    assert command("run", "a.tif", "-o", "b.tif", *HARDLY).exit_code == 0
    pages = tiff_tags(tmp_path / "b.tif")
    assert [page[51123] for page in pages] == [f'{{"Slice": {number}}}' for number in range(4)]
    block = np.fromfile(tmp_path / "b.tif", "<u2", values.size, offset=pages[0][273][0])
    np.testing.assert_array_equal(block.reshape(values.shape), values)


@pytest.mark.parametrize(("order", "is_big"), [("<", False), (">", False), ("<", True)])
def test_exif_data_of_a_page_are_moved_with_it(order: str, is_big: bool, tmp_path: Path) -> None:
    exif, written = Image.Exif(), BytesIO()
    exif[271] = "a maker"
    exif.get_ifd(0x8769)[33434] = 0.01
    exif[0x8769] = dict(exif.get_ifd(0x8769))
    Image.fromarray(noise(16, 16)).save(tmp_path / "a.tif", exif=exif)
    pages = Pages(written, TiffLayout(order, is_big))
    pages.begin(options(read(tmp_path / "a.tif"), None)["fields"])
    pages.close()
    written.seek(0)
    with tifffile.TiffFile(written) as opened:
        assert (opened.byteorder, opened.is_bigtiff) == (order, is_big)
        assert opened.pages.first.tags[271].value == "a maker"
        assert opened.pages.first.tags[0x8769].value["ExposureTime"] == 0.01


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="measured as Linux tells it")
def test_memory_is_that_of_a_few_planes_whatever_their_number(tmp_path: Path) -> None:
    peaks = []
    for count in (2, 150):
        with tifffile.TiffWriter(tmp_path / f"{count}.tif") as writer:
            for seed in range(count):
                writer.write(noise(512, 512, dtype=np.uint16, seed=seed), metadata=None)
        ended, _, peak = measured(
            tmp_path, f"{count}.tif", "--max-iterations", "1", "--mu", "9", "--jobs", "1"
        )
        assert ended.returncode == 0, ended.stderr
        peaks.append(peak)
    assert peaks[1] - peaks[0] < 25  # megabytes, of 75 that the further planes have


def test_a_page_that_names_no_picture_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise(8, 8), description="ImageJ=1.54\nimages=7\n", metadata=None)
    with pytest.raises(TvdenoiseError, match="truncated"):
        open_images((tmp_path / "a.tif").open("rb"))
