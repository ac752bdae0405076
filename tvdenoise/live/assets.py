"""The files of the page, which lie in the package."""

from __future__ import annotations

from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def load() -> Mapping[str, tuple[bytes, str]]:
    """The contents and the media type of every file of the page, by name: nothing else can be asked for."""
    page = files("tvdenoise.live") / "page"
    found = {}
    for entry in page.iterdir():
        ending = f".{entry.name.rpartition('.')[2]}"
        if ending in _TYPES:
            found[entry.name] = (entry.read_bytes(), _TYPES[ending])
    return MappingProxyType(found)
