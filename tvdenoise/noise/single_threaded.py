"""Linear algebra on one thread, where there is too little of it for more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController


@contextmanager
def single_threaded() -> Iterator[None]:
    """Within it, BLAS takes one thread: the covariances of small blocks gain nothing by more, and the threads that
    wait, spinning, cost the other processes of a batch their cores."""
    with _controller().limit(limits=1, user_api="blas"):
        yield


@cache
def _controller() -> ThreadpoolController:
    """Of the libraries loaded by now; to look for them takes milliseconds."""
    return ThreadpoolController()
