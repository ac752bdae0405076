"""Paths: printable names, resolved links, and opening files without changing their access time."""

from __future__ import annotations

import os
import stat
import unicodedata
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def printable(path: Path | str) -> str:
    """Return the path on one line, with line breaks, control characters and undecodable bytes escaped."""
    text = str(path)
    return text if text.isprintable() else "".join(map(_shown, text))


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    if "\udc80" <= character <= "\udcff":  # a byte that is not UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def open_unnoticed(path: str, flags: int) -> int:
    """Opener for `open` that does not change a file's access time, where the system allows that."""
    with suppress(PermissionError):
        return os.open(path, flags | getattr(os, "O_NOATIME", 0))
    return os.open(path, flags)


def reason_of(error: OSError) -> str:
    """Return the operating system's message, to be used within a sentence: "permission denied"."""
    reason = error.strerror or str(error) or type(error).__name__
    return reason[:1].lower() + reason[1:]


def key_of(path: str) -> str:
    """Return a key that is equal for paths that differ only in case or Unicode composition."""
    return path.casefold() if path.isascii() else unicodedata.normalize("NFC", path).casefold()


class RealPaths:
    """Resolves links as `os.path.realpath` does, but resolves each folder only once."""

    def __init__(self) -> None:
        self._folders: dict[str, str] = {}

    def of(self, path: Path | str) -> str:
        folder, name = os.path.split(path)
        if name in ("", os.curdir, os.pardir):
            return os.path.realpath(path)
        with suppress(OSError, ValueError):
            if stat.S_ISLNK(os.lstat(path).st_mode):
                return os.path.realpath(path)
        if (real := self._folders.get(folder)) is None:
            real = self._folders[folder] = os.path.realpath(folder)
        return os.path.join(real, name)
