"""The minimisation problem for one image: its data, its method and its parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tvdenoise.images.data import Data, data_of
from tvdenoise.model.colour import RGB_CHANNELS, chroma_weights
from tvdenoise.noise.estimation import estimate, estimate_white
from tvdenoise.noise.evidence import ArrayEvidence, noise_shown
from tvdenoise.noise.model import NoiseModel
from tvdenoise.parameters import Parameters, choose
from tvdenoise.solver.descent import Method

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from tvdenoise.noise.evidence import NoiseEvidence
    from tvdenoise.options import Options


@dataclass(frozen=True, eq=False)
class Problem:
    """The image data, the method, and the parameters μ and ε."""

    data: Data
    method: Method
    parameters: Parameters


def problem_of(
    noisy: ArrayLike,
    options: Options,
    *,
    channel_axis: int | None = None,
    spatial_axes: Sequence[int] | None = None,
    spacing: Sequence[float] | None = None,
    weights: ArrayLike | None = None,
    mask: ArrayLike | None = None,
) -> Problem:
    """Check the arguments of `tvdenoise.denoise`, and choose missing parameters. Raises the same errors."""
    data = data_of(
        noisy,
        channel_axis,
        options.data_range,
        spatial_axes=spatial_axes,
        spacing=spacing,
        weights=weights,
        mask=mask,
        fills=options.nan == "fill",
    )
    method = method_of(options, len(data.planes), data.axis_weights)
    model = noise_for(options, len(data.planes), lambda: ArrayEvidence.of(*noise_shown(data)))
    chosen = choose(data.planes, method, model, options.mu, options.epsilon, options.strength, data.fidelity)
    return Problem(data, method, Parameters(*chosen, model))


def method_of(options: Options, channels: int, axis_weights: tuple[float, ...] | None = None) -> Method:
    """The method for an image with this number of channels; three are red, green and blue.

    axis_weights: one factor for the differences along each axis; None means ones.
    """
    weights = chroma_weights(options.chroma) if channels == RGB_CHANNELS else (1.0,) * channels
    return Method(options, weights, axis_weights)


def noise_for(options: Options, channels: int, evidence: Callable[[], NoiseEvidence]) -> NoiseModel | None:
    """The noise that μ is chosen for; None if μ is given.

    It is white noise of a given level, a given model, the estimated model, or white noise of the estimated level.
    Raises ValueError if the model has another number of channels than the image.
    """
    if options.mu is not None:
        return None
    if options.sigma is not None:
        return NoiseModel.white(options.sigma, channels)
    if isinstance(options.noise, NoiseModel):
        if len(options.noise.channels) != channels:
            raise ValueError(
                f"the noise model has {len(options.noise.channels)} channels and the image has {channels}"
            )
        return options.noise
    return (estimate_white if options.noise == "white" else estimate)(evidence())
