"""The fused sweep for learned filters: tiles of the image pass through the cache row by row.

Each filter is even or odd along rows and along columns. So for each row of a tile the kernel

- adds and subtracts pixels on opposite sides of each pixel, once for all filters ("folds");
- multiplies the folds by a quarter of the taps of each filter, which gives its responses in each channel;
- multiplies these by ψ'(t)/t for the norm t of a group's responses.

The adjoint takes the same steps in reverse order. Compared with direct correlation, three quarters of the
multiplications are saved.

The products are those of `tvdenoise.model.products`.

Tiles recompute the responses around them, beyond the border of the image on its symmetric extension. For such filters,
the adjoint of these responses is the exact gradient at the border.
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
    from collections.abc import Iterator

    from numpy.typing import DTypeLike, NDArray

    from tvdenoise.model.filters import FilterBank, Potentials


#: A tile has at most this many rows; it recomputes 4 × reach rows of folds of its neighbours.
TILE_ROWS = 256
#: Sums over a tile: Σψ, ‖x − f‖², ‖g‖² and ⟨g, d⟩.
SUMS = 4


class Shape(NamedTuple):
    """The shape of a bank's folds and responses.

    The folds of one channel follow those of the channel before, and so do its responses: in each channel those of the
    first filter of each group, then those of the second one, and so on.

    width: column folds of one channel: even ones from 0, odd ones from ``odd``. step: the distance of taps in pixels;
    ``reach`` in what follows is radius × step.
    """

    channels: int
    radius: int
    width: int
    odd: int
    groups: int
    step: int
    members: int

    @property
    def folds(self) -> int:
        """The number of rows of folds."""
        return self.channels * (2 * self.radius + 1) * self.width

    @property
    def responses(self) -> int:
        """The number of rows of responses."""
        return self.channels * self.members * self.groups


@dataclass(frozen=True, eq=False)
class BankLayout:
    """Where the taps and potentials of a bank stand in the kernels' arrays.

    forward, backward: the pattern of the responses that are made of folds, and of its adjoint.
    """

    shape: Shape
    forward: Pattern
    backward: Pattern

    @classmethod
    def of(cls, bank: FilterBank, step: int = 1) -> BankLayout:
        """Lay out a bank of scale 1, with taps ``step`` pixels apart.

        The layout depends on the numbers of groups and filters and their parities only.
        """
        radius, parities = bank.radius, bank.parities.T.ravel()
        shape = Shape(
            bank.channels, radius, 2 * radius + 1, radius + 1, len(bank.filters), step, bank.members
        )
        products = [
            (channel * bank.count + np.flatnonzero(parities == parity), folds)
            for channel in range(bank.channels)
            for parity, folds in enumerate(cls._folds(shape, channel))
        ]
        return cls(
            shape, Pattern.of(products), Pattern.of([(folds, responses) for responses, folds in products])
        )

    @staticmethod
    def _folds(shape: Shape, channel: int) -> list[NDArray[np.intp]]:
        """Return for each parity the rows of folds, along rows and then columns, that its responses are made of."""
        r = shape.radius
        found = []
        for rows, columns in PARITIES:
            down = np.arange(r + 1) if rows > 0 else np.arange(r + 1, 2 * r + 1)
            across = np.arange(r + 1) if columns > 0 else shape.odd + np.arange(r)
            found.append(((channel * (2 * r + 1) + down[:, None]) * shape.width + across).ravel())
        return found

    def weights(self, bank: FilterBank) -> NDArray[np.float64]:
        """Return the weight of each fold in each response, (responses, folds)."""
        weights = np.zeros((self.shape.responses, self.shape.folds))
        for row, (place, parity, folds) in enumerate(self._rows(bank)):
            weights[row, folds] = bank.filters[(*place, *self._taps(parity))].ravel()
        return weights

    def _rows(self, bank: FilterBank) -> Iterator[tuple[tuple[int, int, int], int, NDArray[np.intp]]]:
        """Yield for each row of responses its filter (group, member, channel), the parity and the folds."""
        for channel in range(self.shape.channels):
            folds = self._folds(self.shape, channel)
            for member in range(self.shape.members):
                for group in range(self.shape.groups):
                    parity = int(bank.parities[group, member])
                    yield (group, member, channel), parity, folds[parity]

    def by_bank(
        self, bank: FilterBank, by_product: NDArray[np.float64], by_potential: NDArray[np.float64]
    ) -> ByBank:
        """Return derivatives by the bank from those by `Packed.forward` and by a, ε₁², ac, ε₂² of each group."""
        by_weight = self.forward.unpacked(by_product, (self.shape.responses, self.shape.folds))
        by_filters = np.zeros_like(bank.filters)
        for row, (place, parity, folds) in enumerate(self._rows(bank)):
            own = np.zeros_like(bank.filters[place])
            quarter = own[self._taps(parity)]
            quarter[:] = by_weight[row, folds].reshape(quarter.shape)
            by_filters[place] = parity_part(own, PARITIES[parity])
        p = bank.potentials
        by_scale, by_inner, by_less, by_outer = by_potential.T
        return ByBank(
            by_filters,
            by_scale + p.share * by_less,
            2 * p.inner * by_inner,
            p.scale * by_less,
            2 * p.outer * by_outer,
        )

    def _taps(self, parity: int) -> tuple[slice, slice]:
        """Return the taps of a filter that determine it, in the order of its folds."""
        rows, columns = PARITIES[parity]
        r = self.shape.radius
        return slice(r + (rows < 0), None), slice(r + (columns < 0), None)


class Packed(NamedTuple):
    """A bank at a level, as the kernels take it.

    forward, backward: the responses that are made of folds, and the adjoint. potentials: (groups, 5): a, ε₁², ac, ε₂²
    and aε₁ − acε₂.
    """

    shape: tuple[int, ...]
    forward: Products
    backward: Products
    potentials: NDArray[np.floating]


def pack(layout: BankLayout, bank: FilterBank, level: float, dtype: DTypeLike) -> Packed:
    """Pack a bank for images of one precision."""
    weights = layout.weights(bank)
    return Packed(
        tuple(layout.shape),
        layout.forward.packed(weights, dtype),
        layout.backward.packed(weights.T, dtype),
        _packed_potentials(bank.potentials.at(level)).astype(dtype),
    )


def _packed_potentials(p: Potentials) -> NDArray[np.float64]:
    less = p.scale * p.share
    columns = (p.scale, p.inner**2, less, p.outer**2, p.scale * p.inner - less * p.outer)
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
def take_row(line, x, c, i, first, n):
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
def fold_source_row(ring, line, x, i, left, shape, n):
    """Fold one row of the extended image into its slot."""
    channels, radius, _, odd, _, step, _ = shape
    reach = radius * step
    slot = i % (2 * reach + 1) * channels
    for c in range(channels):
        take_row(line, x, c, i, left - 2 * reach, n + 2 * reach)
        _fold_columns(ring, slot + c, line, radius, odd, step, n)


@compiled
def _sum_and_difference(folds, even, odd, ring, after, before):
    for j in range(ring.shape[1]):
        a = ring[after, j]
        b = ring[before, j]
        folds[even, j] = a + b
        folds[odd, j] = a - b


@compiled
def fold_rows(folds, ring, i, shape):
    """Fold the rows of column folds around row i."""
    channels, radius, step = shape[0], shape[1], shape[5]
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
    """The adjoint of `fold_rows`: add to the column folds of the rows around row i, of which the last is new."""
    channels, radius, step = shape[0], shape[1], shape[5]
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
def sum_products(sums, a, b, group, groups, n):
    """Set sums to the inner products of the responses of a group."""
    for j in range(n):
        sums[j] = a[group, j] * b[group, j]
    for r in range(group + groups, a.shape[0], groups):
        for j in range(n):
            sums[j] += a[r, j] * b[r, j]


@compiled
def _scale(responses, factors, group, groups, n):
    """Multiply the responses of a group."""
    for r in range(group, responses.shape[0], groups):
        for j in range(n):
            responses[r, j] *= factors[j]


@compiled
def _take_gates(line, gates, group, i, first, n):
    """Fill a line with n gates of a group from row i of the extended image; leave its ones if there are no gates."""
    if gates.size:
        take_row(line, gates, group, i, first, n)


@compiled
def _ratios(ratios, values, squares, gates, p, n):
    """Set ratios to g ψ'(t)/t and add g ψ(t) to values, for t² and the gates g."""
    a, inner, b, outer, at_zero = p[0], p[1], p[2], p[3], p[4]
    for j in range(n):
        u = squares[j] + inner
        v = squares[j] + outer
        narrow = a / np.sqrt(u)
        wide = b / np.sqrt(v)
        values[j] += gates[j] * (narrow * u - wide * v - at_zero)
        ratios[j] = gates[j] * (narrow - wide)


