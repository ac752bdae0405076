"""Paths: printable names, resolved links, and opening files without a trace."""

from __future__ import annotations

import os
import stat
import unicodedata
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def printable(path: Path | str) -> str:
    """The path on one line: line breaks, control characters and stray bytes are escaped."""
    text = str(path)
    return text if text.isprintable() else "".join(map(_shown, text))


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    if "\udc80" <= character <= "\udcff":  # a byte of a name that is not UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def open_unnoticed(path: str, flags: int) -> int:
    """An opener that does not change the time of a file's last access, where the system allows that."""
    with suppress(PermissionError):
        return os.open(path, flags | getattr(os, "O_NOATIME", 0))
    return os.open(path, flags)


def reason_of(error: OSError) -> str:
    """What the operating system says, in the middle of a sentence: "permission denied"."""
    reason = error.strerror or str(error) or type(error).__name__
    return reason[:1].lower() + reason[1:]


def key_of(path: str) -> str:
    """The same for names that are one where upper and lower case are, or letters composed in several ways."""
    return path.casefold() if path.isascii() else unicodedata.normalize("NFC", path).casefold()


class RealPaths:
    """Where names lead when links are followed, as `os.path.realpath`, but each folder is looked at only once."""

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
