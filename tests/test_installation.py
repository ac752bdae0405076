"""The README's commands on a fresh machine, and on one that holds what version 0.1.0 left behind."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tvdenoise

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
#: No network: what is needed comes from this environment. The test command runs one file of tests.
OFFLINE = {
    "PIP_NO_INDEX": "1",
    "PIP_NO_DEPS": "1",
    "PIP_NO_BUILD_ISOLATION": "0",  # pip reads it so: no isolation
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PYTEST_ADDOPTS": "-n 0 -p no:cacheprovider tests/files/test_orientation.py",
}
LEFT_OUT = ("NUMBA_CACHE_DIR", "PYTHONPATH", "VIRTUAL_ENV", "XDG_CACHE_HOME")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="the README's commands are for a POSIX shell"),
    pytest.mark.skipif(importlib.util.find_spec("hatchling") is None, reason="builds need hatchling"),
    pytest.mark.skipif(importlib.util.find_spec("ensurepip") is None, reason="environments need ensurepip"),
]


class Newcomer:
    """A copy of the checkout with an environment that sees this one's packages, and a home of its own."""

    def __init__(self, folder: Path) -> None:
        self.checkout, home, self.elsewhere = (folder / name for name in ("checkout", "home", "elsewhere"))
        self.commands = self.checkout / ".venv" / "bin"
        home.mkdir()
        self.elsewhere.mkdir()
        ignored = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "*.egg-info")
        shutil.copytree(ROOT, self.checkout, ignore=ignored)
        shutil.copy(ROOT / ".gitignore", self.checkout)
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        self.variables = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}
        self.variables |= OFFLINE | {"HOME": str(home), "PATH": path}
        self.run("python3 -m venv .venv", self.checkout)
        (self.packages,) = self.checkout.glob(".venv/lib/python*/site-packages")
        installed = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
        (self.packages / "of_this_environment.pth").write_text("\n".join(installed) + "\n")

    def run(self, command: str, folder: Path) -> str:
        finished = subprocess.run(
            command, shell=True, cwd=folder, env=self.variables, capture_output=True, text=True, check=False
        )
        assert finished.returncode == 0, f"{command}\n{finished.stdout}\n{finished.stderr}"
        return finished.stdout

    def follow(self, marker: str) -> None:
        """Run a command of the README in the checkout, word for word."""
        found = re.search(rf"<!-- {marker} -->\n```sh\n(.+)\n```", README)
        assert found, marker
        self.run(found[1], self.checkout)

    def leave_kernels(self) -> None:
        """What a run of version 0.1.0 adds to its installation, and pip does not remove."""
        folder = self.packages / "tvdenoise" / "model" / "__pycache__"
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("rows.advance_row-36.py311.nbi", "rows.advance_row-36.py311.1.nbc"):
            (folder / name).touch()

    def origin(self) -> Path:
        """The folder of the package that is imported in another folder than the checkout."""
        script = "import tvdenoise; print(tvdenoise.__file__)"
        return Path(self.run(f"{self.commands}/python -c '{script}'", self.elsewhere).strip()).parent


@pytest.mark.slow
def test_the_commands_of_the_readme_install_it_where_the_first_version_left_kernels(tmp_path):
    newcomer = Newcomer(tmp_path)
    stale = newcomer.checkout / "build" / "lib" / "tvdenoise" / "stale.py"
    stale.parent.mkdir(parents=True)
    stale.touch()
    newcomer.leave_kernels()
    newcomer.follow("first command")
    installed = newcomer.packages / "tvdenoise"
    assert newcomer.origin() == installed
    assert not (installed / stale.name).exists()
    assert not list(installed.rglob("*.nbi")), "the leftovers are removed as kernels are kept elsewhere"

    newcomer.leave_kernels()
    newcomer.follow("test command")
    assert (installed / "model").is_dir()
    assert newcomer.origin() == newcomer.checkout / "tvdenoise"
    shown = newcomer.run(f"{newcomer.commands}/tvdenoise --version", newcomer.elsewhere)
    assert shown == f"tvdenoise {tvdenoise.__version__}\n"
    sample = newcomer.checkout / "sample_images" / "camera.png"
    newcomer.run(f"{newcomer.commands}/tvdenoise run {sample} --mu 20 -o denoised.png", newcomer.elsewhere)

    newcomer.follow("first command")
    assert newcomer.origin() == installed
