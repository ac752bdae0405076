"""Files made to exhaust memory or time are refused in one line, quickly, and in little memory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from support.hostile import ODD, REFUSED
from support.launcher import launched
from support.values import noise

#: Processor time beyond that of a plain image; and memory in all.
SECONDS, MEGABYTES = 3, 500
pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="measured as Linux tells it")


@pytest.fixture(scope="module")
def allowed_seconds(tmp_path_factory) -> float:
    """What a plain image takes on this machine, and SECONDS."""
    folder = tmp_path_factory.mktemp("plain")
    Image.fromarray(noise(20, 20)).save(folder / "plain.png")
    ended, seconds, _ = launched(folder, "plain.png")
    assert ended.returncode == 0, ended.stderr
    return seconds + SECONDS


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED)
def test_a_hostile_file_is_refused_in_one_line(name: str, allowed_seconds: float, tmp_path: Path) -> None:
    contents = REFUSED[name]()
    (tmp_path / name).write_bytes(contents)
    ended, seconds, megabytes = launched(tmp_path, name, "-o", "out.tif")
    assert ended.returncode == 1, ended.stderr
    assert ended.stderr.startswith(f"tvdenoise: {name}: ")
    assert ended.stderr.count("\n") == 1
    assert "unexpected" not in ended.stderr
    assert seconds < allowed_seconds
    assert megabytes < MEGABYTES
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == contents


@pytest.mark.slow
@pytest.mark.parametrize("name", ODD)
def test_an_odd_file_is_done_within_bounds(name: str, allowed_seconds: float, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(ODD[name]())
    ended, seconds, megabytes = launched(tmp_path, name, "-o", "out.png")
    assert ended.returncode == 0, ended.stderr
    assert seconds < allowed_seconds
    assert megabytes < MEGABYTES
