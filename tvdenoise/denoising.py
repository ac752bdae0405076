"""`denoise`: check the input, choose the parameters, solve, and return in the units of the input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from tvdenoise import checks, limits
from tvdenoise.intensities import Layout
from tvdenoise.method import DEFAULT_MAX_ITERATIONS, ENGINES, EngineName, Method, PenaltyName
from tvdenoise.model.colour import RGB_CHANNELS, chroma_weights, from_opponent, to_opponent
from tvdenoise.model.objective import TOTAL_VARIATIONS, TotalVariation
from tvdenoise.model.penalties import PENALTIES
from tvdenoise.noise.estimation import estimate_planes, estimate_white_planes
from tvdenoise.noise.model import NoiseModel
from tvdenoise.parameters import Parameters, choose
from tvdenoise.solver import Solution
from tvdenoise.steps import STEPS, StepName

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

NoiseName = Literal["auto", "white"]
NOISES: tuple[NoiseName, ...] = get_args(NoiseName)
DEFAULT_CHROMA = 3.0


def denoise(
    noisy: ArrayLike,
    mu: float | None = None,
    epsilon: float | None = None,
    *,
    sigma: float | None = None,
    noise: NoiseName | NoiseModel = "auto",
    strength: float = 1.0,
    tolerance: float | None = None,
    max_iterations: int = DEFAULT_MAX_ITERATIONS,
    tv: TotalVariation = "isotropic",
    penalty: PenaltyName = "hyperbolic",
    step: StepName = "bb",
    engine: EngineName = "fused",
    chroma: float = DEFAULT_CHROMA,
    channel_axis: int | None = None,
    data_range: float | None = None,
    threads: int | None = None,
    trace: bool = False,
) -> Solution:
    """Minimise J(x) = Σ h(∇x) + μ/2 ‖x − f‖² for the noisy image f.

    noisy: (rows, columns), or three axes with ``channel_axis`` naming the channels; any integer or real
        floating type. It is never modified.
    mu: weight of the fidelity, > 0, in 1/data range; larger stays closer to the input. Where not given, the
        one of least estimated risk for noise like the image's own.
    epsilon: smoothing of the penalty, > 0, in data ranges; 0.14/μ where not given (0.28/μ for RGB), at most a
        sixth of the span of the intensities.
    sigma: the level of white noise that ``mu`` is chosen for, > 0, in data ranges.
    noise: "auto" estimates the noise's growth with intensity and its correlation, "white" its level alone; or a
        model that `estimate_noise` returned, of this image or of one like it.
    strength: the chosen μ is divided by it, > 0: larger is smoother.
    tolerance: stop as soon as the rms distance to the exact minimiser is certain to be at most this, ≥ 0, in
        data ranges. Where not given 0.03/μ, at most 3 % of the span of the intensities, and never less than
        what the precision can certify.
    max_iterations: the most evaluations of the objective gradient.
    tv: "isotropic", or "componentwise" for each difference in a root of its own.
    penalty: "hyperbolic" √(z² + ε²), or "huber" z²/(2ε) up to ε, |z| − ε/2 beyond.
    step: "bb" for Barzilai–Borwein steps, "fixed" for 1/L.
    engine: "fused" for the fast kernel, "sparse" for scipy's sparse operators in double precision.
    chroma: factor of the colour differences' image gradient, > 0, for three channels.
    channel_axis: the axis of the channels. Three channels are red, green and blue; other counts are coupled
        with equal weight.
    data_range: the intensity that counts as 1. By default the largest value of an integer type, 1 for floats.
    threads: the number of threads; never changes the result. By default all processors.
    trace: keep J and the distance bound at every evaluation, in the solution's ``trace``; changes nothing else.

    Returns a `Solution`. Its image has the input's shape, float32 (float64 for float64 input), in the units
    of float input and in [0, 1] for integers.

    Raises ValueError for images of other dimensions, without pixels or with values that are not finite, and
    for parameters outside their range or that contradict each other; TypeError for images that are not real numbers.
    """
    tolerance = checks.tolerance(tolerance)
    max_iterations = checks.count("max_iterations", max_iterations)
    posed = _pose(noisy, mu, epsilon, sigma, noise, strength, tv, penalty, step, engine, chroma, channel_axis,
                  data_range, threads, max_iterations)  # fmt: skip
    found = posed.method.minimise(
        posed.planes,
        posed.parameters.mu,
        posed.parameters.epsilon,
        tolerance=tolerance,
        stored=posed.layout.precision,
        trace=trace,
    )
    layout, chosen = posed.layout, posed.parameters
    del posed  # the result is made where there is room
    return Solution(
        image=layout.image(from_opponent(found.x, out=found.x) if len(found.x) == RGB_CHANNELS else found.x),
        mu=chosen.mu,
        epsilon=chosen.epsilon,
        noise=chosen.noise,
        tolerance=found.tolerance,
        status=found.status,
        iterations=found.iterations,
        value=found.value,
        distance_bound=found.distance_bound,
        trace=found.trace,
    )


def choose_parameters(
    noisy: ArrayLike,
    epsilon: float | None = None,
    *,
    mu: float | None = None,
    sigma: float | None = None,
    noise: NoiseName | NoiseModel = "auto",
    strength: float = 1.0,
    tv: TotalVariation = "isotropic",
    penalty: PenaltyName = "hyperbolic",
    step: StepName = "bb",
    engine: EngineName = "fused",
    chroma: float = DEFAULT_CHROMA,
    channel_axis: int | None = None,
    data_range: float | None = None,
    threads: int | None = None,
) -> Parameters:
    """The parameters with which `denoise` would denoise an image, given the same arguments; raises the same errors."""
    return _pose(noisy, mu, epsilon, sigma, noise, strength, tv, penalty, step, engine, chroma, channel_axis,
                 data_range, threads, DEFAULT_MAX_ITERATIONS).parameters  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Posed:
    """A problem that is ready to be solved."""

    layout: Layout
    planes: NDArray[np.floating]
    method: Method
    parameters: Parameters


def _pose(
    noisy: ArrayLike,
    mu: float | None,
    epsilon: float | None,
    sigma: float | None,
    noise: NoiseName | NoiseModel,
    strength: float,
    tv: TotalVariation,
    penalty: PenaltyName,
    step: StepName,
    engine: EngineName,
    chroma: float,
    channel_axis: int | None,
    data_range: float | None,
    threads: int | None,
    max_iterations: int,
) -> _Posed:
    """Check all arguments and choose the parameters that are not given; raises as `denoise`."""
    _require_consistent(mu, sigma, strength)
    for name, value, known in (
        ("tv", tv, TOTAL_VARIATIONS),
        ("penalty", penalty, PENALTIES),
        ("step", step, STEPS),
        ("engine", engine, ENGINES),
        ("noise", "auto" if isinstance(noise, NoiseModel) else noise, NOISES),
    ):
        checks.choice(name, value, known)
    given_mu = checks.optional_number("mu", mu, limits.MU)
    given_epsilon = checks.optional_number("epsilon", epsilon, limits.EPSILON)
    given_sigma = checks.optional_number("sigma", sigma, limits.SIGMA)
    chroma = checks.number("chroma", chroma, limits.CHROMA)
    strength = checks.number("strength", strength, limits.STRENGTH)
    threads = None if threads is None else checks.count("threads", threads)

    layout, planes = _planes_of(noisy, channel_axis, data_range)
    weights = chroma_weights(chroma) if len(planes) == RGB_CHANNELS else (1.0,) * len(planes)
    method = Method(weights, tv, penalty, step, engine, max_iterations, threads)
    model = None if given_mu is not None else _noise_model(planes, given_sigma, noise)
    chosen = choose(planes, method, model, given_mu, given_epsilon, strength)
    return _Posed(layout, planes, method, Parameters(*chosen, model))


def estimate_noise(
    image: ArrayLike,
    *,
    channel_axis: int | None = None,
    data_range: float | None = None,
    where: ArrayLike | None = None,
) -> NoiseModel:
    """The noise of an image: its level, its growth with intensity, and its correlation, by channel.

    The image and its layout are as for `denoise`, and so are the errors.

    where: (rows, columns), false for pixels that say nothing of the noise, such as those that were filled in.

    Levels are in data ranges. RGB images have the noise of the luminance/opponent basis, in which they are
    denoised; the rotation there is orthonormal, so that white noise has the same level in it.
    """
    _, planes = _planes_of(image, channel_axis, data_range)
    known = None if where is None else np.asarray(where, bool)
    if known is not None and known.shape != planes.shape[1:]:
        raise ValueError(f"where must have the shape {planes.shape[1:]} of the picture, not {known.shape}")
    return estimate_planes(planes, known)


def _planes_of(
    image: ArrayLike, channel_axis: int | None, data_range: float | None
) -> tuple[Layout, NDArray[np.floating]]:
    """The layout of an image, and its planes: luminance and opponents for RGB, others as they are."""
    if np.ma.isMaskedArray(image):
        raise TypeError("masked arrays are not supported; fill the masked values first")
    array = np.asarray(image)
    layout = Layout.of(
        array, channel_axis, checks.optional_number("data_range", data_range, limits.DATA_RANGE)
    )
    planes = layout.planes(array)
    return layout, to_opponent(planes) if len(planes) == RGB_CHANNELS else planes


def _noise_model(
    planes: NDArray[np.floating], sigma: float | None, noise: NoiseName | NoiseModel
) -> NoiseModel:
    """White noise of a given level, a given model, the estimated one, or the estimated level of white noise."""
    if sigma is not None:
        return NoiseModel.white(sigma, len(planes))
    if isinstance(noise, NoiseModel):
        if len(noise.channels) != len(planes):
            raise ValueError(
                f"the noise model has {len(noise.channels)} channels and the image {len(planes)}"
            )
        return noise
    if noise == "white":
        return estimate_white_planes(planes)
    return estimate_planes(planes)


def _require_consistent(mu: float | None, sigma: float | None, strength: float) -> None:
    """Raise ValueError for a μ of the caller's together with what only serves to choose one."""
    if mu is not None and sigma is not None:
        raise ValueError("sigma only serves to choose mu, which is given too; give one of them")
    if mu is not None and strength != 1:
        raise ValueError("strength scales the chosen mu and cannot be given with a mu of your own")
