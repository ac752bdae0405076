"""The fused sweep for learned filters: tiles of the image pass through the cache row by row.

A filter is the sum of four parts, each even or odd along rows and along columns. The mirror images of the filter have
the same parts with other signs, and a bank is closed under flips (see `tvdenoise.model.filters`). So for each row of a
tile the kernel

- adds and subtracts pixels on opposite sides of each pixel, once for all filters ("folds");
- multiplies the folds by a quarter of the taps of each filter, which gives the responses of its parts;
- adds and subtracts these, which gives the responses of a filter and of its mirror images.

The adjoint takes the same steps in reverse order. Compared with direct correlation, three quarters of the
multiplications are saved.

The products are those of `tvdenoise.model.products`.

Tiles recompute the responses around them, beyond the border of the image on its symmetric extension. For a bank closed
under flips, the adjoint of these responses is the exact gradient at the border.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tvdenoise.model.filters import PARITIES, ByBank, parity_part
from tvdenoise.model.kernels import compiled, kernel
from tvdenoise.model.products import LANES, PITCH, Pattern, Products, add_inner_products, multiply

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from tvdenoise.model.filters import FilterBank, Potentials


#: A tile has at most this many rows; it recomputes 4 × reach rows of folds of its neighbours.
TILE_ROWS = 256
#: Sums over a tile: Σψ, ‖x − f‖², ‖g‖² and ⟨g, d⟩.
SUMS = 4


class Shape(NamedTuple):
    """The shape of a bank's folds and parts.

    width: column folds of one channel: even ones from 0, odd ones from ``odd``. parts: rows of parts. general: the
    number of general filters. step: the distance of taps in pixels; ``reach`` in what follows is radius × step.
    """

    channels: int
    radius: int
    width: int
    odd: int
    parts: int
    general: int
    step: int

    @property
    def folds(self) -> int:
        """The number of rows of folds."""
        return self.channels * (2 * self.radius + 1) * self.width


@dataclass(frozen=True, eq=False)
class BankLayout:
    """Where the taps and potentials of a bank stand in the kernels' arrays.

    first: the first row of the parts of each parity, where those of the general filters stand.
    forward, backward: the pattern of the parts that are made of folds, and of its adjoint. potential_of: for each row
    of parts the index of its potential.
    """

    shape: Shape
    first: tuple[int, ...]
    forward: Pattern
    backward: Pattern
    potential_of: NDArray[np.intp]

    @classmethod
    def of(cls, bank: FilterBank, step: int = 1) -> BankLayout:
        """Lay out a bank of scale 1, with taps ``step`` pixels apart.

        The layout depends on the numbers of filters and their symmetries only.
        """
        generals, parities = len(bank.general), np.array(bank.symmetric_parities, int)
        potential_of: list[int] = []
        first = []
        for parity in range(len(PARITIES)):
            first.append(len(potential_of))
            own = [*range(generals), *(generals + np.flatnonzero(parities == parity))]
            potential_of += own
        radius = bank.radius
        shape = Shape(bank.channels, radius, 2 * radius + 1, radius + 1, len(potential_of), generals, step)
        groups = [
            (np.arange(start, end), cls._folds(shape, parity).ravel())
            for parity, (start, end) in enumerate(zip(first, [*first[1:], shape.parts], strict=True))
        ]
        return cls(
            shape,
            tuple(first),
            Pattern.of(groups),
            Pattern.of([(folds, parts) for parts, folds in groups]),
            np.array(potential_of, np.intp),
        )

    @staticmethod
    def _folds(shape: Shape, parity: int) -> NDArray[np.intp]:
        """Return the rows of folds (channels, along rows, along columns) that the parts of a parity are made of."""
        rows, columns = PARITIES[parity]
        r = shape.radius
        down = np.arange(r + 1) if rows > 0 else np.arange(r + 1, 2 * r + 1)
        across = np.arange(r + 1) if columns > 0 else shape.odd + np.arange(r)
        channel = np.arange(shape.channels)[:, None, None]
        return (channel * (2 * r + 1) + down[:, None]) * shape.width + across

    def weights(self, bank: FilterBank) -> NDArray[np.float64]:
        """Return the weight of each fold in each part, (parts, folds)."""
        weights = np.zeros((self.shape.parts, self.shape.folds))
        for parity, rows, filters in self._own(bank.general, bank.symmetric, bank.symmetric_parities):
            taps = parity_part(filters, PARITIES[parity])[(..., *self._taps(parity))]
            weights[rows[:, None, None, None], self._folds(self.shape, parity)] = taps
        return weights

    def by_bank(
        self, bank: FilterBank, by_product: NDArray[np.float64], by_row: NDArray[np.float64]
    ) -> ByBank:
        """Return derivatives by the bank from those by `Packed.forward` and by a, ε₁², ac, ε₂² of each row."""
        by_weight = self.forward.unpacked(by_product, (self.shape.parts, self.shape.folds))
        general, symmetric = np.zeros_like(bank.general), np.zeros_like(bank.symmetric)
        for parity, rows, filters in self._own(general, symmetric, bank.symmetric_parities):
            taps = np.zeros_like(filters)
            folds = self._folds(self.shape, parity)
            taps[(..., *self._taps(parity))] = by_weight[rows[:, None, None, None], folds]
            part = parity_part(taps, PARITIES[parity])
            general += part[: len(general)]
            symmetric[np.array(bank.symmetric_parities, int) == parity] = part[len(general) :]
        p = bank.potentials
        by_scale, by_inner, by_less, by_outer = (
            np.bincount(self.potential_of, column, len(p.scale)) for column in by_row.T
        )
        return ByBank(
            general,
            symmetric,
            by_scale + p.share * by_less,
            2 * p.inner * by_inner,
            p.scale * by_less,
            2 * p.outer * by_outer,
        )

    def _own(
        self, general: NDArray[np.float64], symmetric: NDArray[np.float64], parities: tuple[int, ...]
    ) -> list[tuple[int, NDArray[np.intp], NDArray[np.float64]]]:
        """Return for each parity its number, its rows of parts, and the filters that these belong to."""
        result = []
        for parity, first in enumerate(self.first):
            filters = np.concatenate([general, symmetric[np.array(parities, int) == parity]])
            result.append((parity, first + np.arange(len(filters)), filters))
        return result

    def _taps(self, parity: int) -> tuple[slice, slice]:
        """Return the taps of a part that determine it, in the order of its folds."""
        rows, columns = PARITIES[parity]
        r = self.shape.radius
        return slice(r + (rows < 0), None), slice(r + (columns < 0), None)


class Packed(NamedTuple):
    """A bank at a level, as the kernels take it.

    forward, backward: the parts that are made of folds, and the adjoint. potentials: (parts, 5): a, ε₁², ac, ε₂² and
    aε₁ − acε₂.
    """

    shape: tuple[int, ...]
    first: tuple[int, ...]
    forward: Products
    backward: Products
    potentials: NDArray[np.floating]


def pack(layout: BankLayout, bank: FilterBank, level: float, dtype: DTypeLike) -> Packed:
    """Pack a bank for images of one precision."""
    weights = layout.weights(bank)
    return Packed(
        tuple(layout.shape),
        layout.first,
        layout.forward.packed(weights, dtype),
        layout.backward.packed(weights.T, dtype),
        _packed_potentials(bank.potentials.at(level), layout).astype(dtype),
    )


def _packed_potentials(potentials: Potentials, layout: BankLayout) -> NDArray[np.float64]:
    own = potentials.of(layout.potential_of)
    less = own.scale * own.share
    columns = (own.scale, own.inner**2, less, own.outer**2, own.scale * own.inner - less * own.outer)
    return np.stack(columns, axis=1)


def tiles_of(
    rows: int, columns: int, reach: int, part: tuple[slice, slice] | None = None
) -> NDArray[np.intp]:
    """Return the tiles of an image: (tiles, 4), first and last row, first and last column (exclusive).

    reach: the largest distance of a tap from the middle of its filter. part: rows and columns whose ends are borders
    of tiles, too.
    """
    ends = ((), ()) if part is None else tuple((each.start, each.stop) for each in part)
    down = _borders((0, *ends[0], rows), TILE_ROWS)
    across = _borders((0, *ends[1], columns), PITCH - 2 * reach)
    spans = np.indices((len(down) - 1, len(across) - 1)).reshape(2, -1)
    return np.stack([down[spans[0]], down[spans[0] + 1], across[spans[1]], across[spans[1] + 1]], axis=1)


def _borders(ends: tuple[int, ...], most: int) -> NDArray[np.intp]:
    """Return borders at increasing ends, and at equal distances of at most ``most`` between them."""
    pieces = [
        np.linspace(start, stop, -(-(stop - start) // most) + 1).astype(np.intp)
        for start, stop in pairwise(ends)
        if stop > start
    ]
    return np.concatenate([pieces[0], *(piece[1:] for piece in pieces[1:])])


@compiled
def _mirrored(index, length):
    """Return the pixel that stands at any index of a symmetrically extended axis."""
    index = index % (2 * length)
    return index if index < length else 2 * length - 1 - index


@compiled
def _take_row(line, x, c, i, first, n):
    """Fill a line with n pixels of row i of the extended image, from a column on; both may be negative."""
    row = x[c, _mirrored(i, x.shape[1])]
    columns = x.shape[2]
    if first >= 0 and first + n <= columns:
        row = row[first:]
        for j in range(n):
            line[j] = row[j]
    else:
        for j in range(n):
            line[j] = row[_mirrored(first + j, columns)]


@compiled
def _clear(rows, r):
    for j in range(rows.shape[1]):
        rows[r, j] = 0


@compiled
def _clear_all(rows):
    for r in range(rows.shape[0]):
        _clear(rows, r)


@compiled
def _copy_row(to, i, rows, r):
    for j in range(to.shape[1]):
        to[i, j] = rows[r, j]


@compiled
def _add_row(to, i, rows, r):
    for j in range(to.shape[1]):
        to[i, j] += rows[r, j]


@compiled
def _fold_columns(ring, slot, line, radius, odd, step, n):
    """Fold a line of n + 2 reach pixels: its middle, then sums and differences of opposite pixels."""
    own = ring[slot]
    reach = radius * step
    middle = line[reach:]
    for j in range(n):
        own[j] = middle[j]
    for d in range(1, radius + 1):
        even = own[d * PITCH :]
        uneven = own[(odd + d - 1) * PITCH :]
        after = line[reach + d * step :]
        before = line[reach - d * step :]
        for j in range(n):
            a = after[j]
            b = before[j]
            even[j] = a + b
            uneven[j] = a - b


@compiled
def _fold_source_row(ring, line, x, i, left, shape, n):
    """Fold one row of the extended image into its slot."""
    channels, radius, _, odd, _, _, step = shape
    reach = radius * step
    slot = i % (2 * reach + 1) * channels
    for c in range(channels):
        _take_row(line, x, c, i, left - 2 * reach, n + 2 * reach)
        _fold_columns(ring, slot + c, line, radius, odd, step, n)


@compiled
def _sum_and_difference(folds, even, odd, ring, after, before):
    for j in range(ring.shape[1]):
        a = ring[after, j]
        b = ring[before, j]
        folds[even, j] = a + b
        folds[odd, j] = a - b


@compiled
def _fold_rows(folds, ring, i, shape):
    """Fold the rows of column folds around row i."""
    channels, radius, step = shape[0], shape[1], shape[6]
    slots = 2 * radius * step + 1
    for c in range(channels):
        first = c * (2 * radius + 1)
        _copy_row(folds, first, ring, i % slots * channels + c)
        for d in range(1, radius + 1):
            after, before = (i + d * step) % slots * channels + c, (i - d * step) % slots * channels + c
            _sum_and_difference(folds, first + d, first + radius + d, ring, after, before)


@compiled
def _add_both(ring, after, before, folds, even, odd):
    """The adjoint of `_sum_and_difference`."""
    for j in range(ring.shape[1]):
        a = folds[even, j]
        b = folds[odd, j]
        ring[after, j] += a + b
        ring[before, j] += a - b


@compiled
def _begin_both(ring, after, before, folds, even, odd):
    """`_add_both` where the row after is new."""
    for j in range(ring.shape[1]):
        a = folds[even, j]
        b = folds[odd, j]
        ring[after, j] = a + b
        ring[before, j] += a - b


@compiled
def _unfold_rows(ring, folds, i, shape):
    """The adjoint of `_fold_rows`: add to the column folds of the rows around row i, of which the last is new."""
    channels, radius, step = shape[0], shape[1], shape[6]
    slots = 2 * radius * step + 1
    for c in range(channels):
        first = c * (2 * radius + 1)
        _add_row(ring, i % slots * channels + c, folds, first)
        for d in range(1, radius + 1):
            after, before = (i + d * step) % slots * channels + c, (i - d * step) % slots * channels + c
            if d < radius:
                _add_both(ring, after, before, folds, first + d, first + radius + d)
            else:
                _begin_both(ring, after, before, folds, first + d, first + radius + d)


@compiled
def _unfold_columns(line, ring, slot, radius, odd, step, n):
    """The adjoint of `_fold_columns`, for the n pixels ``reach`` within the responses."""
    own = ring[slot]
    reach = radius * step
    middle = own[reach:]
    for j in range(n):
        line[j] = middle[j]
    for d in range(1, radius + 1):
        left = own[d * PITCH + reach - d * step :]
        right = own[d * PITCH + reach + d * step :]
        for j in range(n):
            line[j] += left[j] + right[j]
        left = own[(odd + d - 1) * PITCH + reach - d * step :]
        right = own[(odd + d - 1) * PITCH + reach + d * step :]
        for j in range(n):
            line[j] += left[j] - right[j]


@compiled
def _exchange(parts, first, general, n):
    """Replace the parts of the general filters by the responses of each and its mirror images; its own adjoint.

    The general filters come first among the parts of each parity.
    """
    p, q, r, s = first
    for k in range(general):
        for j in range(n):
            a = parts[p + k, j]
            b = parts[q + k, j]
            c = parts[r + k, j]
            d = parts[s + k, j]
            parts[p + k, j] = (a + b) + (c + d)
            parts[q + k, j] = (a - b) + (c - d)
            parts[r + k, j] = (a + b) - (c + d)
            parts[s + k, j] = (a - b) - (c - d)


@compiled
def _slopes(parts, r, values, potentials, n):
    """Replace the responses t of row r by ψ'(t), and add ψ(t) to values."""
    a, inner, b, outer = potentials[r, 0], potentials[r, 1], potentials[r, 2], potentials[r, 3]
    at_zero = potentials[r, 4]
    for j in range(n):
        t = parts[r, j]
        u = t * t + inner
        v = t * t + outer
        narrow = a / np.sqrt(u)
        wide = b / np.sqrt(v)
        values[j] += narrow * u - wide * v - at_zero
        parts[r, j] = t * (narrow - wide)


