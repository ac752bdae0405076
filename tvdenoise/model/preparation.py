"""Loading and compiling kernels: the time that it takes in this process, and who is told of a compilation."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass
class _State:
    """listener: told of compilations; seconds: spent so far; depth: of kernels that need others; since: when begun."""

    listener: Callable[[], None] | None = None
    seconds: float = 0.0
    depth: int = 0
    since: float = 0.0


_state = _State()


def begin() -> None:
    """A kernel is about to be loaded or compiled."""
    if _state.depth == 0:
        _state.since = time.perf_counter()
    _state.depth += 1


def end() -> None:
    """A kernel has been loaded or compiled."""
    _state.depth -= 1
    if _state.depth == 0:
        _state.seconds += time.perf_counter() - _state.since


def announce() -> None:
    """Tell the listener that a kernel has to be compiled."""
    if _state.listener is not None:
        _state.listener()


@contextmanager
def announcing(listener: Callable[[], None]) -> Iterator[None]:
    """Within the context, call ``listener`` before each compilation of a kernel, in any thread of this process."""
    before, _state.listener = _state.listener, listener
    try:
        yield
    finally:
        _state.listener = before


def clock() -> float:
    """Return a time in seconds that stands still while kernels are loaded or compiled."""
    return time.perf_counter() - _state.seconds
