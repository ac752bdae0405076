"""OME-TIFF: planes, axes and spacing from OME's XML."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from xml.etree import ElementTree

from tvdenoise.errors import SeveralImagesError
from tvdenoise.files.stack import CHANNEL, DEPTH, TIME

#: Units of length in metres, as ImageJ and OME name them.
_METRES = {
    "pm": 1e-12,
    "Å": 1e-10,
    "nm": 1e-9,
    "µm": 1e-6,
    "um": 1e-6,
    "micron": 1e-6,
    "microns": 1e-6,
    "micrometer": 1e-6,
    "mm": 1e-3,
    "cm": 1e-2,
    "dm": 1e-1,
    "m": 1.0,
    "km": 1e3,
    "in": 0.0254,
    "inch": 0.0254,
}
_MICRO_SIGNS = str.maketrans({"μ": "µ"})  # the Greek letter to the micro sign


def in_unit(distance: float, unit: str | None, other: str | None) -> float | None:
    """Convert a distance from ``unit`` to another unit; None if a unit is unknown."""
    if unit == other:
        return distance
    known = [_METRES.get((name or "").strip().translate(_MICRO_SIGNS)) for name in (unit, other)]
    if known[0] is None or known[1] is None:
        return None
    return distance * (known[0] / known[1])


_REMEDY = "save it as one file, with bfconvert for example"
_MOST_PLANES = 200_000
_NATURAL = "XYCZT"
_FURTHER = "ModuloAlong"
_MICROMETRE = "µm"  # the default unit


@dataclass(frozen=True)
class OmeImage:
    """channels: of each plane in file order; axes: names and sizes, the last one varying fastest.

    order: the number of each plane in the order of the axes, None if that is the file order.
    """

    channels: tuple[int, ...]
    axes: tuple[str, tuple[int, ...]]
    spacing: Mapping[str, float]
    unit: str | None
    order: tuple[int, ...] | None = None


def is_ome(text: str) -> bool:
    """Return whether a description is OME's."""
    return "<OME" in text[:2000]


def ome_of(text: str) -> OmeImage | None:
    """Parse an OME description; None for others. Raises SeveralImagesError if the stack spans several files.

    If the file holds several images, their channels are numbered consecutively, and the axes are empty.
    """
    if not is_ome(text) or "<!DOCTYPE" in text or "<!ENTITY" in text:
        return None
    try:
        root = ElementTree.fromstring(text.encode("latin-1", "replace"))
        _require_one_file(root)
        pixels = [element for element in root.iter() if _name(element) == "Pixels"]
        interleaved = _interleaved(root) if len(pixels) == 1 else {}
        images = [_image(element, interleaved) for element in pixels]
    except (ElementTree.ParseError, ValueError, KeyError, LookupError, OverflowError):
        return None
    if len(images) == 1:
        return images[0]
    channels: list[int] = []
    for image in images:
        start = max(channels, default=-1) + 1
        channels += [start + channel for channel in image.channels]
    return OmeImage(tuple(channels), ("", ()), {}, None) if images else None


def _require_one_file(root: ElementTree.Element) -> None:
    own = root.get("UUID")
    others = {
        (element.text or "").strip()
        for element in root.iter()
        if _name(element) == "UUID" and element.text is not None
    }
    is_elsewhere = any(_name(element) == "BinaryOnly" for element in root.iter())
    if is_elsewhere or len(others) > 1 or (own is not None and others - {own}):
        raise SeveralImagesError("the stack is spread over several OME-TIFF files", _REMEDY)


def _interleaved(root: ElementTree.Element) -> dict[str, int]:
    """Return the number of images (angles, phases, lifetimes) per position on the depth or time axis.

    OME calls this a modulo axis; it varies faster than the axis it belongs to. Raises ValueError.
    """
    found = {}
    for element in root.iter():
        name = _name(element).removeprefix(_FURTHER)
        if _name(element).startswith(_FURTHER) and name in (DEPTH, TIME):
            start, step = (
                float(element.get(key, default)) for key, default in (("Start", "0"), ("Step", "1"))
            )
            end = float(element.get("End", start))
            labels = sum(_name(child) == "Label" for child in element)
            found[name] = labels or round((end - start) / (step or 1)) + 1
    return found


