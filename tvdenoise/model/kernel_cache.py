"""Cache of compiled kernels in a private folder of the user, from which later processes load them.

Compiling takes seconds, loading a fraction of one. Numba's own cache beside the modules has three faults:

- pip leaves its files behind in site-packages, and the remaining folder shadows the package as a namespace package;
- it detects changes in the kernel's own module, but not in functions of other modules that the kernel calls;
- environments that share the folder, or processes that compile at the same time, may overwrite each other's files.

Kernels are stored as pickles, so whoever can write one can run code as the user who loads it. Folder and files must
belong to the user, nobody else may be able to write to them, and a shared temporary folder is never used. If no such
place exists, every process compiles for itself. ``NUMBA_CACHE_DIR`` is respected and not checked. Kernels of other
packages stay where Numba puts them.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.machinery
import os
import pickle
import re
import secrets
import stat
import sys
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import llvmlite
import numba
import numpy as np
import platformdirs
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

from tvdenoise import __version__
from tvdenoise.model import preparation

try:
    import fcntl
except ImportError:  # Windows: each process compiles for itself
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Callable

_MODEL = Path(__file__).parent
#: The packages whose sources kernels are compiled from.
_SOURCES = (_MODEL, _MODEL.parent / "solver")
_PREFIX = "kernels-"
_NAME = re.compile(rf"{_PREFIX}(?P<version>[^-]+)-[0-9a-f]{{16}}")
_SUFFIX, _LOCK = ".kernel", ".lock"
#: A process waits at most so many seconds for another one that compiles a kernel, then compiles it too.
_LONGEST_WAIT, _BETWEEN_LOOKS = 60, 0.05
#: How many folders of one version to keep, for different checkouts, interpreters and releases of Numba.
_KEPT = 8
#: Files that version 0.1.0 left beside the modules.
_LEFTOVER = re.compile(r"(kernels|part_kernels|rows|volume_kernels)\..+\.(nbi|nbc)")


class KernelCache:
    """The compiled forms of one function, a file for each signature and processor.

    Has the methods that a Numba dispatcher calls. Never fails: an unreadable kernel counts as missing, and a
    kernel that cannot be written is not kept.

    function: a function of this package, whose sources are part of the folder's name.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._name = f"{function.__module__}.{function.__qualname__}"
        self._lock: _Lock | None = None

    @property
    def cache_path(self) -> str | None:
        folder = kernel_folder()
        return None if folder is None else str(folder.path)

    def load_overload(self, signature: Any, target: Any) -> CompileResult | None:
        """Return the kernel for these types and the processor of ``target``; None if it has to be compiled."""
        preparation.begin()
        loaded = self._loaded(signature, target)
        if loaded is None:
            self._hold(signature, target)
            loaded = self._loaded(signature, target)  # another process may have compiled it meanwhile
        if loaded is None:
            preparation.announce()
        else:
            self._unlock()
            preparation.end()
        return loaded

    def _loaded(self, signature: Any, target: Any) -> CompileResult | None:
        folder = kernel_folder()
        if folder is None:
            return None
        target.refresh()
        key = self._key(signature, target.codegen())
        try:
            stored, parts = pickle.loads(folder.read(self._file(key)))
            return CompileResult._rebuild(target, *parts) if stored == key else None
        except Exception:  # noqa: BLE001 a damaged pickle raises anything
            return None

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Store a kernel that has just been compiled, replacing an unreadable one."""
        preparation.end()
        try:
            self._save(signature, compiled)
        finally:
            self._unlock()

    def _save(self, signature: Any, compiled: Any) -> None:
        folder = kernel_folder()
        if folder is None or compiled.library.has_dynamic_globals:  # addresses valid in this process only
            return
        key = self._key(signature, compiled.codegen)
        content: bytes = dumps((key, compiled._reduce()))
        with contextlib.suppress(OSError):
            folder.write(self._file(key), content)

    def _hold(self, signature: Any, target: Any) -> None:
        """Lock the kernel until it is saved, after any process that is compiling it."""
        folder = kernel_folder()
        if folder is not None:
            name = self._file(self._key(signature, target.codegen())) + _LOCK
            with contextlib.suppress(OSError):
                self._lock = folder.locked(name)

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _key(self, signature: Any, codegen: Any) -> tuple[str, ...]:
        return (self._name, *map(repr, signature), *codegen.magic_tuple())

    def _file(self, key: tuple[str, ...]) -> str:
        digest = hashlib.sha256("\0".join(key).encode()).hexdigest()[:32]
        return f"{self._name.rpartition('.')[2]}-{digest}{_SUFFIX}"


@dataclass(frozen=True)
class KernelFolder:
    """The folder for the kernels of one state of the sources and of the compilers.

    is_chosen: NUMBA_CACHE_DIR names the folder; then owner and mode are not checked, and nothing is removed.
    """

    path: Path
    is_chosen: bool

    def read(self, name: str) -> bytes:
        """Return the content of a file. Raises OSError if it does not exist, PermissionError if it is not private."""
        self._check()
        with open(self.path / name, "rb") as file:
            if not self.is_chosen and not _is_private(os.fstat(file.fileno())):
                raise PermissionError(f"{file.name} is not the user's alone")
            return file.read()

    def write(self, name: str, content: bytes) -> None:
        """Write a file atomically. Raises OSError if that fails or the folder is not private."""
        self._make()
        mode = 0o666 if self.is_chosen else 0o600
        temporary = self.path / f"{name}.{secrets.token_hex(8)}.tmp"
        try:
            with open(temporary, "xb", opener=lambda path, flags: os.open(path, flags, mode)) as file:
                file.write(content)
            os.replace(temporary, self.path / name)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise

    def locked(self, name: str) -> _Lock:
        """Lock a name among processes. Raises OSError if that fails or the folder is not private."""
        self._make()
        return _Lock(self.path / name)

    def _make(self) -> None:
        """Make the folder and its missing parents with mode 0700; if it is new, remove older ones."""
        if self.is_chosen:
            self.path.mkdir(parents=True, exist_ok=True)
            return
        above = self.path.parent.parent
        missing = []
        while not os.path.lexists(above):
            missing.append(above)
            above = above.parent
        _check_above(above)
        is_new = [_make_private(folder) for folder in (*reversed(missing), self.path.parent, self.path)]
        if is_new[-1]:
            self._remove_older()

    def _check(self) -> None:
        """Raise PermissionError unless the folder and its parent are private."""
        if not self.is_chosen:
            _check_above(self.path.parent.parent)
            _check_private(self.path.parent)
            _check_private(self.path)

    def _remove_older(self) -> None:
        """Remove the folders of older versions, the least recent ones of this version, and leftovers of 0.1.0.

        A process that still runs an older version compiles again, and may recreate its folder.
        """
        present = {}
        for folder in self.path.parent.iterdir():
            with contextlib.suppress(OSError):
                found = folder.lstat()
                if folder != self.path and stat.S_ISDIR(found.st_mode) and _is_private(found):
                    present[folder] = found.st_mtime
        versions = {folder: match["version"] for folder in present if (match := _NAME.fullmatch(folder.name))}
        same = [folder for folder, version in versions.items() if version == __version__]
        superseded = sorted(same, key=present.__getitem__, reverse=True)[_KEPT - 1 :]
        older = [folder for folder, version in versions.items() if _release(version) < _release(__version__)]
        for folder in older + superseded:
            _remove(folder)
        for path in (_MODEL / "__pycache__").glob("*.nb?"):
            if _LEFTOVER.fullmatch(path.name):
                with contextlib.suppress(OSError):
                    path.unlink()


class _Lock:
    """A file that one process at a time holds, until it releases it or ends; others wait, but not forever."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = open(path, "ab", opener=lambda name, flags: os.open(name, flags, 0o600))  # noqa: SIM115
        deadline = time.monotonic() + _LONGEST_WAIT
        while fcntl is not None and time.monotonic() < deadline:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                time.sleep(_BETWEEN_LOOKS)

    def release(self) -> None:
        with contextlib.suppress(OSError):
            os.unlink(self._path)
        self._file.close()


