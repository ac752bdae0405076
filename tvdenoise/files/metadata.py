"""The metadata of an opened image."""

from __future__ import annotations

from PIL import ImageFile

from tvdenoise.files.formats import Inspection
from tvdenoise.files.picture import Metadata

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
        dpi=(float(dpi[0]), float(dpi[1])) if dpi and all(dpi) else None,
        text=tuple((keyword, text) for keyword, text in inspection.texts if keyword not in _NO_TEXTS),
        tags=inspection.tags,
        record=inspection.record,
        elsewhere=inspection.elsewhere,
    )


def _bytes(value: bytes | str | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
