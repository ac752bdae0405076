"""The fused sweep for learned filters: tiles of the image pass through the cache row by row.

Each filter is even or odd along rows and along columns. So for each row of a tile the kernel

- adds and subtracts the rows on opposite sides, once for all filters ("folds");
- multiplies the folds, and their sums and differences of opposite pixels, by a quarter of the taps of each filter,
  which gives its responses in each channel;
- multiplies these by ψ'(t)/t for the norm t of a group's responses.

The adjoint takes the same steps in reverse order. Compared with direct correlation, three quarters of the
multiplications are saved.

The products are those of `tvdenoise.model.products`, and functions of rows take pointers, as in
`tvdenoise.model.kernels`.

Tiles recompute the responses around them, beyond the border of the image on its symmetric extension. For such filters,
the adjoint of these responses is the exact gradient at the border.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import carray  # type: ignore[attr-defined]

from tvdenoise.model.filters import PARITIES, ByBank, parity_part
from tvdenoise.model.kernels import (
    add_row,
    ask_for,
    clear_row,
    compiled,
    copy_row,
    further,
    kernel,
    row_function,
    row_of,
)  # fmt: skip
from tvdenoise.model.products import (
    DIFFERENCE,
    LANES,
    ONE,
    PITCH,
    SUM,
    WIDTH,
    Pattern,
    Products,
    add_inner_products,
    multiply,
)  # fmt: skip

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

    The 2 × radius + 1 folds of one channel follow those of the channel before: that of the middle row, the sums, then
    the differences. So do its responses: in each channel those of the first filter of each group, then those of the
    second one, and so on.

    step: the distance of taps in pixels; ``reach`` in what follows is radius × step.
    """

    channels: int
    radius: int
    groups: int
    step: int
    members: int

    @property
    def side(self) -> int:
        """The number of rows of taps, and of folds of one channel."""
        return 2 * self.radius + 1

    @property
    def folds(self) -> int:
        """The number of folds."""
        return self.channels * self.side

    @property
    def responses(self) -> int:
        """The number of rows of responses."""
        return self.channels * self.members * self.groups


