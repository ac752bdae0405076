"""Atomic writing: replaces a file whole or not at all, and keeps its permissions and attributes."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import stat
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from platform import node
from typing import BinaryIO

from tvdenoise.errors import UnwritableImageError
from tvdenoise.files.paths import printable, reason_of


@dataclass(frozen=True)
class Attributes:
    """Attributes of a file: permissions as for `chmod`; owner and group ids; extended attributes by name, with ACLs."""

    permissions: int
    owner: int
    group: int
    extended: Mapping[str, bytes] = field(default_factory=dict)

    @classmethod
    def of(cls, path: Path) -> Attributes | None:
        """Read the attributes of a file; None if it does not exist."""
        try:
            status = path.stat()
        except FileNotFoundError:
            return None
        return cls(stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, _extended(path))

    def apply_to(self, path: Path) -> None:
        """Set them on another file, as far as its file system and the user's rights allow."""
        if hasattr(os, "chown"):
            with suppress(OSError):
                os.chown(path, -1, self.group)
            with suppress(OSError):
                os.chown(path, self.owner, -1)
        for name, value in self.extended.items():
            with suppress(OSError):
                os.setxattr(path, name, value)
        with suppress(PermissionError):  # some file systems have none
            path.chmod(self.permissions)


def _extended(path: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    if hasattr(os, "listxattr"):
        with suppress(OSError):
            for name in os.listxattr(path):
                found[name] = os.getxattr(path, name)
    return found


_HOST = f"{zlib.crc32(node().encode(errors='replace')):08x}"  # process numbers mean nothing on another host
_TEMPORARY = re.compile(r"\.tvdenoise-([0-9a-f]{8})-(\d+)-[0-9a-f]{8}(\.tmp|\.ready)")
_READY = ".ready"  # ends the name of a folder of complete files, on their way to their places
_NEW, _OLD = "new", "old"  # folders in it
_PRIVATE = 0o600  # until the file gets the permissions of the one it replaces
_unfinished: set[Path] = set()  # temporary files, and folders of them, that this process is writing
_REMEDIES = {
    errno.ENOSPC: "free some space and run it again with --skip-existing",
    errno.EDQUOT: "free some space and run it again with --skip-existing",
    errno.ENAMETOOLONG: "choose a shorter name with -o or --suffix",
}


def write_atomically(
    target: Path,
    contents: bytes | Callable[[BinaryIO], None],
    verify: Callable[[Path], None],
    times: tuple[int, int] | None = None,
) -> None:
    """Write a temporary file, sync it to the disk, rename it to the target, and sync the folder.

    contents: bytes, or a function that writes them to an open file; its exceptions pass through.
    verify: called with the path of the written file before the rename; may raise.
    times: access and modification times to set, in nanoseconds, or None for now.
    Follows links, and replaces the file they point to. Keeps the permissions, owner and extended attributes of an
    existing file; a new file's permissions obey the umask. On failure the target is untouched.
    Raises UnwritableImageError.
    """
    destination = Path(os.path.realpath(target))
    temporary = temporary_beside(destination)
    _unfinished.add(temporary)
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        _write_new(temporary, contents, Attributes.of(destination))
        verify(temporary)
        if times is not None:
            os.utime(temporary, ns=times)
        temporary.replace(destination)
        _sync_folder(destination.parent)
    except OSError as error:
        raise _unwritable(target, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink()
        _unfinished.discard(temporary)


def _unwritable(target: Path, error: OSError) -> UnwritableImageError:
    remedy = _REMEDIES.get(error.errno or 0, "choose another location with -o")
    return UnwritableImageError(f"cannot write {printable(target)}: {reason_of(error)}", remedy)


class FileSet:
    """Files that appear together, or not at all; a context manager.

    Files wait, whole, in hidden folders beside their targets. `put_in_place` renames these folders to say that all is
    there, and then moves the files: if the process dies in between, `sweep` moves the rest. Links are followed, and
    permissions kept, as by `write_atomically`.
    """

    def __init__(self) -> None:
        self._folders: dict[Path, Path] = {}  # hidden folders, by the folders of the targets
        self._targets: dict[Path, Path] = {}  # by their real paths
        self._moved: list[Path] = []  # real paths that may have been replaced

    def __enter__(self) -> FileSet:
        return self

    def __exit__(self, *_: object) -> None:
        """Remove what was not put in place."""
        for hidden in self._folders.values():
            for name in (hidden, hidden.with_suffix(_READY)):
                _remove(name)
            _unfinished.discard(hidden)

    def add(
        self,
        target: Path,
        contents: bytes,
        verify: Callable[[Path], None],
        times: tuple[int, int] | None = None,
    ) -> Path:
        """Write a file that will replace the target, and return its path; see `write_atomically`."""
        destination = Path(os.path.realpath(target))
        try:
            written = self._hidden(destination.parent) / _NEW / destination.name
            _write_new(written, contents, Attributes.of(destination))
            verify(written)
            if times is not None:
                os.utime(written, ns=times)
        except OSError as error:
            raise _unwritable(target, error) from error
        self._targets[destination] = target
        return written

    def _hidden(self, folder: Path) -> Path:
        """The hidden folder for the files of a folder."""
        if folder not in self._folders:
            folder.mkdir(parents=True, exist_ok=True)
            hidden = temporary_beside(folder / _NEW)
            _unfinished.add(hidden)
            self._folders[folder] = hidden
            for name in ("", _NEW, _OLD):
                (hidden / name).mkdir()
        return self._folders[folder]

    def put_in_place(self) -> None:
        """Replace all targets, or none. Raises UnwritableImageError."""
        try:
            for destination in self._targets:
                self._keep(destination)
            for folder, hidden in self._folders.items():
                _sync_folder(hidden / _NEW)
                hidden.rename(hidden.with_suffix(_READY))
                _sync_folder(folder)
            for destination in self._targets:
                self._moved.append(destination)
                self._ready(destination, _NEW).replace(destination)
        except OSError as error:
            self._put_back()
            raise _unwritable(self._targets[destination], error) from error
        except BaseException:
            self._put_back()
            raise
        for folder in self._folders:
            _sync_folder(folder)

    def _keep(self, destination: Path) -> None:
        """Keep the file that will be replaced, until all are."""
        if not destination.exists():
            return
        kept = self._folders[destination.parent] / _OLD / destination.name
        try:
            os.link(destination, kept)
        except OSError:  # some file systems have no links
            shutil.copy2(destination, kept)

    def _ready(self, destination: Path, part: str) -> Path:
        return self._folders[destination.parent].with_suffix(_READY) / part / destination.name

    def _put_back(self) -> None:
        """Undo the moves. If that fails, the complete set stays, for the next run to move."""
        try:
            for destination in self._moved:
                new, old = (self._ready(destination, part) for part in (_NEW, _OLD))
                if not new.exists():
                    destination.replace(new)
                    if old.exists():
                        old.replace(destination)
        except OSError:
            self._folders.clear()


def _remove(path: Path) -> None:
    """Remove a temporary file, or a folder of them."""
    with suppress(OSError):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def remove_unfinished() -> None:
    """Remove the temporary files of this process, before it exits without unwinding."""
    for temporary in tuple(_unfinished):
        _remove(temporary)


def temporary_beside(target: Path) -> Path:
    """Return a new hidden name in the target's folder that holds the process id."""
    return target.with_name(f".tvdenoise-{_HOST}-{os.getpid()}-{secrets.token_hex(4)}.tmp")


def sweep(folder: Path) -> None:
    """Remove the temporary files that dead processes of this host left in a folder, and move complete sets of files
    to their places (see `FileSet`)."""
    with suppress(OSError):
        for entry in list(os.scandir(folder)):
            name = _TEMPORARY.fullmatch(entry.name)
            if name is not None and name[1] == _HOST and not _is_alive(int(name[2])):
                if name[3] == _READY:
                    _finish(Path(entry.path), folder)
                _remove(Path(entry.path))


def _finish(hidden: Path, folder: Path) -> None:
    """Move the files of a complete set to their places. Raises OSError."""
    for written in list((hidden / _NEW).iterdir()):
        written.replace(folder / written.name)
    _sync_folder(folder)


def require_writable(folder: Path, *, keeps_times: bool = False) -> None:
    """Raise UnwritableImageError unless files can be created in a folder or, if missing, in its nearest ancestor.

    keeps_times: restore the folder's modification time afterwards.
    """
    existing = folder
    while not os.path.lexists(existing) and existing != existing.parent:
        existing = existing.parent
    probe = temporary_beside(existing / "probe")
    times = None
    try:
        if keeps_times:
            status = existing.stat()
            times = status.st_atime_ns, status.st_mtime_ns
        _write_new(probe, b"", None)
    except OSError as error:
        reason = f"cannot write into {printable(existing)}: {reason_of(error)}"
        raise UnwritableImageError(reason, "choose another folder with -o") from error
    finally:
        with suppress(OSError):
            probe.unlink()
        if times is not None:
            with suppress(OSError):  # someone else's folder
                os.utime(existing, ns=times)


def _write_new(
    path: Path, contents: bytes | Callable[[BinaryIO], None], attributes: Attributes | None
) -> None:
    permissions = 0o666 if attributes is None else _PRIVATE
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), permissions)
    with open(descriptor, "w+b") as stream:
        if isinstance(contents, bytes):
            stream.write(contents)
        else:
            contents(stream)
        stream.flush()
        os.fsync(stream.fileno())
    if attributes is not None:
        attributes.apply_to(path)


def _sync_folder(folder: Path) -> None:
    """Sync a folder's entries to the disk, if the system allows it (the folder may be unreadable)."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _is_alive(process: int) -> bool:
    if os.name == "nt":  # where signal 0 would end the process
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another user's process
        return True
    return not _has_ended(process)


def _has_ended(process: int) -> bool:
    """Return True for a process that has ended but is still listed, because its parent has not waited for it.

    In some containers, nobody waits for orphans.
    """
    try:
        status = Path(f"/proc/{process}/stat").read_bytes()
    except OSError:  # no Linux
        return False
    state = status.rpartition(b")")[2].lstrip()[:1]  # follows the name, which may hold anything
    return state in (b"Z", b"X")
