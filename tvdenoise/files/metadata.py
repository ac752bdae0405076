"""The metadata of an opened image."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import ImageFile

from tvdenoise.files.formats import Inspection
from tvdenoise.files.picture import Metadata

_LARGEST_DPI = 5e7  # pixels of half a nanometre, which BMP can still state
_EXIF_PREFIX = b"Exif\0\0"
_NO_TEXTS = ("XML:com.adobe.xmp", "tvdenoise")  # text chunks of a PNG that are kept as what they hold


def metadata_of(opened: ImageFile.ImageFile, inspection: Inspection) -> Metadata:
    """The metadata of an opened image that was inspected and, where its decoder changes them, decoded."""
    information = opened.info
    exif = inspection.exif or information.get("exif")
    dpi = information.get("dpi")
    return Metadata(
        icc=information.get("icc_profile"),
        exif=exif.removeprefix(_EXIF_PREFIX) if exif else None,
        xmp=_bytes(information.get("xmp")),
        dpi=_dpi(dpi),
        text=tuple((keyword, text) for keyword, text in inspection.texts if keyword not in _NO_TEXTS),
        tags=inspection.tags,
        record=inspection.record,
        elsewhere=inspection.elsewhere,
    )


def _dpi(stated: Sequence[float] | None) -> tuple[float, float] | None:
    """None for what is no resolution: programs write 0/0 where they know none."""
    if not stated:
        return None
    horizontal, vertical = float(stated[0]), float(stated[1])
    is_one = all(0 < dpi < _LARGEST_DPI for dpi in (horizontal, vertical))
    return (horizontal, vertical) if is_one else None


def _bytes(value: bytes | str | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