@dataclass(frozen=True, eq=False)
class BankLayout:
    """Where the taps and potentials of a bank stand in the kernels' arrays.

    forward: the pattern of the responses that are made of folds. backward: that of its adjoint, which makes folds of
    responses. Each fold has ``side`` sources, and so has each response in the adjoint: the pixel in the middle, then
    the sums and the differences of pixels on opposite sides.
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
        shape = Shape(bank.channels, radius, len(bank.filters), step, bank.members)
        forward, backward = [], []
        for channel in range(bank.channels):
            first = channel * bank.count
            for parity in range(len(PARITIES)):
                down, across = _taps(parity, radius)
                folds = channel * shape.side + down
                own = first + np.flatnonzero(parities == parity)
                forward.append((own, _all_of(folds, across, shape.side)))
            for rows in (1, -1):
                alike = [parity for parity, (down, _) in enumerate(PARITIES) if down == rows]
                sources = [
                    _all_of(first + np.flatnonzero(parities == parity), _taps(parity, radius)[1], shape.side)
                    for parity in alike
                ]
                folds = channel * shape.side + _taps(alike[0], radius)[0]
                backward.append((folds, np.concatenate(sources)))
        return cls(
            shape,
            Pattern.of(forward, _opposite(shape, shape.folds, line_pitch(radius * step), 1)),
            Pattern.of(backward, _opposite(shape, shape.responses, PITCH, -1)),
        )

    def weights(self, bank: FilterBank) -> NDArray[np.float64]:
        """Return the weight of each source of a fold in each response, (responses, folds, side)."""
        weights = np.zeros((self.shape.responses, self.shape.folds, self.shape.side))
        for row, (place, sources, quarter) in enumerate(self._rows(bank)):
            weights[row][sources] = bank.filters[place][quarter]
        return weights

    def _rows(
        self, bank: FilterBank
    ) -> Iterator[tuple[tuple[int, int, int], tuple[NDArray[np.intp], ...], tuple[slice, slice]]]:
        """Yield for each row of responses its filter (group, member, channel).

        And the places of its weights for each fold, and the taps that they are.
        """
        radius = self.shape.radius
        for channel in range(self.shape.channels):
            for member in range(self.shape.members):
                for group in range(self.shape.groups):
                    parity = int(bank.parities[group, member])
                    down, across = _taps(parity, radius)
                    rows, columns = PARITIES[parity]
                    quarter = slice(radius + (rows < 0), None), slice(radius + (columns < 0), None)
                    yield (group, member, channel), np.ix_(channel * self.shape.side + down, across), quarter

    def by_bank(
        self, bank: FilterBank, by_product: NDArray[np.float64], by_potential: NDArray[np.float64]
    ) -> ByBank:
        """Return derivatives by the bank from those by `Packed.forward` and by a, ε₁², ac, ε₂² of each group."""
        shape = self.shape.responses, self.shape.folds * self.shape.side
        by_weight = self.forward.unpacked(by_product, shape).reshape(
            self.shape.responses, self.shape.folds, -1
        )
        by_filters = np.zeros_like(bank.filters)
        for row, (place, sources, quarter) in enumerate(self._rows(bank)):
            own = np.zeros_like(bank.filters[place])
            own[quarter] = by_weight[row][sources]
            by_filters[place] = parity_part(own, PARITIES[bank.parities[place[:2]]])
        p = bank.potentials
        by_scale, by_inner, by_less, by_outer = by_potential.T
        return ByBank(
            by_filters,
            by_scale + p.share * by_less,
            2 * p.inner * by_inner,
            p.scale * by_less,
            2 * p.outer * by_outer,
        )


def _taps(parity: int, radius: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return which folds, and which sources of each, the responses of filters with a parity are made of."""
    even, odd = np.arange(radius + 1), np.arange(radius + 1, 2 * radius + 1)
    rows, columns = PARITIES[parity]
    return even if rows > 0 else odd, even if columns > 0 else odd


def _all_of(rows: NDArray[np.intp], sources: NDArray[np.intp], side: int) -> NDArray[np.intp]:
    """Return the numbers of some of the ``side`` sources of each of some rows."""
    numbers: NDArray[np.intp] = (rows[:, None] * side + sources).ravel()
    return numbers


def _opposite(shape: Shape, count: int, pitch: int, first: int) -> NDArray[np.intp]:
    """Return the sources of all rows of an array, for `Pattern.of`.

    first: where the first one of two pixels stands, 1 for the right-hand side and −1 for the left.
    """
    distances = shape.step * np.arange(1, shape.radius + 1)
    kinds = np.repeat([ONE, SUM, DIFFERENCE], [1, shape.radius, shape.radius])
    away = first * np.concatenate([[0], distances, distances])
    middle = np.arange(count)[:, None] * pitch + shape.radius * shape.step
    of_row = [np.broadcast_to(kinds, (count, len(kinds))), middle + away, middle - away]
    return np.stack(of_row, axis=-1).reshape(-1, 3)


@compiled
def line_pitch(reach):
    """Return the length of rows of pixels and folds, which extend beyond the responses on both sides."""
    return PITCH + 2 * reach


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
        layout.forward.packed(weights.reshape(len(weights), -1), dtype),
        layout.backward.packed(weights.swapaxes(0, 1).reshape(layout.shape.folds, -1), dtype),
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
    across = _borders((0, *ends[1], columns), WIDTH - 2 * reach)
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
    i = _mirrored(i, x.shape[1])
    columns = x.shape[2]
    start = min(max(-first, 0), n)
    stop = max(min(columns - first, n), start)
    for j in range(start):
        line[j] = x[c, i, _mirrored(first + j, columns)]
    if stop > start:
        copy_row(row_of(line, (start,)), row_of(x, (c, i, first + start)), stop - start)
    for j in range(stop, n):
        line[j] = x[c, i, _mirrored(first + j, columns)]


