"""What is told of the solutions for a file."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tvdenoise.batch.outcome import Figures

if TYPE_CHECKING:
    import numpy as np

    from tvdenoise.noise.model import NoiseModel
    from tvdenoise.solver import Solution


def shortfall_of(solutions: Sequence[Solution], what: str = "pictures") -> tuple[str | None, str | None]:
    """Why the result for what was solved is less exact than asked, and the remedy."""
    from tvdenoise.solver import Status

    short = [solution for solution in solutions if not solution.converged]
    if not short:
        return None, None
    limited = short[0].status is Status.ITERATION_LIMIT
    more = "--max-iterations or --tolerance" if limited else "--tolerance"
    count = len(solutions)
    where = f" (in {len(short)} of {count} {what})" if count > 1 else ""
    return f"{short[0].status.value}{where}", f"raise {more}"


def figures_of(
    solutions: Sequence[Solution], noise: NoiseModel | None, dtype: np.dtype, count: int = 1
) -> Figures:
    """Of all pictures: the worst bound, the sum of the evaluations, and the median of mu and epsilon.

    noise: what mu was chosen for; dtype: of the intensities as stored.
    """
    worst = next((s for s in solutions if not s.converged), solutions[0])
    return Figures(
        mu=statistics.median_low(solution.mu for solution in solutions),
        epsilon=statistics.median_low(solution.epsilon for solution in solutions),
        sigma=None if noise is None else noise.sigma,
        iterations=sum(solution.iterations for solution in solutions),
        distance_bound=max(solution.distance_bound for solution in solutions),
        converged=worst.converged,
        ending=worst.status.value,
        noise=None if noise is None else noise.kind.value,
        correlation=None if noise is None else max(noise.channels[0].correlation),
        growth=None if noise is None else noise.growth,
        bits=None if dtype.kind == "f" else dtype.itemsize * 8,
        planes=count,
        parameters=len({solution.mu for solution in solutions}),
    )
