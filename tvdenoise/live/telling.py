"""What the page is told, as values for JSON."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tvdenoise.files.paths import printable
from tvdenoise.live.setting import LIMITS
from tvdenoise.model.colour import RGB_CHANNELS

if TYPE_CHECKING:
    from tvdenoise.live.descent import Stage
    from tvdenoise.live.scene import Scene
    from tvdenoise.live.setting import Setting
    from tvdenoise.noise.model import NoiseModel

_GREY_LEVELS = 255
_BROKEN = "the solve broke down; choose another mu or epsilon"


def scene_message(scene: Scene, target: Path) -> dict[str, Any]:
    """The picture, its noise and its automatic parameters."""
    rows, columns = scene.size
    return {
        "type": "scene",
        "name": printable(scene.source.name),
        "target": printable(target),
        "rows": rows,
        "columns": columns,
        "isColour": scene.channels == RGB_CHANNELS,
        "hasWindow": scene.bits != 8,
        "window": [edge * _GREY_LEVELS for edge in scene.window],
        "automatic": setting_values(scene.automatic),
        "limits": LIMITS,
        "noise": None if scene.chosen.noise is None else _noise(scene.chosen.noise),
    }


def setting_values(setting: Setting) -> dict[str, float]:
    """The parameters of a setting."""
    return {"mu": setting.mu, "epsilon": setting.epsilon, "chroma": setting.chroma}


def certificate(scene: Scene, stage: Stage, scale: int) -> dict[str, Any]:
    """How exact a picture is: the words are those of `run`."""
    bound = stage.distance_bound
    resolution = "full resolution" if scale == 1 else f"1/{scale} of the resolution"
    known = {"evaluations": stage.evaluations, "resolution": resolution}
    if not math.isfinite(bound):
        return known | {"bound": None, "within": "–", "isFinal": True, "status": _BROKEN}
    levels = "grey levels" if scene.bits == 8 else "of 255 grey levels"
    text = f"{bound:.2g} of the data range" if scene.bits is None else f"{bound * _GREY_LEVELS:.2g} {levels}"
    return known | {
        "bound": bound,
        "within": f"{text} (rms)",
        "isFinal": stage.status is not None,
        "status": "on the way" if stage.status is None else stage.status.value,
    }


def _noise(model: NoiseModel) -> dict[str, Any]:
    """The deviation over the intensity, in grey levels of 8 bits, as `tvdenoise noise --plot` draws it."""
    channel = model.channels[0]
    intensities, deviations = channel.intensities, np.sqrt(channel.variances)
    if len(intensities) == 1:  # white noise: the same at every intensity
        intensities, deviations = np.array([0.0, 1.0]), np.repeat(deviations, 2)
        scale = float(_GREY_LEVELS)
    else:
        scale = (
            _GREY_LEVELS / np.sqrt(len(model.channels))
            if len(model.channels) == RGB_CHANNELS
            else _GREY_LEVELS
        )
    return {
        "kind": model.kind.value,
        "sigma": model.sigma * _GREY_LEVELS,
        "intensities": (intensities * scale).tolist(),
        "deviations": (deviations * _GREY_LEVELS).tolist(),
    }
