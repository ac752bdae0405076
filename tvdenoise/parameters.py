"""The choice of μ and ε: a sample of the image, rules for ε, the search for the μ of least estimated risk.

It ends in a `Problem` that is ready to be solved.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from tvdenoise.images.data import Data, Layout, data_of
from tvdenoise.model.colour import RGB_CHANNELS, chroma_weights, require_colour
from tvdenoise.model.fidelity import HELD, Fidelity
from tvdenoise.model.prior_file import LearnedPrior, prior_named
from tvdenoise.noise.estimation import estimate, estimate_chroma, estimate_white
from tvdenoise.noise.evidence import ArrayEvidence, noise_shown, unclipped_pixels
from tvdenoise.noise.model import NoiseKind, NoiseModel
from tvdenoise.solver.descent import Method
from tvdenoise.solver.filling import filled
from tvdenoise.solver.stopping import Certificate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from tvdenoise.model.filters import FilterBank
    from tvdenoise.noise.evidence import NoiseEvidence
    from tvdenoise.options import Options


Value = TypeVar("Value", bound=np.generic)
#: The most values (pixels times channels) in a sample; with learned filters, whose solves take longer.
MOST_VALUES, _MOST_FILTERED_VALUES = 300_000, 48_000
#: Tiles along each axis; fewer in volumes where tiles would be shorter than `_LEAST_RUN` and have too many seams.
_TILES = 4
_LEAST_RUN = 16


#: Planes, the weights of their pixels, and the pixels away from clipped ones; None for ones, and for all.
Sample = tuple["NDArray[np.floating]", "Fidelity | None", "NDArray[np.bool_] | None"]


def sample(planes: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return a mosaic of tiles spread evenly over planes (channels, rows, columns) or a volume, or all if small.

    The tiles keep their order; their seams are too few to matter.
    """
    indices = sample_indices(planes.shape)
    return planes if indices is None else take_indices(planes, indices)


def most_values_for(method: Method) -> int:
    """Return the most values in a sample of an image without weights."""
    return MOST_VALUES if method.bank is None else _MOST_FILTERED_VALUES


