"""Loading and compiling kernels: the time that it takes in this process, and listeners to compilations."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass
class _State:
    """listeners: the last is told of compilations; seconds: spent so far; depth: of kernels that need others.

    since: when the outermost one was begun.
    """

    listeners: list[Callable[[], None]] = field(default_factory=list)
    seconds: float = 0.0
    depth: int = 0
    since: float = 0.0


_state = _State()


def begin() -> None:
    """Start the time of a kernel that is about to be loaded or compiled."""
    if _state.depth == 0:
        _state.since = time.perf_counter()
    _state.depth += 1


def end() -> None:
    """Stop the time of a kernel that has been loaded or compiled."""
    _state.depth -= 1
    if _state.depth == 0:
        _state.seconds += time.perf_counter() - _state.since


def announce() -> None:
    """Tell the last listener that a kernel has to be compiled."""
    for listener in _state.listeners[-1:]:
        listener()


@contextmanager
def announcing(listener: Callable[[], None]) -> Iterator[None]:
    """Within the context, call ``listener`` before each compilation of a kernel, in any thread of this process."""
    _state.listeners.append(listener)
    try:
        yield
    finally:
        _state.listeners.remove(listener)


def clock() -> float:
    """Return a time in seconds that stands still while kernels are loaded or compiled."""
    now = time.perf_counter()
    running = now - _state.since if _state.depth else 0.0
    return now - _state.seconds - running
