"""The whole descent in compiled code, for images so small that Python would take longer than the sweeps.

It runs on one thread, and calls the same sweep, step rule and stopping rule as `tvdenoise.solver.descent`, so it
reaches the same iterates, bit for bit.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from tvdenoise.model.engines import form_of
from tvdenoise.model.kernels import SUMS, KernelForm, compiled, kernel, step_borders, sweep_for
from tvdenoise.solver.step_rules import BarzilaiBorwein, first_step, next_step
from tvdenoise.solver.stopping import bound_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from tvdenoise.model.engines import Evaluation, FusedEngine
    from tvdenoise.model.objective import Objective
    from tvdenoise.solver.stopping import Certificate


@cache
def descend_for(form: KernelForm) -> Any:
    """Return the function that runs a descent of a form; it is compiled when first called."""
    sweep = sweep_for(form)
    first, following, bound = (
        compiled(function, fast_math=False) for function in (first_step, next_step, bound_of)
    )

    def descend(
        x, d, noisy, fidelity, starts, mu, epsilon, scales, metric, counter, sums, limits, short_steps, accepted,
        counts, step, constants, record,
    ):  # fmt: skip
        """Evaluate until the bound is met or the record is full; return the number of evaluations, negative if met.

        step: the length of the next step, overwritten. constants: μ, the value of absent pixels, which sum bounds the
        distance, the constants of `bound_of`, and the bound that ends the descent. record: (evaluations, `SUMS`).
        """
        for done in range(record.shape[0]):
            step_length = type(mu)(step[0])
            step_borders(x, d, step_length, starts)
            counter[0] = 0
            sweep(x, d, noisy, fidelity, starts, mu, epsilon, scales, metric, counter, step_length, sums)
            totals = record[done]
            totals[:] = 0.0
            for band in range(sums.shape[0]):
                for k in range(SUMS):
                    totals[k] += sums[band, k]
            value = totals[0] - constants[1] + constants[0] / 2 * totals[1]
            if counts[1] == 0:
                step[0] = first(value, accepted, counts)
            else:
                step[0] = following(
                    step[0], value, totals[4], totals[3], totals[5], limits, short_steps, accepted, counts
                )
            squared_norm = totals[6] if constants[2] else totals[2]
            if bound(squared_norm, constants[3], constants[4], constants[5], constants[6]) <= constants[7]:
                return -(done + 1)
        return record.shape[0]

    return kernel(descend, form.name, fast_math=False)


#: The most values of an image for which this pays: at all, and where helper threads might sweep instead.
_LARGEST, _LARGEST_FOR_ONE_THREAD = 1 << 19, 1 << 18
_VALUES_AT_A_TIME = 1 << 22  # swept before Python looks at signals, about


def threads_for(objective: Objective, threads: int | None) -> int | None:
    """Return the number of threads that an engine should have if the step rule is `BarzilaiBorwein`.

    That is one where this module is faster than helper threads, which wait for Python between the sweeps.
    """
    is_small = objective.noisy.size <= _LARGEST_FOR_ONE_THREAD
    return 1 if is_small and objective.is_strongly_convex and form_of(objective).is_usual else threads


def suits(engine: FusedEngine, rule: object, certificate: Certificate) -> bool:
    """Return True if this module can run a descent, and if it is small and usual enough to be worth compiling."""
    is_small = engine.threads == 1 and engine.iterate.size <= _LARGEST
    is_possible = isinstance(rule, BarzilaiBorwein) and certificate.objective.is_strongly_convex
    return is_small and engine.form.is_usual and is_possible


def evaluations(
    engine: FusedEngine, rule: BarzilaiBorwein, certificate: Certificate, limit: int
) -> Iterator[list[Evaluation]]:
    """Descend until the certificate is met or exhausted, or for ``limit`` evaluations; yield these some at a time."""
    descend, objective = descend_for(engine.form), engine.objective
    constants = np.array(
        [
            objective.mu,
            objective.absent_value,
            objective.fidelity is not None,
            *certificate.constants,
            max(certificate.tolerance, certificate.floor),
        ]
    )
    step = np.zeros(1)
    length = max(_VALUES_AT_A_TIME // engine.iterate.size, 1)
    record: NDArray[np.float64] = np.empty((min(length, limit, 256), SUMS))
    while limit > 0:
        record = record[:limit]
        done = descend(*engine.operands, engine.counter, engine.sums, *rule.memory, step, constants, record)
        yield [engine.evaluation(totals) for totals in record[: abs(done)]]
        if done < 0:
            return
        limit -= done
