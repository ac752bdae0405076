"""What ImageJ, OME and tifffile write into the description of a TIFF about the axes of its pages."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from PIL.TiffImagePlugin import X_RESOLUTION, Y_RESOLUTION

from tvdenoise.files.stack import CHANNEL, DEPTH, TIME, Axes
from tvdenoise.formats.ome import OmeImage, in_unit, ome_of

_IMAGEJ_AXES = {TIME: "frames", DEPTH: "slices", CHANNEL: "channels"}  # the last one varies fastest
_COLOURS = "S"


@dataclass(frozen=True)
class Description:
    """images: how many pictures it speaks of, 0 where it does not say; names, sizes: see `Axes`; empty if unknown.

    spacing, unit: what it says itself; is_contiguous: programs take all pixels for one block; ome: where it is OME's.
    is_one_page: a single page may hold all that it speaks of; values: of all pictures together, where it says those.
    """

    images: int = 0
    names: str = ""
    sizes: tuple[int, ...] = ()
    spacing: Mapping[str, float] = field(default_factory=dict)
    unit: str | None = None
    is_contiguous: bool = False
    ome: OmeImage | None = None
    is_one_page: bool = False
    values: int = 0

    @property
    def is_of_stack(self) -> bool:
        """Whether it would be untrue of a picture alone."""
        return self.images > 1 or bool(self.names) or self.values > 0

    def axes_of(self, count: int, tags: Mapping[int, Any]) -> Axes:
        """The axes of so many pages; plain ones where the description does not fit them."""
        spacing = dict(self.spacing)
        if self.is_contiguous:  # ImageJ has the width and height of a pixel in the resolution
            for name, tag in (("X", X_RESOLUTION), ("Y", Y_RESOLUTION)):
                if (resolution := _positive(tags.get(tag))) is not None and self.unit:
                    spacing[name] = 1 / resolution
        if self.ome is not None and len(self.ome.channels) == count:
            if self.names and math.prod(self.sizes) == count:
                return Axes(self.names, self.sizes, spacing, self.unit, order=self.ome.order)
            return Axes("I", (count,), spacing, self.unit, self.ome.channels)
        names, sizes = self.names, self.sizes
        if (
            names.endswith(_COLOURS) and math.prod(sizes) != count
        ):  # which lie in one page, in planes of their own
            names, sizes = names[:-1], sizes[:-1]
        if names and math.prod(sizes) == count:
            return Axes(names, sizes, spacing, self.unit)
        return Axes("I", (count,), spacing, self.unit)

    def notices_for(self, count: int) -> tuple[str, ...]:
        if self.images in (0, count):
            return ()
        return (f"its description speaks of {self.images} pictures, not {count}: its axes are not known",)


def description_of(text: str) -> Description:
    """Raises UnsupportedImageError for one that spreads a stack over several files."""
    if text.startswith("ImageJ="):
        return _imagej(text)
    if text.startswith("{"):
        return _tifffile(text)
    if (image := ome_of(text)) is not None:
        names, sizes = image.axes
        return Description(
            len(image.channels), names, sizes, image.spacing, image.unit, ome=image, is_one_page=True
        )
    return Description()


def described_by(texts: Iterable[bytes]) -> Description:
    """What the first of several descriptions says that speaks of a stack; see `description_of`."""
    found = (description_of(text.rstrip(b"\0").decode("latin-1")) for text in texts)
    return next((description for description in found if description.is_of_stack), Description())


def _imagej(text: str) -> Description:
    fields = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    images = _whole(fields.get("images")) or 1
    given = {name: _whole(fields.get(key)) or 1 for name, key in _IMAGEJ_AXES.items()}
    if math.prod(given.values()) != images:
        given = {DEPTH: images}
    present = {name: size for name, size in given.items() if size > 1}
    unit = _unit(fields.get("unit"))
    spacing = {}
    distance = _positive(fields.get("spacing"))
    if distance is not None and (own := in_unit(distance, _unit(fields.get("zunit")) or unit, unit)):
        spacing[DEPTH] = own
    if (interval := _positive(fields.get("finterval"))) is not None:
        spacing[TIME] = interval
    return Description(images, "".join(present), tuple(present.values()), spacing, unit, is_contiguous=True)


def _unit(text: str | None) -> str | None:
    return re.sub(r"\\u([0-9A-Fa-f]{4})", lambda code: chr(int(code[1], 16)), text) if text else None


def _tifffile(text: str) -> Description:
    """Its JSON: the shape, perhaps the axes; "truncated" where one directory stands for all."""
    try:
        found = json.loads(text)
        shape = tuple(int(size) for size in found["shape"])
        axes = str(found.get("axes", ""))
    except (ValueError, TypeError, KeyError, RecursionError):
        return Description()
    values = math.prod(shape) if found.get("truncated") else 0
    place = axes.find("Y")
    names = axes[: max(place, 0)]
    if len(axes) != len(shape) or not names.isalpha() or len(set(names)) < len(names):
        return Description(values=values)
    return Description(names=names, sizes=shape[:place], values=values)


def with_colours_last(text: str, colours: int) -> str:
    """The description of pages whose colours lie in planes of their own, for pages that have them pixel by pixel.

    Only tifffile's says which it is.
    """
    try:
        found = json.loads(text)
        shape, axes = list(found["shape"]), str(found.get("axes", ""))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return text
    place = len(shape) - 3
    if place < 0 or shape[place] != colours or axes not in ("", axes[:place] + _COLOURS + "YX"):
        return text
    found["shape"] = [*shape[:place], *shape[place + 1 :], colours]
    return json.dumps(found | ({"axes": axes[:place] + "YX" + _COLOURS} if axes else {}))


def _whole(text: object) -> int | None:
    try:
        return int(str(text))
    except ValueError:
        return None


def _positive(value: object) -> float | None:
    try:
        number = float(value)  # type: ignore[arg-type]  # a text, or a fraction
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return number if math.isfinite(number) and number > 0 else None
