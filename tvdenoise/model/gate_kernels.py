"""The fast twin of `tvdenoise.model.gates`: energies and gates in tiles of the image."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import carray  # type: ignore[attr-defined]

from tvdenoise.model.filter_kernels import (
    in_lanes,
    respond,
    space_for,
    sum_products,
    take_row,
    take_source_row,
)  # fmt: skip
from tvdenoise.model.gates import BOXES, DELTA, ETA, GATE_REACH
from tvdenoise.model.kernels import add_row, compiled, copy_row, kernel, row_function, row_of
from tvdenoise.model.products import PITCH, Pattern, Products, multiply, rows_as_sources

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from tvdenoise.model.gates import Gate

#: The sides of the means, and how far those of small and medium side are needed around a pixel.
_SMALL, _MEDIUM, _LARGE = BOXES
_AROUND_SMALL, _AROUND_MEDIUM = _MEDIUM // 2 + _LARGE // 2, _LARGE // 2
#: The root of an energy of 1.
_NORMAL = (1 + DELTA) ** 0.25


class PackedGate(NamedTuple):
    """The layers of gates as the kernels take them.

    inner, outer: the products; inner_bias, outer_bias: what is added.
    """

    inner: Products
    inner_bias: NDArray[np.floating]
    outer: Products
    outer_bias: NDArray[np.floating]


def pack_gate(gate: Gate, dtype: DTypeLike) -> PackedGate:
    """Pack the layers for images of one precision."""
    inner, outer = (_every(one.shape).packed(one, dtype) for one in (gate.inner, gate.outer))
    return PackedGate(inner, gate.inner_bias.astype(dtype), outer, gate.outer_bias.astype(dtype))


def _every(shape: tuple[int, ...]) -> Pattern:
    """Return the pattern of a matrix without zeros."""
    rows, columns = shape
    return Pattern.of([(np.arange(rows), np.arange(columns))], rows_as_sources(columns))


@kernel
def energy_tile(x, factor, energies, places, tiles, k, shape, forward):
    """Set energies, (groups, rows, columns), to ``factor`` × |Kᵢ x|² in tile k.

    places: of these groups among all. shape, forward: those of `tvdenoise.model.filter_kernels.Packed`.
    """
    channels, radius, groups, step, _ = shape
    reach = radius * step
    centre = np.zeros(channels, x.dtype)
    ring, folds, responses = space_for(x, shape)
    squares = np.zeros(PITCH, x.dtype)
    top, bottom, left, right = tiles[k, 0], tiles[k, 1], tiles[k, 2], tiles[k, 3]
    n = in_lanes(right - left)
    for source in range(top - reach, bottom + reach):
        take_source_row(ring, x, centre, source, left + reach, shape, n)
        i = source - reach
        if i < top:
            continue
        respond(responses, folds, ring, i, shape, forward, n)
        for group in range(groups):
            sum_products(squares, responses, responses, group, groups, n)
            to = energies[places[group], i, left:right]
            for j in range(right - left):
                to[j] = squares[j] * factor


@row_function
def _scale_row(row, factor, n):
    row = carray(row, n)
    for j in range(n):
        row[j] *= factor


@compiled
def _mean_row(means, to, rings, group, last, side, line, n):
    """Set the first n values of a row of a ring to means over side × side values of another.

    means, rings: (groups, slots, columns). to: the row. last: the last of the rows that have a part in it. line: for
    work.
    """
    around = n + side - 1
    copy_row(row_of(line, (0,)), row_of(rings, (group, last % rings.shape[1], 0)), around)
    for row in range(last - side + 1, last):
        add_row(row_of(line, (0,)), row_of(rings, (group, row % rings.shape[1], 0)), around)
    slot = to % means.shape[1]
    copy_row(row_of(means, (group, slot, 0)), row_of(line, (0,)), n)
    for column in range(1, side):
        add_row(row_of(means, (group, slot, 0)), row_of(line, (column,)), n)
    _scale_row(row_of(means, (group, slot, 0)), means.dtype.type(1 / side**2), n)


@row_function
def _roots(to, means, n):
    to, means = carray(to, n), carray(means, n)
    delta, normal = to.dtype.type(DELTA), to.dtype.type(_NORMAL)
    for j in range(n):
        to[j] = np.sqrt(np.sqrt(means[j] + delta)) - normal


@row_function
def _rectify(row, bias, n):
    """Replace sums less their bias by m(z), without cancellation below 0."""
    row = carray(row, n)
    half, square = row.dtype.type(0.5), row.dtype.type(ETA**2)
    for j in range(n):
        z = row[j] + bias
        twice = np.sqrt(square + z * z) + abs(z)
        row[j] = half * (twice if z > 0 else square / twice)


@row_function
def _squash(to, sums, bias, n):
    to, sums = carray(to, n), carray(sums, n)
    half, one = to.dtype.type(0.5), to.dtype.type(1)
    for j in range(n):
        z = sums[j] + bias
        to[j] = half + half * z / np.sqrt(one + z * z)


@kernel
def gate_tile(energies, gates, tiles, k, inner, inner_bias, outer, outer_bias):
    """Set gates to those of energies, both (groups, rows, columns), in tile k; the last four: `PackedGate`."""
    groups = energies.shape[0]
    top, bottom, left, right = tiles[k, 0], tiles[k, 1], tiles[k, 2], tiles[k, 3]
    width, n = right - left, in_lanes(right - left)
    pitch = PITCH + 2 * GATE_REACH
    around = np.zeros((groups, _SMALL, pitch), energies.dtype)
    small = np.zeros((groups, _AROUND_SMALL + 1, pitch), energies.dtype)
    medium = np.zeros((groups, _LARGE, pitch), energies.dtype)
    large = np.zeros((groups, 1, pitch), energies.dtype)
    line = np.zeros(pitch, energies.dtype)
    features = np.zeros((3 * groups, PITCH), energies.dtype)
    hidden = np.zeros((inner_bias.shape[0], PITCH), energies.dtype)
    sums = np.zeros((groups, PITCH), energies.dtype)
    for source in range(top - GATE_REACH, bottom + GATE_REACH):
        of_small = source - _SMALL // 2  # the rows of the means that end with this row of energies
        of_medium = of_small - _MEDIUM // 2
        i = of_medium - _LARGE // 2
        for group in range(groups):
            take_row(
                around[group, source % _SMALL],
                energies,
                group,
                source,
                left - GATE_REACH,
                width + 2 * GATE_REACH,
            )
            if of_small >= top - _AROUND_SMALL:
                _mean_row(small, of_small, around, group, source, _SMALL, line, width + 2 * _AROUND_SMALL)
            if of_medium >= top - _AROUND_MEDIUM:
                _mean_row(
                    medium, of_medium, small, group, of_small, _MEDIUM, line, width + 2 * _AROUND_MEDIUM
                )
            if i >= top:
                _mean_row(large, i, medium, group, of_medium, _LARGE, line, width)
                means = (
                    row_of(small, (group, i % small.shape[1], _AROUND_SMALL)),
                    row_of(medium, (group, i % medium.shape[1], _AROUND_MEDIUM)),
                    row_of(large, (group, 0, 0)),
                )
                for size in range(3):
                    _roots(row_of(features, (size * groups + group, 0)), means[size], width)
        if i < top:
            continue
        multiply(hidden, features, inner, n)
        for r in range(hidden.shape[0]):
            _rectify(row_of(hidden, (r, 0)), inner_bias[r], n)
        multiply(sums, hidden, outer, n)
        for group in range(groups):
            _squash(row_of(gates, (group, i, left)), row_of(sums, (group, 0)), outer_bias[group], width)