@row_function
def _shift_row(row, centre, n):
    row = carray(row, n)
    for j in range(n):
        row[j] -= centre


@compiled
def take_source_row(ring, x, centre, i, left, shape, n):
    """Take the n + 2 reach pixels of row i of the extended image, from ``left`` - 2 reach on, into its slot.

    centre: of each channel, subtracted from its pixels. Filters sum to zero, so only the rounding of responses changes.
    """
    channels, radius, _, step, _ = shape
    reach = radius * step
    slot = i % (2 * reach + 1) * channels
    for c in range(channels):
        take_row(ring[slot + c], x, c, i, left - 2 * reach, n + 2 * reach)
        _shift_row(row_of(ring, (slot + c, 0)), centre[c], n + 2 * reach)


@row_function
def _sum_and_difference(even, odd, after, before, n):
    even, odd, after, before = carray(even, n), carray(odd, n), carray(after, n), carray(before, n)
    for j in range(n):
        a = after[j]
        b = before[j]
        even[j] = a + b
        odd[j] = a - b


@compiled
def _fold(folds, ring, i, shape, n):
    """Fold the rows around row i, of n + 2 reach pixels."""
    channels, radius, _, step, _ = shape
    slots = 2 * radius * step + 1
    m = n + 2 * radius * step
    for c in range(channels):
        first = c * (2 * radius + 1)
        copy_row(row_of(folds, (first, 0)), row_of(ring, (i % slots * channels + c, 0)), m)
        for d in range(1, radius + 1):
            _sum_and_difference(
                row_of(folds, (first + d, 0)),
                row_of(folds, (first + radius + d, 0)),
                row_of(ring, ((i + d * step) % slots * channels + c, 0)),
                row_of(ring, ((i - d * step) % slots * channels + c, 0)),
                m,
            )


@compiled
def space_for(x, shape):
    """Return rows for work: a ring of pixels, and the folds and responses of one row of them."""
    channels, radius, groups, step, members = shape
    pitch = line_pitch(radius * step)
    ring = np.zeros(((2 * radius * step + 1) * channels, pitch), x.dtype)
    folds = np.zeros((channels * (2 * radius + 1), pitch), x.dtype)
    responses = np.zeros((channels * members * groups, PITCH), x.dtype)
    return ring, folds, responses


@compiled
def respond(responses, folds, ring, i, shape, forward, n):
    """Set responses to those of n pixels of row i."""
    _fold(folds, ring, i, shape, n)
    multiply(responses, folds, forward, n)


@row_function
def _add_both(after, before, even, odd, n):
    """The adjoint of `_sum_and_difference`."""
    after, before, even, odd = carray(after, n), carray(before, n), carray(even, n), carray(odd, n)
    for j in range(n):
        a = even[j]
        b = odd[j]
        after[j] += a + b
        before[j] += a - b


@compiled
def _unfold(back, folds, i, shape, n):
    """The adjoint of `_fold`: add n pixels to the rows around row i, of which the last is new."""
    channels, radius, _, step, _ = shape
    slots = 2 * radius * step + 1
    for c in range(channels):
        first = c * (2 * radius + 1)
        clear_row(row_of(back, ((i + radius * step) % slots * channels + c, 0)), n)
        add_row(row_of(back, (i % slots * channels + c, 0)), row_of(folds, (first, 0)), n)
        for d in range(1, radius + 1):
            _add_both(
                row_of(back, ((i + d * step) % slots * channels + c, 0)),
                row_of(back, ((i - d * step) % slots * channels + c, 0)),
                row_of(folds, (first + d, 0)),
                row_of(folds, (first + radius + d, 0)),
                n,
            )


