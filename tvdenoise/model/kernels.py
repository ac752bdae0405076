"""The fused sweeps: one pass over memory takes a step and computes everything the next step needs.

For each row of a band, a sweep sets x ← x − τ d, replaces the direction d by the objective gradient g over the metric
m at the new x, and adds up the penalties, ‖x − f‖², ‖g‖² and what the step rules need. The rows involved stay in the
fastest cache, so a sweep costs little more than moving x, d and f through memory.

`sweep_for` makes the sweep for one `KernelForm` of the objective; whatever the form decides is a constant in the
compiled code. Four rules keep the code as fast as C, and its results the same everywhere:

- The row functions take contiguous rows, and what they write to overlaps no other row that they take (`_NoAlias`).
  Otherwise the compiler would have to check that when the loop runs, and gives up if there are many rows.
- Rows go from function to function as pointers: an array takes seven words, and counts its references.
- The columns beside column j have unsigned indices. A signed one may be negative and count from the end, so the
  compiler bounds a row by twice its length; if another array happens to lie there, it takes the loop that is not
  vectorised, which rounds differently. Results must not depend on where arrays lie in memory.
- A band owns its rows. Those next to the border between two bands are stepped beforehand (`step_borders`), so that a
  band never reads a row that another one is changing.

Images are volumes of one plane. Sums over a row are in the image's precision, sums over a band in double precision.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numba
import numpy as np
from llvmlite import ir
from numba import carray, types  # type: ignore[attr-defined]
from numba.core import cgutils
from numba.core.compiler import Compiler
from numba.extending import intrinsic

from tvdenoise.model.fidelity import ABSENT
from tvdenoise.model.kernel_cache import KernelCache

if TYPE_CHECKING:
    from collections.abc import Callable

#: Allows reassociated sums, contracted products and the hardware's estimate of 1/√.
FAST_MATH = {"reassoc", "nnan", "ninf", "nsz", "arcp", "contract", "afn"}

#: The number of sums of a band: penalties, ‖x − f‖²_W, ‖g‖², ⟨g, d_old⟩, Σ m d_old², Σ m d², ‖g‖²_{W⁻¹} where w > 0,
#: and ‖g‖² where w = 0; g, d and m are those at the new x.
SUMS = 8

#: The bytes of a line of the cache, and that it is to be read, kept in the second cache, and no code.
_CACHE_LINE, _READ_LATER = 64, (0, 2, 1)

#: What scales the differences: nothing, a factor for each channel, or one for each channel and axis.
UNSCALED, BY_CHANNEL, BY_AXIS = "unscaled", "by_channel", "by_axis"
#: What the fidelity of a pixel may be: all ones; weights and held pixels; absent pixels too.
PLAIN, WEIGHTED, GAPPED = "plain", "weighted", "gapped"


class KernelForm(NamedTuple):
    """What a sweep knows when it is compiled.

    channels: 1 or 3; 0 stands for any other number.
    penalty, tv: the names of the options.
    is_deep: there are differences from each plane to the next.
    scaling: UNSCALED, BY_CHANNEL or BY_AXIS.
    fidelity: PLAIN, WEIGHTED or GAPPED.
    """

    channels: int = 1
    penalty: str = "hyperbolic"
    tv: str = "isotropic"
    is_deep: bool = False
    scaling: str = UNSCALED
    fidelity: str = PLAIN

    @property
    def name(self) -> str:
        """The form as a part of a function's name."""
        return "_".join(map(str, self))

    @property
    def is_usual(self) -> bool:
        """True for images with the default penalty and total variation; `tvdenoise.solver.compiled` knows these."""
        is_default = self.penalty == "hyperbolic" and self.tv == "isotropic"
        return is_default and not self.is_deep and self.fidelity != GAPPED


