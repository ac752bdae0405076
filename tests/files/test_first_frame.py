"""The first of several pictures: taken when it is asked for, also where the others are such as are not supported."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from support.values import noise, pixels

HARDLY = ("--mu", "1e9")  # smooths by less than what can be seen
DEEP = noise(10, 12, dtype=np.uint16)
OME = (
    '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:1"><Image ID="Image:0">'
    '<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" SizeX="12" SizeY="10" SizeC="1" SizeZ="2" SizeT="1">'
    '<Channel ID="Channel:0:0" SamplesPerPixel="1"/><TiffData IFD="0"><UUID FileName="b.tif">urn:uuid:2</UUID>'
    "</TiffData></Pixels></Image></OME>"
)


def make_metamorph(path: Path, planes: int) -> None:
    """A stack of MetaMorph: one directory, whose tag 33629 has a value for each plane."""
    pixel_data = b"".join(np.roll(DEEP, number).astype("<u2").tobytes() for number in range(planes))
    told = struct.pack("<6I", 1, 1, 2459000, 0, 2459000, 0) * planes
    start = 8 + len(pixel_data)
    tags = [(256, 3, 1, 12), (257, 3, 1, 10), (258, 3, 1, 16), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8)]
    tags += [(277, 3, 1, 1), (278, 3, 1, 10), (279, 4, 1, DEEP.nbytes), (33629, 5, planes, start)]
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    path.write_bytes(b"II*\0" + struct.pack("<I", start + len(told)) + pixel_data + told + directory)


def _deep_animation(path: Path) -> None:
    Image.fromarray(DEEP).save(path, save_all=True, append_images=[Image.fromarray(DEEP[::-1].copy())])


def _spread(path: Path) -> None:
    tifffile.imwrite(path, DEEP, description=OME.encode(), metadata=None)


OTHERS = {
    "deep.png": (_deep_animation, "animated PNG of 16 bits is not supported"),
    "metamorph.tif": (lambda path: make_metamorph(path, 2), "MetaMorph stacks are not supported"),
    "spread.tif": (_spread, "the stack is spread over several OME-TIFF files"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_the_remedy_that_is_told_works(name: str, command, tmp_path: Path) -> None:
    make, reason = OTHERS[name]
    make(tmp_path / name)
    refused = command("run", name)
    assert refused.exit_code == 1
    assert f"{name}: {reason}" in refused.stderr
    assert refused.stderr.endswith(", or use only the first with --first-frame\n")
    forecast = command("run", name, "--first-frame", "--dry-run")
    assert "\tdenoise\t" in forecast.stdout
    result = command("run", name, "-o", f"out/{name}", "--first-frame", *HARDLY)
    assert result.exit_code == 0, result.stderr
    assert "note: only the first of its images is used\n" in result.stderr
    np.testing.assert_array_equal(pixels(tmp_path / "out" / name), DEEP)
    assert b"OME" not in (tmp_path / "out" / name).read_bytes()
    assert command("run", f"out/{name}").exit_code == 0  # a file of one picture, like any other


@pytest.mark.parametrize("planes", [1, 2, 3])
def test_metamorph_is_carried_where_it_holds_one_plane(planes: int, command, tmp_path: Path) -> None:
    make_metamorph(tmp_path / "a.tif", planes)
    result = command("run", "a.tif", *HARDLY)
    if planes > 1:
        assert result.exit_code == 1
        assert "MetaMorph" in result.stderr
        return
    assert result.exit_code == 0, result.stderr
    assert "33629" in result.stderr
    np.testing.assert_array_equal(pixels(tmp_path / "a_denoised.tif"), DEEP)


def test_tags_that_hold_places_in_the_file_are_left_out(command, tmp_path: Path) -> None:
    of_zeiss = (34412, 1, 40, bytes(range(40)), True)
    tifffile.imwrite(tmp_path / "a.tif", DEEP, extratags=[of_zeiss], metadata=None)
    assert "note: its TIFF tags 34412 are dropped" in command("run", "a.tif", *HARDLY).stderr
    assert bytes(range(40)) not in (tmp_path / "a_denoised.tif").read_bytes()


def test_commands_without_the_option_do_not_name_it(command, tmp_path: Path) -> None:
    pictures = [Image.fromarray(noise(10, 12, 3, seed=seed)) for seed in range(2)]
    pictures[0].save(tmp_path / "m.jpg", format="MPO", save_all=True, append_images=pictures[1:])
    pictures[0].save(tmp_path / "one.png")
    for words in (("tune", "m.jpg"), ("compare", "one.png", "m.jpg"), ("run", "one.png", "--mask", "m.jpg")):
        result = command(*words)
        assert result.stderr.endswith("; save the image you want as a file of its own\n"), words
