"""Animations: every frame is denoised, and written whole with its time, its loops and its background."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from support.values import noise
from tvdenoise.files.reading import open_images, read
from tvdenoise.files.stack import Stack

HARDLY = ("--mu", "1e9")
DURATIONS = [100, 250, 70, 40]  # milliseconds
OPTIONS: dict[str, dict[str, Any]] = {"png": {}, "gif": {}, "webp": {"lossless": True, "exact": True}}


def frames(channels: int = 3) -> list[Image.Image]:
    """Of few colours, so that a GIF holds them."""
    shape = (20, 24, channels)[: 2 + (channels > 1)]
    values = [noise(*shape, seed=seed) // 64 * 85 for seed in range(4)]
    if channels in (2, 4):
        for value in values:
            value[..., -1] = value[..., -1] // 128 * 255
    return [Image.fromarray(value) for value in values]


def make_animation(path: Path, pictures: list[Image.Image], **more: Any) -> Path:
    options = {"duration": DURATIONS, "loop": 3, **OPTIONS[path.suffix[1:]], **more}
    pictures[0].save(path, save_all=True, append_images=pictures[1:], **options)
    return path


def shown(path: Path) -> tuple[list[np.ndarray], list[float], Any]:
    """What Pillow shows of an animation: visible colours and alpha of each frame, durations, and loops."""
    seen, durations = [], []
    with Image.open(path) as opened:
        for number in range(opened.n_frames):
            opened.seek(number)
            opened.load()
            values = np.array(opened.convert("RGBA"))
            values[values[..., 3] == 0] = 0
            seen.append(values)
            durations.append(opened.info["duration"])
        return seen, durations, opened.info.get("loop")


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("extension", OPTIONS)
def test_frames_times_and_loops_come_back(extension: str, channels: int, command, tmp_path: Path) -> None:
    made = make_animation(tmp_path / f"a.{extension}", frames(channels))
    result = command("run", made.name, *HARDLY)
    assert result.exit_code == 0, result.stderr
    assert "4 images" in result.stderr
    before, after = shown(made), shown(tmp_path / f"a_denoised.{extension}")
    assert after[1:] == before[1:]
    assert [float(duration) for duration in after[1]] == DURATIONS
    for found, expected in zip(after[0], before[0], strict=True):
        np.testing.assert_array_equal(found, expected)


# What is taken back (disposal 3 of a GIF, 2 of a PNG over others) Pillow shows otherwise: see test_files_composing.
@pytest.mark.parametrize("disposal", [0, 1, 2])
def test_partial_frames_of_a_gif_become_whole_ones(disposal: int, command, tmp_path: Path) -> None:
    canvas = Image.fromarray(noise(20, 24, 3) // 64 * 85)
    pictures = [canvas]
    for seed in range(3):
        part = canvas.copy()
        part.paste(Image.fromarray(noise(5, 6, 3, seed=seed) // 64 * 85), (3 * seed, 2))
        pictures.append(part)
    make_animation(tmp_path / "a.gif", pictures, disposal=disposal)
    assert command("run", "a.gif", *HARDLY).exit_code == 0
    before, after = shown(tmp_path / "a.gif"), shown(tmp_path / "a_denoised.gif")
    for found, expected in zip(after[0], before[0], strict=True):
        np.testing.assert_array_equal(found, expected)


def test_what_is_transparent_shows_nothing_of_the_frame_before(command, tmp_path: Path) -> None:
    make_animation(tmp_path / "a.gif", frames(4), disposal=2)
    assert command("run", "a.gif", *HARDLY).exit_code == 0
    before, after = shown(tmp_path / "a.gif"), shown(tmp_path / "a_denoised.gif")
    assert (before[0][1][..., 3] == 0).mean() > 0.3
    for found, expected in zip(after[0], before[0], strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("disposal", "blend"), [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1)])
def test_composed_frames_of_a_png_become_whole_ones(
    blend: int, disposal: int, command, tmp_path: Path
) -> None:
    make_animation(tmp_path / "a.png", frames(4), disposal=disposal, blend=blend)
    assert command("run", "a.png", *HARDLY).exit_code == 0
    before, after = shown(tmp_path / "a.png"), shown(tmp_path / "a_denoised.png")
    for found, expected in zip(after[0], before[0], strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_picture_for_other_programs_stays_no_frame(command, tmp_path: Path) -> None:
    make_animation(tmp_path / "a.png", frames(), default_image=True, duration=DURATIONS[:3])
    assert command("run", "a.png", *HARDLY).exit_code == 0
    with Image.open(tmp_path / "a.png") as before, Image.open(tmp_path / "a_denoised.png") as after:
        assert after.default_image
        assert after.n_frames == before.n_frames == 4
        np.testing.assert_array_equal(np.array(after), np.array(before))


def test_the_background_and_the_lossy_frames_of_a_webp_stay(command, tmp_path: Path) -> None:
    make_animation(
        tmp_path / "a.webp", frames(), background=(1, 2, 3, 4), lossless=False, icc_profile=b"p" * 300
    )
    assert command("run", "a.webp", *HARDLY).exit_code == 0
    contents = (tmp_path / "a_denoised.webp").read_bytes()
    assert b"VP8L" not in contents
    with Image.open(tmp_path / "a_denoised.webp") as after:
        assert after.info["background"] == (1, 2, 3, 4)
        assert after.info["icc_profile"] == b"p" * 300


def test_the_comment_and_the_record_of_a_gif_are_written_once(command, tmp_path: Path) -> None:
    make_animation(tmp_path / "a.gif", frames(), comment=b"by hand")
    assert command("run", "a.gif", "--in-place", "--mu", "20").exit_code == 0
    contents = (tmp_path / "a.gif").read_bytes()
    assert contents.count(b"by hand | tvdenoise") == contents.count(b"tvdenoise") == 1
    assert "already denoised" in command("run", "a.gif", "--in-place").stderr


@pytest.mark.parametrize("target", ["b.png", "b.webp"])
def test_an_animation_may_change_its_format_where_nothing_is_lost(
    target: str, command, tmp_path: Path
) -> None:
    make_animation(tmp_path / "a.gif", frames())
    assert command("run", "a.gif", "-o", target, *HARDLY).exit_code == 0
    before, after = shown(tmp_path / "a.gif"), shown(tmp_path / target)
    np.testing.assert_array_equal(np.stack(after[0]), np.stack(before[0]))
    assert after[1] == before[1]
    assert after[2] == before[2] + 1  # a GIF says how often it is repeated after the first time


def test_a_dry_run_tells_what_formats_cannot_hold(command, tmp_path: Path) -> None:
    make_animation(tmp_path / "a.gif", frames())
    for target, reason in {
        "b.jpg": "JPEG holds one image, and the file has 4",
        "b.tif": "TIFF holds pages, not animations",
    }.items():
        result = command("run", "a.gif", "-o", target, "--dry-run")
        assert result.exit_code == 1
        assert f"\tfail\t{reason}; keep the format of the input, or use only the first" in result.stdout
        alone = command("run", "a.gif", "-o", target, "--dry-run", "--first-frame")
        assert (alone.exit_code, "\tdenoise\t" in alone.stdout) == (0, True)
    assert command("run", "a.gif", "-o", "b.png", "--dry-run").exit_code == 0


@pytest.mark.parametrize(
    ("source", "target", "reason"),
    [
        ("a.webp", "b.gif", "GIF cannot hold 8-bit colour"),
        ("a.gif", "b.jpg", "JPEG holds one image, and the file has 4"),
        ("a.gif", "b.tif", "TIFF holds pages, not animations"),
    ],
)
def test_what_another_format_cannot_hold_is_refused(
    source: str, target: str, reason: str, command, tmp_path: Path
) -> None:
    make_animation(tmp_path / source, frames())
    result = command("run", source, "-o", target)
    assert result.exit_code == 1
    assert reason in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == [source]


def test_times_that_a_format_cannot_tell_are_refused(command, tmp_path: Path) -> None:
    make_animation(tmp_path / "a.png", frames(1), duration=[33, 33, 33, 33])
    result = command("run", "a.png", "-o", "b.gif")
    assert "0.033 s" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("extension", OPTIONS)
@pytest.mark.parametrize("part", [0.3, 0.6, 0.97])
def test_a_truncated_animation_is_refused(part: float, extension: str, command, tmp_path: Path) -> None:
    made = make_animation(tmp_path / f"a.{extension}", frames())
    made.write_bytes(made.read_bytes()[: int(made.stat().st_size * part)])
    assert command("run", made.name, *HARDLY).exit_code == 1
    assert list(tmp_path.iterdir()) == [made]


def test_a_gif_that_ends_between_two_frames_is_refused(command, tmp_path: Path) -> None:
    made = make_animation(tmp_path / "a.gif", frames())
    contents = made.read_bytes()
    made.write_bytes(contents[: contents.rindex(b"!\xf9\x04")])
    assert "a.gif: the file is truncated; use a complete copy" in command("run", "a.gif", *HARDLY).stderr


def test_an_animation_in_place_that_has_no_record_needs_a_report(command, tmp_path: Path) -> None:
    made = make_animation(tmp_path / "a.webp", frames())
    assert "a second --in-place would denoise it again" in command("run", "a.webp", "--in-place").stderr
    assert command("run", "a.webp", "--in-place", "--report", "r.jsonl").exit_code == 0
    after = made.read_bytes()
    result = command("run", "a.webp", "--in-place", "--report", "r.jsonl", "--skip-existing")
    assert "already denoised" in result.stderr
    assert made.read_bytes() == after


@pytest.mark.parametrize("extension", OPTIONS)
def test_the_first_frame_alone_is_taken_when_asked(extension: str, command, tmp_path: Path) -> None:
    made = make_animation(tmp_path / f"a.{extension}", frames())
    result = command("run", made.name, "-o", "b.png", "--first-frame", *HARDLY)
    assert "note: only the first of its 4 images is used" in result.stderr
    np.testing.assert_array_equal(read(tmp_path / "b.png").intensities, np.array(frames()[0]))
    result = command("run", made.name, "-o", f"c.{extension}", "--first-frame", *HARDLY)
    assert result.exit_code == 0, result.stderr
    assert read(tmp_path / f"c.{extension}").size == (24, 20)


def test_several_pictures_in_a_jpeg_need_the_first_frame(command, tmp_path: Path) -> None:
    pictures = frames()
    pictures[0].save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=pictures[1:], quality=95)
    result = command("run", "a.jpg")
    assert result.exit_code == 1
    assert "--first-frame" in result.stderr
    result = command("run", "a.jpg", "--first-frame", *HARDLY)
    assert "note: only the first of its 4 images is used" in result.stderr
    with Image.open(tmp_path / "a_denoised.jpg") as opened:
        assert opened.format == "JPEG"


def test_animations_of_16_bits_are_refused(command, tmp_path: Path) -> None:
    pictures = [Image.fromarray(noise(8, 8, dtype=np.uint16, seed=seed)) for seed in range(2)]
    pictures[0].save(tmp_path / "a.png", save_all=True, append_images=pictures[1:])
    result = command("run", "a.png")
    assert "16 bits" in result.stderr
    assert result.exit_code == 1


def test_frames_are_of_one_kind_and_lie_in_time(tmp_path: Path) -> None:
    for extension in OPTIONS:
        with make_animation(tmp_path / f"a.{extension}", frames(4)).open("rb") as stream:
            found = open_images(stream)
            assert isinstance(found, Stack)
            assert (found.axes.names, found.count) == ("T", 4)
            assert {picture.kind for picture in found.images()} == {"RGBA"}