@compiled
def _ratios_and_slopes(ratios, slopes, products, squares, gates, p, n):
    """Set ratios to g q = g ψ'(t)/t and slopes to g q'(t)/t ⟨t, d⟩, for t², the products ⟨t, d⟩ and the gates g."""
    a, inner, b, outer = p[0], p[1], p[2], p[3]
    one = p.dtype.type(1)
    for j in range(n):
        narrow = one / np.sqrt(squares[j] + inner)
        wide = one / np.sqrt(squares[j] + outer)
        ratios[j] = gates[j] * (a * narrow - b * wide)
        slopes[j] = gates[j] * products[j] * (b * (wide * wide * wide) - a * (narrow * narrow * narrow))


@compiled
def _turn(changes, responses, ratios, slopes, group, groups, n):
    """Replace the changes d of a group's responses t by those of ψ'(t) t/|t|."""
    for r in range(group, responses.shape[0], groups):
        for j in range(n):
            changes[r, j] = ratios[j] * changes[r, j] + slopes[j] * responses[r, j]


@compiled
def _by_potential(products, squares, gates, p, sums):
    """Add Σ g ⟨t, d⟩ ∂q/∂(a, ε₁², ac, ε₂²) to sums, for t², the products ⟨t, d⟩ and the gates g."""
    a, inner, b, outer = p[0], p[1], p[2], p[3]
    one = p.dtype.type(1)
    by_a = by_inner = by_b = by_outer = p.dtype.type(0)
    for j in range(squares.shape[0]):
        narrow = one / np.sqrt(squares[j] + inner)
        wide = one / np.sqrt(squares[j] + outer)
        gated = gates[j] * products[j]
        by_a += gated * narrow
        by_inner += gated * (narrow * narrow * narrow)
        by_b += gated * wide
        by_outer += gated * (wide * wide * wide)
    sums[0] += by_a
    sums[1] -= by_inner * a / 2
    sums[2] -= by_b
    sums[3] += by_outer * b / 2


