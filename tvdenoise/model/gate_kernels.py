"""The fast twin of `tvdenoise.model.gates`: energies and gates in tiles of the image."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tvdenoise.model.filter_kernels import fold, in_lanes, line_pitch, sum_products, take_row, take_source_row
from tvdenoise.model.gates import BOXES, DELTA, ETA, GATE_REACH
from tvdenoise.model.kernels import compiled, kernel
from tvdenoise.model.products import PITCH, Pattern, Products, multiply, rows_as_sources

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from tvdenoise.model.gates import Gate

#: Rows of gates that are made together; the means around them are made again for the next ones.
_STRIP = 32
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
    channels, radius, groups, step, members = shape
    reach = radius * step
    ring = np.zeros(((2 * reach + 1) * channels, line_pitch(reach)), x.dtype)
    folds = np.zeros((channels * (2 * radius + 1), line_pitch(reach)), x.dtype)
    responses = np.zeros((channels * members * groups, PITCH), x.dtype)
    squares = np.zeros(PITCH, x.dtype)
    top, bottom, left, right = tiles[k, 0], tiles[k, 1], tiles[k, 2], tiles[k, 3]
    n = in_lanes(right - left)
    for source in range(top - reach, bottom + reach):
        take_source_row(ring, x, source, left + reach, shape, n)
        i = source - reach
        if i < top:
            continue
        fold(folds, ring, i, shape, n)
        multiply(responses, folds, forward, n)
        for group in range(groups):
            sum_products(squares, responses, responses, group, groups, n)
            to = energies[places[group], i, left:right]
            for j in range(right - left):
                to[j] = squares[j] * factor


@compiled
def _mean_rows(to, rows, i, side, line):
    """Set a row to the means over side × side values, of which its value is the middle one.

    to: of the means that begin side // 2 after those of rows, i: the first of the rows.
    """
    n = to.shape[0] + side - 1
    first = rows[i]
    for j in range(n):
        line[j] = first[j]
    for k in range(1, side):
        row = rows[i + k]
        for j in range(n):
            line[j] += row[j]
    share = to.dtype.type(1 / side**2)
    for j in range(to.shape[0]):
        to[j] = line[j]
    for k in range(1, side):
        shifted = line[k:]
        for j in range(to.shape[0]):
            to[j] += shifted[j]
    for j in range(to.shape[0]):
        to[j] *= share


@compiled
def _roots(to, means):
    delta, normal = to.dtype.type(DELTA), to.dtype.type(_NORMAL)
    for j in range(to.shape[0]):
        to[j] = np.sqrt(np.sqrt(means[j] + delta)) - normal


@compiled
def _rectify(row, bias):
    """Replace sums less their bias by m(z), without cancellation below 0."""
    half, square = row.dtype.type(0.5), row.dtype.type(ETA**2)
    for j in range(row.shape[0]):
        z = row[j] + bias
        twice = np.sqrt(square + z * z) + abs(z)
        row[j] = half * (twice if z > 0 else square / twice)


@compiled
def _squash(to, sums, bias):
    half, one = to.dtype.type(0.5), to.dtype.type(1)
    for j in range(to.shape[0]):
        z = sums[j] + bias
        to[j] = half + half * z / np.sqrt(one + z * z)


@kernel
def gate_tile(energies, gates, tiles, k, inner, inner_bias, outer, outer_bias):
    """Set gates to those of energies, both (groups, rows, columns), in tile k; the last four: `PackedGate`."""
    groups = energies.shape[0]
    top, bottom, left, right = tiles[k, 0], tiles[k, 1], tiles[k, 2], tiles[k, 3]
    width, n = right - left, in_lanes(right - left)
    pitch = PITCH + 2 * GATE_REACH
    around = np.zeros((_STRIP + 2 * GATE_REACH, pitch), energies.dtype)
    small = np.zeros((_STRIP + 2 * GATE_REACH, pitch), energies.dtype)
    medium = np.zeros((_STRIP + 2 * GATE_REACH, pitch), energies.dtype)
    line = np.zeros(pitch, energies.dtype)
    large = np.zeros(width, energies.dtype)
    features = np.zeros((_STRIP, 3 * groups, PITCH), energies.dtype)
    hidden = np.zeros((inner_bias.shape[0], PITCH), energies.dtype)
    sums = np.zeros((groups, PITCH), energies.dtype)
    for start in range(top, bottom, _STRIP):
        height = min(bottom - start, _STRIP)
        for group in range(groups):
            one = energies[group : group + 1]
            for i in range(height + 2 * GATE_REACH):
                take_row(around[i], one, 0, start - GATE_REACH + i, left - GATE_REACH, width + 2 * GATE_REACH)
            for i in range(height + 2 * _AROUND_SMALL):
                _mean_rows(small[i, : width + 2 * _AROUND_SMALL], around, i, _SMALL, line)
            for i in range(height + 2 * _AROUND_MEDIUM):
                _mean_rows(medium[i, : width + 2 * _AROUND_MEDIUM], small, i, _MEDIUM, line)
            for i in range(height):
                _mean_rows(large, medium, i, _LARGE, line)
                own = features[i]
                _roots(own[group, :width], small[i + _AROUND_SMALL, _AROUND_SMALL : _AROUND_SMALL + width])
                _roots(
                    own[groups + group, :width],
                    medium[i + _AROUND_MEDIUM, _AROUND_MEDIUM : _AROUND_MEDIUM + width],
                )
                _roots(own[2 * groups + group, :width], large)
        for i in range(height):
            multiply(hidden, features[i], inner, n)
            for r in range(hidden.shape[0]):
                _rectify(hidden[r], inner_bias[r])
            multiply(sums, hidden, outer, n)
            for group in range(groups):
                _squash(gates[group, start + i, left:right], sums[group], outer_bias[group])
