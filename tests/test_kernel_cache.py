"""The compiled kernels are kept, wherever there is a place for them."""

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tvdenoise import denoise
from tvdenoise.model.kernels import sweep_band
from tvdenoise.model.volume_kernels import sweep_volume_band

PACKAGE = Path(__file__).parent.parent / "tvdenoise"
PREPARE = "from tvdenoise.model.kernels import prepare; print(prepare('float32'))"
_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE = 24, 1


def _obey_permissions() -> None:
    """Take from the super-user, in a child process, the right to write where permissions forbid it."""
    ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE, 0, 0, 0)


@pytest.fixture
def read_only_package(tmp_path):
    """A folder that holds the package, without a cache and without permission to write."""
    site = tmp_path / "site"
    shutil.copytree(PACKAGE, site / "tvdenoise", ignore=shutil.ignore_patterns("__pycache__"))
    folders = [site, *(path for path in site.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    yield site
    for folder in folders:
        folder.chmod(0o755)


def _prepare(site: Path, home: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    environment |= {
        "PYTHONPATH": str(site), "HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    finished = subprocess.run(
        [sys.executable, "-c", PREPARE], env=environment, cwd=site, capture_output=True, text=True,
        preexec_fn=_obey_permissions, check=False,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.strip()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's capabilities")
def test_a_read_only_package_keeps_its_kernels_in_the_users_cache(read_only_package, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    assert _prepare(read_only_package, home) == "True"
    assert not list(read_only_package.rglob("*.nbc"))
    assert _prepare(read_only_package, home) == "False"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's capabilities")
def test_the_kernels_compile_where_nothing_can_be_kept(read_only_package, tmp_path):
    home = tmp_path / "home"
    home.mkdir(mode=0o555)
    assert _prepare(read_only_package, home) == "True"
    assert list(home.iterdir()) == []


def test_arrays_that_cannot_be_written_to_need_no_kernels_of_their_own():
    noisy = np.random.default_rng(0).random((20, 30)).astype(np.float32)
    denoise(noisy, 10.0)
    denoise(noisy, 10.0, weights=np.full(noisy.shape, 2.0))
    known = len(sweep_band.signatures), len(sweep_volume_band.signatures)
    noisy.flags.writeable = False
    denoise(noisy, 10.0)
    denoise(noisy, 10.0, weights=np.full(noisy.shape, 2.0))
    assert (len(sweep_band.signatures), len(sweep_volume_band.signatures)) == known
