"""Windows bitmaps."""

from __future__ import annotations

from typing import Any

from tvdenoise.files.formats import Family, Format, inspect_nothing
from tvdenoise.files.picture import Picture


def _options(picture: Picture, _quality: int | None) -> dict[str, Any]:
    return {"dpi": picture.metadata.dpi} if picture.metadata.dpi else {}


FAMILY = Family(
    formats=(Format("BMP", "BMP", (".bmp",), kinds=frozenset({"L", "RGB"}), carries=frozenset({"dpi"})),),
    inspect=inspect_nothing,
    options=_options,
)
