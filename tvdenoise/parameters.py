"""The choice of μ and ε: the estimated risk, the search for its minimum, and the sample on which it runs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from tvdenoise.model.fidelity import Fidelity
from tvdenoise.noise.model import NoiseKind
from tvdenoise.solver.descent import Method

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from tvdenoise.noise.model import NoiseModel


#: Values (pixels times channels) of a sample.
_MOST_VALUES = 300_000
#: Tiles a side; fewer, in volumes, where they would be thinner than this: the seams would be too many.
_TILES = 4
_LEAST_RUN = 16


def sample(planes: NDArray[np.floating]) -> NDArray[np.floating]:
    """Planes (channels, rows, columns) as they are where small, else a mosaic of tiles spread evenly over them.

    The tiles lie side by side in their own order; their seams are few enough not to matter. The same for volumes.
    """
    pieces = pieces_of(planes.shape)
    return planes if pieces is None else taken(planes, pieces)


def pieces_of(shape: Sequence[int]) -> list[NDArray[np.intp]] | None:
    """The places along each spatial axis that a sample holds; None where it is the whole of a shape (channels, ...)."""
    size = int(np.prod(shape))
    if size <= _MOST_VALUES:
        return None
    spatial = shape[1:]
    scale = (_MOST_VALUES / size) ** (1 / len(spatial))
    kept = [max(8, int(length * scale)) for length in spatial]
    if len(spatial) == 2:
        return [_pieces(length, most, _TILES) for length, most in zip(spatial, kept, strict=True)]
    return [
        _pieces(length, most, min(max(most // _LEAST_RUN, 1), _TILES))
        for length, most in zip(spatial, kept, strict=True)
    ]


def taken(values: NDArray[np.floating], pieces: Sequence[NDArray[np.intp]]) -> NDArray[np.floating]:
    """The sample at these places along the last axes of an array."""
    for axis, places in enumerate(reversed(pieces), start=1):
        values = np.take(values, places, axis=-axis)
    return np.ascontiguousarray(values)


def sample_of_free(planes: NDArray[np.floating], fidelity: Fidelity) -> tuple[NDArray[np.floating], Fidelity]:
    """The same of the smallest box that holds every pixel that is sought, with the pixels' weights."""
    box = [_extent(fidelity.is_free, axis) for axis in range(fidelity.coded.ndim)]
    planes, coded = planes[:, *box], fidelity.coded[tuple(box)]
    pieces = pieces_of(planes.shape)
    if pieces is not None:
        planes, coded = taken(planes, pieces), taken(coded, pieces)
    return planes, Fidelity(np.ascontiguousarray(coded, np.float32))


def _extent(is_free: NDArray[np.bool_], axis: int) -> slice:
    """From the first to the last free pixel along an axis, and one more on both sides, which they are compared with."""
    others = tuple(other for other in range(is_free.ndim) if other != axis)
    places = np.flatnonzero(is_free.any(axis=others))
    return slice(max(places[0] - 1, 0), places[-1] + 2) if places.size else slice(None)


