"""The engine for learned filters: runs `tvdenoise.model.filter_kernels` on tiles of the image, on all threads.

Tiles depend on the shape alone and each has sums of its own, so results are byte-identical for any number of threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from tvdenoise.machine import available_threads
from tvdenoise.model.engines import Evaluation
from tvdenoise.model.filter_kernels import (
    BLOCK,
    SUMS,
    BankLayout,
    Packed,
    derivative_tile,
    hessian_tile,
    pack,
    smooth_tile,
    sweep_tile,
    tiles_of,
)  # fmt: skip
from tvdenoise.model.filters import ByBank
from tvdenoise.model.threads import Team

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import DTypeLike, NDArray

    from tvdenoise.model.filters import FilterBank, FilterObjective


class _Scale(NamedTuple):
    """The filters of one scale: their bank, the numbers of their potentials, and how the kernels take them."""

    bank: FilterBank
    own: NDArray[np.intp]
    layout: BankLayout
    packed: Packed


class Kernels:
    """A bank at a level, packed for images of one precision; many engines may share it."""

    def __init__(self, bank: FilterBank, level: float, dtype: DTypeLike) -> None:
        self.bank = bank
        self._scales = []
        for scale in (1, 2):
            own, numbers = bank.at_scale(scale)
            if scale == 1 or len(numbers):
                layout = BankLayout.of(own, scale)
                self._scales.append(_Scale(own, numbers, layout, pack(layout, own, level, dtype)))

    @property
    def fine(self) -> _Scale:
        """Scale 1."""
        return self._scales[0]

    @property
    def coarse(self) -> _Scale | None:
        """Scale 2, if the bank has such filters."""
        return self._scales[1] if len(self._scales) > 1 else None

    def joined(self, parts: Sequence[ByBank]) -> ByBank:
        """Return derivatives by the bank from those by the filters of each scale."""
        p = self.bank.potentials
        general, symmetric = np.zeros_like(self.bank.general), np.zeros_like(self.bank.symmetric)
        result = ByBank(general, symmetric, *(np.zeros_like(p.scale) for _ in range(4)))
        count = len(general)
        for scale, part in zip(self._scales, parts, strict=True):
            general[scale.own[scale.own < count]] = part.general
            symmetric[scale.own[scale.own >= count] - count] = part.symmetric
            for to, one in zip(result[2:], part[2:], strict=True):
                to[scale.own] = one
        return result


class FilterEngine:
    """Holds the iterate x and the objective gradient g there, and steps both in place.

    If preconditioned, the metric is L everywhere, and the direction is g/L.

    start: the first iterate, (channels, rows, columns). threads: all available ones by default. kernels: made from the
    objective's prior by default.
    """

    def __init__(
        self,
        objective: FilterObjective,
        start: NDArray[np.floating],
        threads: int | None = None,
        kernels: Kernels | None = None,
        *,
        preconditioned: bool = True,
    ) -> None:
        prior = objective.prior
        self._metric = objective.lipschitz if preconditioned else 1.0
        self.objective = objective
        self.iterate = np.array(start, order="C")
        self.gradient = np.zeros_like(self.iterate)
        self._noisy = np.require(objective.noisy, requirements=("C", "W"))
        self._kernels = kernels or Kernels(prior.bank, prior.level, self.iterate.dtype)
        _, rows, columns = self.iterate.shape
        self._tiles = tiles_of(rows, columns, prior.bank.radius * (1 if self._kernels.coarse is None else 2))
        self._sums = np.zeros((len(self._tiles), SUMS))
        self._none = np.zeros((0, 0, 0), self.iterate.dtype)
        self._squared_norm = 0.0
        self._team = Team(min(threads or available_threads(), len(self._tiles)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Give the helper threads back."""
        self._team.dismiss()

    def advance(self, step_length: float) -> Evaluation:
        """Set x ← x − τ d and d ← ∇J(x)/m."""
        metric, images = self._metric, self.objective.prior.images_of
        self.iterate -= self.iterate.dtype.type(step_length / metric) * self.gradient
        parts = zip(images(self.iterate), images(self._noisy), images(self.gradient), strict=True)
        sums = np.sum([self._evaluated(*part) for part in parts], axis=0)
        value, squared_norm, product = map(float, sums)
        before, self._squared_norm = self._squared_norm, squared_norm
        return Evaluation(
            value,
            squared_norm,
            product / metric,
            squared_length_before=before / metric,
            squared_length=squared_norm / metric,
        )

    def _evaluated(
        self, x: NDArray[np.floating], noisy: NDArray[np.floating], g: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        """Set g ← ∇J(x) for what the filters see together; return J, ‖g‖² and ⟨g, g_old⟩."""
        rest: NDArray[np.floating] = self._none
        penalties = 0.0
        if self._kernels.coarse is not None:
            smooth = self._smoothed(x)
            of_coarse = np.zeros_like(smooth)
            self._sweep(smooth, smooth, self._none, of_coarse, self._kernels.coarse)
            penalties = float(self._sums[:, 0].sum())
            rest = self._smoothed(of_coarse)
        self._sweep(x, noisy, rest, g, self._kernels.fine)
        fine, squared_residual, squared_norm, product = self._sums.sum(axis=0)
        return np.array([penalties + fine + squared_residual / 2, squared_norm, product])

    def _sweep(
        self,
        x: NDArray[np.floating],
        noisy: NDArray[np.floating],
        rest: NDArray[np.floating],
        g: NDArray[np.floating],
        scale: _Scale,
    ) -> None:
        """Evaluate the filters of one scale; see `sweep_tile`."""
        self._run(lambda tile: sweep_tile(x, noisy, rest, g, self._tiles, tile, *scale.packed, self._sums))

    def _smoothed(self, x: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return an image as filters of scale 2 see it; its own adjoint."""
        result = np.empty_like(x)
        self._run(lambda tile: smooth_tile(x, result, self._tiles, tile))
        return result

    def hessian_product(self, direction: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return ∇²J(x) d for a direction with the shape and precision of the iterate."""
        images = self.objective.prior.images_of
        pairs = zip(images(self.iterate), images(direction), strict=True)
        return np.concatenate([self._hessian_product(*pair) for pair in pairs])

    def _hessian_product(
        self, x: NDArray[np.floating], direction: NDArray[np.floating]
    ) -> NDArray[np.floating]:
        product = self._hessian(x, direction, self._kernels.fine)
        if self._kernels.coarse is not None:
            d = self._smoothed(direction)
            product += self._smoothed(self._hessian(self._smoothed(x), d, self._kernels.coarse) - d)
        return product

    def _hessian(
        self, x: NDArray[np.floating], direction: NDArray[np.floating], scale: _Scale
    ) -> NDArray[np.floating]:
        """Return d + ∇²R(x) d for the filters of one scale."""
        product = np.empty_like(x)
        self._run(lambda tile: hessian_tile(x, direction, product, self._tiles, tile, *scale.packed))
        return product

    def derivative(self, v: NDArray[np.floating]) -> ByBank:
        """Return the derivatives of ⟨v, ∇J(x)⟩ by the bank, at level 1 (v like the iterate)."""
        images = self.objective.prior.images_of
        of_each = [self._of_both(*pair) for pair in zip(images(self.iterate), images(v), strict=True)]
        return ByBank(*(np.sum(parts, axis=0) for parts in zip(*of_each, strict=True)))

    def _of_both(self, x: NDArray[np.floating], v: NDArray[np.floating]) -> ByBank:
        parts = [self._derivative(x, v, self._kernels.fine)]
        if self._kernels.coarse is not None:
            parts.append(self._derivative(self._smoothed(x), self._smoothed(v), self._kernels.coarse))
        return self._kernels.joined(parts)

    def _derivative(self, x: NDArray[np.floating], v: NDArray[np.floating], scale: _Scale) -> ByBank:
        """Return the derivatives for the filters of one scale."""
        layout, packed = scale.layout, scale.packed
        by_weight = np.zeros((len(self._tiles), len(packed.blocks), BLOCK**2))
        by_potential = np.zeros((len(self._tiles), layout.shape.parts, 4))
        self._run(
            lambda tile: derivative_tile(
                x, v, self._tiles, tile, packed.shape, packed.first, packed.blocks, packed.forward,
                packed.potentials, by_weight, by_potential,
            )
        )  # fmt: skip
        return layout.by_bank(scale.bank, by_weight.sum(axis=0), by_potential.sum(axis=0))

    def _run(self, work: Callable[[int], None]) -> None:
        """Do work on each tile."""
        waiting = iter(range(len(self._tiles)))

        def share() -> None:
            for tile in waiting:
                work(tile)

        self._team(share)
