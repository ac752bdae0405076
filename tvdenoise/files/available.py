"""The memory that this process may still take: the machine's, its container's, and its own limit."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_PROCESS = Path("/proc/self")
_MACHINE = Path("/proc/meminfo")
_GROUPS = Path("/sys/fs/cgroup")
#: The files of a control group: its limit, what it uses, and the entry of its statistics for what can be dropped.
_SECOND_VERSION = ("memory.max", "memory.current", "inactive_file")
_FIRST_VERSION = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_KIBIBYTE = 1024


def available_memory() -> int | None:
    """In bytes; None where the system does not tell."""
    known = [bound for bound in (_of_machine(), _of_groups(), _of_limit()) if bound is not None]
    return min(known) if known else None


def resident_memory() -> int | None:
    """What this process holds, in bytes; None where the system does not tell."""
    resident = _entries(_PROCESS / "status").get("VmRSS")
    return None if resident is None else resident * _KIBIBYTE


def give_back_freed_memory() -> None:
    """Let the system have what this process has freed and its allocator keeps, where that can be done (glibc)."""
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def _of_machine() -> int | None:
    available = _entries(_MACHINE).get("MemAvailable")
    if available is not None:
        return available * _KIBIBYTE
    with suppress(AttributeError, ValueError, OSError):  # macOS and others: all that it has
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _of_groups() -> int | None:
    """The least of what the control groups of this process have left, those that hold them included."""
    left = []
    for folder, (limit_name, usage_name, droppable) in _groups():
        limit, usage = _number(folder / limit_name), _number(folder / usage_name)
        if limit is not None and usage is not None:
            left.append(limit - usage + _entries(folder / "memory.stat").get(droppable, 0))
    return min(left) if left else None


def _groups() -> Iterator[tuple[Path, tuple[str, str, str]]]:
    """Folder and file names of each group. In a container the paths may begin elsewhere: its root counts too."""
    for line in _text(_PROCESS / "cgroup").splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers and "memory" not in controllers.split(","):
            continue
        root, names = (_GROUPS / "memory", _FIRST_VERSION) if controllers else (_GROUPS, _SECOND_VERSION)
        below = Path(path.lstrip("/"))
        for group in (below, *below.parents):
            yield root / group, names


def _of_limit() -> int | None:
    """What the limit of the address space leaves (`ulimit -v`)."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return None
    return limit - _entries(_PROCESS / "status").get("VmSize", 0) * _KIBIBYTE


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdecimal() else None  # "max" where there is no limit


def _entries(path: Path) -> dict[str, int]:
    """The lines "NAME: NUMBER UNIT" or "NAME NUMBER" of a file."""
    words = (line.replace(":", " ").split() for line in _text(path).splitlines())
    return {line[0]: int(line[1]) for line in words if len(line) > 1 and line[1].isdecimal()}
