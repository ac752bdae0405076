"""The choice of μ and ε: a sample of the image, rules for ε, the search for the μ of least estimated risk.

It ends in a `Problem` that is ready to be solved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from tvdenoise.images.data import Data, data_of
from tvdenoise.model.colour import RGB_CHANNELS, chroma_weights
from tvdenoise.model.fidelity import Fidelity
from tvdenoise.noise.estimation import estimate, estimate_white
from tvdenoise.noise.evidence import ArrayEvidence, noise_shown
from tvdenoise.noise.model import NoiseKind, NoiseModel
from tvdenoise.solver.descent import Method

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from tvdenoise.noise.evidence import NoiseEvidence
    from tvdenoise.options import Options


#: The most values (pixels times channels) in a sample.
_MOST_VALUES = 300_000
#: Tiles along each axis; fewer in volumes where tiles would be shorter than `_LEAST_RUN` and have too many seams.
_TILES = 4
_LEAST_RUN = 16


def sample(planes: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return a mosaic of tiles spread evenly over planes (channels, rows, columns) or a volume, or all if small.

    The tiles keep their order; their seams are too few to matter.
    """
    indices = sample_indices(planes.shape)
    return planes if indices is None else take_indices(planes, indices)


def sample_indices(shape: Sequence[int]) -> list[NDArray[np.intp]] | None:
    """Return the sample's indices along each spatial axis of a shape (channels, ...); None if it is the whole."""
    size = int(np.prod(shape))
    if size <= _MOST_VALUES:
        return None
    spatial = shape[1:]
    scale = (_MOST_VALUES / size) ** (1 / len(spatial))
    kept = [max(8, int(length * scale)) for length in spatial]
    if len(spatial) == 2:
        return [_spread_indices(length, most, _TILES) for length, most in zip(spatial, kept, strict=True)]
    return [
        _spread_indices(length, most, min(max(most // _LEAST_RUN, 1), _TILES))
        for length, most in zip(spatial, kept, strict=True)
    ]


def take_indices(values: NDArray[np.floating], indices: Sequence[NDArray[np.intp]]) -> NDArray[np.floating]:
    """Take these indices along the last axes of an array."""
    for axis, places in enumerate(reversed(indices), start=1):
        values = np.take(values, places, axis=-axis)
    return np.ascontiguousarray(values)


def sample_of_free(planes: NDArray[np.floating], fidelity: Fidelity) -> tuple[NDArray[np.floating], Fidelity]:
    """Sample the smallest box that holds every unknown pixel; return the planes and the pixels' weights."""
    box = [_extent(fidelity.is_free, axis) for axis in range(fidelity.coded.ndim)]
    planes, coded = planes[:, *box], fidelity.coded[tuple(box)]
    indices = sample_indices(planes.shape)
    if indices is not None:
        planes, coded = take_indices(planes, indices), take_indices(coded, indices)
    return planes, Fidelity(np.ascontiguousarray(coded, np.float32))


def _extent(is_free: NDArray[np.bool_], axis: int) -> slice:
    """Return the range of the free pixels along an axis, with the neighbour on each side that enters J."""
    others = tuple(other for other in range(is_free.ndim) if other != axis)
    places = np.flatnonzero(is_free.any(axis=others))
    return slice(max(places[0] - 1, 0), places[-1] + 2) if places.size else slice(None)


def _spread_indices(length: int, kept: int, tiles: int) -> NDArray[np.intp]:
    """Return about ``kept`` of ``length`` indices, in equal runs at equal distances."""
    if kept >= length:
        return np.arange(length)
    run = -(-kept // tiles)
    if tiles == 1:
        return np.arange(run) + (length - run) // 2
    starts = np.linspace(0, length - run, tiles).astype(np.intp)
    return np.unique(np.add.outer(starts, np.arange(run)).ravel())


#: μσ for white noise in an ordinary image.
_MU_SIGMA = 1.4
#: The least noise level assumed (a tenth of an 8-bit grey level), so that an image without noise comes back
#: unchanged instead of causing a division by zero.
LEAST_SIGMA = 0.1 / 255
#: ε μ: a tenth of the noise level for equal channel weights, a fifth if the opponents are weighted.
_EPSILON_MU = 0.14
_EPSILON_MU_CHROMA = 0.28
_LARGEST_EPSILON = 1 / 6
#: Below the spacing of the intensities, a smaller ε changes only the condition of J.
LEAST_CHOSEN_EPSILON = 1e-9
#: If pixels are missing; a part of the span of the intensities.
_LEAST_FILLING_EPSILON = 1 / 256


def mu_for(sigma: float) -> float:
    """Return μ = 1.4/σ for white noise of level σ (data ranges); σ is at least a tenth of an 8-bit grey level."""
    return _MU_SIGMA / max(sigma, LEAST_SIGMA)


def epsilon_for(
    mu: float, *, weighted_chroma: bool, span: float = np.inf, least: float = LEAST_CHOSEN_EPSILON
) -> float:
    """Return ε = 0.14/μ, or 0.28/μ if the opponents are weighted: a fixed part of the noise level that suits μ.

    ε is at most a sixth of the span of the intensities, so that a very small μ smooths more instead of making
    edges as cheap as slopes.
    """
    scale = _EPSILON_MU_CHROMA if weighted_chroma else _EPSILON_MU
    return max(min(scale / mu, _LARGEST_EPSILON * span), least)


def least_epsilon(planes: NDArray[np.floating], fidelity: Fidelity | None, *, weighted_chroma: bool) -> float:
    """Return the least ε to choose: with missing pixels, 1/256 of the span (1/128 if the opponents are weighted).

    At missing pixels, where only the total variation acts, a smaller ε slows the solve and improves nothing.
    """
    if fidelity is None or not fidelity.has_missing:
        return LEAST_CHOSEN_EPSILON
    part = _LEAST_FILLING_EPSILON * (2 if weighted_chroma else 1)
    return max(part * float(np.ptp(planes)), LEAST_CHOSEN_EPSILON)


#: The range of μσ to search.
_LEAST_MU_SIGMA, _LARGEST_MU_SIGMA = 0.1, 100.0
#: Steps of the search in log μ: coarse first, then fine around the best.
_COARSE_STEP, _FINE_STEP = 0.8, 0.4


#: The size δ of the probe, as a part of the noise; larger for real noise, whose skewness a small probe misses.
_PROBE = {NoiseKind.WHITE: 0.1, NoiseKind.INTENSITY: 0.3, NoiseKind.CORRELATED: 0.3}
#: The tolerance of both solves, as a part of the probe.
_PROBE_EXACTNESS = 1 / 50
_PROBE_SEED = 1


@dataclass(eq=False)
class Risk:
    """An unbiased estimate of the mean squared error of the result, up to a constant, as a function of log μ.

    If pixels have weights, μ means μ times their mean. The error is that of the known pixels only (w > 0).

    For noise of covariance Σ the risk is ‖x − f‖²/N + 2 tr(Σ ∂x/∂f)/N less a constant (Stein, Ann. Statist.
    9(6), 1981), and the trace is the mean of ⟨n', x(f + δn') − x(f)⟩/δ over noise n' of that covariance
    (Ramani, Blu and Unser, IEEE TIP 17(9), 2008, where n' is white). Each solve starts from the previous one.
    """

    noisy: NDArray[np.float32]
    probe: NDArray[np.float32]
    method: Method
    epsilon: float | None
    part: float
    fidelity: Fidelity | None = None
    typical: float = 1.0
    least_epsilon: float = LEAST_CHOSEN_EPSILON
    last: NDArray[np.floating] | None = None

    @classmethod
    def of(
        cls,
        planes: NDArray[np.floating],
        noise: NoiseModel,
        method: Method,
        epsilon: float | None,
        fidelity: Fidelity | None = None,
    ) -> Risk:
        """Set up the risk for planes, with a probe drawn from the noise model with a fixed seed."""
        typical = 1.0
        least = least_epsilon(planes, fidelity, weighted_chroma=method.has_weighted_chroma)
        if fidelity is None:
            planes = sample(planes)
        else:
            typical = fidelity.typical
            planes, fidelity = sample_of_free(planes, fidelity)
        noisy = np.ascontiguousarray(planes, np.float32)
        return cls.on(noisy, noise, method, epsilon, fidelity, typical, least)

    @classmethod
    def on(
        cls,
        noisy: NDArray[np.float32],
        noise: NoiseModel,
        method: Method,
        epsilon: float | None,
        fidelity: Fidelity | None = None,
        typical: float = 1.0,
        least: float = LEAST_CHOSEN_EPSILON,
    ) -> Risk:
        """Do the same on a sample of planes, with the weights of its pixels."""
        quick = method.quick
        probe = noise.draw(noisy, _PROBE_SEED)
        if fidelity is not None:
            probe[:, ~fidelity.is_known] = 0
        return cls(noisy, probe, quick, epsilon, _PROBE[noise.kind], fidelity, typical, least)

    @property
    def level(self) -> float:
        """The root mean square of the probe, in data ranges."""
        return float(np.sqrt(self._mean(np.square(self.probe, dtype=np.float64))))

    def best_mu(self) -> float:
        """Return the μ of least risk."""
        return float(np.exp(_argmin(self, max(self.level, LEAST_SIGMA))))

    def __call__(self, log_mu: float) -> float:
        """Return the estimated risk less a constant, in squared data ranges per pixel."""
        mu = float(np.exp(log_mu))
        weighted = self.method.has_weighted_chroma
        epsilon = epsilon_for(mu, weighted_chroma=weighted, least=self.least_epsilon)
        epsilon = epsilon if self.epsilon is None else self.epsilon
        tolerance = self.part * _PROBE_EXACTNESS * self.level
        step = np.float32(self.part) * self.probe
        minimise = partial(
            self.method.minimise,
            mu=mu / self.typical,
            epsilon=epsilon,
            tolerance=tolerance,
            fidelity=self.fidelity,
        )
        x = minimise(self.noisy, start=self.last).x
        moved = minimise(self.noisy + step, start=x + step).x
        self.last = x
        residual = self._mean(np.square(x - self.noisy, dtype=np.float64))
        divergence = self._mean(np.multiply(self.probe, moved - x, dtype=np.float64)) / self.part
        return float(residual + 2 * divergence)

    def _mean(self, values: NDArray[np.floating]) -> float:
        """Return the mean over the known pixels."""
        return float(np.mean(values if self.fidelity is None else values[:, self.fidelity.is_known]))


def _argmin(risk: Callable[[float], float], sigma: float) -> float:
    """Return log μ of the least risk: coarse steps around μσ = 1, fine steps downhill, then a parabola."""
    known: dict[float, float] = {}
    low, high = float(np.log(_LEAST_MU_SIGMA / sigma)), float(np.log(_LARGEST_MU_SIGMA / sigma))

    def at(log_mu: float) -> float:
        if log_mu not in known:
            known[log_mu] = risk(log_mu)
        return known[log_mu]

    best = min((k * _COARSE_STEP - float(np.log(sigma)) for k in (1, 0, -1, -2)), key=at)
    for step in (_FINE_STEP, -_FINE_STEP):
        while low < best + step < high and at(best + step) < at(best):
            best += step
    before, here, after = at(best - _FINE_STEP), at(best), at(best + _FINE_STEP)
    curvature = before - 2 * here + after
    if curvature <= 0:
        return best
    return best + float(np.clip((before - after) / (2 * curvature), -0.5, 0.5)) * _FINE_STEP


#: With fewer known pixels, the risk is no guide.
_LEAST_KNOWN = 50


@dataclass(frozen=True, eq=False)
class Parameters:
    """mu, epsilon: the parameters of J, in units of the data range; noise: the basis of mu, None if mu was given."""

    mu: float
    epsilon: float
    noise: NoiseModel | None = None


def choose(
    planes: NDArray[np.floating],
    method: Method,
    noise: NoiseModel | None,
    mu: float | None,
    epsilon: float | None,
    strength: float = 1.0,
    fidelity: Fidelity | None = None,
) -> tuple[float, float]:
    """Choose μ and ε for planes (channels, rows, columns) or a volume, unless given.

    noise: the noise to choose μ for; required if μ is None. strength: divides the chosen μ.
    fidelity: the weights of pixels, None for ones; ε follows from μ times their mean.
    """
    typical = 1.0 if fidelity is None else fidelity.typical
    if mu is None:
        assert noise is not None
        mu = choose_mu(planes, noise, method, epsilon, fidelity) / strength
    if epsilon is None:
        weighted, span = method.has_weighted_chroma, float(np.ptp(planes))
        least = least_epsilon(planes, fidelity, weighted_chroma=weighted)
        epsilon = epsilon_for(mu * typical, weighted_chroma=weighted, span=span, least=least)
    return mu, epsilon


def choose_by_sample(
    sampled: NDArray[np.floating] | None,
    span: float,
    method: Method,
    noise: NoiseModel | None,
    mu: float | None,
    epsilon: float | None,
    strength: float = 1.0,
) -> tuple[float, float]:
    """Choose μ and ε as `choose` does, from a `sample` of the planes and the span of all planes.

    sampled: required if μ is None.
    """
    if mu is None:
        assert noise is not None
        assert sampled is not None
        if noise.sigma < LEAST_SIGMA:
            mu = mu_for(noise.sigma)
        else:
            mu = Risk.on(np.ascontiguousarray(sampled, np.float32), noise, method, epsilon).best_mu()
        mu /= strength
    if epsilon is None:
        epsilon = epsilon_for(mu, weighted_chroma=method.has_weighted_chroma, span=span)
    return mu, epsilon


def choose_mu(
    planes: NDArray[np.floating],
    noise: NoiseModel,
    method: Method,
    epsilon: float | None = None,
    fidelity: Fidelity | None = None,
) -> float:
    """Return the μ of least estimated risk for planes (channels, rows, columns) or a volume with this noise.

    epsilon: fixed if given; otherwise it follows from each μ. fidelity: the weights of pixels, None for ones.
    """
    typical = 1.0 if fidelity is None else fidelity.typical
    if noise.sigma < LEAST_SIGMA:
        return mu_for(noise.sigma) / typical
    risk = Risk.of(planes, noise, method, epsilon, fidelity)
    if risk.fidelity is not None and np.count_nonzero(risk.fidelity.is_known) < _LEAST_KNOWN:
        return mu_for(noise.sigma) / typical
    return risk.best_mu() / typical


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
