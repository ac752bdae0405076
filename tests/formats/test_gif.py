"""GIF: exact up to 256 colours, the nearest of 256 beyond, and only for what was a GIF before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support.metadata import ASKED, RECORD
from support.values import noise, pixels
from tvdenoise.files.reading import read
from tvdenoise.files.writing import write
from tvdenoise.formats.registry import FORMAT_BY_EXTENSION

FEW = noise(20, 30, 3) // 64 * 85  # 64 colours


def make_gif(path: Path, values: np.ndarray, hidden: np.ndarray | None = None, **options: object) -> Path:
    """A GIF of at most 255 colours, transparent where asked."""
    image = Image.fromarray(values).quantize(255, dither=Image.Dither.NONE)
    indices = np.array(image)
    if hidden is not None:
        indices[hidden] = 255
        options["transparency"] = 255
    stored = Image.frombytes("P", image.size, indices.tobytes())
    stored.putpalette(image.getpalette())
    stored.save(path, optimize=False, **options)
    return path


def test_few_colours_and_transparency_come_back_exactly(command, tmp_path: Path) -> None:
    hidden = noise(20, 30) < 50
    before = read(make_gif(tmp_path / "a.gif", FEW, hidden))
    result = command("run", "a.gif", "--mu", "1e9")
    assert result.exit_code == 0
    assert "note" not in result.stderr
    after = read(tmp_path / "a_denoised.gif")
    np.testing.assert_array_equal(after.alpha == 0, hidden)
    np.testing.assert_array_equal(after.alpha, before.alpha)
    np.testing.assert_array_equal(after.intensities[~hidden], FEW[~hidden])


@pytest.mark.parametrize("source", ["gif", "png"])
def test_grey_comes_back_exactly_whatever_it_was_before(
    source: str, make_image, command, tmp_path: Path
) -> None:
    make_image(f"a.{source}", noise(40, 50))
    assert command("run", f"a.{source}", "-o", "b.gif", "--mu", "1e9").exit_code == 0
    np.testing.assert_array_equal(read(tmp_path / "b.gif").intensities, noise(40, 50))


def test_more_colours_become_the_nearest_of_256_without_dither(command, tmp_path: Path) -> None:
    rows, columns = np.mgrid[:60, :80]
    values = np.dstack((rows * 4, columns * 3, rows + columns)).astype(np.uint8)
    hidden = (rows + columns) % 7 == 0
    picture = read(make_gif(tmp_path / "a.gif", values, hidden))
    result = command("run", "a.gif", "--mu", "5")
    assert "reduced to 255" in result.stderr
    smooth = picture.with_denoised(values / np.float32(255))  # 4,800 colours
    write(smooth, tmp_path / "b.gif", FORMAT_BY_EXTENSION[".gif"])
    after = read(tmp_path / "b.gif")
    np.testing.assert_array_equal(after.alpha == 0, hidden)
    difference = np.abs(after.intensities.astype(int) - values)[~hidden]
    assert difference.max() <= 24
    assert difference.mean() < 6
    palette = np.unique(after.intensities[~hidden], axis=0).astype(int)
    distances = np.abs(values[~hidden][:, None].astype(int) - palette).sum(axis=-1)
    chosen = np.abs(values[~hidden].astype(int) - after.intensities[~hidden]).sum(axis=-1)
    assert np.mean(chosen <= distances.min(axis=1) + 8) > 0.98, "dither takes others than the nearest"


def test_a_picture_without_a_visible_pixel_passes(command, tmp_path: Path) -> None:
    make_gif(tmp_path / "a.gif", FEW, np.ones((20, 30), bool))
    assert command("run", "a.gif").exit_code == 0
    assert not read(tmp_path / "a_denoised.gif").alpha.any()


def test_colours_of_another_format_are_refused(make_image, command, tmp_path: Path) -> None:
    make_image("a.png", FEW)
    result = command("run", "a.png", "-o", "a.gif")
    assert result.exit_code == 1
    assert "choose PNG" in result.stderr
    assert not (tmp_path / "a.gif").exists()


def test_a_gif_becomes_another_format_with_a_note_about_its_palette(command, tmp_path: Path) -> None:
    make_gif(tmp_path / "a.gif", FEW, comment=b"by hand")
    result = command("run", "a.gif", "-o", "a.png", "--mu", "1e9")
    assert "its palette" in result.stderr
    assert "its comments" in result.stderr
    np.testing.assert_array_equal(pixels(tmp_path / "a.png"), FEW)


@pytest.mark.parametrize("interlace", [False, True])
def test_comment_record_and_interlace_are_kept(interlace: bool, command, tmp_path: Path) -> None:
    make_gif(tmp_path / "a.gif", FEW, comment=b"caf\xe9", interlace=interlace)
    for source, target in (("a.gif", "b.gif"), ("b.gif", "c.gif")):
        assert command("run", source, "-o", target, *ASKED).exit_code == 0
    with Image.open(tmp_path / "c.gif") as opened:
        assert opened.info["comment"] == b"caf\xe9 | " + RECORD.encode()
        assert opened.tile[0].args[1] == interlace
    command("run", "c.gif", "-o", "d.gif", "--strip-metadata")
    with Image.open(tmp_path / "d.gif") as opened:
        assert "comment" not in opened.info


def test_extensions_of_other_programs_are_told(command, tmp_path: Path) -> None:
    contents = make_gif(tmp_path / "a.gif", FEW, loop=0).read_bytes()
    extension = b"!\xff\x0bXMP DataXMP\x03<x>\0"
    (tmp_path / "a.gif").write_bytes(contents[:-1] + extension + contents[-1:])
    assert "note: its GIF extensions XMP DataXMP are dropped" in command("run", "a.gif").stderr
