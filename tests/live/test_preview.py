"""What the page of ``tune --live`` is shown: parts, resolutions, stages, bytes."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from support.banks import small_prior
from support.samples import SAMPLES
from support.values import noise
from tvdenoise import denoise
from tvdenoise.errors import UsageError
from tvdenoise.live.preview import Preview, SolveStage
from tvdenoise.live.scene import Reductions, Scene, frame, visible_planes
from tvdenoise.live.session import Newest, PageClosedError, Saver, Session, Studio, certificate, scene_message
from tvdenoise.live.view import InvalidMessageError, Region, Setting, parameter, reduced, region_of
from tvdenoise.model.colour import from_opponent
from tvdenoise.options import FileOptions


def scene_of(path: Path, **settings: object) -> Scene:
    return Scene.read(path, FileOptions(**settings), lambda: None)


def never() -> bool:
    return False


def last(preview: Preview, region: Region, setting: Setting):
    *_, shown = preview.images(region, setting, never, math.inf)
    return shown


@pytest.mark.slow
@pytest.mark.parametrize("name", ["camera.png", "coffee.png"])
def test_a_part_is_the_part_of_the_whole_solution_within_the_bounds(name):
    scene = scene_of(SAMPLES / name)
    setting, part = scene.automatic, Region(0, 40, 60, 70, 90)
    shown = last(Preview(scene), part, setting)
    with Image.open(SAMPLES / name) as opened:
        values = np.asarray(opened)
    whole = denoise(values, setting.mu, setting.epsilon, channel_axis=-1 if values.ndim == 3 else None)
    image = np.atleast_3d(whole.image)[40:110, 60:150]
    planes = shown.planes if len(shown.planes) == 1 else from_opponent(np.ascontiguousarray(shown.planes))
    difference = np.moveaxis(planes, 0, -1) - image
    assert shown.stage.distance_bound <= whole.tolerance * 1.0001
    assert np.sqrt(np.mean(difference**2)) <= shown.stage.distance_bound + whole.tolerance


def test_the_page_keeps_the_brightness_if_only_the_colour_noise_is_removed(tmp_path):
    values = np.random.default_rng(0).integers(60, 190, (40, 50, 3)).astype(np.uint8)
    Image.fromarray(values).save(tmp_path / "a.png")
    scene = scene_of(tmp_path / "a.png", chroma_only=True)
    setting, part = scene.automatic, Region(0, 3, 5, 30, 40)
    shown = last(Preview(scene), part, setting)
    rgb = np.moveaxis(from_opponent(np.ascontiguousarray(shown.planes)), 0, -1)
    np.testing.assert_allclose(rgb.sum(-1) * 255, values[3:33, 5:45].sum(-1), atol=1e-3)
    solution = denoise(values, setting.mu, setting.epsilon, chroma_only=True, channel_axis=-1)
    assert np.sqrt(np.mean((rgb - solution.image[3:33, 5:45]) ** 2)) <= 2 * solution.tolerance
    assert "--chroma-only" in setting.command(Path("a.png"), Path("b.png"), 3).split()
    exact = denoise(values, channel_axis=-1, chroma_only=True, max_iterations=1)
    assert scene.epsilon_for(exact.mu, scene.settings) == pytest.approx(exact.epsilon, rel=1e-3)
    moved = Setting.of(scene.settings, mu=setting.mu / 2, epsilon=setting.epsilon)
    preview = Preview(scene)
    last(preview, part, setting)
    again = last(preview, part, moved)
    np.testing.assert_allclose(again.planes[0], shown.planes[0], atol=1e-6)
    assert len(frame(scene, part, shown.planes, {}, rotated=True)) > 3 * 30 * 40
    assert scene_message(scene, tmp_path / "b.png")["noise"]["sigma"] == pytest.approx(exact.sigma * 255)


@pytest.mark.parametrize("name", ["camera.png", "coffee.png"])
def test_a_part_is_the_part_of_the_whole_solution_of_learned_filters(name):
    scene, part = scene_of(SAMPLES / name, prior=small_prior()), Region(0, 80, 160, 30, 50)
    shown = last(Preview(scene), part, scene.automatic)
    values = np.asarray(Image.open(SAMPLES / name))
    level = scene.automatic.options.level
    axis = -1 if values.ndim == 3 else None
    whole = denoise(values, prior=small_prior(), level=level, channel_axis=axis)
    planes = shown.planes if len(shown.planes) == 1 else from_opponent(np.ascontiguousarray(shown.planes))
    difference = np.moveaxis(planes, 0, -1) - np.atleast_3d(whole.image)[80:110, 160:210]
    assert shown.stage.distance_bound <= whole.tolerance * 1.0001
    assert np.sqrt(np.mean(difference**2)) < 0.05 * level  # each is within 0.05 of the minimiser


@pytest.mark.parametrize(
    "options", [{"penalty": "huber", "tv": "anisotropic"}, {"engine": "sparse"}, {"step": "fixed"}], ids=str
)
def test_the_page_solves_with_the_options_of_its_command(options, tmp_path):
    Image.fromarray(noise(30, 40)).save(tmp_path / "noise.png")
    scene = scene_of(tmp_path / "noise.png", **options)
    setting, whole = scene.automatic, Region(0, 0, 0, 30, 40)
    shown = last(Preview(scene), whole, setting)
    solution = denoise(noise(30, 40), setting.mu, setting.epsilon, **options)
    np.testing.assert_allclose(shown.planes[0], solution.image, atol=2 * solution.tolerance)
    usual = Setting.of(FileOptions(), mu=setting.mu, epsilon=setting.epsilon)
    plain = last(Preview(scene), whole, usual)
    assert not np.array_equal(plain.planes, shown.planes)


def test_a_small_move_costs_less_from_the_last_solution_than_from_the_input():
    scene = scene_of(SAMPLES / "camera.png")
    moved = Setting.of(scene.settings, mu=scene.automatic.mu * 1.05, epsilon=scene.automatic.epsilon / 1.05)
    region = Region(0, 0, 0, scene.rows, scene.columns)
    warm = Preview(scene)
    last(warm, region, scene.automatic)
    afresh = last(Preview(scene), region, moved)
    assert 2 * last(warm, region, moved).stage.evaluations < afresh.stage.evaluations


def test_learned_filters_start_from_the_last_solution_too():
    scene = scene_of(SAMPLES / "camera.png", prior=small_prior())
    moved = Setting.of(scene.settings, level=scene.automatic.options.level * 1.02)
    region = Region(0, 0, 0, 100, 120)
    warm = Preview(scene)
    last(warm, region, scene.automatic)
    afresh = last(Preview(scene), region, moved)
    assert last(warm, region, moved).stage.evaluations < afresh.stage.evaluations


def test_where_the_view_moves_what_was_solved_is_shown_at_once():
    scene = scene_of(SAMPLES / "camera.png")
    old, new = Region(0, 0, 0, 150, 150), Region(0, 10, 5, 150, 150)

    def first_bound(preview: Preview) -> float:
        return next(iter(preview.images(new, scene.automatic, never, -math.inf))).stage.distance_bound

    moved = Preview(scene)
    last(moved, old, scene.automatic)
    assert 2 * first_bound(moved) < first_bound(Preview(scene))


def test_a_solve_that_takes_long_shows_a_picture_with_a_bound_of_its_own_first():
    scene = scene_of(SAMPLES / "coffee.png")
    ticks = count()
    preview = Preview(scene, clock=lambda: next(ticks) / 100)
    region = Region(0, 0, 0, scene.rows, scene.columns)
    first, full = ((s.stage.distance_bound, s.stage.status) for s in
                   preview.images(region, scene.automatic, never, 0.0))  # fmt: skip
    assert first[1] is None
    assert full[1] is not None
    assert first[0] > full[0]


def test_of_a_solve_that_breaks_down_the_input_is_shown_and_that_is_said(monkeypatch):
    scene = scene_of(SAMPLES / "camera.png")
    preview, region = Preview(scene), Region(0, 5, 6, 30, 40)
    with monkeypatch.context() as broken:
        broken.setattr(
            "tvdenoise.live.preview.stages", lambda *_: iter([SolveStage(None, math.nan, 1, None)])
        )
        shown = last(preview, region, scene.automatic)
    np.testing.assert_array_equal(shown.planes, scene.planes.part(region))
    told = certificate(scene, shown.stage, 1)
    assert (told["bound"], told["isFinal"]) == (None, True)
    assert "broke down" in told["status"]
    assert last(preview, region, scene.automatic).stage.status is not None


def test_a_stale_solve_is_given_up_unless_nothing_has_been_shown_for_long():
    scene = scene_of(SAMPLES / "coffee.png")
    region = Region(0, 0, 0, scene.rows, scene.columns)
    now = 0.0
    preview = Preview(scene, clock=lambda: now)
    last(preview, region, scene.automatic)
    moved = Setting.of(scene.settings, mu=scene.automatic.mu / 2, epsilon=scene.automatic.epsilon * 2)
    assert list(preview.images(region, moved, lambda: True, now)) == []
    now = 1.0
    (shown,) = preview.images(region, moved, lambda: True, now)
    assert shown.stage.status is None


@pytest.mark.parametrize(("zoom", "level"), [(8, 0), (1, 0), (0.8, 0), (0.5, 1), (0.25, 2), (0.1, 3)])
def test_the_resolution_is_that_of_the_screen(zoom, level):
    view = {"x": 0, "y": 0, "width": 1000 / zoom, "height": 800 / zoom, "zoom": zoom}
    region = region_of(view, 6000, 9000)
    assert region.level == level
    assert region.rows * region.scale <= min(6000, 800 / zoom) + region.scale


def test_a_view_costs_no_more_than_a_few_megapixels_whatever_the_screen():
    view = {"x": 0, "y": 0, "width": 7680, "height": 4320, "zoom": 1}
    assert region_of(view, 10_000, 10_000).pixels <= 3_000_000


@pytest.mark.parametrize(("x", "y"), [(-500, -500), (1e9, 1e9), (-1e300, 5)])
def test_a_view_beside_the_picture_is_its_nearest_pixels(x, y):
    region = region_of({"x": x, "y": y, "width": 10, "height": 10, "zoom": 1}, 50, 40)
    assert region.pixels >= 1
    assert 0 <= region.top < region.top + region.rows <= 50
    assert 0 <= region.left < region.left + region.columns <= 40


@pytest.mark.parametrize("level", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("shape", [(64, 96), (61, 83), (1, 1), (3, 200)])
def test_reductions_are_means_of_squares_whatever_part_is_read(level, shape):
    values = noise(1, *shape, dtype=np.float32)
    reductions = Reductions(shape, lambda down, across: values[:, down, across])
    expected = values.astype(np.float64)
    for _ in range(level):
        expected = np.pad(
            expected, ((0, 0), (0, expected.shape[1] % 2), (0, expected.shape[2] % 2)), mode="edge"
        )
        expected = expected.reshape(1, expected.shape[1] // 2, 2, -1, 2).mean(axis=(2, 4))
    rows, columns = (reduced(length, level) for length in shape)
    whole = reductions.part(Region(level, 0, 0, rows, columns))
    np.testing.assert_allclose(whole, expected, atol=1e-6)
    corner = Region(level, rows // 2, columns // 2, rows - rows // 2, columns - columns // 2)
    np.testing.assert_allclose(reductions.part(corner), expected[:, rows // 2 :, columns // 2 :], atol=1e-6)


def test_half_the_resolution_looks_like_the_whole_one_reduced():
    """μ and ε are those for pixels twice as large: others come out farther off."""
    scene = scene_of(SAMPLES / "camera.png")
    mu, epsilon = scene.automatic.mu, scene.automatic.epsilon
    rows, columns = scene.rows // 2, scene.columns // 2
    whole = last(Preview(scene), Region(0, 0, 0, 2 * rows, 2 * columns), scene.automatic).planes
    reduced_whole = whole.reshape(1, rows, 2, columns, 2).mean(axis=(2, 4))

    def error(setting: Setting) -> float:
        half = last(Preview(scene), Region(1, 0, 0, rows, columns), setting).planes
        return float(np.std(half - reduced_whole))

    right = error(scene.automatic)
    assert right < 0.5 * np.std(scene.planes.part(Region(1, 0, 0, rows, columns)) - reduced_whole)
    for wrong in (
        Setting.of(scene.settings, mu=mu / 2, epsilon=epsilon),
        Setting.of(scene.settings, mu=mu * 2, epsilon=epsilon),
        Setting.of(scene.settings, mu=mu, epsilon=epsilon / 2),
        Setting.of(scene.settings, mu=mu, epsilon=epsilon * 2),
    ):
        assert right < error(wrong)


def test_half_the_resolution_of_learned_filters_has_half_the_level():
    """Means of four pixels have half the noise: other levels come out farther off."""
    scene = scene_of(SAMPLES / "camera.png", prior=small_prior())
    rows, columns = scene.rows // 2, scene.columns // 2
    whole = last(Preview(scene), Region(0, 0, 0, 2 * rows, 2 * columns), scene.automatic).planes
    reduced_whole = whole.reshape(1, rows, 2, columns, 2).mean(axis=(2, 4))

    def error(factor: float) -> float:
        setting = Setting.of(scene.settings, level=scene.automatic.options.level * factor)
        half = last(Preview(scene), Region(1, 0, 0, rows, columns), setting).planes
        return float(np.std(half - reduced_whole))

    assert error(1) < min(error(0.5), error(2))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_pictures_are_shown_upright(orientation, tmp_path):
    stored = noise(5, 7, 4)
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(stored).save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as opened:
        expected = np.moveaxis(np.asarray(ImageOps.exif_transpose(opened)), -1, 0)
    scene = scene_of(tmp_path / "turned.png")
    assert scene.size == expected.shape[1:]
    region = Region(0, 1, 2, 3, 2)
    shown = frame(scene, region, scene.planes.part(scene.stored(region)), {})
    pixels = np.frombuffer(shown[4 + int.from_bytes(shown[:4], "little") :], np.uint8).reshape(4, 3, 2)
    np.testing.assert_array_equal(pixels[3], expected[3, 1:4, 2:4])
    visible = pixels[3] > 0
    np.testing.assert_array_equal(pixels[:, visible], expected[:, 1:4, 2:4][:, visible])


def test_a_turned_photograph_is_upright_on_the_page_and_stored_as_it_was(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(noise(20, 30, 3)).save(tmp_path / "turned.png", exif=exif)
    scene = scene_of(tmp_path / "turned.png")
    assert (scene.rows, scene.columns, scene.size) == (20, 30, (30, 20))


def test_deep_pictures_are_shown_over_what_they_hold(tmp_path):
    values = noise(40, 40, dtype=np.uint16) // 64 + 1000
    Image.fromarray(values).save(tmp_path / "deep.png")
    black, white = scene_of(tmp_path / "deep.png").window
    assert 1000 / 65535 <= black < white <= 2024 / 65535


def test_bytes_are_rounded_and_clipped_and_inks_are_mixed():
    planes = np.array([[[-1, 0, 0.5, 1, 2]]], np.float32)
    assert visible_planes(planes, (0.0, 1.0)).tolist() == [[[0, 0, 128, 255, 255]]]
    inks = np.array([0, 1, 0, 0], np.float32).reshape(4, 1, 1)
    assert visible_planes(inks, (0.0, 1.0)).ravel().tolist() == [255, 0, 255]


def test_the_command_is_quoted_and_says_every_digit():
    common = FileOptions(max_megapixels=900.0, penalty="huber")
    mu, epsilon = parameter({"mu": 12.34567}, "mu"), parameter({"epsilon": 1.23456e-5}, "epsilon")
    setting = Setting.of(common, mu=mu, epsilon=epsilon, chroma=2.0)
    command = setting.command(Path("-my cat's.png"), Path("out dir/x.png"), 3)
    words = shlex.split(command)
    assert words[2] == "./-my cat's.png"
    assert [float(words[words.index(name) + 1]) for name in ("--mu", "--epsilon", "--chroma")] == [
        setting.mu, setting.epsilon, 2.0,
    ]  # fmt: skip
    assert words[words.index("--max-pixels") + 1] == "900"
    assert words[-1] == "out dir/x.png"
    assert "--chroma" not in setting.command(Path("a.png"), Path("b.png"), 1)


def test_a_page_of_learned_filters_has_their_level_in_the_place_of_mu_epsilon_and_chroma(tmp_path):
    scene = scene_of(SAMPLES / "coffee.png", prior=small_prior())
    told = scene_message(scene, tmp_path / "b.png")
    assert list(told["automatic"]) == list(told["limits"]) == list(told["spans"]) == ["level"]
    assert told["automatic"]["level"] == float(f"{scene.chosen.level:.4g}")
    assert list(scene_message(scene_of(SAMPLES / "coffee.png"), tmp_path / "b.png")["spans"]) == [
        "mu", "epsilon", "chroma",
    ]  # fmt: skip
    session = Session(Studio(scene, Saver(SAMPLES / "coffee.png", None), str), lambda _frame: None)
    view = {"x": 0, "y": 0, "width": 30, "height": 20, "zoom": 1}
    answer = session.look({"request": 1, "view": view, "level": 0.0391234, "epsilon": None})
    assert answer["level"] == 0.03912
    assert shlex.split(answer["command"])[3:7] == ["--prior", "small.prior", "--level", "0.03912"]
    for nonsense in ({}, {"level": None}, {"level": 2}, {"mu": 20}):
        with pytest.raises(InvalidMessageError):
            session.look({"request": 2, "view": view, **nonsense})
    session.close()


@pytest.mark.parametrize("value", [None, "1", True, 0, -1, math.inf, math.nan, 1e61])
def test_a_parameter_out_of_its_limits_is_refused(value):
    with pytest.raises(InvalidMessageError):
        parameter({"mu": value}, "mu")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mu", "epsilon", "chroma"])
def test_the_page_is_told_the_limits_of_the_command_line_and_the_ends_are_taken(command, name):
    scene = scene_of(SAMPLES / "coffee.png")
    for value in scene_message(scene, Path("x.png"))["limits"][name]:
        setting = Setting(replace(scene.automatic.options, **{name: parameter({name: value}, name)}))
        words = shlex.split(setting.command(SAMPLES / "coffee.png", Path("x.png"), 3))
        assert command(*words[1:], "--dry-run").exit_code == 0


@pytest.mark.parametrize("shape", [(40, 50, 3), (40, 50)], ids=["colour", "grey"])
def test_an_epsilon_that_follows_mu_is_what_run_takes_for_it(tmp_path, shape):
    Image.fromarray(noise(*shape)).save(tmp_path / "noise.png")
    scene = scene_of(tmp_path / "noise.png")
    for mu in (scene.automatic.mu, 0.01, 20.0):
        chosen = denoise(noise(*shape), mu, channel_axis=2 if len(shape) == 3 else None, max_iterations=1)
        assert scene.epsilon_for(mu, scene.settings) == float(f"{chosen.epsilon:.4g}")


def test_an_epsilon_that_follows_mu_can_be_typed(tmp_path):
    Image.fromarray(10 * noise(60, 60, dtype=np.float32)).save(tmp_path / "wide.tif")
    scene = scene_of(tmp_path / "wide.tif")
    assert scene.automatic.epsilon <= 1
    assert scene.epsilon_for(1e-9, FileOptions(chroma=1.0)) == 1
    Image.fromarray(4000 * noise(60, 60, dtype=np.float32)).save(tmp_path / "counts.tif")
    with pytest.raises(UsageError, match=r"reach 3999, far above the data range.*"):
        scene_of(tmp_path / "counts.tif")
    assert scene_of(tmp_path / "counts.tif", data_range=4000.0).automatic.epsilon < 1


def test_the_newest_request_is_taken_and_the_others_are_dropped():
    requests: Newest[int] = Newest()
    requests.put(1)
    requests.put(2)
    assert requests.take() == 2
    assert not requests.has_newer()
    requests.put(3)
    assert requests.has_newer()
    requests.close()
    assert requests.take() is None


@pytest.fixture
def session() -> Callable[..., Session]:
    studio = Studio(scene_of(SAMPLES / "coffee.png"), Saver(SAMPLES / "coffee.png", None), str)
    return lambda show: Session(studio, show)


def look(session: Session) -> None:
    view = {"x": 0, "y": 0, "width": 300, "height": 200, "zoom": 1}
    session.look({"request": 1, "view": view, "mu": 1, "epsilon": None, "chroma": 3})


def test_a_closed_page_frees_its_work(session):
    shown: list[bytes] = []
    closed = session(shown.append)
    look(closed)
    closed.close()
    closed._thread.join(5)
    assert not closed.is_at_work()


def test_a_page_that_vanishes_ends_its_work(session):
    def vanished(_frame: bytes) -> None:
        raise PageClosedError

    gone = session(vanished)
    look(gone)
    gone._thread.join(5)
    assert not gone.is_at_work()
