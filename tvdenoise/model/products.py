"""Products of a small sparse matrix with rows of numbers, in explicit vectors.

A row of the result is a sum of some rows of the source, each times a weight. Up to `LARGEST` rows of the result with
the same sources are a block: it holds 64 bytes of each in registers while it reads the sources once, and stores them
at the end. Loops written in Python would keep these sums in memory, since the compiler vectorises along the rows only.

All arrays are C-contiguous and have rows of `PITCH` values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tvdenoise.model.kernels import compiled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import DTypeLike, NDArray

#: The length of rows.
PITCH = 256
#: The number of columns of a product is a multiple of it.
LANES = 16
#: Rows of the result in a block, at most: six, a source and a weight fit into 16 registers of 32 bytes.
LARGEST = 6
_VECTOR_BYTES = 64


class Products(NamedTuple):
    """A matrix as the kernels take it.

    blocks: (blocks, 5), for each the number of its rows and of its sources, and the first of its places in ``rows``, in
    ``sources`` and in ``weights``. weights: one row of the block after the other for each source.
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
    def of(cls, groups: Sequence[tuple[NDArray[np.intp], NDArray[np.intp]]]) -> Pattern:
        """Return the pattern of the groups' rows, each a sum of all sources of its group."""
        blocks: list[tuple[int, ...]] = []
        rows: list[int] = []
        sources: list[int] = []
        places: list[tuple[int, int]] = []
        for of_group, shared in groups:
            for own in np.array_split(of_group, -(-len(of_group) // LARGEST) or 1):
                if len(own):
                    blocks.append((len(own), len(shared), len(rows), len(sources), len(places)))
                    rows += own.tolist()
                    places += [(row, source) for source in shared.tolist() for row in own.tolist()]
            sources += shared.tolist()
        row, column = np.array(places, np.intp).reshape(-1, 2).T
        return cls(
            np.array(blocks, np.intp).reshape(-1, 5),
            np.array(rows, np.intp),
            np.array(sources, np.intp),
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


@intrinsic(prefer_literal=True)
def _sum_block(
    context,  # noqa: ARG001
    size,
    result,
    rows,
    first_row,  # noqa: ARG001
    source,
    sources,
    first_source,  # noqa: ARG001
    count,  # noqa: ARG001
    weights,
    first,  # noqa: ARG001
    n,  # noqa: ARG001
):
    """Set ``size`` rows of the result; count ≥ 1, n a multiple of `LANES`."""
    height = size.literal_value
    integer = ir.IntType(64)
    item = result.dtype.bitwidth // 8
    lanes = _VECTOR_BYTES // item

    def generate(context, builder, signature, arguments):
        vector = ir.VectorType(context.get_data_type(signature.args[1].dtype), lanes)

        def pointer(place: int) -> Any:
            array = signature.args[place]
            return context.make_array(array)(context, builder, arguments[place]).data

        def constant(value: int) -> ir.Constant:
            return ir.Constant(integer, value)

        def vector_at(base: Any, place: Any) -> Any:
            return builder.bitcast(builder.gep(base, [place]), vector.as_pointer())

        def repeated(value: Any) -> Any:
            undefined = ir.Constant(vector, ir.Undefined)
            one = builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
            return builder.shuffle_vector(
                one, undefined, ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
            )

        to, row_places, origin, source_places, factors = (pointer(k) for k in (1, 2, 4, 5, 8))
        first_row, first_source, count, first, n = (arguments[k] for k in (3, 6, 7, 9, 10))
        starts = []
        for k in range(height):
            row = builder.load(builder.gep(row_places, [builder.add(first_row, constant(k))]))
            starts.append(builder.mul(row, constant(PITCH)))
        before = builder.block
        columns, terms, stores, after = (
            builder.append_basic_block(name) for name in ("columns", "terms", "stores", "after")
        )
        builder.branch(columns)

        builder.position_at_end(columns)
        j = builder.phi(integer)
        j.add_incoming(constant(0), before)
        builder.branch(terms)

        builder.position_at_end(terms)
        term = builder.phi(integer)
        term.add_incoming(constant(0), columns)
        sums = [builder.phi(vector) for _ in range(height)]
        for one in sums:
            one.add_incoming(ir.Constant(vector, [0.0] * lanes), columns)
        row = builder.load(builder.gep(source_places, [builder.add(first_source, term)]))
        place = builder.add(builder.mul(row, constant(PITCH)), j)
        values = builder.load(vector_at(origin, place), align=item)
        weight = builder.add(first, builder.mul(term, constant(height)))
        totals = []
        for k, one in enumerate(sums):
            factor = builder.load(builder.gep(factors, [builder.add(weight, constant(k))]))
            product = builder.fmul(repeated(factor), values, flags=("contract",))
            totals.append(builder.fadd(one, product, flags=("contract",)))
            one.add_incoming(totals[-1], terms)
        following = builder.add(term, constant(1))
        term.add_incoming(following, terms)
        builder.cbranch(builder.icmp_signed("<", following, count), terms, stores)

        builder.position_at_end(stores)
        for start, total in zip(starts, totals, strict=True):
            builder.store(total, vector_at(to, builder.add(start, j)), align=item)
        next_column = builder.add(j, constant(lanes))
        j.add_incoming(next_column, stores)
        builder.cbranch(builder.icmp_signed("<", next_column, n), columns, after)

        builder.position_at_end(after)
        return context.get_dummy_value()

    signature = types.void(
        size,
        result,
        rows,
        types.intp,
        source,
        sources,
        types.intp,
        types.intp,
        weights,
        types.intp,
        types.intp,
    )
    return signature, generate


@compiled
def multiply(result, source, products, n):
    """Set the rows of a result to the products of a matrix and the rows of a source, in the first n columns."""
    blocks, rows, sources, weights = products
    for k in range(blocks.shape[0]):
        size, count, row, first, weight = blocks[k, 0], blocks[k, 1], blocks[k, 2], blocks[k, 3], blocks[k, 4]
        if count == 0:
            for i in range(size):
                for j in range(n):
                    result[rows[row + i], j] = 0
        elif size == 1:
            _sum_block(1, result, rows, row, source, sources, first, count, weights, weight, n)
        elif size == 2:
            _sum_block(2, result, rows, row, source, sources, first, count, weights, weight, n)
        elif size == 3:
            _sum_block(3, result, rows, row, source, sources, first, count, weights, weight, n)
        elif size == 4:
            _sum_block(4, result, rows, row, source, sources, first, count, weights, weight, n)
        elif size == 5:
            _sum_block(5, result, rows, row, source, sources, first, count, weights, weight, n)
        else:
            _sum_block(6, result, rows, row, source, sources, first, count, weights, weight, n)


@compiled
def add_inner_products(sums, result, source, products, n):
    """Add the derivatives of ⟨result, product⟩ by the weights: the inner products of rows and sources."""
    blocks, rows, sources, _ = products
    for k in range(blocks.shape[0]):
        size, count, row, first, weight = blocks[k, 0], blocks[k, 1], blocks[k, 2], blocks[k, 3], blocks[k, 4]
        for f in range(count):
            b = sources[first + f]
            for i in range(size):
                a = rows[row + i]
                total = source.dtype.type(0)
                for j in range(n):
                    total += result[a, j] * source[b, j]
                sums[weight + f * size + i] += total
