"""The machine, as the system limits it for this process: its control groups, the processors they leave, and threads.

On Linux a container is a control group; its limits, and those of the groups around it, hold for this process.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

_PROCESS = Path("/proc/self")
_GROUPS = Path("/sys/fs/cgroup")
_limit: ContextVar[int | None] = ContextVar("limit", default=None)  # of threads
_BAND, _SMALL = 1 << 17, 1 << 20  # values of a band, and of arrays for which threads take longer to start
Part = TypeVar("Part")
Result = TypeVar("Result")


@dataclass(frozen=True)
class ControlGroup:
    """A control group; is_second: of version 2, whose files have other names than those of version 1."""

    folder: Path
    is_second: bool

    def text(self, name: str) -> str:
        """Return the contents of one of its files; empty if there is none."""
        return text_of(self.folder / name)


def control_groups(controller: str) -> Iterator[ControlGroup]:
    """Yield the groups of this process that a controller ("cpu", "memory") may limit, up to the root.

    The root is included, since a container sees its own group there while paths may start elsewhere.
    """
    for line in text_of(_PROCESS / "cgroup").splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers and controller not in controllers.split(","):
            continue
        below = Path(path.lstrip("/"))
        for root in _roots(controller, controllers):
            for group in (below, *below.parents):
                yield ControlGroup(root / group, is_second=not controllers)


def _roots(controller: str, controllers: str) -> list[Path]:
    """Version 1 mounts controllers one by one or together ("cpu,cpuacct"), with or without a link for each."""
    if not controllers:
        return [_GROUPS]
    return [root for name in dict.fromkeys((controller, controllers)) if (root := _GROUPS / name).is_dir()]


def text_of(path: Path) -> str:
    """Return the contents of a file; empty if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def available_threads() -> int:
    """Return the number of processors that this process may use, at least 1.

    A fraction of a processor, which a control group may grant, is rounded up.
    """
    return max(1, int(min(_scheduled(), _granted())))


def _scheduled() -> int:
    """Return the number of processors on which this process is scheduled."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def _granted() -> float:
    """Return the processors that the control groups grant; infinity without a limit. Read once: every solve asks."""
    limits = (_processors(group) for group in control_groups("cpu"))
    return min((limit for limit in limits if limit is not None), default=math.inf)


def _processors(group: ControlGroup) -> int | None:
    """Return the processors that a group may use, rounded up; None without a limit ("max", or −1)."""
    if group.is_second:
        quota, period = (*group.text("cpu.max").split(), "", "")[:2]
    else:
        quota, period = (group.text(f"cpu.cfs_{name}_us").strip() for name in ("quota", "period"))
    if not (quota.isdecimal() and period.isdecimal() and int(period)):
        return None
    return -(-int(quota) // int(period))


@contextmanager
def limited_threads(most: int | None) -> Iterator[None]:
    """Context manager: inside, `usable_threads` returns this number; None changes nothing."""
    before = _limit.set(most or _limit.get())
    try:
        yield
    finally:
        _limit.reset(before)


def usable_threads() -> int:
    """Return the number of threads for work on one image: that of `limited_threads`, or `available_threads`."""
    return _limit.get() or available_threads()


def on_threads(work: Callable[[Part], Result], parts: Iterable[Part]) -> list[Result]:
    """Call ``work``, which should release the interpreter's lock, with each part; return the results in their order.

    The first exception ends it. Inside ``work`` the threads are not limited, so it must not call this function.
    """
    every = list(parts)
    threads = min(usable_threads(), len(every))
    if threads < 2:
        return [work(part) for part in every]
    with ThreadPoolExecutor(threads) as pool:
        try:
            return list(pool.map(work, every))
        finally:
            pool.shutdown(cancel_futures=True)


def on_bands(work: Callable[[slice], None], rows: int, values: int) -> None:
    """Call ``work`` with the rows of each band; if there are many values, on threads, as `on_threads` does.

    rows: the number of rows. values: the number of values in all of them; those of a band fit the cache.
    """
    height = max(1, _BAND * rows // values)
    bands = [slice(top, min(top + height, rows)) for top in range(0, rows, height)]
    with limited_threads(1 if values <= _SMALL else None):
        on_threads(work, bands)
