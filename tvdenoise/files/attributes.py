"""What the system knows of a file beside its contents, for one that takes the place of another."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Attributes:
    """permissions: as `chmod` takes them; owner, group: by their numbers; extended: by name, with access lists."""

    permissions: int
    owner: int
    group: int
    extended: Mapping[str, bytes] = field(default_factory=dict)

    @classmethod
    def of(cls, path: Path) -> Attributes | None:
        """Those of a file, or None where there is none."""
        try:
            status = path.stat()
        except FileNotFoundError:
            return None
        return cls(stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, _extended(path))

    def give(self, path: Path) -> None:
        """Give them to another file, as far as its system has such and the user may."""
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
