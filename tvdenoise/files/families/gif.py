"""GIF: read, but not written, since 256 colours cannot hold a denoised picture."""

from __future__ import annotations

from typing import Any

from tvdenoise.files.formats import Family, Format, inspect_nothing
from tvdenoise.files.picture import Picture


def _options(_picture: Picture, _quality: int | None) -> dict[str, Any]:
    return {}


FAMILY = Family(formats=(Format("GIF", "GIF", (".gif",)),), inspect=inspect_nothing, options=_options)