@compiled
def _by_gates(to, products, squares, p):
    """Set to q(t) ⟨t, d⟩, for t² and the products ⟨t, d⟩."""
    a, inner, b, outer = p[0], p[1], p[2], p[3]
    for j in range(to.shape[0]):
        to[j] = products[j] * (a / np.sqrt(squares[j] + inner) - b / np.sqrt(squares[j] + outer))


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
def in_lanes(n):
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


@compiled
def _inner_row(a, b, c):
    zero = a.dtype.type(0)
    by_b = by_c = zero
    for j in range(a.shape[0]):
        by_b += a[j] * b[j]
        by_c += a[j] * c[j]
    return by_b, by_c


@kernel
def inner_tile(a, b, c, tiles, k, sums):
    """Set sums[k, 0] and sums[k, 1] to the inner products of an image with two others in tile k."""
    top, bottom, left, right = tiles[k, 0], tiles[k, 1], tiles[k, 2], tiles[k, 3]
    sums[k, 0] = 0.0
    sums[k, 1] = 0.0
    for channel in range(a.shape[0]):
        for i in range(top, bottom):
            by_b, by_c = _inner_row(
                a[channel, i, left:right], b[channel, i, left:right], c[channel, i, left:right]
            )
            sums[k, 0] += by_b
            sums[k, 1] += by_c


@compiled
def _move_row(x, change, d, before, by_d, by_before, by_change):
    for j in range(x.shape[0]):
        change[j] = by_change * change[j] - by_d * d[j] - by_before * before[j]
        x[j] += change[j]


@kernel
def move_tile(x, change, d, before, factors, tiles, k):
    """Take a step with memory in tile k; factors: those of `tvdenoise.model.engines.Move`."""
    top, bottom, left, right = tiles[k, 0], tiles[k, 1], tiles[k, 2], tiles[k, 3]
    by_d, by_before, by_change = factors
    for c in range(x.shape[0]):
        for i in range(top, bottom):
            _move_row(
                x[c, i, left:right],
                change[c, i, left:right],
                d[c, i, left:right],
                before[c, i, left:right],
                by_d,
                by_before,
                by_change,
            )


