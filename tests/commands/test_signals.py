"""Ctrl-C and SIGTERM: what is finished is kept, nothing half-done remains, the exit code says why."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.own_time import own_time
from support.processes import environment, temporaries
from support.values import noise


def start_long_run(folder: Path) -> subprocess.Popen[bytes]:
    """A run that has just finished its first file and would take long for its second."""
    # A child of a process that ignores Ctrl-C, as background jobs do, would ignore it too.
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    child = subprocess.Popen(
        [
            *(sys.executable, "-m", "tvdenoise", "run", "a.png", "b.png", "--step", "fixed"),
            *("--mu", "0.01", "--tolerance", "1e-5", "--max-iterations", "100000"),
        ],
        stderr=subprocess.PIPE,
        cwd=folder,
        env=environment(),
    )
    signal.signal(signal.SIGINT, previous)
    assert child.stderr is not None
    while b"a_denoised.png" not in (line := child.stderr.readline()):
        assert line, "it ended early"
    return child


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, b"interrupted"), (signal.SIGTERM, 143, b"terminated")]
)
def test_a_signal_ends_the_run_at_once_and_keeps_what_is_finished(
    number: int, code: int, word: bytes, make_image, tmp_path: Path
) -> None:
    make_image("a.png", noise(2, 2))
    make_image("b.png", noise(1200, 1200))
    child = start_long_run(tmp_path)
    time.sleep(0.3)
    assert child.stderr is not None
    with own_time(child.pid) as taken:
        child.send_signal(number)
        told = child.stderr.read()
        assert child.wait(timeout=60) == code
    assert taken.seconds < 2
    assert b"1 of 2 files: 1 done" in told
    assert word + b"; finished files are kept, --skip-existing continues" in told
    assert b"Traceback" not in told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "a_denoised.png", "b.png"]
    assert not temporaries(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_writing_removes_the_temporary(
    number: int, make_image, command, tmp_path, monkeypatch
) -> None:
    make_image("a.png")
    old = make_image("a_denoised.png").read_bytes()
    monkeypatch.setattr(
        "tvdenoise.files.writing.opened_image",
        lambda _: signal.raise_signal(number) or pytest.fail("went on"),
    )
    result = command("run", "a.png", "--overwrite")
    assert result.exit_code == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
    assert (tmp_path / "a_denoised.png").read_bytes() == old
    assert not temporaries(tmp_path)


LONG_CALL = """
import lzma, os, sys
from tvdenoise.commands.app import main
from tvdenoise.files import writing

def verify(_):
    print("verifying", file=sys.stderr, flush=True)
    lzma.compress(os.urandom(60_000_000))  # for longer than anybody waits, without a look at signals

writing.opened_image = verify
sys.argv = ["tvdenoise", "run", "a.png", "--overwrite"]
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_run_in_time_whatever_a_library_is_at(
    number: int, code: int, make_image, tmp_path: Path
) -> None:
    make_image("a.png")
    old = make_image("a_denoised.png").read_bytes()
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    child = subprocess.Popen(
        [sys.executable, "-c", LONG_CALL], stderr=subprocess.PIPE, cwd=tmp_path, env=environment()
    )
    signal.signal(signal.SIGINT, previous)
    assert child.stderr is not None
    assert child.stderr.readline() == b"verifying\n"
    with own_time(child.pid) as taken:
        child.send_signal(number)
        told = child.stderr.read()
        assert child.wait(timeout=60) == code
    assert taken.seconds < 3
    assert b"--skip-existing" in told
    assert (tmp_path / "a_denoised.png").read_bytes() == old
    assert not temporaries(tmp_path)


@pytest.mark.slow
def test_a_second_ctrl_c_while_python_ends_is_no_traceback() -> None:
    code = "import atexit, signal; atexit.register(signal.raise_signal, signal.SIGINT); "
    code += "signal.signal(signal.SIGINT, signal.default_int_handler); from tvdenoise.commands.app import main; main()"
    finished = subprocess.run(
        [sys.executable, "-c", code, "--version"], capture_output=True, env=environment(), check=False
    )
    assert finished.returncode == -signal.SIGINT
    assert finished.stderr == b""