@row_function
def _set_products(sums, a, b, n):
    sums, a, b = carray(sums, n), carray(a, n), carray(b, n)
    for j in range(n):
        sums[j] = a[j] * b[j]


@row_function
def _add_products(sums, a, b, n):
    sums, a, b = carray(sums, n), carray(a, n), carray(b, n)
    for j in range(n):
        sums[j] += a[j] * b[j]


@compiled
def sum_products(sums, a, b, group, groups, n):
    """Set sums to the inner products of the responses of a group."""
    _set_products(row_of(sums, (0,)), row_of(a, (group, 0)), row_of(b, (group, 0)), n)
    for r in range(group + groups, a.shape[0], groups):
        _add_products(row_of(sums, (0,)), row_of(a, (r, 0)), row_of(b, (r, 0)), n)


@row_function
def _multiply_row(row, factors, n):
    row, factors = carray(row, n), carray(factors, n)
    for j in range(n):
        row[j] *= factors[j]


@compiled
def _scale(responses, factors, group, groups, n):
    """Multiply the responses of a group."""
    for r in range(group, responses.shape[0], groups):
        _multiply_row(row_of(responses, (r, 0)), row_of(factors, (0,)), n)


@compiled
def _gates_at(line, gates, group, i, first, n):
    """Return a pointer to n gates of a group from row i of the extended image: the ones of a line if there are none.

    The gates are too many for the cache, so ask for the next row. line: overwritten at the border.
    """
    if not gates.size:
        return row_of(line, (0,))
    ask_for(row_of(gates, (group, _mirrored(i + 1, gates.shape[1]), max(first, 0))), n)
    if first < 0 or first + n > gates.shape[2]:
        take_row(line, gates, group, i, first, n)
        return row_of(line, (0,))
    return row_of(gates, (group, _mirrored(i, gates.shape[1]), first))


@row_function
def _ratio_row(ratios, values, squares, gates, n, a, inner, b, outer, at_zero):
    ratios, values, squares, gates = (
        carray(ratios, n),
        carray(values, n),
        carray(squares, n),
        carray(gates, n),
    )
    for j in range(n):
        u = squares[j] + inner
        v = squares[j] + outer
        narrow = a / np.sqrt(u)
        wide = b / np.sqrt(v)
        values[j] += gates[j] * (narrow * u - wide * v - at_zero)
        ratios[j] = gates[j] * (narrow - wide)


@compiled
def _ratios(ratios, values, squares, gates, p, n):
    """Set ratios to g ψ'(t)/t and add g ψ(t) to values, for t² and the gates g (a pointer)."""
    _ratio_row(
        row_of(ratios, (0,)), row_of(values, (0,)), row_of(squares, (0,)), gates, n,
        p[0], p[1], p[2], p[3], p[4],
    )  # fmt: skip


@row_function
def _slope_row(ratios, slopes, products, squares, gates, n, a, inner, b, outer):
    ratios, slopes, gates = carray(ratios, n), carray(slopes, n), carray(gates, n)
    products, squares = carray(products, n), carray(squares, n)
    one = type(a)(1)
    for j in range(n):
        narrow = one / np.sqrt(squares[j] + inner)
        wide = one / np.sqrt(squares[j] + outer)
        ratios[j] = gates[j] * (a * narrow - b * wide)
        slopes[j] = gates[j] * products[j] * (b * (wide * wide * wide) - a * (narrow * narrow * narrow))


@compiled
def _ratios_and_slopes(ratios, slopes, products, squares, gates, p, n):
    """Set ratios to g q = g ψ'(t)/t and slopes to g q'(t)/t ⟨t, d⟩, for t², the products ⟨t, d⟩ and the gates g."""
    _slope_row(
        row_of(ratios, (0,)), row_of(slopes, (0,)), row_of(products, (0,)), row_of(squares, (0,)), gates, n,
        p[0], p[1], p[2], p[3],
    )  # fmt: skip


