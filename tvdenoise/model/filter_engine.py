"""The engine for learned filters: runs `tvdenoise.model.filter_kernels` on tiles of the image, on all threads.

Tiles depend on the shape alone and each has sums of its own, so results are byte-identical for any number of threads.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property, reduce
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from tvdenoise.machine import available_threads
from tvdenoise.model.engines import Evaluation, Move
from tvdenoise.model.filter_kernels import (
    SUMS,
    BankLayout,
    Packed,
    curvature_tile,
    derivative_tile,
    hessian_tile,
    inner_tile,
    move_tile,
    pack,
    smooth_tile,
    sweep_tile,
    tiles_of,
)  # fmt: skip
from tvdenoise.model.filters import ByBank, FilterObjective
from tvdenoise.model.gate_kernels import PackedGate, energy_tile, gate_tile, pack_gate
from tvdenoise.model.spectral_bound import SpectralBound
from tvdenoise.model.step_metrics import SMOOTHINGS, ScaledMetric, SpectralMetric, UniformMetric, scaling
from tvdenoise.model.threads import Team

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import DTypeLike, NDArray

    from tvdenoise.model.engines import Step
    from tvdenoise.model.filters import FilterBank, FilterPrior


#: ε² of that hyperbola, for which it is one within rounding.
_FLAT = 1e24


class Derivatives(NamedTuple):
    """Derivatives by a bank, and by the noisy image through the gates; None if these were not asked for."""

    bank: ByBank
    noisy: NDArray[np.floating] | None


class _Scale(NamedTuple):
    """The groups of one scale: their bank, their indices, and how the kernels take them."""

    bank: FilterBank
    own: NDArray[np.intp]
    layout: BankLayout
    packed: Packed

    @property
    def parabolic(self) -> _Scale:
        """The same filters with t²/2 in the place of each potential: a hyperbola so wide that it is a parabola."""
        row = np.array([np.sqrt(_FLAT), _FLAT, 0, _FLAT, 0], self.packed.potentials.dtype)
        return self._replace(packed=self.packed._replace(potentials=np.tile(row, (len(self.own), 1))))


class Kernels:
    """A bank at a level, packed for images of one precision; many engines may share it."""

    def __init__(self, bank: FilterBank, level: float, dtype: DTypeLike) -> None:
        self.bank = bank
        self.level = level
        #: Those that the bank has, scale 1 first.
        self.scales: list[_Scale] = []
        for scale in (1, 2):
            filters, own = bank.at_scale(scale)
            if scale == 1 or len(own):
                layout = BankLayout.of(filters, scale)
                self.scales.append(_Scale(filters, own, layout, pack(layout, filters, level, dtype)))
        self.gate = None if bank.gate is None else pack_gate(bank.gate, dtype)

    @property
    def fine(self) -> _Scale:
        """Scale 1."""
        return self.scales[0]

    @property
    def coarse(self) -> _Scale | None:
        """Scale 2, if the bank has such filters."""
        return self.scales[1] if len(self.scales) > 1 else None

    def joined(self, parts: Sequence[ByBank]) -> ByBank:
        """Return derivatives by the bank from those by the filters of each scale."""
        p = self.bank.potentials
        result = ByBank.of([np.zeros_like(self.bank.filters), *(np.zeros_like(p.scale) for _ in range(4))])
        for scale, part in zip(self.scales, parts, strict=True):
            for to, one in zip(result.arrays, part.arrays, strict=True):
                to[scale.own] = one
        return result


def _of_groups(array: NDArray[np.floating], own: NDArray[np.intp]) -> NDArray[np.floating]:
    """Return the parts of an array (groups, ...) that belong to some of the groups: a view if these are neighbours."""
    are_neighbours = len(own) > 0 and own[-1] - own[0] == len(own) - 1
    part: NDArray[np.floating] = array[own[0] : own[-1] + 1] if are_neighbours else array[own]
    return part


def _are_within(tiles: NDArray[np.intp], part: tuple[slice, slice]) -> NDArray[np.bool_]:
    """Return which tiles lie within rows and columns."""
    top, bottom, left, right = tiles.T
    rows, columns = part
    return np.asarray(
        (top >= rows.start) & (bottom <= rows.stop) & (left >= columns.start) & (right <= columns.stop)
    )


class FilterEngine:
    """Holds the iterate x, the objective gradient g there and the direction d, and steps them in place.

    If preconditioned, d is g over a `SpectralMetric`, or over a `UniformMetric` if pixels are held, and steps may have
    memory, with a metric of their own; otherwise it is g.

    start: the first iterate, (channels, rows, columns). threads: all available ones by default. kernels: made from the
    objective's prior by default. part: rows and columns; g and the sums are then those of these pixels alone.
    """

    def __init__(
        self,
        objective: FilterObjective,
        start: NDArray[np.floating],
        threads: int | None = None,
        kernels: Kernels | None = None,
        *,
        preconditioned: bool = True,
        part: tuple[slice, slice] | None = None,
    ) -> None:
        prior = objective.prior
        self.objective = objective
        self.iterate = np.array(start, order="C")
        self.gradient = self.direction = np.zeros_like(self.iterate)
        self._noisy = np.require(objective.noisy, requirements=("C", "W"))
        self._centre = (self._noisy.max(axis=(1, 2)) + self._noisy.min(axis=(1, 2))) / 2
        self._kernels = kernels or Kernels(prior.bank, prior.level, self.iterate.dtype)
        _, rows, columns = self.iterate.shape
        reach = prior.bank.radius * (1 if self._kernels.coarse is None else 2)
        self._tiles = tiles_of(rows, columns, reach, part)
        self._every = np.arange(len(self._tiles))
        self._counted = self._every if part is None else self._every[_are_within(self._tiles, part)]
        self._sums = np.zeros((len(self._tiles), SUMS))
        self._none = np.zeros((0, 0, 0), self.iterate.dtype)
        self._squared_length = 0.0
        self._threads = threads = min(threads or available_threads(), len(self._tiles))
        self._team = Team(threads)
        #: The gates (images, groups, rows, columns); None if there are none.
        self.gates = self._gates_of(prior.gates)
        self._is_preconditioned = preconditioned
        if preconditioned:
            self.direction, self._before, self._change = (np.zeros_like(self.iterate) for _ in range(3))

    @cached_property
    def metric(self) -> SpectralMetric | UniformMetric:
        """The metric of gradient steps."""
        return self.objective.whole_metric(self.iterate, None, self._threads)

    @cached_property
    def move_metric(self) -> ScaledMetric:
        """The metric of moves, which is made where they start; see `FilterObjective.move_metric`."""
        openness = None if self.gates is None else self.gates.mean(axis=(0, 2, 3)).astype(np.float64)
        whole = self.objective.whole_metric(self.iterate, openness, self._threads)
        return ScaledMetric(whole, self._scaling())

    def _scaling(self) -> NDArray[np.floating]:
        """Return the scaling of the metric, which follows from the curvature at the iterate."""
        images = self.objective.prior.images_of(self.iterate)
        curvature = np.zeros((len(images), *self.iterate.shape[1:]), self.iterate.dtype)
        for one, image, gates in zip(curvature, images, self._gates, strict=True):
            for seen, of_scale, scale in zip(self._seen(image), gates, self._kernels.scales, strict=True):
                self._add_curvature(one, seen, of_scale, scale)
        for _ in range(SMOOTHINGS):
            curvature = self._smoothed(curvature)
        return scaling(curvature, self._kernels.bank.largest_local_curvature)

    def _add_curvature(
        self,
        curvature: NDArray[np.floating],
        x: NDArray[np.floating],
        gates: NDArray[np.floating],
        scale: _Scale,
    ) -> None:
        """Add that of the filters of one scale."""
        shape, forward, _, potentials = scale.packed
        sizes = self._kernels.bank.squared_sizes[scale.own].astype(x.dtype)
        self._run(
            lambda tile: curvature_tile(
                x, gates, sizes, curvature, self._tiles, tile, shape, forward, potentials
            )
        )

    def _gates_of(self, given: NDArray[np.floating] | None) -> NDArray[np.floating] | None:
        """Return the given gates as the kernels take them, or those that the noisy image asks for."""
        kernels = self._kernels
        if given is not None or kernels.gate is None:
            return None if given is None else np.ascontiguousarray(given, self.iterate.dtype)
        images = self.objective.prior.images_of(self._noisy)
        gates = np.empty((len(images), len(kernels.bank.filters), *images[0].shape[1:]), self.iterate.dtype)
        for one, image in zip(gates, images, strict=True):
            self._set_gates(one, self._energies(image), kernels.gate)
        return gates

    def _set_gates(
        self, gates: NDArray[np.floating], energies: NDArray[np.floating], gate: PackedGate
    ) -> None:
        self._run(lambda tile: gate_tile(energies, gates, self._tiles, tile, *gate))

    def _energies(self, image: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return `FilterPrior.energies` of what the filters see together."""
        energies = np.empty((len(self._kernels.bank.filters), *image.shape[1:]), image.dtype)
        for seen, scale in zip(self._seen(image), self._kernels.scales, strict=True):
            self._set_energies(energies, seen, scale)
        return energies

    def _set_energies(self, energies: NDArray[np.floating], x: NDArray[np.floating], scale: _Scale) -> None:
        """Set the energies of the groups of one scale."""
        bank, level = self._kernels.bank, self._kernels.level
        factor = np.array(bank.energy_factor / level**2, x.dtype)[()]
        shape, forward = scale.packed.shape, scale.packed.forward
        self._run(lambda tile: energy_tile(x, factor, energies, scale.own, self._tiles, tile, shape, forward))

    @cached_property
    def _gates(self) -> list[list[NDArray[np.floating]]]:
        """The gates of the groups of each scale, for each image that the filters see; empty if there are none."""
        scales = self._kernels.scales
        if self.gates is None:
            return [[self._none for _ in scales] for _ in self.objective.prior.images_of(self._noisy)]
        return [[_of_groups(one, scale.own) for scale in scales] for one in self.gates]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Give the helper threads back."""
        self._team.dismiss()

    def advance(self, step: Step) -> Evaluation:
        """Set x ← x − τ d and d ← M⁻¹ ∇J(x), or move with memory. Raises ValueError for moves without a metric."""
        images = self.objective.prior.images_of
        self._move(step)
        arrays = (self.iterate, self._centre, self._noisy, self.gradient, self.direction)
        parts = zip(*map(images, arrays), self._gates, strict=True)
        value, squared_norm, product = np.sum([self._evaluated(*part) for part in parts], axis=0).tolist()
        if self.objective.fidelity is not None:  # d is zero at held pixels, and so the product is right
            self.gradient *= self.objective.fidelity.is_free
            squared_norm, _ = self._products(self.gradient, self.gradient)
        before, self._squared_length, by_change = self._squared_length, squared_norm, 0.0
        if self._is_preconditioned:
            metric = self.move_metric if isinstance(step, Move) else self.metric
            self._before, self.direction = self.direction, metric.divide(self.gradient)
            self._squared_length, by_change = self._products(self.direction, self._change)
        return Evaluation(
            value,
            squared_norm,
            product,
            squared_length_before=before,
            squared_length=self._squared_length,
            change_product=by_change,
        )

    def sharpened(self, evaluation: Evaluation) -> Evaluation:
        """Return the last evaluation with the norm of `tvdenoise.model.spectral_bound`."""
        return replace(evaluation, squared_dual_norm=self._bound.squared_norm(self.gradient))

    @cached_property
    def _bound(self) -> SpectralBound:
        """The norm that the certificate takes."""
        convolution, modulus = self._kernels.bank.concave_convolution, self.objective.modulus
        return SpectralBound.of(
            convolution, modulus, self.iterate.shape[1:], self.iterate.dtype, self._threads
        )

    def _move(self, step: Step) -> None:
        if not self._is_preconditioned:
            if isinstance(step, Move):
                raise ValueError("steps with memory need a metric")
            self.iterate -= self.iterate.dtype.type(step) * self.direction
            return
        move = step if isinstance(step, Move) else Move(step)
        factors = tuple(self.iterate.dtype.type(one) for one in move)
        arrays = (self.iterate, self._change, self.direction, self._before)
        self._run(lambda tile: move_tile(*arrays, factors, self._tiles, tile))

    def _products(self, a: NDArray[np.floating], b: NDArray[np.floating]) -> tuple[float, float]:
        """Return ⟨g, a⟩ and ⟨g, b⟩."""
        self._run(lambda tile: inner_tile(self.gradient, a, b, self._tiles, tile, self._sums), self._counted)
        of_a, of_b = self._sums[self._counted, :2].sum(axis=0).tolist()
        return of_a, of_b

    def _evaluated(
        self,
        x: NDArray[np.floating],
        centre: NDArray[np.floating],
        noisy: NDArray[np.floating],
        g: NDArray[np.floating],
        d: NDArray[np.floating],
        gates: list[NDArray[np.floating]],
    ) -> NDArray[np.float64]:
        """Set g ← ∇J(x) for what the filters see together; return J, ‖g‖² and ⟨g, d⟩."""
        rest: NDArray[np.floating] = self._none
        penalties = 0.0
        if self._kernels.coarse is not None:
            smooth = self._smoothed(x, centre)
            of_coarse = np.zeros_like(smooth)
            self._sweep(
                smooth, np.zeros_like(centre), smooth, self._none, of_coarse, of_coarse, gates[1],
                self._kernels.coarse, self._every,
            )  # fmt: skip
            penalties = float(self._sums[self._counted, 0].sum())
            rest = self._smoothed(of_coarse)
        self._sweep(x, centre, noisy, rest, g, d, gates[0], self._kernels.fine, self._counted)
        fine, squared_residual, squared_norm, product = self._sums[self._counted].sum(axis=0)
        return np.array([penalties + fine + squared_residual / 2, squared_norm, product])

    def _sweep(
        self,
        x: NDArray[np.floating],
        centre: NDArray[np.floating],
        noisy: NDArray[np.floating],
        rest: NDArray[np.floating],
        g: NDArray[np.floating],
        d: NDArray[np.floating],
        gates: NDArray[np.floating],
        scale: _Scale,
        tiles: NDArray[np.intp],
    ) -> None:
        """Evaluate the filters of one scale in some of the tiles; see `sweep_tile`."""
        self._run(
            lambda tile: sweep_tile(
                x, centre, noisy, rest, g, d, gates, self._tiles, tile, *scale.packed, self._sums
            ),
            tiles,
        )

    def _seen(self, x: NDArray[np.floating]) -> list[NDArray[np.floating]]:
        """Return an image as the filters of each scale see it."""
        return [x] if self._kernels.coarse is None else [x, self._smoothed(x)]

    def _smoothed(
        self, x: NDArray[np.floating], centre: NDArray[np.floating] | None = None
    ) -> NDArray[np.floating]:
        """Return an image, less a number for each channel, as filters of scale 2 see it; its own adjoint."""
        result, less = np.empty_like(x), np.zeros(len(x), x.dtype) if centre is None else centre
        self._run(lambda tile: smooth_tile(x, less, result, self._tiles, tile))
        return result

    def hessian_product(self, direction: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return ∇²J(x) d for a direction with the shape and precision of the iterate."""
        images = self.objective.prior.images_of
        parts = zip(images(self.iterate), images(direction), self._gates, strict=True)
        return np.concatenate([self._hessian_product(*part) for part in parts])

    def _hessian_product(
        self, x: NDArray[np.floating], direction: NDArray[np.floating], gates: list[NDArray[np.floating]]
    ) -> NDArray[np.floating]:
        product = self._hessian(x, direction, gates[0], self._kernels.fine)
        if self._kernels.coarse is not None:
            d = self._smoothed(direction)
            product += self._smoothed(self._hessian(self._smoothed(x), d, gates[1], self._kernels.coarse) - d)
        return product

    def _hessian(
        self,
        x: NDArray[np.floating],
        direction: NDArray[np.floating],
        gates: NDArray[np.floating],
        scale: _Scale,
    ) -> NDArray[np.floating]:
        """Return d + ∇²R(x) d for the filters of one scale."""
        product = np.empty_like(x)
        self._run(lambda tile: hessian_tile(x, direction, product, gates, self._tiles, tile, *scale.packed))
        return product

    def derivative(self, v: NDArray[np.floating], *, by_noisy: bool = False) -> Derivatives:
        """Return the derivatives of ⟨v, ∇J(x)⟩ by the bank, at level 1, and by the noisy image through the gates.

        v: like the iterate. The gates must be those of the noisy image.
        """
        images = self.objective.prior.images_of
        parts = zip(images(self.iterate), images(v), images(self._noisy), self._gates, strict=True)
        found = [self._of_all(*part, by_noisy=by_noisy) for part in parts]
        of_noisy = [one.noisy for one in found if one.noisy is not None]
        return Derivatives(
            reduce(ByBank.plus, (one.bank for one in found)), np.concatenate(of_noisy) if of_noisy else None
        )

    def _of_all(
        self,
        x: NDArray[np.floating],
        v: NDArray[np.floating],
        noisy: NDArray[np.floating],
        gates: list[NDArray[np.floating]],
        *,
        by_noisy: bool,
    ) -> Derivatives:
        kernels, gate = self._kernels, self._kernels.bank.gate
        by_gates = np.zeros((len(kernels.bank.filters), *x.shape[1:]) if gate else (0, 0, 0), x.dtype)
        found = []
        parts = zip(self._seen(x), self._seen(v), gates, kernels.scales, strict=True)
        for one, other, of_scale, scale in parts:
            of_groups = np.zeros_like(of_scale)
            found.append(self._derivative(one, other, of_scale, scale, of_groups))
            if gate is not None:
                by_gates[scale.own] = of_groups
        bank = kernels.joined(found)
        if gate is None:
            return Derivatives(bank, np.zeros_like(noisy) if by_noisy else None)
        by_layers, by_energies = gate.backward(self._energies(noisy), by_gates)
        through = self._of_energies(noisy, by_energies, by_noisy=by_noisy)
        filters = bank.filters + through.bank.filters
        return Derivatives(bank._replace(filters=filters, gate=by_layers), through.noisy)

    def _of_energies(
        self, image: NDArray[np.floating], by_energies: NDArray[np.float64], *, by_noisy: bool
    ) -> Derivatives:
        """Return the derivatives of a function of the energies by the filters alone and by the image.

        Σ factorᵢ |Kᵢ f|² is ⟨f, ∇R(f)⟩ if the potentials are t²/2 and the factors stand in the place of the gates.
        """
        kernels = self._kernels
        factors = (by_energies * (kernels.bank.energy_factor / kernels.level**2)).astype(image.dtype)
        found, by_image = [], []
        for seen, scale in zip(self._seen(image), kernels.scales, strict=True):
            parabolic, own = scale.parabolic, np.ascontiguousarray(_of_groups(factors, scale.own))
            found.append(self._derivative(seen, seen, own, parabolic, self._none))
            if by_noisy:
                by_image.append(2 * (self._hessian(seen, seen, own, parabolic) - seen))
        if not by_noisy:
            return Derivatives(kernels.joined(found), None)
        fine, *coarse = by_image
        for one in coarse:
            fine += self._smoothed(one)
        return Derivatives(kernels.joined(found), fine)

    def _derivative(
        self,
        x: NDArray[np.floating],
        v: NDArray[np.floating],
        gates: NDArray[np.floating],
        scale: _Scale,
        by_gates: NDArray[np.floating],
    ) -> ByBank:
        """Return the derivatives for the filters of one scale, and set those by their gates."""
        layout, packed = scale.layout, scale.packed
        by_weight = np.zeros((len(self._tiles), len(packed.forward.weights)))
        by_potential = np.zeros((len(self._tiles), layout.shape.groups, 4))
        self._run(
            lambda tile: derivative_tile(
                x, v, gates, self._tiles, tile, packed.shape, packed.forward,
                packed.potentials, by_weight, by_potential, by_gates,
            )
        )  # fmt: skip
        return layout.by_bank(scale.bank, by_weight.sum(axis=0), by_potential.sum(axis=0))

    def _run(self, work: Callable[[int], None], tiles: NDArray[np.intp] | None = None) -> None:
        """Do work on some of the tiles, by default on each."""
        waiting = iter((self._every if tiles is None else tiles).tolist())

        def share() -> None:
            for tile in waiting:
                work(tile)

        self._team(share)


def gates_of(
    prior: FilterPrior, noisy: NDArray[np.floating], threads: int | None = None
) -> NDArray[np.floating]:
    """Return the gates (images, groups, rows, columns) that a noisy image asks for; the bank must have a gate."""
    with FilterEngine(FilterObjective(noisy, prior), noisy, threads, preconditioned=False) as engine:
        gates: NDArray[np.floating] | None = engine.gates
    assert gates is not None
    return gates
