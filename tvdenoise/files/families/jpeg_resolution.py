"""The resolution that a JPEG states, and what it can state."""

from __future__ import annotations

from contextlib import suppress

from PIL import ImageFile, JpegImagePlugin
from PIL.TiffImagePlugin import RESOLUTION_UNIT, X_RESOLUTION

from tvdenoise.files.families.tiff_tags import MALFORMED
from tvdenoise.files.picture import Picture

NO_UNIT, _CENTIMETRES = 0, 2
_LARGEST_DPI = 65_535


def states_resolution(opened: JpegImagePlugin.JpegImageFile) -> bool:
    if opened.info.get("jfif_unit", NO_UNIT) != NO_UNIT:
        return True
    with suppress(*MALFORMED):
        return {X_RESOLUTION, RESOLUTION_UNIT} <= set(opened.getexif())
    return False


def density_of(opened: ImageFile.ImageFile) -> tuple[int, int, int] | None:
    """Dots per centimetre, or how much wider pixels are than high."""
    unit, density = opened.info.get("jfif_unit"), opened.info.get("jfif_density", (1, 1))
    is_aspect = unit == NO_UNIT and density[0] != density[1]
    return (unit, *density) if all(density) and (is_aspect or unit == _CENTIMETRES) else None


def can_state(dpi: tuple[float, float]) -> bool:
    """Not that of a microscope's pictures."""
    return max(dpi) <= _LARGEST_DPI


def losses(picture: Picture) -> tuple[str, ...]:
    dpi = picture.metadata.dpi
    if dpi is None or can_state(dpi):
        return ()
    return (f"JPEG cannot state its resolution of {max(dpi):,.0f} dots per inch",)