def _pieces(length: int, kept: int, tiles: int) -> NDArray[np.intp]:
    """The indices of about ``kept`` of ``length`` places, in equal runs at equal distances."""
    if kept >= length:
        return np.arange(length)
    run = -(-kept // tiles)
    if tiles == 1:
        return np.arange(run) + (length - run) // 2
    starts = np.linspace(0, length - run, tiles).astype(np.intp)
    return np.unique(np.add.outer(starts, np.arange(run)).ravel())


#: μσ for white noise and an ordinary picture.
_MU_SIGMA = 1.4
#: No image is taken to have less noise than this (a tenth of an 8-bit grey level), so that an image without
#: noise comes back unchanged rather than divides by zero.
LEAST_SIGMA = 0.1 / 255
#: ε μ: a tenth of the noise level for one weight on all channels, a fifth for weighted opponents.
_EPSILON_MU = 0.14
_EPSILON_MU_CHROMA = 0.28
_LARGEST_EPSILON = 1 / 6
#: Below the spacing of the intensities themselves a smaller ε changes nothing but the condition of J.
LEAST_CHOSEN_EPSILON = 1e-9
#: Where pixels are missing, in spans of the intensities.
_LEAST_FILLING_EPSILON = 1 / 256


def mu_for(sigma: float) -> float:
    """μ = 1.4/σ for white noise of level σ (data ranges), floored at a tenth of an 8-bit grey level."""
    return _MU_SIGMA / max(sigma, LEAST_SIGMA)


def epsilon_for(
    mu: float, *, weighted_chroma: bool, span: float = np.inf, least: float = LEAST_CHOSEN_EPSILON
) -> float:
    """ε = 0.14/μ, or 0.28/μ where the opponents are weighted: a fixed part of the noise level that μ stands for.

    At most a sixth of the span of the intensities: a μ far below what the image's noise wants shall smooth
    more, not turn the edges that it would keep into slopes that cost nothing.
    """
    scale = _EPSILON_MU_CHROMA if weighted_chroma else _EPSILON_MU
    return max(min(scale / mu, _LARGEST_EPSILON * span), least)


def least_epsilon(planes: NDArray[np.floating], fidelity: Fidelity | None, *, weighted_chroma: bool) -> float:
    """The least ε that is chosen: 1/256 of the span (1/128 where the opponents are weighted) where pixels are missing.

    Where nothing but the total variation acts a smaller ε makes the solve long, and the filling no better.
    """
    if fidelity is None or not fidelity.has_missing:
        return LEAST_CHOSEN_EPSILON
    part = _LEAST_FILLING_EPSILON * (2 if weighted_chroma else 1)
    return max(part * float(np.ptp(planes)), LEAST_CHOSEN_EPSILON)


#: The search looks at no other μσ than from here to there.
_LEAST_MU_SIGMA, _LARGEST_MU_SIGMA = 0.1, 100.0
#: Steps of the search in log μ: first apart, then near the best.
_COARSE_STEP, _FINE_STEP = 0.8, 0.4


#: The probe is this much of the noise: real noise is skewed, which a larger probe sees ...
_PROBE = {NoiseKind.WHITE: 0.1, NoiseKind.INTENSITY: 0.3, NoiseKind.CORRELATED: 0.3}
#: ... and both solves are exact to this part of the probe.
_PROBE_EXACTNESS = 1 / 50
_PROBE_SEED = 1


@dataclass(eq=False)
class Risk:
    """An unbiased estimate of the mean squared error of the result, up to a constant, as a function of log μ.

    Where pixels have weights μ stands for its product with their mean. The error is that of the pixels which are
    sought and known; of the others nothing can be said.

    With noise of covariance Σ the risk is ‖x − f‖²/N + 2 tr(Σ ∂x/∂f)/N less a constant (Stein, Ann. Statist.
    9(6), 1981), and the trace is the mean of ⟨n', x(f + δn') − x(f)⟩/δ over noise n' of that covariance
    (Ramani, Blu and Unser, IEEE TIP 17(9), 2008, where n' is white). Both solves start from the last one.
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
        """The risk for planes, probed by noise drawn from the model with a fixed seed."""
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
        """The same on a sample of planes, with the weights of its pixels."""
        quick = method.quick
        probe = noise.draw(noisy, _PROBE_SEED)
        if fidelity is not None:
            probe[:, ~fidelity.is_known] = 0
        return cls(noisy, probe, quick, epsilon, _PROBE[noise.kind], fidelity, typical, least)

    @property
    def level(self) -> float:
        """Root mean square of the probing noise, in data ranges."""
        return float(np.sqrt(self._mean(np.square(self.probe, dtype=np.float64))))

    def best_mu(self) -> float:
        """The μ of least risk."""
        return float(np.exp(_least(self, max(self.level, LEAST_SIGMA))))

    def __call__(self, log_mu: float) -> float:
        """The estimated risk, squared data ranges a pixel, less a constant."""
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
        """Over the pixels that are sought and known."""
        return float(np.mean(values if self.fidelity is None else values[:, self.fidelity.is_known]))


def _least(risk: Callable[[float], float], sigma: float) -> float:
    """log μ of the least risk: coarse steps around μσ = 1, downhill in fine ones, then a parabola."""
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


#: Of fewer pixels that are sought and known the risk says nothing.
_LEAST_KNOWN = 50


@dataclass(frozen=True, eq=False)
class Parameters:
    """mu, epsilon: as in J, in units of the data range; noise: that mu was chosen for, None where mu was given."""

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
    """μ and ε for planes (channels, rows, columns), or a volume: what is given is kept, the other chosen for it.

    noise: the noise that μ is chosen for; needed where μ is not given. strength: divides the chosen μ.
    fidelity: the weights of pixels, None for ones. ε follows from μ times their mean.
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
    """As `choose`, from a sample of planes as `tvdenoise.parameters` takes it, and the span of them all.

    sampled: needed where μ is not given.
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
    """The μ of least estimated risk for planes (channels, rows, columns), or a volume, with this noise.

    epsilon: kept where given; otherwise it follows from each μ. fidelity: the weights of pixels, None for ones.
    """
    typical = 1.0 if fidelity is None else fidelity.typical
    if noise.sigma < LEAST_SIGMA:
        return mu_for(noise.sigma) / typical
    risk = Risk.of(planes, noise, method, epsilon, fidelity)
    if risk.fidelity is not None and np.count_nonzero(risk.fidelity.is_known) < _LEAST_KNOWN:
        return mu_for(noise.sigma) / typical
    return risk.best_mu() / typical