@compiled
def _bends(products, parts, r, potentials, n):
    """Multiply row r of the products by ψ''(t) of the responses t."""
    a, inner, b, outer = potentials[r, 0], potentials[r, 1], potentials[r, 2], potentials[r, 3]
    one = potentials.dtype.type(1)
    for j in range(n):
        t = parts[r, j]
        narrow = one / np.sqrt(t * t + inner)
        wide = one / np.sqrt(t * t + outer)
        products[r, j] *= a * inner * (narrow * narrow * narrow) - b * outer * (wide * wide * wide)


@compiled
def _slopes_and_bends(responses, products, p, sums):
    """Replace t by ψ'(t) and d by ψ''(t) d; add Σ d ∂ψ'(t)/∂(a, ε₁², ac, ε₂²) to sums."""
    a, inner, b, outer = p[0], p[1], p[2], p[3]
    one = p.dtype.type(1)
    by_a = by_inner = by_b = by_outer = p.dtype.type(0)
    for j in range(responses.shape[0]):
        t = responses[j]
        d = products[j]
        narrow = one / np.sqrt(t * t + inner)
        wide = one / np.sqrt(t * t + outer)
        cubed = narrow * narrow * narrow
        cubed_wide = wide * wide * wide
        by_a += d * t * narrow
        by_inner += d * t * cubed
        by_b += d * t * wide
        by_outer += d * t * cubed_wide
        responses[j] = t * (a * narrow - b * wide)
        products[j] = d * (a * inner * cubed - b * outer * cubed_wide)
    sums[0] += by_a
    sums[1] -= by_inner * a / 2
    sums[2] -= by_b
    sums[3] += by_outer * b / 2