@row_function
def _turn_row(changes, responses, ratios, slopes, n):
    changes, responses = carray(changes, n), carray(responses, n)
    ratios, slopes = carray(ratios, n), carray(slopes, n)
    for j in range(n):
        changes[j] = ratios[j] * changes[j] + slopes[j] * responses[j]


@compiled
def _turn(changes, responses, ratios, slopes, group, groups, n):
    """Replace the changes d of a group's responses t by those of ψ'(t) t/|t|."""
    for r in range(group, responses.shape[0], groups):
        _turn_row(
            row_of(changes, (r, 0)), row_of(responses, (r, 0)), row_of(ratios, (0,)), row_of(slopes, (0,)), n
        )


@row_function
def _potential_row(products, squares, gates, n, inner, outer):
    """Return Σ g ⟨t, d⟩ /√(t² + ε²) and Σ g ⟨t, d⟩ /√(t² + ε²)³ for both smoothings."""
    products, squares, gates = carray(products, n), carray(squares, n), carray(gates, n)
    one = type(inner)(1)
    by_a = by_inner = by_b = by_outer = type(inner)(0)
    for j in range(n):
        narrow = one / np.sqrt(squares[j] + inner)
        wide = one / np.sqrt(squares[j] + outer)
        gated = gates[j] * products[j]
        by_a += gated * narrow
        by_inner += gated * (narrow * narrow * narrow)
        by_b += gated * wide
        by_outer += gated * (wide * wide * wide)
    return by_a, by_inner, by_b, by_outer


@compiled
def _by_potential(products, squares, gates, p, sums, first, n):
    """Add Σ g ⟨t, d⟩ ∂q/∂(a, ε₁², ac, ε₂²) to sums, for t², the products ⟨t, d⟩ and the gates g.

    first, n: the columns.
    """
    a, inner, b, outer = p[0], p[1], p[2], p[3]
    by_a, by_inner, by_b, by_outer = _potential_row(
        row_of(products, (first,)), row_of(squares, (first,)), further(gates, first), n, inner, outer
    )
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
    """Return n as a multiple of `LANES`."""
    return (n + LANES - 1) // LANES * LANES


@compiled
def _smooth_down(line, above, here, below, centre):
    quarter, half = line.dtype.type(0.25), line.dtype.type(0.5)
    for j in range(here.shape[0]):
        line[j] = half * (here[j] - centre) + quarter * ((above[j] - centre) + (below[j] - centre))


@compiled
def _smooth_across(row, left, here, right):
    quarter, half = row.dtype.type(0.25), row.dtype.type(0.5)
    for j in range(row.shape[0]):
        row[j] = half * here[j] + quarter * (left[j] + right[j])


