"""Products of a small sparse matrix with rows of numbers, in explicit vectors.

A row of the result is a sum of some sources, each times a weight. A source is a row of numbers, or the sum or the
difference of two, such as the same row at two distances. Up to `LARGEST` rows of the result with the same sources are a
block: it holds 64 bytes of each in registers while it reads the sources once, and stores them at the end. Loops written
in Python would keep these sums in memory, since the compiler vectorises along the rows only.

All arrays are C-contiguous. Places in them count values from the first one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import carray, types  # type: ignore[attr-defined]
from numba.extending import intrinsic

from tvdenoise.model.kernels import compiled, row_function, row_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import DTypeLike, NDArray

#: The most columns of a product.
WIDTH = 512
#: The number of columns of a product is a multiple of it.
LANES = 16
#: The length of the rows of a result. As a power of two, it would make many rows compete for the same lines of a cache.
PITCH = WIDTH + LANES
#: Rows of the result in a block, at most: six, a source and a weight fit into 16 registers of 32 bytes.
LARGEST = 6
_VECTOR_BYTES = 64
#: What a source is: a row, the sum of two rows, or their difference.
ONE, SUM, DIFFERENCE = 0, 1, 2


class Products(NamedTuple):
    """A matrix as the kernels take it.

    blocks: (blocks, 7), for each the number of its rows, of its sources that are one row, a sum and a difference, and
    the first of its places in ``rows``, in ``sources`` and in ``weights``. rows: the places of the rows of the result.
    sources: (sources, 2), the places of their one or two rows. weights: one row of the block after the other for each
    source.
    """

    blocks: NDArray[np.intp]
    rows: NDArray[np.intp]
    sources: NDArray[np.intp]
    weights: NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Pattern:
    """The places where a matrix may differ from zero. row, column: of each weight in the order of `Products`."""

    blocks: NDArray[np.intp]
    rows: NDArray[np.intp]
    sources: NDArray[np.intp]
    row: NDArray[np.intp]
    column: NDArray[np.intp]

    @classmethod
    def of(
        cls, groups: Sequence[tuple[NDArray[np.intp], NDArray[np.intp]]], sources: NDArray[np.intp]
    ) -> Pattern:
        """Return the pattern of the groups' rows, each a sum of all sources of its group.

        sources: (columns of the matrix, 3), what each is, and the places of its rows.
        """
        blocks: list[tuple[int, ...]] = []
        rows: list[int] = []
        used: list[int] = []
        places: list[tuple[int, int]] = []
        for of_group, in_any_order in groups:
            kinds = sources[in_any_order, 0]
            shared = in_any_order[np.argsort(kinds, kind="stable")]
            counts = np.bincount(kinds, minlength=3).tolist()
            for own in np.array_split(of_group, -(-len(of_group) // LARGEST) or 1):
                if len(own):
                    blocks.append((len(own), *counts, len(rows), len(used), len(places)))
                    rows += own.tolist()
                    places += [(row, source) for source in shared.tolist() for row in own.tolist()]
            used += shared.tolist()
        row, column = np.array(places, np.intp).reshape(-1, 2).T
        return cls(
            np.array(blocks, np.intp).reshape(-1, 7),
            np.array(rows, np.intp) * PITCH,
            np.ascontiguousarray(sources[used, 1:], np.intp),
            row,
            column,
        )

    def packed(self, matrix: NDArray[np.floating], dtype: DTypeLike) -> Products:
        """Return a matrix with this pattern as the kernels take it."""
        return Products(self.blocks, self.rows, self.sources, matrix[self.row, self.column].astype(dtype))

    def unpacked(self, weights: NDArray[np.floating], shape: tuple[int, int]) -> NDArray[np.float64]:
        """Return the matrix of these weights."""
        matrix = np.zeros(shape)
        matrix[self.row, self.column] = weights
        return matrix


def rows_as_sources(count: int) -> NDArray[np.intp]:
    """Return the sources that are the rows of an array, one by one, for `Pattern.of`."""
    places = np.arange(count) * PITCH
    return np.stack([np.full(count, ONE), places, places], axis=1)


class _Vectors:
    """Writes code that loads, stores and repeats numbers as vectors of 64 bytes."""

    def __init__(self, builder: Any, number: Any, item: int) -> None:
        self.builder = builder
        self.lanes = _VECTOR_BYTES // item
        self.type = ir.VectorType(number, self.lanes)
        self.zero = ir.Constant(self.type, [0.0] * self.lanes)
        self._item = item

    def number(self, array: Any, *terms: Any) -> Any:
        """Return the number of an array at the sum of some places."""
        return self.builder.load(self.builder.gep(array, [self._sum(terms)]))

    def load(self, array: Any, *terms: Any) -> Any:
        """Return the numbers of an array from the sum of some places on."""
        return self.builder.load(self._pointer(array, terms), align=self._item)

    def store(self, values: Any, array: Any, *terms: Any) -> None:
        """Write numbers to an array, from the sum of some places on."""
        self.builder.store(values, self._pointer(array, terms), align=self._item)

    def repeated(self, number: Any) -> Any:
        """Return a vector of a number."""
        undefined = ir.Constant(self.type, ir.Undefined)
        one = self.builder.insert_element(undefined, number, ir.Constant(ir.IntType(32), 0))
        first = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(one, undefined, first)

    def _pointer(self, array: Any, terms: Sequence[Any]) -> Any:
        return self.builder.bitcast(self.builder.gep(array, [self._sum(terms)]), self.type.as_pointer())

    def _sum(self, terms: Sequence[Any]) -> Any:
        total, *rest = terms
        for term in rest:
            total = self.builder.add(total, term)
        return total


def _int(value: int) -> ir.Constant:
    return ir.Constant(ir.IntType(64), value)


@intrinsic(prefer_literal=True)
def _sum_block(context, size, result, rows, source, sources, weights, block, n):  # noqa: ARG001
    """Set ``size`` rows of the result; block: the numbers of `Products.blocks`, n: a multiple of `LANES`."""
    height = size.literal_value
    item = result.dtype.bitwidth // 8

    def generate(context, builder, signature, arguments):
        vectors = _Vectors(builder, context.get_data_type(signature.args[1].dtype), item)
        to, row_places, origin, places, factors, numbers = (
            context.make_array(signature.args[k])(context, builder, arguments[k]).data for k in range(1, 7)
        )
        _, *counts, first_row, first_source, first_weight = (
            vectors.number(numbers, _int(k)) for k in range(7)
        )
        starts = [vectors.number(row_places, first_row, _int(k)) for k in range(height)]
        before = builder.block
        columns, stores, after = (builder.append_basic_block(name) for name in ("columns", "stores", "after"))
        heads = [builder.append_basic_block("head") for _ in counts]
        builder.branch(columns)

        builder.position_at_end(columns)
        j = builder.phi(ir.IntType(64))
        j.add_incoming(_int(0), before)
        builder.branch(heads[0])

        def source_at(kind: int, term: Any) -> Any:
            """Return the numbers of a source from column j on."""
            entry = builder.mul(builder.add(first_source, term), _int(2))
            one = vectors.load(origin, vectors.number(places, entry), j)
            if kind == ONE:
                return one
            other = vectors.load(origin, vectors.number(places, entry, _int(1)), j)
            return builder.fadd(one, other) if kind == SUM else builder.fsub(one, other)

        first, totals, entered_from, end = _int(0), [vectors.zero] * height, columns, _int(0)
        for kind, (head, count) in enumerate(zip(heads, counts, strict=True)):
            body = builder.append_basic_block("body")
            builder.position_at_end(head)
            term, sums = builder.phi(ir.IntType(64)), [builder.phi(vectors.type) for _ in range(height)]
            end = builder.add(end, count)
            builder.cbranch(builder.icmp_signed("<", term, end), body, [*heads, stores][kind + 1])
            builder.position_at_end(body)
            values = source_at(kind, term)
            weight = builder.add(first_weight, builder.mul(term, _int(height)))
            for k, (one, total) in enumerate(zip(sums, totals, strict=True)):
                factor = vectors.repeated(vectors.number(factors, weight, _int(k)))
                product = builder.fmul(factor, values, flags=("contract",))
                one.add_incoming(total, entered_from)
                one.add_incoming(builder.fadd(one, product, flags=("contract",)), body)
            term.add_incoming(first, entered_from)
            term.add_incoming(builder.add(term, _int(1)), body)
            builder.branch(head)
            first, totals, entered_from = term, sums, head

        builder.position_at_end(stores)
        for start, total in zip(starts, totals, strict=True):
            vectors.store(total, to, start, j)
        following = builder.add(j, _int(vectors.lanes))
        j.add_incoming(following, stores)
        builder.cbranch(builder.icmp_signed("<", following, arguments[7]), columns, after)

        builder.position_at_end(after)
        return context.get_dummy_value()

    return types.void(size, result, rows, source, sources, weights, block, types.intp), generate


@compiled
def multiply(result, source, products, n):
    """Set the rows of a result to the products of a matrix and the sources, in the first n columns."""
    blocks, rows, sources, weights = products
    for k in range(blocks.shape[0]):
        size = blocks[k, 0]
        if size == 1:
            _sum_block(1, result, rows, source, sources, weights, blocks[k], n)
        elif size == 2:
            _sum_block(2, result, rows, source, sources, weights, blocks[k], n)
        elif size == 3:
            _sum_block(3, result, rows, source, sources, weights, blocks[k], n)
        elif size == 4:
            _sum_block(4, result, rows, source, sources, weights, blocks[k], n)
        elif size == 5:
            _sum_block(5, result, rows, source, sources, weights, blocks[k], n)
        else:
            _sum_block(6, result, rows, source, sources, weights, blocks[k], n)


@row_function
def _inner_product(a, b, n):
    a, b = carray(a, n), carray(b, n)
    total = a[0] * 0
    for j in range(n):
        total += a[j] * b[j]
    return total


@row_function
def _combined(to, a, b, sign, n):
    to, a, b = carray(to, n), carray(a, n), carray(b, n)
    for j in range(n):
        to[j] = a[j] + sign * b[j]


@compiled
def add_inner_products(sums, result, source, products, n):
    """Add the derivatives of ⟨result, product⟩ by the weights: the inner products of rows and sources."""
    blocks, rows, sources, _ = products
    line = np.zeros(n, source.dtype)
    for k in range(blocks.shape[0]):
        size, ones, pluses, minuses, row, first, weight = blocks[k]
        for f in range(ones + pluses + minuses):
            sign = source.dtype.type((f >= ones) - 2 * (f >= ones + pluses))
            a, b = sources[first + f, 0], sources[first + f, 1]
            _combined(row_of(line, (0,)), row_of(source, (0, a)), row_of(source, (0, b)), sign, n)
            for i in range(size):
                sums[weight + f * size + i] += _inner_product(
                    row_of(result, (0, rows[row + i])), row_of(line, (0,)), n
                )
