"""Registry of all formats, with lookup by name, extension and codec."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvdenoise.formats import avif, bmp, gif, heic, jp2, jpeg, png, pnm, webp
from tvdenoise.formats.tiff import family as tiff

if TYPE_CHECKING:
    from pathlib import Path

    from tvdenoise.formats.family import Family, Format


FAMILIES: dict[str, Family] = {
    module.FAMILY.codec: module.FAMILY for module in (png, jpeg, tiff, webp, avif, heic, jp2, bmp, pnm, gif)
}  # by codec
FORMATS: tuple[Format, ...] = tuple(form for family in FAMILIES.values() for form in family.formats)
FORMAT_BY_EXTENSION: dict[str, Format] = {
    extension: form for form in FORMATS for extension in form.extensions
}


def has_image_extension(path: Path) -> bool:
    return path.suffix.lower() in FORMAT_BY_EXTENSION


def format_named(name: str) -> Format | None:
    """Return the format with a name or extension, case-insensitively ("png", ".PNG", "jpg"), or None."""
    return FORMAT_BY_EXTENSION.get("." + name.lower().lstrip("."))


def format_for(target: Path | None, codec: str) -> Format:
    """Return the format of a target's extension, or the default format of the source's codec."""
    by_extension = FORMAT_BY_EXTENSION.get(target.suffix.lower()) if target is not None else None
    return by_extension or FAMILIES[codec].formats[0]


def format_in_place(path: Path, codec: str) -> Format:
    """Return the format of a file that keeps its codec, whatever its extension."""
    form = format_for(path, codec)
    return form if form.codec == codec else FAMILIES[codec].formats[0]


def formats_for_kind(kind: str) -> tuple[str, ...]:
    """Return the names of the formats that can hold a kind of pixels."""
    return tuple(form.name for form in FORMATS if kind in form.kinds)
