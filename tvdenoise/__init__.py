"""tvdenoise: total-variation denoising with a certificate: a bound on the distance to the exact minimiser.

api         the public functions
compat      the call of scikit-image's function for the same problem
options     `Options`, the one record of options: type, range, default and help of each
parameters  the choice of μ and ε for the noise of an image
learning    learning the filters of a prior from clean images
machine     the limits of containers, and the processors they leave
errors      exceptions with their exit codes
model, solver, noise, images, tiling   the mathematics, its solution, the noise, arrays, images too large to hold
files, formats                         image files
batch, pictures, live, commands        many files, pictures for people, the live page, the command line
manual                                 the manual, shown by ``tvdenoise help``

The numerical modules are imported on first use, so that ``tvdenoise --help`` starts at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tvdenoise.api import choose_parameters, denoise, denoise_tiled, estimate_noise, vjp
    from tvdenoise.model.prior_file import LearnedPrior, read_prior
    from tvdenoise.noise.model import NoiseModel
    from tvdenoise.options import Options
    from tvdenoise.parameters import Parameters
    from tvdenoise.solver.descent import Solution, Status
    from tvdenoise.solver.implicit import Gradients
    from tvdenoise.tiling.passes import TiledSolution
    from tvdenoise.tiling.source import ArraySource

__version__ = "0.1.0"
__all__ = [
    "ArraySource",
    "Gradients",
    "LearnedPrior",
    "NoiseModel",
    "Options",
    "Parameters",
    "Solution",
    "Status",
    "TiledSolution",
    "__version__",
    "choose_parameters",
    "denoise",
    "denoise_tiled",
    "estimate_noise",
    "read_prior",
    "vjp",
]

_HOMES = {
    "ArraySource": "tvdenoise.tiling.source",
    "Gradients": "tvdenoise.solver.implicit",
    "LearnedPrior": "tvdenoise.model.prior_file",
    "NoiseModel": "tvdenoise.noise.model",
    "Options": "tvdenoise.options",
    "Parameters": "tvdenoise.parameters",
    "Solution": "tvdenoise.solver.descent",
    "Status": "tvdenoise.solver.descent",
    "TiledSolution": "tvdenoise.tiling.passes",
    "choose_parameters": "tvdenoise.api",
    "denoise": "tvdenoise.api",
    "denoise_tiled": "tvdenoise.api",
    "estimate_noise": "tvdenoise.api",
    "read_prior": "tvdenoise.model.prior_file",
    "vjp": "tvdenoise.api",
}


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name == "compat":
        return import_module("tvdenoise.compat")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
