"""Engines that step and evaluate J: the sparse definition, and the fused sweep on bands of rows.

An engine holds the iterate x and the direction d there; `advance` sets x ← x − τ d and evaluates J. The direction is
the objective gradient g or, if preconditioned, g divided by the objective's metric, pixel by pixel.
The fused engine updates x and d in place, so it needs two arrays of the image's size beside the noisy image.
Bands depend on the shape alone, so results are byte-identical for any number of threads.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

import numpy as np

from tvdenoise.machine import available_threads
from tvdenoise.model.kernels import (
    BY_AXIS,
    BY_CHANNEL,
    GAPPED,
    PLAIN,
    SUMS,
    UNSCALED,
    WEIGHTED,
    KernelForm,
    step_borders,
    sweep_for,
)
from tvdenoise.model.step_metrics import UniformMetric
from tvdenoise.model.threads import Team

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tvdenoise.model.objective import Minimisable, Objective
    from tvdenoise.model.step_metrics import StepMetric


@dataclass(frozen=True)
class Evaluation:
    """J at the new iterate, ‖g_new‖² and ⟨g_new, d_old⟩ after a step along −d_old.

    squared_dual_norm: ‖g_new‖²_{W⁻¹} if pixels have weights; with learned filters, see
        `tvdenoise.model.spectral_bound`. None for ‖g_new‖².
    squared_missing_norm: ‖g_new‖² over missing pixels.
    squared_length_before, squared_length: ‖d_old‖² and ‖d_new‖² in the metric m at the new iterate, Σ m d². There the
    product is ⟨d_new, d_old⟩. Without a metric, m = 1.
    change_product: ⟨g_new, Δ⟩ with the change Δ of the iterate, of engines that take a `Move`.
    """

    value: float
    squared_gradient_norm: float
    gradient_product: float
    squared_dual_norm: float | None = None
    squared_missing_norm: float = 0.0
    squared_length_before: float = 0.0
    squared_length: float = 0.0
    change_product: float = 0.0


class Move(NamedTuple):
    """A step with memory: x ← x + Δ_new, Δ_new = −(gradient d_new + before d_old) + change Δ_old.

    The direction after a move is that of the objective's `move_metric` at the first one.
    """

    gradient: float
    before: float = 0.0
    change: float = 0.0


#: A step: a length along −d, or a move.
Step = float | Move


class Engine(Protocol):
    """An iterate, the direction there, and the step that updates both."""

    @property
    def objective(self) -> Minimisable:
        """The objective to minimise."""

    @property
    def iterate(self) -> NDArray[np.floating]:
        """x, (channels, rows, columns) or (channels, planes, rows, columns)."""

    def advance(self, step: Step) -> Evaluation:
        """Set x ← x − τ d and d ← ∇J(x)/m. A first call with τ = 0 evaluates the start."""

    def sharpened(self, evaluation: Evaluation) -> Evaluation:
        """Return the last evaluation with a norm for a sharper certificate, if there is one that takes extra time."""


class SparseEngine:
    """The definition: scipy's sparse operators in double precision, one line for each formula."""

    def __init__(
        self, objective: Minimisable, start: NDArray[np.floating], *, preconditioned: bool = False
    ) -> None:
        self.objective = objective
        self.iterate = start.astype(np.float64)
        self.direction: NDArray[np.floating] = np.zeros_like(self.iterate)
        self._before = self._change = self.direction
        self._preconditioned = preconditioned
        self._of_moves: StepMetric | None = None

    def sharpened(self, evaluation: Evaluation) -> Evaluation:
        """Return the last evaluation with the dual norm."""
        gradient = self.objective.gradient(self.iterate)
        return replace(evaluation, squared_dual_norm=self.objective.squared_dual_norm(gradient))

    def __enter__(self) -> SparseEngine:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: there are no threads to end."""

    def advance(self, step: Step) -> Evaluation:
        """Set x ← x − τ d and d ← ∇J(x)/m, or move with memory."""
        move = step if isinstance(step, Move) else Move(step)
        previous = self.direction
        self._change = move.change * self._change - move.gradient * previous - move.before * self._before
        self._before = previous
        self.iterate = self.iterate + self._change
        gradient = self.objective.gradient(self.iterate)
        metric: StepMetric = UniformMetric(1.0)
        if self._preconditioned and isinstance(step, Move):
            metric = self._of_moves = self._of_moves or self.objective.move_metric(self.iterate)
        elif self._preconditioned:
            metric = self.objective.metric(self.iterate)
        self.direction = metric.divide(gradient)
        fidelity = self.objective.fidelity
        return Evaluation(
            value=self.objective.value(self.iterate),
            squared_gradient_norm=float(np.vdot(gradient, gradient)),
            gradient_product=float(np.vdot(gradient, previous)),
            squared_dual_norm=None if fidelity is None else fidelity.squared_dual_norm(gradient),
            squared_missing_norm=0.0 if fidelity is None else fidelity.squared_missing_norm(gradient),
            squared_length_before=float(np.vdot(metric.times(previous), previous)),
            squared_length=float(np.vdot(gradient, self.direction)),
            change_product=float(np.vdot(gradient, self._change)),
        )


#: A band has at least this many pixels (the unit of work of a thread) and rows (each band weighs a row of its
#: neighbour again).
_PIXELS_PER_BAND = 1 << 16
_ROWS_PER_BAND = 64
#: The same for volumes, where a band is a range of rows in all planes: fewer rows, so that two planes of a band
#: fit the cache.
_VOXELS_PER_BAND = 1 << 18
_ROWS_PER_VOLUME_BAND = 32


class Operands(NamedTuple):
    """What the sweeps work on; see `tvdenoise.model.kernels.sweep_for`."""

    x: NDArray[np.floating]
    d: NDArray[np.floating]
    noisy: NDArray[np.floating]
    fidelity: NDArray[np.floating]
    starts: NDArray[np.intp]
    mu: np.floating
    epsilon: np.floating
    scales: NDArray[np.floating]
    metric: NDArray[np.floating]

    @classmethod
    def of(
        cls,
        objective: Objective,
        x: NDArray[np.floating],
        d: NDArray[np.floating],
        starts: NDArray[np.intp],
        *,
        preconditioned: bool = False,
    ) -> Operands:
        """Return the operands for an objective in the precision of x and d; the arrays are not copied."""
        as_volume = (len(x), -1, *x.shape[-2:])
        scales = np.multiply.outer(
            np.square(objective.channel_weights), (0.0, *objective.squared_axis_weights)[-3:]
        )
        # Read-only arrays have a different Numba type, for which the sweeps would be compiled again.
        noisy = np.require(objective.noisy, requirements=("C", "W")).reshape(as_volume)
        if objective.fidelity is None:
            coded = np.empty((0, 0, 0), x.dtype)
        else:
            coded = objective.fidelity.coded.astype(x.dtype, copy=False).reshape(noisy.shape[1:])
        return cls(
            x.reshape(as_volume),
            d.reshape(as_volume),
            noisy,
            coded,
            starts,
            x.dtype.type(objective.mu),
            x.dtype.type(objective.penalty.epsilon),
            scales.astype(x.dtype),
            np.array([0, objective.mu, 1] if preconditioned else [1, 0, 0], x.dtype),
        )


class FusedEngine:
    """Runs the fused sweeps of `tvdenoise.model.kernels` on bands of rows, in threads.

    iterate and direction have the shape of the noisy image; to the kernels an image is a volume of one plane.
    """

    def __init__(
        self,
        objective: Objective,
        start: NDArray[np.floating],
        threads: int | None = None,
        *,
        preconditioned: bool = False,
    ) -> None:
        self.objective = objective
        self.iterate = np.array(start, order="C")
        self.direction = np.zeros_like(self.iterate)
        self.form = form_of(objective)
        rows, columns = start.shape[-2:]
        planes = start.size // (len(start) * rows * columns)
        if self.form.is_deep:
            height = max(_ROWS_PER_VOLUME_BAND, -(-_VOXELS_PER_BAND // (columns * planes)))
        else:
            height = max(_ROWS_PER_BAND, -(-_PIXELS_PER_BAND // columns))
        self._starts = np.append(np.arange(0, rows, height), rows)
        bands = self._starts.size - 1
        self.sums = np.zeros((bands, SUMS))
        self.operands = Operands.of(
            objective, self.iterate, self.direction, self._starts, preconditioned=preconditioned
        )
        self._step = self.iterate.dtype.type(0)
        self.counter = np.zeros(1, np.int64)
        self._sweep_bands = sweep_for(self.form)
        self.threads = min(threads or available_threads(), bands)
        self._team = Team(self.threads)

    def sharpened(self, evaluation: Evaluation) -> Evaluation:
        """Return the evaluation: it has all norms."""
        return evaluation

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Give the threads back."""
        self._team.dismiss()

    def advance(self, step: Step) -> Evaluation:
        """Set x ← x − τ d and d ← ∇J(x)/m, in one sweep through memory. Raises ValueError for steps with memory."""
        if isinstance(step, Move):
            raise ValueError("the fused engine keeps no direction but the last one")
        self._step = self.iterate.dtype.type(step)
        step_borders(self.operands.x, self.operands.d, self._step, self._starts)
        self.counter[0] = 0
        self._team(self._sweep)
        return self.evaluation(self.sums.sum(axis=0))

    def _sweep(self) -> None:
        self._sweep_bands(*self.operands, self.counter, self._step, self.sums)

    def evaluation(self, totals: NDArray[np.float64]) -> Evaluation:
        """Return the evaluation for the totals of `SUMS`."""
        penalties, squared_residual, squared_norm, product, before, now, dual, missing = totals.tolist()
        is_plain = self.objective.fidelity is None
        return Evaluation(
            value=penalties - self.objective.absent_value + self.objective.mu / 2 * squared_residual,
            squared_gradient_norm=squared_norm,
            gradient_product=product,
            squared_dual_norm=None if is_plain else dual,
            squared_missing_norm=missing,
            squared_length_before=before,
            squared_length=now,
        )


def form_of(objective: Objective) -> KernelForm:
    """Return the form of an objective, for which the sweep is compiled.

    Known numbers of channels and simple scalings have forms of their own only where that makes the sweep faster, and
    the component-wise total variation treats all weights as if pixels might be absent.
    """
    channels, fidelity = len(objective.noisy), objective.fidelity
    kind = PLAIN if fidelity is None else GAPPED if fidelity.absent else WEIGHTED
    if kind == WEIGHTED and objective.tv != "isotropic":
        kind = GAPPED
    is_deep = objective.noisy.ndim == 4
    shares = objective.tv == "isotropic" and kind != GAPPED
    known = (1,) if is_deep else (1, 3)
    scaling = BY_AXIS
    if shares and not is_deep and channels in known and objective.axis_weights is None:
        if channels == 3:
            scaling = BY_CHANNEL
        elif objective.channel_weights == (1.0,):
            scaling = UNSCALED
    return KernelForm(
        channels if shares and channels in known else 0,
        objective.penalty.name,
        objective.tv,
        is_deep=is_deep,
        scaling=scaling,
        fidelity=kind,
    )
