"""A target is the whole old file or the whole new one."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import BinaryIO

import pytest
from PIL import Image

from support.processes import environment, left_by, temporaries
from tvdenoise.errors import UnwritableImageError
from tvdenoise.files import atomic
from tvdenoise.files.atomic import FileSet, require_writable, sweep, temporary_beside, write_atomically


def accept(_written: Path) -> None:
    pass


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def umask():
    previous = os.umask(0o027)
    yield
    os.umask(previous)


@pytest.mark.usefixtures("umask")
def test_a_new_file_obeys_the_umask(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a", b"new", accept)
    assert mode_of(tmp_path / "a") == 0o640


@pytest.mark.usefixtures("umask")
def test_an_overwritten_file_keeps_its_permissions(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "a").chmod(0o604)
    write_atomically(tmp_path / "a", b"new", accept)
    assert mode_of(tmp_path / "a") == 0o604
    assert (tmp_path / "a").read_bytes() == b"new"


@pytest.mark.skipif(not hasattr(os, "setxattr"), reason="the system has no extended attributes")
def test_an_overwritten_file_keeps_its_extended_attributes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    try:
        os.setxattr(tmp_path / "a", "user.comment", b"mine")
    except OSError:
        pytest.skip("the file system has no extended attributes")
    write_atomically(tmp_path / "a", b"new", accept)
    assert os.getxattr(tmp_path / "a", "user.comment") == b"mine"


@pytest.mark.skipif(
    not hasattr(os, "getuid") or os.getuid() != 0, reason="only root may give files to others"
)
def test_an_overwritten_file_keeps_its_owner(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    os.chown(tmp_path / "a", 1234, 4321)
    (tmp_path / "a").chmod(0o2640)
    write_atomically(tmp_path / "a", b"new", accept)
    status = (tmp_path / "a").stat()
    assert (status.st_uid, status.st_gid, mode_of(tmp_path / "a")) == (1234, 4321, 0o2640)


def test_what_only_its_owner_may_read_is_never_open_to_others_while_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "a").chmod(0o600)
    modes = []

    def write(stream: BinaryIO) -> None:
        modes.append(stat.S_IMODE(os.fstat(stream.fileno()).st_mode))
        stream.write(b"new")

    write_atomically(tmp_path / "a", write, accept)
    assert modes == [0o600]


def test_a_link_stays_a_link_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real/a")
    write_atomically(tmp_path / "link", b"new", accept)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "a").read_bytes() == b"new"


def test_missing_folders_are_made(tmp_path: Path) -> None:
    write_atomically(tmp_path / "x" / "y" / "a", b"new", accept)
    assert (tmp_path / "x" / "y" / "a").read_bytes() == b"new"


@pytest.mark.parametrize("call", ["open", "fsync"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_an_error_of_the_system_leaves_the_old_file_and_no_temporary(
    call: str, number: int, tmp_path: Path, monkeypatch
) -> None:
    (tmp_path / "a").write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(atomic.os, call, fail)
    with pytest.raises(UnwritableImageError, match=os.strerror(number).lower()):
        write_atomically(tmp_path / "a", b"new", accept)
    monkeypatch.undo()
    assert (tmp_path / "a").read_bytes() == b"old"
    assert not temporaries(tmp_path)


@pytest.mark.parametrize("error", [UnwritableImageError("unlike"), KeyboardInterrupt()])
def test_nothing_is_replaced_when_the_check_fails_or_the_run_is_interrupted(
    error: BaseException, tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(b"old")

    def reject(written: Path) -> None:
        assert written.read_bytes() == b"new"
        raise error

    with pytest.raises(type(error)):
        write_atomically(tmp_path / "a", b"new", reject)
    assert (tmp_path / "a").read_bytes() == b"old"
    assert not temporaries(tmp_path)


def test_an_encoder_that_writes_something_else_is_noticed(
    make_image, command, tmp_path: Path, monkeypatch
) -> None:
    make_image("a.png")
    old = make_image("a_denoised.png").read_bytes()
    save = Image.Image.save

    def save_smaller(image: Image.Image, *arguments: object, **options: object) -> None:
        save(image.resize((3, 3)), *arguments, **options)

    monkeypatch.setattr(Image.Image, "save", save_smaller)
    result = command("run", "a.png", "--overwrite")
    assert result.exit_code == 1
    assert "3 × 3" in result.stderr
    assert (tmp_path / "a_denoised.png").read_bytes() == old


def test_an_encoder_that_fails_leaves_the_old_file(make_image, command, tmp_path: Path, monkeypatch) -> None:
    make_image("a.png")
    old = make_image("a_denoised.png").read_bytes()

    def fail(*_: object, **__: object) -> None:
        raise OSError("encoder error -2")

    monkeypatch.setattr(Image.Image, "save", fail)
    result = command("run", "a.png", "--overwrite")
    assert result.exit_code == 1
    assert "encoder error -2" in result.stderr
    assert (tmp_path / "a_denoised.png").read_bytes() == old
    assert not temporaries(tmp_path)


def test_only_the_temporaries_of_dead_processes_are_swept(tmp_path: Path) -> None:
    finished = subprocess.Popen([sys.executable, "-c", ""])
    finished.wait()
    mine = temporary_beside(tmp_path / "a")
    dead = left_by(tmp_path / "a", finished.pid)
    elsewhere = dead.with_name(dead.name.replace(atomic._HOST, "00000000"))
    others = tmp_path / ".tvdenoise-notes.tmp"
    for path in (mine, elsewhere, others):
        path.touch()
    sweep(tmp_path)
    assert not dead.exists()
    assert mine.exists()
    assert elsewhere.exists()
    assert others.exists()


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="there is no /proc to see it in")
def test_a_process_that_nobody_waits_for_is_dead(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    left = left_by(tmp_path / "a", ended.pid)
    sweep(tmp_path)
    os.kill(ended.pid, 0)  # it has a number still
    assert not left.exists()
    ended.wait()


def of_dead_process(path: Path) -> Path:
    finished = subprocess.Popen([sys.executable, "-c", ""])
    finished.wait()
    return path.rename(path.with_name(path.name.replace(f"-{os.getpid()}-", f"-{finished.pid}-")))


@pytest.mark.parametrize("ends", ["in place", "aborted", "refused", "interrupted"])
@pytest.mark.parametrize("has_links", [True, False])
def test_a_set_of_files_appears_as_a_whole(ends: str, has_links: bool, tmp_path: Path, monkeypatch) -> None:
    """Refused: the system does not allow the last to be moved; interrupted: by the user, when all are complete."""

    def have_no_links(*_: object) -> None:
        raise PermissionError(errno.EPERM, "no")

    if not has_links:
        monkeypatch.setattr(os, "link", have_no_links)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "b").write_bytes(b"old b")
    (tmp_path / "b").symlink_to("elsewhere/b")
    (tmp_path / "c").write_bytes(b"old c")
    (tmp_path / "c").chmod(0o604)
    replace, rename = Path.replace, Path.rename

    def refuse(path: Path, target: Path) -> Path:
        if path.parent.name == "new" and target.name == "d":
            raise PermissionError(errno.EPERM, "no")
        return replace(path, target)

    def interrupt(path: Path, target: Path) -> Path:
        rename(path, target)
        raise KeyboardInterrupt

    def write() -> None:
        with FileSet() as files:
            for name in "abcd":
                files.add(tmp_path / name, f"new {name}".encode(), accept, times=(10**9, 2 * 10**9))
            assert not (tmp_path / "a").exists()
            if ends == "aborted":
                raise InterruptedError
            files.put_in_place()

    if ends == "in place":
        write()
    elif ends == "aborted":
        with pytest.raises(InterruptedError):
            write()
    elif ends == "interrupted":
        monkeypatch.setattr(Path, "rename", interrupt)
        with pytest.raises(KeyboardInterrupt):
            write()
    else:
        monkeypatch.setattr(Path, "replace", refuse)
        with pytest.raises(UnwritableImageError, match=r"cannot write .*/d: "):
            write()
    found = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    if ends == "in place":
        assert found == {name: f"new {name}".encode() for name in "abcd"}
        assert (tmp_path / "a").stat().st_mtime == 2
        assert (tmp_path / "elsewhere" / "b").read_bytes() == b"new b"
    else:
        assert found == {"b": b"old b", "c": b"old c"}
    assert (tmp_path / "b").is_symlink()
    assert mode_of(tmp_path / "c") == 0o604
    assert not list(tmp_path.rglob(".*"))
    assert not atomic._unfinished


@pytest.mark.parametrize("is_complete", [True, False])
def test_a_set_of_a_dead_process_is_completed_or_removed(
    is_complete: bool, tmp_path: Path, monkeypatch
) -> None:
    (tmp_path / "b").write_bytes(b"old b")
    with FileSet() as files:
        for name in "abc":
            files.add(tmp_path / name, f"new {name}".encode(), accept)
        if is_complete:
            monkeypatch.setattr(Path, "replace", lambda *_: None)  # as if killed before the first
            files.put_in_place()
            monkeypatch.undo()
        (hidden,) = tmp_path.glob(".*")
        sweep(tmp_path)
        assert hidden.exists(), "the process is alive"
        dead = of_dead_process(hidden)
    if is_complete:
        (dead / "new" / "a").replace(tmp_path / "a")
    sweep(tmp_path)
    names = "abc" if is_complete else ""
    expected = {"b": b"old b"} | {name: f"new {name}".encode() for name in names}
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == expected


def test_a_set_that_can_be_neither_moved_nor_put_back_is_left_to_the_next_run(
    tmp_path: Path, monkeypatch
) -> None:
    (tmp_path / "a").write_bytes(b"old a")
    replace = Path.replace

    def fail(path: Path, target: Path) -> Path:
        if path.name == "b" or target.parent.name == "new":
            raise OSError(errno.EIO, "no")
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", fail)
    with FileSet() as files:
        for name in "ab":
            files.add(tmp_path / name, f"new {name}".encode(), accept)
        with pytest.raises(UnwritableImageError):
            files.put_in_place()
    monkeypatch.undo()
    (hidden,) = tmp_path.glob(".*")
    assert (hidden / "old" / "a").read_bytes() == b"old a"
    of_dead_process(hidden)
    sweep(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"new a", "b": b"new b"}


def test_a_set_is_removed_before_the_process_exits_without_unwinding(tmp_path: Path) -> None:
    with FileSet() as files:
        files.add(tmp_path / "a", b"new", accept)
        atomic.remove_unfinished()
        assert not list(tmp_path.iterdir())


def test_the_probe_of_a_folder_leaves_nothing_and_makes_nothing(tmp_path: Path) -> None:
    require_writable(tmp_path / "x" / "y")
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_place_of_a_folder_cannot_be_written_into(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    with pytest.raises(UnwritableImageError, match="x: not a directory"):
        require_writable(tmp_path / "x" / "y")


def test_the_new_name_is_put_on_the_disk_too(tmp_path: Path, monkeypatch) -> None:
    synced = []
    original = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda number: (synced.append(os.fstat(number).st_ino), original(number))
    )
    write_atomically(tmp_path / "a.png", b"contents", lambda _: None)
    assert synced[-1] == tmp_path.stat().st_ino
    assert len(synced) == 2


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions are others there")
def test_a_file_is_replaced_in_a_folder_that_cannot_be_listed() -> None:
    """By a user who is bound by permissions, which the superuser is not."""
    code = (
        "import os, sys; from pathlib import Path; from tvdenoise.files.atomic import *; path = Path(sys.argv[1])\n"
        "os.geteuid() or os.setuid(65534)\n"
        "require_writable(path.parent); sweep(path.parent); write_atomically(path, b'new', lambda _: None)"
    )
    with tempfile.TemporaryDirectory() as name:  # where other users may go, too
        folder = Path(name)
        (folder / "a.png").write_bytes(b"old")
        folder.chmod(0o333)
        try:
            arguments = [sys.executable, "-c", code, str(folder / "a.png")]
            subprocess.run(arguments, env=environment(), check=True, timeout=60)
        finally:
            folder.chmod(0o777)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"a.png": b"new"}
