"""Pictures on their way to the page: bytes that cost next to nothing to make and to show."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from tvdenoise.model.colour import RGB_CHANNELS, from_opponent

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tvdenoise.live.scene import Scene
    from tvdenoise.live.view import Region

_BAND = 1 << 15  # pixels that are converted at a time, so that they stay in the cache
_CMYK_CHANNELS = 4


def frame(
    scene: Scene,
    region: Region,
    planes: NDArray[np.floating[Any]],
    header: dict[str, Any],
    *,
    rotated: bool = False,
) -> bytes:
    """A frame that shows a region: the length of its header, the header (JSON), and bytes of pixels.

    planes: (channels, rows, columns) of what is stored for it, in data ranges; rotated: colours are in the basis in
    which they are solved. The pixels are planes again, one of
    grey or three of red, green and blue, then one of alpha where the picture has it: raw, since packing them would
    take longer than the loopback device takes to carry them.
    """
    shown = visible_planes(planes, scene.window, rotated=rotated and len(planes) == RGB_CHANNELS)
    parts = [_upright(shown, scene)]
    if scene.alpha is not None:
        alpha = visible_planes(scene.alpha.part(scene.stored(region)), (0.0, 1.0))
        parts.append(_upright(alpha, scene))
    described = json.dumps(
        header
        | {
            "left": region.left * region.scale,
            "top": region.top * region.scale,
            "rows": region.rows,
            "columns": region.columns,
            "scale": region.scale,
            "channels": len(shown),
            "alpha": scene.alpha is not None,
        }
    ).encode()
    return b"".join((len(described).to_bytes(4, "little"), described, *parts))


def visible_planes(
    planes: NDArray[np.floating[Any]], window: tuple[float, float], *, rotated: bool = False
) -> NDArray[np.uint8]:
    """Bytes for a screen: one plane of grey, or red, green and blue; inks are mixed simply."""
    black, white = window
    scale, offset = np.float32(255 / (white - black)), np.float32(0.5 - 255 * black / (white - black))
    channels, rows, columns = planes.shape
    shown = np.empty((min(channels, RGB_CHANNELS), rows, columns), np.uint8)
    height = max(1, _BAND // columns)
    for top in range(0, rows, height):
        band = planes[:, top : top + height]
        if channels == _CMYK_CHANNELS:
            band = (1 - band[:3]) * (1 - band[3])
        scaled = from_opponent(np.ascontiguousarray(band)) if rotated else band.copy()
        scaled *= scale
        scaled += offset
        np.maximum(scaled, 0, out=scaled)
        np.minimum(scaled, 255, out=scaled)
        shown[:, top : top + height] = scaled
    return shown


def _upright(planes: NDArray[np.uint8], scene: Scene) -> bytes:
    """Stored planes (channels, rows, columns) as they are looked at."""
    shown = scene.orientation.shown(np.moveaxis(planes, 0, -1))
    return np.moveaxis(shown, -1, 0).tobytes()
