"""Frames that cover a part, are translucent, cleared or taken back: written as the whole pictures that viewers show."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support.animation_files import CLEAR, KEEP, RESTORE, Frame, gif, in_colours, png, shown_by
from support.values import noise
from tvdenoise.files.decoded import DecodedImage
from tvdenoise.files.reading import open_images
from tvdenoise.files.stack import Stack
from tvdenoise.formats.animation import over

COLUMNS, ROWS = 13, 11
ALPHAS = np.array([0, 100, 255], np.uint8)


def _colours(rows: int, columns: int, seed: int) -> np.ndarray:
    values = noise(rows, columns, 4, seed=seed)
    values[..., 3] = ALPHAS[values[..., 3] % 3]
    return values


def _frames(disposal: str, *, is_over: bool, starts_whole: bool) -> list[Frame]:
    whole = Frame(_colours(ROWS, COLUMNS, 0), disposal=disposal, is_over=is_over)
    start = whole if starts_whole else Frame(_colours(6, 5, 0), 1, 2, disposal, is_over)
    return [start, *(Frame(_colours(5, 6, n), 2 * n, n, disposal, is_over) for n in range(1, 4))]


def _read(contents: bytes, path: Path) -> list[np.ndarray]:
    """Visible colours and alpha of each picture."""
    path.write_bytes(contents)
    with path.open("rb") as stream:
        found = open_images(stream)
        assert isinstance(found, Stack)
        return [_visible(p.intensities, p.alpha) for p in found.images()]


def _visible(colours: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
    alpha = np.full(colours.shape[:2], 255, np.uint8) if alpha is None else alpha
    values = np.dstack((np.dstack([colours] * (1 if colours.ndim == 3 else 3)), alpha))
    values[alpha == 0] = 0
    return values


def _shown(frames: list[Frame]) -> list[np.ndarray]:
    return [_visible(values[..., :3], values[..., 3]) for values in shown_by(frames, COLUMNS, ROWS)]


def test_translucent_colours_lie_over_others_as_in_exact_arithmetic() -> None:
    upper, lower = noise(16, 16, 4, seed=1), noise(16, 16, 4, seed=2)
    for alphas in product((0, 1, 128, 254, 255), repeat=2):
        upper[..., 3], lower[..., 3] = alphas
        canvas = [Frame(lower), Frame(upper, is_over=True)]
        exact = shown_by(canvas, 16, 16)[-1].astype(int)
        assert np.abs(over(upper, lower) - exact).max() <= (0 if set(alphas) <= {0, 255} else 1)


@pytest.mark.parametrize("has_still", [False, True])
@pytest.mark.parametrize("is_over", [False, True])
@pytest.mark.parametrize("disposal", [KEEP, CLEAR, RESTORE])
def test_a_png_shows_what_its_frames_make_together(
    disposal: str, is_over: bool, has_still: bool, tmp_path: Path
) -> None:
    frames = _frames(disposal, is_over=is_over, starts_whole=not has_still)
    still = _colours(ROWS, COLUMNS, 9) if has_still else None
    found = _read(png(frames, COLUMNS, ROWS, still), tmp_path / "a.png")
    expected = _shown(frames)
    if still is not None:
        expected.insert(0, _visible(still[..., :3], still[..., 3]))
    assert len(found) == len(expected)
    for values, others in zip(found, expected, strict=True):
        assert np.abs(values.astype(int) - others).max() <= 1


@pytest.mark.slow
@pytest.mark.parametrize("transparent", [None, 5])
@pytest.mark.parametrize("starts_whole", [False, True])
@pytest.mark.parametrize("disposal", [KEEP, CLEAR, RESTORE])
def test_a_gif_shows_what_its_frames_make_together(
    disposal: str, starts_whole: bool, transparent: int | None, command, tmp_path: Path
) -> None:
    shared, own = noise(8, 3, seed=20), noise(8, 3, seed=21)
    sides = [(ROWS, COLUMNS) if starts_whole else (6, 5), (5, 6), (5, 6), (4, 20)]
    frames = [
        Frame(
            noise(*side, seed=number) % 8,
            *((0, 0) if side[0] == ROWS else (2 * number, number)),
            disposal,
            hundredths=3 * number,
            colours=own if number % 2 else None,
            transparent=transparent,
        )
        for number, side in enumerate(sides)
    ]
    found = _read(gif(frames, COLUMNS, ROWS, shared, background=3), tmp_path / "a.gif")
    expected = _shown(in_colours(frames, shared))
    for values, others in zip(found, expected, strict=True):
        np.testing.assert_array_equal(values, others)
    assert command("run", "a.gif", "--mu", "1e9").exit_code == 0
    again = _read((tmp_path / "a_denoised.gif").read_bytes(), tmp_path / "again.gif")
    for values, others in zip(again, expected, strict=True):
        np.testing.assert_array_equal(values, others)
    with Image.open(tmp_path / "a_denoised.gif") as opened:
        assert opened.info["loop"] == 2
        assert opened.size == (COLUMNS, ROWS)


@pytest.mark.parametrize("count", [1, 3])
def test_a_gif_whose_picture_covers_a_part_is_transparent_around_it(
    count: int, command, tmp_path: Path
) -> None:
    colours = noise(8, 3, seed=20)
    frames = [Frame(noise(6, 5, seed=number) % 8, 3, 2) for number in range(count)]
    (tmp_path / "a.gif").write_bytes(gif(frames, COLUMNS, ROWS, colours, background=3))
    (expected, *_) = _shown(in_colours(frames, colours))
    for target in ("b.gif", "b.png"):
        assert command("run", "a.gif", "-o", target, "--first-frame", "--mu", "1e9").exit_code == 0
        with (tmp_path / target).open("rb") as stream:
            found = open_images(stream)
        assert isinstance(found, DecodedImage)
        np.testing.assert_array_equal(_visible(found.intensities, found.alpha), expected)


def test_an_opaque_picture_under_translucent_frames_stays_opaque(command, tmp_path: Path) -> None:
    frames = _frames(KEEP, is_over=True, starts_whole=True)
    frames[0].values[..., 3] = 255
    (tmp_path / "a.png").write_bytes(png(frames, COLUMNS, ROWS))
    assert command("run", "a.png", "--mu", "1e9").exit_code == 0
    for values in _read((tmp_path / "a_denoised.png").read_bytes(), tmp_path / "again.png"):
        assert (values[..., 3] == 255).all()


@pytest.mark.parametrize("name", ["a.gif", "a.png"])
@pytest.mark.parametrize("disposal", [KEEP, CLEAR, RESTORE])
def test_opaque_frames_that_cover_all_stay_opaque_whatever_becomes_of_them(
    disposal: str, name: str, tmp_path: Path
) -> None:
    numbers = [noise(ROWS, COLUMNS, seed=seed) % 8 for seed in range(3)]
    if name == "a.gif":
        frames = [Frame(values, disposal=disposal) for values in numbers]
        (tmp_path / name).write_bytes(gif(frames, COLUMNS, ROWS, noise(8, 3)))
    else:
        pictures = [Image.fromarray(noise(ROWS, COLUMNS, 3, seed=seed)) for seed in range(3)]
        number = (KEEP, CLEAR, RESTORE).index(disposal)
        pictures[0].save(tmp_path / name, save_all=True, append_images=pictures[1:], disposal=number)
    with (tmp_path / name).open("rb") as stream:
        found = open_images(stream)
        assert isinstance(found, Stack)
        assert {picture.kind for picture in found.images()} == {"RGB"}


@pytest.mark.slow
def test_frames_that_lie_outside_are_refused(command, tmp_path: Path) -> None:
    whole = Frame(_colours(ROWS, COLUMNS, 0))
    outside = Frame(_colours(5, 6, 1), COLUMNS - 5, 2)
    (tmp_path / "a.png").write_bytes(png([whole, outside], COLUMNS, ROWS))
    numbers = noise(ROWS, COLUMNS) % 8
    for name, frame in {"b.gif": Frame(numbers, COLUMNS, 0), "c.gif": Frame(noise(300, 300) % 8)}.items():
        (tmp_path / name).write_bytes(gif([Frame(numbers), frame], COLUMNS, ROWS, noise(8, 3)))
    for name, reason in {"a.png": "frames are missing", "b.gif": "outside", "c.gif": "too large"}.items():
        result = command("run", name, "--mu", "1e9")
        assert result.exit_code == 1
        assert f"{name}: " in result.stderr
        assert reason in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.gif", "c.gif"]


def test_damage_within_a_later_frame_is_found_before_anything_is_done(command, tmp_path: Path) -> None:
    contents = bytearray(png(_frames(KEEP, is_over=False, starts_whole=True), COLUMNS, ROWS))
    contents[contents.rindex(b"fdAT") + 12] ^= 1
    (tmp_path / "a.png").write_bytes(contents)
    assert "a.png: the file is damaged (a checksum is wrong)" in command("run", "a.png").stderr


def test_of_lossy_and_lossless_frames_each_stays_what_it_is(command, tmp_path: Path) -> None:
    smooth = np.add.outer(np.arange(32) * 3, np.arange(40) * 3).astype(np.uint8)
    flat = [np.kron(noise(4, 5, 3, seed=seed), np.ones((8, 8, 1), np.uint8)) for seed in range(2)]
    pictures = [Image.fromarray(values) for values in (flat[0], np.dstack([smooth] * 3), flat[1])]
    pictures[0].save(tmp_path / "a.webp", save_all=True, append_images=pictures[1:], allow_mixed=True)
    before = (tmp_path / "a.webp").read_bytes()
    assert (before.count(b"VP8L"), before.count(b"VP8 ")) == (2, 1)
    assert command("run", "a.webp", "--mu", "1e9").exit_code == 0
    after = (tmp_path / "a_denoised.webp").read_bytes()
    assert (after.count(b"VP8L"), after.count(b"VP8 ")) == (2, 1)
    found = _read(after, tmp_path / "again.webp")
    for number in (0, 2):
        np.testing.assert_array_equal(found[number][..., :3], np.array(pictures[number]))
