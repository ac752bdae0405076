"""`denoise`: check the input, choose the parameters, solve, and return in the units of the input."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from tvdenoise.intensities import Layout
from tvdenoise.model.colour import RGB_CHANNELS, chroma_weights, from_opponent, to_opponent
from tvdenoise.model.engines import FusedEngine, SparseEngine
from tvdenoise.model.objective import TOTAL_VARIATIONS, Objective, TotalVariation
from tvdenoise.model.penalties import PENALTIES
from tvdenoise.noise import estimate_sigma
from tvdenoise.parameters import epsilon_for, mu_for
from tvdenoise.solver import Solution, minimise
from tvdenoise.steps import STEPS, BarzilaiBorwein, FixedStep, StepName
from tvdenoise.stopping import Certificate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import ArrayLike

PenaltyName = Literal["hyperbolic", "huber"]
EngineName = Literal["fused", "sparse"]
ENGINES: tuple[EngineName, ...] = get_args(EngineName)
DEFAULT_MAX_ITERATIONS = 2000
DEFAULT_CHROMA = 3.0

#: ε² must be a normal number of single precision.
_LEAST_EPSILON = 1e-15


def denoise(
    noisy: ArrayLike,
    mu: float | None = None,
    epsilon: float | None = None,
    *,
    sigma: float | None = None,
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
) -> Solution:
    """Minimise J(x) = Σ h(∇x) + μ/2 ‖x − f‖² for the noisy image f.

    noisy: (rows, columns), or three axes with ``channel_axis`` naming the channels; any integer or real
        floating type. It is never modified.
    mu: weight of the fidelity, > 0, in 1/data range; larger stays closer to the input. Chosen from the noise
        level where not given.
    epsilon: smoothing of the penalty, > 0, in data ranges; 0.14/μ where not given (0.28/μ for RGB).
    sigma: the noise level that ``mu`` is chosen for, > 0, in data ranges; estimated where not given.
    tolerance: stop as soon as the rms distance to the exact minimiser is certain to be at most this, ≥ 0, in
        data ranges; the larger of 0.03/μ and what single precision can certify where not given.
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

    Returns a `Solution`. Its image has the input's shape, float32 (float64 for float64 input), in the units
    of float input and in [0, 1] for integers.

    Raises ValueError for images of other dimensions, without pixels or with values that are not finite, and
    for parameters outside their range; TypeError for images that are not real numbers.
    """
    _require_choices(tv=(tv, TOTAL_VARIATIONS), penalty=(penalty, PENALTIES), step=(step, STEPS))
    _require_choices(engine=(engine, ENGINES))
    _require_positive(mu=mu, epsilon=epsilon, sigma=sigma, chroma=chroma, data_range=data_range)
    _require_limits(epsilon, tolerance, max_iterations, threads)
    image = np.asarray(noisy)
    layout = Layout.of(image, channel_axis, data_range)
    planes = layout.planes(image)
    is_rgb = planes.shape[0] == RGB_CHANNELS
    if is_rgb:
        planes = to_opponent(planes)
    if mu is None:
        sigma = estimate_sigma(planes) if sigma is None else sigma
        mu = mu_for(sigma)
    if epsilon is None:
        epsilon = epsilon_for(mu, weighted_chroma=is_rgb)
    weights = chroma_weights(chroma) if is_rgb else (1.0,) * planes.shape[0]
    objective = Objective(planes, float(mu), PENALTIES[penalty](float(epsilon)), tv, weights)
    with _engine(engine, objective, threads) as descent:
        precision = descent.iterate.dtype
        rule = BarzilaiBorwein(objective, precision) if step == "bb" else FixedStep(objective)
        certificate = Certificate.of(objective, tolerance, precision, stored=layout.precision)
        status, iterations, last = minimise(descent, rule, certificate, max_iterations)
    x = descent.iterate
    return Solution(
        image=layout.image(from_opponent(x) if is_rgb else x),
        mu=objective.mu,
        epsilon=objective.penalty.epsilon,
        sigma=sigma,
        tolerance=certificate.tolerance,
        status=status,
        iterations=iterations,
        value=last.value,
        distance_bound=certificate.distance_bound(last),
    )


def _engine(name: EngineName, objective: Objective, threads: int | None) -> FusedEngine | SparseEngine:
    """The engine of that name at its start, the noisy image."""
    if name == "sparse":
        return SparseEngine(objective, objective.noisy)
    return FusedEngine(objective, objective.noisy, threads)


def _require_choices(**choices: tuple[str, Iterable[str]]) -> None:
    for name, (value, known) in choices.items():
        if value not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}, not {value!r}")


def _require_positive(**values: float | None) -> None:
    for name, value in values.items():
        if value is not None and not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be positive and finite, not {value}")


def _require_limits(
    epsilon: float | None, tolerance: float | None, max_iterations: int, threads: int | None
) -> None:
    if epsilon is not None and epsilon < _LEAST_EPSILON:
        raise ValueError(f"epsilon must be at least {_LEAST_EPSILON}, not {epsilon}")
    if tolerance is not None and not (math.isfinite(tolerance) and tolerance >= 0):
        raise ValueError(f"tolerance must be at least 0 and finite, not {tolerance}")
    if max_iterations < 1:
        raise ValueError(f"max_iterations must be at least 1, not {max_iterations}")
    if threads is not None and threads < 1:
        raise ValueError(f"threads must be at least 1, not {threads}")
