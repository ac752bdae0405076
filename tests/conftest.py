"""Small pictures as files, and the command, in this process and in its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from support.processes import environment
from support.values import Values, noise
from tvdenoise import denoise
from tvdenoise.commands.app import app
from tvdenoise.commands.console import Console

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in the background; commands that run here take it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def compiled_kernels() -> None:
    """Compile the usual kernels once, so that no test reads the announcement of it, and processes find them."""
    values = np.random.default_rng(0).random((40, 40, 3), np.float32)
    grey, mask = values[..., 0], values[..., 1] > 0.2
    for image, axis in ((grey, None), (values, -1)):
        denoise(image, channel_axis=axis)
        denoise(image, 10.0, channel_axis=axis, mask=mask)


@pytest.fixture
def make_image(tmp_path: Path) -> Callable[..., Path]:
    """Write an image of noise, or of the values given, below the test's folder."""

    def make(name: str = "photo.png", values: Values | None = None, **options: object) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(12, 17) if values is None else values).save(path, **options)
        return path

    return make


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Result]:
    """``tvdenoise`` in this process, in the test's folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        Console, "tell_compilation", lambda _: None
    )  # of kernels that no test has used before

    def invoke(*arguments: str | Path, stdin: bytes | None = None) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)

    return invoke


@pytest.fixture
def process(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """``python -m tvdenoise`` in a process of its own, in the test's folder."""

    def start(*arguments: str | Path | bytes, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-m", "tvdenoise", *arguments],
            input=stdin,
            capture_output=True,
            cwd=tmp_path,
            env=environment(),
            timeout=300,
            check=False,
        )

    return start


@pytest.fixture
def process_on_terminal(tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """``python -m tvdenoise`` with a terminal for its errors, and its output too where asked: exit code and what
    is shown there."""

    def start(*arguments: str, shows_output: bool = False) -> tuple[int, str]:
        controller, terminal = os.openpty()
        child = subprocess.Popen(
            [sys.executable, "-m", "tvdenoise", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=terminal if shows_output else subprocess.PIPE,
            stderr=terminal,
            cwd=tmp_path,
            env=environment() | {"TERM": "xterm"},
        )
        os.close(terminal)
        shown = b""
        try:
            while part := os.read(controller, 65536):
                shown += part
        except OSError:  # how Linux says that the other side was closed
            pass
        os.close(controller)
        child.communicate(timeout=300)
        return child.returncode, shown.decode()

    return start