class _NoAlias(Compiler):
    """Compiles functions that write to no memory which two of their arguments reach, and says so (C's restrict)."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.state.flags.noalias = True


def compiled(function: Callable[..., Any], form: str = "", *, fast_math: bool = True, **options: Any) -> Any:
    """Compile a function that releases the interpreter's lock.

    The name gets the form, because compiled functions of one name are one function to the linker.
    """
    function.__name__ = "_".join(filter(None, (function.__name__, form)))
    function.__qualname__ = function.__name__
    fast = FAST_MATH if fast_math else False
    return numba.njit(function, nogil=True, fastmath=fast, error_model="numpy", **options)


def row_function(function: Callable[..., Any], form: str = "") -> Any:
    """Compile a function of pointers to rows, which writes to no row that two of its arguments reach."""
    return compiled(function, form, pipeline_class=_NoAlias)


def kernel(function: Callable[..., Any], form: str = "", *, fast_math: bool = True) -> Any:
    """Compile a function that Python calls, and cache it in the user's cache folder."""
    dispatcher = compiled(function, form, fast_math=fast_math)
    dispatcher._cache = KernelCache(function)  # where njit(cache=True) puts Numba's own cache
    return dispatcher


@intrinsic
def row_of(context, array, place):  # noqa: ARG001
    """Return a pointer to the element of an array at a place, a tuple of indices; the rest of its row follows."""

    def generate(context, builder, signature, arguments):
        array_type, place_type = signature.args
        indices = [
            context.cast(builder, index, of_type, types.intp)
            for index, of_type in zip(cgutils.unpack_tuple(builder, arguments[1]), place_type, strict=True)
        ]
        array = context.make_array(array_type)(context, builder, arguments[0])
        return cgutils.get_item_pointer(context, builder, array_type, array, indices)

    return types.CPointer(array.dtype)(array, place), generate


@intrinsic
def further(context, start, n):  # noqa: ARG001
    """Return the pointer to the element n after another."""

    def generate(context, builder, signature, arguments):  # noqa: ARG001
        return builder.gep(arguments[0], [arguments[1]])

    return start(start, types.intp), generate


