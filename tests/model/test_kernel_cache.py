"""The cache of compiled kernels in a private folder of the user."""

import contextlib
import ctypes
import os
import pickle
import resource
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from support.processes import ROOT
from tvdenoise import __version__, denoise
from tvdenoise.model.kernel_cache import KernelFolder
from tvdenoise.model.kernels import WEIGHTED, KernelForm, sweep_for
from tvdenoise.solver.compiled import descend_for

PACKAGE = ROOT / "tvdenoise"
#: Compiles or loads the smallest kernel; prints whether it was compiled.
SMALLEST = """
import numpy as np
from tvdenoise.model.kernels import step_borders
def compiled(dtype="float32"):
    known = sum(step_borders.stats.cache_misses.values())
    x = np.zeros((1, 1, 1, 1), dtype)
    step_borders(x, x, np.dtype(dtype).type(1), np.array([0, 1]))
    return sum(step_borders.stats.cache_misses.values()) > known
print(compiled())
"""
NAME = f"kernels-{__version__}-0123456789abcdef"
_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE = 24, 1

needs_capabilities = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="needs Linux's capabilities"
)


def _obey_permissions() -> None:
    """In a child process, drop the superuser's right to write against permissions."""
    ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE, 0, 0, 0)


@pytest.fixture
def site(tmp_path):
    """Return a folder with the package as pip installs it."""
    folder = tmp_path / "site"
    shutil.copytree(PACKAGE, folder / "tvdenoise", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture
def read_only_site(site):
    folders = [site, *(path for path in site.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    yield site
    for folder in folders:
        folder.chmod(0o755)


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def place(home):
    """Return a folder for kernels that does not exist yet, in a home folder."""
    return home / ".cache" / "tvdenoise" / NAME


def _run(script: str, site: Path, home: Path, before=lambda: None, **variables: str) -> list[str]:
    """Run a script with the package in ``site``, and return the lines that it prints."""
    left_out = ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    environment |= {"PYTHONPATH": str(site), "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"} | variables
    finished = subprocess.run(
        [sys.executable, "-c", script], env=environment, cwd=site, capture_output=True, text=True,
        preexec_fn=before, check=False,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.split()


def _folders(home: Path) -> list[Path]:
    return sorted(home.glob(".cache/tvdenoise/*"))


def _kernels(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.kernel"))


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.slow
@needs_capabilities
def test_a_read_only_package_keeps_its_kernels_in_the_users_cache(read_only_site, home):
    assert _run(SMALLEST, read_only_site, home, _obey_permissions) == ["True"]
    assert not [path for path in read_only_site.rglob("*") if path.suffix in (".kernel", ".nbi", ".nbc")]
    assert _run(SMALLEST, read_only_site, home, _obey_permissions) == ["False"]


@pytest.mark.slow
def test_the_folder_is_private_for_any_umask(site, home):
    assert _run(SMALLEST, site, home, lambda: os.umask(0) and None) == ["True"]
    (folder,) = _folders(home)
    assert folder.name.startswith(f"kernels-{__version__}-")
    for path in (folder.parent.parent, folder.parent, folder):
        assert _mode(path) == 0o700
        assert path.stat().st_uid == os.geteuid()
    assert {_mode(path) for path in folder.iterdir()} == {0o600}


@pytest.mark.slow
@needs_capabilities
def test_the_kernels_compile_if_nothing_can_be_stored(read_only_site, home):
    home.chmod(0o555)
    assert _run(SMALLEST, read_only_site, home, _obey_permissions) == ["True"]
    assert list(home.iterdir()) == []


@pytest.mark.slow
def test_the_kernels_compile_if_the_disk_is_full(site, home):
    def fill() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    assert _run(SMALLEST, site, home, fill) == ["True"]
    assert [path for path in home.rglob("*") if path.is_file()] == []


@pytest.mark.slow
def test_the_kernels_of_other_packages_stay_where_numba_puts_them(site, home):
    (site / "other.py").write_text(
        "import numba\n@numba.njit(cache=True)\ndef double(x):\n    return 2 * x\n", encoding="utf-8"
    )
    script = SMALLEST + "from other import double\nprint(double(2), double.stats.cache_path)"
    assert _run(script, site, home) == ["True", "4", str(site / "__pycache__")]
    assert list((site / "__pycache__").glob("other.double-*.nbi"))
    assert [path.name.partition("-")[0] for path in _kernels(home)] == ["step_borders"]
    assert [path for path in home.rglob("*") if path.suffix in (".nbi", ".nbc")] == []


@pytest.mark.slow
def test_numbas_cache_folder_is_used_if_set(site, home, tmp_path):
    chosen = tmp_path / "chosen"
    assert _run(SMALLEST, site, home, NUMBA_CACHE_DIR=str(chosen)) == ["True"]
    assert _run(SMALLEST, site, home, NUMBA_CACHE_DIR=str(chosen)) == ["False"]
    assert _kernels(chosen)
    assert list(home.iterdir()) == []


@pytest.mark.slow
def test_a_relative_cache_folder_is_not_used(site, home):
    assert _run(SMALLEST, site, home, XDG_CACHE_HOME="caches") == ["True"]
    assert not _kernels(site)


@pytest.mark.slow
def test_each_version_and_state_of_the_sources_has_its_own_folder(site, home, tmp_path):
    assert _run(SMALLEST, site, home) == ["True"]
    copy = shutil.copytree(site, tmp_path / "other_environment")
    assert _run(SMALLEST, copy, home) == ["False"], "the same sources"
    rows = copy / "tvdenoise" / "model" / "kernels.py"
    rows.write_text(rows.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert _run(SMALLEST, copy, home) == ["True"]
    assert len(_folders(home)) == 2
    package = site / "tvdenoise" / "__init__.py"
    package.write_text(
        package.read_text(encoding="utf-8").replace(f'"{__version__}"', '"1000.0"'), encoding="utf-8"
    )
    assert _run(SMALLEST, site, home) == ["True"]
    assert [folder.name.split("-")[1] for folder in _folders(home)] == ["1000.0"], "older ones are removed"


@pytest.mark.slow
def test_damaged_kernels_are_compiled_and_stored_again(site, home):
    script = SMALLEST + 'print(compiled("float64"), compiled("int32"))'
    assert _run(script, site, home) == ["True"] * 3
    kernels = _kernels(home)
    whole = kernels[0].read_bytes()
    for kernel, damaged in zip(kernels, (b"", whole[: len(whole) // 2], pickle.dumps(7)), strict=True):
        kernel.write_bytes(damaged)
    assert _run(script, site, home) == ["True"] * 3
    assert _run(script, site, home) == ["False"] * 3


@pytest.mark.slow
def test_a_running_process_survives_the_removal_of_its_folder(site, home):
    removal = "import shutil, os\nshutil.rmtree(os.path.dirname(step_borders.stats.cache_path))\n"
    assert _run(SMALLEST + removal + 'print(compiled("float64"))', site, home) == ["True", "True"]
    assert len(_kernels(home)) == 1


class _Planted:
    """A pickle that leaves a trace when it is loaded."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


@pytest.mark.slow
def test_no_kernel_is_loaded_from_a_folder_that_others_can_write_to(site, home, tmp_path):
    _run(SMALLEST, site, home)
    (folder,) = _folders(home)
    (kernel,) = _kernels(folder)
    trace = tmp_path / "loaded"
    kernel.write_bytes(pickle.dumps(_Planted(trace)))
    folder.chmod(0o777)
    assert _run(SMALLEST, site, home) == ["True"]
    assert not trace.exists()
    folder.chmod(0o700)
    elsewhere = folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(elsewhere)
    assert _run(SMALLEST, site, home) == ["True"]
    assert not trace.exists()
    folder.unlink()
    elsewhere.rename(folder)
    _run(SMALLEST, site, home)
    assert trace.exists(), "from the user's own folder it is loaded"


def _link(path: Path) -> None:
    path.symlink_to(path.rename(path.with_name("elsewhere")))


HOSTILE = {
    "a link": _link,
    "open to the group": lambda path: path.chmod(0o770),
    "open to all": lambda path: path.chmod(0o707),
}


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("level", [0, 1], ids=["of the version", "of all versions"])
def test_a_folder_that_others_could_write_to_is_neither_read_nor_written(place, hostile, level):
    folder = KernelFolder(place, is_chosen=False)
    folder.write("a.kernel", b"kernel")
    assert folder.read("a.kernel") == b"kernel"
    hostile([place, place.parent][level])
    with pytest.raises(PermissionError):
        folder.read("a.kernel")
    with pytest.raises(PermissionError):
        folder.write("b.kernel", b"kernel")
    assert [path.name for path in place.iterdir()] == ["a.kernel"]


def test_nothing_is_made_behind_a_link(place, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    place.parent.parent.mkdir()
    place.parent.symlink_to(elsewhere)
    with pytest.raises(PermissionError):
        KernelFolder(place, is_chosen=False).write("a.kernel", b"kernel")
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("mode", [0o777, 0o1777], ids=["open to all", "as for temporary files"])
def test_a_shared_cache_folder_is_not_used(place, mode):
    place.parent.parent.mkdir()
    place.parent.parent.chmod(mode)
    folder = KernelFolder(place, is_chosen=False)
    with pytest.raises(PermissionError):
        folder.write("a.kernel", b"kernel")
    assert not place.parent.exists()
    place.mkdir(parents=True, mode=0o700)
    place.parent.chmod(0o700)
    (place / "a.kernel").write_bytes(b"kernel")
    with pytest.raises(PermissionError):
        folder.read("a.kernel")


def test_the_cache_folder_may_be_a_link_or_writable_by_the_users_group(place, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    disk.chmod(0o775)
    place.parent.parent.symlink_to(disk)
    folder = KernelFolder(place, is_chosen=False)
    folder.write("a.kernel", b"kernel")
    assert folder.read("a.kernel") == b"kernel"
    assert (disk / "tvdenoise" / NAME / "a.kernel").exists()


def test_another_users_folder_is_neither_read_nor_written(place, monkeypatch):
    folder = KernelFolder(place, is_chosen=False)
    folder.write("a.kernel", b"kernel")
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    with pytest.raises(PermissionError):
        folder.read("a.kernel")
    with pytest.raises(PermissionError):
        folder.write("b.kernel", b"kernel")
    assert [path.name for path in place.iterdir()] == ["a.kernel"]


def test_nothing_is_made_in_another_users_home(place, home, monkeypatch):
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    with pytest.raises(PermissionError):
        KernelFolder(place, is_chosen=False).write("a.kernel", b"kernel")
    assert list(home.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only the super-user can give files away")
@pytest.mark.parametrize("level", ["file", "of the version", "of all versions", "for all caches"])
def test_a_file_or_folder_of_another_user_is_not_read(place, level):
    folder = KernelFolder(place, is_chosen=False)
    folder.write("a.kernel", b"kernel")
    above = {"of the version": place, "of all versions": place.parent, "for all caches": place.parent.parent}
    os.chown(above.get(level, place / "a.kernel"), 12345, -1)
    with pytest.raises(PermissionError):
        folder.read("a.kernel")


def test_a_file_that_others_could_write_to_is_not_read(place):
    folder = KernelFolder(place, is_chosen=False)
    folder.write("a.kernel", b"kernel")
    (place / "a.kernel").chmod(0o620)
    with pytest.raises(PermissionError):
        folder.read("a.kernel")


def test_older_versions_are_removed_and_nothing_else(place, tmp_path):
    above = place.parent
    above.mkdir(parents=True)
    above.chmod(0o700)

    def make(name: str, *files: str) -> Path:
        folder = above / name
        folder.mkdir(mode=0o700)
        for file in ("row-01.kernel", "row-01.kernel.02.tmp", *files):
            (folder / file).touch()
        return folder

    older = [make(f"kernels-{version}-{'0' * 16}") for version in ("0.0.9", "0.0.10", "0.0")]
    kept = [make(f"kernels-1000.0-{'0' * 16}"), make("kernels-0.0.9"), make("other")]
    with_more = make(f"kernels-0.0.8-{'0' * 16}", "notes.txt")
    shared = make(f"kernels-0.0.7-{'0' * 16}")
    shared.chmod(0o777)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "row-01.kernel").touch()
    link = above / f"kernels-0.0.6-{'0' * 16}"
    link.symlink_to(elsewhere)

    KernelFolder(place, is_chosen=False).write("a.kernel", b"kernel")
    assert [folder for folder in older if folder.exists()] == []
    for folder in (*kept, shared):
        assert len(list(folder.iterdir())) == 2
    assert [path.name for path in with_more.iterdir()] == ["notes.txt"]
    assert link.is_symlink()
    assert (elsewhere / "row-01.kernel").exists()
    assert [path.name for path in place.iterdir()] == ["a.kernel"]


def test_the_most_recent_folders_of_a_version_are_kept(place):
    above = place.parent
    now = time.time()
    for age in range(1, 20):
        folder = above / f"kernels-{__version__}-{age:016x}"
        KernelFolder(folder, is_chosen=False).write("a.kernel", b"kernel")
        os.utime(folder, (now - 60 * age, now - 60 * age))
    KernelFolder(place, is_chosen=False).write("a.kernel", b"kernel")
    assert {folder.name for folder in above.iterdir()} == {
        NAME,
        *(f"kernels-{__version__}-{age:016x}" for age in range(1, 8)),
    }


@pytest.mark.slow
def test_leftovers_of_the_first_version_beside_the_modules_are_removed(site, home):
    beside = site / "tvdenoise" / "model" / "__pycache__"
    beside.mkdir()
    for name in ("rows.advance_row-36.py311.nbi", "rows.advance_row-36.py311.1.nbc", "own.f-1.py311.nbi"):
        (beside / name).touch()
    _run(SMALLEST, site, home)
    assert [path.name for path in beside.iterdir()] == ["own.f-1.py311.nbi"]


@pytest.mark.slow
def test_of_processes_that_need_a_kernel_at_the_same_time_one_compiles_it(site, home):
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    environment |= {"PYTHONPATH": str(site), "HOME": str(home), "XDG_CACHE_HOME": ""}
    with contextlib.ExitStack() as stack:
        started = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", SMALLEST],
                    env=environment,
                    cwd=site,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for _ in range(3)
        ]
        told = sorted(process.communicate(timeout=60)[0].strip() for process in started)
    assert [process.returncode for process in started] == [0, 0, 0]
    assert told == ["False", "False", "True"]
    assert len(_kernels(home)) == 1
    assert not list(home.rglob("*.lock"))
    assert _run(SMALLEST, site, home) == ["False"]


@pytest.mark.slow
def test_a_process_waits_for_another_that_compiles_and_takes_the_lock_of_a_dead_one(site, home):
    _run(SMALLEST, site, home)
    (kernel,) = _kernels(home)
    content = kernel.read_bytes()
    kernel.unlink()
    holder = subprocess.Popen(
        [sys.executable, "-c", f"import fcntl, sys; f = open({str(kernel) + '.lock'!r}, 'ab'); "
         "fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert holder.stdout.readline() == "held\n"
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    environment |= {"PYTHONPATH": str(site), "HOME": str(home), "XDG_CACHE_HOME": ""}
    waiting = subprocess.Popen(
        [sys.executable, "-c", SMALLEST], env=environment, cwd=site, stdout=subprocess.PIPE, text=True
    )
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.wait(4)
    kernel.write_bytes(content)
    kernel.chmod(0o600)
    holder.kill()  # which ends its lock
    assert waiting.communicate(timeout=60)[0] == "False\n"
    holder.communicate()


#: Denoises images of several forms, on one thread and on two; prints how many kernels had to be compiled.
SOLVES = """
import numpy as np
from tvdenoise import denoise
from tvdenoise.model import preparation
missed = []
with preparation.announcing(lambda: missed.append(1)):
    rng = np.random.default_rng(0)
    denoise(rng.random((600, 500), np.float32), threads=2)
    denoise(rng.random((40, 40, 3), np.float32), channel_axis=-1)
    denoise(rng.random((40, 40)), 10.0, tv="anisotropic")
print(len(missed))
"""


@pytest.mark.slow
def test_a_second_process_compiles_nothing_and_leaves_the_cache_as_it_is(site, home):
    (compiled,) = _run(SOLVES, site, home)
    kernels = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in _kernels(home)}
    assert int(compiled) == len(kernels) > 3
    assert _run(SOLVES, site, home) == ["0"]
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in _kernels(home)} == kernels


@pytest.mark.slow
def test_only_what_is_used_is_compiled(site, home):
    _run("import numpy, tvdenoise; tvdenoise.denoise(numpy.zeros((9, 9), 'f4'), 10.0)", site, home)
    names = [path.name.rpartition("-")[0] for path in _kernels(home)]
    form = KernelForm().name
    assert sorted(names) == [f"descend_{form}", "step_borders", f"sweep_{form}"]


def test_read_only_arrays_need_no_kernels_of_their_own():
    noisy = np.random.default_rng(0).random((20, 30)).astype(np.float32)
    used = [
        kind(form)
        for kind in (sweep_for, descend_for)
        for form in (KernelForm(), KernelForm(fidelity=WEIGHTED))
    ]

    def denoise_both():
        denoise(noisy, 10.0)
        denoise(noisy, 10.0, weights=np.full(noisy.shape, 2.0))

    denoise_both()
    known = [len(kernel.signatures) for kernel in used]
    assert sum(known) > 0
    noisy.flags.writeable = False
    denoise_both()
    assert [len(kernel.signatures) for kernel in used] == known
