"""From what a caller gives to a problem that is ready to be solved: everything checked, parameters chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from tvdenoise import checks
from tvdenoise.data import Data, data_of
from tvdenoise.method import DEFAULT_MAX_ITERATIONS, EngineName, Method, PenaltyName
from tvdenoise.model.objective import TotalVariation
from tvdenoise.noise.evidence import ArrayEvidence
from tvdenoise.noise.model import NoiseModel
from tvdenoise.noise.regions import noise_shown
from tvdenoise.parameters import Parameters, choose
from tvdenoise.settings import DEFAULT_CHROMA, NoiseName, Settings
from tvdenoise.steps import StepName

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

NanName = Literal["refuse", "fill"]
NANS: tuple[NanName, ...] = get_args(NanName)


@dataclass(frozen=True, eq=False)
class Posed:
    """A problem that is ready to be solved."""

    data: Data
    method: Method
    parameters: Parameters


def pose(
    noisy: ArrayLike,
    mu: float | None,
    epsilon: float | None,
    *,
    sigma: float | None = None,
    noise: NoiseName | NoiseModel = "auto",
    strength: float = 1.0,
    max_iterations: int = DEFAULT_MAX_ITERATIONS,
    tv: TotalVariation = "isotropic",
    penalty: PenaltyName = "hyperbolic",
    step: StepName = "bb",
    engine: EngineName = "fused",
    chroma: float = DEFAULT_CHROMA,
    channel_axis: int | None = None,
    spatial_axes: Sequence[int] | None = None,
    spacing: Sequence[float] | None = None,
    weights: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    nan: NanName = "refuse",
    data_range: float | None = None,
    threads: int | None = None,
) -> Posed:
    """Check all arguments of `tvdenoise.denoise` and choose the parameters that are not given; raises as it does."""
    settings = Settings.of(
        mu, epsilon, sigma=sigma, noise=noise, strength=strength, max_iterations=max_iterations, tv=tv,
        penalty=penalty, step=step, engine=engine, chroma=chroma, threads=threads,
    )  # fmt: skip
    checks.choice("nan", nan, NANS)
    data = data_of(
        noisy, channel_axis, data_range, spatial_axes=spatial_axes, spacing=spacing, weights=weights, mask=mask,
        fills=nan == "fill",
    )  # fmt: skip
    channels = len(data.planes)
    method = settings.method(channels, data.axis_weights)
    model = settings.noise_model(channels, lambda: ArrayEvidence.of(*noise_shown(data)))
    chosen = choose(
        data.planes, method, model, settings.mu, settings.epsilon, settings.strength, data.fidelity
    )
    return Posed(data, method, Parameters(*chosen, model))
