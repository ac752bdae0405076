"""What OME's XML says about the planes of a TIFF."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any
from xml.etree import ElementTree

from tvdenoise.errors import SeveralPicturesError
from tvdenoise.files.stack import CHANNEL, DEPTH, TIME

_REMEDY = "save it as one file, with bfconvert for example"
_MOST_PLANES = 200_000
_NATURAL = "XYCZT"


@dataclass(frozen=True)
class OmeImage:
    """channels: of each plane in the order of the file; axes: names and sizes, the last one varies fastest.

    is_in_order: the planes lie in the order of the axes.
    """

    channels: tuple[int, ...]
    axes: tuple[str, tuple[int, ...]]
    spacing: Mapping[str, float]
    unit: str | None
    is_in_order: bool


def ome_of(text: str) -> OmeImage | None:
    """What a description says; None where it is not OME's. Raises SeveralPicturesError where other files belong to it.

    Of several images in one file, the channels are numbered on, and the axes are those of none.
    """
    if "<OME" not in text[:2000] or "<!DOCTYPE" in text or "<!ENTITY" in text:
        return None
    try:
        root = ElementTree.fromstring(text.encode("latin-1", "replace"))
        _require_one_file(root)
        pixels = [element for element in root.iter() if _name(element) == "Pixels"]
        images = [_image(element) for element in pixels]
    except (ElementTree.ParseError, ValueError, KeyError, LookupError, OverflowError):
        return None
    if len(images) == 1:
        return images[0]
    channels: list[int] = []
    for image in images:
        start = max(channels, default=-1) + 1
        channels += [start + channel for channel in image.channels]
    return OmeImage(tuple(channels), ("", ()), {}, None, is_in_order=False) if images else None


def _require_one_file(root: ElementTree.Element) -> None:
    own = root.get("UUID")
    others = {
        (element.text or "").strip()
        for element in root.iter()
        if _name(element) == "UUID" and element.text is not None
    }
    is_elsewhere = any(_name(element) == "BinaryOnly" for element in root.iter())
    if is_elsewhere or len(others) > 1 or (own is not None and others - {own}):
        raise SeveralPicturesError("the stack is spread over several OME-TIFF files", _REMEDY)


def _image(pixels: ElementTree.Element) -> OmeImage:
    sizes = {name: int(pixels.get(f"Size{name}", "1")) for name in (CHANNEL, DEPTH, TIME)}
    channels = [element for element in pixels if _name(element) == "Channel"]
    samples = int(channels[0].get("SamplesPerPixel", "1")) if channels else 1
    sizes[CHANNEL] //= max(1, samples)  # colours of one channel lie in one page
    if min(sizes.values()) < 1 or math.prod(sizes.values()) > _MOST_PLANES:
        raise ValueError("sizes that no file has")
    order = pixels.get("DimensionOrder", _NATURAL)[2:]
    if sorted(order) != sorted(sizes):
        raise ValueError("unknown axes")
    names = order[::-1]
    planes = [dict(zip(names, place, strict=True)) for place in product(*(range(sizes[n]) for n in names))]
    placed = _placed(pixels, planes, order)
    present = [(name, sizes[name]) for name in names if sizes[name] > 1]
    return OmeImage(
        tuple(plane[CHANNEL] for plane in placed),
        ("".join(name for name, _ in present), tuple(size for _, size in present)),
        *_spacing(pixels),
        is_in_order=placed == planes,
    )


def _placed(pixels: ElementTree.Element, planes: list[dict[str, int]], order: str) -> list[dict[str, int]]:
    """The planes in the order of the file."""
    placed: dict[int, dict[str, int]] = {}
    numbers = {tuple(plane[name] for name in order): number for number, plane in enumerate(planes)}
    for element in pixels:
        if _name(element) != "TiffData":
            continue
        start = numbers[tuple(int(element.get(f"First{name}", "0")) for name in order)]
        count = int(element.get("PlaneCount", "1" if "IFD" in element.attrib else str(len(planes) - start)))
        directory = int(element.get("IFD", "0"))
        for number in range(min(count, len(planes) - start)):
            placed[directory + number] = planes[start + number]
    if not placed:
        return planes
    if len(placed) != len(planes) or sorted(placed) != list(range(min(placed), min(placed) + len(placed))):
        raise ValueError("planes are missing")
    return [placed[number] for number in sorted(placed)]


def _spacing(pixels: ElementTree.Element) -> tuple[dict[str, float], str | None]:
    names = {"X": "PhysicalSizeX", "Y": "PhysicalSizeY", DEPTH: "PhysicalSizeZ", TIME: "TimeIncrement"}
    given: dict[str, Any] = {name: pixels.get(attribute) for name, attribute in names.items()}
    spacing = {name: float(value) for name, value in given.items() if value is not None}
    spacing = {name: value for name, value in spacing.items() if math.isfinite(value) and value > 0}
    unit = pixels.get("PhysicalSizeXUnit", "µm") if {"X", "Y", DEPTH} & set(spacing) else None
    return spacing, unit


def _name(element: ElementTree.Element) -> str:
    """Without its namespace."""
    return str(element.tag).rpartition("}")[2]
