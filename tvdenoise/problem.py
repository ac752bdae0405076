"""A problem ready to be solved: its image, its method and its parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

from tvdenoise import checks
from tvdenoise.images.data import Data, data_of
from tvdenoise.model.colour import RGB_CHANNELS, chroma_weights
from tvdenoise.model.objective import TOTAL_VARIATIONS, TotalVariation
from tvdenoise.model.penalties import PENALTIES
from tvdenoise.noise.estimation import estimate, estimate_white
from tvdenoise.noise.evidence import ArrayEvidence, noise_shown
from tvdenoise.noise.model import NoiseModel
from tvdenoise.parameters import Parameters, choose
from tvdenoise.solver.descent import DEFAULT_MAX_ITERATIONS, ENGINES, EngineName, Method, PenaltyName
from tvdenoise.solver.step_rules import STEPS, StepName

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from tvdenoise.noise.evidence import NoiseEvidence


NoiseName = Literal["auto", "white"]
NOISES: tuple[NoiseName, ...] = get_args(NoiseName)
DEFAULT_CHROMA = 3.0


@dataclass(frozen=True, eq=False)
class Settings:
    """How an image shall be denoised: the arguments of `tvdenoise.denoise` that say nothing of its layout, checked."""

    mu: float | None
    epsilon: float | None
    sigma: float | None
    noise: NoiseName | NoiseModel
    strength: float
    chroma: float
    form: Method

    @classmethod
    def of(
        cls,
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
        threads: int | None = None,
    ) -> Settings:
        """Raises ValueError and TypeError as `tvdenoise.denoise` does."""
        _require_consistent(mu, sigma, strength)
        for name, value, known in (
            ("tv", tv, TOTAL_VARIATIONS),
            ("penalty", penalty, PENALTIES),
            ("step", step, STEPS),
            ("engine", engine, ENGINES),
            ("noise", "auto" if isinstance(noise, NoiseModel) else noise, NOISES),
        ):
            checks.choice(name, value, known)
        return cls(
            mu=checks.optional_number("mu", mu, checks.MU),
            epsilon=checks.optional_number("epsilon", epsilon, checks.EPSILON),
            sigma=checks.optional_number("sigma", sigma, checks.SIGMA),
            noise=noise,
            chroma=checks.number("chroma", chroma, checks.CHROMA),
            strength=checks.number("strength", strength, checks.STRENGTH),
            form=Method(
                tv=tv,
                penalty=penalty,
                step=step,
                engine=engine,
                max_iterations=max_iterations,
                threads=None if threads is None else checks.count("threads", threads),
            ),
        )

    @property
    def needs_estimate(self) -> bool:
        """True where the image's noise is to be estimated."""
        return self.mu is None and self.sigma is None and not isinstance(self.noise, NoiseModel)

    def method(self, channels: int, axis_weights: tuple[float, ...] | None) -> Method:
        """The method for an image of so many channels."""
        weights = chroma_weights(self.chroma) if channels == RGB_CHANNELS else (1.0,) * channels
        return replace(self.form, channel_weights=weights, axis_weights=axis_weights)

    def noise_model(self, channels: int, evidence: Callable[[], NoiseEvidence]) -> NoiseModel | None:
        """The noise that μ is to be chosen for, None where it is given: white noise of a given level, a given
        model, the estimated one, or the estimated level of white noise."""
        if self.mu is not None:
            return None
        if self.sigma is not None:
            return NoiseModel.white(self.sigma, channels)
        if isinstance(self.noise, NoiseModel):
            if len(self.noise.channels) != channels:
                raise ValueError(
                    f"the noise model has {len(self.noise.channels)} channels and the image {channels}"
                )
            return self.noise
        return (estimate_white if self.noise == "white" else estimate)(evidence())


def _require_consistent(mu: float | None, sigma: float | None, strength: float) -> None:
    """Raise ValueError for a μ of the caller's together with what only serves to choose one."""
    if mu is not None and sigma is not None:
        raise ValueError("sigma only serves to choose mu, which is given too; give one of them")
    if mu is not None and strength != 1:
        raise ValueError("strength scales the chosen mu and cannot be given with a mu of your own")


NanName = Literal["refuse", "fill"]
NANS: tuple[NanName, ...] = get_args(NanName)


@dataclass(frozen=True, eq=False)
class Problem:
    """A problem that is ready to be solved."""

    data: Data
    method: Method
    parameters: Parameters


def problem_of(
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
) -> Problem:
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
    return Problem(data, method, Parameters(*chosen, model))