@kernel
def smooth_tile(x, centre, smoothed, tiles, k):
    """Smooth an image by (1, 2, 1)/4 along both axes of its symmetric extension, in tile k.

    centre: subtracted from each channel.
    """
    top, bottom, left, right = tiles[k, 0], tiles[k, 1], tiles[k, 2], tiles[k, 3]
    quarter, half = x.dtype.type(0.25), x.dtype.type(0.5)
    n = right - left
    line = np.zeros(n + 2, x.dtype)
    rows, columns = x.shape[1], x.shape[2]
    for c in range(x.shape[0]):
        for i in range(top, bottom):
            above, here, below = x[c, _mirrored(i - 1, rows)], x[c, i], x[c, _mirrored(i + 1, rows)]
            _smooth_down(line[1:], above[left:right], here[left:right], below[left:right], centre[c])
            for j in range(0, n + 2, n + 1):
                place = _mirrored(left - 1 + j, columns)
                line[j] = half * (here[place] - centre[c]) + quarter * (
                    (above[place] - centre[c]) + (below[place] - centre[c])
                )
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
    x, centre, noisy, rest, g, d, gates, tiles, k, shape, forward, backward, potentials, sums
):  # fmt: skip
    """Replace g by ∇R(x) + x − f, plus ``rest`` unless that is empty, in tile k.

    x, noisy, rest, g, d: (channels, rows, columns); g may be d. gates: (groups, rows, columns), empty for ones.
    centre: the middle of the values of each channel of x, of the same type, for the least rounding.
    tiles: see `tiles_of`.
    shape to potentials: the fields of `Packed`. sums[k] receives the sums over the tile, see `SUMS`.
    """
    channels, radius, groups, step, _ = shape
    reach = radius * step
    slots = 2 * reach + 1
    ring, folds, responses = space_for(x, shape)
    back = np.zeros((slots * channels, PITCH), x.dtype)
    around = np.zeros((channels * (2 * radius + 1), PITCH), x.dtype)
    value_row = np.zeros(PITCH, x.dtype)
    ratios = np.zeros(PITCH, x.dtype)
    gate = np.ones(PITCH, x.dtype)
    squares = np.zeros(PITCH, x.dtype)
    top, bottom, left, right = tiles[k, 0], tiles[k, 1], tiles[k, 2], tiles[k, 3]
    n = in_lanes(right - left + 2 * reach)
    sums[k, :] = 0.0
    for source in range(top - 2 * reach, bottom + 2 * reach):
        take_source_row(ring, x, centre, source, left, shape, n)
        i = source - reach  # the row of responses
        if i < top - reach:
            continue
        respond(responses, folds, ring, i, shape, forward, n)
        clear_row(row_of(value_row, (0,)), n)
        for group in range(groups):
            sum_products(squares, responses, responses, group, groups, n)
            gate_row = _gates_at(gate, gates, group, i, left - reach, n)
            _ratios(ratios, value_row, squares, gate_row, potentials[group], n)
            _scale(responses, ratios, group, groups, n)
        if top <= i < bottom:
            total = x.dtype.type(0)
            for j in range(reach, reach + right - left):
                total += value_row[j]
            sums[k, 0] += total
        multiply(around, responses, backward, in_lanes(right - left))
        _unfold(back, around, i, shape, right - left)
        i -= reach  # the row of the gradient
        if i < top:
            continue
        for c in range(channels):
            line = back[i % slots * channels + c]
            if rest.size:
                add_row(row_of(line, (0,)), row_of(rest, (c, i, left)), right - left)
            residuals, norm, product = _finish_row(
                g[c, i, left:right], line, x[c, i, left:right], noisy[c, i, left:right], d[c, i, left:right]
            )
            sums[k, 1] += residuals
            sums[k, 2] += norm
            sums[k, 3] += product


@kernel
def curvature_tile(x, gates, sizes, curvature, tiles, k, shape, forward, potentials):
    """Add to ``curvature``, (rows, columns), that of some groups, see `FilterPrior.local_curvature`, in tile k.

    sizes: of the groups. Other arguments as in `sweep_tile`.
    """
    channels, radius, groups, step, _ = shape
    reach = radius * step
    centre = np.zeros(channels, x.dtype)
    ring, folds, responses = space_for(x, shape)
    values = np.zeros(PITCH, x.dtype)
    ratios = np.zeros(PITCH, x.dtype)
    gate = np.ones(PITCH, x.dtype)
    squares = np.zeros(PITCH, x.dtype)
    top, bottom, left, right = tiles[k, 0], tiles[k, 1], tiles[k, 2], tiles[k, 3]
    n = in_lanes(right - left)
    for source in range(top - reach, bottom + reach):
        take_source_row(ring, x, centre, source, left + reach, shape, n)
        i = source - reach
        if i < top:
            continue
        respond(responses, folds, ring, i, shape, forward, n)
        to = curvature[i, left:right]
        for group in range(groups):
            sum_products(squares, responses, responses, group, groups, n)
            gate_row = _gates_at(gate, gates, group, i, left, n)
            _ratios(ratios, values, squares, gate_row, potentials[group], n)
            for j in range(right - left):
                to[j] += sizes[group] * ratios[j]