@cache
def kernel_folder() -> KernelFolder | None:
    """Return the kernel folder of this process, which need not exist; None if there can be none."""
    key = _key_of_sources()
    if key is None:
        return None
    name = f"{_PREFIX}{__version__}-{key}"
    config: Any = numba.config
    if chosen := config.CACHE_DIR:
        return KernelFolder(Path(chosen, f"tvdenoise-{name}").absolute(), is_chosen=True)
    above = platformdirs.user_cache_path("tvdenoise", appauthor=False)
    return KernelFolder(above / name, is_chosen=False) if above.is_absolute() else None


def _key_of_sources() -> str | None:
    """Return a digest of everything but signature and processor that the code depends on; None without sources."""
    sources = sorted(path for folder in _SOURCES for path in folder.rglob("*.py"))
    config: Any = numba.config
    compilers = (
        importlib.machinery.EXTENSION_SUFFIXES[0], numba.__version__, llvmlite.__version__, np.__version__,
        config.OPT, config.LOOP_VECTORIZE, config.SLP_VECTORIZE, config.BOUNDSCHECK, config.DEBUGINFO_DEFAULT,
        config.USING_SVML,
    )  # fmt: skip
    digest = hashlib.sha256(repr(compilers).encode())
    try:
        for path in sources:
            content = path.read_bytes()
            digest.update(f"{path.relative_to(_MODEL.parent).as_posix()} {len(content)}\n".encode() + content)
    except OSError:
        return None
    return digest.hexdigest()[:16] if sources else None


def _is_private(found: os.stat_result) -> bool:
    """Return True if a folder or file (not a link) belongs to this user and nobody else may write to it."""
    if sys.platform == "win32":  # the cache folder lies in the user's profile
        return True
    is_real = stat.S_ISDIR(found.st_mode) or stat.S_ISREG(found.st_mode)
    return is_real and found.st_uid == os.geteuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _check_private(folder: Path) -> None:
    if not _is_private(folder.lstat()):  # refuses links
        raise PermissionError(f"{folder} is not the user's alone")


def _make_private(folder: Path) -> bool:
    """Make a folder of mode 0700 unless it exists; return True if it is new. Raises OSError if it is not private."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        is_new = False
    else:
        is_new = True
    _check_private(folder)
    return is_new


def _check_above(folder: Path) -> None:
    """Raise PermissionError unless the folder for all programs' caches is the user's and not world-writable.

    It may be a link, and group-writable, which is usual where each user has a group.
    """
    if sys.platform == "win32":
        return
    found = folder.stat()
    if found.st_uid != os.geteuid() or found.st_mode & stat.S_IWOTH:
        raise PermissionError(f"{folder} belongs to someone else, or is open to all")


def _release(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)))


def _remove(folder: Path) -> None:
    """Remove a folder's kernels, and the folder if nothing else is left in it."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if re.search(rf"{_SUFFIX}({_LOCK}|\..*\.tmp)?$", path.name):
                path.unlink(missing_ok=True)
        folder.rmdir()