def _image(pixels: ElementTree.Element, interleaved: Mapping[str, int]) -> OmeImage:
    sizes = {name: int(pixels.get(f"Size{name}", "1")) for name in (CHANNEL, DEPTH, TIME)}
    channels = [element for element in pixels if _name(element) == "Channel"]
    samples = int(channels[0].get("SamplesPerPixel", "1")) if channels else 1
    sizes[CHANNEL] //= max(1, samples)  # the colours of a channel share a page
    if min(sizes.values()) < 1 or math.prod(sizes.values()) > _MOST_PLANES:
        raise ValueError("sizes that no file has")
    order = pixels.get("DimensionOrder", _NATURAL)[2:]
    if sorted(order) != sorted(sizes):
        raise ValueError("unknown axes")
    names = order[::-1]
    planes = [dict(zip(names, place, strict=True)) for place in product(*(range(sizes[n]) for n in names))]
    placed = _placed(pixels, planes, order)
    present = [part for name in names for part in _parted(name, sizes[name], interleaved.get(name, 1))]
    return OmeImage(
        tuple(planes[number][CHANNEL] for number in placed),
        ("".join(name for name, _ in present), tuple(size for _, size in present)),
        *_spacing(pixels),
        order=None if placed == list(range(len(planes))) else tuple(placed),
    )


def _parted(name: str, size: int, further: int) -> list[tuple[str, int]]:
    """Split an axis into itself and its modulo axis (in lower case), leaving out axes of length 1."""
    if further < 1 or size % further:
        further = 1
    return [part for part in ((name, size // further), (name.lower(), further)) if part[1] > 1]


def _placed(pixels: ElementTree.Element, planes: list[dict[str, int]], order: str) -> list[int]:
    """Return the numbers of the planes in file order. Raises ValueError if planes are missing."""
    placed: dict[int, int] = {}
    numbers = {tuple(plane[name] for name in order): number for number, plane in enumerate(planes)}
    for element in pixels:
        if _name(element) != "TiffData":
            continue
        start = numbers[tuple(int(element.get(f"First{name}", "0")) for name in order)]
        count = int(element.get("PlaneCount", "1" if "IFD" in element.attrib else str(len(planes) - start)))
        directory = int(element.get("IFD", "0"))
        for number in range(min(count, len(planes) - start)):
            placed[directory + number] = start + number
    if not placed:
        return list(range(len(planes)))
    if len(placed) != len(planes) or sorted(placed) != list(range(min(placed), min(placed) + len(placed))):
        raise ValueError("planes are missing")
    return [placed[number] for number in sorted(placed)]


def _spacing(pixels: ElementTree.Element) -> tuple[dict[str, float], str | None]:
    """Return the known distances by axis, spatial ones in the same unit, and that unit."""
    unit = pixels.get("PhysicalSizeXUnit", _MICROMETRE)
    spacing = {TIME: _positive(pixels.get("TimeIncrement"))}
    for name in ("X", "Y", DEPTH):
        distance = _positive(pixels.get(f"PhysicalSize{name}"))
        own = pixels.get(f"PhysicalSize{name}Unit", _MICROMETRE)
        spacing[name] = None if distance is None else in_unit(distance, own, unit)
    known = {name: value for name, value in spacing.items() if value is not None}
    return known, unit if {"X", "Y", DEPTH} & set(known) else None


def _positive(text: str | None) -> float | None:
    """Return a positive finite number, or None. Raises ValueError if the text is not a number."""
    value = 0.0 if text is None else float(text)
    return value if math.isfinite(value) and value > 0 else None


def _name(element: ElementTree.Element) -> str:
    """Return the tag without its namespace."""
    return str(element.tag).rpartition("}")[2]
