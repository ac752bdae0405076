"""Standard input and output: an image and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support.processes import environment
from support.values import noise, pixels


def decoded(contents: bytes) -> tuple[str, np.ndarray]:
    with Image.open(BytesIO(contents)) as opened:
        return opened.format, np.array(opened)


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [("-",), ("-", "-o", "-")])
def test_standard_input_goes_to_standard_output_in_its_own_format(arguments, make_image, process) -> None:
    contents = make_image("a.bmp").read_bytes()
    finished = process("run", *arguments, "--mu", "1e9", stdin=contents)
    assert finished.returncode == 0, finished.stderr
    form, values = decoded(finished.stdout)
    assert form == "BMP"
    np.testing.assert_array_equal(values, noise(12, 17))
    assert finished.stderr.startswith(b"- \xe2\x86\x92 -: nothing done: with so large a mu ")
    assert b"; mu 1e+09" in finished.stderr


def test_the_format_of_standard_output_can_be_chosen(make_image, command) -> None:
    make_image("a.png")
    result = command("run", "a.png", "-o", "-", "--format", "tiff", "--mu", "1e9")
    assert result.exit_code == 0
    form, values = decoded(result.stdout_bytes)
    assert form == "TIFF"
    np.testing.assert_array_equal(values, noise(12, 17))


def test_standard_input_can_go_into_a_file(make_image, command, tmp_path: Path) -> None:
    contents = make_image("a.png").read_bytes()
    result = command("run", "-", "-o", "b.tif", "--mu", "1e9", stdin=contents)
    assert result.exit_code == 0
    assert result.stdout == ""
    np.testing.assert_array_equal(pixels(tmp_path / "b.tif"), noise(12, 17))
    assert command("run", "-", "-o", "b.tif", stdin=contents).exit_code == 2
    assert "exists, skipped" in command("run", "-", "-o", "b.tif", "--skip-existing", stdin=contents).stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-", "a.png"), "standard input (-) must be the only input"),
        (("a.png", "b.png", "-o", "-"), "standard output takes one image"),
        ((".", "-o", "-"), "standard output takes one image"),
        (("-", "-o", "out/"), "standard input has no name to derive an output name from"),
        (("a.png", "--format", "png"), "--format applies to standard output"),
        (("a.png", "-o", "-", "--format", "xcf"), "--format xcf is not known; choose one of PNG"),
    ],
)
def test_what_streams_cannot_do_exits_with_2(arguments, message: str, make_image, command) -> None:
    make_image("a.png")
    result = command("run", *arguments, stdin=b"")
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(("contents", "reason"), [(b"", "the file is empty"), (b"hello", "not an image")])
def test_a_bad_standard_input_writes_nothing(contents: bytes, reason: str, command) -> None:
    result = command("run", "-", stdin=contents)
    assert result.exit_code == 1
    assert f"tvdenoise: -: {reason}" in result.stderr
    assert result.stdout == ""


def test_a_missing_file_for_standard_output_fails(command) -> None:
    result = command("run", "a.png", "-o", "-")
    assert result.exit_code == 1
    assert result.stderr == "tvdenoise: a.png: no such file or directory\n"


def test_a_pipe_for_standard_output_fails_rather_than_waits(command) -> None:
    os.mkfifo("pipe.png")
    result = command("run", "pipe.png", "-o", "-")
    assert result.exit_code == 1
    assert result.stderr == "tvdenoise: pipe.png: not a regular file\n"


def test_a_file_that_is_called_dash_is_a_file(make_image, command, tmp_path: Path) -> None:
    make_image("a.png").rename(tmp_path / "-")
    assert command("run", "./-", "-o", "b.png").exit_code == 0
    assert (tmp_path / "b.png").exists()


@pytest.mark.slow
def test_a_reader_that_goes_away_ends_the_run_quietly(make_image, tmp_path: Path) -> None:
    make_image("a.bmp", noise(400, 400))
    child = subprocess.Popen(
        [sys.executable, "-m", "tvdenoise", "run", "a.bmp", "-o", "-", "--quiet", "--mu", "1e9"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=environment(),
    )
    assert child.stdout is not None
    child.stdout.close()
    assert child.stderr is not None
    assert child.stderr.read() == b""
    assert child.wait(timeout=60) == 0


def test_an_image_is_never_printed_on_a_terminal(make_image, command, monkeypatch) -> None:
    make_image("a.png")
    monkeypatch.setattr("tvdenoise.batch.plan.is_terminal", lambda _: True)
    result = command("run", "a.png", "-o", "-")
    assert result.exit_code == 2
    assert "redirect the output" in result.stderr


def redirected(redirections: str, tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """``tvdenoise run`` with standard streams that a shell closes or leads elsewhere."""
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {redirections}', "sh", sys.executable, "-m", "tvdenoise", "run", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        cwd=tmp_path,
        env=environment(),
        timeout=60,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("redirections", ["<&-", ">&-", "<&- >&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_that_are_not_used_do_no_harm(redirections: str, make_image, tmp_path: Path) -> None:
    make_image("a.png")
    finished = redirected(redirections, tmp_path, "a.png", "--mu", "1e9", "--report", "r")
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout == b""
    assert b"Traceback" not in finished.stderr
    np.testing.assert_array_equal(pixels(tmp_path / "a_denoised.png"), noise(12, 17))
    assert (tmp_path / "r").read_text().startswith('{"source": "a.png"')


@pytest.mark.slow
@pytest.mark.parametrize(
    ("redirections", "arguments", "name"),
    [("<&-", ("-",), b"standard input"), (">&-", ("a.png", "-o", "-"), b"standard output")],
)
def test_closed_streams_that_are_used_are_refused(
    redirections: str, arguments, name: bytes, make_image, tmp_path: Path
) -> None:
    make_image("a.png")
    finished = redirected(redirections, tmp_path, *arguments)
    assert finished.returncode == 2
    assert finished.stderr == b"tvdenoise: " + name + b" is closed; name files instead of -\n"


@pytest.mark.slow
def test_worker_processes_without_standard_streams_do_their_files(make_image, tmp_path: Path) -> None:
    names = make_image("a.tif").name, make_image("b.tif").name
    options = ("-o", "out/", "--jobs", "2", "--mu", "1e9")
    finished = redirected("<&- >&- 2>&-", tmp_path, *names, *options)
    assert finished.returncode == 0
    np.testing.assert_array_equal(pixels(tmp_path / "out" / "b.tif"), noise(12, 17))


@pytest.mark.slow
def test_messages_that_find_no_room_stop_no_run(make_image, tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        make_image(f"in/{name}")
    with open("/dev/full", "wb") as full:
        for code in (0, 2):  # done; refused, as the outputs exist
            started = [sys.executable, "-m", "tvdenoise", "run", "in", "-o", "out"]
            finished = subprocess.run(started, stderr=full, cwd=tmp_path, env=environment(), check=False)
            assert finished.returncode == code
    assert len(list((tmp_path / "out").iterdir())) == 3


@pytest.mark.slow
def test_a_terminal_that_goes_away_stops_no_run(make_image, tmp_path: Path) -> None:
    for number in range(10):
        make_image(f"in/{number}.png")
    controller, terminal = os.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "tvdenoise", "run", "in", "-o", "out"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=terminal,
        cwd=tmp_path,
        env=environment() | {"TERM": "xterm"},
        start_new_session=True,
    )
    os.close(terminal)
    os.read(controller, 1)
    os.close(controller)
    assert child.wait(60) == 0
    assert len(list((tmp_path / "out").iterdir())) == 10


@pytest.mark.slow
def test_without_standard_error_no_message_gets_into_the_data(make_image, tmp_path: Path) -> None:
    make_image("a.bmp")
    finished = redirected("2>&-", tmp_path, "a.bmp", "-o", "-", "--mu", "1e9", "--verbose")
    assert finished.returncode == 0
    assert finished.stdout == (tmp_path / "a.bmp").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("redirections", "arguments", "shown"),
    [
        ("< a.png", ("-", "-o", "link.png", "--overwrite"), "-"),
        ("< a.png", ("-", "-o", "a.png", "--skip-existing"), "-"),
        (">> a.png", ("a.png", "-o", "-"), "a.png"),
        ("< a.png >> a.png", ("-",), "-"),
    ],
)
def test_a_stream_that_would_be_both_input_and_output_is_refused(
    redirections: str, arguments, shown: str, make_image, tmp_path: Path
) -> None:
    contents = make_image("a.png").read_bytes()
    (tmp_path / "link.png").symlink_to("a.png")
    finished = redirected(redirections, tmp_path, *arguments)
    assert finished.returncode == 2
    assert finished.stderr.startswith(f"tvdenoise: {shown}: the output would replace the input; ".encode())
    assert finished.stderr.count(b"\n") == 1
    assert (tmp_path / "a.png").read_bytes() == contents