@kernel
def sweep_tile(
    x, noisy, rest, g, d, gates, tiles, k, shape, forward, backward, potentials, sums
):  # fmt: skip
    """Replace g by ∇R(x) + x − f, plus ``rest`` unless that is empty, in tile k.

    x, noisy, rest, g, d: (channels, rows, columns); g may be d. gates: (groups, rows, columns), empty for ones.
    tiles: see `tiles_of`.
    shape to potentials: the fields of `Packed`. sums[k] receives the sums over the tile, see `SUMS`.
    """
    channels, radius, width, odd, groups, step, members = shape
    reach = radius * step
    slots = 2 * reach + 1
    ring = np.zeros((slots * channels, width * PITCH), x.dtype)
    back = np.zeros((slots * channels, width * PITCH), x.dtype)
    folds = np.zeros((channels * (2 * radius + 1), width * PITCH), x.dtype)
    rows_of_folds = folds.reshape(-1, PITCH)
    responses = np.zeros((channels * members * groups, PITCH), x.dtype)
    line = np.zeros(PITCH + 2 * reach, x.dtype)
    values = np.zeros((1, PITCH), x.dtype)
    value_row = values[0]
    ratios = np.zeros(PITCH, x.dtype)
    gate = np.ones(PITCH, x.dtype)
    squares = np.zeros(PITCH, x.dtype)
    top, bottom, left, right = tiles[k, 0], tiles[k, 1], tiles[k, 2], tiles[k, 3]
    n = in_lanes(right - left + 2 * reach)
    sums[k, :] = 0.0
    _clear_all(back)
    for source in range(top - 2 * reach, bottom + 2 * reach):
        fold_source_row(ring, line, x, source, left, shape, n)
        i = source - reach  # the row of responses
        if i < top - reach:
            continue
        fold_rows(folds, ring, i, shape)
        multiply(responses, rows_of_folds, forward, n)
        _clear(values, 0)
        for group in range(groups):
            sum_products(squares, responses, responses, group, groups, n)
            _take_gates(gate, gates, group, i, left - reach, n)
            _ratios(ratios, value_row, squares, gate, potentials[group], n)
            _scale(responses, ratios, group, groups, n)
        if top <= i < bottom:
            total = x.dtype.type(0)
            for j in range(reach, reach + right - left):
                total += value_row[j]
            sums[k, 0] += total
        multiply(rows_of_folds, responses, backward, n)
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
    x, direction, product, gates, tiles, k, shape, forward, backward, potentials
):  # fmt: skip
    """Replace ``product`` by ∇²J(x) d = d + ∇²R(x) d in tile k; arguments as in `sweep_tile`."""
    channels, radius, width, odd, groups, step, members = shape
    reach = radius * step
    slots = 2 * reach + 1
    ring = np.zeros((slots * channels, width * PITCH), x.dtype)
    ring_d = np.zeros((slots * channels, width * PITCH), x.dtype)
    back = np.zeros((slots * channels, width * PITCH), x.dtype)
    folds = np.zeros((channels * (2 * radius + 1), width * PITCH), x.dtype)
    rows_of_folds = folds.reshape(-1, PITCH)
    responses = np.zeros((channels * members * groups, PITCH), x.dtype)
    responses_d = np.zeros((channels * members * groups, PITCH), x.dtype)
    ratios = np.zeros(PITCH, x.dtype)
    gate = np.ones(PITCH, x.dtype)
    slopes = np.zeros(PITCH, x.dtype)
    squares = np.zeros(PITCH, x.dtype)
    products = np.zeros(PITCH, x.dtype)
    line = np.zeros(PITCH + 2 * reach, x.dtype)
    top, bottom, left, right = tiles[k, 0], tiles[k, 1], tiles[k, 2], tiles[k, 3]
    n = in_lanes(right - left + 2 * reach)
    _clear_all(back)
    for source in range(top - 2 * reach, bottom + 2 * reach):
        fold_source_row(ring, line, x, source, left, shape, n)
        fold_source_row(ring_d, line, direction, source, left, shape, n)
        i = source - reach  # the row of responses
        if i < top - reach:
            continue
        fold_rows(folds, ring, i, shape)
        multiply(responses, rows_of_folds, forward, n)
        fold_rows(folds, ring_d, i, shape)
        multiply(responses_d, rows_of_folds, forward, n)
        for group in range(groups):
            sum_products(squares, responses, responses, group, groups, n)
            sum_products(products, responses, responses_d, group, groups, n)
            _take_gates(gate, gates, group, i, left - reach, n)
            _ratios_and_slopes(ratios, slopes, products, squares, gate, potentials[group], n)
            _turn(responses_d, responses, ratios, slopes, group, groups, n)
        multiply(rows_of_folds, responses_d, backward, n)
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
    x, v, gates, tiles, k, shape, forward, potentials, by_weight, by_potential, by_gates
):  # fmt: skip
    """Differentiate ⟨v, ∇R(x)⟩ = Σ_p Σᵢ gᵢ ⟨Kᵢ v, q(t) t⟩_p, t = Kᵢ x, by the bank and by the gates, in tile k.

    The derivative by a filter is the correlation of q(t) t with v plus that of its change by Kᵢ v with x.
    by_weight: (tiles, weights), by the weights of `Packed.forward`, in double precision.
    by_potential: (tiles, groups, 4), by a, ε₁², ac and ε₂² of each group.
    by_gates: like the gates, q(t) ⟨Kᵢ v, t⟩; empty if they are.
    """
    channels, radius, width, _, groups, step, members = shape
    reach = radius * step
    slots = 2 * reach + 1
    ring = np.zeros((slots * channels, width * PITCH), x.dtype)
    ring_v = np.zeros((slots * channels, width * PITCH), x.dtype)
    folds = np.zeros((channels * (2 * radius + 1), width * PITCH), x.dtype)
    folds_v = np.zeros((channels * (2 * radius + 1), width * PITCH), x.dtype)
    rows_of_folds = folds.reshape(-1, PITCH)
    rows_of_folds_v = folds_v.reshape(-1, PITCH)
    responses = np.zeros((channels * members * groups, PITCH), x.dtype)
    responses_v = np.zeros((channels * members * groups, PITCH), x.dtype)
    ratios = np.zeros(PITCH, x.dtype)
    gate = np.ones(PITCH, x.dtype)
    slopes = np.zeros(PITCH, x.dtype)
    squares = np.zeros(PITCH, x.dtype)
    products = np.zeros(PITCH, x.dtype)
    line = np.zeros(PITCH + 2 * reach, x.dtype)
    top, bottom, left, right = tiles[k, 0], tiles[k, 1], tiles[k, 2], tiles[k, 3]
    n = in_lanes(right - left + 2 * reach)
    by_weight[k] = 0.0
    by_potential[k] = 0.0
    for source in range(top - reach, bottom + reach):
        fold_source_row(ring, line, x, source, left, shape, n)
        fold_source_row(ring_v, line, v, source, left, shape, n)
        i = source - reach  # the row of responses
        if i < top:
            continue
        fold_rows(folds, ring, i, shape)
        fold_rows(folds_v, ring_v, i, shape)
        multiply(responses, rows_of_folds, forward, n)
        multiply(responses_v, rows_of_folds_v, forward, n)
        end_column = reach + right - left
        for group in range(groups):
            sum_products(squares, responses, responses, group, groups, n)
            sum_products(products, responses, responses_v, group, groups, n)
            _take_gates(gate, gates, group, i, left - reach, n)
            _ratios_and_slopes(ratios, slopes, products, squares, gate, potentials[group], n)
            _by_potential(
                products[reach:end_column],
                squares[reach:end_column],
                gate[reach:end_column],
                potentials[group],
                by_potential[k, group],
            )
            if by_gates.size:
                _by_gates(
                    by_gates[group, i, left:right], products[reach:], squares[reach:], potentials[group]
                )
            _turn(responses_v, responses, ratios, slopes, group, groups, n)
            _scale(responses, ratios, group, groups, n)
        for r in range(responses.shape[0]):
            for own in (responses, responses_v):
                own[r, :reach] = 0
                own[r, end_column:] = 0
        add_inner_products(by_weight[k], responses_v, rows_of_folds, forward, n)
        add_inner_products(by_weight[k], responses, rows_of_folds_v, forward, n)