@intrinsic
def ask_for(context, start, n):  # noqa: ARG001
    """Ask memory for n elements from a pointer on, which are read later; the pointer may point anywhere."""

    def generate(context, builder, signature, arguments):
        start, n = arguments
        number, byte, words = ir.IntType(64), ir.IntType(8).as_pointer(), [ir.IntType(32)] * 3
        prefetch = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), [byte, *words]), "llvm.prefetch.p0i8"
        )
        size = context.get_abi_sizeof(context.get_data_type(signature.args[0].dtype))
        line = max(_CACHE_LINE // size, 1)
        with cgutils.for_range_slice(builder, number(0), n, number(line), number) as (place, _):
            address = builder.bitcast(builder.gep(start, [place]), byte)
            builder.call(prefetch, [address, *(ir.Constant(ir.IntType(32), flag) for flag in _READ_LATER)])
        return context.get_dummy_value()

    return types.void(start, types.intp), generate


@intrinsic
def _claim(context, counter):  # noqa: ARG001
    """Return the next number of a counter (int64, of one element) that threads share."""

    def generate(context, builder, signature, arguments):
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        one = context.get_constant(types.int64, 1)
        return builder.atomic_rmw("add", array.data, one, "monotonic")

    return types.int64(counter), generate


@row_function
def clear_row(row, n):
    """Set n elements to 0."""
    row = carray(row, n)
    for j in range(n):
        row[j] = 0


@row_function
def copy_row(to, row, n):
    """Copy n elements."""
    to, row = carray(to, n), carray(row, n)
    for j in range(n):
        to[j] = row[j]


@row_function
def add_row(to, row, n):
    """Add n elements of a row to another."""
    to, row = carray(to, n), carray(row, n)
    for j in range(n):
        to[j] += row[j]


@compiled
def advance_row(x, d, n, step_length):
    """x ← x − τ d, for n elements."""
    x, d = carray(x, n), carray(d, n)
    for j in range(n):
        x[j] -= step_length * d[j]


@kernel
def step_borders(x, d, step_length, starts):
    """Step the rows on both sides of every border between bands.

    x, d: (channels, planes, rows, columns). starts: first row of each band, and the number of rows.
    """
    channels, planes, _, columns = x.shape
    for k in range(1, starts.shape[0] - 1):
        is_stepped = k > 1 and starts[k] - starts[k - 1] == 1  # the only row of the band before
        for i in range(starts[k] - (0 if is_stepped else 1), starts[k] + 1):
            for c in range(channels):
                for z in range(planes):
                    advance_row(row_of(x, (c, z, i, 0)), row_of(d, (c, z, i, 0)), columns, step_length)


class Rows(NamedTuple):
    """The row functions of a form."""

    weigh: Any
    update: Any


@cache
def rows_for(form: KernelForm) -> Rows:  # noqa: PLR0915
    """Return the row functions of a form. They take pointers to rows, and the number of columns.

    The weight of a difference z is h'(z)/z. If the total variation is isotropic, all differences of a pixel share one
    weight; those to absent pixels are zero, so with gaps each axis has its own.
    """
    is_hyperbolic, is_isotropic = form.penalty == "hyperbolic", form.tv == "isotropic"
    if form.penalty not in ("hyperbolic", "huber"):
        raise ValueError(f"the kernels have no penalty {form.penalty!r}")
    known_channels, is_deep = form.channels, form.is_deep
    is_scaled, by_axis = form.scaling != UNSCALED, form.scaling == BY_AXIS
    has_weights, has_gaps = form.fidelity != PLAIN, form.fidelity == GAPPED
    shares = is_isotropic and not has_gaps
    first_axis = 0 if is_deep else 1

    def part(function: Callable[..., Any]) -> Any:
        return compiled(function, form.name, forceinline=True)

    def row(function: Callable[..., Any]) -> Any:
        return row_function(function, form.name)

    @part
    def squared_length(deep, down, across, scale_deep, scale_down, scale_across):
        if not is_scaled:
            squared = down * down + across * across
        elif by_axis:
            squared = scale_down * (down * down) + scale_across * (across * across)
        else:
            squared = scale_down * (down * down + across * across)
        return squared + scale_deep * (deep * deep) if is_deep else squared

    @part
    def penalise(squared, epsilon):
        """Return h'(z)/z and h(z) of s = |z|²."""
        if is_hyperbolic:  # 1/√(s + ε²) and √(s + ε²)
            shifted = squared + epsilon * epsilon
            weight = type(squared)(1) / np.sqrt(shifted)
            return weight, shifted * weight
        # 1/max(√s, ε); s/(2ε) where s ≤ ε², √s − ε/2 elsewhere
        half = type(squared)(0.5)
        is_small = squared <= epsilon * epsilon
        weight = type(squared)(1) / np.sqrt(max(squared, epsilon * epsilon))
        return weight, half * squared * weight if is_small else squared * weight - half * epsilon

    @row
    def weigh_one(weights, here, below, behind, n, right, scale_deep, scale_down, scale_across, epsilon):
        """Fill a row of shared weights of one channel; return the sum of h.

        right: the column to the right of the last one, or the last one at the border of the image.
        """
        zero = type(epsilon)(0)
        weights, here, below, behind = (
            carray(weights, n), carray(here, n + 1), carray(below, n), carray(behind, n),
        )  # fmt: skip
        total = zero
        for j in range(n - 1):
            squared = squared_length(
                behind[j] - here[j] if is_deep else zero, below[j] - here[j], here[np.uintp(j + 1)] - here[j],
                scale_deep, scale_down, scale_across,
            )  # fmt: skip
            weight, value = penalise(squared, epsilon)
            total += value
            weights[j] = weight
        j = n - 1
        squared = squared_length(
            behind[j] - here[j] if is_deep else zero, below[j] - here[j], here[right] - here[j],
            scale_deep, scale_down, scale_across,
        )  # fmt: skip
        weight, value = penalise(squared, epsilon)
        weights[j] = weight
        return total + value

    @row
    def weigh_three(weights, here0, here1, here2, below0, below1, below2, n, right, scales, epsilon):
        """Do the same for three channels of an image."""
        zero = type(epsilon)(0)
        weights = carray(weights, n)
        here0, here1, here2 = carray(here0, n + 1), carray(here1, n + 1), carray(here2, n + 1)
        below0, below1, below2 = carray(below0, n), carray(below1, n), carray(below2, n)
        down0, down1, down2 = scales[0, 1], scales[1, 1], scales[2, 1]
        across0, across1, across2 = scales[0, 2], scales[1, 2], scales[2, 2]
        total = zero
        for j in range(n - 1):
            right_of_j = np.uintp(j + 1)
            squared = (
                squared_length(zero, below0[j] - here0[j], here0[right_of_j] - here0[j], zero, down0, across0)
                + squared_length(
                    zero, below1[j] - here1[j], here1[right_of_j] - here1[j], zero, down1, across1
                )
                + squared_length(
                    zero, below2[j] - here2[j], here2[right_of_j] - here2[j], zero, down2, across2
                )
            )
            weight, value = penalise(squared, epsilon)
            total += value
            weights[j] = weight
        j = n - 1
        squared = (
            squared_length(zero, below0[j] - here0[j], here0[right] - here0[j], zero, down0, across0)
            + squared_length(zero, below1[j] - here1[j], here1[right] - here1[j], zero, down1, across1)
            + squared_length(zero, below2[j] - here2[j], here2[right] - here2[j], zero, down2, across2)
        )
        weight, value = penalise(squared, epsilon)
        weights[j] = weight
        return total + value

    @row
    def add_differences(squared, here, other, flags, n, scale):
        """Add scaled squares of the differences from one row to another."""
        squared, here, other, flags = carray(squared, n), carray(here, n), carray(other, n), carray(flags, n)
        for j in range(n):
            difference = other[j] - here[j]
            if has_gaps:
                squared[j] += scale * difference * difference * flags[j]
            else:
                squared[j] += scale * difference * difference

    @row
    def penalise_row(weights, n, epsilon):
        """Replace each s of a row by the weight; return the sum of h."""
        weights = carray(weights, n)
        total = type(epsilon)(0)
        for j in range(n):
            weight, value = penalise(weights[j], epsilon)
            total += value
            weights[j] = weight
        return total

    @part
    def multiply_row(weights, factors, flags, n):
        """Set weights to flagged factors, which may be the weights themselves."""
        weights, factors, flags = carray(weights, n), carray(factors, n), carray(flags, n)
        for j in range(n):
            weights[j] = factors[j] * flags[j]

    @row
    def flag_differences(flags, here, other, n):
        """Set flags to 1 for differences between present pixels, else 0."""
        flags, here, other = carray(flags, n), carray(here, n), carray(other, n)
        for j in range(n):
            is_within = here[j] != ABSENT and other[j] != ABSENT
            flags[j] = 1 if is_within else 0

    @row
    def weigh(weights, flags, x, fidelity, z, i, left, right, scales, epsilon):  # noqa: PLR0912
        """Fill the weights of the differences that leave row i of plane z, between two columns; return the sum of h.

        weights: (1, 1, columns) if shared; (3, channels or 1, columns) for the differences to the next plane, row
        and column otherwise. flags: (3, columns), overwritten if there are gaps; the last column may stay.
        """
        below, behind = min(i + 1, x.shape[2] - 1), min(z + 1, x.shape[1] - 1)
        n = right - left
        has_right = right < x.shape[3]
        if shares and known_channels == 1:
            return weigh_one(
                row_of(weights, (0, 0, 0)), row_of(x, (0, z, i, left)), row_of(x, (0, z, below, left)),
                row_of(x, (0, behind, i, left)), n, n if has_right else n - 1,
                scales[0, 0], scales[0, 1], scales[0, 2], epsilon,
            )  # fmt: skip
        if shares and known_channels == 3 and not is_deep:
            return weigh_three(
                row_of(weights, (0, 0, 0)),
                row_of(x, (0, z, i, left)), row_of(x, (1, z, i, left)), row_of(x, (2, z, i, left)),
                row_of(x, (0, z, below, left)), row_of(x, (1, z, below, left)), row_of(x, (2, z, below, left)),
                n, n if has_right else n - 1, scales, epsilon,
            )  # fmt: skip
        joined = n if has_right else n - 1  # differences within the row
        if has_gaps:
            here_code, next_code = row_of(fidelity, (z, i, left)), row_of(fidelity, (z, i, left + 1))
            flag_differences(row_of(flags, (0, 0)), here_code, row_of(fidelity, (behind, i, left)), n)
            flag_differences(row_of(flags, (1, 0)), here_code, row_of(fidelity, (z, below, left)), n)
            flag_differences(row_of(flags, (2, 0)), here_code, next_code, joined)
        for axis in range(weights.shape[0]):
            for own in range(weights.shape[1]):
                clear_row(row_of(weights, (axis, own, 0)), n)
        total = type(epsilon)(0)
        for c in range(known_channels or x.shape[0]):
            here = row_of(x, (c, z, i, left))
            for axis in range(first_axis, 3):
                squared = row_of(weights, (0, 0, 0)) if is_isotropic else row_of(weights, (axis, c, 0))
                flag = row_of(flags, (axis, 0))
                if axis == 0:
                    add_differences(squared, here, row_of(x, (c, behind, i, left)), flag, n, scales[c, axis])
                elif axis == 1:
                    add_differences(squared, here, row_of(x, (c, z, below, left)), flag, n, scales[c, axis])
                else:
                    add_differences(
                        squared, here, row_of(x, (c, z, i, left + 1)), flag, joined, scales[c, axis]
                    )
                if not is_isotropic:
                    total += penalise_row(squared, n, epsilon)
                    if has_gaps:
                        multiply_row(squared, squared, flag, n)
        if is_isotropic:
            shared = row_of(weights, (0, 0, 0))
            total += penalise_row(shared, n, epsilon)
            if has_gaps:
                for axis in range(2, first_axis - 1, -1):
                    multiply_row(row_of(weights, (axis, 0, 0)), shared, row_of(flags, (axis, 0)), n)
        return total

    @part
    def flow_at(j, left, right, above, here, below, across, down, down_above, scale_down, scale_across):
        """Return ∇ᵀ h'(∇x) within a plane at column j: inflow less outflow."""
        x = here[j]
        if shares and not by_axis:
            inflow = (x - above[j]) * down_above[j] + (x - here[left]) * down[left]
            flow = inflow + down[j] * ((x - below[j]) + (x - here[right]))
            return scale_down * flow if is_scaled else flow
        vertical = (x - above[j]) * down_above[j] - (below[j] - x) * down[j]
        if shares:
            horizontal = (x - here[left]) * down[left] - (here[right] - x) * down[j]
        else:
            horizontal = (x - here[left]) * across[left] - (here[right] - x) * across[j]
        return scale_down * vertical + scale_across * horizontal if is_scaled else vertical + horizontal

    @part
    def metric_at(j, left, across, down, down_above, of_left, of_across, of_down, of_above):
        """Return the weights of the differences that touch column j within a plane, each times its factor."""
        if shares:
            return of_above * down_above[j] + of_left * down[left] + (of_down + of_across) * down[j]
        return of_above * down_above[j] + of_down * down[j] + of_left * across[left] + of_across * across[j]

    @part
    def pixel_at(j, left, right, rows, scales, constants, factors, of_left, of_across):
        """Return at column j: g, d, m, w (x − f)², and what it adds to the last two sums of `SUMS`."""
        above, here, below, ahead, behind, noisy, across, down, down_above, deep, deep_ahead, fidelity = rows
        scale_deep, scale_down, scale_across = scales
        mu, metric_unit, metric_mu = constants
        of_above, of_down, of_ahead, of_behind = factors
        zero, one = type(mu)(0), type(mu)(1)
        gradient = flow_at(
            j, left, right, above, here, below, across, down, down_above, scale_down, scale_across
        )
        metric = metric_at(j, left, across, down, down_above, of_left, of_across, of_down, of_above)
        if is_deep:
            x = here[j]
            weight = down[j] if shares else deep[j]
            gradient += scale_deep * ((x - ahead[j]) * deep_ahead[j] - (behind[j] - x) * weight)
            metric += of_ahead * deep_ahead[j] + of_behind * weight
        residual = here[j] - noisy[j]
        if not has_weights:
            gradient += mu * residual
            metric += metric_unit + metric_mu
            return gradient, gradient / metric, metric, residual * residual, zero, zero
        weight = fidelity[j]
        bound = max(weight, zero) * residual
        gradient = gradient + mu * bound if weight >= zero else zero
        metric += metric_unit + metric_mu * max(weight, zero)
        direction = gradient / metric if metric > zero else zero
        squared = gradient * gradient
        dual = squared * (one / weight if weight > zero else zero)
        return gradient, direction, metric, bound * residual, dual, squared if weight == zero else zero

    @part
    def update_columns(is_inner, d, n, rows, scales, constants, factors, of_across):
        """Update the columns that have neighbours on both sides, or those at the ends; is_inner is a constant."""
        zero = type(of_across)(0)
        residuals, norm, product, before, now, dual, missing = zero, zero, zero, zero, zero, zero, zero
        for k in range(1 if is_inner else 0, n - 1 if is_inner else min(2, n)):
            j = k if is_inner else k * (n - 1)
            left = np.uintp(j - 1 if is_inner else max(j - 1, 0))
            right = np.uintp(j + 1 if is_inner else min(j + 1, n - 1))
            gradient, direction, metric, squared_residual, of_dual, of_missing = pixel_at(
                j, left, right, rows, scales, constants, factors,
                of_across if is_inner or j > 0 else zero, of_across if is_inner or j < n - 1 else zero,
            )  # fmt: skip
            residuals += squared_residual
            norm += gradient * gradient
            product += gradient * d[j]
            before += metric * (d[j] * d[j])
            now += gradient * direction
            dual += of_dual
            missing += of_missing
            d[j] = direction
        return residuals, norm, product, before, now, dual, missing

    @row
    def update(
        d, above, here, below, ahead, behind, noisy, across, down, down_above, deep, deep_ahead, fidelity, n,
        scale_deep, scale_down, scale_across, mu, metric_unit, metric_mu, metric_scale, has_below, has_behind,
    ):  # fmt: skip
        """Replace a row of d by ∇J/m there; return all sums of `SUMS` but the penalties.

        above, below: the rows beside this one; ahead, behind: those of the planes beside this one.
        across, down, deep, down_above, deep_ahead: the weights of the differences from this row to the next column,
        row and plane, and from the row above and the plane ahead to this one. Only those down are read of the first
        three if all share one.
        metric_unit, metric_mu, metric_scale: m is the first, plus w times the second, plus the third times the
        weights of all differences that touch the pixel. has_below, has_behind: 0 in the last row or plane, else 1.
        """
        d = carray(d, n)
        rows = (
            carray(above, n), carray(here, n), carray(below, n), carray(ahead, n), carray(behind, n), carray(noisy, n),
            carray(across, n), carray(down, n), carray(down_above, n), carray(deep, n), carray(deep_ahead, n),
            carray(fidelity, n),
        )  # fmt: skip
        scales, constants = (scale_deep, scale_down, scale_across), (mu, metric_unit, metric_mu)
        of_above, of_ahead = metric_scale * scale_down, metric_scale * scale_deep
        factors = (of_above, of_above * has_below, of_ahead, of_ahead * has_behind)
        of_across = metric_scale * scale_across
        a = update_columns(True, d, n, rows, scales, constants, factors, of_across)
        b = update_columns(False, d, n, rows, scales, constants, factors, of_across)
        norm = a[1] + b[1]
        dual = a[5] + b[5] if has_weights else norm
        return a[0] + b[0], norm, a[2] + b[2], a[3] + b[3], a[4] + b[4], dual, a[6] + b[6]

    return Rows(weigh, update)


@cache
def sweep_for(form: KernelForm) -> Any:  # noqa: PLR0915
    """Return the function that steps and evaluates bands of rows in place; it is compiled when first called."""
    is_isotropic, is_deep = form.tv == "isotropic", form.is_deep
    known_channels = form.channels
    shares = is_isotropic and form.fidelity != GAPPED
    kinds = 1 if shares else 3
    has_weights = form.fidelity != PLAIN
    weigh, update = rows_for(form)

    def sweep(
        x, d, noisy, fidelity, starts, mu, epsilon, scales, metric, counter, step_length, sums
    ):  # fmt: skip
        """Claim bands from a shared counter, step and evaluate them, until none is left.

        x, d, noisy: (channels, planes, rows, columns). fidelity: (planes, rows, columns), coded; empty if plain.
        starts: the first row of each band, and the number of rows.
        scales: (channels, 3), the squared factors of the differences to the next plane, row and column.
        metric: what m adds up: a unit, a factor of w, and one of the weights of differences.
        sums: (bands, `SUMS`).
        """
        channels, planes, rows, columns = x.shape
        channels = known_channels or channels
        planes = planes if is_deep else 1
        bands = starts.shape[0] - 1
        tallest = 0
        for band in range(bands):
            tallest = max(tallest, starts[band + 1] - starts[band])
        # The weights of this plane and the one before, from the row above the band on; of an image, of two rows.
        kept_planes, kept_rows = (2, tallest + 1) if is_deep else (1, 2)
        weights = np.empty((kept_planes, kept_rows, kinds, 1 if is_isotropic else channels, columns), x.dtype)
        none, one = x.dtype.type(0), x.dtype.type(1)
        flags = np.ones((3, columns), x.dtype)
        band = _claim(counter)
        while band < bands:
            first, last = starts[band], starts[band + 1]
            low = first + (1 if band > 0 else 0)  # the rows that are not yet stepped
            high = last - (1 if band < bands - 1 else 0)
            weights[:] = 0
            penalties, residuals, norms, products = 0.0, 0.0, 0.0, 0.0
            before_all, now_all, duals, missings = 0.0, 0.0, 0.0, 0.0
            # Before the first row is weighed, it is stepped; of a volume, the first plane.
            steps = (high - low if is_deep else (1 if low == first and low < high else 0)) * channels
            for k in range(steps):
                place = (k % channels, 0, low + k // channels, 0)
                advance_row(row_of(x, place), row_of(d, place), columns, step_length)
            for z in range(planes):
                now, before = (z % 2, (z + 1) % 2) if is_deep else (0, 0)
                for i in range(max(first - 1, 0), last):
                    # The next row to step: the same one of the next plane; of an image, the row below.
                    to_plane, to_row = (z + 1, i) if is_deep else (z, i + 1)
                    if to_plane < planes and max(low, to_row - i + first) <= to_row < high:
                        for c in range(channels):
                            place = (c, to_plane, to_row, 0)
                            advance_row(row_of(x, place), row_of(d, place), columns, step_length)
                    row, above = (i - first + 1, i - first) if is_deep else (i % 2, (i + 1) % 2)
                    penalty = weigh(weights[now, row], flags, x, fidelity, z, i, 0, columns, scales, epsilon)
                    if i < first:
                        continue
                    penalties += penalty
                    for c in range(channels):
                        own = 0 if is_isotropic else c
                        deep, down, across = (0, 0, 0) if shares else (0, 1, 2)
                        here = row_of(x, (c, z, i, 0))
                        residual, norm, product, length_before, length, dual, missing = update(
                            row_of(d, (c, z, i, 0)),
                            row_of(x, (c, z, max(i - 1, 0), 0)), here, row_of(x, (c, z, min(i + 1, rows - 1), 0)),
                            row_of(x, (c, max(z - 1, 0), i, 0)), row_of(x, (c, min(z + 1, planes - 1), i, 0)),
                            row_of(noisy, (c, z, i, 0)),
                            row_of(weights, (now, row, across, own, 0)), row_of(weights, (now, row, down, own, 0)),
                            row_of(weights, (now, above, down, own, 0)), row_of(weights, (now, row, deep, own, 0)),
                            row_of(weights, (before, row, deep, own, 0)),
                            row_of(fidelity, (z, i, 0)) if has_weights else here,
                            columns, scales[c, 0], scales[c, 1], scales[c, 2], mu, metric[0], metric[1], metric[2],
                            one if i < rows - 1 else none, one if z < planes - 1 else none,
                        )  # fmt: skip
                        residuals += residual
                        norms += norm
                        products += product
                        before_all += length_before
                        now_all += length
                        duals += dual
                        missings += missing
            sums[band, 0], sums[band, 1], sums[band, 2] = penalties, residuals, norms
            sums[band, 3], sums[band, 4], sums[band, 5] = products, before_all, now_all
            sums[band, 6], sums[band, 7] = duals, missings
            band = _claim(counter)

    return kernel(sweep, form.name)