@kernel
def hessian_tile(
    x, direction, product, gates, tiles, k, shape, forward, backward, potentials
):  # fmt: skip
    """Replace ``product`` by ∇²J(x) d = d + ∇²R(x) d in tile k; arguments as in `sweep_tile`."""
    channels, radius, groups, step, _ = shape
    reach = radius * step
    slots = 2 * reach + 1
    centre = np.zeros(channels, x.dtype)
    ring, folds, responses = space_for(x, shape)
    ring_d, _, responses_d = space_for(x, shape)
    back = np.zeros((slots * channels, PITCH), x.dtype)
    around = np.zeros((channels * (2 * radius + 1), PITCH), x.dtype)
    ratios = np.zeros(PITCH, x.dtype)
    gate = np.ones(PITCH, x.dtype)
    slopes = np.zeros(PITCH, x.dtype)
    squares = np.zeros(PITCH, x.dtype)
    products = np.zeros(PITCH, x.dtype)
    top, bottom, left, right = tiles[k, 0], tiles[k, 1], tiles[k, 2], tiles[k, 3]
    n = in_lanes(right - left + 2 * reach)
    for source in range(top - 2 * reach, bottom + 2 * reach):
        take_source_row(ring, x, centre, source, left, shape, n)
        take_source_row(ring_d, direction, centre, source, left, shape, n)
        i = source - reach  # the row of responses
        if i < top - reach:
            continue
        respond(responses, folds, ring, i, shape, forward, n)
        respond(responses_d, folds, ring_d, i, shape, forward, n)
        for group in range(groups):
            sum_products(squares, responses, responses, group, groups, n)
            sum_products(products, responses, responses_d, group, groups, n)
            gate_row = _gates_at(gate, gates, group, i, left - reach, n)
            _ratios_and_slopes(ratios, slopes, products, squares, gate_row, potentials[group], n)
            _turn(responses_d, responses, ratios, slopes, group, groups, n)
        multiply(around, responses_d, backward, in_lanes(right - left))
        _unfold(back, around, i, shape, right - left)
        i -= reach  # the row of the product
        if i < top:
            continue
        for c in range(channels):
            line = back[i % slots * channels + c]
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
    channels, radius, groups, step, _ = shape
    reach = radius * step
    centre = np.zeros(channels, x.dtype)
    ring, folds, responses = space_for(x, shape)
    ring_v, folds_v, responses_v = space_for(x, shape)
    ratios = np.zeros(PITCH, x.dtype)
    gate = np.ones(PITCH, x.dtype)
    slopes = np.zeros(PITCH, x.dtype)
    squares = np.zeros(PITCH, x.dtype)
    products = np.zeros(PITCH, x.dtype)
    top, bottom, left, right = tiles[k, 0], tiles[k, 1], tiles[k, 2], tiles[k, 3]
    n = in_lanes(right - left + 2 * reach)
    by_weight[k] = 0.0
    by_potential[k] = 0.0
    for source in range(top - reach, bottom + reach):
        take_source_row(ring, x, centre, source, left, shape, n)
        take_source_row(ring_v, v, centre, source, left, shape, n)
        i = source - reach  # the row of responses
        if i < top:
            continue
        respond(responses, folds, ring, i, shape, forward, n)
        respond(responses_v, folds_v, ring_v, i, shape, forward, n)
        end_column = reach + right - left
        for group in range(groups):
            sum_products(squares, responses, responses, group, groups, n)
            sum_products(products, responses, responses_v, group, groups, n)
            gate_row = _gates_at(gate, gates, group, i, left - reach, n)
            _ratios_and_slopes(ratios, slopes, products, squares, gate_row, potentials[group], n)
            _by_potential(
                products, squares, gate_row, potentials[group], by_potential[k, group], reach, right - left
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
        add_inner_products(by_weight[k], responses_v, folds, forward, n)
        add_inner_products(by_weight[k], responses, folds_v, forward, n)
