"""``tvdenoise run`` on real files: results, messages, exit codes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tvdenoise
from support.processes import temporaries
from support.values import noise, pixels
from tvdenoise.commands.console import Console
from tvdenoise.model import preparation
from tvdenoise.model.kernel_cache import KernelCache
from tvdenoise.model.kernels import sweep_for
from tvdenoise.solver.compiled import descend_for

TELL_COMPILATION = Console.tell_compilation  # tests are silent about it


def test_the_result_is_what_the_library_computes(make_image, command, tmp_path: Path) -> None:
    values = noise(30, 40, 3)
    make_image("a.png", values)
    result = command("run", "a.png", "--mu", "6", "--epsilon", "0.02", "--chroma", "2", "--penalty", "huber")
    assert result.exit_code == 0
    solution = tvdenoise.denoise(values, 6, 0.02, chroma=2, penalty="huber", channel_axis=-1)
    np.testing.assert_array_equal(pixels(tmp_path / "a_denoised.png"), np.rint(solution.image * 255))


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ({}, ()),
        ({"sigma": 15 / 255}, ("--sigma", "15/255")),
        ({"tolerance": 0.01}, ("--tolerance", "1e-2")),
        ({"tolerance": 0, "max_iterations": 7}, ("--tolerance", "0", "--max-iterations", "7")),
        ({"tv": "anisotropic", "step": "fixed"}, ("--tv", "anisotropic", "--step", "fixed")),
        ({"engine": "sparse", "threads": 1}, ("--engine", "sparse", "--threads", "1")),
    ],
)
def test_every_option_reaches_the_solver(options, arguments, make_image, command, tmp_path: Path) -> None:
    values = noise(12, 17)
    make_image("a.png", values)
    assert command("run", "a.png", *arguments).exit_code == 0
    expected = np.rint(tvdenoise.denoise(values, **options).image * 255)
    np.testing.assert_array_equal(pixels(tmp_path / "a_denoised.png"), expected)


def test_the_data_range_is_the_unit_of_floats_and_of_integers(make_image, command, tmp_path: Path) -> None:
    values = noise(12, 17, dtype=np.float32) * 1000
    make_image("a.tif", values)
    make_image("b.png")
    assert command("run", "a.tif", "b.png", "--data-range", "1000", "--mu", "5").exit_code == 0
    expected = tvdenoise.denoise(values, 5, data_range=1000).image
    np.testing.assert_array_equal(pixels(tmp_path / "a_denoised.tif"), expected)
    expected = np.rint(tvdenoise.denoise(noise(12, 17), 5, data_range=1000).image * 1000)
    np.testing.assert_array_equal(pixels(tmp_path / "b_denoised.png"), expected)
    assert not np.array_equal(expected, np.rint(tvdenoise.denoise(noise(12, 17), 5).image * 255))


def test_a_line_says_what_was_done_and_how_exact_it_is(make_image, command) -> None:
    make_image("a.png")
    make_image("b.png", noise(9, 9, dtype=np.uint16))
    make_image("c.tif", noise(9, 9, dtype=np.float32))
    result = command("run", "a.png", "b.png", "c.tif", "--mu", "14.3", "--epsilon", "2.5/255")
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert lines[0].startswith("a.png → a_denoised.png: mu 14.3, epsilon 0.0098, ")
    assert " evaluations, within " in lines[0]
    assert " grey levels (rms) of the exact minimiser, " in lines[0]
    assert lines[0].endswith(" s")
    assert " of 255 grey levels (rms) of the exact minimiser, " in lines[1]
    assert " of the data range (rms) of the exact minimiser, " in lines[2]
    assert lines[3] == "3 files: 3 done, 0 failed, 0 skipped"


def test_grey_levels_are_255_times_the_distance_bound(make_image, command) -> None:
    make_image("a.png")
    stderr = command("run", "a.png", "--mu", "14").stderr
    bound = tvdenoise.denoise(noise(12, 17), 14).distance_bound
    assert f"within {bound * 255:.2g} grey levels (rms)" in stderr


def test_quiet_tells_errors_only(make_image, command) -> None:
    make_image("a.png")
    result = command("run", "a.png", "b.png", "--quiet", "--max-iterations", "1")
    assert result.stderr == "tvdenoise: b.png: no such file or directory\n"


def test_verbose_tells_the_noise_level_and_how_the_solve_ended(make_image, command) -> None:
    make_image("a.png")
    result = command("run", "a.png", "--verbose", "--sigma", "20/255")
    assert "noise level 20/255, " in result.stderr
    assert "; converged to the tolerance; " in result.stderr


def test_skipped_files_are_told_and_done_ones_kept(make_image, command, tmp_path: Path) -> None:
    make_image("a.png")
    make_image("b.png")
    before = make_image("a_denoised.png").read_bytes()
    result = command("run", "a.png", "b.png", "--skip-existing")
    assert result.exit_code == 0
    assert "a.png → a_denoised.png: exists, skipped" in result.stderr
    assert "2 files: 1 done, 0 failed, 1 skipped" in result.stderr
    assert (tmp_path / "a_denoised.png").read_bytes() == before


def test_a_bad_file_never_stops_the_others(make_image, command, tmp_path: Path) -> None:
    for name in ("a.png", "c.png"):
        make_image(name)
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("hello")
    truncated = make_image("truncated.jpg", noise(40, 40, 3))
    truncated.write_bytes(truncated.read_bytes()[:900])
    result = command("run", "a.png", "empty.png", "text.png", "truncated.jpg", "missing.png", "c.png")
    assert result.exit_code == 1
    assert (tmp_path / "a_denoised.png").exists()
    assert (tmp_path / "c_denoised.png").exists()
    for name in ("empty.png", "text.png", "truncated.jpg", "missing.png"):
        assert sum(line.startswith(f"tvdenoise: {name}: ") for line in result.stderr.splitlines()) == 1
        assert not (tmp_path / name.replace(".", "_denoised.")).exists()
    assert "6 files: 2 done, 4 failed, 0 skipped" in result.stderr
    assert "Traceback" not in result.stderr
    assert not temporaries(tmp_path)


def test_a_file_without_permission_fails_alone(make_image, command, monkeypatch) -> None:
    make_image("a.png")
    make_image("b.png")
    opened = Path.open

    def refuse(path: Path, *arguments: object, **options: object):
        if path.name == "a.png":
            raise PermissionError(13, "Permission denied")
        return opened(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    result = command("run", "a.png", "b.png")
    assert result.exit_code == 1
    assert "tvdenoise: a.png: permission denied" in result.stderr
    assert "1 done, 1 failed" in result.stderr


def test_alpha_into_jpeg_is_refused_before_anything_is_computed(
    make_image, command, tmp_path, monkeypatch
) -> None:
    make_image("a.png", noise(6, 6, 4))
    monkeypatch.setattr("tvdenoise.api.denoise", lambda *_, **__: pytest.fail("computed"))
    result = command("run", "a.png", "-o", "a.jpg")
    assert result.exit_code == 1
    assert "tvdenoise: a.png: JPEG cannot hold 8-bit colour with alpha; choose PNG" in result.stderr
    assert not (tmp_path / "a.jpg").exists()


def test_16_bits_into_jpeg_are_refused(make_image, command) -> None:
    make_image("a.png", noise(6, 6, dtype=np.uint16))
    assert "JPEG cannot hold 16-bit grey; choose PNG or TIFF" in command("run", "a.png", "-o", "a.jpg").stderr


def test_an_image_larger_than_the_limit_fails_with_the_option(make_image, command) -> None:
    make_image("a.png", noise(50, 60))
    result = command("run", "a.png", "--max-pixels", "0.002")
    assert result.exit_code == 1
    assert (
        "60 × 50 pixels exceed the limit of 0.002 megapixels; allow them with --max-pixels 1" in result.stderr
    )


@pytest.mark.parametrize(
    ("error", "text"), [(MemoryError(), "not enough memory"), (KeyError("x"), "unexpected error")]
)
def test_a_surprise_in_one_file_is_that_file_s_failure(
    error, text: str, make_image, command, monkeypatch
) -> None:
    make_image("a.png", noise(5, 5))
    make_image("b.png", noise(6, 6))
    denoise = tvdenoise.denoise

    def fail(noisy: np.ndarray, **options: object):
        if noisy.shape == (5, 5):
            raise error
        return denoise(noisy, **options)

    monkeypatch.setattr("tvdenoise.api.denoise", fail)
    result = command("run", "a.png", "b.png")
    assert result.exit_code == 1
    assert f"tvdenoise: a.png: {text}" in result.stderr
    assert "Traceback" not in result.stderr
    assert "1 done, 1 failed" in result.stderr
    assert "Traceback" in command("run", "a.png", "--debug", "--overwrite").stderr


@pytest.mark.slow
def test_a_compilation_is_announced_once_and_loading_is_not(make_image, command, monkeypatch) -> None:
    make_image("a.png")
    text = "compiling the fast kernel for this machine (once"
    monkeypatch.setattr(Console, "tell_compilation", TELL_COMPILATION)
    assert text not in command("run", "a.png").stderr
    monkeypatch.setattr(
        KernelCache, "load_overload", lambda *_: preparation.begin() or preparation.announce()
    )
    for kernels in (sweep_for, descend_for):
        kernels.cache_clear()  # those that are loaded
    try:
        assert command("run", "a.png", "--overwrite").stderr.count(text) == 1
    finally:
        for kernels in (sweep_for, descend_for):
            kernels.cache_clear()


def test_odd_names_are_shown_on_one_line(make_image, command, tmp_path: Path) -> None:
    name = "a\nb 'c' \"d\" \x1b[31m ü 🎈.png"
    make_image("a.png").rename(tmp_path / name)
    result = command("run", name)
    assert result.exit_code == 0
    assert result.stderr.count("\n") == 1
    assert r"a\nb 'c' " in result.stderr
    assert r"\x1b[31m ü 🎈.png → " in result.stderr
    assert (tmp_path / name.replace(".png", "_denoised.png")).exists()


def test_a_leading_dash_is_a_name_after_two_dashes(make_image, command, tmp_path: Path) -> None:
    make_image("-a.png")
    assert command("run", "--", "-a.png").exit_code == 0
    assert (tmp_path / "-a_denoised.png").exists()


def test_the_input_is_never_changed(make_image, command) -> None:
    path = make_image("a.png")
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    command("run", "a.png")
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


@pytest.mark.slow
def test_running_twice_with_any_number_of_threads_gives_the_same_bytes(
    make_image, command, tmp_path: Path
) -> None:
    make_image("a.png", noise(64, 64, 3))
    for threads in ("1", "2", "5"):
        command("run", "a.png", "-o", f"{threads}.png", "--threads", threads)
    assert len({(tmp_path / f"{threads}.png").read_bytes() for threads in (1, 2, 5)}) == 1


def test_a_folder_is_denoised_into_a_new_tree(make_image, command, tmp_path: Path) -> None:
    make_image("x/a.png")
    make_image("x/y/b.jpg", noise(8, 8, 3))
    assert command("run", "x", "-r", "-o", "out/").exit_code == 0
    written = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*"))
    assert written == ["a.png", "y/b.jpg"]
    with Image.open(tmp_path / "out/y/b.jpg") as opened:
        assert opened.format == "JPEG"


def test_progress_goes_to_a_terminal_only(make_image, command) -> None:
    make_image("a.png")
    make_image("b.png")
    assert "\x1b" not in command("run", "a.png", "b.png").stderr


@pytest.mark.slow
def test_on_a_terminal_lines_and_bar_go_together(make_image, process_on_terminal) -> None:
    make_image("a.png")
    make_image("b.png")
    code, shown = process_on_terminal("run", "a.png", "b.png")
    assert code == 0
    assert "a.png → a_denoised.png" in shown
    assert "denoising" in shown
    assert "2 files: 2 done" in shown


def test_errors_have_no_traceback_attached_unless_asked(make_image, command) -> None:
    make_image("a.png").write_bytes(b"")
    assert "Traceback" not in command("run", "a.png").stderr
    assert "UnreadableImageError" in command("run", "a.png", "--debug").stderr


@pytest.mark.slow
def test_names_are_shown_as_they_are_while_a_bar_is_shown(make_image, process_on_terminal) -> None:
    make_image("a:dog:.png")
    make_image("b[red].png")
    code, shown = process_on_terminal("run", "a:dog:.png", "b[red].png", "--mu", "1e9")
    assert code == 0
    assert "a:dog:.png → a:dog:_denoised.png" in shown
    assert "b[red].png → b[red]_denoised.png" in shown