@compiled
def _add_line(line, row):
    for j in range(row.shape[0]):
        line[j] += row[j]


@compiled
def _finish_row(g, line, x, noisy, d):
    """Replace a row of g, which may be that of d, by ∇J; return Σ(x − f)², Σ g² and Σ g d."""
    zero = g.dtype.type(0)
    residuals = norm = product = zero
    for j in range(g.shape[0]):
        residual = x[j] - noisy[j]
        gradient = line[j] + residual
        residuals += residual * residual
        norm += gradient * gradient
        product += gradient * d[j]
        g[j] = gradient
    return residuals, norm, product


@compiled
def _in_lanes(n):
    return min((n + LANES - 1) // LANES * LANES, PITCH)


@compiled
def _smooth_down(line, above, here, below):
    quarter, half = line.dtype.type(0.25), line.dtype.type(0.5)
    for j in range(here.shape[0]):
        line[j] = half * here[j] + quarter * (above[j] + below[j])


@compiled
def _smooth_across(row, left, here, right):
    quarter, half = row.dtype.type(0.25), row.dtype.type(0.5)
    for j in range(row.shape[0]):
        row[j] = half * here[j] + quarter * (left[j] + right[j])


@kernel
def smooth_tile(x, smoothed, tiles, k):
    """Smooth an image by (1, 2, 1)/4 along both axes of its symmetric extension, in tile k."""
    top, bottom, left, right = tiles[k, 0], tiles[k, 1], tiles[k, 2], tiles[k, 3]
    quarter, half = x.dtype.type(0.25), x.dtype.type(0.5)
    n = right - left
    line = np.zeros(n + 2, x.dtype)
    rows, columns = x.shape[1], x.shape[2]
    for c in range(x.shape[0]):
        for i in range(top, bottom):
            above, here, below = x[c, _mirrored(i - 1, rows)], x[c, i], x[c, _mirrored(i + 1, rows)]
            _smooth_down(line[1:], above[left:right], here[left:right], below[left:right])
            for j in range(0, n + 2, n + 1):
                place = _mirrored(left - 1 + j, columns)
                line[j] = half * here[place] + quarter * (above[place] + below[place])
            _smooth_across(smoothed[c, i, left:right], line, line[1:], line[2:])


@kernel
def inner_tile(a, b, tiles, k, sums):
    """Set sums[k, 0] to the inner product of two images in tile k."""
    top, bottom, left, right = tiles[k, 0], tiles[k, 1], tiles[k, 2], tiles[k, 3]
    sums[k, 0] = 0.0
    for c in range(a.shape[0]):
        for i in range(top, bottom):
            total = a.dtype.type(0)
            for j in range(left, right):
                total += a[c, i, j] * b[c, i, j]
            sums[k, 0] += total


@kernel
def sweep_tile(
    x, noisy, rest, g, d, tiles, k, shape, first, forward, backward, potentials, sums
):  # fmt: skip
    """Replace g by ∇R(x) + x − f, plus ``rest`` unless that is empty, in tile k.

    x, noisy, rest, g, d: (channels, rows, columns); g may be d. tiles: see `tiles_of`.
    shape to potentials: the fields of `Packed`. sums[k] receives the sums over the tile, see `SUMS`.
    """
    channels, radius, width, odd, rows, general, step = shape
    reach = radius * step
    slots = 2 * reach + 1
    ring = np.zeros((slots * channels, width * PITCH), x.dtype)
    back = np.zeros((slots * channels, width * PITCH), x.dtype)
    folds = np.zeros((channels * (2 * radius + 1), width * PITCH), x.dtype)
    fold_rows = folds.reshape(-1, PITCH)
    parts = np.zeros((rows, PITCH), x.dtype)
    line = np.zeros(PITCH + 2 * reach, x.dtype)
    values = np.zeros((1, PITCH), x.dtype)
    value_row = values[0]
    top, bottom, left, right = tiles[k, 0], tiles[k, 1], tiles[k, 2], tiles[k, 3]
    n = _in_lanes(right - left + 2 * reach)
    sums[k, :] = 0.0
    _clear_all(back)
    for source in range(top - 2 * reach, bottom + 2 * reach):
        _fold_source_row(ring, line, x, source, left, shape, n)
        i = source - reach  # the row of responses
        if i < top - reach:
            continue
        _fold_rows(folds, ring, i, shape)
        multiply(parts, fold_rows, forward, n)
        _exchange(parts, first, general, n)
        _clear(values, 0)
        for r in range(rows):
            _slopes(parts, r, value_row, potentials, n)
        if top <= i < bottom:
            total = x.dtype.type(0)
            for j in range(reach, reach + right - left):
                total += value_row[j]
            sums[k, 0] += total
        _exchange(parts, first, general, n)
        multiply(fold_rows, parts, backward, n)
        _unfold_rows(back, folds, i, shape)
        i -= reach  # the row of the gradient
        if i < top:
            continue
        for c in range(channels):
            _unfold_columns(line, back, i % slots * channels + c, radius, odd, step, right - left)
            if rest.size:
                _add_line(line, rest[c, i, left:right])
            residuals, norm, product = _finish_row(
                g[c, i, left:right], line, x[c, i, left:right], noisy[c, i, left:right], d[c, i, left:right]
            )
            sums[k, 1] += residuals
            sums[k, 2] += norm
            sums[k, 3] += product


@kernel
def hessian_tile(
    x, direction, product, tiles, k, shape, first, forward, backward, potentials
):  # fmt: skip
    """Replace ``product`` by ∇²J(x) d = d + ∇²R(x) d in tile k; arguments as in `sweep_tile`."""
    channels, radius, width, odd, rows, general, step = shape
    reach = radius * step
    slots = 2 * reach + 1
    ring = np.zeros((slots * channels, width * PITCH), x.dtype)
    ring_d = np.zeros((slots * channels, width * PITCH), x.dtype)
    back = np.zeros((slots * channels, width * PITCH), x.dtype)
    folds = np.zeros((channels * (2 * radius + 1), width * PITCH), x.dtype)
    fold_rows = folds.reshape(-1, PITCH)
    parts = np.zeros((rows, PITCH), x.dtype)
    parts_d = np.zeros((rows, PITCH), x.dtype)
    line = np.zeros(PITCH + 2 * reach, x.dtype)
    top, bottom, left, right = tiles[k, 0], tiles[k, 1], tiles[k, 2], tiles[k, 3]
    n = _in_lanes(right - left + 2 * reach)
    _clear_all(back)
    for source in range(top - 2 * reach, bottom + 2 * reach):
        _fold_source_row(ring, line, x, source, left, shape, n)
        _fold_source_row(ring_d, line, direction, source, left, shape, n)
        i = source - reach  # the row of responses
        if i < top - reach:
            continue
        _fold_rows(folds, ring, i, shape)
        multiply(parts, fold_rows, forward, n)
        _fold_rows(folds, ring_d, i, shape)
        multiply(parts_d, fold_rows, forward, n)
        _exchange(parts, first, general, n)
        _exchange(parts_d, first, general, n)
        for r in range(rows):
            _bends(parts_d, parts, r, potentials, n)
        _exchange(parts_d, first, general, n)
        multiply(fold_rows, parts_d, backward, n)
        _unfold_rows(back, folds, i, shape)
        i -= reach  # the row of the product
        if i < top:
            continue
        for c in range(channels):
            _unfold_columns(line, back, i % slots * channels + c, radius, odd, step, right - left)
            own = direction[c, i, left:right]
            to = product[c, i, left:right]
            for j in range(right - left):
                to[j] = own[j] + line[j]


@kernel
def derivative_tile(
    x, v, tiles, k, shape, first, forward, potentials, by_weight, by_potential
):  # fmt: skip
    """Differentiate ⟨v, ∇R(x)⟩ = Σ_p Σᵢ (Kᵢ v)_p ψᵢ'((Kᵢ x)_p) by the bank, in tile k.

    The derivative by a filter is the correlation of ψ''(Kx) Kv with x plus that of ψ'(Kx) with v.
    by_weight: (tiles, weights), by the weights of `Packed.forward`, in double precision.
    by_potential: (tiles, parts, 4), by a, ε₁², ac and ε₂² of each row of parts.
    """
    channels, radius, width, _, rows, general, step = shape
    reach = radius * step
    slots = 2 * reach + 1
    ring = np.zeros((slots * channels, width * PITCH), x.dtype)
    ring_v = np.zeros((slots * channels, width * PITCH), x.dtype)
    folds = np.zeros((channels * (2 * radius + 1), width * PITCH), x.dtype)
    folds_v = np.zeros((channels * (2 * radius + 1), width * PITCH), x.dtype)
    fold_rows = folds.reshape(-1, PITCH)
    fold_v_rows = folds_v.reshape(-1, PITCH)
    parts = np.zeros((rows, PITCH), x.dtype)
    parts_v = np.zeros((rows, PITCH), x.dtype)
    line = np.zeros(PITCH + 2 * reach, x.dtype)
    top, bottom, left, right = tiles[k, 0], tiles[k, 1], tiles[k, 2], tiles[k, 3]
    n = _in_lanes(right - left + 2 * reach)
    by_weight[k] = 0.0
    by_potential[k] = 0.0
    for source in range(top - reach, bottom + reach):
        _fold_source_row(ring, line, x, source, left, shape, n)
        _fold_source_row(ring_v, line, v, source, left, shape, n)
        i = source - reach  # the row of responses
        if i < top:
            continue
        _fold_rows(folds, ring, i, shape)
        _fold_rows(folds_v, ring_v, i, shape)
        multiply(parts, fold_rows, forward, n)
        multiply(parts_v, fold_v_rows, forward, n)
        _exchange(parts, first, general, n)
        _exchange(parts_v, first, general, n)
        end_column = reach + right - left
        for r in range(rows):
            _slopes_and_bends(
                parts[r, reach:end_column], parts_v[r, reach:end_column], potentials[r], by_potential[k, r]
            )
            for own in (parts, parts_v):
                own[r, :reach] = 0
                own[r, end_column:] = 0
        _exchange(parts, first, general, n)
        _exchange(parts_v, first, general, n)
        add_inner_products(by_weight[k], parts_v, fold_rows, forward, n)
        add_inner_products(by_weight[k], parts, fold_v_rows, forward, n)