def sample_indices(shape: Sequence[int], most_values: int = MOST_VALUES) -> list[NDArray[np.intp]] | None:
    """Return the sample's indices along each spatial axis of a shape (channels, ...); None if it is the whole."""
    size = int(np.prod(shape))
    if size <= most_values:
        return None
    spatial = shape[1:]
    scale = (most_values / size) ** (1 / len(spatial))
    kept = [max(8, int(length * scale)) for length in spatial]
    if len(spatial) == 2:
        return [_spread_indices(length, most, _TILES) for length, most in zip(spatial, kept, strict=True)]
    return [
        _spread_indices(length, most, min(max(most // _LEAST_RUN, 1), _TILES))
        for length, most in zip(spatial, kept, strict=True)
    ]


def take_indices(values: NDArray[Value], indices: Sequence[NDArray[np.intp]]) -> NDArray[Value]:
    """Take these indices along the last axes of an array."""
    for axis, places in enumerate(reversed(indices), start=1):
        values = np.take(values, places, axis=-axis)
    return np.ascontiguousarray(values)


def sample_of_free(
    planes: NDArray[np.floating], fidelity: Fidelity, unclipped: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.floating], Fidelity, NDArray[np.bool_] | None]:
    """Sample the smallest box that holds every unknown pixel: planes, the pixels' weights, and where unclipped."""
    box = tuple(_extent(fidelity.is_free, axis) for axis in range(fidelity.coded.ndim))
    planes, coded = planes[:, *box], fidelity.coded[box]
    unclipped = None if unclipped is None else unclipped[box]
    indices = sample_indices(planes.shape)
    if indices is not None:
        planes, coded = take_indices(planes, indices), take_indices(coded, indices)
        unclipped = None if unclipped is None else take_indices(unclipped, indices)
    return planes, Fidelity(np.ascontiguousarray(coded)), unclipped


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
#: ε μ: a tenth of the noise level for equal channel weights, a fifth if the opponents are weighted.
_EPSILON_MU = 0.14
_EPSILON_MU_CHROMA = 0.28
#: The same for the opponents alone, whose noise suits a smaller μ; less than 0.02 gains nothing but evaluations, and
#: 0.14 costs up to 1.5 dB.
_EPSILON_MU_CHROMA_ONLY = 0.04
_LARGEST_EPSILON = 1 / 6
#: A part of the span of the intensities. Below their spacing, a smaller ε changes only the condition of J.
_LEAST_EPSILON = 1e-9
#: If pixels are missing; a part of the span of the intensities.
_LEAST_FILLING_EPSILON = 1 / 256


def mu_for(sigma: float) -> float:
    """Return μ = 1.4/σ for white noise of level σ > 0."""
    return _MU_SIGMA / sigma


def mu_without_noise(least_sigma: float, method: Method) -> float:
    """Return the μ for an image without noise: large enough that integers come back after rounding.

    No value moves by more than the weight of its channel times √d + d (for d axes; 2d if anisotropic), over μ.
    """
    return mu_for(least_sigma) * max(method.gain, *method.channel_weights)


def epsilon_for(
    mu: float,
    *,
    weighted_chroma: bool,
    span: float,
    chroma_only: float | None = None,
    least: float = 0.0,
    is_limited: bool = True,
) -> float:
    """Return ε = 0.14/μ, or 0.28/μ if the opponents are weighted: a fixed part of the noise level that suits μ.

    chroma_only: the weight c of the opponents if only these are solved, with ε = 0.04 c²/μ: J is then c times that
    without weights for μ/c and ε/c, and so the result does not depend on c.

    ε is at most a sixth of the span of the intensities, so that a very small μ smooths more instead of making
    edges as cheap as slopes (is_limited); it is at least ``least``, and 1e-9 of the span.
    """
    scale, largest = _EPSILON_MU_CHROMA if weighted_chroma else _EPSILON_MU, _LARGEST_EPSILON
    if chroma_only is not None:
        scale, largest = _EPSILON_MU_CHROMA_ONLY * chroma_only**2, _LARGEST_EPSILON * chroma_only
    chosen = min(scale / mu, largest * span) if is_limited and span > 0 else scale / mu
    return max(chosen, least, _LEAST_EPSILON * span)


def least_epsilon(planes: NDArray[np.floating], fidelity: Fidelity | None, *, weighted_chroma: bool) -> float:
    """Return the least ε to choose: with missing pixels, 1/256 of the span (1/128 if the opponents are weighted).

    At missing pixels, where only the total variation acts, a smaller ε slows the solve and improves nothing.
    """
    if fidelity is None or not fidelity.has_missing:
        return 0.0
    return _LEAST_FILLING_EPSILON * (2 if weighted_chroma else 1) * float(np.ptp(planes))


#: The range of μσ to search.
_LEAST_MU_SIGMA, _LARGEST_MU_SIGMA = 0.1, 100.0
#: Steps of the search in log μ: coarse first, then fine around the best.
_COARSE_STEP, _FINE_STEP = 0.8, 0.4
#: log μσ at which the search begins for white noise, whose risk has one minimum: a step above that of an ordinary
#: image, so that the solve that starts from the noisy image is rarely the one that decides.
_BEGINNING = 0.8


#: The size δ of the probe, as a part of the noise; larger for real noise, whose skewness a small probe misses.
_PROBE = {NoiseKind.WHITE: 0.1, NoiseKind.INTENSITY: 0.3, NoiseKind.CORRELATED: 0.3}
#: The tolerance of both solves, as a part of the probe: in single precision, and in double, which can do more.
_PROBE_EXACTNESS, _PROBE_EXACTNESS_DOUBLE = 1 / 75, 1 / 100
#: The level of correlated noise is uncertain: a part of its square by which the risk may rise in order to smooth less.
#: Learned filters, which remove more of what is taken for noise, may smooth still less; it costs nothing on real noise.
_CAUTION, _FILTERED_CAUTION = 0.002, 0.005
#: Below this part of the span, single precision cannot solve for the probe that exactly.
_FAINT = 1e-3
_PROBE_SEED = 1


@dataclass(eq=False)
class Risk:
    """An unbiased estimate of the mean squared error of the result, up to a constant, as a function of log μ.

    If pixels have weights, μ means μ times their mean. The error is that of the counted pixels only: those that are
    known (w > 0) and not clipped.

    For noise of covariance Σ the risk is ‖x − f‖²/N + 2 tr(Σ ∂x/∂f)/N less a constant (Stein, Ann. Statist.
    9(6), 1981), and the trace is the mean of ⟨n', x(f + δn') − x(f)⟩/δ over noise n' of that covariance
    (Ramani, Blu and Unser, IEEE TIP 17(9), 2008, where n' is white). Each solve starts from the previous one.
    """

    noisy: NDArray[np.floating]
    probe: NDArray[np.floating]
    method: Method
    epsilon: float | None
    part: float
    fidelity: Fidelity | None = None
    typical: float = 1.0
    least_epsilon: float = 0.0
    counted: NDArray[np.bool_] | None = None
    is_uncertain: bool = False
    is_white: bool = False
    last: NDArray[np.floating] | None = None

    @classmethod
    def of(
        cls,
        data: Data,
        noise: NoiseModel,
        method: Method,
        epsilon: float | None,
    ) -> Risk:
        """Set up the risk for an image, with a probe drawn from the noise model with a fixed seed."""
        planes, fidelity = data.planes, data.fidelity
        unclipped = unclipped_pixels(data)
        typical = 1.0 if fidelity is None else fidelity.typical
        least = least_epsilon(planes, fidelity, weighted_chroma=method.has_weighted_chroma)
        if fidelity is None:
            indices = sample_indices(planes.shape, most_values_for(method))
            if indices is not None:
                planes = take_indices(planes, indices)
                unclipped = None if unclipped is None else take_indices(unclipped, indices)
        else:
            planes, fidelity, unclipped = sample_of_free(planes, fidelity, unclipped)
        return cls.on(planes, noise, method, epsilon, fidelity, typical, least, unclipped)

    @classmethod
    def on(
        cls,
        noisy: NDArray[np.floating],
        noise: NoiseModel,
        method: Method,
        epsilon: float | None,
        fidelity: Fidelity | None = None,
        typical: float = 1.0,
        least: float = 0.0,
        unclipped: NDArray[np.bool_] | None = None,
    ) -> Risk:
        """Do the same on a sample of planes, with the weights of its pixels.

        unclipped: the pixels whose noise is not cut away; None for all.
        """
        quick = method.quick
        probe = noise.draw(noisy, _PROBE_SEED)
        noisy = method.solved(noisy)
        is_faint = noise.sigma < _FAINT * float(np.ptp(noisy))
        # Many evaluations, as for weighted opponents and missing pixels, multiply rounding errors until a solve ends a
        # little earlier or later: in single precision, a factor to the intensities changes their μ by up to a tenth.
        is_filling = fidelity is not None and fidelity.has_missing
        is_double = is_faint or is_filling or method.has_weighted_chroma
        noisy = np.ascontiguousarray(noisy, np.float64 if is_double else np.float32)
        counted = unclipped
        if fidelity is not None:
            counted = fidelity.is_known if unclipped is None else fidelity.is_known & unclipped
        if counted is not None:
            probe[:, ~counted] = 0
        if fidelity is not None:
            fidelity = Fidelity(np.ascontiguousarray(fidelity.coded, noisy.dtype))
        part = _PROBE[noise.kind]
        is_uncertain = noise.kind is NoiseKind.CORRELATED
        is_white = noise.kind is NoiseKind.WHITE
        return cls(
            noisy, probe, quick, epsilon, part, fidelity, typical, least, counted, is_uncertain, is_white
        )

    @cached_property
    def span(self) -> float:
        """The span of the intensities."""
        return float(np.ptp(self.noisy))

    @cached_property
    def level(self) -> float:
        """The root mean square of the probe."""
        return float(np.sqrt(self._mean(np.square(self.probe, dtype=np.float64))))

    @property
    def is_informed(self) -> bool:
        """True if enough pixels count."""
        return self.counted is None or int(np.count_nonzero(self.counted)) >= _LEAST_KNOWN

    def best_mu(self) -> float:
        """Return the μ of least risk."""
        allowed = _CAUTION if self.method.bank is None else _FILTERED_CAUTION
        caution = allowed * self.level**2 if self.is_uncertain else 0.0
        sigma = self.level / self.method.gain
        return float(np.exp(_argmin(self, sigma, caution, has_one_minimum=self.is_white)))

    def __call__(self, log_mu: float) -> float:
        """Return the estimated risk less a constant, per pixel."""
        mu = float(np.exp(log_mu))
        weighted = self.method.has_weighted_chroma
        epsilon = self.epsilon
        if epsilon is None:
            epsilon = epsilon_for(
                mu,
                weighted_chroma=weighted,
                span=self.span,
                chroma_only=self.method.chroma_only,
                least=self.least_epsilon,
                is_limited=False,
            )
        exactness = _PROBE_EXACTNESS if self.noisy.dtype == np.float32 else _PROBE_EXACTNESS_DOUBLE
        tolerance = self.part * exactness * self.level
        if self.method.bank is not None:  # whose bound holds for the worst direction, far above the distance
            tolerance /= 1 - self.method.bank.concavity
        step = self.noisy.dtype.type(self.part) * self.probe.astype(self.noisy.dtype, copy=False)
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
        """Return the mean over the counted pixels."""
        if self.counted is None:
            return float(np.mean(values))
        count = len(values) * int(np.count_nonzero(self.counted))
        return float(np.multiply(values, self.counted, out=values).sum()) / count if count else float("nan")


def _argmin(
    risk: Callable[[float], float], sigma: float, caution: float = 0.0, *, has_one_minimum: bool = False
) -> float:
    """Return log μ of the least risk: coarse steps around μσ = 1, fine steps downhill, then a parabola.

    caution: smooth less as long as that costs no more than this. has_one_minimum: leave out the coarse steps, which
    cost half of the solves and only find the right one of several minima.
    """
    known: dict[float, float] = {}
    low, high = float(np.log(_LEAST_MU_SIGMA / sigma)), float(np.log(_LARGEST_MU_SIGMA / sigma))

    def at(log_mu: float) -> float:
        if log_mu not in known:
            known[log_mu] = risk(log_mu)
        return known[log_mu]

    if has_one_minimum:
        best = _BEGINNING - float(np.log(sigma))
    else:
        best = min((k * _COARSE_STEP - float(np.log(sigma)) for k in (1, 0, -1, -2)), key=at)
    for step in (-_FINE_STEP, _FINE_STEP) if has_one_minimum else (_FINE_STEP, -_FINE_STEP):
        while low < best + step < high and at(best + step) < at(best):
            best += step
    allowed = at(best) + caution
    while caution > 0 and best + _FINE_STEP < high and at(best + _FINE_STEP) <= allowed:
        best += _FINE_STEP
    before, here, after = at(best - _FINE_STEP), at(best), at(best + _FINE_STEP)
    curvature = before - 2 * here + after
    if curvature <= 0:
        return best
    return best + float(np.clip((before - after) / (2 * curvature), -0.5, 0.5)) * _FINE_STEP


#: With fewer counted pixels, the risk is no guide.
_LEAST_KNOWN = 50
#: The range of μ and of intensities, in units of the planes, that the precisions can hold.
_LARGEST_MU, _LARGEST_PART = 1e33, 1e17


@dataclass(frozen=True, eq=False)
class Parameters:
    """The parameters of J, in units of the data range.

    noise: the basis of mu, None if mu was given. level: of learned filters, whose mu is 1/level and whose epsilon is 0;
    None with total variation.
    """

    mu: float
    epsilon: float
    noise: NoiseModel | None = None
    level: float | None = None

    @classmethod
    def of(
        cls,
        method: Method,
        mu: float,
        epsilon: float,
        noise: NoiseModel | None,
        layout: Layout,
        channels: int,
    ) -> Parameters:
        """Return parameters of an image of so many channels; mu, epsilon and noise: in the units of a layout."""
        scale = layout.scale
        return cls(
            mu / scale,
            epsilon * scale,
            None if noise is None else in_data_ranges(noise, layout, channels),
            None if method.bank is None else scale / mu,
        )

    @property
    def named(self) -> dict[str, float]:
        """The parameters that the prior has, by the names of their options."""
        if self.level is not None:
            return {"level": self.level}
        return {"mu": self.mu, "epsilon": self.epsilon}


#: The most images of a stack on which its parameters are chosen; odd, so that the median is one of the values.
MOST_SAMPLED_IMAGES = 9


def median_of(choices: Sequence[Parameters]) -> Parameters:
    """Return the parameters with the median μ, the lower of two in the middle.

    Images without noise, such as uniform ones before and after the specimen, do not count if others have noise.
    """
    counted = [each for each in choices if each.noise is None or each.noise.sigma > 0] or choices
    middle = statistics.median_low(each.mu for each in counted)
    return next(each for each in counted if each.mu == middle)


def choose(
    data: Data,
    method: Method,
    noise: NoiseModel | None,
    mu: float | None,
    epsilon: float | None,
    strength: float,
) -> tuple[float, float]:
    """Choose μ and ε for an image, unless given.

    data: with the luminance, even if it is kept: the noise may vary with it.
    noise: the noise to choose μ for; required if μ is None. strength: divides the chosen μ.
    If pixels have weights, ε follows from μ times their mean.
    """
    planes, fidelity = data.planes, data.fidelity
    typical = 1.0 if fidelity is None else fidelity.typical
    if mu is None:
        assert noise is not None
        mu = choose_mu(data, noise, method, epsilon) / strength
    if method.bank is not None:
        return mu, 0.0
    if epsilon is None:
        weighted, span = method.has_weighted_chroma, float(np.ptp(method.solved(planes)))
        least = least_epsilon(planes, fidelity, weighted_chroma=weighted)
        epsilon = epsilon_for(
            mu * typical,
            weighted_chroma=weighted,
            chroma_only=method.chroma_only,
            span=span,
            least=least,
        )
    return mu, epsilon


def choose_mu(data: Data, noise: NoiseModel, method: Method, epsilon: float | None = None) -> float:
    """Return the μ of least estimated risk for an image with this noise.

    epsilon: fixed if given; otherwise it follows from each μ.
    """
    typical = 1.0 if data.fidelity is None else data.fidelity.typical
    risk = partial(Risk.of, data, noise, method, epsilon)
    return _mu_for_noise(noise, method, data.layout.least_sigma, risk) / typical


def _mu_for_noise(noise: NoiseModel, method: Method, least_sigma: float, risk: Callable[[], Risk]) -> float:
    """Return the μ of least risk, or one that follows from the noise level if there is no noise or no guide."""
    if _is_to_be_kept(noise, method, least_sigma):
        return mu_without_noise(least_sigma, method)
    if method.bank is not None and noise.kind is NoiseKind.WHITE:
        return 1 / noise.sigma  # the filters are learned for a level that equals the noise's
    estimated = risk()
    return estimated.best_mu() if estimated.is_informed else mu_for(noise.sigma) * method.gain


#: Rounding to integers has a level of 1/√12 = 0.29 steps, and 0.4 steps of other noise raise it to this. Up to there,
#: denoising brings integers no nearer the clean image, even if it is told the level.
_ROUNDING_STEPS = 0.5
#: In units, in which intensities span about 1. Integers with larger steps may be counts, whose own noise is as faint.
_LARGEST_ROUNDING_STEP = 1 / 64


def _is_to_be_kept(noise: NoiseModel, method: Method, least_sigma: float) -> bool:
    """Return True if an image is to come back as it was: it has no noise, or for filters little but that of rounding.

    Filters would change up to a hundredth of such integers by a step; total variation changes hardly any.
    """
    if method.bank is None or noise.kind is not NoiseKind.WHITE or noise.step > _LARGEST_ROUNDING_STEP:
        return noise.sigma < least_sigma
    return noise.sigma < max(least_sigma, _ROUNDING_STEPS * noise.step)


def choose_by_sample(
    sampled: Sample | None,
    span: float,
    method: Method,
    noise: NoiseModel | None,
    own: Options,
    least_sigma: float,
) -> tuple[float, float]:
    """Choose μ and ε as `choose` does, from a sample of the planes and the span of all planes.

    sampled: required if μ is not given. own: the options in units of the planes.
    """
    mu, epsilon = own.given_mu, own.epsilon
    if mu is None:
        assert noise is not None
        assert sampled is not None
        planes, fidelity, unclipped = sampled
        risk = partial(Risk.on, planes, noise, method, epsilon, fidelity, unclipped=unclipped)
        mu = _mu_for_noise(noise, method, least_sigma, risk) / own.strength
    if method.bank is not None:
        return mu, 0.0
    if epsilon is None:
        epsilon = epsilon_for(
            mu,
            weighted_chroma=method.has_weighted_chroma,
            chroma_only=method.chroma_only,
            span=span,
        )
    return mu, epsilon


@dataclass(frozen=True, eq=False)
class Problem:
    """The image data, the method, and the parameters μ and ε in the units of the planes.

    tolerance: as asked, in these units. noise: the basis of μ, in these units; None if μ was given.
    given: the weights of the image's pixels, which ``data`` lacks once learned filters have completed it.
    """

    data: Data
    method: Method
    mu: float
    epsilon: float
    tolerance: float | None
    noise: NoiseModel | None
    given: Fidelity | None = None

    @property
    def is_completed(self) -> bool:
        """True if learned filters solve a whole image in the place of one with masked or missing pixels."""
        return self.given is not None and self.data.fidelity is None

    @property
    def unknown_part(self) -> float:
        """The part of the solved pixels over which the bound is meant: that in the mask."""
        if self.given is None or not self.is_completed:
            return 1.0
        return max(self.given.count, 1) / self.given.coded.size

    @property
    def absent(self) -> int:
        """The number of pixels without data, impulses included."""
        return 0 if self.given is None else self.given.absent

    @property
    def default_tolerance(self) -> float:
        """The tolerance that the objective suggests, in the units of the planes."""
        return self.method.posed(
            self.data.planes, self.mu, self.epsilon, self.data.fidelity
        ).default_tolerance

    @property
    def parameters(self) -> Parameters:
        """The parameters in units of the data range."""
        data = self.data
        return Parameters.of(self.method, self.mu, self.epsilon, self.noise, data.layout, data.channels)


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
        nan=options.nan,
        nodata=options.nodata,
        impulses=options.impulses,
        finds_clipped=options.given_mu is None,
    )
    method = method_of(options, len(data.planes), data.axis_weights)
    solved = data.chroma() if options.chroma_only else data
    if method.bank is not None:
        solved = whole_of(data, method)
    own = in_units(options, data.layout)
    noise = noise_for(own, data.layout, data.channels, lambda: ArrayEvidence.of(*noise_shown(data)))
    sampled = data if method.bank is None else solved
    mu, epsilon = choose(sampled, method, noise, own.given_mu, own.epsilon, own.strength)
    is_kept = noise is None or _is_to_be_kept(noise, method, data.layout.least_sigma)
    if own.tolerance is None and not is_kept:
        solved = _in_sufficient_precision(solved, method, mu, epsilon)
    return Problem(solved, method, mu, epsilon, own.tolerance, noise, data.fidelity)


#: The floor of single precision may raise the default tolerance this much.
_RAISED = 3.0


def _in_sufficient_precision(data: Data, method: Method, mu: float, epsilon: float) -> Data:
    """Return the data in double precision if single precision certifies too little for such faint noise."""
    objective = method.posed(data.planes, mu, epsilon, data.fidelity)
    floor = Certificate.of(objective, 0.0, data.planes.dtype).floor
    if data.planes.dtype == np.float64 or floor <= _RAISED * objective.default_tolerance:
        return data
    return data.in_double_precision()


def in_units(options: Options, layout: Layout) -> Options:
    """Return the options with intensities and μ in a layout's units instead of data ranges.

    Raises ValueError for values out of all proportion to the intensities.
    """
    scale = layout.scale
    changed = {
        name: value / scale
        for name in ("sigma", "epsilon", "tolerance", "level")
        if (value := getattr(options, name)) is not None
    }
    if options.mu is not None:
        changed["mu"] = options.mu * scale
    for name, value in changed.items():
        largest = _LARGEST_MU if name == "mu" else _LARGEST_PART
        if not (value == 0 or 1 / largest <= value <= largest):
            raise ValueError(
                f"{name}={getattr(options, name):g} does not suit intensities that differ by less than "
                f"{layout.scale:.2g}"
            )
    return replace(options, **changed)


def in_data_ranges(noise: NoiseModel, layout: Layout, channels: int) -> NoiseModel:
    """Return a noise model in data ranges instead of a layout's units. channels: of the image."""
    return noise.moved(layout.scale, _offset(layout, channels))


def _offset(layout: Layout, channels: int) -> float:
    """Return the centre as an intensity of the first channel, in data ranges."""
    gain = RGB_CHANNELS**0.5 if channels == RGB_CHANNELS else 1.0
    return layout.centre / layout.data_range * gain


def method_of(options: Options, channels: int, axis_weights: tuple[float, ...] | None = None) -> Method:
    """The method for an image with this number of channels; three are red, green and blue.

    axis_weights: one factor for the differences along each axis; None means ones.
    Raises ValueError for ``chroma_only`` with another number of channels, and for learned filters that do not suit the
    channels, or pixels that are not square; PriorError if they cannot be read.
    """
    if options.chroma_only:
        require_colour(channels)
    prior = prior_of(options)
    if prior is not None:
        if axis_weights is not None and len(axis_weights) == 2:  # a volume is refused as such
            raise ValueError("learned filters assume square pixels; use total variation (prior tv)")
        return Method(options, (1.0,) * channels, axis_weights, bank_of(prior, channels))
    weights: tuple[float, ...] = (1.0,) * channels
    if channels == RGB_CHANNELS:
        luminance, *opponents = chroma_weights(options.chroma)
        weights = tuple(opponents) if options.chroma_only else (luminance, *opponents)
    return Method(options, weights, axis_weights)


def prior_of(options: Options) -> LearnedPrior | None:
    """Return the learned filters that denoise; None with total variation. Raises as `prior_named`."""
    if not options.is_learned:
        return None
    return prior_named(options.prior) if isinstance(options.prior, str) else options.prior


def gate_values_of(options: Options) -> Callable[[int], int] | None:
    """Return `LearnedPrior.gate_values` of the filters that denoise; None with total variation."""
    prior = prior_of(options)
    return None if prior is None else prior.gate_values


def bank_of(prior: LearnedPrior, channels: int) -> FilterBank:
    """Return the filters of a prior for an image. Raises ValueError if they do not suit it."""
    bank = prior.suiting(channels).bank
    if bank.channels not in (1, channels):
        raise ValueError(
            f"the prior is for images of {bank.channels} channels, and this one has {channels}; "
            "use learned, or filters learned without --colour, which suit all images"
        )
    return bank


#: Why learned filters refuse a volume.
OF_IMAGES = "learned filters denoise images, and this is a volume; use total variation (prior tv)"


def whole_of(data: Data, method: Method) -> Data:
    """Return the data that learned filters denoise: a whole image, with missing, absent and impulse pixels filled.

    They are filled with the least total variation, and then are noisy values like the others. Nothing is held; what a
    mask keeps is put back at the end. Raises ValueError for volumes and for unequal weights.
    """
    if data.planes.ndim != 3:
        raise ValueError(OF_IMAGES)
    fidelity, planes = data.fidelity, data.planes
    if fidelity is None:
        return data
    if not (fidelity.coded[fidelity.is_known] == 1).all():
        raise ValueError("learned filters know no weights but 0 and 1; use total variation (prior tv)")
    if fidelity.is_void.any() and np.ptp(planes) > 0:
        planes = filled(planes, np.where(fidelity.is_void, 0, HELD), method).x
    return replace(data, planes=planes, fidelity=None)


def noise_for(
    own: Options, layout: Layout, channels: int, evidence: Callable[[], NoiseEvidence]
) -> NoiseModel | None:
    """The noise that μ is chosen for, in a layout's units; None if μ is given.

    own: the options in these units (`in_units`), but for a noise model. It is white noise of a given level, a given
    model, the estimated model, or white noise of the estimated level; for ``chroma_only`` that of the two opponents.
    Raises ValueError if the model has another number of channels than the image.
    """
    if own.given_mu is not None:
        return None
    if own.sigma is not None:
        return NoiseModel.white(own.sigma, channels - own.chroma_only)
    if isinstance(own.noise, NoiseModel):
        if len(own.noise.channels) != channels:
            raise ValueError(
                f"the noise model has {len(own.noise.channels)} channels and the image has {channels}"
            )
        given = own.noise.moved(1 / layout.scale, -_offset(layout, channels) / layout.scale)
        return given.chroma if own.chroma_only else given
    if own.chroma_only:
        found = estimate_chroma(evidence(), white=own.noise == "white")
    else:
        found = (estimate_white if own.noise == "white" else estimate)(evidence())
    return replace(found, step=layout.step)
