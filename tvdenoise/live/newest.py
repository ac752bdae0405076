"""A place for one request, in which a newer one replaces what nobody has taken yet."""

from __future__ import annotations

from threading import Condition
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Newest(Generic[Item]):
    """Between a thread that asks and one that works."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._item: Item | None = None
        self._is_closed = False

    def put(self, item: Item) -> None:
        """Ask for something, instead of what was asked for before."""
        with self._changed:
            self._item = item
            self._changed.notify()

    def take(self) -> Item | None:
        """Wait for what is asked for; None once nobody asks any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or self._item is not None)
            item, self._item = self._item, None
            return None if self._is_closed else item

    def has_newer(self) -> bool:
        """Whether work on what was taken is in vain."""
        return self._is_closed or self._item is not None

    def close(self) -> None:
        """Nobody asks any more."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
