"""tvdenoise: total-variation denoising with a certificate.

The numerical modules are imported on first use, so that ``tvdenoise --help`` starts at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = ["NoiseModel", "Solution", "Status", "__version__", "denoise", "estimate_noise"]

if TYPE_CHECKING:
    from tvdenoise.denoising import denoise, estimate_noise
    from tvdenoise.noise.model import NoiseModel
    from tvdenoise.solver import Solution, Status

_HOMES = {
    "denoise": "tvdenoise.denoising",
    "estimate_noise": "tvdenoise.denoising",
    "NoiseModel": "tvdenoise.noise.model",
    "Solution": "tvdenoise.solver",
    "Status": "tvdenoise.solver",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
